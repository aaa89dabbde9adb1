"""A bounded history of numbers: rows in time, of which the oldest make room."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from math import nan
from typing import Final

import msgspec

__all__ = ["Ring", "Rows"]

_UNSIGNED_MAX: Final = 2**32 - 1


class Rows(msgspec.Struct):
    """Rows by column, the oldest first; ``at`` is Unix milliseconds. NaN (null in JSON) is what was not known.

    ``counts`` has the words that were counted at all within these rows, each with a count for every row.
    """

    at: list[int]
    series: dict[str, list[float]]
    counts: dict[str, list[int]]


class Ring:
    """Holds the last ``capacity`` rows of the columns ``names`` in typed arrays: 8 bytes a number, made at once.

    Beside them words may be counted, in 4 bytes for each word and row; the caller bounds how many words there are.
    """

    def __init__(self, names: Sequence[str], capacity: int) -> None:
        self.names = tuple(names)
        self.capacity = capacity
        # Rows ever appended; row n, counted from 0, is in place n % capacity.
        self.count = 0
        self._at = array("q", bytes(8 * capacity))
        self._columns = [array("d", [nan]) * capacity for _ in names]
        self._words: dict[str, array[int]] = {}

    def __len__(self) -> int:
        return min(self.count, self.capacity)

    @property
    def last_at(self) -> int | None:
        """The time of the newest row."""
        return self._at[(self.count - 1) % self.capacity] if self.count else None

    def append(self, at_ms: int, row: Sequence[float], counts: Mapping[str, int] | None = None) -> None:
        """Adds a row, which has to be later than the last one; see `shift`. Raises ValueError for one that is not."""
        last = self.last_at
        if last is not None and at_ms <= last:
            raise ValueError(f"row at {at_ms} after one at {last}")
        place = self.count % self.capacity
        self._at[place] = at_ms
        for column, value in zip(self._columns, row, strict=True):
            column[place] = value
        counts = counts or {}
        for word in counts:
            if word not in self._words:
                self._words[word] = array("I", bytes(4 * self.capacity))
        for word, column_of_word in self._words.items():
            column_of_word[place] = min(counts.get(word, 0), _UNSIGNED_MAX)
        self.count += 1

    def shift(self, milliseconds: int) -> None:
        """Moves all rows in time: the clock was set, and they keep their distances."""
        for place in range(len(self)):
            self._at[place] += milliseconds

    def number_after(self, at_ms: int) -> int:
        """The number of the first row that is later, `count` when there is none."""
        return self.count - len(self) + bisect_right(self._unrolled(self._at), at_ms)

    def rows(self, first: int = 0) -> Rows:
        """The rows from number ``first`` on, as far as they are still here."""
        skipped = max(0, first - (self.count - len(self)))
        words = {word: self._unrolled(column)[skipped:].tolist() for word, column in self._words.items()}
        return Rows(
            self._unrolled(self._at)[skipped:].tolist(),
            {
                name: self._unrolled(column)[skipped:].tolist()
                for name, column in zip(self.names, self._columns, strict=True)
            },
            {word: column for word, column in words.items() if any(column)},
        )

    def column(self, name: str, last: int) -> list[float]:
        """The newest values of a column, at most ``last`` of them."""
        return self._unrolled(self._columns[self.names.index(name)])[-last:].tolist()

    def _unrolled(self, column: array) -> array:  # type: ignore[type-arg]  # of either kind of number
        if self.count <= self.capacity:
            return column[: self.count]
        start = self.count % self.capacity
        return column[start:] + column[:start]
