"""Every kind of history store, on real databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from sockudo.stores.sql import SqlHistoryStore
from sockudo.streams.ports import HistoryStore
from support.history import Place

SQL = ("sqlite", "postgres", "mariadb")


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


@pytest.fixture(scope="session")
def opened() -> Iterator[dict[str, SqlHistoryStore]]:
    """Stores on the servers that are open for the whole run, by kind: connecting takes longer than most tests."""
    stores: dict[str, SqlHistoryStore] = {}
    yield stores
    for store in stores.values():
        asyncio.run(store.close())


@pytest.fixture
async def store(place: Place, opened: dict[str, SqlHistoryStore]) -> AsyncIterator[HistoryStore]:
    """A started store of every kind, with nothing in it."""
    if place.server is None:
        async with place.open() as fresh:
            yield fresh
        return
    if place.kind not in opened:
        fresh = place.make_sql()
        await fresh.start()
        opened[place.kind] = fresh
    yield opened[place.kind]
