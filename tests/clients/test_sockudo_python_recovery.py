"""Sockudo's own Python client when its connection breaks: what it hears is whole, in order and nothing twice.

The client gives up at the first connection that fails, so lines are cut, never closed. What a test does without waiting
happens while the client is away: they share one loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from sockudo_http_python import Event, Sockudo, SockudoOptions, TriggerOptions
from sockudo_python import SockudoWireFormat, SubscriptionRewind

from clients.backend import AppBackend
from clients.sockudo_client import Listener
from sockudo.testing import FaultProxy
from support.server import DEFAULT_APP, STREAMS, ServerProcess, start_server
from support.waiting import until

PREFIXES = ["", "private-", "presence-"]
BUFFER = 400
"""More than a publisher says in a whole test, however long a client takes to come back."""


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    recovery = {"enabled": True, "max_buffer_size": BUFFER}
    with start_server({**STREAMS, "connection_recovery": recovery}) as running:
        yield running


@pytest.fixture(scope="module")
def sdk(server: ServerProcess) -> Iterator[Sockudo]:
    options = SockudoOptions(port=server.port, max_retries=1)
    with Sockudo(DEFAULT_APP.id, DEFAULT_APP.key, DEFAULT_APP.secret, options=options) as found:
        yield found


@pytest.fixture(scope="module")
def backend(sdk: Sockudo) -> Iterator[AppBackend]:
    with AppBackend(sdk) as running:
        yield running


@pytest.fixture
async def line(server: ServerProcess) -> AsyncIterator[FaultProxy]:
    """What is between the client and the server."""
    async with FaultProxy(server.url) as proxy:
        yield proxy


def listener(line: FaultProxy, backend: AppBackend, **options: Any) -> Listener:
    return Listener(line.port, DEFAULT_APP.key, backend.origin, connection_recovery=True, **options)


def say(sdk: Sockudo, channel: str, *data: Any, event: str = "tide", **options: Any) -> None:
    for each in data:
        assert sdk.trigger(channel, event, each, TriggerOptions(**options)).ok


async def back(client: Listener) -> Any:
    """Waits until the client has been told what it missed."""
    return await client.next("", "sockudo:resume_success")


@pytest.mark.parametrize("wire", list(SockudoWireFormat), ids=lambda wire: wire.value)
@pytest.mark.parametrize("prefix", PREFIXES)
async def test_what_was_missed_is_made_up_for(
    line: FaultProxy, backend: AppBackend, sdk: Sockudo, unique: str, wire: SockudoWireFormat, prefix: str
) -> None:
    channel = f"{prefix}{unique}"
    async with listener(line, backend, wire_format=wire) as client:
        await client.join(channel)
        stream_id, serial = client.position(channel)
        assert serial == 0
        say(sdk, channel, 0, 1)
        await client.next(channel, "tide")
        await client.next(channel, "tide")
        line.cut()
        say(sdk, channel, 2, 3, {"n": 4})
        recovered = (await back(client))["recovered"]
        position = {"stream_id": stream_id, "serial": 5}
        (entry,) = recovered
        assert (entry["channel"], entry["replayed"]) == (channel, 3)
        assert {name: entry["position"][name] for name in position} == position
        say(sdk, channel, 5)
        say(sdk, channel, "", event="end-of-test")
        assert await client.settled(channel) == [0, 1, 2, 3, {"n": 4}, 5]
        assert client.position(channel) == (stream_id, 7)


async def test_several_channels_and_a_filter(line: FaultProxy, backend: AppBackend, sdk: Sockudo, unique: str) -> None:
    names = [f"{prefix}{unique}" for prefix in PREFIXES]
    async with listener(line, backend) as client:
        for name in names:
            await client.join(name)
        line.cut()
        for name in names:
            say(sdk, name, name)
        answer = await back(client)
        assert {each["channel"]: each["replayed"] for each in answer["recovered"]} == dict.fromkeys(names, 1)
        assert answer["failed"] == []
        for name in names:
            assert client.messages(name) == [name]


async def test_after_a_reset_the_client_starts_anew(
    line: FaultProxy, backend: AppBackend, sdk: Sockudo, unique: str
) -> None:
    """The client looks for the channel inside the data of the failure, and subscribes again to what it finds there."""
    async with listener(line, backend) as client:
        await client.join(unique)
        say(sdk, unique, 0)
        await client.next(unique, "tide")
        stream_id, _ = client.position(unique)
        line.cut()
        assert sdk.reset_channel_history(unique, "test").ok
        say(sdk, unique, "lost")
        failure = await client.next("", "sockudo:resume_failed")
        assert (failure["channel"], failure["code"]) == (unique, "stream_reset")
        await client.next(unique, "sockudo:subscription_succeeded")
        say(sdk, unique, "heard")
        await client.next(unique, "tide")
        assert client.messages(unique) == [0, "heard"]
        assert client.position(unique)[0] not in (None, stream_id)
        line.cut()
        say(sdk, unique, "missed")
        await client.next(unique, "tide")
        assert client.messages(unique) == [0, "heard", "missed"]


async def test_too_much_was_missed(line: FaultProxy, backend: AppBackend, sdk: Sockudo, unique: str) -> None:
    async with listener(line, backend) as client:
        await client.join(unique)
        line.cut()
        for _ in range(BUFFER // 10 + 1):
            assert sdk.trigger_batch([Event(unique, "flood", number) for number in range(10)]).ok
        failure = await client.next("", "sockudo:resume_failed")
        assert (failure["code"], failure["reason"]) == ("position_expired", "recovery_window_exceeded")
        await client.next(unique, "sockudo:subscription_succeeded")
        say(sdk, unique, "now")
        await client.next(unique, "tide")
        assert client.messages(unique)[-1] == "now"


async def test_a_client_that_resumes_is_not_rewound_again(
    line: FaultProxy, backend: AppBackend, sdk: Sockudo, unique: str
) -> None:
    """The client asks for its rewind with each subscribe: what it missed comes in its place."""
    say(sdk, unique, 0, 1)
    async with listener(line, backend) as client:
        await client.join(unique, rewind=SubscriptionRewind.count_messages(50))
        await client.next(unique, "sockudo:rewind_complete")
        line.cut()
        say(sdk, unique, 2)
        await back(client)
        await client.next(unique, "sockudo:subscription_succeeded")
        say(sdk, unique, "", event="end-of-test")
        assert await client.settled(unique) == [0, 1, 2]


async def test_whatever_is_cut_nothing_is_lost(
    line: FaultProxy, backend: AppBackend, sdk: Sockudo, unique: str
) -> None:
    """A publisher that does not stop, and a line that breaks in the middle of frames."""
    channel = f"private-{unique}"
    async with listener(line, backend) as client:
        client.client.bind("reconnecting", lambda *_: line.heal())
        await client.join(channel)
        publisher = asyncio.create_task(asyncio.to_thread(say, sdk, channel, *range(300)))
        cuts = 0
        while not publisher.done():
            line.cut_after(3000 + cuts)
            await until(
                lambda before=client.socket_id: publisher.done() or client.socket_id != before, "another connection"
            )
            cuts += 1
        line.heal()
        await publisher
        say(sdk, channel, "", event="end-of-test")
        assert await client.settled(channel) == list(range(300))
        assert cuts > 3


async def test_a_forced_reconnect(line: FaultProxy, backend: AppBackend, sdk: Sockudo, unique: str) -> None:
    with backend.as_user(unique[:60]):
        async with listener(line, backend) as client:
            await client.join(unique)
            await client.client.signin()
            await until(lambda: client.client.user.user_id is not None, "the acknowledgement")
            first = client.socket_id
            assert sdk.force_reconnect_user(unique[:60]).ok
            error = {"code": 4200, "message": "Force reconnect requested by the app."}
            assert await client.next("", "error") == error
            await back(client)
            assert client.socket_id != first
            say(sdk, unique, 1)
            await client.next(unique, "tide")


async def test_a_restart_of_the_server(backend: AppBackend, unique: str) -> None:
    """With the embedded store nothing is lost between the two processes."""
    config = {**STREAMS, "history": {"enabled": True, "backend": "sqlite"}, "shutdown_grace_period": 0}
    with start_server(config) as first:
        async with FaultProxy(first.url) as line, listener(line, backend) as client:
            await client.join(unique)
            first.publish(unique, "tide", "1")
            await client.next(unique, "tide")
            first.publish(unique, "tide", "2")
            first.terminate()
            data = str(first.folder / "data")
            with start_server({**config, "port": first.port}, env={"SOCKUDO_DATA_DIR": data}) as second:
                second.publish(unique, "tide", "3")
                line.cut()
                answer = await back(client)
                assert [(each["source"], each["replayed"]) for each in answer["recovered"]] == [("cold", 2)]
                assert client.messages(unique) == [1, 2, 3]
