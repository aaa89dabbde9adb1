"""Every kind of history store and of push store, on real databases."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from contract.places import Place, PushPlace
from sockudo.drivers.sql import SqlHistoryStore
from sockudo.hub.streams.ports import HistoryStore
from sockudo.push.ports import PushStore
from sockudo.push.stores.sql import SqlPushStore
from support.databases import DatabaseServer
from support.nats import NatsProcess, nats_server

SERVERS = ("postgres", "mariadb")
SQL = ("sqlite", *SERVERS)

FAST = Path("/dev/shm")  # noqa: S108


def _server(kind: str, request: pytest.FixtureRequest) -> DatabaseServer | None:
    return request.getfixturevalue(kind) if kind in SERVERS else None


def _place(kind: str, request: pytest.FixtureRequest) -> Place:
    place = Place(kind, request.getfixturevalue("tmp_path") / "data", _server(kind, request))
    place.empty()
    return place


@pytest.fixture
def nats_alone() -> Iterator[NatsProcess]:
    """A NATS server, used by nobody else."""
    with nats_server() as server:
        yield server


@pytest.fixture(params=["memory", *SQL])
def place(request: pytest.FixtureRequest) -> Place:
    """A place of every kind, used by nobody else."""
    return _place(request.param, request)


@pytest.fixture(params=SQL)
def shared(request: pytest.FixtureRequest) -> Place:
    """A place that several nodes may use."""
    return _place(request.param, request)


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """For files of which nothing has to survive: a disk would take its time for every commit."""
    with tempfile.TemporaryDirectory(prefix="contract-", dir=FAST if FAST.exists() else None) as name:
        yield Path(name)


@asynccontextmanager
async def _emptied(place: Any, opened: dict[str, Any]) -> AsyncIterator[Any]:
    """A started store at a place, with nothing in it: one of ``opened``, or its first, or one in memory."""
    place.empty()
    if place.kind == "memory":
        async with place.open() as fresh:
            yield fresh
        return
    if place.kind not in opened:
        made = place.make_sql()
        await made.start()
        opened[place.kind] = made
    yield opened[place.kind]


@pytest.fixture(scope="session")
def opened() -> Iterator[dict[str, SqlHistoryStore]]:
    """Stores that are open for the whole run, by kind: opening takes longer than most tests."""
    stores: dict[str, SqlHistoryStore] = {}
    yield stores
    for store in stores.values():
        asyncio.run(store.close())


@pytest.fixture(params=["memory", *SQL])
async def store(
    request: pytest.FixtureRequest, folder: Path, opened: dict[str, SqlHistoryStore]
) -> AsyncIterator[HistoryStore]:
    """A started store of every kind, with nothing in it."""
    async with _emptied(Place(request.param, folder, _server(request.param, request)), opened) as ready:
        yield ready


def _push_place(kind: str, request: pytest.FixtureRequest) -> PushPlace:
    place = PushPlace(kind, request.getfixturevalue("tmp_path") / "data", _server(kind, request))
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


@pytest.fixture(params=SERVERS)
def remote_push(request: pytest.FixtureRequest) -> PushPlace:
    """A place on a server."""
    return _push_place(request.param, request)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def opened_push() -> AsyncIterator[dict[str, SqlPushStore]]:
    """Stores that are open for the whole run, by kind; each belongs to the loop of the whole run."""
    stores: dict[str, SqlPushStore] = {}
    yield stores
    for store in stores.values():
        await store.close()


@pytest_asyncio.fixture(params=["memory", *SQL], loop_scope="session")
async def push_store(
    request: pytest.FixtureRequest, folder: Path, opened_push: dict[str, SqlPushStore]
) -> AsyncIterator[PushStore]:
    """A started store of every kind, with nothing in it, for tests that run in the loop of the whole run."""
    async with _emptied(PushPlace(request.param, folder, _server(request.param, request)), opened_push) as ready:
        yield ready
