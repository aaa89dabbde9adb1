"""Turns of the running loop, for tests in which nobody waits for anything outside of it."""

from __future__ import annotations

import asyncio

__all__ = ["settle"]


async def settle(most: int = 50) -> None:
    """Lets every task run until none has a turn to take, and for ``most`` turns of the loop where that never comes."""
    # Idle turns cost as much as others, and there is no public way to ask whether the next one will be one.
    ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
    for _ in range(most):
        await asyncio.sleep(0)
        if not ready:
            return
