"""Locks and keys that processes share, many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from sockudo.push.stores.publish_changes import owners_of
from sockudo.push.stores.rules import KeyOwner, is_live
from sockudo.push.stores.statements import Statements, by_app, values

__all__ = ["Locking", "Recording", "change_locks", "record_keys"]

Place = tuple[str, str]
"""App, and lock or key, as they are stored."""


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
