"""Records in the order of their keys, in memory."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

__all__ = ["Shelves", "SortedMap"]

K = TypeVar("K", bound=Any)
V = TypeVar("V")


class SortedMap(Generic[K, V]):
    """A dictionary that knows what comes after a key. Adding is fastest at the end."""

    __slots__ = ("_keys", "_values")

    def __init__(self) -> None:
        self._keys: list[K] = []
        self._values: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: K) -> bool:
        return key in self._values

    def get(self, key: K) -> V | None:
        return self._values.get(key)

    def put(self, key: K, value: V) -> None:
        if key not in self._values:
            if self._keys and self._keys[-1] > key:
                insort(self._keys, key)
            else:
                self._keys.append(key)
        self._values[key] = value

    def pop(self, key: K) -> V | None:
        if key not in self._values:
            return None
        del self._keys[bisect_left(self._keys, key)]
        return self._values.pop(key)

    def values(self) -> list[V]:
        return [self._values[key] for key in self._keys]

    def after(self, key: K | None, limit: int) -> list[V]:
        """Those strictly behind the key, None being before all."""
        start = 0 if key is None else bisect_right(self._keys, key)
        return [self._values[each] for each in self._keys[start : start + limit]]

    def up_to(self, key: K, limit: int) -> list[V]:
        """The first ones strictly before the key."""
        return [self._values[each] for each in self._keys[: min(limit, bisect_left(self._keys, key))]]

    def take(self, key: K, limit: int) -> list[V]:
        """Takes out the first ones strictly before the key."""
        end = min(limit, bisect_left(self._keys, key))
        gone = [self._values.pop(each) for each in self._keys[:end]]
        del self._keys[:end]
        return gone

    def backwards(self, key: K | None) -> Iterator[V]:
        """Those strictly before the key, the last first; None is behind all."""
        end = len(self._keys) if key is None else bisect_left(self._keys, key)
        for place in range(end - 1, -1, -1):
            yield self._values[self._keys[place]]


class Shelves(Generic[K, V]):
    """Sorted maps by name; one with nothing in it is not kept."""

    __slots__ = ("_maps",)

    def __init__(self) -> None:
        self._maps: dict[object, SortedMap[K, V]] = {}

    def __getitem__(self, name: object) -> SortedMap[K, V]:
        """To be read only."""
        return self._maps.get(name) or SortedMap()

    def put(self, name: object, key: K, value: V) -> bool:
        """True when it is the first one of that name."""
        found = self._maps.get(name)
        if found is None:
            found = self._maps[name] = SortedMap()
        found.put(key, value)
        return len(found) == 1

    def pop(self, name: object, key: K) -> bool:
        """True when it was the last one of that name."""
        found = self._maps.get(name)
        if found is None or found.pop(key) is None or len(found):
            return False
        del self._maps[name]
        return True
