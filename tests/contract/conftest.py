"""Every kind of history store and of push store, on real databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from sockudo.push.ports import PushStore
from sockudo.stores.sql import SqlHistoryStore
from sockudo.streams.ports import HistoryStore
from support.history import Place
from support.push_stores import PushPlace

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


def _push_place(kind: str, request: pytest.FixtureRequest) -> PushPlace:
    server = request.getfixturevalue(kind) if kind in ("postgres", "mariadb") else None
    place = PushPlace(kind, request.getfixturevalue("tmp_path") / "data", server)
    place.empty()
    return place


@pytest.fixture(params=["memory", *SQL])
def push_place(request: pytest.FixtureRequest) -> PushPlace:
    """A place of every kind, used by nobody else."""
    return _push_place(request.param, request)


@pytest.fixture(params=SQL)
def shared_push(request: pytest.FixtureRequest) -> PushPlace:
    """A place that several nodes may use."""
    return _push_place(request.param, request)


@pytest.fixture(params=["postgres", "mariadb"])
def remote_push(request: pytest.FixtureRequest) -> PushPlace:
    """A place on a server."""
    return _push_place(request.param, request)


@pytest.fixture
async def push_store(push_place: PushPlace) -> AsyncIterator[PushStore]:
    """A started store of every kind, with nothing in it."""
    async with push_place.open() as store:
        yield store
