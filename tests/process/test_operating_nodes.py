"""What operators see of servers that are joined, and do with them."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import structs

from sockudo import errors
from sockudo.base.version import __version__
from sockudo.client.failures import ApiError
from sockudo.storage import joined_claims
from sockudo.storage.occupants import Occupant
from sockudo.storage.places import SqlPlace, occupants_in
from sockudo.testing import RecordingClient
from support.databases import DatabaseServer
from support.joined import APP, Pair, pair_of
from support.server import start_server
from support.waiting import until

_PASSWORD = "correct horse battery"
_FAST = {"adapter": {"cluster_health": {"heartbeat_interval_ms": 100, "node_timeout_ms": 500}}}


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with pair_of(tmp_path, _FAST, shared=False, joined="carrier") as pair:
        yield pair


async def until_up(pair: Pair, server: int, condition: Callable[[httpx.Response], bool]) -> httpx.Response:
    """Asks ``/up`` until the condition holds."""
    for _ in range(600):
        answer = await pair.get(server, "/up")
        if condition(answer):
            return answer
        await asyncio.sleep(0.05)
    raise TimeoutError(answer.text)


async def until_well(pair: Pair, *servers: int) -> None:
    """On a busy machine a node may seem cut off for a moment, at this pace of heartbeats."""
    for server in servers:
        await until_up(pair, server, lambda answer: answer.text == "OK")


async def test_a_node_that_is_cut_off_is_not_ready_and_serves_its_own_clients(pair: Pair) -> None:
    client = await pair.client(0)
    await client.subscribe("news")
    await until_well(pair, 0)
    pair.carriers[0].mute = True
    answer = await until_up(pair, 0, lambda answer: answer.status_code == 503)
    assert answer.headers["x-health-check"] == "ERROR"
    word, reason = answer.text.splitlines()
    assert word == "ERROR"
    assert reason.startswith("pings of this node do not come back through a broker inside the process: it delivers")
    await pair.backends[0].publish("news", "tide", {"height": 3})
    await client.expect("tide", channel="news", data={"height": 3})
    await until_well(pair, 1)
    pair.carriers[0].mute = False
    await until_well(pair, 0)


async def test_a_node_stays_ready_for_its_grace(tmp_path: Path) -> None:
    settings = _FAST | {"cluster": {"up_grace": 60}}
    async with pair_of(tmp_path, settings, shared=False, joined="carrier") as pair:
        pair.carriers[0].mute = True
        for _ in range(20):
            assert (await pair.get(0, "/up")).text == "OK"
            await asyncio.sleep(0.05)


# ---- looking at all, and draining one ----


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Pair]:
    """Two servers with dashboards; those of a pair have the names ``node-a`` and ``node-b``."""
    operators = {
        "metrics": {"enabled": True, "port": 0},
        "dashboard": {"enabled": True, "password": _PASSWORD},
        # One that does not answer is not held dead meanwhile.
        "adapter": {"cluster_health": {"heartbeat_interval_ms": 100, "node_timeout_ms": 8000}},
    }
    async with pair_of(tmp_path, operators, shared=False, joined="carrier") as pair:
        yield pair


async def command(pair: Pair, server: int, *arguments: str) -> tuple[int, str, str]:
    """Exit code and output of ``sockudo nodes`` against one of the servers."""
    url = f"http://127.0.0.1:{pair.servers[server].metrics_port}"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sockudo", "nodes", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=dict(os.environ, SOCKUDO_DASHBOARD_URL=url, SOCKUDO_DASHBOARD_PASSWORD=_PASSWORD),
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_every_node_can_be_asked_for_all(watched: Pair) -> None:
    for _ in range(3):
        await watched.client(1)
    for server in (0, 1):
        code, out, _ = await command(watched, server, "--json")
        assert code == 0
        told = json.loads(out)
        assert told["complete"]
        assert [(node["name"], node["me"]) for node in told["nodes"]] == [
            ("node-a", server == 0),
            ("node-b", server == 1),
        ]
        assert [node["report"]["connections"] for node in told["nodes"]] == [0, 3]
        for node in told["nodes"]:
            report = node["report"]
            assert report["version"] == __version__
            assert report["uses"]["nodes"] == "a broker inside the process"
            assert report["address"].startswith("http://127.0.0.1:")
            assert node["clock_skew"] == 0.0
            # What it is allowed to be: a busy machine is late with its beats.
            assert 0 <= node["beat_age"] < 8
            assert not report["draining"]
    code, out, _ = await command(watched, 0)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["node", "node-a", "node-b"]


async def test_pages_say_which_node_they_are_about_and_how_many_there_are(watched: Pair) -> None:
    for _ in range(3):
        await watched.client(1)
    headers = {"authorization": f"Bearer {_PASSWORD}"}
    async with httpx.AsyncClient(
        headers=headers, base_url=f"http://127.0.0.1:{watched.servers[0].metrics_port}"
    ) as http:
        overview = (await http.get("/dashboard")).text
        assert "2 nodes with 3 connections." in overview
        assert "The figures on this page are those of node-a." in overview
        connections = (await http.get("/dashboard/connections")).text
        assert "· node-a</small>" in connections
        assert ">Nodes</a>" in connections
        nodes = (await http.get("/dashboard/nodes")).text
        assert "Drain node-b" in nodes
        assert "a broker inside the process" in nodes


async def test_a_node_that_is_silent_is_shown_as_such(watched: Pair) -> None:
    watched.carriers[1].mute = True
    code, out, err = await command(watched, 0, "--json")
    assert (code, json.loads(out)["complete"]) == (1, False)
    assert "Not every node has answered in time" in err


async def test_a_node_is_drained_from_another_one(watched: Pair) -> None:
    clients = [await watched.client(1) for _ in range(3)]
    code, _, err = await command(watched, 0, "drain", "node-b", "--seconds", "1", "--yes")
    assert (code, err) == (0, "The node node-b is draining.\n")
    answer = await until_up(watched, 1, lambda answer: answer.status_code == 503)
    assert answer.text == "DRAINING"
    for client in clients:
        await until(lambda of=client: of.closed is not None, "the end of the connection")
        assert client.closed is not None
        assert client.closed.code == 4200
    await until_well(watched, 0)
    owners = {
        server.services.membership.owner(f"key-{number}").name for server in watched.servers for number in range(50)
    }
    assert owners == {"node-a"}
    # It still serves its backends, and what they publish reaches everyone.
    client = await watched.client(0)
    await client.subscribe("news")
    await watched.backends[1].publish("news", "tide", {"height": 3})
    await client.expect("tide", channel="news", data={"height": 3})
    _, out, _ = await command(watched, 1, "--json")
    assert [node["report"]["draining"] for node in json.loads(out)["nodes"]] == [False, True]


# ---- members over a deploy ----


async def members_told(watcher: RecordingClient, seconds: float) -> list[tuple[str, Any]]:
    """What a client is told of members within so many seconds."""
    await asyncio.sleep(seconds)
    told = [(event.event, event.data["user_id"]) for event in watcher.events if "member_" in event.event]
    return [(name.removeprefix("pusher_internal:"), user_id) for name, user_id in told]


@pytest.mark.parametrize("how", ["stop", "drain"])
@pytest.mark.parametrize("returns", [True, False])
async def test_a_member_that_comes_back_at_another_node_has_not_left(tmp_path: Path, how: str, returns: bool) -> None:
    settings = _FAST | {"shutdown_grace_period": 4, "drain_hold": 2}
    async with pair_of(tmp_path, settings, shared=False, joined="carrier") as pair:
        watcher, member = await pair.client(0), await pair.client(1)
        await watcher.subscribe("presence-room", user_id="watcher")
        await member.subscribe("presence-room", user_id="ana")
        await watcher.expect("pusher_internal:member_added", channel="presence-room")
        watcher.events.clear()
        server = pair.servers[1]
        stopping = asyncio.ensure_future(server.stop()) if how == "stop" else None
        if how == "drain":
            server.node.drain(0)
        await member.expect_close(4200)
        if returns:
            again = await pair.client(0)
            listed = await again.subscribe("presence-room", user_id="ana")
            assert sorted(listed.data["presence"]["ids"]) == ["ana", "watcher"]
        assert await members_told(watcher, 1) == []
        if stopping is not None:
            await stopping
        assert await members_told(watcher, 2.5) == ([] if returns else [("member_removed", "ana")])


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
        await until_well(pair, 0, 1)
        for joined in ("carrier", "in-process"):
            with pytest.raises(errors.SockudoError) as caught:
                async with pair_of(tmp_path / joined, settings, shared=False, joined=joined):
                    pytest.fail("it started")
            assert "database.postgres: apps applications, history sockudo_history" in caught.value.text
            assert f"pid {os.getpid()} on {socket.gethostname()}" in caught.value.text
            assert "joined with others by a broker inside the process" in caught.value.text
            assert "--shared-stores (instance.shared_stores = true)" in caught.value.text
            assert ("Same store, not joined" in caught.value.text) == (joined == "carrier")
        await until_well(pair, 0, 1)
    # What was refused, and what has stopped, has left no claim behind.
    assert list(occupants_in(postgres.database)) == []


def test_processes_on_one_database_that_are_not_joined(postgres: DatabaseServer) -> None:
    settings = {**on_database(postgres), "app_manager": {"driver": "memory"}}
    with start_server(settings) as first:
        with pytest.raises(AssertionError) as refused:
            start_server(settings)
        [line] = [line for line in str(refused.value).splitlines() if "the server did not start" in line]
        assert f"pid {first.process.pid} on {socket.gethostname()}" in line
        assert "database.postgres: history sockudo_history" in line
        assert "--shared-stores (instance.shared_stores = true)" in line
        first.publish("news", "tide", "still here")
        with start_server({**settings, "instance": {"shared_stores": True}}) as second:
            second.publish("news", "tide", "apart on purpose")


async def test_of_two_halves_on_one_database_one_stays_ready(tmp_path: Path, postgres: DatabaseServer) -> None:
    async with pair_of(tmp_path, on_database(postgres), shared=False, joined="carrier") as pair:
        first, second = sorted((0, 1), key=lambda server: pair.servers[server].services.membership.me.id)
        for carrier in pair.carriers:
            carrier.apart = True
        for _ in range(300):
            answer = await pair.get(second, "/up")
            assert "is not joined with this one" not in (await pair.get(first, "/up")).text
            if "is not joined with this one" in answer.text:
                break
            await asyncio.sleep(0.1)
        assert answer.status_code == 503
        assert answer.text.startswith("ERROR\n")
        await until_up(pair, first, lambda answer: answer.text == "OK")
        for carrier in pair.carriers:
            carrier.apart = False
        for _ in range(200):
            if "is not joined with this one" not in (await pair.get(second, "/up")).text:
                break
            await asyncio.sleep(0.1)
        for server in (0, 1):
            await until_up(pair, server, lambda answer: answer.text == "OK")


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


# ---- following all ----


async def test_a_tail_shows_what_happens_on_every_node(pair: Pair) -> None:
    told: list[dict[str, object]] = []

    async def follow() -> None:
        async for event, data in pair.backends[0].inspect():
            if event == "entries":
                told.extend(data["entries"])

    def seen(**wanted: object) -> bool:
        return any(all(entry.get(name) == value for name, value in wanted.items()) for entry in told)

    following = asyncio.create_task(follow())
    await until(lambda: len(pair.servers[1].services.elsewhere), "the other node to be followed")
    one, two = await pair.client(0), await pair.client(1)
    await one.subscribe("news")
    await two.subscribe("news")
    await pair.backends[1].publish("news", "tide", {"height": 3})
    await until(
        lambda: all(seen(kind="subscribed", node=f"node-{name}") for name in "ab") and seen(kind="message"),
        "what happened on both nodes",
    )
    following.cancel()
    for node in ("node-a", "node-b"):
        assert seen(kind="subscribed", channel="news", node=node)
    messages = [entry for entry in told if entry["kind"] == "message"]
    assert [(entry["node"], entry["event"], entry["source"]) for entry in messages] == [("node-b", "tide", "api")]


async def test_who_watches_a_user_sees_what_another_node_published_for_it(pair: Pair) -> None:
    told: list[dict[str, object]] = []
    client = await pair.client(1)
    await client.signin("ana")
    await client.subscribe("news")

    async def follow() -> None:
        async for event, data in pair.backends[0].inspect(user_id="ana", kinds="message"):
            if event == "entries":
                told.extend(data["entries"])

    following = asyncio.create_task(follow())
    await until(lambda: len(pair.servers[1].services.elsewhere), "the other node to be followed")
    await pair.backends[0].publish("news", "tide", {"height": 3})
    await until(lambda: told, "what was published")
    following.cancel()
    assert [(entry["node"], entry["event"]) for entry in told] == [("node-b", "tide")]


# ---- a node for backends alone ----

# The broker is one of the test's own all the same.
_BROKER = {"adapter": _FAST["adapter"] | {"driver": "nats"}}
_API = {"b": {"server_role": "api"}}


@pytest.fixture
async def with_api(tmp_path: Path) -> AsyncIterator[Pair]:
    """The second server takes publishes alone."""
    async with pair_of(tmp_path, _BROKER, shared=False, joined="carrier", of_each=_API) as pair:
        yield pair


async def test_a_node_for_backends_publishes_to_clients_of_others_and_counts_nowhere(with_api: Pair) -> None:
    full, api = with_api.servers
    client = await with_api.client(0)
    await client.subscribe("news")
    await with_api.backends[1].publish("news", "tide", {"height": 3})
    await client.expect("tide", channel="news", data={"height": 3})
    assert [node.name for node in full.services.membership.live()] == ["node-a"]
    assert full.services.membership.hears(api.services.membership.me.id)
    for server in with_api.servers:
        assert {server.services.membership.owner(f"key-{number}").name for number in range(50)} == {"node-a"}
    state = await with_api.backends[0].channel("news", info=("subscription_count",))
    assert state["subscription_count"] == 1
    await until_well(with_api, 1)
    assert (await with_api.get(1, "/stats")).json()["server_role"] == "api"
    assert "server_role" not in (await with_api.get(0, "/stats")).json()


async def test_a_node_for_backends_has_nothing_for_clients(with_api: Pair) -> None:
    backend = with_api.backends[1]
    for call in (backend.channels(), backend.channel("news"), backend.users("presence-x"), backend.terminate("ana")):
        with pytest.raises(ApiError) as caught:
            await call
        assert caught.value.status == 404
        assert "this node takes publishes alone (server_role = 'api'): ask one of the others" in caught.value.text
    with pytest.raises(ApiError) as caught:
        await backend.publish("news", "tide", {}, info=("subscription_count",))
    assert caught.value.status == 400
    assert caught.value.text == "user_count and subscription_count are unavailable in api server role"
    with pytest.raises(ApiError, match="There is no WebSocket here: this node takes publishes alone"):
        await with_api.client(1)
    assert (await with_api.get(1, f"/app/{APP.key}")).status_code == 404


async def test_a_node_for_backends_shares_a_database_with_the_others(tmp_path: Path, postgres: DatabaseServer) -> None:
    settings = on_database(postgres) | _BROKER
    async with pair_of(tmp_path, settings, shared=False, joined="carrier", of_each=_API) as pair:
        await until_well(pair, 0, 1)
