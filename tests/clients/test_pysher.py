"""pysher, the Pusher client that Python programs listen with."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pusher
import pysher
import pytest

from support.server import ServerProcess, start_server
from support.waiting import PATIENCE, Mailbox


@dataclass(frozen=True)
class Heard:
    channel: str
    event: str
    data: Any


class Listener:
    """A pysher connection that subscribes in its connection handler, as pysher's users do, and keeps what it hears."""

    def __init__(self, server: ServerProcess, *, key: str | None = None, **options: Any) -> None:
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
        self._wanted: list[tuple[str, tuple[str, ...]]] = []
        self.client.connection.bind("pusher:connection_established", self._connected)
        self.client.connection.bind("pusher:error", self._note, "", "pusher:error")
        self.client.connect()

    def _note(self, data: Any, channel: str, event: str) -> None:
        self.mailbox.put(Heard(channel, event, data))

    def _connected(self, data: str) -> None:
        for channel, events in self._wanted:
            self._subscribe(channel, events)
        self._note(json.loads(data), "", "connected")

    def _subscribe(self, channel: str, events: tuple[str, ...]) -> None:
        subscription = self.client.subscribe(channel)
        for event in ("pusher_internal:subscription_succeeded", *events):
            subscription.bind(event, self._note, channel, event)

    def subscribe(self, channel: str, *events: str) -> Any:
        """Subscribes now and after every reconnect, with callbacks for these events; the acknowledgement's data."""
        self._wanted.append((channel, events))
        self._subscribe(channel, events)
        return json.loads(self.data(channel, "pusher_internal:subscription_succeeded"))

    def data(self, channel: str, event: str) -> Any:
        heard = self.mailbox.next(
            lambda each: (each.channel, each.event) == (channel, event), f"{event} on {channel!r}"
        )
        return heard.data

    def connected(self) -> str:
        socket_id: str = self.data("", "connected")["socket_id"]
        return socket_id

    def close(self) -> None:
        self.client.disconnect(5)


Open = Callable[..., Listener]


@pytest.fixture
def listen(server: ServerProcess) -> Iterator[Open]:
    opened: list[Listener] = []

    def open_one(*, server: ServerProcess = server, **options: Any) -> Listener:
        listener = Listener(server, **options)
        opened.append(listener)
        return listener

    yield open_one
    for listener in opened:
        listener.close()


def test_connects(listen: Open) -> None:
    first, second = listen().connected().split(".")
    assert first.isdigit()
    assert second.isdigit()


@pytest.mark.parametrize("prefix", ["", "private-", "cache-", "private-cache-", "private-encrypted-"])
def test_channel(listen: Open, python_sdk: pusher.Pusher, unique: str, prefix: str) -> None:
    channel = f"{prefix}{unique}"
    listener = listen()
    listener.connected()
    assert listener.subscribe(channel, "news") == {}
    python_sdk.trigger(channel, "news", {"text": "Öresund 🌊"})
    data = json.loads(listener.data(channel, "news"))
    if prefix == "private-encrypted-":
        assert set(data) == {"nonce", "ciphertext"}
    else:
        assert data == {"text": "Öresund 🌊"}


def test_cache_miss_and_cached_event(listen: Open, python_sdk: pusher.Pusher, unique: str) -> None:
    channel = f"cache-{unique}"
    early = listen()
    early.connected()
    early.subscribe(channel, "pusher:cache_miss")
    assert early.data(channel, "pusher:cache_miss") == "{}"
    python_sdk.trigger(channel, "rate", {"eur": 2})
    late = listen()
    late.connected()
    late.subscribe(channel, "rate")
    assert json.loads(late.data(channel, "rate")) == {"eur": 2}


def test_presence(listen: Open, unique: str) -> None:
    channel = f"presence-{unique}"
    ana = listen(user_data={"user_id": "ana", "user_info": {"name": "Ána"}})
    ana.connected()
    joined = ana.subscribe(channel, "pusher_internal:member_added", "pusher_internal:member_removed")
    assert joined == {"presence": {"ids": ["ana"], "hash": {"ana": {"name": "Ána"}}, "count": 1}}
    tabs = [listen(user_data={"user_id": "ben"}) for _ in range(2)]
    for tab in tabs:
        tab.connected()
        tab.subscribe(channel)
    added = json.loads(ana.data(channel, "pusher_internal:member_added"))
    assert added == {"user_id": "ben", "user_info": {}}
    for tab in tabs:
        tab.close()
    assert json.loads(ana.data(channel, "pusher_internal:member_removed")) == {"user_id": "ben"}
    changes = [each.event for each in ana.mailbox.seen if "member_" in each.event]
    assert changes == ["pusher_internal:member_added", "pusher_internal:member_removed"]


def test_client_event(listen: Open, unique: str) -> None:
    channel = f"private-{unique}"
    sender, receiver = listen(), listen()
    for listener in (sender, receiver):
        listener.connected()
        listener.subscribe(channel, "client-typing")
    sender.client.channel(channel).trigger("client-typing", {"cursor": 7})
    assert receiver.data(channel, "client-typing") == {"cursor": 7}


def test_publisher_can_leave_one_socket_out(listen: Open, python_sdk: pusher.Pusher, unique: str) -> None:
    author, reader = listen(), listen()
    author_id = author.connected()
    reader.connected()
    for listener in (author, reader):
        listener.subscribe(unique, "comment", "marker")
    python_sdk.trigger(unique, "comment", {}, author_id)
    python_sdk.trigger(unique, "marker", {})
    reader.data(unique, "comment")
    author.data(unique, "marker")
    assert [each for each in author.mailbox.seen if each.event == "comment"] == []


def test_terminated_member_stays_away(listen: Open, python_sdk: pusher.Pusher, unique: str) -> None:
    """pysher cannot sign in: its user is the one of its presence channel."""
    listener = listen(user_data={"user_id": unique})
    listener.connected()
    listener.subscribe(f"presence-{unique}")
    python_sdk.terminate_user_connections(unique)
    assert listener.data("", "pusher:error") == {"code": 4009, "message": "You got disconnected by the app."}
    listener.client.connection.join(PATIENCE)
    assert not listener.client.connection.is_alive()


def test_restarted_server_gets_its_listener_back(listen: Open, unique: str) -> None:
    with start_server() as first:
        listener = listen(server=first)
        before = listener.connected()
        listener.subscribe(f"private-{unique}", "news")
        assert first.terminate() == 0
        assert listener.data("", "pusher:error") == {"code": 4200, "message": "Server shutting down"}
        with start_server({"port": first.port}) as second:
            assert listener.connected() != before
            listener.data(f"private-{unique}", "pusher_internal:subscription_succeeded")
            app = second.numeric_app
            sdk = pusher.Pusher(app.id, app.key, app.secret, ssl=False, host=second.host, port=second.port)
            sdk.trigger(f"private-{unique}", "news", {"n": 1})
            assert json.loads(listener.data(f"private-{unique}", "news")) == {"n": 1}
            listener.close()


def test_unknown_key_stops_the_client(listen: Open) -> None:
    listener = listen(key="no-such-key")
    assert listener.data("", "pusher:error") == {"code": 4001, "message": "Application does not exist"}
    listener.client.connection.join(PATIENCE)
    assert not listener.client.connection.is_alive()


def test_five_hundred_events_arrive_in_order(listen: Open, python_sdk: pusher.Pusher, unique: str) -> None:
    listener = listen()
    listener.connected()
    listener.subscribe(unique, "count")

    def publish() -> None:
        for first in range(0, 500, 10):
            numbers = range(first, first + 10)
            python_sdk.trigger_batch([{"channel": unique, "name": "count", "data": str(n)} for n in numbers])

    publishing = threading.Thread(target=publish)
    publishing.start()
    heard = [int(listener.data(unique, "count")) for _ in range(500)]
    publishing.join(PATIENCE)
    assert heard == list(range(500))
