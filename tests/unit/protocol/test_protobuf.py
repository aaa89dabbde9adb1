"""Frames in protocol buffers: the bytes that clients read, what they send, one line for everything else."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sockudo_python.client import ProtocolCodec, SockudoWireFormat

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.protocol.frames import Frame
from sockudo.protocol.inbound import InboundFrame, data_value, decode_frame
from sockudo.protocol.proto.pusher_pb2 import PusherMessage
from sockudo.protocol.protobuf import decode, encode
from unit.protocol.strategies import FRAMES, JSON, TEXT, U64

PREFIX = "Invalid message format: Decode failed: "

VARINT, EIGHT_BYTES, DELIMITED, GROUP, GROUP_END, FOUR_BYTES = range(6)


def varint(number: int) -> bytes:
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(number & 0x7F)
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


def field(number: int, content: bytes | str | int | float, wire_type: int | None = None) -> bytes:
    """One field as it lies on the wire."""
    if isinstance(content, float):
        return varint(number << 3 | EIGHT_BYTES) + struct.pack("<d", content)
    if isinstance(content, int):
        return varint(number << 3 | VARINT) + varint(content)
    encoded = content.encode() if isinstance(content, str) else content
    if wire_type is None:
        return varint(number << 3 | DELIMITED) + varint(len(encoded)) + encoded
    return varint(number << 3 | wire_type) + encoded


def sent(**fields: Any) -> bytes:
    return PusherMessage(**fields).SerializeToString()


def read(payload: bytes) -> PusherMessage:
    message = PusherMessage()
    message.ParseFromString(payload)
    return message


def refusal_of(payload: bytes) -> str:
    with pytest.raises(SockudoError) as refusal:
        decode(payload)
    assert refusal.value.spec is errors.MALFORMED_FRAME
    text = refusal.value.text
    assert text.startswith(PREFIX)
    assert "\n" not in text
    assert len(text) < 160
    return text.removeprefix(PREFIX)


E = field(1, "e")


# ---- outbound ----


def test_frames_byte_for_byte_as_clients_have_always_got_them() -> None:
    greeting = Frame(
        "sockudo:connection_established",
        data='{"socket_id":"952576196.1209409347","activity_timeout":120}',
        message_id="5c7ef812-a7c6-4a17-92ad-07bed08538ec",
    )
    assert encode(greeting) == (
        b"\x0a\x1esockudo:connection_established"
        b'\x1a\x3d\x0a\x3b{"socket_id":"952576196.1209409347","activity_timeout":120}'
        b"\x4a\x245c7ef812-a7c6-4a17-92ad-07bed08538ec"
    )
    acknowledgement = Frame(
        "sockudo_internal:subscription_succeeded",
        "pb-1",
        '{"attach_serial":0}',
        message_id="c853d432-5570-455a-ac67-04f40c2b2a4c",
        stream_id="755a30bd-e75a-4c9f-9efd-0d27d06dcab0",
        serial=0,
    )
    assert encode(acknowledgement) == (
        b"\x0a\x27sockudo_internal:subscription_succeeded\x12\x04pb-1"
        b'\x1a\x15\x0a\x13{"attach_serial":0}'
        b"\x4a\x24c853d432-5570-455a-ac67-04f40c2b2a4c\x52\x24755a30bd-e75a-4c9f-9efd-0d27d06dcab0\x58\x00"
    )
    assert encode(Frame("sockudo:pong")).hex() == "0a0c736f636b75646f3a706f6e67"


def test_every_field_of_a_frame_has_its_place() -> None:
    frame = Frame("e", "c", msgspec.Raw(b'{"a":1}'), "n", "u", {"t": "1"}, "m", "s", 2**64 - 1, {"echo": True})
    assert encode(frame) == b"".join(
        [
            field(1, "e"), field(2, "c"), field(3, field(3, '{"a":1}')), field(4, "n"), field(5, "u"),
            field(6, field(1, "t") + field(2, "1")), field(9, "m"), field(10, "s"), field(11, 2**64 - 1),
            field(13, field(4, 1)),
        ]
    )  # fmt: skip


def test_empty_strings_are_present_and_empty_maps_are_not() -> None:
    assert encode(Frame("", "", "", "", "", {}, "", "", 0, {"headers": {}, "foo": 1})) == b"".join(
        [field(1, ""), field(2, ""), field(3, field(1, "")), field(4, ""), field(5, ""), field(9, ""), field(10, ""),
         field(11, 0)]
    )  # fmt: skip


def test_extras_keep_what_the_schema_knows() -> None:
    extras = {
        "headers": {"s": "x", "n": 7, "b": True},
        "ephemeral": False,
        "idempotencyKey": "ik",
        "echo": True,
        "ai": {"transport": {"a": "1"}, "codec": {"b": "2"}},
        "push": {},
        "foo": 1,
    }
    message = read(encode(Frame("e", extras=extras))).extras
    assert {name: value.WhichOneof("kind") for name, value in message.headers.items()} == {
        "s": "string", "n": "number", "b": "bool",
    }  # fmt: skip
    assert (message.headers["s"].string, message.headers["n"].number, message.headers["b"].bool) == ("x", 7.0, True)
    assert message.HasField("ephemeral")
    assert (message.ephemeral, message.idempotency_key, message.echo) == (False, "ik", True)
    assert (dict(message.ai.transport), dict(message.ai.codec)) == ({"a": "1"}, {"b": "2"})
    assert not read(encode(Frame("e", extras={"echo": False}))).extras.HasField("ai")
    assert dict(read(encode(Frame("e", extras={"ai": {"codec": {"b": "2"}}}))).extras.ai.codec) == {"b": "2"}


def test_the_stock_client_reads_what_is_sent() -> None:
    extras = {"headers": {"s": "x", "n": 7, "b": True}, "idempotencyKey": "ik", "echo": True}
    frame = Frame("e", "c", '{"metres":2.4}', None, "u", {"a": "1"}, "m", "s", 3, extras)
    event = ProtocolCodec.decode_event(encode(frame), SockudoWireFormat.PROTOBUF)
    assert (event.event, event.channel, event.data, event.user_id) == ("e", "c", {"metres": 2.4}, "u")
    assert (event.message_id, event.stream_id, event.serial) == ("m", "s", 3)
    assert event.extras is not None
    assert event.extras.headers == {"s": "x", "n": 7.0, "b": True}
    assert (event.extras.idempotency_key, event.extras.echo) == ("ik", True)
    object_data = Frame("sockudo:error", data=msgspec.Raw(b'{"code":4009,"message":"no"}'))
    assert ProtocolCodec.decode_event(encode(object_data), SockudoWireFormat.PROTOBUF).data == {
        "code": 4009, "message": "no",
    }  # fmt: skip


# ---- inbound: what clients send ----

STRUCTURED = field(4, field(1, "auth") + field(2, '"x"')) + field(1, "cd") + field(2, "c") + field(3, "ud")


@pytest.mark.parametrize(
    ("payload", "frame"),
    [
        (field(1, "sockudo:ping"), InboundFrame("sockudo:ping")),
        (field(1, ""), InboundFrame("")),
        (field(2, "😀") + field(1, "é"), InboundFrame("é", "😀")),
        (E + field(2, ""), InboundFrame("e", "")),
        (E + field(3, field(1, 'a"é')), InboundFrame("e", None, '"a\\"é"'.encode())),
        (E + field(3, field(1, "")), InboundFrame("e", None, b'""')),
        (E + field(3, field(3, '{"channel":"pb-1"}')), InboundFrame("e", None, b'{"channel":"pb-1"}')),
        (E + field(3, field(3, " [1, 2.50] ")), InboundFrame("e", None, b"[1, 2.50]")),
        (E + field(3, field(3, '"text"')), InboundFrame("e", None, b'"text"')),
        (E + field(3, field(3, "null")), InboundFrame("e")),
        (E + field(3, field(4, b"\x01\xff")), InboundFrame("e", None, b"[1,255]")),
        (E + field(3, field(2, STRUCTURED)),
         InboundFrame("e", None, b'{"auth":"x","channel_data":"cd","channel":"c","user_data":"ud"}')),
        (E + field(3, field(2, field(2, ""))), InboundFrame("e", None, b'{"channel":""}')),
        (E + field(3, field(2, b"")), InboundFrame("e", None, b"{}")),
        (E + field(3, b""), InboundFrame("e")),
        (E + field(3, field(9, "a later kind")), InboundFrame("e")),
        (E + field(3, field(1, "a") + field(3, "[1]")), InboundFrame("e", None, b"[1]")),
        (E + field(3, field(1, "a")) + field(3, field(3, "[1]")), InboundFrame("e", None, b"[1]")),
        (field(1, "a") + field(2, "c") + E + field(2, "d"), InboundFrame("e", "d")),
        (E + field(10, "stream"), InboundFrame("e")),
        (E + field(10, 7), InboundFrame("e")),
        (E + field(16, "x") + field(17, 5) + field(18, 1.5) + field(19, b"abcd", FOUR_BYTES), InboundFrame("e")),
        (E + field(2**29 - 1, b"\x0b\x0c"), InboundFrame("e")),
        (E + field(6, field(1, "a")) + field(6, field(2, "b")) + field(6, b"") + field(6, field(3, 1)),
         InboundFrame("e")),
        (E + field(13, field(1, field(1, "h") + field(2, field(3, 1))) + field(10, 1)), InboundFrame("e")),
        (b"\x0a\x81\x00e", InboundFrame("e")),
        (E + b"\x58" + b"\xff" * 9 + b"\x01", InboundFrame("e")),
    ],
)  # fmt: skip
def test_sound_frames(payload: bytes, frame: InboundFrame) -> None:
    assert decode(payload) == frame


def test_every_known_field_with_its_type() -> None:
    strings = ("channel", "name", "user_id", "conflation_key", "message_id", "stream_id", "idempotency_key")
    extras = {
        "headers": {"s": {"string": "x"}, "n": {"number": 0.5}, "b": {"bool": False}, "none": {}},
        "ephemeral": True,
        "idempotency_key": "ik",
        "echo": False,
        "ai": {"transport": {"a": "b"}, "codec": {"a": "b"}},
    }
    fields: dict[str, Any] = {"event": "e", "delta_conflation_key": "x", "tags": {"a": "b"}, "extras": extras}
    fields |= dict.fromkeys(strings, "x") | dict.fromkeys(("sequence", "serial", "delta_sequence"), 2**64 - 1)
    assert decode(sent(**fields)) == InboundFrame("e", "x")


@pytest.mark.parametrize("payload", [b"", field(2, "c"), field(3, field(1, "x")), field(16, "e")])
def test_an_event_is_required(payload: bytes) -> None:
    with pytest.raises(SockudoError, match=r"^Invalid event name: Event name is required$") as refusal:
        decode(payload)
    assert refusal.value.spec is errors.EVENT_NAME_INVALID


# ---- inbound: malformed ----


@pytest.mark.parametrize(
    ("payload", "detail"),
    [
        (b"\xff\xff\xff", "a number without an end at byte 0"),
        (b'{"event":"sockudo:ping"}', "field 15 of wire type 3 at byte 0"),
        (b"\x00", "field 0 of wire type 0 at byte 0"),
        (b"\x02\x01a", "field 0 of wire type 2 at byte 0"),
        (E + field(2**29, "x"), "field 536870912 of wire type 2 at byte 3"),
        (E + b"\x06", "field 0 of wire type 6 at byte 3"),
        (E + b"\x17", "field 2 of wire type 7 at byte 3"),
        (b"\x0a", "a number without an end at byte 1"),
        (b"\x0a\x02e", "unexpected end at byte 3"),
        (b"\x0a\xff\xff\xff\xff\x0fe", "unexpected end at byte 7"),
        (b"\x1a\xff\xff\xff\xff\x0fe", "unexpected end at byte 7"),
        (E + b"\x58\xff", "a number without an end at byte 4"),
        (E + b"\x58" + b"\xff" * 10 + b"\x01", "a number without an end at byte 4"),
        (E + b"\x91\x01abc", "unexpected end at byte 8"),
        (E + b"\x95\x01abc", "unexpected end at byte 8"),
        (E + field(16, b"", GROUP) + field(16, b"", GROUP_END), "field 16 of wire type 3 at byte 3"),
        (E + field(3, b"", GROUP) + field(3, b"", GROUP_END), "field 3 of wire type 3 at byte 3"),
        (E + field(16, b"", GROUP_END), "field 16 of wire type 4 at byte 3"),
        (E + field(3, field(9, b"", GROUP) + field(9, b"", GROUP_END)), "field 9 of wire type 3 at byte 5"),
        (field(1, 5), "field 1 of wire type 0 at byte 0"),
        (E + field(2, 1.5), "field 2 of wire type 1 at byte 3"),
        (E + field(3, 1), "field 3 of wire type 0 at byte 3"),
        (E + field(5, 5), "field 5 of wire type 0 at byte 3"),
        (E + field(6, 5), "field 6 of wire type 0 at byte 3"),
        (E + field(6, field(1, 5)), "field 1 of wire type 0 at byte 5"),
        (E + field(6, field(1, "a") + field(2, 5)), "field 2 of wire type 0 at byte 8"),
        (E + field(10, 1.5), "field 10 of wire type 1 at byte 3"),
        (E + field(11, "1"), "field 11 of wire type 2 at byte 3"),
        (E + field(11, 1.5), "field 11 of wire type 1 at byte 3"),
        (E + field(3, field(1, 5)), "field 1 of wire type 0 at byte 5"),
        (E + field(3, field(2, field(2, 5))), "field 2 of wire type 0 at byte 7"),
        (E + field(3, field(2, field(4, field(2, 5)))), "field 2 of wire type 0 at byte 9"),
        (E + field(13, "x"), "a number without an end at byte 6"),
        (E + field(13, field(2, "x")), "field 2 of wire type 2 at byte 5"),
        (E + field(13, field(1, field(2, field(2, 1)))), "field 2 of wire type 0 at byte 9"),
        (E + field(13, field(5, field(1, field(1, 1)))), "field 1 of wire type 0 at byte 9"),
        (field(1, b"\xff"), "a text that is not UTF-8, or a number that is too long"),
        (E + field(7, 1) + field(4, b"\xed\xa0\x80"), "a text that is not UTF-8, or a number that is too long"),
        (E + field(6, field(1, b"\xff")), "a text that is not UTF-8, or a number that is too long"),
        (E + field(3, field(1, b"\xff")), "a text that is not UTF-8, or a number that is too long"),
        (b"\x8a\x80\x80\x80\x80\x00\x01e", "a text that is not UTF-8, or a number that is too long"),
        (E + field(3, field(3, "")), "empty at byte 0 of the JSON text in data"),
        (E + field(3, field(3, "{")), "unexpected end at byte 1 of the JSON text in data"),
        (E + field(3, field(3, "1,2")), "trailing characters at byte 1 of the JSON text in data"),
        (E + field(3, field(3, "NaN")), "invalid character at byte 0 of the JSON text in data"),
        (E + field(3, field(3, "[" * 128 + "]" * 128)),
         "nested more than 128 levels deep at byte 127 of the JSON text in data"),
        (E + field(3, field(2, field(4, field(1, "a") + field(2, "b")))),
         "invalid character at byte 0 of the JSON text in data"),
        (E + field(3, field(2, field(4, field(1, "a")))), "empty at byte 0 of the JSON text in data"),
    ],
)  # fmt: skip
def test_malformed_frames(payload: bytes, detail: str) -> None:
    assert refusal_of(payload) == detail


def test_a_refusal_quotes_nothing_of_the_frame() -> None:
    for payload in (field(1, b"hush\xff"), E + field(3, field(3, "hush")), b"\x0a\x0ahush", E + field(3, "hush")):
        assert "hush" not in refusal_of(payload)


def test_groups_within_each_other_are_malformed_however_deep() -> None:
    start = field(16, b"", GROUP)
    for payload in (start * 20_000, E + start * 20_000, E + field(3, start * 20_000)):
        assert "of wire type 3 at byte" in refusal_of(payload)


@pytest.mark.parametrize("start", [b"\x0a", E + b"\x1a", E + b"\x82\x01", E + b"\x1a\x10\x0a", E + b"\x6a\x10\x0a"])
def test_a_length_that_is_not_there_takes_no_memory(start: bytes) -> None:
    tracemalloc.start()
    try:
        for length in (2**28, 2**31 - 1, 2**32 - 1, 2**63, 2**64 - 1, 2**69):
            assert refusal_of(start + varint(length) + b"x" * 15)
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()


HOSTILE = {
    "one field over and over": E * 21_000,
    "empty data": E + field(3, b"") * 32_000,
    "unknown numbers": E + field(16, 1) * 21_000,
    "empty tags": E + field(6, b"") * 32_000,
    "many tags": E + b"".join(field(6, field(1, str(number))) for number in range(7000)),
    "fields of extras": E + field(13, field(2, 1) * 32_000),
    "endless number": E + b"\x58" + b"\x80" * 64_000,
    "long numbers": E + (b"\x58" + b"\xff" * 9 + b"\x01") * 5800,
    "binary": E + field(3, field(4, b"\xff" * 64_000)),
    "brackets": E + field(3, field(3, "[" * 64_000)),
    "many extra values": E
    + field(3, field(2, b"".join(field(4, field(1, str(number)) + field(2, "1")) for number in range(6000)))),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_frames_cost_time_in_proportion_to_their_length(case: str) -> None:
    """64 KB of anything takes some milliseconds; work that grows with the square would take seconds."""
    started = time.process_time()
    try:
        decode(HOSTILE[case])
    except SockudoError as refusal:
        assert len(refusal.text) < 160  # noqa: PT017
    assert time.process_time() - started < 1


def test_the_library_in_pure_python_reads_and_refuses_the_same() -> None:
    """Where no wheel fits the platform, the library comes without its C part."""
    payloads = [E + field(3, field(3, "[1]")), field(1, b"\xff"), E + field(10, 7), E + field(16, b"", GROUP)]
    script = (
        "import sys\nfrom sockudo.errors import SockudoError\nfrom sockudo.protocol.protobuf import decode\n"
        "for payload in sys.argv[1:]:\n"
        "    try:\n        print(decode(bytes.fromhex(payload)))\n"
        "    except SockudoError as refusal:\n        print(refusal)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *(payload.hex() for payload in payloads)],
        env=os.environ | {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        str(decode(payloads[0])),
        PREFIX + refusal_of(payloads[1]),
        str(decode(payloads[2])),
        PREFIX + refusal_of(payloads[3]),
    ]


# ---- properties ----


@given(TEXT, st.none() | TEXT, JSON)
def test_a_frame_means_the_same_as_in_json(event: str, channel: str | None, data: Any) -> None:
    envelope = {"event": event, "channel": channel, "data": data}
    in_json = decode_frame(json.dumps(envelope).encode())
    kind = {"string": data} if isinstance(data, str) else {"json": json.dumps(data)}
    frame = decode(sent(event=event, channel=channel, data=kind))
    assert (frame.event, frame.channel, data_value(frame)) == (event, channel, data_value(in_json))
    if not isinstance(data, str):
        assert frame == in_json
    if event and data != "":
        payload = ProtocolCodec.encode_envelope(envelope, SockudoWireFormat.PROTOBUF)
        assert isinstance(payload, bytes)
        assert data_value(decode(payload)) == data_value(in_json)


@given(FRAMES)
def test_what_is_sent_can_be_read_back(frame: Frame) -> None:
    payload = encode(frame)
    message = read(payload)
    for name in ("event", "channel", "name", "user_id", "message_id", "stream_id", "serial"):
        assert (getattr(message, name) if message.HasField(name) else None) == getattr(frame, name)
    assert dict(message.tags) == (frame.tags or {})
    back = decode(payload)
    assert (back.event, back.channel) == (frame.event, frame.channel)
    data = json.dumps(frame.data).encode() if isinstance(frame.data, str) else bytes(frame.data or b"null")
    assert json.loads(back.data or b"null") == json.loads(data)


# Of each message its fields: U for a number, B for a bool, D for a double, T for text, X for bytes, or a message.
Schema = dict[int, Any]
ENTRY: Schema = {1: "T", 2: "T"}
DATA: Schema = {1: "T", 2: {1: "T", 2: "T", 3: "T", 4: ENTRY}, 3: "T", 4: "X"}
EXTRAS: Schema = {1: {1: "T", 2: {1: "T", 2: "D", 3: "B"}}, 2: "B", 3: "T", 4: "B", 5: {1: ENTRY, 2: ENTRY}}
MESSAGE: Schema = {1: "T", 2: "T", 3: DATA, 4: "T", 5: "T", 6: ENTRY, 7: "U", 8: "T", 9: "T", 10: "T or U", 11: "U",
                   12: "T", 13: EXTRAS, 14: "U", 15: "T"}  # fmt: skip

Field = tuple[int, int, Any]
"""Number, wire type, and what is in it: a number, bytes, or the fields of a message."""


def fields_of(schema: Schema) -> st.SearchStrategy[list[Field]]:
    """Fields of a message, most of them right."""

    def right(number: int) -> st.SearchStrategy[Field]:
        held = schema[number]
        if isinstance(held, dict):
            return st.tuples(st.just(number), st.just(DELIMITED), fields_of(held))
        if held in ("U", "B"):
            return st.tuples(st.just(number), st.just(VARINT), U64)
        if held == "D":
            return st.tuples(st.just(number), st.just(EIGHT_BYTES), st.binary(min_size=8, max_size=8))
        return st.tuples(st.just(number), st.just(DELIMITED), TEXT.map(str.encode) | st.just(b"[1]"))

    known = st.one_of([right(number) for number in sorted(schema)])
    numbers = st.integers(0, 20) | st.sampled_from([2**29 - 1, 2**29])
    strange = st.one_of(
        st.tuples(numbers, st.just(VARINT), U64),
        st.tuples(numbers, st.just(EIGHT_BYTES), st.binary(min_size=8, max_size=8)),
        st.tuples(numbers, st.just(DELIMITED), st.binary(max_size=6)),
        st.tuples(numbers, st.just(FOUR_BYTES), st.binary(min_size=4, max_size=4)),
        st.tuples(numbers, st.sampled_from([GROUP, GROUP_END, 6, 7]), st.just(b"")),
    )
    return st.lists(st.integers(0, 9).flatmap(lambda dice: known if dice else strange), max_size=5)


FIELDS_OF_FRAMES = fields_of(MESSAGE).map(lambda fields: [(1, DELIMITED, b"e"), *fields])


def on_the_wire(fields: list[Field]) -> bytes:
    payload = b""
    for number, wire_type, held in fields:
        if isinstance(held, list):
            payload += field(number, on_the_wire(held))
        elif wire_type == DELIMITED:
            payload += field(number, held)
        else:
            payload += field(number, varint(held) if isinstance(held, int) else held, wire_type)
    return payload


def _fits(fields: list[Field], schema: Schema) -> bool | None:
    """The verdict by the rules written out; None where random bytes stand for a message."""
    verdict: bool | None = True
    for number, wire_type, content in fields:
        wanted = schema.get(number)
        if not 0 < number < 2**29 or wire_type in (GROUP, GROUP_END, 6, 7):
            return False
        if isinstance(wanted, dict):
            if wire_type != DELIMITED:
                return False
            if not isinstance(content, list):
                verdict = None
            elif not (inner := _fits(content, wanted)):
                if inner is False:
                    return False
                verdict = None
        elif wanted is not None:
            types = {"U": (VARINT,), "B": (VARINT,), "D": (EIGHT_BYTES,), "T or U": (VARINT, DELIMITED)}
            if wire_type not in types.get(wanted, (DELIMITED,)):
                return False
            if wanted != "X" and wire_type == DELIMITED and content.decode(errors="replace").encode() != content:
                return False
    return verdict


def _accepts(payload: bytes) -> bool:
    try:
        frame = decode(payload)
    except SockudoError as refusal:
        assert refusal.spec in (errors.MALFORMED_FRAME, errors.EVENT_NAME_INVALID)  # noqa: PT017
        assert "\n" not in refusal.text  # noqa: PT017
        assert len(refusal.text) < 160  # noqa: PT017
        # Whether JSON inside of a frame is sound is another question.
        return refusal.spec is errors.EVENT_NAME_INVALID or refusal.text.endswith("of the JSON text in data")
    data_value(frame)
    return True


@given(FIELDS_OF_FRAMES)
def test_the_verdict_agrees_with_the_rules(fields: list[Field]) -> None:
    verdict = _fits(fields, MESSAGE)
    accepted = _accepts(on_the_wire(fields))
    assert verdict is None or accepted == verdict


@given(FIELDS_OF_FRAMES)
def test_the_last_of_a_repeated_field_wins(fields: list[Field]) -> None:
    last = {number: held for number, wire_type, held in fields if wire_type == DELIMITED}
    try:
        frame = decode(on_the_wire(fields))
    except SockudoError:
        return
    assert (frame.event, frame.channel) == (last[1].decode(), last[2].decode() if 2 in last else None)


@given(FIELDS_OF_FRAMES, st.integers(0, 10_000), st.integers(0, 255), st.booleans())
def test_a_part_and_one_byte_changed_give_a_frame_or_a_refusal(
    fields: list[Field], place: int, byte: int, cut: bool
) -> None:
    payload = on_the_wire(fields)
    place %= len(payload)
    _accepts(payload[:place] if cut else payload[:place] + bytes([byte]) + payload[place + 1 :])


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda junk: E + junk))
def test_any_bytes_give_a_frame_or_a_refusal_of_one_line(payload: bytes) -> None:
    _accepts(payload)
