"""The recording client, fed with frames by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sockudo.client.auth import Credentials
from sockudo.client.failures import ClientError, ClosedError
from sockudo.client.socket import Event
from sockudo.testing import ANYTHING, RecordingClient

APP = Credentials("app-id", "app-key", "app-secret")
ACK = "pusher_internal:subscription_succeeded"


class FedSocket:
    """Gives what the test feeds it."""

    def __init__(self) -> None:
        self.socket_id = "1.2"
        self.sent: list[tuple[Any, ...]] = []
        self._frames: asyncio.Queue[Event | Exception] = asyncio.Queue()

    def feed(self, event: str, channel: str | None = None, data: Any = None) -> None:
        raw = json.dumps({"event": event, "channel": channel, "data": data})
        self._frames.put_nowait(Event(event, channel, data, None, raw))

    def end(self, error: Exception) -> None:
        self._frames.put_nowait(error)

    async def receive(self) -> Event:
        step = await self._frames.get()
        if isinstance(step, Exception):
            raise step
        return step

    async def subscribe(self, *args: Any, **kwargs: Any) -> None:
        self.sent.append(("subscribe", args, kwargs))

    async def unsubscribe(self, *args: Any) -> None:
        self.sent.append(("unsubscribe", args))

    async def signin(self, *args: Any, **kwargs: Any) -> None:
        self.sent.append(("signin", args, kwargs))

    async def send_event(self, *args: Any) -> None:
        self.sent.append(("send_event", args))

    async def close(self) -> None:
        self.end(ClosedError(1000, ""))


@pytest.fixture
def socket() -> FedSocket:
    return FedSocket()


@pytest.fixture
async def client(socket: FedSocket) -> AsyncIterator[RecordingClient]:
    async with RecordingClient(socket, APP) as client:  # type: ignore[arg-type]  # a stand-in
        yield client


async def test_expect_waits_and_hands_each_frame_out_once(socket: FedSocket, client: RecordingClient) -> None:
    waiting = asyncio.ensure_future(client.expect("tide", channel="harbor"))
    await asyncio.sleep(0)
    socket.feed("tide", "pier", 1)
    socket.feed("tide", "harbor", 2)
    assert (await waiting).data == 2
    assert (await client.expect("tide")).data == 1
    with pytest.raises(AssertionError, match=r"'tide' did not come within 0\.01 s"):
        await client.expect("tide", timeout=0.01)
    assert [event.data for event in client.events] == [1, 2]


async def test_expect_compares_data(socket: FedSocket, client: RecordingClient) -> None:
    socket.feed("tide", "harbor", {"metres": 1, "at": "noon"})
    socket.feed("tide", "harbor", {"metres": 2, "at": "one"})
    found = await client.expect("tide", data={"metres": 2, "at": ANYTHING})
    assert found.data["at"] == "one"


async def test_a_failure_shows_what_came(socket: FedSocket, client: RecordingClient) -> None:
    socket.feed("ebb", "harbor", 1)
    with pytest.raises(AssertionError, match='"event": "ebb"') as caught:
        await client.expect("tide", channel="harbor", data=5, timeout=0.01)
    assert "'tide' on harbor with 5 did not come" in str(caught.value)


async def test_expect_ends_with_the_connection(socket: FedSocket, client: RecordingClient) -> None:
    socket.feed("before", "harbor")
    socket.end(ClosedError(4200, "Server shutting down"))
    assert (await client.expect("before")).channel == "harbor"
    with pytest.raises(AssertionError, match="4200 Server shutting down"):
        await client.expect("after")


async def test_a_server_of_another_protocol_is_not_taken_for_silence(socket: FedSocket) -> None:
    client = RecordingClient(socket, APP)  # type: ignore[arg-type]  # a stand-in
    socket.end(ClientError("not a frame of the protocol"))
    with pytest.raises(ClientError, match="not a frame"):
        await client.expect("tide")


async def test_expect_close(socket: FedSocket, client: RecordingClient) -> None:
    with pytest.raises(AssertionError, match="was not closed within"):
        await client.expect_close(4009, timeout=0.01)
    socket.end(ClosedError(4009, "You got disconnected by the app."))
    assert await client.expect_close(4009) == "You got disconnected by the app."
    with pytest.raises(AssertionError, match="expected close 4200, got 4009"):
        await client.expect_close(4200)


async def test_expect_error(socket: FedSocket, client: RecordingClient) -> None:
    socket.feed("pusher:error", None, {"code": 4301, "message": "No"})
    socket.feed("pusher:error", None, {"code": 4009, "message": "Never"})
    assert (await client.expect_error(4009)).data["message"] == "Never"
    assert (await client.expect_error(4301)).data["message"] == "No"


async def test_subscribe_waits_for_its_own_acknowledgement(socket: FedSocket, client: RecordingClient) -> None:
    subscribing = asyncio.ensure_future(client.subscribe("presence-crew", user_id="crew-8", user_info={"a": 1}))
    await asyncio.sleep(0)
    socket.feed(ACK, "other", {})
    await asyncio.sleep(0)
    assert not subscribing.done()
    socket.feed(ACK, "presence-crew", {"presence": {"count": 1}})
    assert (await subscribing).data == {"presence": {"count": 1}}
    assert socket.sent == [("subscribe", ("presence-crew", APP), {"user_id": "crew-8", "user_info": {"a": 1}})]


async def test_a_refused_request_fails_with_the_servers_words(socket: FedSocket, client: RecordingClient) -> None:
    socket.feed("pusher:error", None, {"code": 4009, "message": "Channel requires authentication"})
    with pytest.raises(AssertionError, match=r"refused: .*Channel requires authentication"):
        await client.subscribe("private-pier")


async def test_signin_and_events(socket: FedSocket, client: RecordingClient) -> None:
    socket.feed("pusher:signin_success", None, {"user_data": "{}"})
    await client.signin("crew-8", watchlist=["crew-9"])
    await client.send_event("client-x", "private-pier", 1)
    await client.unsubscribe("private-pier")
    assert socket.sent == [
        ("signin", (APP, "crew-8"), {"user_info": None, "watchlist": ["crew-9"]}),
        ("send_event", ("client-x", "private-pier", 1)),
        ("unsubscribe", ("private-pier",)),
    ]
    assert client.socket_id == "1.2"


async def test_assert_received_looks_at_everything(socket: FedSocket, client: RecordingClient) -> None:
    socket.feed("tide", "harbor", 1)
    await client.expect("tide")
    assert client.assert_received("tide", channel="harbor", data=1).data == 1
    with pytest.raises(AssertionError, match="'tide' on pier was not received"):
        client.assert_received("tide", channel="pier")


async def test_assert_nothing_is_about_what_applications_publish(socket: FedSocket, client: RecordingClient) -> None:
    socket.feed("pusher:ping")
    socket.feed("pusher_internal:member_added", "presence-crew", {})
    await client.assert_nothing(for_=0.01)
    with pytest.raises(AssertionError, match=r"unexpected: .*member_added"):
        await client.assert_nothing(for_=0.01, event="pusher_internal:member_added")
    socket.feed("tide", "harbor", 1)
    await client.assert_nothing(for_=0.01, channel="pier")
    await client.assert_nothing(for_=0.01, event="ebb")
    with pytest.raises(AssertionError, match=r"unexpected: .*tide"):
        await client.assert_nothing(for_=0.01)


async def test_nothing_is_not_asserted_of_a_connection_that_has_ended(
    socket: FedSocket, client: RecordingClient
) -> None:
    """A client that was thrown out receives nothing, whatever was published: that would prove nothing."""
    socket.end(ClosedError(4200, "Server shutting down"))
    with pytest.raises(AssertionError, match=r"has ended .*4200 Server shutting down"):
        await client.assert_nothing(for_=60)
