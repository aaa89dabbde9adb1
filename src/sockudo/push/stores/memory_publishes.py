"""Publishes and what became of them, in dictionaries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

from sockudo.push.lifecycle import Step, is_untouched
from sockudo.push.paging import TimePosition, time_after
from sockudo.push.ports import Category, Cleaned
from sockudo.push.recipients import Provider
from sockudo.push.records import (
    DeadLetter,
    DeliveryEvent,
    PublishIntent,
    PublishStatus,
    ScheduledJob,
    Shard,
    State,
)
from sockudo.push.stores.rules import (
    ENDED,
    KeyOwner,
    accept_winner,
    as_accepted,
    edited,
    is_live,
    stepped,
    stored_key,
    swapped,
)
from sockudo.push.stores.sorted_map import Shelves, SortedMap

__all__ = ["MemoryPublishes"]

Place = tuple[str, str]
"""App and publish."""


class MemoryPublishes:
    """See `sockudo.push.ports.Publishes`."""

    def __init__(self) -> None:
        super().__init__()
        self._statuses: dict[Place, PublishStatus] = {}
        self._by_time: Shelves[TimePosition, Place] = Shelves()
        self._in_state: Shelves[tuple[int, str, str], Place] = Shelves()
        self._keys: dict[Place, KeyOwner] = {}
        self._log: dict[Place, PublishIntent] = {}
        self._log_by_time: Shelves[TimePosition, PublishIntent] = Shelves()
        self._shards: dict[Place, dict[str, Shard]] = {}
        self._jobs: Shelves[str, ScheduledJob] = Shelves()
        self._due: SortedMap[tuple[int, str, str], ScheduledJob] = SortedMap()
        self._step_keys: dict[Place, set[str]] = {}
        self._step_ends: SortedMap[tuple[int, str, str, str], tuple[Place, str]] = SortedMap()
        self._events: Shelves[TimePosition, DeliveryEvent] = Shelves()
        self._events_by_time: SortedMap[tuple[int, str, str, str], DeliveryEvent] = SortedMap()
        self._letters: Shelves[TimePosition, DeadLetter] = Shelves()
        self._letters_by_time: SortedMap[tuple[int, str, str], DeadLetter] = SortedMap()
        self._letters_by_id: dict[Place, DeadLetter] = {}

    async def accept(
        self, status: PublishStatus, intent: PublishIntent | None, keys: Sequence[str], keys_until_ms: int
    ) -> PublishStatus | None:
        place = status.app_id, status.publish_id
        owner = await self.accepted(status.app_id, keys, status.created_at_ms)
        winner = accept_winner(status, self._statuses.get(place), owner)
        if winner is not None:
            return winner
        if place not in self._statuses:
            self._save(as_accepted(status))
        for key in keys:
            self._keys[status.app_id, stored_key(key)] = KeyOwner(status.publish_id, keys_until_ms)
        if intent is not None:
            await self.append_log(intent)
        return None

    async def accepted(self, app_id: str, keys: Sequence[str], now_ms: int) -> PublishStatus | None:
        for key in keys:
            owner = self._keys.get((app_id, stored_key(key)))
            if owner is not None and is_live(owner.expires_at_ms, now_ms):
                status = self._statuses.get((app_id, owner.publish_id))
                if status is not None:
                    return status
        return None

    async def status(self, app_id: str, publish_id: str) -> PublishStatus | None:
        return self._statuses.get((app_id, publish_id))

    async def statuses(
        self, app_id: str, *, states: Sequence[State] | None, after: str, limit: int
    ) -> list[PublishStatus]:
        behind = time_after(after) if after else None
        every = (self._statuses[place] for place in self._by_time[app_id].backwards(behind))
        return list(islice((each for each in every if states is None or each.state in states), limit))

    async def swap_status(self, before: PublishStatus, after: PublishStatus) -> PublishStatus | None:
        status = swapped(self._statuses.get((before.app_id, before.publish_id)), before, after)
        if status is not None:
            self._save(status)
        return status

    async def edit_status(
        self, app_id: str, publish_id: str, edit: Callable[[PublishStatus], PublishStatus | None], now_ms: int
    ) -> PublishStatus | None:
        before = self._statuses.get((app_id, publish_id))
        if before is None:
            return None
        after = edited(before, edit, now_ms)
        if after is not before:
            self._save(after)
        return after

    async def append_log(self, intent: PublishIntent) -> bool:
        place = intent.app_id, intent.publish_id
        if place in self._log:
            return False
        self._log[place] = intent
        self._log_by_time.put(intent.app_id, TimePosition(intent.accepted_at_ms, intent.publish_id), intent)
        return True

    async def intent(self, app_id: str, publish_id: str) -> PublishIntent | None:
        return self._log.get((app_id, publish_id))

    async def intents(self, app_id: str, after: str, limit: int) -> list[PublishIntent]:
        return self._log_by_time[app_id].after(time_after(after) if after else None, limit)

    async def stuck(
        self, state: State, accepted_before_ms: int, limit: int, *, accepted_after_ms: int = -1
    ) -> list[PublishIntent]:
        found = self._in_state[state]
        places = found.up_to((accepted_before_ms, "", ""), len(found))
        intents = (self._log[place] for place in places if place in self._log)
        every = ((each, self._statuses[each.app_id, each.publish_id]) for each in intents)
        late = (
            each
            for each, status in every
            if status.created_at_ms > accepted_after_ms and (state != "dispatching" or is_untouched(status))
        )
        return list(islice(late, limit))

    async def count_publishes(self, app_id: str) -> dict[State, int]:
        return dict(Counter(self._statuses[place].state for place in self._by_time[app_id].values()))

    async def put_shard(self, shard: Shard) -> None:
        self._shards.setdefault((shard.app_id, shard.publish_id), {})[shard.shard_id] = shard

    async def shard(self, app_id: str, publish_id: str, shard_id: str) -> Shard | None:
        return self._shards.get((app_id, publish_id), {}).get(shard_id)

    async def put_job(self, job: ScheduledJob) -> None:
        await self.delete_job(job.app_id, job.publish_id)
        self._jobs.put(job.app_id, job.publish_id, job)
        self._due.put((job.due_at_ms, job.app_id, job.publish_id), job)

    async def job(self, app_id: str, publish_id: str) -> ScheduledJob | None:
        return self._jobs[app_id].get(publish_id)

    async def jobs(self, app_id: str, after: str, limit: int) -> list[ScheduledJob]:
        return self._jobs[app_id].after(after, limit)

    async def due_jobs(self, now_ms: int, limit: int) -> list[ScheduledJob]:
        return self._due.up_to((now_ms + 1, "", ""), limit)

    async def delete_job(self, app_id: str, publish_id: str) -> bool:
        job = self._jobs[app_id].get(publish_id)
        if job is None:
            return False
        self._jobs.pop(app_id, publish_id)
        self._due.pop((job.due_at_ms, app_id, publish_id))
        return True

    async def take_steps(
        self, app_id: str, publish_id: str, steps: Sequence[Step], now_ms: int, keys_until_ms: int
    ) -> tuple[list[Step], PublishStatus | None]:
        place = app_id, publish_id
        known = self._step_keys.setdefault(place, set()) if steps else set()
        taken = []
        for step in steps:
            if step.key in known:
                continue
            known.add(step.key)
            self._step_ends.put((keys_until_ms, app_id, publish_id, step.key), (place, step.key))
            taken.append(step)
        await self.append_events([step.event for step in taken if step.event is not None])
        status = self._statuses.get(place)
        if status is not None and taken:
            status = stepped(status, taken, now_ms)
            self._save(status)
        return taken, status

    async def steps_taken(self, app_id: str, publish_id: str, keys: Sequence[str]) -> set[str]:
        return self._step_keys.get((app_id, publish_id), set()).intersection(keys)

    async def append_events(self, events: Sequence[DeliveryEvent]) -> None:
        for event in events:
            app_id, publish_id = event.result.app_id, event.result.publish_id
            key = event.occurred_at_ms, app_id, publish_id, event.event_id
            if key not in self._events_by_time:
                self._events_by_time.put(key, event)
                self._events.put((app_id, publish_id), TimePosition(event.occurred_at_ms, event.event_id), event)

    async def events(
        self, app_id: str, publish_id: str, after: str, limit: int, *, device_id: str | None = None
    ) -> list[DeliveryEvent]:
        events = self._events[app_id, publish_id]
        behind = time_after(after) if after else None
        if device_id is None:
            return events.after(behind, limit)
        found = (event for event in events.after(behind, len(events)) if event.result.device_id == device_id)
        return list(islice(found, limit))

    async def append_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        for letter in letters:
            name = letter.app_id, letter.dead_letter_id
            if name not in self._letters_by_id:
                self._letters_by_id[name] = letter
                position = TimePosition(letter.occurred_at_ms, letter.dead_letter_id)
                self._letters.put(letter.app_id, position, letter)
                self._letters_by_time.put((letter.occurred_at_ms, *name), letter)

    async def dead_letters(
        self,
        app_id: str,
        *,
        provider: Provider | None,
        since_ms: int | None,
        until_ms: int | None,
        after: str,
        limit: int,
    ) -> list[DeadLetter]:
        letters = self._letters[app_id]
        found = (
            each
            for each in letters.after(time_after(after) if after else None, len(letters))
            if (provider is None or each.provider == provider)
            and (since_ms is None or each.occurred_at_ms >= since_ms)
            and (until_ms is None or each.occurred_at_ms <= until_ms)
        )
        return list(islice(found, limit))

    async def dead_letter(self, app_id: str, dead_letter_id: str) -> DeadLetter | None:
        return self._letters_by_id.get((app_id, dead_letter_id))

    def _save(self, status: PublishStatus) -> None:
        place = status.app_id, status.publish_id
        before = self._statuses.get(place)
        if before is not None:
            self._forget(before)
        self._statuses[place] = status
        self._by_time.put(status.app_id, TimePosition(status.created_at_ms, status.publish_id), place)
        self._in_state.put(status.state, (status.created_at_ms, *place), place)

    def _forget(self, status: PublishStatus) -> None:
        place = status.app_id, status.publish_id
        del self._statuses[place]
        self._by_time.pop(status.app_id, TimePosition(status.created_at_ms, status.publish_id))
        self._in_state.pop(status.state, (status.created_at_ms, *place))

    # ---- an app that is gone ----

    async def _delete_publishes(self, app_id: str, limit: int) -> int:
        left = limit
        for job in self._jobs[app_id].after(None, left):
            await self.delete_job(app_id, job.publish_id)
            left -= 1
        for place in self._by_time[app_id].after(None, left):
            self._forget(self._statuses[place])
            left -= 1
        for intent in self._log_by_time[app_id].after(None, left):
            del self._log[app_id, intent.publish_id]
            self._log_by_time.pop(app_id, TimePosition(intent.accepted_at_ms, intent.publish_id))
            left -= 1
        for place in list(islice((place for place in self._shards if place[0] == app_id), left)):
            del self._shards[place]
            left -= 1
        events = (event for event in self._events_by_time.values() if event.result.app_id == app_id)
        for event in list(islice(events, left)):
            self._drop_event(event)
            left -= 1
        for letter in self._letters[app_id].after(None, left):
            self._drop_letter(letter)
            left -= 1
        for name in list(islice((name for name in self._keys if name[0] == app_id), left)):
            del self._keys[name]
            left -= 1
        return limit - left

    def _drop_event(self, event: DeliveryEvent) -> None:
        app_id, publish_id = event.result.app_id, event.result.publish_id
        self._events_by_time.pop((event.occurred_at_ms, app_id, publish_id, event.event_id))
        self._events.pop((app_id, publish_id), TimePosition(event.occurred_at_ms, event.event_id))

    def _drop_letter(self, letter: DeadLetter) -> None:
        name = letter.app_id, letter.dead_letter_id
        del self._letters_by_id[name]
        self._letters_by_time.pop((letter.occurred_at_ms, *name))
        self._letters.pop(letter.app_id, TimePosition(letter.occurred_at_ms, letter.dead_letter_id))

    # ---- cleaning; each returns how many were over and how many of them went ----

    def _clean_timed(self, before: Mapping[Category, int], now_ms: int, limit: int) -> list[Cleaned]:
        cleaned = []
        if "publish_status" in before:
            cleaned.append(self._clean_statuses(before["publish_status"], limit))
        if "delivery_events" in before:
            gone = self._events_by_time.take((before["delivery_events"], "", "", ""), limit)
            for event in gone:
                place = event.result.app_id, event.result.publish_id
                self._events.pop(place, TimePosition(event.occurred_at_ms, event.event_id))
            cleaned.append(Cleaned("delivery_events", len(gone), len(gone)))
        if "dead_letters" in before:
            letters = self._letters_by_time.take((before["dead_letters"], "", ""), limit)
            for letter in letters:
                del self._letters_by_id[letter.app_id, letter.dead_letter_id]
                self._letters.pop(letter.app_id, TimePosition(letter.occurred_at_ms, letter.dead_letter_id))
            cleaned.append(Cleaned("dead_letters", len(letters), len(letters)))
        return [*cleaned, self._clean_keys(now_ms, limit)]

    def _clean_statuses(self, before_ms: int, limit: int) -> Cleaned:
        places = [place for state in ENDED for place in self._in_state[state].up_to((before_ms, "", ""), 2**62)]
        over = [place for place in places if self._statuses[place].updated_at_ms < before_ms][:limit]
        for place in over:
            self._forget(self._statuses[place])
            self._shards.pop(place, None)
            intent = self._log.pop(place, None)
            if intent is not None:
                self._log_by_time.pop(place[0], TimePosition(intent.accepted_at_ms, intent.publish_id))
        return Cleaned("publish_status", len(over), len(over))

    def _clean_keys(self, now_ms: int, limit: int) -> Cleaned:
        keys = (name for name, owner in self._keys.items() if not is_live(owner.expires_at_ms, now_ms))
        over = list(islice(keys, limit))
        for name in over:
            del self._keys[name]
        ends = self._step_ends.take((now_ms + 1, "", "", ""), limit - len(over))
        for place, key in ends:
            known = self._step_keys[place]
            known.discard(key)
            if not known:
                del self._step_keys[place]
        return Cleaned("idempotency", len(over) + len(ends), len(over) + len(ends))
