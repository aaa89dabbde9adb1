"""What is claimed or counted once holds for all servers, through their front doors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sockudo.client.failures import ApiError, ClosedError
from sockudo.server.server import Server
from support.joined import FEATURES, Pair, pair_of
from support.waiting import settle, until


def app(**policy: object) -> dict[str, object]:
    apps = [{"id": "app", "key": "key", "secret": "secret", "enabled": True, "policy": {"features": FEATURES} | policy}]
    return {"app_manager": {"array": {"apps": apps}}, "history": {"enabled": False}}


@pytest.fixture(params=["in-process", "carrier"])
async def pair(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    changes = app(limits={"max_read_requests_per_second": 1000})
    async with pair_of(tmp_path, changes, shared=False, joined=request.param) as pair:
        yield pair


async def test_an_idempotency_key_is_used_once_on_all_servers(pair: Pair) -> None:
    client = await pair.client(0)
    await client.subscribe("news")
    for number in range(8):
        for server in (number % 2, 1 - number % 2, number % 2):
            await pair.backends[server].publish("news", "tide", {"n": number}, idempotency_key=f"k{number}")
    await pair.backends[0].publish("news", "tide", {"n": 99})
    await client.expect("tide", data={"n": 99})
    assert [event.data["n"] for event in client.events if event.event == "tide"] == [*range(8), 99]


async def test_a_key_that_belongs_to_another_publish_is_a_conflict_on_every_server(pair: Pair) -> None:
    for number in range(6):
        await pair.backends[0].publish("news", "tide", {"n": number}, idempotency_key=f"k{number}")
        for backend in pair.backends:
            with pytest.raises(ApiError) as refused:
                await backend.publish("news", "tide", {"n": -1}, idempotency_key=f"k{number}")
            assert refused.value.status == 409


async def test_keys_of_a_server_that_stops_are_known_to_the_other(pair: Pair) -> None:
    client = await pair.client(0)
    await client.subscribe("news")
    for number in range(8):
        await pair.backends[1].publish("news", "tide", {"n": number}, idempotency_key=f"k{number}")
    await pair.servers[1].stop()
    for number in range(8):
        await pair.backends[0].publish("news", "tide", {"n": number}, idempotency_key=f"k{number}")
    await pair.backends[0].publish("news", "tide", {"n": 99})
    await client.expect("tide", data={"n": 99})
    assert [event.data["n"] for event in client.events if event.event == "tide"] == [*range(8), 99]


async def test_batches_with_keys_are_published_once(pair: Pair) -> None:
    client = await pair.client(1)
    await client.subscribe("news")
    batch = [
        {"name": "tide", "channel": "news", "data": {"n": number}, "idempotency_key": f"k{number}"}
        for number in range(5)
    ]
    for backend in (*pair.backends, pair.backends[0]):
        await backend.publish_batch(batch)
    await pair.backends[0].publish("news", "tide", {"n": 99})
    await client.expect("tide", data={"n": 99})
    assert [event.data["n"] for event in client.events if event.event == "tide"] == [*range(5), 99]


@pytest.mark.parametrize("joined", ["in-process", "carrier"])
async def test_the_limit_of_an_app_is_one_for_all_servers(tmp_path: Path, joined: str) -> None:
    """Ten requests of an address in a minute, over both: what both count at the same time may come on top."""
    changes = app() | {"rate_limiter": {"enabled": True, "api_rate_limit": {"max_requests": 10, "window_seconds": 60}}}
    async with pair_of(tmp_path, changes, shared=False, joined=joined) as pair:
        statuses = []
        for number in range(60):
            statuses.append(await status(pair, number % 2))
            if number % 4 == 3:
                await until(lambda: not any(map(exchanges, pair.servers)), "the exchange of hits")
        assert set(statuses) == {200, 429}
        assert 10 <= statuses.count(200) <= 14


async def status(pair: Pair, server: int) -> int:
    try:
        await pair.backends[server].publish("news", "tide")
    except ApiError as error:
        return error.status
    return 200


def exchanges(server: Server) -> bool:
    """Whether hits were counted that the other server does not know yet."""
    windows = server.services.counters._windows
    return windows._timer is not None or bool(windows._exchanging)


# ---- connections of an app ----


async def test_an_app_has_no_more_connections_than_it_may_on_all_servers(tmp_path: Path) -> None:
    limits = app(limits={"max_connections": 4})
    async with pair_of(tmp_path, limits, shared=False, joined="carrier") as pair:
        clients = [await pair.client(number % 2) for number in range(4)]
        members = [server.services.membership for server in pair.servers]
        await until(lambda: [each.elsewhere("app") for each in members] == [2, 2], "the servers to hear of each other")
        for server in (0, 1):
            with pytest.raises(ClosedError, match="over adapter quota"):
                await pair.client(server)
        await clients[0].close()
        await until(lambda: members[1].elsewhere("app") == 1, "the other one to hear of it")
        await pair.client(1)


# ---- cache channels ----

CHANNELS = [f"cache-{number}" for number in range(6)]


async def last(pair: Pair, server: int, channel: str) -> object:
    """What a new subscriber is shown."""
    client = await pair.client(server)
    await client.subscribe(channel)
    event = await client.expect("tide" if channel in CHANNELS else "pusher:cache_miss", channel=channel)
    await client.close()
    return event.data


async def test_the_last_event_is_kept_while_no_server_has_subscribers(pair: Pair) -> None:
    for channel in CHANNELS:
        for server in (0, 1):
            await pair.backends[server].publish(channel, "tide", {"n": server})
            await settle()
        for server in (0, 1):
            assert await last(pair, server, channel) == {"n": 1}
    await last(pair, 0, "cache-without")


@pytest.mark.parametrize("joined", ["in-process", "carrier"])
async def test_a_server_that_was_not_there_has_the_last_event(tmp_path: Path, joined: str) -> None:
    async with pair_of(tmp_path, app(), shared=False, joined=joined, servers=1) as pair:
        for channel in CHANNELS:
            await pair.backends[0].publish(channel, "tide", {"n": 1})
        await pair.start()
        await settle()
        for channel in CHANNELS:
            assert await last(pair, 1, channel) == {"n": 1}
        await pair.servers[0].stop()
        for channel in CHANNELS:
            assert await last(pair, 1, channel) == {"n": 1}


async def test_who_was_away_is_shown_what_came_meanwhile(pair: Pair) -> None:
    for channel in CHANNELS:
        await pair.backends[0].publish(channel, "tide", {"n": 1})
        assert await last(pair, 1, channel) == {"n": 1}
        await pair.backends[0].publish(channel, "tide", {"n": 2})
        await settle()
        assert await last(pair, 1, channel) == {"n": 2}


async def test_backends_read_the_last_event_on_any_server(pair: Pair) -> None:
    for channel in CHANNELS:
        for server in (0, 1, 0):
            await pair.backends[server].publish(channel, "tide", {"n": server})
            await settle()
        for backend in pair.backends:
            state = await backend.channel(channel, info=("cache",))
            assert '"n":0' in state["cache"]["data"].replace("\\", "").replace(" ", "")
