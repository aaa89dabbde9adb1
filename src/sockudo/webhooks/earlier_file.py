"""The file of an earlier webhook queue: the tables ``deliveries``, ``lanes`` and ``attempts`` beside those of today."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from sockudo import errors
from sockudo.base.spans import TraceHeaders
from sockudo.storage.engine import sqlite_engine
from sockudo.storage.failures import Subject
from sockudo.storage.worker import Worker
from sockudo.webhooks.records import Attempt, Delivery

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["EarlierFile"]

_TIMEOUT_MS: Final = 5000
_COLUMNS: Final = (
    "id, app_id, endpoint, '', body, events, created_at_ms, due_at_ms, state, attempts, first_attempt_at_ms, "
    "settled_at_ms, reason, sequence, trace"
)
_ATTEMPTS: Final = "SELECT number, at_ms, took_ms, status, problem, snippet FROM attempts WHERE delivery = ?"
# An earlier version that opens the file reports it as too new, instead of finding no deliveries in it.
_TODAY: Final = 2
_SUBJECT: Final = Subject(
    errors.SERVICE_UNAVAILABLE, "sockudo.webhooks", "the webhook queue", "the webhook queue's file", "this delivery"
)


class EarlierFile:
    """Reads them, and removes the tables once they are empty. Leases are left out: a server has a file for itself."""

    def __init__(self, path: Path) -> None:
        engine = sqlite_engine(path, pool_size=1, timeout_ms=_TIMEOUT_MS, writing=True)
        self._worker = Worker(engine, "webhook-queue-before", 1, _TIMEOUT_MS, _SUBJECT, background=True)

    async def __aenter__(self) -> Self:
        self._worker.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._worker.close()

    async def take(self, limit: int) -> Sequence[tuple[Delivery, Sequence[Attempt]]]:
        return await self._worker.write(lambda connection: _take(connection, limit))

    async def drop(self, deliveries: Sequence[Delivery]) -> None:
        await self._worker.write(lambda connection: _drop(connection, [each.sequence for each in deliveries]))


def _take(connection: Connection, limit: int) -> list[tuple[Delivery, Sequence[Attempt]]]:
    known = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'deliveries'"
    if connection.exec_driver_sql(known).fetchone() is None:
        return []
    query = f"SELECT {_COLUMNS} FROM deliveries ORDER BY sequence LIMIT ?"  # noqa: S608 - words of ours
    rows = connection.exec_driver_sql(query, (limit,)).fetchall()
    if not rows:
        for table in ("deliveries", "lanes", "attempts"):
            connection.exec_driver_sql(f"DROP TABLE {table}")
        connection.exec_driver_sql(f"PRAGMA user_version = {_TODAY}")
    found = map(_delivery, rows)
    return [(each, [Attempt(*row) for row in _attempts(connection, each.sequence)]) for each in found]


def _attempts(connection: Connection, sequence: int) -> Iterable[Any]:
    return connection.exec_driver_sql(f"{_ATTEMPTS} ORDER BY rowid", (sequence,)).fetchall()


def _drop(connection: Connection, sequences: Sequence[int]) -> None:
    rows = [(sequence,) for sequence in sequences]
    connection.exec_driver_sql("DELETE FROM deliveries WHERE sequence = ?", rows)
    connection.exec_driver_sql("DELETE FROM attempts WHERE delivery = ?", rows)


def _delivery(row: Sequence[Any]) -> Delivery:
    delivery = Delivery(*row[:-1])
    delivery.trace = msgspec.json.decode(row[-1], type=TraceHeaders)
    return delivery
