"""Long lists, a page at a time: ``?q=&page=&per_page=`` on pages and in the API, of what is in order already or not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from typing import Any, Final, Generic, NamedTuple, TypeVar
from urllib.parse import urlencode

from starlette.requests import Request

from sockudo import errors

__all__ = ["DEFAULT_PER_PAGE", "MAX_PER_PAGE", "Page", "Paging", "Selected", "Turns", "select"]


DEFAULT_PER_PAGE = 50
MAX_PER_PAGE = 200
_MAX_PAGE = 1_000_000
_MAX_QUERY = 200

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Paging:
    """What part of a list is asked for. ``page`` begins at 1; ``q`` is what is searched for, without outer spaces."""

    q: str
    page: int
    per_page: int
    # The other parameters of the URL, which links to other pages keep.
    kept: tuple[tuple[str, str], ...] = ()
    path: str = ""

    @classmethod
    def of(cls, request: Request) -> Paging:
        """Raises `errors.INVALID_INPUT` for numbers that are none or out of range."""
        query = request.query_params
        kept = tuple((name, value) for name, value in query.multi_items() if name not in ("q", "page", "per_page"))
        return cls(
            query.get("q", "").strip()[:_MAX_QUERY],
            _number(query.get("page"), "page", 1, _MAX_PAGE),
            _number(query.get("per_page"), "per_page", DEFAULT_PER_PAGE, MAX_PER_PAGE),
            kept,
            request.scope["path"],
        )

    @property
    def start(self) -> int:
        """How many entries come before this page."""
        return (self.page - 1) * self.per_page

    def cut(self, entries: Sequence[T]) -> Page[T]:
        """The page out of a list that is whole, sorted and searched already."""
        return Page(entries[self.start : self.start + self.per_page], len(entries), self)

    def cut_iterable(self, entries: Iterable[T], total: int) -> Page[T]:
        """The page out of something that is walked through; ``total`` is known."""
        return Page(list(islice(entries, self.start, self.start + self.per_page)), total, self)

    def url(self, page: int) -> str:
        """The link to another page of the same list."""
        pairs = [*self.kept, *([("q", self.q)] if self.q else []), ("page", str(page))]
        if self.per_page != DEFAULT_PER_PAGE:
            pairs.append(("per_page", str(self.per_page)))
        return f"{self.path}?{urlencode(pairs)}"


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list and where it lies in it.

    ``complete`` is False when a node did not answer, whose entries are missing then; None for a list of one node alone.
    """

    entries: Sequence[T]
    total: int
    paging: Paging
    complete: bool | None = None

    @property
    def pages(self) -> int:
        """How many there are, at least one."""
        return max(1, -(-self.total // self.paging.per_page))

    @property
    def first(self) -> int:
        """Place of the first entry here, from 1; 0 on a page without entries."""
        return self.paging.start + 1 if self.entries else 0

    @property
    def last(self) -> int:
        """Place of the last entry here."""
        return self.paging.start + len(self.entries)

    @property
    def previous_url(self) -> str | None:
        """The link to the page before this one."""
        return self.paging.url(min(self.paging.page - 1, self.pages)) if self.paging.page > 1 else None

    @property
    def next_url(self) -> str | None:
        """The link to the page after this one."""
        return self.paging.url(self.paging.page + 1) if self.paging.page < self.pages else None

    def body(self, entries: Sequence[Any]) -> dict[str, Any]:
        """The page as the API gives it, with its entries as plain values."""
        body = {
            "items": entries,
            "total": self.total,
            "page": self.paging.page,
            "per_page": self.paging.per_page,
            "pages": self.pages,
        }
        return body if self.complete is None else {**body, "complete": self.complete}


def _number(text: str | None, name: str, default: int, high: int) -> int:
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= high):
        raise errors.INVALID_INPUT(f"'{name}' must be a whole number from 1 to {high}")
    return int(text)


# ---- what is in no order yet ----


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
    is a copy that does not change meanwhile; the state of the items may change, and counts as it was when they were
    asked.
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
