"""Statements of the push store for many rows at once, made once for a set of tables and a dialect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import ColumnElement, Connection, Dialect, Integer, Select, Table, and_, bindparam, or_, select

from sockudo.push.stores.schema import Tables
from sockudo.storage.many import Insert, Listed

__all__ = ["Statements", "behind", "by_app", "chunks", "values"]

T = TypeVar("T")

_AT_ONCE: Final = 1024


class Statements:
    """``save_…`` replace a row that exists, ``keep_…`` leave it, and ``insert_…`` fail."""

    def __init__(self, tables: Tables, dialect: Dialect) -> None:
        self.tables = tables
        self.dialect = dialect
        lock = "" if dialect.name == "sqlite" else " FOR UPDATE"

        def save(table: Table, *kept: str) -> Insert:
            changing = [name for name in _columns(table) if not table.c[name].primary_key and name not in kept]
            return Insert(table, dialect, _columns(table), changing)

        def of_app(table: Table, what: str, column: str, end: str = "") -> Listed:
            return Listed(table, dialect, what, column, f"AND app_id = {{}}{end}")

        def locked(table: Table, what: str, column: str) -> Listed:
            return of_app(table, f"SELECT {what}", column, f" ORDER BY {column}{lock}")

        devices, subscribers = tables.devices, tables.channel_subscribers
        self.save_devices = save(devices, "created_at_ms")
        self.devices = of_app(devices, f"SELECT {_listed(devices)}", "device_id")
        self.lock_devices = locked(devices, _listed(devices), "device_id")
        self.delete_devices = of_app(devices, "DELETE", "device_id")
        self.save_subscriptions = save(subscribers)
        self.count_subscriptions = of_app(subscribers, "SELECT channel, COUNT(*)", "channel", " GROUP BY channel")
        self.subscriptions_of_channel = _page_of_channel(subscribers)
        self.delete_subscriptions = of_app(subscribers, "DELETE", "device_id")
        self.save_credentials = save(tables.provider_credentials)
        self.save_templates = save(tables.notification_templates)

        status = tables.publish_status
        self.insert_statuses = Insert(status, dialect, _columns(status), None)
        self.save_statuses = save(status)
        self.statuses = of_app(status, "SELECT publish_id, counters_json", "publish_id")
        self.lock_statuses = locked(status, "publish_id, counters_json", "publish_id")
        self.delete_statuses = of_app(status, "DELETE", "publish_id")
        self.keep_log = Insert(tables.publish_log, dialect, _columns(tables.publish_log), ())
        self.insert_log = Insert(tables.publish_log, dialect, _columns(tables.publish_log), None)
        self.log = of_app(tables.publish_log, "SELECT event_json", "publish_id")
        self.delete_log = of_app(tables.publish_log, "DELETE", "publish_id")
        self.save_shards = save(tables.fanout_shards)
        self.delete_shards = of_app(tables.fanout_shards, "DELETE", "publish_id")
        self.save_jobs = save(tables.scheduled_jobs)
        self.keep_events = Insert(tables.delivery_events, dialect, _columns(tables.delivery_events), ())
        self.keep_letters = Insert(tables.dead_letters, dialect, _columns(tables.dead_letters), ())

        idempotency, steps, locks = tables.idempotency, tables.step_keys, tables.scheduler_locks
        self.insert_keys = Insert(idempotency, dialect, _columns(idempotency), None)
        self.save_keys = save(idempotency)
        self.keys = of_app(idempotency, "SELECT idempotency_key, publish_id, expires_at_ms", "idempotency_key")
        self.lock_keys = locked(idempotency, "idempotency_key, publish_id, expires_at_ms", "idempotency_key")
        self.insert_steps = Insert(steps, dialect, _columns(steps), None)
        self.steps = Listed(steps, dialect, "SELECT key_hash", "key_hash")
        self.insert_locks = Insert(locks, dialect, _columns(locks), None)
        self.save_locks = save(locks)
        self.delete_locks = of_app(locks, "DELETE", "publish_id")
        self.lock_locks = locked(locks, "publish_id, owner_id, expires_at_ms", "publish_id")
        self.keep_removals = Insert(tables.removals, dialect, _columns(tables.removals), ())
        self.insert_notes = Insert(
            tables.operator_invalidations, dialect, _columns(tables.operator_invalidations), None
        )


def _page_of_channel(subscribers: Table) -> Select[Any]:
    """Asked for at every publish to a channel: putting a statement together takes longer than most databases do."""
    of = subscribers.c
    return (
        select(subscribers)
        .where(of.app_id == bindparam("app"), of.channel == bindparam("of_channel"), of.device_id > bindparam("behind"))
        .order_by(of.device_id)
        .limit(bindparam("most", type_=Integer))
    )


def values(listed: Listed, connection: Connection, app_id: str, names: Iterable[str]) -> Iterator[Any]:
    """The rows of an app that are listed, a bounded number at a time; for statements of `Statements` about one app."""
    for some in chunks(sorted(set(names))):
        yield from listed.run(connection, some, app_id)


def by_app(places: Iterable[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Apps in order, each with its names in order: rows are locked in this order everywhere."""
    apps: dict[str, set[str]] = {}
    for app_id, name in places:
        apps.setdefault(app_id, set()).add(name)
    for app_id in sorted(apps):
        yield app_id, sorted(apps[app_id])


def chunks(every: Sequence[T]) -> Iterator[Sequence[T]]:
    """As many at a time as a statement can list."""
    for start in range(0, len(every), _AT_ONCE):
        yield every[start : start + _AT_ONCE]


def behind(
    first: ColumnElement[Any], second: ColumnElement[Any], than: tuple[object, object], *, downwards: bool = False
) -> ColumnElement[bool]:
    """Whether the two columns together come after these values, in a way that every database finds by an index."""
    one, two = than
    if downwards:
        return and_(first <= one, or_(first < one, second < two))
    return and_(first >= one, or_(first > one, second > two))


def _columns(table: Table) -> list[str]:
    return [column.name for column in table.columns]


def _listed(table: Table) -> str:
    return ", ".join(_columns(table))
