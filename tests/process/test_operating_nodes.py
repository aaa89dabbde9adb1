"""What operators see of servers that are joined, and do with them."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from msgspec import structs

from sockudo import errors
from sockudo.storage import joined_claims
from sockudo.storage.occupants import Occupant
from sockudo.storage.places import SqlPlace, occupants_in
from support.databases import DatabaseServer
from support.joined import Pair, pair_of

_FAST = {"adapter": {"cluster_health": {"heartbeat_interval_ms": 100, "node_timeout_ms": 500}}}


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with pair_of(tmp_path, _FAST, shared=False, joined="carrier") as pair:
        yield pair


async def until_up(pair: Pair, server: int, condition: Callable[[httpx.Response], bool]) -> httpx.Response:
    """Asks ``/up`` until the condition holds."""
    for _ in range(100):
        answer = await pair.get(server, "/up")
        if condition(answer):
            return answer
        await asyncio.sleep(0.05)
    raise TimeoutError(answer.text)


async def test_a_node_that_is_cut_off_is_not_ready_and_serves_its_own_clients(pair: Pair) -> None:
    client = await pair.client(0)
    await client.subscribe("news")
    assert (await pair.get(0, "/up")).text == "OK"
    pair.carriers[0].mute = True
    answer = await until_up(pair, 0, lambda answer: answer.status_code == 503)
    assert answer.headers["x-health-check"] == "ERROR"
    word, reason = answer.text.splitlines()
    assert word == "ERROR"
    assert reason.startswith("this node has not heard itself through a broker inside the process for ")
    await pair.backends[0].publish("news", "tide", {"height": 3})
    await client.expect("tide", channel="news", data={"height": 3})
    assert (await pair.get(1, "/up")).text == "OK"
    pair.carriers[0].mute = False
    await until_up(pair, 0, lambda answer: answer.text == "OK")


async def test_a_node_stays_ready_for_its_grace(tmp_path: Path) -> None:
    settings = _FAST | {"cluster": {"up_grace": 60}}
    async with pair_of(tmp_path, settings, shared=False, joined="carrier") as pair:
        pair.carriers[0].mute = True
        for _ in range(20):
            assert (await pair.get(0, "/up")).text == "OK"
            await asyncio.sleep(0.05)


# ---- one store ----


def on_database(database: DatabaseServer) -> dict[str, object]:
    """Settings of servers that keep their history and their apps in it."""
    return {
        **_FAST,
        "app_manager": {"driver": "pgsql"},
        "history": {"enabled": True, "backend": "postgres"},
        "database": {"postgres": structs.asdict(database.postgres)},
    }


async def test_servers_on_one_database_are_joined_or_do_not_start(
    tmp_path: Path, postgres: DatabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joined_claims, "JOIN_SECONDS", 1)
    settings = on_database(postgres)
    async with pair_of(tmp_path, settings, shared=False, joined="carrier") as pair:
        assert [(await pair.get(server, "/up")).text for server in (0, 1)] == ["OK", "OK"]
        for joined in ("carrier", "in-process"):
            with pytest.raises(errors.SockudoError) as caught:
                async with pair_of(tmp_path / joined, settings, shared=False, joined=joined):
                    pytest.fail("it started")
            assert "database.postgres: apps applications, history sockudo_history" in caught.value.text
            assert f"pid {os.getpid()} on {socket.gethostname()}" in caught.value.text
            assert "joined with others by a broker inside the process" in caught.value.text
            assert "--shared-stores (instance.shared_stores = true)" in caught.value.text
            assert ("Same store, not joined" in caught.value.text) == (joined == "carrier")
        assert [(await pair.get(server, "/up")).text for server in (0, 1)] == ["OK", "OK"]
    # What was refused, and what has stopped, has left no claim behind.
    assert list(occupants_in(postgres.database)) == []


async def test_a_server_that_is_alone_on_a_database_keeps_nodes_out(tmp_path: Path, postgres: DatabaseServer) -> None:
    place = SqlPlace(postgres.database, ["history sockudo_history"], Occupant.current(2.0), section="x")
    assert await place.claim() is None
    try:
        with pytest.raises(errors.SockudoError) as caught:
            async with pair_of(tmp_path, on_database(postgres), shared=False, joined="carrier"):
                pytest.fail("it started")
        assert caught.value.text.startswith(f"Same store, not joined: pid {os.getpid()} on ")
    finally:
        await place.release()
