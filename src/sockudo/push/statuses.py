"""Changing the status of a publish: compare and swap, tried again in bounds (contract 50 § 3.1)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec.structs import replace

from sockudo import errors
from sockudo.push.ports import Publishes
from sockudo.push.records import PublishStatus

__all__ = ["change_status"]

_ATTEMPTS: Final = 8
_LONGEST_MS: Final = 32


async def change_status(
    store: Publishes,
    app_id: str,
    publish_id: str,
    edit: Callable[[PublishStatus], PublishStatus | None],
    now_ms: int,
    *,
    conflict: Callable[[], None] = lambda: None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> PublishStatus | None:
    """The status after ``edit``, which returns None to leave it alone: it is then returned as it is.

    None when there is no such publish. ``edit`` is asked again with the newest status when somebody else was faster,
    and ``conflict`` is called each time. Raises errors.SERVICE_UNAVAILABLE after eight attempts.
    """
    for attempt in range(_ATTEMPTS):
        before = await store.status(app_id, publish_id)
        after = None if before is None else edit(before)
        if before is None or after is None or after == before:
            return before
        stored = await store.swap_status(before, replace(after, updated_at_ms=now_ms))
        if stored is not None:
            return stored
        conflict()
        if attempt < _ATTEMPTS - 1:
            await sleep(min(2**attempt, _LONGEST_MS) / 1000)
    raise errors.SERVICE_UNAVAILABLE(f"The status of publish '{publish_id}' keeps changing. Try again.")
