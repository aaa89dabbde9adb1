"""What time takes away, and the removal of an app: each is a bounded part of a transaction (spec: push § 7.6)."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, Table, select

from sockudo.push.ports import FOREVER_BELOW_MS, Category, Cleaned
from sockudo.push.records import TERMINAL
from sockudo.push.stores.changes import statuses_of
from sockudo.push.stores.rows import sql_state
from sockudo.push.stores.rules import ENDED
from sockudo.push.stores.statements import Statements, by_app, values

__all__ = ["clean_category", "delete_app"]

_FIRST_EVER: Final = -(2**63)


def clean_category(sql: Statements, connection: Connection, category: Category, before_ms: int, limit: int) -> Cleaned:
    """Deletes at most so many rows that are older, or have ended before this time."""
    tables = sql.tables
    if category == "publish_status":
        gone = _clean_statuses(sql, connection, before_ms, limit)
        return Cleaned(category, *gone)
    if category == "idempotency":
        deleted = _delete(sql, connection, tables.idempotency, "expires_at_ms", FOREVER_BELOW_MS, before_ms, limit)
        if deleted < limit:
            deleted += _delete(
                sql, connection, tables.step_keys, "expires_at_ms", _FIRST_EVER, before_ms, limit - deleted
            )
    elif category == "locks":
        deleted = _delete(sql, connection, tables.scheduler_locks, "expires_at_ms", _FIRST_EVER, before_ms, limit)
    else:
        table = {
            "delivery_events": tables.delivery_events,
            "dead_letters": tables.dead_letters,
            "operator_invalidations": tables.operator_invalidations,
        }[category]
        deleted = _delete(sql, connection, table, "occurred_at_ms", _FIRST_EVER, before_ms, limit)
    return Cleaned(category, deleted, deleted)


def _clean_statuses(sql: Statements, connection: Connection, before_ms: int, limit: int) -> tuple[int, int]:
    table = sql.tables.publish_status
    old = (table.c.created_at_ms < before_ms) & (table.c.updated_at_ms < before_ms)
    found: list[tuple[str, str]] = []
    for state in ENDED:
        wanted = select(table.c.app_id, table.c.publish_id).where(table.c.state == sql_state(state), old)
        rows = connection.execute(wanted.order_by(table.c.created_at_ms).limit(limit - len(found))).all()
        found += [(app_id, publish_id) for app_id, publish_id in rows]
        if len(found) >= limit:
            break
    # Each may have got a late outcome between being found and being locked.
    statuses = statuses_of(sql, connection, found, locked=True)
    over = [
        place for place, status in statuses.items() if status.state in TERMINAL and status.updated_at_ms < before_ms
    ]
    for app_id, publish_ids in by_app(over):
        for statement in (sql.delete_statuses, sql.delete_log, sql.delete_shards):
            list(values(statement, connection, app_id, publish_ids))
    return len(found), len(over)


def delete_app(sql: Statements, connection: Connection, app_id: str, limit: int) -> int:
    """Deletes at most so many rows of an app, one table after the other; how many went."""
    tables, deleted = sql.tables, 0
    for table in (
        # What is still to be done comes first.
        tables.scheduled_jobs,
        tables.publish_status,
        tables.publish_log,
        tables.fanout_shards,
        tables.channel_subscribers,
        tables.devices,
        tables.provider_credentials,
        tables.notification_templates,
        tables.delivery_events,
        tables.dead_letters,
        tables.idempotency,
        tables.operator_invalidations,
        tables.scheduler_locks,
    ):
        if deleted < limit:
            deleted += _delete_some(sql, connection, table, "app_id = {}", (app_id,), limit - deleted, "")
    return deleted


def _delete(
    sql: Statements, connection: Connection, table: Table, column: str, since_ms: int, before_ms: int, limit: int
) -> int:
    """Of rows whose time is in between, the first excluded bound being the last."""
    where = f"{column} >= {{}} AND {column} < {{}} ORDER BY {column}"
    return _delete_some(sql, connection, table, where, (since_ms, before_ms), limit, " SKIP LOCKED")


def _delete_some(
    sql: Statements,
    connection: Connection,
    table: Table,
    where: str,
    given: tuple[object, ...],
    limit: int,
    skipping: str,
) -> int:
    """``skipping`` is the clause that passes over rows which another transaction has locked."""
    place = "?" if sql.dialect.name == "sqlite" else "%s"
    name = sql.dialect.identifier_preparer.quote(table.name)
    found = f"{name} WHERE {where} LIMIT {{}}".replace("{}", place)
    match sql.dialect.name:
        case "mysql":
            statement = f"DELETE FROM {found}"  # noqa: S608 - names of ours
        case "postgresql":
            rows = f"SELECT ctid FROM {found} FOR UPDATE{skipping}"  # noqa: S608 - names of ours
            statement = f"DELETE FROM {name} WHERE ctid = ANY (ARRAY({rows}))"  # noqa: S608 - names of ours
        case _:
            key = ", ".join(each.name for each in table.primary_key)
            statement = f"DELETE FROM {name} WHERE ({key}) IN (SELECT {key} FROM {found})"  # noqa: S608 - names of ours
    return connection.exec_driver_sql(statement, (*given, limit)).rowcount
