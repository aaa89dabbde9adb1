"""Changing the status of a publish (spec: push § 3.1)."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from sockudo.push.ports import Publishes
from sockudo.push.records import PublishStatus

__all__ = ["change_status"]


async def change_status(
    store: Publishes,
    app_id: str,
    publish_id: str,
    edit: Callable[[PublishStatus], PublishStatus | None],
    now_ms: int,
    *,
    conflict: Callable[[], None] = lambda: None,
) -> PublishStatus | None:
    """The status after ``edit``, which returns None to leave it alone: it is then returned as it is.

    None when there is no such publish. When somebody else was faster ``conflict`` is called, and ``edit`` is asked
    again by the store, which lets nobody else change the status meanwhile: outcomes may come faster than a status can
    be read and replaced. ``edit`` is plain and quick, and may be called in another thread.
    """
    before = await store.status(app_id, publish_id)
    after = None if before is None else edit(before)
    if before is None or after is None or after == before:
        return before
    stored = await store.swap_status(before, replace(after, updated_at_ms=now_ms))
    if stored is not None:
        return stored
    conflict()
    return await store.edit_status(app_id, publish_id, edit, now_ms)
