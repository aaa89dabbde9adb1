"""Frames in MessagePack: the bytes that clients read, every form that they send, one line for everything else."""

from __future__ import annotations

import json
import time
import tracemalloc
from typing import Any

import msgpack as outside
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sockudo_python.client import ProtocolCodec, SockudoWireFormat

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.protocol.frames import Frame
from sockudo.protocol.inbound import InboundFrame, data_value, decode_frame
from sockudo.protocol.msgpack import decode, encode
from unit.protocol.strategies import FRAMES, JSON, TEXT, U64

PREFIX = "Invalid message format: Decode failed: "
NAMES = (
    "event", "channel", "data", "name", "user_id", "tags", "sequence", "conflation_key", "message_id", "stream_id",
    "serial", "idempotency_key", "extras", "delta_sequence", "delta_conflation_key",
)  # fmt: skip


def packed(value: Any) -> bytes:
    return outside.packb(value)


def array(**fields: Any) -> bytes:
    """The array form of a frame."""
    return packed([fields.get(name) for name in NAMES])


def refusal_of(payload: bytes) -> str:
    with pytest.raises(SockudoError) as refusal:
        decode(payload)
    assert refusal.value.spec is errors.MALFORMED_FRAME
    text = refusal.value.text
    assert text.startswith(PREFIX)
    assert "\n" not in text
    assert len(text) < 160
    return text.removeprefix(PREFIX)


# ---- outbound ----


def test_a_frame_is_an_array_of_fifteen() -> None:
    """The greeting and an acknowledgement, byte for byte as clients of the protocol have always got them."""
    greeting = Frame(
        "sockudo:connection_established",
        data='{"socket_id":"1727045845.3123981181","activity_timeout":120}',
        message_id="5f2c1d22-5f55-40ad-9d32-f03d8b3176a2",
    )
    assert encode(greeting).hex() == (
        "9fbe736f636b75646f3a636f6e6e656374696f6e5f65737461626c6973686564c092a6737472696e67d93c7b22736f636b65745f6964223a"
        "22313732373034353834352e33313233393831313831222c2261637469766974795f74696d656f7574223a3132307dc0c0c0c0c0d9243566"
        "3263316432322d356635352d343061642d396433322d663033643862333137366132c0c0c0c0c0c0"
    )
    acknowledgement = Frame(
        "sockudo_internal:subscription_succeeded",
        "mp-1",
        '{"attach_serial":0}',
        message_id="16cf4794-57d4-4abf-b90a-e2a955735a78",
        stream_id="6cff4eef-423e-4359-a3cb-f90764fbcf3a",
        serial=0,
    )
    assert outside.unpackb(encode(acknowledgement)) == [
        "sockudo_internal:subscription_succeeded", "mp-1", ["string", '{"attach_serial":0}'], None, None, None, None,
        None, "16cf4794-57d4-4abf-b90a-e2a955735a78", "6cff4eef-423e-4359-a3cb-f90764fbcf3a", 0, None, None, None, None,
    ]  # fmt: skip


def test_every_field_of_a_frame_has_its_place() -> None:
    frame = Frame("e", "c", msgspec.Raw(b'{"a":1}'), "n", "u", {"t": "1"}, "m", "s", 2**64 - 1, {"echo": True})
    assert outside.unpackb(encode(frame)) == [
        "e", "c", ["json", '{"a":1}'], "n", "u", {"t": "1"}, None, None, "m", "s", 2**64 - 1, None, {"echo": True},
        None, None,
    ]  # fmt: skip
    assert encode(Frame("sockudo:pong")).hex() == "9fac736f636b75646f3a706f6e67c0c0c0c0c0c0c0c0c0c0c0c0c0c0"


def test_extras_are_a_map_of_what_is_there() -> None:
    extras = {
        "headers": {"s": "x", "n": 7, "b": True},
        "ephemeral": False,
        "idempotencyKey": "ik",
        "echo": True,
        "ai": {"transport": {"a": "1"}, "codec": {}},
        "push": {},
        "foo": 1,
    }
    sent = outside.unpackb(encode(Frame("e", extras=extras)))[12]
    assert sent == {
        "headers": {"s": ["string", "x"], "n": ["number", 7.0], "b": ["bool", True]},
        "ephemeral": False,
        "idempotency_key": "ik",
        "echo": True,
        "ai": {"transport": {"a": "1"}},
    }
    assert isinstance(sent["headers"]["n"][1], float)
    assert outside.unpackb(encode(Frame("e", extras={"headers": {"a": "b"}})))[12] == {
        "headers": {"a": ["string", "b"]}
    }


def test_empty_maps_are_absent() -> None:
    assert (
        encode(Frame("e", tags={}, extras={"foo": 1})) == encode(Frame("e", tags={}, extras={})) == encode(Frame("e"))
    )


def test_the_stock_client_reads_what_is_sent() -> None:
    extras = {"headers": {"s": "x", "n": 7, "b": True}, "idempotencyKey": "ik", "echo": True}
    frame = Frame("e", "c", '{"metres":2.4}', None, "u", {"a": "1"}, "m", "s", 3, extras)
    event = ProtocolCodec.decode_event(encode(frame), SockudoWireFormat.MESSAGEPACK)
    assert (event.event, event.channel, event.data, event.user_id) == ("e", "c", {"metres": 2.4}, "u")
    assert (event.message_id, event.stream_id, event.serial) == ("m", "s", 3)
    assert event.extras is not None
    assert event.extras.headers == {"s": "x", "n": 7.0, "b": True}
    assert (event.extras.idempotency_key, event.extras.echo) == ("ik", True)
    object_data = Frame("sockudo:error", data=msgspec.Raw(b'{"code":4009,"message":"no"}'))
    event = ProtocolCodec.decode_event(encode(object_data), SockudoWireFormat.MESSAGEPACK)
    assert event.data == {"code": 4009, "message": "no"}


# ---- inbound: what clients send ----


@pytest.mark.parametrize(
    ("payload", "frame"),
    [
        (array(event="sockudo:ping"), InboundFrame("sockudo:ping")),
        (array(event=""), InboundFrame("")),
        (array(event="é", channel="😀"), InboundFrame("é", "😀")),
        (array(event="e", data=["string", 'a"é']), InboundFrame("e", None, '"a\\"é"'.encode())),
        (array(event="e", data=["string", ""]), InboundFrame("e", None, b'""')),
        (array(event="e", data=["json", '{"channel":"mp-1"}']), InboundFrame("e", None, b'{"channel":"mp-1"}')),
        (array(event="e", data=["json", " [1, 2.50] "]), InboundFrame("e", None, b"[1, 2.50]")),
        (array(event="e", data=["json", '"text"']), InboundFrame("e", None, b'"text"')),
        (array(event="e", data=["json", "null"]), InboundFrame("e")),
        (array(event="e", data=["binary", b"\x01\x02"]), InboundFrame("e", None, b"[1,2]")),
        (array(event="e", data=["structured", ["cd", "c", "ud", {"auth": '"x"'}]]),
         InboundFrame("e", None, b'{"auth":"x","channel_data":"cd","channel":"c","user_data":"ud"}')),
        (array(event="e", data=["structured", [None, "c", None, None]]), InboundFrame("e", None, b'{"channel":"c"}')),
        (array(event="e", data=["structured", [None, None, None, {}]]), InboundFrame("e", None, b"{}")),
        (array(event="e", data=["structured", {"channel": "c"}]), InboundFrame("e", None, b'{"channel":"c"}')),
        (array(event=b"e", channel=b"c", data=[b"json", b"[1]"]), InboundFrame("e", "c", b"[1]")),
        (array(event="e", tags={b"a": b"b", "c": "d"}), InboundFrame("e")),
        (packed({"event": "sockudo:ping"}), InboundFrame("sockudo:ping")),
        (packed({"data": ["json", "{}"], "channel": "c", "event": "e"}), InboundFrame("e", "c", b"{}")),
        (packed({b"event": b"e", b"data": [b"string", b"x"]}), InboundFrame("e", None, b'"x"')),
        (packed({"event": "e", "channel": None, "data": None, "tags": None, "extras": None}), InboundFrame("e")),
        (packed({"event": "e", "other": {"event": 1, "x": [b"", 1.5, True]}, "Event": 1}), InboundFrame("e")),
        (packed({"event": "e", "t": outside.Timestamp(1), "x": outside.ExtType(5, b"x" * 300)}), InboundFrame("e")),
        (b"\xdc\x00\x0f" + array(event="e")[1:], InboundFrame("e")),
        (b"\xdd\x00\x00\x00\x0f" + array(event="e")[1:], InboundFrame("e")),
        (b"\xde\x00\x01" + packed({"event": "e"})[1:], InboundFrame("e")),
        (b"\xdf\x00\x00\x00\x01" + packed({"event": "e"})[1:], InboundFrame("e")),
        (packed({"event": "e", "channel": "c" * 300, "name": "n" * 70_000}), InboundFrame("e", "c" * 300)),
        (packed({b"event": b"e", b"channel": b"c" * 300, b"name": b"n" * 70_000}), InboundFrame("e", "c" * 300)),
    ],
)  # fmt: skip
def test_sound_frames(payload: bytes, frame: InboundFrame) -> None:
    assert decode(payload) == frame


EXTRAS = (
    [{"s": ["string", "x"], "n": ["number", 7], "f": ["number", 0.5], "b": ["bool", False]}, True, "ik", None,
     [{"a": "b"}, None]],
    [None] * 5,
    {},
    {"headers": {}, "ephemeral": None, "idempotency_key": "ik", "echo": True, "ai": {"codec": {"a": "b"}}},
    {"headers": {"a": [b"string", b"x"]}, "push": {"a": [1]}, "foo": [1, {"b": None}]},
)  # fmt: skip


def test_every_known_field_with_its_type() -> None:
    strings = {"channel", "name", "user_id", "conflation_key", "message_id", "stream_id", "idempotency_key"}
    fields: dict[str, Any] = {"event": "e", "delta_conflation_key": "x", "tags": {"a": "b"}}
    fields |= dict.fromkeys(strings, "x") | dict.fromkeys(("sequence", "serial", "delta_sequence"), 2**64 - 1)
    for extras in EXTRAS:
        assert decode(array(**fields, extras=extras)) == InboundFrame("e", "x")
        assert decode(packed(fields | {"extras": extras})) == InboundFrame("e", "x")


@pytest.mark.parametrize("payload", [array(), packed({}), packed({"event": None, "channel": "c"}), array(channel="c")])
def test_an_event_is_required(payload: bytes) -> None:
    with pytest.raises(SockudoError, match=r"^Invalid event name: Event name is required$") as refusal:
        decode(payload)
    assert refusal.value.spec is errors.EVENT_NAME_INVALID


# ---- inbound: malformed ----


@pytest.mark.parametrize(
    ("payload", "detail"),
    [
        (b"", "empty frame"),
        (b'{"event":"sockudo:ping"}', "Expected an array or a map"),
        (b"json on a msgpack connection", "Expected an array or a map"),
        (b"\xc0", "Expected an array or a map"),
        (b"\xc1", "Expected an array or a map"),
        (packed("e"), "Expected an array or a map"),
        (packed(["sockudo:ping"]), "Expected an array of 15, got 1"),
        (packed(["e"] + [None] * 13), "Expected an array of 15, got 14"),
        (packed(["e"] + [None] * 15), "Expected an array of 15, got 16"),
        (array(event="e") + b"\xc0", "trailing characters at byte 17"),
        (packed({"event": "e"}) + b"\xc0", "trailing characters at byte 9"),
        (b"\xde\x00\x01" + packed({"event": "e"})[1:] + b"\xc0", "trailing characters at byte 11"),
        (array(event="e")[:-1], "unexpected end at byte 16"),
        (array(event="e")[:-1] + b"\xc1", "invalid opcode '\\xc1' at byte 16"),
        (b"\x9f", "unexpected end at byte 1"),
        (b"\xdc\x00", "unexpected end at byte 2"),
        (b"\xde", "unexpected end at byte 1"),
        (b"\xdf\x00\x00\x00", "unexpected end at byte 4"),
        (b"\x90", "Expected an array of 15, got 0"),
        (b"\xdf\xff", "unexpected end at byte 2"),
        (b"\xdf\xff\xff\xff\xff", "unexpected end at byte 5"),
        (b"\x81\xa5event\xdb\xff\xff\xff\xffx", "unexpected end at byte 13"),
        (b"\x81\xa5event\xc6\xff\xff\xff\xffx", "unexpected end at byte 13"),
        (b"\x81\xa5event\xdd\xff\xff\xff\xff\xc0", "unexpected end at byte 13"),
        (packed({"event": "e", "data": {"channel": "c"}}), "field 'data': Expected an array of kind and value"),
        (packed({"event": "e", "data": {"kind": "string", "value": "x"}}),
         "field 'data': Expected an array of kind and value"),
        (array(event="e", data="text"), "field 'data': Expected an array or a map"),
        (array(event="e", data=["string"]), "field 'data': Expected an array of 2, got 1"),
        (array(event="e", data=["text", "x"]), "field 'data': Unknown kind"),
        (array(event="e", data=[1, "x"]), "field 'data': Expected str, got int"),
        (array(event="e", data=["string", 1]), "field 'data': Expected str, got int"),
        (array(event="e", data=["string", None]), "field 'data': Expected str, got None"),
        (array(event="e", data=["binary", "x"]), "field 'data': Expected bytes, got str"),
        (array(event="e", data=["json", "{a}"]), "invalid character at byte 1 of the JSON text in data"),
        (array(event="e", data=["json", ""]), "empty at byte 0 of the JSON text in data"),
        (array(event="e", data=["json", "[1] 2"]), "trailing characters at byte 4 of the JSON text in data"),
        (array(event="e", data=["json", "[1"]), "unexpected end at byte 2 of the JSON text in data"),
        (array(event="e", data=["json", "1e999"]), "number out of range at byte 0 of the JSON text in data"),
        (array(event="e", data=["json", '"\\ud800"        ']),
         "invalid character at byte 7 of the JSON text in data"),
        (array(event="e", data=["structured", [None, None, None]]), "field 'data': Expected an array of 4, got 3"),
        (array(event="e", data=["structured", [1, None, None, None]]),
         "field 'channel_data': Expected str, got int"),
        (array(event="e", data=["structured", [None, None, None, {"a": 1}]]), "field 'extra': Expected str, got int"),
        (array(event="e", data=["structured", [None, None, None, {"a": "b"}]]),
         "invalid character at byte 0 of the JSON text in data"),
        (array(event=1), "field 'event': Expected str, got int"),
        (array(event=["e"]), "field 'event': Expected str, got array"),
        (array(event=b"\xff"), "field 'event': not UTF-8"),
        (packed({"event": "e", "channel": b"\xed\xa0\x80"}), "field 'channel': not UTF-8"),
        (packed({b"\xff": 1, "event": "e"}), "not UTF-8"),
        (packed({1: "e", "event": "e"}), "Expected str, got int"),
        (packed({"event": "e", b"event": "f"}), "Repeated field"),
        (b"\x82\xa5event\xa1e\xa5event\xa1e", "Repeated field"),
        (array(event="e", user_id=5), "field 'user_id': Expected str, got int"),
        (array(event="e", tags=["a"]), "field 'tags': Expected a map"),
        (array(event="e", tags={"a": 1}), "field 'tags': Expected str, got int"),
        (array(event="e", tags={"a": None}), "field 'tags': Expected str, got None"),
        (array(event="e", tags={1: "a"}), "field 'tags': Expected str, got int"),
        (array(event="e", serial=-1), "field 'serial': Expected int >= 0"),
        (array(event="e", serial=1.5), "field 'serial': Expected int, got float"),
        (array(event="e", serial="1"), "field 'serial': Expected int, got str"),
        (array(event="e", delta_sequence=True), "field 'delta_sequence': Expected int, got bool"),
        (array(event="e", extras="x"), "field 'extras': Expected an array or a map"),
        (array(event="e", extras=[None] * 4), "field 'extras': Expected an array of 5, got 4"),
        (array(event="e", extras={"echo": 1}), "field 'echo': Expected bool, got int"),
        (array(event="e", extras={"headers": {"a": "b"}}), "field 'headers': Expected an array or a map"),
        (array(event="e", extras={"headers": {"a": ["text", "b"]}}), "field 'headers': Unknown kind"),
        (array(event="e", extras={"headers": {"a": ["number", "1"]}}), "field 'headers': Expected float, got str"),
        (array(event="e", extras={"ai": [None]}), "field 'ai': Expected an array of 2, got 1"),
        (array(event="e", extras={"ai": {"codec": {"a": 1}}}), "field 'codec': Expected str, got int"),
    ],
)  # fmt: skip
def test_malformed_frames(payload: bytes, detail: str) -> None:
    assert refusal_of(payload) == detail


def test_a_refusal_quotes_nothing_of_the_frame() -> None:
    for payload in (
        packed({"hush": 1, b"hush": 1}),
        array(event="e", data=["hush", 1]),
        array(event="e", data=["json", "hush"]),
        array(event="e", tags={"hush": 1}),
        array(event=b"hush\xff"),
        b"\x81\xa5event\xa4hush\xa4hush",
    ):
        assert "hush" not in refusal_of(payload)


# ---- nesting and hostile lengths ----


@pytest.mark.parametrize(
    "opening", [b"\x91", b"\x81\xa1a", b"\xdc\x00\x01", b"\xdd\x00\x00\x00\x01", b"\xde\x00\x01\xa1a"]
)
def test_nesting_is_limited_to_128_levels(opening: bytes) -> None:
    """The frame itself is the first level."""
    start = b"\x82\xa5event\xa1e\xa5other"
    assert decode(start + opening * 127 + b"\xc0") == InboundFrame("e")
    assert refusal_of(start + opening * 128 + b"\xc0") == "nested more than 128 levels deep"
    assert refusal_of(start + opening * 20_000) == "nested more than 128 levels deep"
    assert refusal_of(opening * 20_000) == "nested more than 128 levels deep"


def test_arrays_beside_each_other_and_letters_are_not_nesting() -> None:
    beside = [[], {}, [[{}]], {"a": []}, -5, 1.5, 300, 70_000, 2**40, b"\x91" * 300, "\u0451" * 300, None] * 50
    beside += [outside.ExtType(1, b"\x91" * size) for size in (1, 2, 4, 8, 16, 17, 300, 70_000)]
    assert decode(packed({"event": "e", "other": beside})) == InboundFrame("e")
    text = "\u0451\u07ff" * 500
    assert decode(array(event="e", data=["string", text])).data == json.dumps(text, ensure_ascii=False).encode()


def test_json_in_data_may_be_nested_as_deep_as_in_a_json_frame() -> None:
    for levels, sound in ((127, True), (128, False)):
        text = "[" * levels + "]" * levels
        if sound:
            assert decode(array(event="e", data=["json", text])).data == text.encode()
            assert decode_frame(b'{"event":"e","data":' + text.encode() + b"}").data == text.encode()
        else:
            assert refusal_of(array(event="e", data=["json", text])) == (
                "nested more than 128 levels deep at byte 127 of the JSON text in data"
            )


CLAIMS = [first + b"\xff\xff\xff\xff" for first in (b"\xdd", b"\xdf", b"\xdb", b"\xc6", b"\xc9")]
CLAIMS += [first + b"\x0f\xff\xff\xff" for first in (b"\xdd", b"\xdf")] + [b"\xdc\xff\xff", b"\xde\xff\xff"]


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_length_that_is_not_there_takes_no_memory(claim: bytes) -> None:
    starts = [b"", b"\x9f", b"\x9f\xa1e\xc0", b"\x9f\xa1e\xc0\x92\xa6string", b"\x9f\xa1e\xc0\x92\xa4json", b"\x81",
              b"\x81\xa5event", b"\x82\xa5event\xa1e\xa4tags", b"\x82\xa5event\xa1e\xa6extras",
              b"\x82\xa5event\xa1e\xa5other", b"\x82\xa5event\xa1e\xa5other" + b"\x91" * 100,
              b"\x82\xa5event\xa1e\xa5other" + b"\xdc\xff\xff" * 127]  # fmt: skip
    tracemalloc.start()
    try:
        for start in starts:
            assert refusal_of(start + claim + b"\xc0" * 10)
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()


HOSTILE = {
    "arrays": b"\x91" * 64_000,
    "empty arrays": b"\x82\xa5event\xa1e\xa5other\xdd\x00\x00\xf8\x00" + b"\x90" * 0xF800,
    "nil": b"\xdd\x00\x00\xf8\x00" + b"\xc0" * 0xF800,
    "many fields": packed({"event": "e", **dict.fromkeys(map(str, range(9000)), 1)}),
    "one field over and over": b"\xde\x27\x10" + b"\xa5event\xa1e" * 10_000,
    "many tags": packed({"event": "e", "tags": dict.fromkeys(map(str, range(9000)), "")}),
    "many headers": packed({"event": "e", "extras": {"headers": {str(n): ("bool", True) for n in range(7000)}}}),
    "binary": packed({"event": "e", "data": ["binary", b"\xff" * 64_000]}),
    "brackets": packed({"event": "e", "data": ["json", "[" * 64_000]}),
    "escapes": packed({"event": "e", "data": ["string", "\x00" * 64_000]}),
    "many extra values": packed({"event": "e", "data": ["structured", [None, None, None,
                                 dict.fromkeys(map(str, range(7000)), "1")]]}),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_frames_cost_time_in_proportion_to_their_length(case: str) -> None:
    """64 KB of anything takes some milliseconds; work that grows with the square would take seconds."""
    started = time.process_time()
    try:
        decode(HOSTILE[case])
    except SockudoError as refusal:
        assert len(refusal.text) < 160  # noqa: PT017
    assert time.process_time() - started < 1


# ---- properties ----


@given(TEXT, st.none() | TEXT, JSON, st.booleans())
def test_a_frame_means_the_same_as_in_json(event: str, channel: str | None, data: Any, as_map: bool) -> None:
    envelope = {"event": event, "channel": channel, "data": data}
    text = json.dumps(data)
    fields = envelope | {"data": ["string", data] if isinstance(data, str) else ["json", text]}
    frame = decode(packed(fields) if as_map else array(**fields))
    in_json = decode_frame(json.dumps(envelope).encode())
    assert (frame.event, frame.channel, data_value(frame)) == (event, channel, data_value(in_json))
    if not isinstance(data, str):
        assert frame == in_json
    sent = ProtocolCodec.encode_envelope(envelope, SockudoWireFormat.MESSAGEPACK)
    assert isinstance(sent, bytes)
    assert data_value(decode(sent)) == data_value(in_json)


@given(FRAMES)
def test_what_is_sent_can_be_read_back(frame: Frame) -> None:
    sent = encode(frame)
    read = outside.unpackb(sent)
    assert len(read) == 15
    assert (read[0], read[1], read[3], read[4]) == (frame.event, frame.channel, frame.name, frame.user_id)
    assert (read[5] or None, read[8:11]) == (frame.tags or None, [frame.message_id, frame.stream_id, frame.serial])
    back = decode(sent)
    assert (back.event, back.channel) == (frame.event, frame.channel)
    data = json.dumps(frame.data).encode() if isinstance(frame.data, str) else bytes(frame.data or b"null")
    assert json.loads(back.data or b"null") == json.loads(data)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | TEXT | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT | st.binary(max_size=5), inner, max_size=5),
    max_leaves=8,
)
WORD = TEXT | TEXT.map(str.encode)
KIND = st.sampled_from(["string", "json", "binary", "structured", b"string", b"json", "number", "bool", "other"])
JSON_TEXT = JSON.map(json.dumps) | st.sampled_from(["", "{", "NaN", "1,2", b"[1]"])
WORDS = st.dictionaries(WORD, WORD | ANY, max_size=3)
STRUCTURED = st.tuples(
    st.none() | WORD, st.none() | WORD, st.none() | WORD, st.none() | st.dictionaries(WORD, JSON_TEXT)
)
DATA = st.tuples(KIND, WORD | JSON_TEXT | st.binary(max_size=9) | STRUCTURED)
FIELD = st.none() | WORD | U64 | WORDS | DATA | ANY
FIELDS = st.fixed_dictionaries({"event": WORD | ANY}, optional=dict.fromkeys(NAMES[1:], FIELD) | {"other": ANY})


def _is_text(value: Any) -> bool:
    if isinstance(value, bytes):
        try:
            value.decode()
        except UnicodeDecodeError:
            return False
    return isinstance(value, str | bytes)


def _are_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_text(part) for pair in value.items() for part in pair)


def _is_json(value: Any) -> bool:
    if not _is_text(value):
        return False
    try:
        decode_frame(b'{"event":"","data":[' + (value.encode() if isinstance(value, str) else value) + b"]}")
        json.loads(value)
    except (SockudoError, ValueError):
        return False
    return True


def _named(value: Any, names: tuple[str, ...]) -> dict[str, Any] | None:
    """The parts of an array or a map, None where it is neither."""
    if isinstance(value, list | tuple):
        return dict(zip(names, value, strict=True)) if len(value) == len(names) else None
    if not isinstance(value, dict) or not all(map(_is_text, value)):
        return None
    parts = [(name.decode() if isinstance(name, bytes) else name, part) for name, part in value.items()]
    return dict(parts) if len(dict(parts)) == len(parts) else None


def _is_data(value: Any) -> bool:
    if not isinstance(value, list | tuple) or len(value) != 2 or not _is_text(value[0]):
        return False
    kind = value[0].decode() if isinstance(value[0], bytes) else value[0]
    if kind == "structured":
        parts = _named(value[1], ("channel_data", "channel", "user_data", "extra"))
        if parts is None:
            return False
        extra = parts.pop("extra", None)
        named = all(
            parts.get(name) is None or _is_text(parts[name]) for name in ("channel_data", "channel", "user_data")
        )
        return named and (extra is None or (_are_texts(extra) and all(map(_is_json, extra.values()))))
    if kind == "binary":
        return isinstance(value[1], bytes)
    return kind in ("string", "json") and (_is_text(value[1]) if kind == "string" else _is_json(value[1]))


def _is_header(value: Any) -> bool:
    if not isinstance(value, list | tuple) or len(value) != 2 or not _is_text(value[0]):
        return False
    kind = value[0].decode() if isinstance(value[0], bytes) else value[0]
    if kind == "number":
        return isinstance(value[1], float | int) and not isinstance(value[1], bool)
    return kind in ("string", "bool") and (_is_text(value[1]) if kind == "string" else isinstance(value[1], bool))


def _is_extras(value: Any) -> bool:
    parts = _named(value, ("headers", "ephemeral", "idempotency_key", "echo", "ai"))
    if parts is None:
        return False
    headers, key, ai = parts.get("headers"), parts.get("idempotency_key"), parts.get("ai")
    sound = headers is None or (
        isinstance(headers, dict) and all(map(_is_text, headers)) and all(map(_is_header, headers.values()))
    )
    sound &= all(isinstance(parts.get(name), bool | None) for name in ("ephemeral", "echo"))
    sound &= key is None or _is_text(key)
    if ai is None:
        return sound
    inner = _named(ai, ("transport", "codec"))
    return sound and inner is not None and all(
        inner.get(name) is None or _are_texts(inner[name]) for name in ("transport", "codec")
    )  # fmt: skip


def _is_sound(value: Any) -> bool:
    """The verdict by the rules written out, on what an outsider's encoder then packs."""
    fields = _named(value, NAMES)
    if fields is None:
        return False

    def fits(name: str) -> bool:
        field = fields.get(name)
        if field is None:
            return True
        if name in ("sequence", "serial", "delta_sequence"):
            return isinstance(field, int) and not isinstance(field, bool) and field >= 0
        return {"data": _is_data, "tags": _are_texts, "extras": _is_extras}.get(name, _is_text)(field)

    return all(map(fits, NAMES))


def _accepts(payload: bytes) -> bool:
    try:
        frame = decode(payload)
    except SockudoError as refusal:
        assert refusal.spec in (errors.MALFORMED_FRAME, errors.EVENT_NAME_INVALID)  # noqa: PT017
        assert "\n" not in refusal.text  # noqa: PT017
        assert len(refusal.text) < 160  # noqa: PT017
        return refusal.spec is errors.EVENT_NAME_INVALID
    data_value(frame)
    return True


@given(FIELDS, st.booleans())
def test_the_verdict_agrees_with_the_rules(fields: dict[str, Any], as_map: bool) -> None:
    value = fields if as_map else [fields.get(name) for name in NAMES]
    assert _accepts(packed(value)) == _is_sound(value)


@given(ANY)
def test_any_value_gets_the_verdict_of_the_rules(value: Any) -> None:
    assert _accepts(packed(value)) == _is_sound(value)


@given(FIELDS, st.booleans(), st.data())
def test_no_part_of_a_frame_is_a_frame(fields: dict[str, Any], as_map: bool, data: st.DataObject) -> None:
    payload = packed(fields) if as_map else array(**fields)
    cut = payload[: data.draw(st.integers(0, len(payload) - 1))]
    assert refusal_of(cut)


@given(st.binary(max_size=60) | st.builds(lambda junk: array(event="e")[:10] + junk, st.binary(max_size=60)))
def test_any_bytes_give_a_frame_or_a_refusal_of_one_line(payload: bytes) -> None:
    _accepts(payload)


@given(FIELDS, st.booleans(), st.integers(0, 10_000), st.integers(0, 255))
def test_one_byte_changed_gives_a_frame_or_a_refusal(
    fields: dict[str, Any], as_map: bool, place: int, byte: int
) -> None:
    payload = bytearray(packed(fields) if as_map else array(**fields))
    payload[place % len(payload)] = byte
    _accepts(bytes(payload))
