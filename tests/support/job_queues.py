"""Job queues of every kind, jobs for them, and what came back, in short."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from msgspec import convert, json, structs

from sockudo.config.sections import Mysql, Postgres, RedisServer, RedisTls
from sockudo.jobs.memory import MemoryJobQueue
from sockudo.jobs.ports import Job, JobQueue, Lease, ListedJobQueue, QueueSpec
from sockudo.jobs.redis import RedisJobQueue
from sockudo.jobs.sql import mysql_jobs, postgres_jobs, sqlite_jobs
from sockudo.push.messages import PUSH_QUEUE, Stage
from sockudo.webhooks.queue import WEBHOOK_QUEUE
from support.databases import DatabaseServer
from support.redis import RedisProcess

__all__ = ["NOW", "SERVERS", "SHARED", "SQL", "QueuePlace", "a_job", "drain", "keys"]

NOW: Final = 1_767_225_600_000
SQL: Final = ("sqlite", "postgres", "mariadb")
SERVERS: Final = ("postgres", "mariadb", "redis")
SHARED: Final = (*SQL, "redis")
"""Kinds that several processes share."""


class QueuePlace:
    """Where a test keeps its jobs; `make` is one process's queue on it, and memory has one only.

    ``server`` is a database's or Redis's, None for what is no server.
    """

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
        self._memory = MemoryJobQueue(spec)

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
            case Postgres():
                return postgres_jobs(self.spec, self.server, timeout_ms=timeout_ms)
            case Mysql():
                return mysql_jobs(self.spec, self.server, timeout_ms=timeout_ms)
            case RedisServer():
                return RedisJobQueue(self.spec, self.server, RedisTls(), prefix=self.prefix, timeout_ms=timeout_ms)
        if self.kind == "memory":
            return self._memory
        return sqlite_jobs(self.spec, self.folder / f"{self.spec.word}-queue.sqlite3", timeout_ms=timeout_ms)

    @asynccontextmanager
    async def open(self, *, timeout_ms: int = 5000) -> AsyncIterator[ListedJobQueue]:
        queue = self.make(timeout_ms=timeout_ms)
        await queue.start()
        try:
            yield queue
        finally:
            await queue.close()

    def description(self) -> str:
        """What another process has to be told to be at the same place."""
        server = None if self.server is None else structs.asdict(self.server)
        return json.encode([self.kind, str(self.folder), self.prefix, server, self.spec.word]).decode()

    @classmethod
    def described(cls, text: str) -> QueuePlace:
        kind, folder, prefix, server, word = json.decode(text)
        types: dict[str, Any] = {"postgres": Postgres, "mariadb": Mysql, "redis": RedisServer}
        [spec] = (spec for spec in (PUSH_QUEUE, WEBHOOK_QUEUE) if spec.word == word)
        return cls(kind, Path(folder), convert(server, types[kind]) if server else None, prefix, spec)


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
