"""Every kind of history store, on real databases."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sockudo.config.sections import HistoryMysql, HistoryPostgres, HistorySqlite
from sockudo.stores import MemoryHistoryStore
from sockudo.stores.sql import SqlHistoryStore, mysql_history, postgres_history, sqlite_history
from sockudo.streams.ports import HistoryStore
from support.databases import DatabaseServer, mariadb_server, postgres_server

SQL = ("sqlite", "postgres", "mariadb")


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

    def empty(self) -> None:
        """Takes out what another test has left; the tables stay."""
        if self.server is not None:
            tables = [f"{self.prefix}_{name}" for name in ("streams", "entries", "keys")]
            found = self.server.execute("SELECT table_name FROM information_schema.tables")
            self.server.execute(*(f"DELETE FROM {name}" for name in tables if (name,) in found))  # noqa: S608


@pytest.fixture(scope="session")
def postgres() -> Iterator[DatabaseServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[DatabaseServer]:
    with mariadb_server() as server:
        yield server


def _place(kind: str, request: pytest.FixtureRequest) -> Place:
    server = request.getfixturevalue(kind) if kind in ("postgres", "mariadb") else None
    place = Place(kind, request.getfixturevalue("tmp_path") / "data", server)
    place.empty()
    return place


@pytest.fixture(params=["memory", *SQL])
def place(request: pytest.FixtureRequest) -> Place:
    """A place of every kind, used by nobody else."""
    return _place(request.param, request)


@pytest.fixture(params=SQL)
def shared(request: pytest.FixtureRequest) -> Place:
    """A place that several nodes may use."""
    return _place(request.param, request)


@pytest.fixture
async def store(place: Place) -> AsyncIterator[HistoryStore]:
    """A started store of every kind."""
    async with place.open() as opened:
        yield opened
