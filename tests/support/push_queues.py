"""Push queues of every kind, messages for them, and what came back, in short."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from msgspec import convert, json, structs

from sockudo.config.sections import Mysql, Postgres, RedisServer, RedisTls
from sockudo.push.queue import Lease, Message, PushQueue, Stage
from sockudo.queues.push_memory import MemoryPushQueue
from sockudo.queues.push_redis import RedisPushQueue
from sockudo.stores.sql.push_queue import mysql_push_queue, postgres_push_queue, sqlite_push_queue
from support.databases import DatabaseServer
from support.redis import RedisProcess

__all__ = ["NOW", "SHARED", "SQL", "QueuePlace", "a_message", "drain", "keys"]

NOW: Final = 1_767_225_600_000
SQL: Final = ("sqlite", "postgres", "mariadb")
SHARED: Final = (*SQL, "redis")
"""Kinds that several processes share."""


class QueuePlace:
    """Where a test keeps its messages; `make` is one process's queue on it, and memory has one only.

    ``server`` is a database's or Redis's, None for what is no server.
    """

    def __init__(self, kind: str, folder: Path, server: Postgres | Mysql | RedisServer | None, prefix: str) -> None:
        self.kind = kind
        self.folder = folder
        self.server = server
        self.prefix = prefix
        self._memory = MemoryPushQueue()

    @classmethod
    def of(cls, kind: str, folder: Path, server: DatabaseServer | RedisProcess | None, prefix: str) -> QueuePlace:
        """With nothing in it."""
        if isinstance(server, DatabaseServer):
            found = server.execute("SELECT table_name FROM information_schema.tables")
            if ("push_queue_messages",) in found:
                server.execute("DELETE FROM push_queue_messages")
            return cls(kind, folder, server.database, prefix)
        return cls(kind, folder, None if server is None else server.server, prefix)

    def make(self, *, timeout_ms: int = 5000) -> PushQueue:
        """A queue that was not started."""
        match self.server:
            case Postgres():
                return postgres_push_queue(self.server, timeout_ms=timeout_ms)
            case Mysql():
                return mysql_push_queue(self.server, timeout_ms=timeout_ms)
            case RedisServer():
                return RedisPushQueue(self.server, RedisTls(), prefix=self.prefix, timeout_ms=timeout_ms)
        if self.kind == "memory":
            return self._memory
        return sqlite_push_queue(self.folder, timeout_ms=timeout_ms)

    @asynccontextmanager
    async def open(self, *, timeout_ms: int = 5000) -> AsyncIterator[PushQueue]:
        queue = self.make(timeout_ms=timeout_ms)
        await queue.start()
        try:
            yield queue
        finally:
            await queue.close()

    def description(self) -> str:
        """What another process has to be told to be at the same place."""
        server = None if self.server is None else structs.asdict(self.server)
        return json.encode([self.kind, str(self.folder), self.prefix, server]).decode()

    @classmethod
    def described(cls, text: str) -> QueuePlace:
        kind, folder, prefix, server = json.decode(text)
        types: dict[str, Any] = {"postgres": Postgres, "mariadb": Mysql, "redis": RedisServer}
        return cls(kind, Path(folder), convert(server, types[kind]) if server else None, prefix)


def a_message(
    key: str = "one",
    stage: Stage = "publish_log",
    *,
    app: str = "app",
    body: bytes = b"{}",
    due: int = 0,
) -> Message:
    return Message(stage, key, app, body, due)


def keys(leases: Iterable[Lease]) -> list[str]:
    return [lease.message.key for lease in leases]


async def drain(queue: PushQueue, stage: Stage = "publish_log", now_ms: int = NOW) -> list[str]:
    """Finishes everything that is due, one after the other; their keys in that order."""
    done: list[str] = []
    while leases := await queue.consume(stage, 1, now_ms, now_ms + 60_000):
        done += keys(leases)
        assert await queue.finish(leases, [], now_ms) == [True]
    return done
