"""A page out of many things: chosen, put in order and cut, in one pass and without holding the loop for long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Final, Generic, NamedTuple, TypeVar

__all__ = ["Selected", "Turns", "select"]

T = TypeVar("T")

_Run = list[tuple[tuple[Any, ...], T]]

# So many are looked at between two looks at the time: well under a millisecond.
_PIECE: Final = 500
_TURN_SECONDS: Final = 0.003

_first = itemgetter(0)


class Selected(NamedTuple, Generic[T]):
    """``total`` is how many there are on all pages, ``items`` those of the page that was asked for."""

    total: int
    items: list[T]


class Turns:
    """Gives the loop to others whenever what is being done here has had ``seconds`` of it."""

    __slots__ = ("_began", "_now", "_seconds")

    def __init__(self, seconds: float = _TURN_SECONDS, now: Callable[[], float] = time.perf_counter) -> None:
        self._seconds = seconds
        self._now = now
        self._began = now()

    async def next(self) -> None:
        """Called between two short pieces of work."""
        if self._now() - self._began >= self._seconds:
            await asyncio.sleep(0)
            self._began = self._now()


async def select(items: Sequence[T], key: Callable[[T], tuple[Any, ...] | None], start: int, count: int) -> Selected[T]:
    """Of those items that have a key, in the order of their keys: ``count`` from the place ``start`` on.

    ``key`` is asked once of each item and answers None for one that is not wanted; no two keys may be equal. ``items``
    is a copy that nobody changes meanwhile; what the items say may change, and is taken as it was when they were asked.
    """
    turns = Turns()
    runs: list[_Run[T]] = []
    for begin in range(0, len(items), _PIECE):
        runs.append([(found, item) for item in items[begin : begin + _PIECE] if (found := key(item)) is not None])
        await turns.next()
    total = sum(map(len, runs))
    stop = min(start + count, total)
    if start >= stop:
        return Selected(total, [])
    # What is nearer to the end is counted from there, so that little has to be put in order for either end.
    backwards = start > total // 2
    wanted = total - start if backwards else stop
    ordered = await _smallest(runs, wanted, turns, reverse=backwards)
    if backwards:
        ordered.reverse()
        page = ordered[: stop - start]
    else:
        page = ordered[start:stop]
    return Selected(total, [item for _, item in page])


async def _smallest(runs: list[_Run[T]], wanted: int, turns: Turns, *, reverse: bool) -> _Run[T]:
    """The first ``wanted`` of all, in order."""
    for run in runs:
        run.sort(key=_first, reverse=reverse)
        del run[wanted:]
        await turns.next()
    while len(runs) > 1:
        merged = runs[::2]
        for run, other in zip(merged, runs[1::2], strict=False):
            run.extend(other)
            # Two runs in order: sorting merges them.
            run.sort(key=_first, reverse=reverse)
            del run[wanted:]
            await turns.next()
        runs = merged
    return runs[0] if runs else []
