"""History stores of every kind, messages for them, and what came back, in short."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from msgspec import json, structs

from sockudo.base.stream_records import Append, Page, StreamInfo
from sockudo.config.sections import HistoryMysql, HistoryPostgres, HistorySqlite
from sockudo.drivers import MemoryHistoryStore
from sockudo.drivers.sql import SqlHistoryStore, mysql_history, postgres_history, sqlite_history
from sockudo.drivers.sql.history import FILE_NAME
from sockudo.hub.streams.ports import HistoryStore
from support.databases import DatabaseServer, empty_file

__all__ = ["NOW", "Place", "an_append", "fill", "serials", "stream_of", "texts"]

NOW = 1_767_225_600_000


class Place:
    """Where a test keeps its streams; `open` is one node's store on it, and memory has one node only.

    ``server`` is None for what is no server.
    """

    def __init__(self, kind: str, folder: Path, server: DatabaseServer | None) -> None:
        self.kind = kind
        self.folder = folder
        self.server = server
        self.prefix = "contract"

    def make(self, *, timeout_ms: int = 5000, synchronous: str = "full") -> HistoryStore:
        """A store that was not started."""
        if self.kind == "memory":
            return MemoryHistoryStore()
        return self.make_sql(timeout_ms=timeout_ms, synchronous=synchronous)

    def make_sql(self, *, timeout_ms: int = 5000, synchronous: str = "full") -> SqlHistoryStore:
        if self.server is None:
            return sqlite_history(self.folder, HistorySqlite(self.prefix, timeout_ms, synchronous))
        if self.kind == "postgres":
            return postgres_history(self.server.postgres, HistoryPostgres(self.prefix, timeout_ms))
        return mysql_history(self.server.mysql, HistoryMysql(self.prefix, timeout_ms))

    @asynccontextmanager
    async def open(self, *, timeout_ms: int = 5000, synchronous: str = "full") -> AsyncIterator[HistoryStore]:
        store = self.make(timeout_ms=timeout_ms, synchronous=synchronous)
        await store.start()
        try:
            yield store
        finally:
            await store.close()

    def description(self, synchronous: str) -> str:
        """What `contract/history_child.py` has to be told to open it."""
        server = None if self.server is None else structs.asdict(self.server.database)
        return json.encode([self.kind, str(self.folder), self.prefix, synchronous, server]).decode()

    def drop(self) -> None:
        """Takes the tables away."""
        if self.server is not None:
            names = [f"{self.prefix}_{name}" for name in ("streams", "entries", "keys", "migrations")]
            self.server.execute(*(f"DROP TABLE IF EXISTS {name}" for name in names))

    def empty(self) -> None:
        """Takes out what another test has left; the tables stay."""
        if self.kind == "sqlite":
            empty_file(self.folder / FILE_NAME)
        elif self.server is not None:
            tables = [f"{self.prefix}_{name}" for name in ("streams", "entries", "keys")]
            found = self.server.execute("SELECT table_name FROM information_schema.tables")
            self.server.execute(*(f"DELETE FROM {name}" for name in tables if (name,) in found))  # noqa: S608


def an_append(text: str = "hello", channel: str = "room", app_id: str = "app", at: int = NOW, **fields: Any) -> Append:
    values: dict[str, Any] = {"message_id": f"id-{text}", "event_name": "said", **fields}
    return Append(app_id, channel, text.encode(), published_at_ms=at, **values)


async def fill(store: HistoryStore, count: int, *, step_ms: int = 10) -> str:
    """Messages "1" … ``count``, a step apart in time; the id of their stream."""
    outcomes = await store.commit([an_append(str(n), at=NOW + n * step_ms) for n in range(1, count + 1)])
    return outcomes[0].position.stream_id


async def stream_of(store: HistoryStore, channel: str = "room", app_id: str = "app") -> StreamInfo:
    """What is known about a stream that there is."""
    info = await store.info(app_id, channel)
    assert info is not None
    return info


def texts(page: Page) -> list[str]:
    return [row.message.decode() for row in page.rows]


def serials(page: Page) -> list[int]:
    return [row.serial for row in page.rows]
