"""pysher, the Pusher client that Python programs listen with."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pusher
import pysher
import pytest
import websocket

from support.server import ServerProcess, start_server
from support.waiting import PATIENCE, Mailbox

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
"""websocket-client, below pysher, leaves sockets that the other side has closed to the garbage collector."""


@dataclass(frozen=True)
class Heard:
    channel: str
    event: str
    data: Any


class Listener:
    """A pysher connection that subscribes in its connection handler, and keeps what it hears.

    The handler is where pysher's users subscribe too: from any other thread an acknowledgement can arrive before pysher
    knows its own channel, and is lost.
    """

    def __init__(
        self, server: ServerProcess, channels: Mapping[str, Sequence[str]], *, key: str | None = None, **options: Any
    ) -> None:
        app = server.numeric_app
        self.client = pysher.Pusher(
            key or app.key,
            secret=app.secret,
            custom_host=server.host,
            port=server.port,
            secure=False,
            log_level=logging.CRITICAL,
            reconnect_interval=0,
            **options,
        )
        self.mailbox: Mailbox[Heard] = Mailbox("pysher")
        self._channels = channels
        self.client.connection.bind("pusher:connection_established", self._connected)
        self.client.connection.bind("pusher:error", self._note, "", "pusher:error")
        self.client.connect()

    def _note(self, data: Any, channel: str, event: str) -> None:
        self.mailbox.put(Heard(channel, event, data))

    def _connected(self, data: str) -> None:
        for channel, events in self._channels.items():
            subscription = self.client.subscribe(channel)
            for event in ("pusher_internal:subscription_succeeded", *events):
                subscription.bind(event, self._note, channel, event)
        self._note(json.loads(data), "", "connected")

    def data(self, channel: str, event: str) -> Any:
        what = f"{event} on {channel!r}"
        return self.mailbox.next(lambda each: (each.channel, each.event) == (channel, event), what).data

    def connected(self) -> str:
        """Waits for the connection and its channels; the socket id."""
        socket_id: str = self.data("", "connected")["socket_id"]
        return socket_id

    def joined(self, channel: str) -> Any:
        """Waits for the acknowledgement; its data."""
        return json.loads(self.data(channel, "pusher_internal:subscription_succeeded"))

    def close(self) -> None:
        # What pysher's own disconnect() does, except that it would read the answer to its close frame in this thread
        # and leave its own thread waiting.
        self.client.connection.disconnect_called = True
        with contextlib.suppress(websocket.WebSocketException, OSError, AttributeError):
            self.client.connection.socket.sock.send_close()
        self.client.connection.join(PATIENCE)


@pytest.fixture(scope="module", autouse=True)
def _collect_left_sockets() -> Iterator[None]:
    """Has the collector meet them while the filter above is in force."""
    yield
    gc.collect()


Open = Callable[..., Listener]


@pytest.fixture
def listen(server: ServerProcess) -> Iterator[Open]:
    opened: list[Listener] = []

    def open_one(channels: Mapping[str, Sequence[str]], *, server: ServerProcess = server, **options: Any) -> Listener:
        listener = Listener(server, channels, **options)
        opened.append(listener)
        return listener

    yield open_one
    for listener in opened:
        listener.close()


def test_connects(listen: Open) -> None:
    first, second = listen({}).connected().split(".")
    assert first.isdigit()
    assert second.isdigit()


@pytest.mark.parametrize("prefix", ["", "private-", "cache-", "private-cache-", "private-encrypted-"])
def test_channel(listen: Open, python_sdk: pusher.Pusher, unique: str, prefix: str) -> None:
    channel = f"{prefix}{unique}"
    listener = listen({channel: ["news"]})
    assert listener.joined(channel) == {}
    python_sdk.trigger(channel, "news", {"text": "Öresund 🌊"})
    data = json.loads(listener.data(channel, "news"))
    if prefix == "private-encrypted-":
        assert set(data) == {"nonce", "ciphertext"}
    else:
        assert data == {"text": "Öresund 🌊"}


def test_cache_miss_and_cached_event(listen: Open, python_sdk: pusher.Pusher, unique: str) -> None:
    channel = f"cache-{unique}"
    early = listen({channel: ["pusher:cache_miss"]})
    assert early.data(channel, "pusher:cache_miss") == "{}"
    python_sdk.trigger(channel, "rate", {"eur": 2})
    late = listen({channel: ["rate"]})
    assert json.loads(late.data(channel, "rate")) == {"eur": 2}


def test_presence(listen: Open, unique: str) -> None:
    channel = f"presence-{unique}"
    added, removed = "pusher_internal:member_added", "pusher_internal:member_removed"
    ana = listen({channel: [added, removed]}, user_data={"user_id": "ana", "user_info": {"name": "Ána"}})
    assert ana.joined(channel) == {"presence": {"ids": ["ana"], "hash": {"ana": {"name": "Ána"}}, "count": 1}}
    tabs = [listen({channel: []}, user_data={"user_id": "ben"}) for _ in range(2)]
    for tab in tabs:
        tab.joined(channel)
    assert json.loads(ana.data(channel, added)) == {"user_id": "ben", "user_info": {}}
    for tab in tabs:
        tab.close()
    assert json.loads(ana.data(channel, removed)) == {"user_id": "ben"}
    assert [each.event for each in ana.mailbox.seen if "member_" in each.event] == [added, removed]


def test_client_event(listen: Open, unique: str) -> None:
    channel = f"private-{unique}"
    sender, receiver = (listen({channel: ["client-typing"]}) for _ in range(2))
    for listener in (sender, receiver):
        listener.joined(channel)
    sender.client.channel(channel).trigger("client-typing", {"cursor": 7})
    assert receiver.data(channel, "client-typing") == {"cursor": 7}


def test_publisher_can_leave_one_socket_out(listen: Open, python_sdk: pusher.Pusher, unique: str) -> None:
    author, reader = (listen({unique: ["comment", "marker"]}) for _ in range(2))
    for listener in (author, reader):
        listener.joined(unique)
    python_sdk.trigger(unique, "comment", {}, author.connected())
    python_sdk.trigger(unique, "marker", {})
    reader.data(unique, "comment")
    author.data(unique, "marker")
    assert [each for each in author.mailbox.seen if each.event == "comment"] == []


def test_terminated_member_stays_away(listen: Open, python_sdk: pusher.Pusher, unique: str) -> None:
    """pysher cannot sign in: its user is the one of its presence channel."""
    listener = listen({f"presence-{unique}": []}, user_data={"user_id": unique})
    listener.joined(f"presence-{unique}")
    python_sdk.terminate_user_connections(unique)
    assert listener.data("", "pusher:error") == {"code": 4009, "message": "You got disconnected by the app."}
    listener.client.connection.join(PATIENCE)
    assert not listener.client.connection.is_alive()


def test_forced_reconnect_comes_back(listen: Open, server: ServerProcess, unique: str) -> None:
    channel = f"presence-{unique}"
    listener = listen({channel: []}, user_data={"user_id": unique})
    before = listener.connected()
    listener.joined(channel)
    app = server.numeric_app
    assert server.signed("POST", f"/apps/{app.id}/users/{unique}/force_reconnect", body={}, app=app).status == 200
    expected = {"code": 4200, "message": "Force reconnect requested by the app."}
    assert listener.data("", "pusher:error") == expected
    assert listener.connected() != before
    assert listener.joined(channel)["presence"]["ids"] == [unique]


def test_restarted_server_gets_its_listener_back(listen: Open, unique: str) -> None:
    channel = f"private-{unique}"
    with start_server() as first:
        listener = listen({channel: ["news"]}, server=first)
        before = listener.connected()
        listener.joined(channel)
        assert first.terminate() == 0
        assert listener.data("", "pusher:error") == {"code": 4200, "message": "Server shutting down"}
        with start_server({"port": first.port}) as second:
            assert listener.connected() != before
            listener.joined(channel)
            app = second.numeric_app
            sdk = pusher.Pusher(app.id, app.key, app.secret, ssl=False, host=second.host, port=second.port)
            sdk.trigger(channel, "news", {"n": 1})
            assert json.loads(listener.data(channel, "news")) == {"n": 1}
            listener.close()


def test_unknown_key_stops_the_client(listen: Open) -> None:
    listener = listen({}, key="no-such-key")
    assert listener.data("", "pusher:error") == {"code": 4001, "message": "Application does not exist"}
    listener.client.connection.join(PATIENCE)
    assert not listener.client.connection.is_alive()


def test_five_hundred_events_arrive_in_order(listen: Open, python_sdk: pusher.Pusher, unique: str) -> None:
    listener = listen({unique: ["count"]})
    listener.joined(unique)
    for first in range(0, 500, 10):
        numbers = range(first, first + 10)
        python_sdk.trigger_batch([{"channel": unique, "name": "count", "data": str(n)} for n in numbers])
    assert [int(listener.data(unique, "count")) for _ in range(500)] == list(range(500))
