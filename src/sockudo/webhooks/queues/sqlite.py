"""Webhook deliveries in an SQLite file: what was accepted survives the process, whatever ends it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import Connection, Engine

from sockudo import errors
from sockudo.base.ids import unique_id
from sockudo.storage.engine import sqlite_engine
from sockudo.storage.failures import Subject
from sockudo.storage.holders import this_process
from sockudo.storage.migrations import migrate_file
from sockudo.storage.sqlite_files import make_private_file
from sockudo.storage.worker import Worker
from sockudo.webhooks.ports import Claim, Endpoints, Outcome
from sockudo.webhooks.queues.sqlite_lanes import (
    LANE,
    OPEN_LANE,
    end,
    execute_many,
    free_lanes_of_the_dead,
    lane_of,
    next_head,
    replay,
    settle,
)
from sockudo.webhooks.queues.sqlite_schema import STEPS
from sockudo.webhooks.records import Attempt, Counts, Delivery, State

__all__ = ["FILE_NAME", "SqliteWebhookQueue"]

FILE_NAME: Final = "webhooks.sqlite3"

T = TypeVar("T")

# How long a writer waits for another process.
_TIMEOUT_MS: Final = 5000
_AT_ONCE: Final = 1000

_COLUMNS: Final = (
    "id, app_id, endpoint, lane, body, events, created_at_ms, due_at_ms, state, attempts, first_attempt_at_ms, "
    "settled_at_ms, reason, sequence, trace"
)
_APPEND: Final = """
INSERT INTO deliveries (id, app_id, endpoint, lane, body, events, created_at_ms, due_at_ms, state, trace)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'waiting', ?) ON CONFLICT (id) DO NOTHING
"""


_SUBJECT: Final = Subject(
    errors.SERVICE_UNAVAILABLE,
    "sockudo.webhooks",
    "the webhook queue",
    "the webhook queue's file",
    "this delivery",
)


class SqliteWebhookQueue:
    """Keeps deliveries in ``webhooks.sqlite3`` in the data directory, both made readable by their owner alone.

    Everything is done in one thread, which has the one connection; a power cut loses nothing that was appended. What
    has become of a delivery is not waited for on the disk: a power cut may undo the latest, and they are sent again.
    """

    def __init__(self, data_dir: Path | str) -> None:
        self._path = Path(data_dir) / FILE_NAME
        self._holder = ""
        engine = sqlite_engine(self._path, pool_size=1, timeout_ms=_TIMEOUT_MS, writing=True)
        self._worker = Worker(engine, "webhook-queue", 1, _TIMEOUT_MS, _SUBJECT, background=True)

    @property
    def path(self) -> Path:
        """Where the deliveries are kept."""
        return self._path

    async def start(self) -> None:
        self._worker.start()
        self._holder = this_process()
        try:
            await self._worker.call(self._open)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self._worker.close()

    async def append(self, deliveries: Sequence[Delivery]) -> None:
        await self._write(partial(self._append, list(deliveries)))

    async def claim(
        self, now_ms: int, lease_until_ms: int, limit: int, *, besides: Endpoints = frozenset()
    ) -> list[Claim]:
        return await self._write(partial(self._claim, now_ms, lease_until_ms, limit, tuple(besides)), durable=False)

    async def renew(self, claims: Sequence[Claim], lease_until_ms: int) -> None:
        await self._write(partial(self._renew, list(claims), lease_until_ms), durable=False)

    async def settle(self, outcomes: Sequence[tuple[Claim, Outcome]], now_ms: int) -> list[bool]:
        return await self._write(partial(self._settle, list(outcomes), now_ms), durable=False)

    async def next_due(self, *, besides: Endpoints = frozenset()) -> int | None:
        return await self._worker.read(partial(self._next_due, tuple(besides)))

    async def counts(self) -> Mapping[tuple[str, str], Counts]:
        return await self._worker.read(self._counts)

    async def page(
        self,
        app_id: str,
        *,
        endpoint: str | None = None,
        state: State | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[Delivery]:
        return await self._worker.read(partial(self._page, app_id, endpoint, state, before, limit))

    async def get(self, app_id: str, delivery_id: str) -> tuple[Delivery, list[Attempt]] | None:
        return await self._worker.read(partial(self._get, app_id, delivery_id))

    async def replay(
        self, app_id: str, now_ms: int, *, ids: Sequence[str] | None = None, endpoint: str | None = None
    ) -> int:
        chosen = None if ids is None else list(dict.fromkeys(ids))
        return await self._write(partial(self._replay, app_id, now_ms, chosen, endpoint))

    async def expire(self, app_id: str, endpoint: str, created_before_ms: int, now_ms: int, reason: str) -> int:
        return await self._write(partial(self._expire, app_id, endpoint, created_before_ms, now_ms, reason))

    async def trim(self, keep_delivered: int, keep_dead: int) -> int:
        return await self._write(partial(self._trim, keep_delivered, keep_dead))

    async def _write(self, work: Callable[[Connection], T], *, durable: bool = True) -> T:
        return await self._worker.write(partial(_after_synchronous, work, "FULL" if durable else "NORMAL"))

    # ---- what follows runs in the thread ----

    def _open(self, engine: Engine) -> None:
        make_private_file(self._path)
        migrate_file(engine, STEPS, _SUBJECT)
        with engine.begin() as connection:
            free_lanes_of_the_dead(connection)

    def _append(self, deliveries: Sequence[Delivery], connection: Connection) -> None:
        rows = [
            (
                each.id,
                each.app_id,
                each.endpoint,
                each.lane,
                each.body,
                each.events,
                each.created_at_ms,
                each.due_at_ms,
                msgspec.json.encode(each.trace),
            )
            for each in deliveries
        ]
        execute_many(connection, _APPEND, rows)
        execute_many(connection, OPEN_LANE, [(each.id,) for each in deliveries])

    def _claim(
        self, now_ms: int, lease_until_ms: int, limit: int, besides: Sequence[tuple[str, str]], connection: Connection
    ) -> list[Claim]:
        where, values = _besides(besides)
        claims = []
        heads = connection.exec_driver_sql(
            f"SELECT app_id, endpoint, lane, head FROM lanes WHERE ready_at_ms <= ?{where} "  # noqa: S608
            "ORDER BY due_at_ms, head LIMIT ?",
            (now_ms, *values, limit),
        ).fetchall()
        for *lane, head in heads:
            token = f"{self._holder}:{unique_id()}"
            connection.exec_driver_sql(
                f"UPDATE lanes SET token = ?, ready_at_ms = max(due_at_ms, ?) WHERE {LANE}",  # noqa: S608
                (token, lease_until_ms, *lane),
            )
            row = connection.exec_driver_sql(f"SELECT {_COLUMNS} FROM deliveries WHERE sequence = ?", (head,))  # noqa: S608
            claims.append(Claim(_delivery(row.one()), token))
        return claims

    def _renew(self, claims: Sequence[Claim], lease_until_ms: int, connection: Connection) -> None:
        execute_many(
            connection,
            f"UPDATE lanes SET ready_at_ms = max(ready_at_ms, ?) WHERE {LANE} AND token = ?",  # noqa: S608
            [(lease_until_ms, *lane_of(claim.delivery), claim.token) for claim in claims],
        )

    def _settle(self, outcomes: Sequence[tuple[Claim, Outcome]], now_ms: int, connection: Connection) -> list[bool]:
        return [settle(connection, claim, outcome, now_ms) for claim, outcome in outcomes]

    def _next_due(self, besides: Sequence[tuple[str, str]], connection: Connection) -> int | None:
        where, values = _besides(besides)
        query = f"SELECT ready_at_ms FROM lanes WHERE true{where} ORDER BY ready_at_ms LIMIT 1"  # noqa: S608
        row = connection.exec_driver_sql(query, tuple(values)).fetchone()
        return None if row is None else int(row[0])

    def _counts(self, connection: Connection) -> dict[tuple[str, str], Counts]:
        found: dict[tuple[str, str], dict[str, int]] = {}
        for app_id, endpoint, state, count in connection.exec_driver_sql(
            "SELECT app_id, endpoint, state, count(*) FROM deliveries GROUP BY app_id, endpoint, state"
        ):
            found.setdefault((app_id, endpoint), {})[state] = count
        for app_id, endpoint, count in connection.exec_driver_sql(
            "SELECT app_id, endpoint, count(*) FROM lanes WHERE token IS NOT NULL GROUP BY app_id, endpoint"
        ):
            found[app_id, endpoint]["leased"] = count
        return {key: Counts(**counts) for key, counts in found.items()}

    def _page(
        self,
        app_id: str,
        endpoint: str | None,
        state: State | None,
        before: int | None,
        limit: int,
        connection: Connection,
    ) -> list[Delivery]:
        conditions, values = ["app_id = ?"], [app_id]
        given: tuple[tuple[str, Any], ...] = (
            ("endpoint = ?", endpoint),
            ("state = ?", state),
            ("sequence < ?", before),
        )
        for condition, value in given:
            if value is not None:
                conditions.append(condition)
                values.append(value)
        query = f"SELECT {_COLUMNS} FROM deliveries WHERE {' AND '.join(conditions)} "  # noqa: S608
        rows = connection.exec_driver_sql(f"{query} ORDER BY sequence DESC LIMIT ?", (*values, limit))
        return [_delivery(row) for row in rows]

    def _get(self, app_id: str, delivery_id: str, connection: Connection) -> tuple[Delivery, list[Attempt]] | None:
        row = connection.exec_driver_sql(
            f"SELECT {_COLUMNS} FROM deliveries WHERE id = ? AND app_id = ?",  # noqa: S608
            (delivery_id, app_id),
        ).fetchone()
        if row is None:
            return None
        delivery = _delivery(row)
        attempts = connection.exec_driver_sql(
            "SELECT number, at_ms, took_ms, status, problem, snippet FROM attempts WHERE delivery = ? ORDER BY rowid",
            (delivery.sequence,),
        )
        return delivery, [Attempt(*attempt) for attempt in attempts]

    def _replay(
        self, app_id: str, now_ms: int, ids: list[str] | None, endpoint: str | None, connection: Connection
    ) -> int:
        if ids is None:
            chosen = connection.exec_driver_sql(
                "SELECT id, sequence FROM deliveries WHERE app_id = ? AND state = 'dead' "
                "AND endpoint = coalesce(?, endpoint) ORDER BY sequence",
                (app_id, endpoint),
            ).fetchall()
        else:
            settled = "SELECT id, sequence FROM deliveries WHERE id = ? AND app_id = ? AND state <> 'waiting'"
            chosen = [row for name in ids for row in connection.exec_driver_sql(settled, (name, app_id))]
            chosen.sort(key=itemgetter(1))
        for delivery_id, sequence in chosen:
            replay(connection, delivery_id, sequence, now_ms)
        return len(chosen)

    def _expire(
        self, app_id: str, endpoint: str, created_before_ms: int, now_ms: int, reason: str, connection: Connection
    ) -> int:
        count = 0
        lanes = connection.exec_driver_sql(
            "SELECT lane FROM lanes WHERE app_id = ? AND endpoint = ? AND (token IS NULL OR ready_at_ms <= ?) "
            "ORDER BY lane",
            (app_id, endpoint, now_ms),
        ).fetchall()
        for (lane,) in lanes:
            overdue = connection.exec_driver_sql(
                f"SELECT sequence FROM deliveries WHERE {LANE} AND state = 'waiting' AND created_at_ms < ? "  # noqa: S608
                "ORDER BY sequence LIMIT ?",
                (app_id, endpoint, lane, created_before_ms, _AT_ONCE - count),
            ).fetchall()
            for (sequence,) in overdue:
                end(connection, sequence, "dead", reason, now_ms)
            next_head(connection, (app_id, endpoint, lane))
            count += len(overdue)
        return count

    def _trim(self, keep_delivered: int, keep_dead: int, connection: Connection) -> int:
        count = 0
        for state, keep in (("delivered", keep_delivered), ("dead", keep_dead)):
            # The newest ones are skipped along the index.
            rows = connection.exec_driver_sql(
                f"SELECT sequence FROM deliveries WHERE state = '{state}' AND state <> 'waiting' "  # noqa: S608
                "ORDER BY settled_sequence DESC LIMIT ? OFFSET ?",
                (_AT_ONCE, keep),
            ).fetchall()
            execute_many(connection, "DELETE FROM deliveries WHERE sequence = ?", rows)
            execute_many(connection, "DELETE FROM attempts WHERE delivery = ?", rows)
            count += len(rows)
        return count


def _after_synchronous(work: Callable[[Connection], T], synchronous: str, connection: Connection) -> T:
    driver = connection.connection.driver_connection
    if isinstance(driver, sqlite3.Connection):
        # Not within a transaction, which the first statement begins.
        driver.execute(f"PRAGMA synchronous = {synchronous}")
    return work(connection)


def _besides(endpoints: Sequence[tuple[str, str]]) -> tuple[str, list[str]]:
    """A condition that leaves them out, and its values."""
    if not endpoints:
        return "", []
    places = ", ".join(["(?, ?)"] * len(endpoints))
    return f" AND (app_id, endpoint) NOT IN (VALUES {places})", [name for pair in endpoints for name in pair]


def _delivery(row: Sequence[Any]) -> Delivery:
    delivery = Delivery(*row[:-1])
    delivery.trace = msgspec.json.decode(row[-1], type=tuple[tuple[str, str], ...])
    return delivery
