"""Two servers joined in one process behave as one, through their front doors."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from msgspec import structs

from sockudo import errors
from sockudo.testing import RecordingClient
from support.databases import DatabaseServer
from support.joined import FEATURES, Pair, pair_of
from support.nats import NatsProcess
from support.redis import PASSWORD, RedisProcess
from support.redis_sets import ClusterSet
from support.waiting import until


def adapter_of(driver: str, request: pytest.FixtureRequest) -> dict[str, object]:
    """Settings that join servers by a broker of this run."""
    prefix = f"test_{secrets.token_hex(4)}"
    match driver:
        case "nats":
            nats: NatsProcess = request.getfixturevalue("nats")
            return {"adapter": {"driver": driver, "nats": {"servers": [nats.address], "prefix": prefix}}}
        case "redis":
            server: RedisProcess = request.getfixturevalue("redis")
            place = {"redis": {"host": "127.0.0.1", "port": server.port, "password": PASSWORD}}
            return {"adapter": {"driver": driver, "redis": {"prefix": prefix}}, "database": place}
        case "redis-cluster":
            cluster: ClusterSet = request.getfixturevalue("redis_cluster")
            nodes = [f"127.0.0.1:{each.port}" for each in cluster.servers]
            place = {"redis": {"password": PASSWORD}}
            return {"adapter": {"driver": driver, "cluster": {"nodes": nodes, "prefix": prefix}}, "database": place}
        case "postgres":
            database: DatabaseServer = request.getfixturevalue("postgres")
            place = {"postgres": structs.asdict(database.postgres)}
            return {"adapter": {"driver": driver, "postgres": {"prefix": prefix}}, "database": place}
    return {}


@pytest.fixture(params=["in-process", "carrier", "nats", "postgres", "redis", "redis-cluster"])
async def pair(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    changes = adapter_of(request.param, request)
    async with pair_of(tmp_path, changes, shared=False, joined=request.param) as pair:
        yield pair


async def test_what_one_publishes_the_other_delivers(pair: Pair) -> None:
    client = await pair.client(1)
    await client.subscribe("news")
    await pair.backends[0].publish("news", "tide", {"height": 3})
    await client.expect("tide", channel="news", data={"height": 3})


async def test_client_events_cross_servers(pair: Pair) -> None:
    one, two = await pair.client(0), await pair.client(1)
    await one.subscribe("private-room")
    await two.subscribe("private-room")
    await one.send_event("client-hello", "private-room", {"x": 1})
    await two.expect("client-hello", channel="private-room", data={"x": 1})


async def test_counts_and_members_are_those_of_both(pair: Pair) -> None:
    for server, user in ((0, "ana"), (1, "ana"), (1, "ben")):
        await (await pair.client(server)).subscribe("presence-room", user_id=user)
    for backend in pair.backends:
        state = await backend.channel("presence-room", info=("user_count", "subscription_count"))
        assert (state["user_count"], state["subscription_count"]) == (2, 3)
        assert sorted(await backend.users("presence-room")) == ["ana", "ben"]
        channels = await backend.channels(prefix="presence-", info=("user_count",))
        assert channels == {"presence-room": {"user_count": 2}}


async def test_members_elsewhere_come_and_go_once(pair: Pair) -> None:
    watcher = await pair.client(0)
    await watcher.subscribe("presence-room", user_id="watcher")
    first, second = await pair.client(1), await pair.client(1)
    for client in (first, second):
        await client.subscribe("presence-room", user_id="ana")
    await watcher.expect("pusher_internal:member_added", channel="presence-room")
    await first.unsubscribe("presence-room")
    await second.unsubscribe("presence-room")
    await watcher.expect("pusher_internal:member_removed", channel="presence-room")
    kinds = [event.event for event in watcher.events if "member_" in event.event]
    assert kinds == ["pusher_internal:member_added", "pusher_internal:member_removed"]


async def test_a_user_is_ended_wherever_it_is(pair: Pair) -> None:
    client = await pair.client(1)
    await client.signin("ana")
    await pair.backends[0].terminate("ana")
    await until(lambda: client.closed is not None, "the end of the connection")
    assert client.closed is not None
    assert client.closed.code == 4009


async def test_members_of_a_server_that_stops_leave_the_other(pair: Pair) -> None:
    watcher = await pair.client(0)
    await watcher.subscribe("presence-room", user_id="watcher")
    await (await pair.client(1)).subscribe("presence-room", user_id="ana")
    await watcher.expect("pusher_internal:member_added", channel="presence-room")
    await pair.servers[1].stop()
    await watcher.expect("pusher_internal:member_removed", channel="presence-room")
    assert await pair.backends[0].users("presence-room") == ["watcher"]


# ---- one durable store ----


@pytest.fixture(params=["in-process", "carrier"])
async def durable(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    """Two servers that keep their history in the same file."""
    policy = {"features": FEATURES, "connection_recovery": {"enabled": True}, "presence_history": {"enabled": True}}
    apps = [{"id": "app", "key": "key", "secret": "secret", "enabled": True, "policy": policy}]
    config: dict[str, object] = {
        "app_manager": {"array": {"apps": apps}},
        "history": {"enabled": True, "backend": "sqlite"},
    }
    config["instance"] = {"shared_stores": True}
    async with pair_of(tmp_path, config, shared=True, joined=request.param) as pair:
        yield pair


async def test_servers_number_a_durable_channel_together(durable: Pair) -> None:
    clients = [await durable.client(server) for server in (0, 1)]
    for client in clients:
        await client.subscribe("news")
    for number in range(20):
        await durable.backends[number % 2].publish("news", "tide", {"n": number})
    for client in clients:
        await client.expect("tide", channel="news", data={"n": 19})
        assert [event.data["n"] for event in client.events if event.event == "tide"] == list(range(20))
    pages = [(await backend.history("news", oldest_first=True))["items"] for backend in durable.backends]
    assert pages[0] == pages[1]
    assert [item["serial"] for item in pages[0]] == list(range(1, 21))


@pytest.mark.parametrize("kind", ["channel", "user"])
async def test_who_comes_to_a_server_later_is_not_sent_what_was_published_before(durable: Pair, kind: str) -> None:
    """What one server stores while the other has no subscriber is read there by those alone who ask for the past."""
    channel = "news" if kind == "channel" else "#server-to-user-ana"

    async def come(server: int) -> RecordingClient:
        client = await durable.client(server)
        await (client.subscribe("news") if kind == "channel" else client.signin("ana"))
        return client

    staying, leaving = await come(0), await come(1)
    await durable.backends[0].publish(channel, "tide", {"n": 0})
    await leaving.expect("tide", channel=channel, data={"n": 0})
    await leaving.close()
    await asyncio.sleep(0.2)
    for number in (1, 2):
        await durable.backends[0].publish(channel, "tide", {"n": number})
    coming = await come(1)
    await durable.backends[0].publish(channel, "tide", {"n": 3})
    await durable.backends[1].publish(channel, "tide", {"n": 4})
    for client, numbers in ((staying, [0, 1, 2, 3, 4]), (coming, [3, 4])):
        await client.expect("tide", channel=channel, data={"n": 4})
        assert [event.data["n"] for event in client.events if event.event == "tide"] == numbers


async def becomes(look: Callable[[], Awaitable[object]], expected: object) -> None:
    """Looks until it sees what is expected; after five seconds the difference is shown."""
    for _ in range(100):
        if await look() == expected:
            return
        await asyncio.sleep(0.05)
    assert await look() == expected


async def test_members_of_both_servers_stay_in_the_presence_history(durable: Pair) -> None:
    async def events(server: int) -> list[tuple[str, str]]:
        page = await durable.backends[server].history("presence-room", presence=True, oldest_first=True)
        return [(item["event"], item["user_id"]) for item in page["items"]]

    ana, ben = await durable.client(0), await durable.client(1)
    await ana.subscribe("presence-room", user_id="ana")
    await becomes(lambda: events(0), [("member_added", "ana")])
    await ben.subscribe("presence-room", user_id="ben")
    both = [("member_added", "ana"), ("member_added", "ben")]
    await becomes(lambda: events(1), both)
    assert await events(0) == both


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"adapter": {"driver": "nats", "nats": {"servers": ["127.0.0.1:1"]}}}, "adapter.nats.servers"),
        (
            {"adapter": {"driver": "postgres"}, "database": {"postgres": {"host": "127.0.0.1", "port": 1}}},
            "database.postgres",
        ),
    ],
    ids=["nats", "postgres"],
)
async def test_a_broker_that_cannot_be_used_ends_the_start(
    tmp_path: Path, settings: dict[str, object], named: str
) -> None:
    with pytest.raises(errors.SockudoError, match=named):
        async with pair_of(tmp_path, settings, shared=False, joined="configured"):
            pytest.fail("it started")
