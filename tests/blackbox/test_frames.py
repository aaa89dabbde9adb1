"""Framing and the frame object (spec: websocket § 1.2, 2.4 and 4): what is malformed, what is fine, how it ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from support.server import ServerProcess
from support.websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Connect, Frame, WebSocket, frame

PONG_TEXT = '{"event":"pusher:pong"}'
DECODE = "Invalid message format: Decode failed: "


# ---- the frame object ----


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("", "empty frame at byte 0"),
        (" \n", "empty frame at byte 0"),
        ('"pusher:ping"', "expected object, got string at byte 0"),
        ("7", "expected object, got integer at byte 0"),
        ("[]", "expected object, got array at byte 0"),
        ('["pusher:ping"' + ",null" * 14 + "]", "expected object, got array at byte 0"),
        ("\ufeff{}", "byte order mark at byte 0"),
        ('{"event":"a"} x', "trailing characters at byte 14"),
        ('{"event":"a",}', "trailing comma at byte 13"),
        ('{"event":"a","data":NaN}', "invalid character at byte 20"),
        ('{"event":"a","data":1e400}', "number out of range at byte 20"),
        ('{"event":"a","data":{"b":[-1e999]}}', "number out of range at byte 26"),
        ('{"event":"a","data":"\\ud800"}', "lone surrogate at byte 21"),
        ('{"event":"a","event":"b"}', "repeated field at byte 13"),
        ('{"event":"a","zz":1,"zz":2}', "repeated field at byte 20"),
        ('{"event":7}', "field 'event': expected string or null, got integer at byte 9"),
        ('{"event":"a","channel":[]}', "field 'channel': expected string or null, got array at byte 23"),
        ('{"event":"a","user_id":7}', "field 'user_id': expected string or null, got integer at byte 23"),
        ('{"event":"a","tags":{"b":1}}', "field 'tags': expected string, got integer at byte 20"),
        ('{"event":"a","data":' + "[" * 128 + "]" * 128 + "}", "nested more than 128 levels deep at byte 147"),
        ("[" * 20_000, "nested more than 128 levels deep at byte 128"),
        ('{"event":"a"', "unexpected end at byte 12"),
    ],
)
def test_malformed_frames_get_one_line_and_stay_connected(connect: Connect, text: str, detail: str) -> None:
    client = connect()
    client.say_text(text)
    error = client.event()
    assert error == {"event": "pusher:error", "data": {"code": 4000, "message": DECODE + detail}}
    client.say("pusher:ping")
    assert client.text() == PONG_TEXT


@pytest.mark.parametrize("text", ["{}", '{"event":null}', '{"channel":"x","data":{}}'])
def test_an_event_is_required(connect: Connect, text: str) -> None:
    client = connect()
    client.say_text(text)
    client.refused(4000, "Invalid event name: Event name is required")


@pytest.mark.parametrize(
    "text",
    [
        ' \t\r\n{"event" : "pusher:ping"} \n',
        '{"event":"\\u0070usher:ping"}',
        '{"event":"pusher:ping","channel":null,"data":null,"tags":null,"user_id":null,"extras":null}',
        '{"event":"pusher:ping","data":{"n":' + "9" * 60 + "}}",
        '{"event":"pusher:ping","data":{"a":1,"a":2}}',
        '{"event":"pusher:ping","data":' + "[" * 127 + "]" * 127 + "}",
        '{"event":"pusher:ping","unknown":{"any":[1]},"tags":{"a":"b"},"serial":18446744073709551615}',
        '{"event":"sockudo:ping"}',
        '{"event":"pusher_internal:ping"}',
        '{"event":"sockudo_internal:ping"}',
    ],
)
def test_sound_frames(connect: Connect, text: str) -> None:
    client = connect()
    client.say_text(text)
    assert client.text() == PONG_TEXT


@pytest.mark.parametrize(
    "event",
    [
        "",
        "PUSHER:PING",
        " pusher:ping",
        "pusher:error",
        "pusher:connection_established",
        "pusher:subscription_succeeded",
        "pusher_internal:presence_update",
        "ping",
        "Client-x",
        "client_x",
        "anything",
    ],
)
def test_unknown_events_are_ignored(connect: Connect, event: str) -> None:
    client = connect()
    client.say(event, {"channel": "x"}, channel="x")
    client.hears_nothing()


@pytest.mark.parametrize("event", ["auth", "resume", "channel_history", "presence_update"])
def test_what_only_version_two_has(connect: Connect, event: str) -> None:
    client = connect()
    client.say(f"pusher:{event}", {"token": "x"})
    client.refused(4000, f"Protocol error: pusher:{event} requires protocol V2")


@pytest.mark.parametrize("event", ["delta_sync_error", "pong"])
def test_what_has_no_effect(connect: Connect, event: str) -> None:
    client = connect()
    client.say(f"pusher:{event}", {"channel": "x"})
    client.hears_nothing()


def test_deltas_are_for_version_two(connect: Connect) -> None:
    client = connect()
    client.say("pusher:enable_delta_compression", {"algorithms": ["fossil"]})
    assert client.event() == {
        "event": "pusher:delta_compression_enabled",
        "data": {"enabled": False, "algorithm": "fossil"},
    }


# ---- messages in every framing ----


def test_binary_frames_are_read_like_text(connect: Connect) -> None:
    client = connect()
    client.send(frame('{"event":"pusher:ping"}', BINARY))
    assert client.text() == PONG_TEXT
    client.send(frame(b'{"event":"\xff"}', BINARY))
    client.refused(4000, DECODE + "not UTF-8 at byte 10")


def test_a_ping_is_answered_without_data(connect: Connect) -> None:
    client = connect()
    client.say("pusher:ping", {})
    assert client.text() == PONG_TEXT


def test_native_pings_get_their_payload_back(connect: Connect) -> None:
    client = connect()
    for payload in (b"", b"x", bytes(range(125))):
        client.send(frame(payload, PING))
        assert client.frame() == Frame(PONG, payload)
    client.send(frame(b"unasked", PONG))
    client.hears_nothing()


def test_fragments_with_control_frames_between_them(connect: Connect) -> None:
    client = connect()
    text = '{"event":"pusher:subscribe","data":{"channel":"x"},"name":"ü€😀"}'.encode()
    middle = text.index("€".encode()) + 1
    client.send(frame(text[:5], TEXT, fin=False))
    client.send(frame(b"one", PING))
    assert client.frame() == Frame(PONG, b"one")
    client.send(frame(text[5:middle], CONTINUATION, fin=False) + frame(b"", CONTINUATION, fin=False))
    client.send(frame(b"two", PING) + frame(text[middle:], CONTINUATION))
    assert client.frame() == Frame(PONG, b"two")
    assert client.event()["event"] == "pusher_internal:subscription_succeeded"


def test_frames_of_every_length_encoding(connect: Connect) -> None:
    client = connect()
    for size in (30, 125, 126, 127, 65_535, 65_536):
        client.say_text('{"event":"pusher:ping"}'.ljust(size))
        assert client.text() == PONG_TEXT


def test_many_frames_in_one_packet_are_answered_in_order(connect: Connect) -> None:
    client = connect()
    client.send(b"".join(frame(f'{{"event":"pusher:subscribe","data":{{"channel":"c{n}"}}}}') for n in range(50)))
    assert [client.event()["channel"] for _ in range(50)] == [f"c{n}" for n in range(50)]


# ---- limits and violations ----


LIMIT = 64 * 1024


def whole(client: WebSocket) -> None:
    client.send(frame(b" " * (LIMIT + 1)))


def declared(client: WebSocket) -> None:
    """The length alone is enough; the payload never comes."""
    client.send(b"\x81\xff" + (1 << 40).to_bytes(8, "big") + b"mask")


def in_fragments(client: WebSocket) -> None:
    client.send(frame(b" " * LIMIT, TEXT, fin=False) + frame(b" ", CONTINUATION))


@pytest.mark.parametrize("send", [whole, declared, in_fragments])
def test_a_message_over_the_limit_is_1009(connect: Connect, send: Callable[[WebSocket], None]) -> None:
    client = connect()
    send(client)
    client.closed(1009, f"message is larger than {LIMIT} bytes")


def test_a_message_at_the_limit(connect: Connect) -> None:
    client = connect()
    client.say_text('{"event":"pusher:ping"}'.ljust(LIMIT))
    assert client.text() == PONG_TEXT


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (frame("{}", masked=False), "frame is not masked"),
        (frame("{}", rsv=4), "compression bit is set where it may not be"),
        (frame("{}", rsv=2), "reserved bit is set"),
        (frame("{}", rsv=1), "reserved bit is set"),
        (frame("{}", 3), "reserved opcode 3"),
        (frame("{}", 11), "reserved opcode 11"),
        (frame(b"x" * 126, PING), "control frame is larger than 125 bytes"),
        (frame(b"", PING, fin=False), "control frame is fragmented"),
        (frame(b"x", CLOSE), "close body of one byte"),
        (frame(b"\x03\xed", CLOSE), "invalid close code 1005"),
        (frame(b"\x00\x01", CLOSE), "invalid close code 1"),
        (frame(b"x", CONTINUATION), "continuation without a message to continue"),
        (frame(b"x", TEXT, fin=False) + frame(b"y", TEXT), "new message inside a fragmented one"),
        (b"\x81\xfe\x00\x05mask12345", "length is not encoded in the shortest way"),
    ],
)
def test_a_violation_of_the_framing_is_1002(connect: Connect, data: bytes, reason: str) -> None:
    client = connect()
    client.send(data)
    code, told = _close(client)
    assert code == 1002
    assert told == reason


@pytest.mark.parametrize(
    "data",
    [
        frame(b'{"event":"\xc3\x28"}'),
        frame(b'{"event":"\xed\xa0\x80"}'),
        frame(b'{"event":"\xe2\x82', TEXT, fin=False) + frame(b'"}', CONTINUATION),
        frame(b"\x03\xe8\xff", CLOSE),
    ],
)
def test_text_that_is_not_utf_8_is_1007(connect: Connect, data: bytes) -> None:
    client = connect()
    client.send(data)
    code, _ = _close(client)
    assert code == 1007


def _close(client: WebSocket) -> tuple[int, str]:
    found = client.frame()
    assert found.opcode == CLOSE
    client.send(frame(found.payload[:2], CLOSE))
    client.assert_closed()
    return int.from_bytes(found.payload[:2], "big"), found.payload[2:].decode()


def test_what_came_before_a_violation_is_answered(connect: Connect) -> None:
    client = connect()
    client.send(frame('{"event":"pusher:ping"}') + frame("{}", masked=False))
    assert client.text() == PONG_TEXT
    client.closed(1002, "frame is not masked")


# ---- closing ----


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
def test_a_close_is_answered_with_its_code(connect: Connect, code: int) -> None:
    client = connect()
    client.send(frame(code.to_bytes(2, "big") + b"bye", CLOSE))
    assert client.frame() == Frame(CLOSE, code.to_bytes(2, "big"))
    client.assert_closed()


def test_a_close_without_code_is_answered_without(connect: Connect) -> None:
    client = connect()
    client.send(frame(b"", CLOSE))
    assert client.frame() == Frame(CLOSE, b"")
    client.assert_closed()


def test_nothing_is_served_after_a_close(connect: Connect, server: ServerProcess, unique: str) -> None:
    client = connect()
    client.subscribe(unique)
    client.send(frame(b"", CLOSE) + frame('{"event":"pusher:ping"}'))
    assert client.frame() == Frame(CLOSE, b"")
    client.assert_closed()
    reply = server.signed("GET", f"/apps/app-id/channels/{unique}").json()
    assert reply == {"occupied": False}
