"""Channels that are recoverable without a store have one order on all servers, and clients resume on any."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sockudo.base.stream_records import Position
from sockudo.client.events import Event
from sockudo.client.failures import ApiError
from sockudo.client.wire import Wire
from sockudo.testing import RecordingClient
from support.joined import FEATURES, Pair, pair_of
from support.waiting import until

V2 = Wire(2)
POLICY = {"features": FEATURES, "connection_recovery": {"enabled": True}}
APPS = [{"id": "app", "key": "key", "secret": "secret", "enabled": True, "policy": POLICY}]
CHANGES: dict[str, object] = {"app_manager": {"array": {"apps": APPS}}, "history": {"enabled": False}}


@pytest.fixture(params=["in-process", "carrier"])
def joined(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def pair(tmp_path: Path, joined: str) -> AsyncIterator[Pair]:
    async with pair_of(tmp_path, CHANGES, shared=False, joined=joined) as pair:
        yield pair


async def subscribe(client: RecordingClient, channel: str) -> None:
    await client.socket.subscribe(channel, client.credentials)
    await client.expect("sockudo_internal:subscription_succeeded", channel=channel)


async def subscriber(pair: Pair, server: int, channel: str = "news") -> RecordingClient:
    client = await pair.client(server, wire=V2)
    await subscribe(client, channel)
    return client


async def publish(pair: Pair, server: int, *numbers: int, channel: str = "news") -> None:
    for number in numbers:
        await pair.backends[server].publish(channel, "tide", {"n": number})


def tides(client: RecordingClient) -> list[Event]:
    return [event for event in client.events if event.event == "tide"]


def numbers(client: RecordingClient) -> list[Any]:
    return [event.data["n"] for event in tides(client)]


def place(client: RecordingClient) -> dict[str, Any]:
    """Where the client is: the newest position that it was told."""
    latest = [event for event in client.events if event.serial is not None][-1]
    return {"stream_id": latest.stream_id, "serial": latest.serial}


async def resumed(pair: Pair, server: int, position: dict[str, Any], channel: str = "news") -> RecordingClient:
    client = await pair.client(server, wire=V2)
    await client.socket.resume({channel: position})
    await client.expect("sockudo:resume_success")
    return client


@pytest.mark.parametrize("channel", ["news", "private-news", "cache-news"])
async def test_servers_number_a_channel_together(pair: Pair, channel: str) -> None:
    clients = [await subscriber(pair, server, channel) for server in (0, 1)]
    assert place(clients[0]) == place(clients[1])
    for number in range(20):
        await publish(pair, number % 2, number, channel=channel)
    for client in clients:
        await client.expect("tide", data={"n": 19})
        assert numbers(client) == list(range(20))
        assert [event.serial for event in tides(client)] == list(range(1, 21))
    assert len({event.stream_id for client in clients for event in tides(client)}) == 1


async def test_publishes_at_once_on_both_servers_come_in_one_order(pair: Pair) -> None:
    clients = [await subscriber(pair, server) for server in (0, 0, 1)]
    await asyncio.gather(*(publish(pair, server, *range(server * 100, server * 100 + 20)) for server in (0, 1)))
    for client in clients:
        while len(tides(client)) < 40:
            await client.expect("tide")
    assert numbers(clients[0]) == numbers(clients[1]) == numbers(clients[2])
    assert [event.serial for event in tides(clients[2])] == list(range(1, 41))


@pytest.mark.parametrize("server", [0, 1])
async def test_a_client_resumes_on_any_server(pair: Pair, server: int) -> None:
    staying, leaving = await subscriber(pair, 0), await subscriber(pair, 0)
    await publish(pair, 0, 1)
    await leaving.expect("tide")
    await leaving.close()
    await publish(pair, 1, 2)
    await publish(pair, 0, 3)
    coming = await resumed(pair, server, place(leaving))
    assert numbers(coming) == [2, 3]
    await subscribe(coming, "news")
    await publish(pair, 1, 4)
    for client in (staying, coming):
        await client.expect("tide", data={"n": 4})
    assert [event.serial for event in tides(coming)] == [2, 3, 4]


async def test_a_place_before_the_first_message_holds_on_the_other_server(pair: Pair) -> None:
    leaving = await subscriber(pair, 0)
    await leaving.close()
    await publish(pair, 1, 1, 2)
    assert numbers(await resumed(pair, 1, place(leaving))) == [1, 2]


async def test_a_place_in_another_stream_is_none(pair: Pair) -> None:
    await publish(pair, 0, 1)
    for server in (0, 1):
        client = await resumed(pair, server, {"stream_id": "another", "serial": 1})
        failed = client.assert_received("sockudo:resume_failed").data
        assert (failed["code"], failed["reason"]) == ("stream_reset", "stream_id_mismatch")


async def test_the_socket_that_is_left_out_gets_nothing_on_any_server(pair: Pair) -> None:
    left_out, other = await subscriber(pair, 0), await subscriber(pair, 1)
    for server in (0, 1):
        await pair.backends[server].publish("news", "tide", {"n": server}, socket_id=left_out.socket_id)
        await other.expect("tide", data={"n": server})
    await publish(pair, 0, 2)
    for client in (left_out, other):
        await client.expect("tide", data={"n": 2})
    assert (numbers(left_out), numbers(other)) == ([2], [0, 1, 2])


async def test_messages_to_a_user_are_numbered_together(pair: Pair) -> None:
    clients = [await pair.client(server, wire=V2) for server in (0, 1)]
    for client in clients:
        await client.socket.signin(client.credentials, "ana")
        await client.expect("sockudo:signin_success")
    for number in range(4):
        await publish(pair, number % 2, number, channel="#server-to-user-ana")
    for client in clients:
        await client.expect("tide", data={"n": 3})
        assert [event.serial for event in tides(client)] == [1, 2, 3, 4]


async def test_patterns_get_the_numbers_of_other_servers(pair: Pair) -> None:
    pattern = await subscriber(pair, 1, "news-*")
    await publish(pair, 0, 1, 2, channel="news-today")
    await pattern.expect("tide", data={"n": 2})
    assert [event.serial for event in tides(pattern)] == [1, 2]


async def test_a_server_that_joins_goes_on_with_every_stream(tmp_path: Path, joined: str) -> None:
    channels = [f"news-{number}" for number in range(6)]
    async with pair_of(tmp_path, CHANGES, shared=False, joined=joined, servers=1) as pair:
        client = await pair.client(0, wire=V2)
        for channel in channels:
            await subscribe(client, channel)
        for channel in channels[:3]:
            await publish(pair, 0, 1, channel=channel)
        await pair.start()
        for channel in channels:
            await publish(pair, 1, 2, channel=channel)
            await client.expect("tide", channel=channel, data={"n": 2})
        for channel in channels:
            told = [event for event in client.events if event.channel == channel and event.serial is not None]
            assert len({event.stream_id for event in told}) == 1
            assert [event.serial for event in told] == list(range(len(told)))
        assert not any(event.system == "resume_failed" for event in client.events)


async def test_a_server_that_stops_passes_its_streams_on(tmp_path: Path, joined: str) -> None:
    channels = [f"news-{number}" for number in range(6)]
    async with pair_of(tmp_path, CHANGES, shared=False, joined=joined, servers=3) as pair:
        client = await subscriber(pair, 0, channels[0])
        for channel in channels[1:]:
            await subscribe(client, channel)
        for channel in channels:
            await publish(pair, 1, 1, channel=channel)
        await pair.servers[1].stop()
        for channel in channels:
            await publish(pair, 2, 2, channel=channel)
            await client.expect("tide", channel=channel, data={"n": 2})
        await pair.servers[2].stop()
        for channel in channels:
            await publish(pair, 0, 3, channel=channel)
            await client.expect("tide", channel=channel, data={"n": 3})
            told = [event for event in tides(client) if event.channel == channel]
            assert [event.serial for event in told] == [1, 2, 3]
            assert len({event.stream_id for event in told}) == 1
        assert not any(event.system == "resume_failed" for event in client.events)


async def test_clients_are_told_of_streams_that_went_with_their_server(tmp_path: Path, joined: str) -> None:
    async with pair_of(tmp_path, CHANGES, shared=False, joined=joined, servers=3) as pair:
        client = await pair.client(0, wire=V2)
        channels = [f"news-{number}" for number in range(8)]
        for channel in channels:
            await subscribe(client, channel)
            await publish(pair, 1, 1, channel=channel)
            await client.expect("tide", channel=channel)
        before = {channel: [e for e in tides(client) if e.channel == channel][-1].stream_id for channel in channels}
        pair.lose(1)
        for channel in channels:
            await publish(pair, 2, 2, channel=channel)
            await client.expect("tide", channel=channel, data={"n": 2})
        for channel in channels:
            told = [event for event in client.events if event.channel == channel]
            latest = [event for event in told if event.event == "tide"][-1]
            resets = [event.data for event in told if event.system == "resume_failed"]
            if latest.stream_id == before[channel]:
                assert (resets, latest.serial) == ([], 2)
                continue
            assert latest.serial == 1
            assert [(reset["code"], reset["expected_stream_id"]) for reset in resets] == [
                ("stream_reset", before[channel])
            ]


async def test_a_server_for_backends_alone_has_its_messages_numbered_by_the_only_other_one(tmp_path: Path) -> None:
    # The broker is one of the test's own all the same.
    changes, of_each = CHANGES | {"adapter": {"driver": "nats"}}, {"b": {"server_role": "api"}}
    async with pair_of(tmp_path, changes, shared=False, joined="carrier", of_each=of_each) as pair:
        client = await subscriber(pair, 0)
        for number in range(6):
            await publish(pair, number % 2, number)
        await client.expect("tide", data={"n": 5})
        assert numbers(client) == list(range(6))
        assert [event.serial for event in tides(client)] == list(range(1, 7))


# ---- servers that do not reach each other ----

FAST = {"adapter": {"cluster_health": {"heartbeat_interval_ms": 100, "node_timeout_ms": 500}}}
CHANNELS = [f"news-{number}" for number in range(6)]


@pytest.fixture
async def fast(tmp_path: Path) -> AsyncIterator[tuple[Pair, list[RecordingClient]]]:
    """Two servers that notice soon, and a client of each, subscribed to several channels with a message each."""
    async with pair_of(tmp_path, CHANGES | FAST, shared=False, joined="carrier") as pair:
        clients = [await pair.client(server, wire=V2) for server in (0, 1)]
        for channel in CHANNELS:
            for client in clients:
                await subscribe(client, channel)
            await publish(pair, 0, 0, channel=channel)
            for client in clients:
                await client.expect("tide", channel=channel)
        yield pair, clients


async def check_agreement(pair: Pair, clients: list[RecordingClient], number: int) -> None:
    """From here on all clients get the same, and have been told where a stream did not go on."""
    await until(lambda: all(len(server.services.membership.live()) == 2 for server in pair.servers), "both servers")
    for channel in CHANNELS:
        for server in (0, 1):
            await until_published(pair, server, number + server, channel)
        for client in clients:
            for server in (0, 1):
                await client.expect("tide", channel=channel, data={"n": number + server})
        ends = []
        for client in clients:
            last: Position | None = None
            for event in client.events:
                if event.channel == channel and event.system == "resume_failed":
                    last = Position(event.data["current_stream_id"], event.data["newest_available_serial"] or 0)
                elif event.channel == channel and event.serial is not None:
                    place = Position(event.stream_id or "", event.serial)
                    assert last is None or place == last._replace(serial=last.serial + 1), (last, place)
                    last = place
            ends.append(last)
        assert ends[0] == ends[1]


async def until_published(pair: Pair, server: int, number: int, channel: str) -> None:
    """Publishes as a backend does that tries again."""
    for _ in range(50):
        try:
            await publish(pair, server, number, channel=channel)
        except ApiError as error:
            assert error.status == 503, error  # noqa: PT017 - any other one fails the test
            await asyncio.sleep(0.1)
        else:
            return
    raise AssertionError("it was refused for seconds")


async def test_servers_that_were_apart_agree_again(fast: tuple[Pair, list[RecordingClient]]) -> None:
    pair, clients = fast
    for carrier in pair.carriers:
        carrier.apart = True
    await until(lambda: all(len(server.services.membership.live()) == 1 for server in pair.servers), "the split")
    for channel in CHANNELS:
        for server in (0, 1):
            for number in range(server + 1):
                await publish(pair, server, 10 + number, channel=channel)
            await clients[server].expect("tide", channel=channel, data={"n": 10 + server})
    for carrier in pair.carriers:
        carrier.apart = False
    await check_agreement(pair, clients, 100)


async def test_a_server_that_nobody_hears_numbers_nothing_and_agrees_again(
    fast: tuple[Pair, list[RecordingClient]],
) -> None:
    pair, clients = fast
    pair.carriers[0].mute = True
    await until(lambda: len(pair.servers[1].services.membership.live()) == 1, "the timeout")
    for channel in CHANNELS:
        with pytest.raises(ApiError) as refused:
            await publish(pair, 0, 9, channel=channel)
        assert refused.value.status == 503
        await publish(pair, 1, 10, channel=channel)
        await clients[1].expect("tide", channel=channel, data={"n": 10})
    pair.carriers[0].mute = False
    await check_agreement(pair, clients, 100)
