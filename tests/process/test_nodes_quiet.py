"""Over a broker: what no other server wants is not sent to it, and what another one wants arrives."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from process.test_nodes import adapter_of
from sockudo.client.auth import Credentials
from sockudo.client.http import ApiClient
from sockudo.cluster.network import NetworkBus
from sockudo.testing import RecordingClient
from support.joined import Pair, pair_of
from support.server import DEFAULT_APP, ServerProcess, app_record, start_server

BROKERS = ["nats", "postgres", "redis"]
# What has to be numbered goes to the node that numbers it.
UNNUMBERED = {"connection_recovery": {"enabled": False}, "history": {"enabled": False}}
APP = Credentials(DEFAULT_APP.id, DEFAULT_APP.key, DEFAULT_APP.secret)


@pytest.fixture(params=BROKERS)
async def trio(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    changes = adapter_of(request.param, request) | UNNUMBERED
    async with pair_of(tmp_path, changes, shared=False, joined=request.param, servers=3) as trio:
        yield trio


def bus_of(trio: Pair, server: int) -> NetworkBus:
    bus = trio.servers[server].services.bus
    assert isinstance(bus, NetworkBus)
    return bus


async def publish_until(backend: ApiClient, channel: str, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await backend.publish(channel, "unheard", {})


async def become_quiet(trio: Pair, channel: str) -> None:
    """Publishes at the first server until nothing of it goes to the broker, for the channel or for patterns."""
    quiet = bus_of(trio, 0).quiet
    before = quiet.unwanted
    await publish_until(trio.backends[0], channel, lambda: quiet.unwanted >= before + 10)


async def test_a_channel_without_subscribers_elsewhere_costs_the_broker_nothing(
    trio: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await trio.client(0)
    await client.subscribe("news")
    bus, sent = bus_of(trio, 0), list[str]()
    publish = bus.carrier.publish

    def watched(topic: str, payload: bytes) -> None:
        sent.append(topic)
        publish(topic, payload)

    monkeypatch.setattr(bus.carrier, "publish", watched)

    async def nothing_was_sent() -> bool:
        await become_quiet(trio, "news")
        sent.clear()
        before = bus.quiet.unwanted
        for number in range(50):
            await trio.backends[0].publish("news", "tide", {"n": number})
        # The topic of the channel, and that of patterns.
        return not [topic for topic in sent if topic[0] in "cw"] and bus.quiet.unwanted == before + 100

    # A machine that stood still for seconds lets promises run out.
    assert [True for _ in range(5) if await nothing_was_sent()]
    await client.expect("tide", channel="news", data={"n": 49})


async def test_every_publish_after_the_subscription_arrives_while_others_are_published_all_the_time(trio: Pair) -> None:
    for round_ in range(6):
        channel = f"news-{round_}"
        await become_quiet(trio, channel)
        server = 1 + round_ % 2
        client = await trio.client(server)
        acknowledged = asyncio.ensure_future(client.subscribe(channel))
        number = first = 0
        while number < first + 20:
            if not acknowledged.done():
                first = number + 1
            number += 1
            await trio.backends[0].publish(channel, "tide", {"n": number})
        await acknowledged
        await client.expect("tide", channel=channel, data={"n": number})
        seen = [event.data["n"] for event in client.events if event.event == "tide"]
        assert seen == list(range(seen[0], number + 1))
        # The one that was under way as the acknowledgement came may be before it.
        assert seen[0] <= first + 1


@pytest.mark.parametrize("broker", BROKERS)
async def test_a_killed_server_leaves_no_promise_behind(broker: str, request: pytest.FixtureRequest) -> None:
    apps = {"app_manager": {"array": {"apps": [app_record(DEFAULT_APP)]}}}
    config = adapter_of(broker, request) | apps | UNNUMBERED

    def start(name: str) -> ServerProcess:
        return start_server(config, env={"INSTANCE_PROCESS_ID": name})

    with start("a") as killed, start("b") as second, start("c") as third:
        for server in (killed, third):
            async with ApiClient(server.url, APP) as backend:
                await publish_until(backend, "news", lambda server=server: unwanted_by(server) >= 10)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        async with (
            ApiClient(third.url, APP) as backend,
            await RecordingClient.connect(second.url, APP) as client,
        ):
            await client.subscribe("news")
            for number in range(10):
                await backend.publish("news", "tide", {"n": number})
            await client.expect("tide", channel="news", data={"n": 9})
            seen = [event.data["n"] for event in client.events if event.event == "tide"]
            # What it is acknowledged without, as the killed one does not answer, is none of the other's.
            assert seen == list(range(10))


def unwanted_by(server: ServerProcess) -> int:
    found = re.search(r"node_items_unwanted_total(?:\{.*\})? (\d+)", server.metrics())
    assert found is not None
    return int(found[1])
