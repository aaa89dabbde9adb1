"""What is done to publishes, many at a time: rows are locked and read, all is decided, and then written."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from sockudo.push.lifecycle import Step
from sockudo.push.records import PublishIntent, PublishStatus
from sockudo.push.stores.rows import event_row, log_row, status_of, status_row
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

__all__ = ["Accept", "Change", "Edit", "Steps", "Swap", "change_publishes", "live_owner", "owners_of", "statuses_of"]

Place = tuple[str, str]
"""App and publish, or app and key."""


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


Change = Accept | Swap | Edit | Steps


def change_publishes(sql: Statements, connection: Connection, changes: Sequence[Change]) -> list[Any]:
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

    def __init__(self, sql: Statements, connection: Connection, changes: Sequence[Change]) -> None:
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

    def make(self, change: Change) -> Any:
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
