"""The push store in dictionaries: for development and tests, and the definition of `PushStore`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import NamedTuple

from sockudo.base.ids import unique_id
from sockudo.push.paging import TimePosition, time_after
from sockudo.push.ports import Category, Cleaned, OperatorNote, Removal
from sockudo.push.stores.memory_devices import MemoryDevices, MemorySettings
from sockudo.push.stores.memory_publishes import MemoryPublishes
from sockudo.push.stores.rules import KeyOwner, is_live, stored_key
from sockudo.push.stores.sorted_map import Shelves, SortedMap

__all__ = ["MemoryPushStore"]


class _Lock(NamedTuple):
    owner: str
    until_ms: int


class MemoryPushStore(MemoryDevices, MemorySettings, MemoryPublishes):
    """Nothing in here survives the process. Every change is made at once: nothing waits."""

    def __init__(self) -> None:
        super().__init__()
        self._removals: dict[str, Removal] = {}
        self._locks: dict[tuple[str, str], _Lock] = {}
        self._notes: Shelves[TimePosition, OperatorNote] = Shelves()
        self._notes_by_time: SortedMap[tuple[int, str, str], tuple[str, OperatorNote]] = SortedMap()

    async def start(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to give back."""

    async def check(self) -> bool:
        return True

    async def lock(self, app_id: str, name: str, owner: str, now_ms: int, until_ms: int) -> bool:
        held = self._locks.get((app_id, name))
        if held is not None and held.owner != owner and held.until_ms > now_ms:
            return False
        self._locks[app_id, name] = _Lock(owner, until_ms)
        return True

    async def unlock(self, app_id: str, name: str, owner: str) -> None:
        held = self._locks.get((app_id, name))
        if held is not None and held.owner == owner:
            del self._locks[app_id, name]

    async def record_once(self, app_id: str, key: str, now_ms: int, until_ms: int) -> bool:
        if await self.recorded(app_id, key, now_ms):
            return False
        self._keys[app_id, stored_key(key)] = KeyOwner("", until_ms)
        return True

    async def recorded(self, app_id: str, key: str, now_ms: int) -> bool:
        owner = self._keys.get((app_id, stored_key(key)))
        return owner is not None and is_live(owner.expires_at_ms, now_ms)

    async def note_operator(self, app_id: str, subject: str, at_ms: int) -> None:
        note = OperatorNote(unique_id(), at_ms, subject)
        self._notes.put(app_id, TimePosition(at_ms, note.event_id), note)
        self._notes_by_time.put((at_ms, app_id, note.event_id), (app_id, note))

    async def operator_notes(self, app_id: str, after: str, limit: int) -> list[OperatorNote]:
        return self._notes[app_id].after(time_after(after) if after else None, limit)

    async def note_removal(self, app_id: str, at_ms: int) -> None:
        self._removals.setdefault(app_id, Removal(app_id, at_ms))

    async def removals(self) -> list[Removal]:
        return sorted(self._removals.values())

    async def end_removal(self, app_id: str) -> None:
        self._removals.pop(app_id, None)

    async def delete_app(self, app_id: str, limit: int) -> int:
        deleted = await self._delete_publishes(app_id, limit)
        deleted += await self._delete_devices(app_id, limit - deleted)
        deleted += self._delete_settings(app_id, limit - deleted)
        for note in self._notes[app_id].after(None, limit - deleted):
            self._notes.pop(app_id, TimePosition(note.occurred_at_ms, note.event_id))
            self._notes_by_time.pop((note.occurred_at_ms, app_id, note.event_id))
            deleted += 1
        for name in list(islice((name for name in self._locks if name[0] == app_id), limit - deleted)):
            del self._locks[name]
            deleted += 1
        return deleted

    async def clean(self, before: Mapping[Category, int], now_ms: int, limit: int) -> list[Cleaned]:
        cleaned = self._clean_timed(before, now_ms, limit)
        if "operator_invalidations" in before:
            notes = self._notes_by_time.take((before["operator_invalidations"], "", ""), limit)
            for app_id, note in notes:
                self._notes.pop(app_id, TimePosition(note.occurred_at_ms, note.event_id))
            cleaned.append(Cleaned("operator_invalidations", len(notes), len(notes)))
        ended = (name for name, held in self._locks.items() if held.until_ms <= now_ms)
        over = list(islice(ended, limit))
        for name in over:
            del self._locks[name]
        return [*cleaned, Cleaned("locks", len(over), len(over))]
