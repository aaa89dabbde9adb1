"""Where tests keep what they store: `open` is one node's store on a place, and memory has one node only."""

from __future__ import annotations

import base64
import pickle
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from msgspec import structs

from sockudo.config.sections.databases import Mysql, Postgres, SqlDatabase
from sockudo.config.sections.redis import RedisAccess, RedisServer, RedisTls
from sockudo.config.sections.streams import HistoryPostgres, HistorySqlite
from sockudo.drivers import MemoryHistoryStore
from sockudo.drivers.sql import SqlHistoryStore, server_history, sqlite_history
from sockudo.drivers.sql import history as history_tables
from sockudo.hub.streams.ports import HistoryStore
from sockudo.jobs.memory import MemoryJobQueue
from sockudo.jobs.ports import Job, JobQueue, Lease, ListedJobQueue, QueueSpec
from sockudo.jobs.redis import RedisJobQueue
from sockudo.jobs.sql import server_jobs, sqlite_jobs
from sockudo.push.messages import PUSH_QUEUE, Stage
from sockudo.push.stores import sql as push_tables_of
from sockudo.push.stores.schema import push_tables
from sockudo.push.stores.sql import MemoryPushStore, SqlPushStore, server_push, sqlite_push
from support.databases import DatabaseServer, empty_file
from support.redis import RedisProcess
from support.waiting import wait_until

__all__ = [
    "NOW",
    "SERVERS",
    "SHARED",
    "SQL",
    "Place",
    "PushPlace",
    "QueuePlace",
    "a_job",
    "drain",
    "end_connections",
    "keys",
    "server_of",
    "walked",
]

NOW: Final = 1_767_225_600_000
SQL: Final = ("sqlite", "postgres", "mariadb")
SERVERS: Final = ("postgres", "mariadb", "redis")
SHARED: Final = (*SQL, "redis")
"""Kinds that several processes share."""


class _Place:
    """What all of them can do."""

    make: Callable[..., Any]

    @asynccontextmanager
    async def open(self, **options: Any) -> AsyncIterator[Any]:
        store = self.make(**options)
        await store.start()
        try:
            yield store
        finally:
            await store.close()

    def packed(self) -> str:
        """What another process has to be told to be at the same place."""
        return base64.b85encode(pickle.dumps(self)).decode()

    @classmethod
    def unpacked(cls, text: str) -> Self:
        place = pickle.loads(base64.b85decode(text))  # noqa: S301 - of the test that has started this process
        assert isinstance(place, cls)
        return place


class _TablesPlace(_Place):
    """A folder with a file, or tables on a ``server``, which is None for what is no server."""

    file: ClassVar[str]
    prefix: str
    names: ClassVar[Sequence[str]]
    """Of the tables, behind the prefix."""
    marks: ClassVar[Sequence[str]]
    """The same of those that say which version the others are."""

    def __init__(self, kind: str, folder: Path, server: DatabaseServer | None) -> None:
        self.kind = kind
        self.folder = folder
        self.server = server

    def drop(self) -> None:
        """Takes the tables away."""
        if self.server is not None:
            names = (*self.names, *self.marks)
            self.server.execute(*(f"DROP TABLE IF EXISTS {self.prefix}_{name}" for name in names))

    def empty(self) -> None:
        """Takes out what another test has left; the tables stay."""
        if self.kind == "sqlite":
            empty_file(self.folder / self.file)
        elif self.server is not None:
            found = self.server.execute("SELECT table_name FROM information_schema.tables")
            tables = [f"{self.prefix}_{name}" for name in self.names]
            self.server.execute(*(f"DELETE FROM {name}" for name in tables if (name,) in found))  # noqa: S608


def server_of(place: _TablesPlace) -> DatabaseServer:
    assert place.server is not None
    return place.server


def end_connections(place: _TablesPlace) -> int:
    """Has the server end every connection of the stores, and waits until it has; how many there were."""
    server = server_of(place)
    if isinstance(server.database, Postgres):
        theirs = "SELECT pid FROM pg_stat_activity WHERE application_name = 'sockudo'"
        end = "SELECT pg_terminate_backend(%d)"
    else:
        theirs = "SELECT id FROM information_schema.processlist WHERE user = 'sockudo'"
        end = "KILL %d"
    ended = server.execute(theirs)
    server.execute(*(end % row for row in ended))
    # Others may have taken their place by now: what was lost is tried again at once.
    wait_until(lambda: not set(ended) & set(server.execute(theirs)), "the connections to end")
    return len(ended)


class Place(_TablesPlace):
    """Of streams."""

    file = history_tables.FILE_NAME
    prefix = "contract"
    names = ("streams", "entries", "keys", "versions", "messages", "parts")
    marks = ("migrations",)

    def make(self, *, timeout_ms: int = 5000, synchronous: str = "full") -> HistoryStore:
        """A store that was not started."""
        if self.kind == "memory":
            return MemoryHistoryStore()
        return self.make_sql(timeout_ms=timeout_ms, synchronous=synchronous)

    def make_sql(self, *, timeout_ms: int = 5000, synchronous: str = "full") -> SqlHistoryStore:
        if self.server is None:
            return sqlite_history(self.folder, HistorySqlite(self.prefix, timeout_ms, synchronous))
        return server_history(self.server.database, HistoryPostgres(self.prefix, timeout_ms))


_PUSH_NAMES: Final = [table.name.removeprefix("pushing_") for table in vars(push_tables("pushing")).values()]


class PushPlace(_TablesPlace):
    """Of what push keeps."""

    file = push_tables_of.FILE_NAME
    prefix = "pushing"
    marks = ("schema_version", "migrations")
    names: ClassVar = [name for name in _PUSH_NAMES if name not in ("schema_version", "migrations")]

    def make(self, *, timeout_ms: int = 5000) -> MemoryPushStore | SqlPushStore:
        """A store that was not started."""
        return MemoryPushStore() if self.kind == "memory" else self.make_sql(timeout_ms=timeout_ms)

    def make_sql(self, *, timeout_ms: int = 5000, **changes: Any) -> SqlPushStore:
        """With another way to its server where there are changes."""
        if self.server is None:
            return sqlite_push(self.folder, timeout_ms=timeout_ms)
        server = structs.replace(self.server.database, **changes)
        return server_push(server, prefix=self.prefix, timeout_ms=timeout_ms)


class QueuePlace(_Place):
    """Of jobs. ``server`` is a database's or Redis's, None for what is no server."""

    def __init__(
        self,
        kind: str,
        folder: Path,
        server: Postgres | Mysql | RedisServer | None,
        prefix: str,
        spec: QueueSpec = PUSH_QUEUE,
    ) -> None:
        self.kind = kind
        self.folder = folder
        self.server = server
        self.prefix = prefix
        self.spec = spec
        self._memory = MemoryJobQueue(spec) if kind == "memory" else None

    @classmethod
    def of(
        cls,
        kind: str,
        folder: Path,
        server: DatabaseServer | RedisProcess | None,
        prefix: str,
        spec: QueueSpec = PUSH_QUEUE,
    ) -> QueuePlace:
        """With nothing in it."""
        if isinstance(server, DatabaseServer):
            found = server.execute("SELECT table_name FROM information_schema.tables")
            if (f"{spec.word}_queue_messages",) in found:
                server.execute(f"DELETE FROM {spec.word}_queue_messages")  # noqa: S608 - words of ours
            return cls(kind, folder, server.database, prefix, spec)
        return cls(kind, folder, None if server is None else server.server, prefix, spec)

    def make(self, *, timeout_ms: int = 5000) -> ListedJobQueue:
        """A queue that was not started."""
        match self.server:
            case SqlDatabase():
                return server_jobs(self.spec, self.server, timeout_ms=timeout_ms)
            case RedisServer():
                access = RedisAccess(self.server, RedisTls(), "database.redis")
                return RedisJobQueue(self.spec, access, prefix=self.prefix, timeout_ms=timeout_ms)
        if self._memory is not None:
            return self._memory
        return sqlite_jobs(self.spec, self.folder / f"{self.spec.word}-queue.sqlite3", timeout_ms=timeout_ms)


def a_job(
    key: str = "one",
    stage: Stage = "publish_log",
    *,
    app: str = "app",
    body: bytes = b"{}",
    due: int = 0,
) -> Job:
    return Job(stage, key, app, body, due)


def keys(leases: Iterable[Lease]) -> list[str]:
    return [lease.job.key for lease in leases]


async def drain(queue: JobQueue, stage: Stage = "publish_log", now_ms: int = NOW) -> list[str]:
    """Finishes everything that is due, one after the other; their keys in that order."""
    done: list[str] = []
    while leases := await queue.lease(stage, 1, now_ms, now_ms + 60_000):
        done += keys(leases)
        assert await queue.settle(leases, [], now_ms) == [True]
    return done


async def walked(page: Callable[[str, int], Any], position: Callable[[Any], str], limit: int = 1) -> list[Any]:
    """All of a list, a page at a time; fails when it does not end."""
    found: list[Any] = []
    after = ""
    for _ in range(10_000):
        rows = await page(after, limit)
        if not rows:
            return found
        assert len(rows) <= limit
        found += rows
        after = position(rows[-1])
    raise AssertionError("the list has no end")
