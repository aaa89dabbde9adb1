"""What nodes keep together in PostgreSQL: tables ``sockudo_cache_…`` and ``sockudo_limits_…``.

One thread with one connection does everything. Rows whose time is over count as absent, and are deleted a while later.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Engine

from sockudo import errors
from sockudo.cluster.stores import Added
from sockudo.config.sections.databases import Postgres
from sockudo.drivers.shared.steps import CACHE, LIMITS, CacheSteps, Step
from sockudo.storage.engine import postgres_engine
from sockudo.storage.failures import Subject
from sockudo.storage.migrations import TYPES, migrate
from sockudo.storage.worker import Worker

__all__ = ["PostgresCache", "PostgresWindows"]

_TIMEOUT_MS: Final = 5000
# How often rows whose time is over are looked for, and how many go at once.
_SWEEP_SECONDS: Final = 1.0
_SWEPT: Final = 10_000

# A step is never changed once released; a new shape is a new step at the end.
_CACHE_STEPS: Final = (
    (
        """
        CREATE TABLE {keys} (
          key {name} NOT NULL PRIMARY KEY,
          mark {bytes} NOT NULL,
          name {text} NOT NULL,
          reply {bytes},
          until TIMESTAMPTZ NOT NULL
        ) {end_changing}
        """,
        "CREATE INDEX {keys_until} ON {keys} (until)",
        """
        CREATE TABLE {events} (
          key {name} NOT NULL PRIMARY KEY,
          stream_id {text} NOT NULL,
          serial BIGINT NOT NULL,
          value {bytes} NOT NULL,
          until TIMESTAMPTZ NOT NULL
        ) {end_changing}
        """,
        "CREATE INDEX {events_until} ON {events} (until)",
    ),
)
# Hits are not worth a log: what a server forgets when it fails, the nodes still know.
_LIMITS_STEPS: Final = (
    (
        """
        CREATE UNLOGGED TABLE {windows} (
          key {name} NOT NULL PRIMARY KEY,
          hits BIGINT NOT NULL,
          added BIGINT NOT NULL,
          until TIMESTAMPTZ NOT NULL
        ) {end_changing}
        """,
        "CREATE INDEX {windows_until} ON {windows} (until)",
    ),
)

_CLAIM: Final = """
INSERT INTO sockudo_cache_keys AS known (key, mark, name, until) VALUES (%(key)s, %(one)s, %(other)s,
  now() + make_interval(secs => %(ms)s / 1000.0))
ON CONFLICT (key) DO UPDATE SET mark = excluded.mark, name = excluded.name, reply = NULL, until = excluded.until
WHERE known.until <= now() OR (known.reply IS NULL AND known.name = excluded.name AND known.mark = excluded.mark)
RETURNING 1
"""
# The row is locked by the statement before it, also where that has changed nothing.
_KNOWN: Final = "SELECT mark, reply FROM sockudo_cache_keys WHERE key = %(key)s"
_DONE: Final = """
INSERT INTO sockudo_cache_keys AS known (key, mark, name, reply, until)
VALUES (%(key)s, %(one)s, '', %(value)s,
  now() + make_interval(secs => %(ms)s / 1000.0))
ON CONFLICT (key) DO UPDATE SET mark = excluded.mark, name = '', reply = excluded.reply, until = excluded.until
WHERE known.name = %(other)s OR known.until <= now()
"""
_FREE: Final = "DELETE FROM sockudo_cache_keys WHERE key = %(key)s AND name = %(other)s AND reply IS NULL"
_PUT: Final = """
INSERT INTO sockudo_cache_events AS known (key, stream_id, serial, value, until)
VALUES (%(key)s, %(one)s, %(other)s, %(value)s,
  now() + make_interval(secs => %(ms)s / 1000.0))
ON CONFLICT (key) DO UPDATE SET stream_id = excluded.stream_id, serial = excluded.serial, value = excluded.value,
  until = excluded.until
WHERE known.stream_id = '' OR known.stream_id <> excluded.stream_id OR known.serial <= excluded.serial
  OR known.until <= now()
"""
_GET: Final = """
SELECT value, (extract(epoch FROM until - now()) * 1000)::bigint FROM sockudo_cache_events
WHERE key = %(key)s AND until > now()
"""
_OTHERS: Final = {"done": _DONE, "free": _FREE, "put": _PUT}
# In one order everywhere, so that nodes do not wait for each other in a circle.
_ADD: Final = """
INSERT INTO sockudo_limits_windows AS known (key, hits, added, until)
SELECT key, greatest(hits, total), hits, now() + make_interval(secs => ms / 1000.0)
FROM unnest(%(keys)s::text[], %(hits)s::bigint[], %(totals)s::bigint[], %(left)s::bigint[])
  AS given (key, hits, total, ms)
ORDER BY key
ON CONFLICT (key) DO UPDATE SET
  hits = CASE WHEN known.until <= now() THEN excluded.hits ELSE known.hits + excluded.added END,
  added = 0,
  until = CASE WHEN known.until <= now() THEN excluded.until ELSE known.until END
RETURNING key, hits, (extract(epoch FROM until - now()) * 1000)::bigint
"""
_SWEEP: Final = """
DELETE FROM {table} WHERE key IN (
  SELECT key FROM {table} WHERE until <= now() ORDER BY until LIMIT {most} FOR UPDATE SKIP LOCKED
)
"""


class _Tables:
    """The tables ``{prefix}_…`` of a server, and the thread that works on them."""

    def __init__(
        self,
        server: Postgres,
        prefix: str,
        steps: Sequence[Sequence[str]],
        swept: Sequence[str],
        store: str,
        timeout_ms: int,
    ) -> None:
        self._prefix = prefix
        self._steps = steps
        self._swept = [_SWEEP.format(table=f"{prefix}_{table}", most=_SWEPT) for table in swept]
        self._swept_at = 0.0
        self._timeout_ms = timeout_ms
        self._server = server
        name = f"{store[0].lower()}{store[1:]} at {server.place}"
        self._subject = Subject(
            errors.SERVICE_UNAVAILABLE, "sockudo.server", name, "", "this step", "Choose another database."
        )
        engine = postgres_engine(server, pool_size=1, timeout_ms=timeout_ms, by_index=True)
        self.worker = Worker(engine, prefix.replace("_", "-"), 1, timeout_ms, self._subject)

    async def start(self) -> None:
        self.worker.start()
        try:
            await self.worker.open(self._open, self._server)
        except BaseException:
            await self.worker.close()
            raise

    async def check(self) -> bool:
        return await self.worker.read(lambda connection: bool(connection.exec_driver_sql("SELECT 1").scalar_one()))

    def _open(self, engine: Engine) -> None:
        migrate(engine, self._prefix, self._steps, TYPES["postgresql"], self._timeout_ms, self._subject)

    def sweep(self, connection: Connection) -> None:
        """Deletes, once a second, some of what is over."""
        now = time.monotonic()
        if now - self._swept_at >= _SWEEP_SECONDS:
            self._swept_at = now
            for statement in self._swept:
                connection.exec_driver_sql(statement)


class PostgresCache(CacheSteps):
    """A `CacheStore` in PostgreSQL. Raises `ConfigError` without its driver."""

    def __init__(self, server: Postgres, *, timeout_ms: int = _TIMEOUT_MS) -> None:
        super().__init__(self._run)
        tables = ("keys", "events")
        self._tables = _Tables(server, "sockudo_cache", _CACHE_STEPS, tables, CACHE, timeout_ms)
        self.start = self._tables.start
        self.check = self._tables.check

    async def close(self) -> None:
        await super().close()
        await self._tables.worker.close()

    async def _run(self, steps: Sequence[Step]) -> Sequence[Sequence[Any]]:
        return await self._tables.worker.write(partial(self._carry_out_all, steps))

    def _carry_out_all(self, steps: Sequence[Step], connection: Connection) -> Sequence[Sequence[Any]]:
        answers: list[Sequence[Any]] = [()] * len(steps)
        # In one order everywhere, so that nodes do not wait for each other in a circle.
        for number in sorted(range(len(steps)), key=lambda number: steps[number].key):
            answers[number] = _do(steps[number], connection)
        self._tables.sweep(connection)
        return answers


class PostgresWindows:
    """A `WindowStore` in PostgreSQL. Raises `ConfigError` without its driver."""

    def __init__(self, server: Postgres, *, timeout_ms: int = _TIMEOUT_MS) -> None:
        self._tables = _Tables(server, "sockudo_limits", _LIMITS_STEPS, ["windows"], LIMITS, timeout_ms)
        self.start = self._tables.start
        self.check = self._tables.check
        self.close = self._tables.worker.close

    async def add(self, hits: Sequence[Added]) -> Sequence[tuple[int, float]]:
        return await self._tables.worker.write(partial(self._add, hits))

    def _add(self, hits: Sequence[Added], connection: Connection) -> Sequence[tuple[int, float]]:
        keys = [f"{one.place.seconds}:{one.place.name}:{one.place.key}" for one in hits]
        numbers = {
            "keys": keys,
            "hits": [one.added for one in hits],
            "totals": [one.total for one in hits],
            "left": [max(1, round(one.left * 1000)) for one in hits],
        }
        found = {key: (total, left / 1000) for key, total, left in connection.exec_driver_sql(_ADD, numbers)}
        self._tables.sweep(connection)
        return [found[key] for key in keys]


def _do(step: Step, connection: Connection) -> Sequence[Any]:
    words = step._asdict()
    if step.what == "get":
        return connection.exec_driver_sql(_GET, words).one_or_none() or ()
    if step.what != "claim":
        connection.exec_driver_sql(_OTHERS[step.what], words)
        return ()
    if connection.exec_driver_sql(_CLAIM, words).one_or_none() is not None:
        return ("claimed", b"")
    mark, reply = connection.exec_driver_sql(_KNOWN, words).one()
    if bytes(mark) != step.one:
        return ("conflict", b"")
    if reply is not None:
        return ("done", bytes(reply))
    return ("running", b"")
