"""What time brings to a connection on protocol V2: pings, silence, deadlines, members whose connection was lost
(spec: websocket § 4 and 6.5). The server's clock is moved by the tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from blackbox.api import Api
from blackbox.timed import TimedServer
from support.tokens import TOKEN_APP, token
from support.waiting import wait_until
from support.websocket import CLOSE, PING, PONG, TEXT, WebSocket, frame

NO_PONG = (4201, "Pong reply not received in time")
IDLE = (1001, "Connection idle timeout")

Start = Callable[..., TimedServer]


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as opened:
        yield lambda **config: opened.enter_context(TimedServer(config))


def pinged(client: WebSocket) -> bytes:
    """The payload of the native ping that has to be the next frame."""
    opcode, payload = client.frame()
    assert opcode == PING, (opcode, payload)
    assert payload
    return payload


# ---- pings ----


def test_a_silent_connection_is_pinged_natively_after_a_minute(start: Start) -> None:
    server = start()
    client = server.connect()
    for _ in range(3):
        server.advance(59)
        client.hears_nothing()
        server.advance(60)
        client.send(frame(pinged(client), PONG))
        client.hears_nothing()


@pytest.mark.parametrize(
    ("config", "seconds"),
    [
        ({"activity_timeout": 20}, 30),
        ({"activity_timeout": 20, "websocket": {"ping_interval": 7}}, 10),
        ({"activity_timeout": 2, "websocket": {"ping_interval": 1}}, 5),
        ({"websocket": {"ping_interval": 90}}, 90),
    ],
)
def test_how_long_a_silence_may_be(start: Start, config: dict[str, Any], seconds: int) -> None:
    server = start(**config)
    client = server.connect()
    server.advance(seconds - 0.5)
    client.hears_nothing()
    server.advance(seconds)
    pinged(client)


@pytest.mark.parametrize("websocket", [{"ping_interval": 0}, {"auto_ping": False}])
def test_pings_can_be_switched_off(start: Start, websocket: dict[str, Any]) -> None:
    server = start(websocket={**websocket, "idle_timeout": 0})
    client = server.connect()
    client.subscribe("private-news")
    server.advance(100_000)
    client.hears_nothing()


def test_whoever_does_not_answer_is_closed_without_an_error_frame(start: Start) -> None:
    server = start()
    client = server.connect()
    server.advance(60)
    pinged(client)
    server.advance(29)
    server.advance(1)
    client.closed(*NO_PONG)


@pytest.mark.parametrize("answer", ["other traffic", "another payload"])
def test_only_the_very_pong_is_an_answer(start: Start, answer: str) -> None:
    """Pings of its own are none either: that is how the client finds out that it hears nothing."""
    server = start()
    client = server.connect()
    server.advance(60)
    payload = pinged(client)
    if answer == "other traffic":
        client.say("sockudo:pong")
    elif answer == "another payload":
        client.send(frame(payload[:-1], PONG))
    client.hears_nothing()
    server.advance(30)
    client.closed(*NO_PONG)


def test_a_late_pong_is_an_answer_as_long_as_the_connection_is_open(start: Start) -> None:
    server = start()
    client = server.connect()
    server.advance(60)
    payload = pinged(client)
    server.advance(29)
    client.send(frame(payload, PONG))
    client.hears_nothing()
    server.advance(30)
    client.hears_nothing()


@pytest.mark.parametrize(
    ("sent", "answered"), [(frame("broken"), TEXT), (frame(b"x", PING), PONG)], ids=["broken frame", "ping"]
)
def test_any_frame_is_a_sign_of_life(start: Start, sent: bytes, answered: int) -> None:
    server = start()
    client = server.connect()
    for _ in range(3):
        server.advance(59)
        client.send(sent)
        assert client.frame().opcode == answered
    server.advance(60)
    pinged(client)


def test_v1_beside_it_is_pinged_in_its_own_way(start: Start) -> None:
    server = start()
    old = server.connect(protocol=7)
    server.advance(119)
    old.send(frame(b"", PONG))
    old.hears_nothing()
    server.advance(120)
    assert old.text() == '{"event":"pusher:ping"}'


# ---- silence ----


@pytest.mark.parametrize(
    ("websocket", "seconds"),
    [({"ping_interval": 0}, 120), ({"idle_timeout": 20}, 20), ({"auto_ping": False, "idle_timeout": 500}, 500)],
)
def test_silence_ends_a_connection_that_is_not_pinged(start: Start, websocket: dict[str, Any], seconds: int) -> None:
    server = start(websocket=websocket)
    client = server.connect()
    server.advance(seconds - 1)
    client.say("sockudo:ping")
    client.event()
    server.advance(seconds - 1)
    server.advance(1)
    client.closed(*IDLE)


# ---- the deadline of an app with users ----


def test_whoever_shows_no_right_in_time_is_ended(start: Start) -> None:
    deadline = {"user_authentication_timeout": 50}
    server = start(**deadline)
    stranger, member, user = (server.connect() for _ in range(3))
    holder = server.connect(app=TOKEN_APP, params=f"token={token()}")
    stranger.subscribe("news")
    member.subscribe("private-news")
    user.sign_in("ana")
    server.advance(50)
    stranger.ended(4009, "Connection not authorized within timeout.")
    for client in (member, user, holder):
        client.hears_nothing()


# ---- members whose connection was lost ----


class Room:
    """A presence channel with a watcher, and a member whose connection the test breaks."""

    name = "presence-room"

    def __init__(self, server: TimedServer, *, protocol: int = 2) -> None:
        self.server = server
        self.watcher = server.connect()
        self.watcher.subscribe(self.name, "watcher")
        self.member = self.join(protocol=protocol)
        assert self.watcher.event()["event"] == "sockudo_internal:member_added"

    def join(self, **fields: Any) -> WebSocket:
        client = self.server.connect(**fields)
        client.subscribe(self.name, "ana", {"nick": "Ana"})
        return client

    def connections(self) -> int:

        answer = Api(self.server).get(f"channels/{self.name}", {"info": "subscription_count"})
        count: int = answer.json()["subscription_count"]
        return count

    def lost(self) -> None:
        """Waits until the server knows that the connection is gone."""
        wait_until(lambda: self.connections() == 1, "the end of the connection")

    def members(self) -> list[str]:
        client = self.server.connect()
        ids: list[str] = json.loads(client.subscribe(self.name, "watcher")["data"])["presence"]["ids"]
        client.say("sockudo:unsubscribe", {"channel": self.name})
        client.hears_nothing()
        return ids

    def is_told(self) -> None:
        data = '{"user_id":"ana"}'
        assert self.watcher.event() == {
            "event": "sockudo_internal:member_removed",
            "channel": self.name,
            "data": data,
        }


@pytest.mark.parametrize("seconds", [15, 3])
def test_a_lost_member_stays_for_a_while(start: Start, seconds: int) -> None:
    config = {} if seconds == 15 else {"presence": {"v2_ungraceful_timeout_seconds": seconds}}
    room = Room(start(**config))
    room.member.reset()
    room.lost()
    assert room.members() == ["watcher", "ana"]
    room.server.advance(seconds - 1)
    room.watcher.hears_nothing()
    room.server.advance(1)
    room.is_told()
    assert room.members() == ["watcher"]


@pytest.mark.parametrize("how", ["close frame", "close frame without a code", "unsubscribe", "broken rules"])
def test_a_member_that_leaves_is_gone_at_once(start: Start, how: str) -> None:
    room = Room(start())
    if how == "close frame":
        room.member.send(frame(b"\x03\xe8", CLOSE))
    elif how == "close frame without a code":
        room.member.send(frame(b"", CLOSE))
    elif how == "unsubscribe":
        room.member.say("sockudo:unsubscribe", {"channel": room.name})
    else:
        room.member.send(frame("x", rsv=1))
    room.is_told()


def test_without_a_grace_period_a_lost_member_is_gone_at_once(start: Start) -> None:
    room = Room(start(presence={"v2_ungraceful_timeout_seconds": 0}))
    room.member.reset()
    room.is_told()


def test_members_on_v1_have_a_grace_period_of_their_own(start: Start) -> None:
    room = Room(start(), protocol=7)
    room.member.reset()
    room.is_told()
    room = Room(start(presence={"ungraceful_timeout_seconds": 5}), protocol=7)
    room.member.reset()
    room.lost()
    room.server.advance(4)
    room.watcher.hears_nothing()
    room.server.advance(1)
    room.is_told()


def test_a_member_that_comes_back_was_never_away(start: Start) -> None:
    room = Room(start())
    room.member.reset()
    room.lost()
    room.server.advance(14)
    again = room.join()
    room.server.advance(20)
    room.watcher.hears_nothing()
    again.reset()
    room.lost()
    room.server.advance(15)
    room.is_told()


@pytest.mark.parametrize("how", ["no pong", "terminated"])
def test_a_member_whose_connection_the_server_ends_stays_for_a_while(start: Start, how: str) -> None:

    room = Room(start())
    if how == "no pong":
        room.server.advance(60)
        for client in (room.member, room.watcher):
            pong = pinged(client)
        room.watcher.send(frame(pong, PONG))
        room.watcher.hears_nothing()
        room.server.advance(30)
        room.member.closed(*NO_PONG)
    else:
        assert Api(room.server).post("users/ana/terminate_connections", {}).status == 200
        room.member.ended(4009, "You got disconnected by the app.")
    room.watcher.hears_nothing()
    room.server.advance(15)
    room.is_told()
