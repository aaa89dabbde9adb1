"""The WebSocket side of a connection: reads in any portions, closing from either side, control frames, failures."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref

import pytest

from sockudo import errors
from sockudo.config.apps import ConnectionRecovery
from sockudo.hub import HubOptions
from sockudo.protocol.deflate import Inflater, compress
from sockudo.protocol.frames import Frame
from sockudo.protocol.framing import close_frame
from support.edge import EdgeNode, Socket, settings
from support.inside import live_app
from support.websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame

PING_EVENT = b'{"event":"pusher:ping"}'
PONG_EVENT = {"event": "pusher:pong"}


def masked_close(code: int | None = 1000, reason: str = "") -> bytes:
    return frame(b"" if code is None else code.to_bytes(2, "big") + reason.encode(), CLOSE)


@pytest.fixture
async def socket(node: EdgeNode) -> Socket:
    """A greeted connection."""
    made = node.socket()
    made.greet()
    return made


class TestReading:
    @pytest.mark.parametrize("size", [1, 2, 5, 1000])
    async def test_frames_in_any_portions(self, socket: Socket, size: int) -> None:
        data = frame(PING_EVENT) * 3 + frame(PING_EVENT, BINARY)
        socket.feed(*(data[at : at + size] for at in range(0, len(data), size)))
        assert socket.events() == [PONG_EVENT] * 4

    async def test_a_message_in_fragments_with_a_ping_between(self, socket: Socket) -> None:
        socket.feed(
            frame(PING_EVENT[:5], TEXT, fin=False),
            frame(b"between", PING),
            frame(PING_EVENT[5:9], CONTINUATION, fin=False),
            frame(PING_EVENT[9:], CONTINUATION),
        )
        assert socket.frames() == [(0x80 | PONG, b"between"), (0x80 | TEXT, b'{"event":"pusher:pong"}')]

    async def test_every_read_is_a_sign_of_life(self, node: EdgeNode, socket: Socket) -> None:
        for data in (frame(b"", PING), frame(b"", PONG), frame(b"x"), frame(PING_EVENT)[:3]):
            node.clock.advance(5)
            socket.feed(data)
            assert socket.session.last_seen == node.clock.monotonic()

    async def test_pings_are_answered_with_their_payload(self, socket: Socket) -> None:
        socket.feed(frame(b"", PING), frame(b"x" * 125, PING), frame(b"unasked", PONG))
        assert socket.frames() == [(0x80 | PONG, b""), (0x80 | PONG, b"x" * 125)]

    async def test_what_follows_in_the_read_that_ended_the_session_is_not_acted_on(
        self, node: EdgeNode, socket: Socket
    ) -> None:
        socket.session.end(errors.TERMINATED())
        socket.frames()
        socket.feed(frame(PING_EVENT) + frame(b"p", PING))
        assert socket.frames() == []
        assert node.state.traffic.messages_received == 0


class TestPeerCloses:
    @pytest.mark.parametrize(
        ("sent", "answer"),
        [
            (masked_close(1000, "bye"), (1000).to_bytes(2, "big")),
            (masked_close(4999), (4999).to_bytes(2, "big")),
            (masked_close(None), b""),
        ],
    )
    async def test_its_code_is_repeated_and_the_connection_closed(
        self, node: EdgeNode, socket: Socket, sent: bytes, answer: bytes
    ) -> None:
        socket.feed(frame(PING_EVENT) + sent + frame(PING_EVENT))
        assert socket.frames() == [(0x80 | TEXT, b'{"event":"pusher:pong"}'), (0x80 | CLOSE, answer)]
        assert socket.transport.closed
        assert not socket.transport.aborted
        assert node.state.connections == {}
        assert not node.edge.closing

    @pytest.mark.parametrize(
        ("goodbye", "stays"),
        [(masked_close(), False), (masked_close(None), False), (masked_close(4900), True), (b"", True)],
    )
    async def test_a_goodbye_takes_presence_members_away_at_once(self, goodbye: bytes, stays: bool) -> None:
        """Unless it says that the client goes on with another connection; a lost line says nothing."""
        node = EdgeNode(options=HubOptions(presence_grace=15))
        socket = node.socket()
        socket.greet()
        node.hub.join(socket.session, "presence-a", "u", b"{}")
        socket.feed(goodbye)
        socket.lose()
        assert ("presence-a" in node.state.channels) is stays

    async def test_losing_the_connection_after_that_changes_nothing(self, node: EdgeNode, socket: Socket) -> None:
        socket.feed(masked_close())
        socket.lose()
        socket.websocket.connection_lost(None)
        assert node.state.traffic.connections_closed == 1


class TestWeClose:
    async def test_the_peer_answers(self, node: EdgeNode, socket: Socket) -> None:
        socket.session.end(errors.TERMINATED())
        text = "You got disconnected by the app."
        assert socket.goodbye() == ([(4009, text)], (4009, text))
        assert not socket.transport.closed
        assert list(node.edge.closing) == [socket.websocket]
        socket.feed(masked_close(4009))
        assert socket.frames() == []
        assert socket.transport.closed
        socket.lose()
        assert not node.edge.closing

    async def test_a_peer_that_does_not_answer_is_cut_after_a_while(self, node: EdgeNode, socket: Socket) -> None:
        socket.session.end(errors.TERMINATED())
        node.clock.advance(14.9)
        node.edge.sweep(node.clock.monotonic())
        assert not socket.transport.closed
        node.clock.advance(0.1)
        node.edge.sweep(node.clock.monotonic())
        assert socket.transport.aborted
        socket.lose()
        assert not node.edge.closing

    async def test_what_it_sends_meanwhile_does_not_prolong_it(self, node: EdgeNode, socket: Socket) -> None:
        socket.session.end(errors.TERMINATED())
        for _ in range(16):
            socket.feed(frame(PING_EVENT), frame(b"", PING))
            node.clock.advance(1)
            node.edge.sweep(node.clock.monotonic())
        assert socket.transport.aborted

    async def test_rubbish_instead_of_an_answer_is_ignored(self, socket: Socket) -> None:
        socket.session.end(errors.TERMINATED())
        socket.frames()
        socket.feed(b"\xff" * 20)
        assert socket.frames() == []

    async def test_closing_twice_is_closing_once(self, socket: Socket) -> None:
        socket.websocket.close(4100, "first")
        socket.websocket.close(4200, "second")
        assert socket.frames() == [(0x80 | CLOSE, (4100).to_bytes(2, "big") + b"first")]

    async def test_an_open_connection_is_never_overdue(self, node: EdgeNode, socket: Socket) -> None:
        socket.websocket.cut_if_overdue(node.clock.monotonic() + 1e9)
        assert not socket.transport.closed

    async def test_long_reasons_are_cut_between_characters(self, socket: Socket) -> None:
        socket.websocket.close(4000, "é" * 100)
        [(_, payload)] = socket.frames()
        assert payload[2:].decode() == "é" * 61


class TestFailures:
    CASES = (
        (frame(b"\xff"), 1007),
        (frame(b"\xe2\x82"), 1007),
        (frame(b"x", masked=False), 1002),
        (frame(b"x", 3), 1002),
        (frame(b"x", 11), 1002),
        (frame(b"x", rsv=4), 1002),
        (frame(b"x", rsv=1), 1002),
        (frame(b"x", CONTINUATION), 1002),
        (frame(b"x" * 126, PING), 1002),
        (frame(b"x", PING, fin=False), 1002),
        (frame(b"x", CLOSE), 1002),
        (frame(b"\x03\xed", CLOSE), 1002),
        (frame(b"\x03\xe8\xff", CLOSE), 1007),
        (frame(b"a", fin=False) + frame(b"b"), 1002),
        (frame(b"x" * 70_000)[:20], 1009),
    )

    @pytest.mark.parametrize(("data", "code"), CASES, ids=[str(number) for number in range(len(CASES))])
    async def test_a_close_frame_with_its_code_and_no_error_frame(
        self, node: EdgeNode, socket: Socket, data: bytes, code: int
    ) -> None:
        socket.feed(frame(PING_EVENT) + data + frame(PING_EVENT))
        first, last = socket.frames()
        assert first == (0x80 | TEXT, b'{"event":"pusher:pong"}')
        assert (last[0], int.from_bytes(last[1][:2], "big")) == (0x80 | CLOSE, code)
        assert socket.transport.eof
        assert not socket.transport.closed
        assert node.state.connections == {}
        slug = {1002: "protocol_violation", 1007: "invalid_text", 1009: "message_too_big"}[code]
        assert node.state.traffic.errors == {slug: 1}

    async def test_where_one_side_alone_cannot_end_both_do(self, node: EdgeNode) -> None:
        socket = node.socket(can_write_eof=False)
        socket.greet()
        socket.feed(frame(b"x", masked=False))
        assert len(socket.frames()) == 1
        assert socket.transport.closed

    async def test_a_peer_that_stays_after_its_failure_is_cut(self, node: EdgeNode, socket: Socket) -> None:
        socket.feed(frame(b"x", masked=False))
        socket.feed(frame(PING_EVENT), b"more")
        node.edge.sweep(node.clock.monotonic() + 15)
        assert socket.transport.aborted

    async def test_the_limit_of_messages_follows_the_settings(self) -> None:
        node = EdgeNode(settings=settings(websocket_max_payload_kb=1))
        socket = node.socket()
        socket.greet()
        socket.feed(frame(b"x" * 1024))
        assert socket.events()[0]["data"]["code"] == 4000
        socket.feed(frame(b"x" * 1025))
        assert socket.goodbye() == ([], (1009, "message is larger than 1024 bytes"))

    async def test_fragments_count_together(self) -> None:
        node = EdgeNode(settings=settings(websocket_max_payload_kb=1))
        socket = node.socket()
        socket.greet()
        socket.feed(frame(b"x" * 1000, fin=False), frame(b"x" * 25, CONTINUATION))
        assert socket.goodbye()[1][0] == 1009


class TestSlowReaders:
    async def test_the_transports_pauses_reach_the_session(self, node: EdgeNode) -> None:
        node.configure(websocket=settings(websocket={"max_messages": 2}).websocket)
        socket = node.socket()
        socket.greet()
        node.hub.subscribe(socket.session, "news")
        socket.websocket.pause_writing()
        for name in ("a", "b", "c"):
            node.hub.publish(node.state, Frame(name, "news", "{}"))
            node.settle()
        slow = (4100, "Client buffer full, disconnecting slow consumer")
        *events, error, close = socket.frames()
        assert [json.loads(text)["event"] for _, text in events] == ["a", "b"]
        assert json.loads(error[1])["data"]["code"] == 4100
        assert close == (0x80 | CLOSE, close_frame(*slow)[2:])

    async def test_pauses_come_and_go(self, node: EdgeNode, socket: Socket) -> None:
        node.configure(websocket=settings(websocket={"max_messages": 1}).websocket)
        for _ in range(3):
            socket.websocket.pause_writing()
            socket.feed(frame(PING_EVENT))
            socket.websocket.resume_writing()
        assert socket.events() == [PONG_EVENT] * 3

    async def test_native_pings_fill_the_queue_too(self, node: EdgeNode, socket: Socket) -> None:
        node.configure(websocket=settings(websocket={"max_messages": 2}).websocket)
        socket.websocket.pause_writing()
        for _ in range(3):
            socket.feed(frame(b"", PING))
        node.settle()
        assert node.state.connections == {}

    async def test_pauses_without_a_session(self, node: EdgeNode) -> None:
        socket = node.socket()
        socket.upgrade("/app/unknown")
        socket.websocket.pause_writing()
        socket.websocket.resume_writing()
        socket.lose()

    async def test_the_transport_is_told_how_much_it_may_hold(self) -> None:
        node = EdgeNode(settings=settings(websocket={"max_backpressure": 12_345}))
        socket = node.socket()
        socket.greet()
        assert socket.transport.limit == 12_345


class TestCompression:
    @pytest.fixture
    async def socket(self) -> Socket:
        socket = EdgeNode(settings=settings(websocket={"compression": "shared"})).socket()
        assert socket.upgrade(headers={"Sec-WebSocket-Extensions": "permessage-deflate"}).status == 101
        socket.frames()
        return socket

    async def test_both_ways(self, socket: Socket) -> None:
        node = socket.node
        node.hub.subscribe(socket.session, "news")
        socket.feed(frame(compress(PING_EVENT), rsv=4), frame(PING_EVENT))
        assert socket.events() == [PONG_EVENT] * 2
        node.hub.publish(node.state, Frame("e", "news", "x" * 5000))
        [(first, payload)] = socket.frames()
        assert first == 0x80 | 0x40 | TEXT
        assert len(payload) < 200
        assert json.loads(Inflater().inflate(payload, 10_000))["data"] == "x" * 5000

    async def test_the_limit_is_that_of_the_inflated_message(self, socket: Socket) -> None:
        socket.feed(frame(compress(b"x" * 1_000_000), rsv=4))
        assert socket.goodbye()[1][0] == 1009

    async def test_damaged_data(self, socket: Socket) -> None:
        socket.feed(frame(b"\xff\xff\xff", rsv=4))
        assert socket.goodbye()[1][0] == 1002


V2_ACTIONS = [
    ("subscribe", {"channel": "news", "filter": {"events": ["e"]}, "delta": True}),
    ("subscribe", {"channel": "presence-x", "auth": "x", "channel_data": "{}"}),
    ("enable_delta_compression", {}),
    ("resume", {"channel_positions": {"news": {"serial": 1}, "private-x": {"serial": 1}}}),
    ("channel_history", {"channel": "news"}),
    ("auth", {"token": "x.y.z"}),
]


@pytest.mark.parametrize("protocol", [7, 2])
@pytest.mark.parametrize("last", [frame(b"half a message" * 1000)[:9000], masked_close()], ids=["lost", "left"])
async def test_nothing_of_a_session_is_left_for_the_garbage_collector(protocol: int, last: bytes) -> None:
    """Collections are rare in this process: what each of many clients had begun to send would pile up until then."""
    node = EdgeNode(live_app(connection_recovery=ConnectionRecovery(enabled=True)))
    gc.disable()
    try:
        socket = node.socket()
        socket.upgrade(f"/app/key-app?protocol={protocol}")
        for name, data in V2_ACTIONS:
            socket.say(f"pusher:{name}", data)
            for _ in range(5):
                await asyncio.sleep(0)
        node.settle()
        left = weakref.ref(socket.transport)
        socket.feed(last)
        socket.lose()
        node.settle()
        socket.transport.protocol = None  # as uvloop does it
        del socket
        await asyncio.sleep(0)
        assert left() is None
    finally:
        gc.enable()
