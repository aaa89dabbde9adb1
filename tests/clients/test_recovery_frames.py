"""What the recovery plug-in makes of every order of frames: the server is the test itself."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from clients.node import JsClient, Node, open_pusher
from support.server import DEFAULT_APP
from support.waiting import Mailbox, wait_until

CHANNEL = "news"
STREAM = "5f0c4d6e-stream"

_names = itertools.count(1)

Frame = dict[str, Any]


class Link:
    """One connection as the server sees it."""

    def __init__(self, connection: ServerConnection, number: int) -> None:
        self._connection = connection
        self._received: Mailbox[Frame] = Mailbox(f"connection {number}")

    def carry(self) -> None:
        self.send("pusher:connection_established", data={"socket_id": "1.1", "activity_timeout": 120})
        try:
            for text in self._connection:
                self._received.put(json.loads(text))
        except ConnectionClosed:
            pass

    def next(self) -> Frame:
        """The next frame of the client."""
        return self._received.next(lambda _: True, "a frame of the client")

    def subscribed(self, channel: str = CHANNEL) -> None:
        frame = self.next()
        assert (frame["event"], frame["data"]["channel"]) == ("pusher:subscribe", channel)

    def resumed(self) -> Frame:
        """The places from which the client wants to go on."""
        frame = self.next()
        assert frame["event"] == "pusher:resume"
        assert list(frame["data"]) == ["channel_positions"]
        positions: Frame = frame["data"]["channel_positions"]
        return positions

    def send(self, event: str, channel: str | None = None, data: Any = None, **fields: Any) -> None:
        frame = {"event": event, "data": json.dumps(data or {}), **fields}
        self._connection.send(json.dumps(frame if channel is None else {**frame, "channel": channel}))

    def acknowledge(self, serial: int | None = None, *, stream: str = STREAM, channel: str = CHANNEL) -> None:
        place = {} if serial is None else {"stream_id": stream, "serial": serial}
        self.send("pusher_internal:subscription_succeeded", channel, **place)

    def say(self, *serials: int, stream: str = STREAM, channel: str = CHANNEL) -> None:
        """Messages whose data is their serial."""
        for serial in serials:
            self.send("said", channel, serial, stream_id=stream, serial=serial)

    def answer(self, serial: int, replayed: int, *, channel: str = CHANNEL) -> None:
        position = {"stream_id": STREAM, "serial": serial, "last_message_id": None}
        entry = {"channel": channel, "source": "hot", "replayed": replayed, "position": position}
        self.send("pusher:resume_success", data={"recovered": [entry], "failed": []})

    def refuse(self, code: str = "stream_reset") -> None:
        entry = {"channel": CHANNEL, "code": code, "reason": "because"}
        self.send("pusher:resume_failed", CHANNEL, entry)
        self.send("pusher:resume_success", data={"recovered": [], "failed": [entry]})

    def cut(self, code: int = 1001) -> None:
        self._connection.close(code)


class Script:
    """A WebSocket server whose connections are handed to the test."""

    host = "127.0.0.1"
    app = DEFAULT_APP

    def __init__(self) -> None:
        self._links: Mailbox[Link] = Mailbox("script")
        self._count = itertools.count(1)
        self._server = serve(self._handle, self.host, 0)
        self.port = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="script")
        self._thread.start()

    def _handle(self, connection: ServerConnection) -> None:
        link = Link(connection, next(self._count))
        self._links.put(link)
        link.carry()

    def link(self) -> Link:
        """The next connection of the client."""
        return self._links.next(lambda _: True, "a connection")

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()


@pytest.fixture
def script() -> Iterator[Script]:
    running = Script()
    yield running
    running.close()


Open = Callable[..., JsClient]


@pytest.fixture
def connect(recovery_node: Node, script: Script) -> Iterator[Open]:
    opened: list[JsClient] = []

    def open_one(*channels: str, **fields: Any) -> JsClient:
        name = f"frames-{next(_names)}"
        opened.append(open_pusher(recovery_node, script, name, **fields))  # type: ignore[arg-type]  # where it listens
        for channel in channels or (CHANNEL,):
            opened[-1].do("subscribe", channel=channel)
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


def heard(client: JsClient) -> list[int]:
    return [report["data"] for report in client.reports("event", channel=CHANNEL, event="said")]


def has_heard(client: JsClient, *serials: int) -> None:
    """Waits for these messages, and insists on nothing but these."""
    wait_until(lambda: len(heard(client)) >= len(serials), f"{len(serials)} messages; there are {heard(client)}")
    assert heard(client) == list(serials)


def was_told(client: JsClient, *outcomes: str) -> None:
    """Waits for these outcomes, and insists on nothing but these."""
    wait_until(lambda: len(client.reports("told")) >= len(outcomes), f"{outcomes}")
    assert [report["event"] for report in client.reports("told")] == list(outcomes)


def gap(client: JsClient) -> tuple[str, str]:
    data = client.data(CHANNEL, "gap")
    return data["code"], data["reason"]


def place(serial: int, stream: str = STREAM) -> Frame:
    return {"stream_id": stream, "serial": serial}


def attached(script: Script, client: JsClient, head: int = 5) -> Link:
    """The first connection, subscribed."""
    link = script.link()
    link.subscribed()
    link.acknowledge(head)
    client.data(CHANNEL, "pusher:subscription_succeeded")
    return link


def test_the_resume_goes_before_the_subscribe(connect: Open, script: Script) -> None:
    client = connect()
    first = attached(script, client)
    first.say(6, 7)
    has_heard(client, 6, 7)
    first.cut()
    second = script.link()
    assert second.resumed() == {CHANNEL: place(7)}
    second.subscribed()
    second.say(8)
    second.answer(8, 1)
    second.acknowledge(9)
    second.say(9)
    has_heard(client, 6, 7, 8, 9)
    assert client.data(CHANNEL, "recovered") == {"channel": CHANNEL, "count": 1, "source": "hot"}


def test_a_channel_that_got_no_message_goes_on_from_its_acknowledgement(connect: Open, script: Script) -> None:
    client = connect()
    attached(script, client, 0).cut()
    assert script.link().resumed() == {CHANNEL: place(0)}


def test_nothing_is_asked_for_on_the_first_connection(connect: Open, script: Script) -> None:
    client = connect()
    attached(script, client).say(6)
    has_heard(client, 6)
    was_told(client)


def test_what_comes_twice_is_dropped(connect: Open, script: Script) -> None:
    client = connect()
    first = attached(script, client)
    first.say(6, 7)
    first.cut()
    second = script.link()
    assert second.resumed() == {CHANNEL: place(7)}
    second.acknowledge(9)
    second.say(6, 7, 8, 8, 9)
    second.answer(9, 5)
    second.say(9, 10)
    has_heard(client, 6, 7, 8, 9, 10)


def test_a_cut_between_acknowledgement_and_replay_loses_nothing(connect: Open, script: Script) -> None:
    """The acknowledgement says where the channel is, not where the client is."""
    client = connect()
    first = attached(script, client)
    first.say(6)
    has_heard(client, 6)
    first.cut()
    second = script.link()
    second.resumed()
    second.acknowledge(9)
    client.data(CHANNEL, "pusher:subscription_succeeded")
    second.cut()
    third = script.link()
    assert third.resumed() == {CHANNEL: place(6)}
    third.say(7)
    has_heard(client, 6, 7)
    third.cut()
    assert script.link().resumed() == {CHANNEL: place(7)}
    was_told(client)


def test_a_cut_between_answer_and_acknowledgement_loses_nothing(connect: Open, script: Script) -> None:
    client = connect()
    attached(script, client, 5).cut()
    second = script.link()
    second.resumed()
    second.say(6)
    second.answer(6, 1)
    has_heard(client, 6)
    # More has been said since the answer; it comes behind the acknowledgement.
    second.acknowledge(8)
    assert client.data(CHANNEL, "recovered")["count"] == 1
    second.cut()
    assert script.link().resumed() == {CHANNEL: place(6)}


def test_what_the_answer_passes_over_is_not_asked_for_again(connect: Open, script: Script) -> None:
    client = connect()
    attached(script, client, 5).cut()
    second = script.link()
    second.resumed()
    second.answer(9, 0)
    second.acknowledge(9)
    client.data(CHANNEL, "recovered")
    second.cut()
    assert script.link().resumed() == {CHANNEL: place(9)}


def test_after_a_gap_the_channel_goes_on_from_its_acknowledgement(connect: Open, script: Script) -> None:
    """Whichever comes first. The numbers may even be lower than before: the server was restored from a backup."""
    client = connect()
    first = attached(script, client, 50)
    first.say(51)
    first.cut()
    second = script.link()
    assert second.resumed() == {CHANNEL: place(51)}
    second.refuse()
    second.acknowledge(20)
    second.say(21)
    assert gap(client) == ("stream_reset", "because")
    has_heard(client, 51, 21)
    second.cut()
    third = script.link()
    assert third.resumed() == {CHANNEL: place(21)}
    third.acknowledge(10)
    third.refuse()
    third.say(11)
    assert gap(client) == ("stream_reset", "because")
    has_heard(client, 51, 21, 11)
    third.cut()
    assert script.link().resumed() == {CHANNEL: place(11)}
    was_told(client, "gap", "gap")


def test_a_gap_is_told_however_late_the_channel_is_subscribed(connect: Open, script: Script) -> None:
    client = connect()
    attached(script, client).cut()
    second = script.link()
    second.resumed()
    second.refuse("position_expired")
    second.cut()
    third = script.link()
    # Where the channel is has to be learned anew.
    third.subscribed()
    was_told(client)
    third.acknowledge(9)
    assert gap(client) == ("position_expired", "because")
    third.cut()
    assert script.link().resumed() == {CHANNEL: place(9)}


def test_a_refusal_behind_a_success_counts(connect: Open, script: Script) -> None:
    """The server goes on from the answer when the channel is subscribed, and may find that it cannot."""
    client = connect()
    attached(script, client).cut()
    second = script.link()
    second.resumed()
    second.answer(5, 0)
    second.acknowledge(700)
    second.send("pusher:resume_failed", CHANNEL, {"channel": CHANNEL, "code": "position_expired", "reason": "too much"})
    assert gap(client) == ("position_expired", "too much")
    second.cut()
    assert script.link().resumed() == {CHANNEL: place(700)}
    was_told(client, "recovered", "gap")


def test_no_answer(connect: Open, script: Script) -> None:
    client = connect(options={"answerWithin": 50})
    attached(script, client).cut()
    second = script.link()
    second.resumed()
    second.acknowledge(9)
    assert gap(client) == ("recovery_unavailable", "no_answer")
    second.say(10)
    has_heard(client, 10)
    second.cut()
    assert script.link().resumed() == {CHANNEL: place(10)}


def test_no_answer_and_messages_meanwhile(connect: Open, script: Script) -> None:
    client = connect(options={"answerWithin": 50})
    attached(script, client).cut()
    second = script.link()
    second.resumed()
    second.acknowledge(9)
    second.say(10)
    assert gap(client) == ("recovery_unavailable", "no_answer")
    second.say(10)
    second.cut()
    third = script.link()
    assert third.resumed() == {CHANNEL: place(10)}
    third.say(11)
    has_heard(client, 10, 11)


def test_an_answer_that_leaves_the_channel_out(connect: Open, script: Script) -> None:
    client = connect()
    attached(script, client).cut()
    second = script.link()
    second.resumed()
    second.send("pusher:resume_success", data={"recovered": [], "failed": []})
    second.acknowledge(9)
    assert gap(client) == ("recovery_unavailable", "no_answer")


def test_an_aggregate_without_its_refusals(connect: Open, script: Script) -> None:
    client = connect()
    attached(script, client).cut()
    second = script.link()
    second.resumed()
    failed = [{"channel": CHANNEL, "code": "position_expired", "reason": "late"}]
    second.send("pusher:resume_success", data={"recovered": [], "failed": failed})
    second.acknowledge(9)
    assert gap(client) == ("position_expired", "late")


@pytest.mark.parametrize(
    "text", ["Connection recovery is not enabled", "Protocol error: pusher:resume requires protocol V2"]
)
def test_the_resume_is_refused(connect: Open, script: Script, text: str) -> None:
    client = connect()
    attached(script, client).cut()
    second = script.link()
    second.resumed()
    second.send("pusher:error", data={"code": 4301, "message": "Client event error: something else"})
    second.send("pusher:error", data={"code": 4301, "message": text})
    second.acknowledge(9)
    data = client.data(CHANNEL, "gap")
    assert data["code"] == "recovery_unavailable"
    assert (data["reason"], data["message"]) == ("refused_by_server", text)


def test_another_error_is_no_answer(connect: Open, script: Script) -> None:
    client = connect()
    attached(script, client).cut()
    second = script.link()
    second.resumed()
    second.send("pusher:error", data={"code": 4301, "message": "Client event error: something else"})
    second.acknowledge(5)
    second.answer(5, 0)
    client.data(CHANNEL, "recovered")
    was_told(client, "recovered")


def test_an_acknowledgement_without_a_place(connect: Open, script: Script) -> None:
    """The channel is not recovered any more, whatever becomes of the resume; and then it is again."""
    client = connect()
    attached(script, client).cut()
    second = script.link()
    second.resumed()
    second.acknowledge()
    assert gap(client) == ("recovery_unavailable", "server_does_not_recover")
    second.cut()
    third = script.link()
    third.subscribed()
    third.acknowledge(3)
    assert gap(client) == ("recovery_unavailable", "no_position")
    third.cut()
    assert script.link().resumed() == {CHANNEL: place(3)}


def test_the_stream_changes_under_a_subscriber(connect: Open, script: Script) -> None:
    client = connect()
    first = attached(script, client, 70)
    first.say(71)
    first.say(1, 2, stream="another")
    has_heard(client, 71, 1, 2)
    first.cut()
    assert script.link().resumed() == {CHANNEL: place(2, "another")}


def test_places_are_those_on_the_frame_alone(connect: Open, script: Script) -> None:
    """What an application has in its data, and what no server of ours sends, is no place."""
    client = connect()
    first = attached(script, client, 5)
    inner = {"stream_id": "mine", "serial": 900}
    first.send("said", CHANNEL, inner)
    for serial in ("7", 7.5, None, -1.5, True):
        first.send("said", CHANNEL, "odd", stream_id=STREAM, serial=serial)
    first.send("said", CHANNEL, "odd", serial=8)
    first.send("said", "elsewhere", "odd", stream_id=STREAM, serial=8)
    first.send("marker", CHANNEL)
    client.data(CHANNEL, "marker")
    assert heard(client) == [inner, *["odd"] * 6]
    first.cut()
    assert script.link().resumed() == {CHANNEL: place(5)}


def test_a_client_that_disconnects_before_the_answer(connect: Open, script: Script) -> None:
    client = connect(options={"answerWithin": 50})
    attached(script, client).cut()
    second = script.link()
    second.resumed()
    second.subscribed()
    client.do("disconnect")
    client.expect("state", state="disconnected")
    client.do("elapse", milliseconds=60)
    client.do("connect")
    third = script.link()
    assert third.resumed() == {CHANNEL: place(5)}
    third.answer(5, 0)
    third.acknowledge(5)
    client.data(CHANNEL, "recovered")
    was_told(client, "recovered")


def test_a_server_that_takes_only_small_messages(connect: Open, script: Script) -> None:
    """It gets smaller ones until it takes them: the connection is not to be lost over it for ever."""
    channels = [f"a-channel-with-quite-a-long-name-{number:03}" for number in range(200)]
    client = connect(*channels)
    first = script.link()
    for channel in channels:
        first.acknowledge(1, channel=channel)
    for channel in channels:
        client.data(channel, "pusher:subscription_succeeded")
    first.cut()
    link = script.link()
    while (size := len(link.resumed())) > 100:
        link.cut(1009)
        link = script.link()
    for channel in channels:
        link.acknowledge(1, channel=channel)
    for channel in channels[size:]:
        assert client.data(channel, "gap")["reason"] == "too_many_channels"
    # Any other end of a connection says nothing about size.
    link.cut()
    assert len(script.link().resumed()) == size
