"""Changes that are made many at a time, by kind: rows are locked and read, all is decided, and then written."""

from __future__ import annotations

import time
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace
from sqlalchemy import Connection

from sockudo.push.lifecycle import Step
from sockudo.push.ports import Change
from sockudo.push.records import Device, PublishIntent, PublishStatus, Subscription
from sockudo.push.stores.rows import device_of, device_row, event_row, log_row, status_of, status_row, subscription_row
from sockudo.push.stores.rules import (
    KeyOwner,
    accept_winner,
    as_accepted,
    edited,
    is_live,
    stepped,
    stored_key,
    swapped,
)
from sockudo.push.stores.schema import step_key_hash
from sockudo.push.stores.statements import Statements, by_app, chunks, values

__all__ = [
    "Accept",
    "Edit",
    "Locking",
    "PublishChange",
    "Putting",
    "Recording",
    "Steps",
    "Swap",
    "change_locks",
    "change_publishes",
    "live_owner",
    "now_ms",
    "owners_of",
    "put_devices",
    "put_subscriptions",
    "record_keys",
    "statuses_of",
]

Place = tuple[str, str]
"""App and publish, or app and key."""


# ---- publishes ----


class Accept(NamedTuple):
    """See `Publishes.accept`."""

    status: PublishStatus
    intent: PublishIntent | None
    keys: Sequence[str]
    keys_until_ms: int

    @property
    def place(self) -> Place:
        return self.status.app_id, self.status.publish_id


class Swap(NamedTuple):
    """See `Publishes.swap_status`."""

    before: PublishStatus
    after: PublishStatus

    @property
    def place(self) -> Place:
        return self.before.app_id, self.before.publish_id


class Edit(NamedTuple):
    """See `Publishes.edit_status`."""

    place: Place
    edit: Callable[[PublishStatus], PublishStatus | None]
    now_ms: int


class Steps(NamedTuple):
    """See `Publishes.take_steps`."""

    place: Place
    steps: Sequence[Step]
    now_ms: int
    keys_until_ms: int


PublishChange = Accept | Swap | Edit | Steps


def change_publishes(sql: Statements, connection: Connection, changes: Sequence[PublishChange]) -> list[Any]:
    """The results of the methods that they stand for."""
    batch = _Batch(sql, connection, changes)
    results = [batch.make(change) for change in changes]
    batch.write()
    return results


class _Batch:
    """What the changes need to know, and what has to be written.

    A row that was not there is inserted, not replaced: when another process was faster with one, the transaction is
    undone and begins again, and then sees it.
    """

    def __init__(self, sql: Statements, connection: Connection, changes: Sequence[PublishChange]) -> None:
        self._sql = sql
        self._connection = connection
        self._statuses = statuses_of(sql, connection, [change.place for change in changes], locked=True)
        self._stored = frozenset(self._statuses)
        self._written: dict[Place, None] = {}
        accepts = [change for change in changes if isinstance(change, Accept)]
        self._owners = owners_of(
            sql, connection, [(each.place[0], stored_key(key)) for each in accepts for key in each.keys], locked=True
        )
        self._stored_keys = frozenset(self._owners)
        self._written_keys: dict[Place, None] = {}
        others = {(app_id, owner.publish_id) for (app_id, _), owner in self._owners.items()} - self._stored
        self._others = statuses_of(sql, connection, others, locked=False)
        self._log: list[tuple[object, ...]] = []
        self._hashes = {
            id(change): [step_key_hash(*change.place, step.key) for step in change.steps]
            for change in changes
            if isinstance(change, Steps)
        }
        wanted = sorted({each for hashes in self._hashes.values() for each in hashes})
        self._known = {row[0] for some in chunks(wanted) for row in sql.steps.run(connection, some)}
        self._steps: list[tuple[object, ...]] = []
        self._events: list[tuple[object, ...]] = []

    def make(self, change: PublishChange) -> Any:
        match change:
            case Accept():
                return self._accept(change)
            case Swap():
                return self._swap(change)
            case Edit():
                return self._edit(change)
            case Steps():
                return self._take(change)

    def _accept(self, accept: Accept) -> PublishStatus | None:
        place, status = accept.place, accept.status
        names = [(status.app_id, stored_key(key)) for key in accept.keys]
        owner = live_owner(names, self._owners, ChainMap(self._statuses, self._others), status.created_at_ms)
        winner = accept_winner(status, self._statuses.get(place), owner)
        if winner is not None:
            return winner
        if place not in self._statuses:
            self._save(place, as_accepted(status))
        for name in names:
            self._owners[name] = KeyOwner(status.publish_id, accept.keys_until_ms)
            self._written_keys[name] = None
        if accept.intent is not None:
            self._log.append(log_row(accept.intent))
        return None

    def _swap(self, swap: Swap) -> PublishStatus | None:
        status = swapped(self._statuses.get(swap.place), swap.before, swap.after)
        if status is not None:
            self._save(swap.place, status)
        return status

    def _edit(self, change: Edit) -> PublishStatus | None:
        before = self._statuses.get(change.place)
        if before is None:
            return None
        after = edited(before, change.edit, change.now_ms)
        if after is not before:
            self._save(change.place, after)
        return after

    def _take(self, change: Steps) -> tuple[list[Step], PublishStatus | None]:
        taken = []
        for step, key in zip(change.steps, self._hashes[id(change)], strict=True):
            if key not in self._known:
                self._known.add(key)
                self._steps.append((key, change.keys_until_ms))
                taken.append(step)
        self._events += [event_row(step.event) for step in taken if step.event is not None]
        status = self._statuses.get(change.place)
        if status is not None and taken:
            status = stepped(status, taken, change.now_ms)
            self._save(change.place, status)
        return taken, status

    def _save(self, place: Place, status: PublishStatus) -> None:
        self._statuses[place] = status
        self._written[place] = None

    def write(self) -> None:
        """In the order in which every process takes its locks."""
        sql, connection = self._sql, self._connection
        rows = [(place in self._stored, status_row(self._statuses[place])) for place in sorted(self._written)]
        _run(sql.save_statuses, connection, [row for stored, row in rows if stored])
        _run(sql.insert_statuses, connection, [row for stored, row in rows if not stored])
        keys = [(name in self._stored_keys, (*name, *self._owners[name])) for name in sorted(self._written_keys)]
        _run(sql.save_keys, connection, [row for stored, row in keys if stored])
        _run(sql.insert_keys, connection, [row for stored, row in keys if not stored])
        _run(sql.keep_log, connection, self._log)
        _run(sql.insert_steps, connection, sorted(self._steps))
        _run(sql.keep_events, connection, self._events)


def _run(insert: Any, connection: Connection, rows: Sequence[tuple[object, ...]]) -> None:
    if rows:
        insert.run(connection, rows)


def live_owner(
    names: Iterable[Place], owners: Mapping[Place, KeyOwner], statuses: Mapping[Place, PublishStatus], now_ms: int
) -> PublishStatus | None:
    """The status of the publish that has one of the keys, if both are still there."""
    for name in names:
        owner = owners.get(name)
        if owner is not None and is_live(owner.expires_at_ms, now_ms):
            status = statuses.get((name[0], owner.publish_id))
            if status is not None:
                return status
    return None


def statuses_of(
    sql: Statements, connection: Connection, places: Iterable[Place], *, locked: bool
) -> dict[Place, PublishStatus]:
    """The statuses that there are of these publishes."""
    listed = sql.lock_statuses if locked else sql.statuses
    return {
        (app_id, publish_id): status_of(text)
        for app_id, names in by_app(places)
        for publish_id, text in values(listed, connection, app_id, names)
    }


def owners_of(
    sql: Statements, connection: Connection, names: Iterable[Place], *, locked: bool
) -> dict[Place, KeyOwner]:
    """What these keys of apps stand for, over or not."""
    listed = sql.lock_keys if locked else sql.keys
    return {
        (app_id, key): KeyOwner(publish_id, expires_at_ms)
        for app_id, keys in by_app(names)
        for key, publish_id, expires_at_ms in values(listed, connection, app_id, keys)
    }


# ---- locks and keys that processes share ----


class Locking(NamedTuple):
    """See `PushStore.lock`; giving back is locking until ``until_ms`` None."""

    place: Place
    owner: str
    now_ms: int
    until_ms: int | None


class Recording(NamedTuple):
    """See `PushStore.record_once`."""

    place: Place
    now_ms: int
    until_ms: int


def change_locks(sql: Statements, connection: Connection, requests: Sequence[Locking]) -> list[bool]:
    """Whether each was granted, or given back."""
    held = {
        (app_id, name): (owner, until_ms)
        for app_id, names in by_app(request.place for request in requests)
        for name, owner, until_ms in values(sql.lock_locks, connection, app_id, names)
    }
    stored = dict(held)
    results = []
    for place, owner, now_ms, until_ms in requests:
        holder = held.get(place)
        mine = holder is not None and holder[0] == owner
        granted = mine if until_ms is None else holder is None or mine or holder[1] <= now_ms
        results.append(granted)
        if granted and until_ms is None:
            del held[place]
        elif granted and until_ms is not None:
            held[place] = owner, until_ms
    new = [(*place, *held[place]) for place in sorted(held) if place not in stored]
    changed = [(*place, *held[place]) for place in sorted(held) if place in stored and held[place] != stored[place]]
    if new:
        sql.insert_locks.run(connection, new)
    if changed:
        sql.save_locks.run(connection, changed)
    for app_id, names in by_app(place for place in stored if place not in held):
        list(values(sql.delete_locks, connection, app_id, names))
    return results


def record_keys(sql: Statements, connection: Connection, requests: Sequence[Recording]) -> list[bool]:
    """Whether each was the first."""
    stored = owners_of(sql, connection, (request.place for request in requests), locked=True)
    known = dict(stored)
    written: dict[Place, None] = {}
    results = []
    for place, now_ms, until_ms in requests:
        owner = known.get(place)
        first = owner is None or not is_live(owner.expires_at_ms, now_ms)
        results.append(first)
        if first:
            known[place] = KeyOwner("", until_ms)
            written[place] = None
    new = [(*place, *known[place]) for place in sorted(written) if place not in stored]
    changed = [(*place, *known[place]) for place in sorted(written) if place in stored]
    if new:
        sql.insert_keys.run(connection, new)
    if changed:
        sql.save_keys.run(connection, changed)
    return results


# ---- devices and subscriptions ----


class Putting(NamedTuple):
    """See `Devices.put_device`."""

    device: Device
    keep_secret: bool


def put_devices(sql: Statements, connection: Connection, requests: Sequence[Putting]) -> list[Change]:
    """What each has changed."""
    stored = {
        (app_id, row.device_id): device_of(row)
        for app_id, device_ids in by_app((device.app_id, device.id) for device, _ in requests)
        for row in values(sql.lock_devices, connection, app_id, device_ids)
    }
    written: dict[tuple[str, str], Device] = {}
    changes: list[Change] = []
    for device, keep_secret in requests:
        place = device.app_id, device.id
        before = written.get(place) or stored.get(place)
        if before is not None and keep_secret:
            device = replace(device, secret_hash=before.secret_hash)  # noqa: PLW2901 - it is this one from here on
        if before == device:
            changes.append("unchanged")
            continue
        changes.append("inserted" if before is None else "updated")
        written[place] = device
    if written:
        at_ms = now_ms()
        sql.save_devices.run(connection, [device_row(written[place], at_ms) for place in sorted(written)])
    return changes


def put_subscriptions(sql: Statements, connection: Connection, requests: Sequence[Subscription]) -> list[None]:
    """Of those about the same channel and device the last one counts."""
    written = {(each.app_id, each.channel, each.device_id): each for each in requests}
    at_ms = now_ms()
    sql.save_subscriptions.run(connection, [subscription_row(written[place], at_ms) for place in sorted(written)])
    return [None] * len(requests)


def now_ms() -> int:
    """For the columns that say when a row was written, which nothing reads."""
    return int(time.time() * 1000)
