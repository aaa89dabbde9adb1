"""Frames of clients: what is sound is read as it was sent; what is not gets one line with the byte."""

from __future__ import annotations

import json
import math
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.protocol.inbound import InboundFrame, checked_data, data_value, decode_frame, object_data
from unit.protocol.strategies import JSON

PREFIX = "Invalid message format: Decode failed: "


def refusal_of(payload: bytes) -> SockudoError:
    with pytest.raises(SockudoError) as refusal:
        decode_frame(payload)
    return refusal.value


# ---- sound frames ----


@pytest.mark.parametrize(
    ("payload", "frame"),
    [
        (b'{"event":"pusher:ping"}', InboundFrame("pusher:ping")),
        (b'{"event":"pusher:ping","data":{}}', InboundFrame("pusher:ping", None, b"{}")),
        (b'{"data":{"x":1},"channel":"c","event":"e"}', InboundFrame("e", "c", b'{"x":1}')),
        (b' \r\n\t{ "event" : "e" , "data" : [ 1 , 2 ] } \n', InboundFrame("e", None, b"[ 1 , 2 ]")),
        (b'{"event":"\\u0061\\ud83d\\ude00\\"","data":"\\u00e9"}', InboundFrame('a😀"', None, b'"\\u00e9"')),
        (b'{"\\u0065vent":"e"}', InboundFrame("e")),
        ('{"event":"é","channel":"😀","data":"ü"}'.encode(), InboundFrame("é", "😀", '"ü"'.encode())),
        (b'{"event":""}', InboundFrame("")),
        (b'{"event":" PUSHER:PING "}', InboundFrame(" PUSHER:PING ")),
        (b'{"event":"e","channel":null,"data":null}', InboundFrame("e")),
        (b'{"event":"e","data": null }', InboundFrame("e")),
        (b'{"event":"e","data":"null"}', InboundFrame("e", None, b'"null"')),
        (b'{"event":"e","foo":1,"bar":{"event":2}}', InboundFrame("e")),
        (b'{"event":"e","Event":"x","EVENT":"y"}', InboundFrame("e")),
        (b'{"event":"e","data":{"k":1,"k":2,"event":"x","event":"y"}}',
         InboundFrame("e", None, b'{"k":1,"k":2,"event":"x","event":"y"}')),
        (b'{"event":"e","data":-0.0}', InboundFrame("e", None, b"-0.0")),
        (b'{"event":"e","data":1E+5}', InboundFrame("e", None, b"1E+5")),
        (b'{"event":"e","data":1e-999}', InboundFrame("e", None, b"1e-999")),
        (b'{"event":"e","data":1.7976931348623157e308}', InboundFrame("e", None, b"1.7976931348623157e308")),
        (b'{"event":"e","data":"1e999"}', InboundFrame("e", None, b'"1e999"')),
        (b'{"event":"e","data":"\\\\ud800"}', InboundFrame("e", None, b'"\\\\ud800"')),
        (b'{"event":"e","a\\"b":1,"c\\"d":2}', InboundFrame("e")),
    ],
)  # fmt: skip
def test_sound_frames(payload: bytes, frame: InboundFrame) -> None:
    assert decode_frame(payload) == frame


@pytest.mark.parametrize("digits", [20, 400, 4300, 4301, 20_000])
def test_integers_of_any_size_pass_unchanged(digits: int) -> None:
    integer = b"9" * digits
    data = b'{"n":[true,null,1.5,-' + integer + b"]}"
    assert decode_frame(b'{"event":"e","data":' + data + b"}").data == data
    assert decode_frame(b'{"event":"e","other":' + integer + b"}") == InboundFrame("e")


FIELDS_OF_STRINGS = (
    "channel", "name", "user_id", "conflation_key", "message_id", "stream_id", "idempotency_key", "__conflation_key",
)  # fmt: skip
FIELDS_OF_NUMBERS = ("sequence", "serial", "__delta_seq")


@pytest.mark.parametrize("field", [*FIELDS_OF_STRINGS, *FIELDS_OF_NUMBERS, "tags", "extras", "data"])
def test_null_is_absent_for_every_field(field: str) -> None:
    assert decode_frame(b'{"event":"e","%s":null}' % field.encode()) == InboundFrame("e")


def test_every_known_field_with_its_type() -> None:
    frame: dict[str, Any] = {"event": "e"}
    frame |= dict.fromkeys(FIELDS_OF_STRINGS, "x") | dict.fromkeys(FIELDS_OF_NUMBERS, 2**64 - 1)
    frame |= {"tags": {"a": "b"}, "extras": {"a": [1, {}]}}
    assert decode_frame(json.dumps(frame).encode()) == InboundFrame("e", "x")


# ---- malformed frames ----

E = b'{"event":"e","data":'


@pytest.mark.parametrize(
    ("payload", "byte"),
    [
        (b"", 0),
        (b" \n", 0),
        (b"3", 0),
        (b' "text"', 1),
        (b"null", 0),
        (b"true", 0),
        (b"[]", 0),
        (b"[" + b"1," * 14 + b"1]", 0),
        (b'\xef\xbb\xbf{"event":"e"}', 0),
        (b'{"event":"e"} x', 14),
        (b'{"event":"e"}{}', 13),
        (b'{"event":"e"}\x00', 13),
        (b'{"event":"e",}', 13),
        (E + b"[1,]}", 23),
        (E + b"NaN}", 20),
        (E + b"Infinity}", 20),
        (E + b"-Infinity}", None),
        (E + b"1e999}", 20),
        (E + b"[0,-1e309]}", 23),
        (E + b"9" * 400 + b".5}", 20),
        (E + b"[" + b"9" * 5000 + b',"1e999",1e999]}', 5030),
        (b'{"event":"e","other":1e999}', 21),
        (E + b"01}", None),
        (E + b"1.}", None),
        (E + b".5}", 20),
        (E + b"+5}", 20),
        (E + b"'x'}", 20),
        (E + b'"\x01"}', 21),
        (E + b'"\\x"}', None),
        (E + b'"\\ud800"}', None),
        (E + b'"\\ud800"                  }', None),
        (E + b'"\\udc00"                  }', None),
        (E + b'"\\ud800\\ud800"            }', None),
        (b'{"event":"\\ud800"}', 10),
        (b'{"event":"e","\\udc00":1        }', None),
        (b'{"event":"e\xff"}', 11),
        (E + b'"\xff"}', 21),
        (E + b'"\xed\xa0\x80"}', 21),
        (b'{"event":"e","\xff":1}', 14),
        (b'{"event":"e"', 12),
        (b'{"event"', 8),
        (b"{'event':'e'}", 1),
        (b"{event:1}", 1),
        (b"not json", None),
        (b'{"event":"e","event":"e"}', 13),
        (b'{"event":"e","\\u0065vent":"f"}', 13),
        (b'{"event":"e","data":1,"data":2}', 22),
        (b'{"event":"e","data":null,"data":{}}', 25),
        (b'{"event":"e","channel":null,"channel":"c"}', 28),
        (b'{"event":"e","other":1, "other":2}', 24),
        (b'{"event":"e","":{"x":1},"":{}}', 24),
        (b'{"event":"e","a\\"":1,"a\\u0022":2}', 21),
        (b'{"event":5}', 9),
        (b'{"event":["e"]}', 9),
        (b'{"event":"e","tags":{"a":1}}', 20),
        (b'{"event":"e","tags":["a"]}', 20),
        (b'{"event":"e","extras": []}', 23),
        (b'{"event":"e","extras":"{}"}', 22),
        (b'{"event":"e","sequence":-1}', 24),
        (b'{"event":"e","sequence":1.0}', 24),
        (b'{"event":"e","serial":18446744073709551616}', 22),
        (b'{"event":"e","serial":"1"}', 22),
        (b'{"event":"e","__delta_seq":true}', 27),
        (b'{"event":"e","user_id":5}', 23),
    ],
)
def test_malformed_frames(payload: bytes, byte: int | None) -> None:
    refusal = refusal_of(payload)
    assert refusal.spec is errors.MALFORMED_FRAME
    assert refusal.spec.ws == 4000
    match = re.fullmatch(re.escape(PREFIX) + r"[^\n]{3,80} at byte (\d+)", refusal.text)
    assert match, refusal.text
    assert int(match[1]) <= len(payload)
    assert byte is None or int(match[1]) == byte, refusal.text


@pytest.mark.parametrize("field", FIELDS_OF_STRINGS)
@pytest.mark.parametrize("value", [b"5", b"true", b"{}", b"[]", b"1.5"])
def test_a_known_field_of_the_wrong_type_is_named(field: str, value: bytes) -> None:
    start = b'{"event":"e","%s":' % field.encode()
    refusal = refusal_of(start + value + b"}")
    assert refusal.text.startswith(f"{PREFIX}field '{field}': ")
    assert refusal.text.endswith(f" at byte {len(start)}")


def test_a_refusal_quotes_nothing_of_the_frame() -> None:
    for payload in (b'{"hush":1,"hush":2}', b'{"event":hush}', b'{"tags":{"hush":1}}', b'{"event":"e"} hush'):
        assert "hush" not in refusal_of(payload).text


@pytest.mark.parametrize("payload", [b"{}", b'{"data":{}}', b'{"event":null}', b'{"channel":"c","foo":1}'])
def test_an_event_is_required(payload: bytes) -> None:
    refusal = refusal_of(payload)
    assert refusal.spec is errors.EVENT_NAME_INVALID
    assert refusal.text == "Invalid event name: Event name is required"


# ---- nesting ----


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
@pytest.mark.parametrize("field", [b"data", b"other"])
def test_nesting_is_limited_to_128_levels(opening: bytes, closing: bytes, field: bytes) -> None:
    """The frame itself is the first level."""
    start = b'{"event":"e","' + field + b'":'
    assert decode_frame(start + opening * 127 + b"1" + closing * 127 + b"}").event == "e"
    text = refusal_of(start + opening * 128 + b"1" + closing * 128 + b"}").text
    assert text == f"{PREFIX}nested more than 128 levels deep at byte {len(start) + 127 * len(opening)}"


def test_brackets_beside_each_other_or_in_strings_are_not_nesting() -> None:
    for data in (b"[" + b"[],{}," * 500 + b"1]", b'"' + b"[{" * 500 + b'"', b'"\\"' + b"[{" * 500 + b'\\\\"'):
        assert decode_frame(E + data + b"}").data == data


@pytest.mark.parametrize("start", [b"", E, E + b'"', E + b'{"a":', b'{"event":"e","x":'])
@pytest.mark.parametrize("bracket", [b"[", b'{"a":', b"{", b"[{", b'["\\"'])
def test_twenty_thousand_opening_brackets_are_an_error_frame(start: bytes, bracket: bytes) -> None:
    assert refusal_of(start + bracket * 20_000).spec is errors.MALFORMED_FRAME


HOSTILE = {
    "brackets": b"[" * 64_000,
    "escaped quotes": E + b'"' + b'\\"' * 32_000,
    "escaped quotes outside a string": b'\\"' * 32_000,
    "closed escaped quotes": E + b'"' + b'\\"' * 32_000 + b'"}',
    "quotes": b'"' * 64_000,
    "digits": E + b"[" + b"9" * 60_000 + b",1.5]}",
    "many wide integers": E + b"[" + b",".join([b"9" * 4301] * 14) + b",1.5]}",
    "dots": E + b"[" + b"9" * 4301 + b',"' + b"." * 60_000 + b'"]}',
    "exponents": E + b"[" + b"9" * 4301 + b',"' + b"e" * 60_000 + b'"]}',
    "many fields": b'{"event":"e"' + b"".join(b',"%d":1' % n for n in range(7000)) + b"}",
    "many fields, one escaped": b'{"event":"e","\\"":1' + b"".join(b',"%d":1' % n for n in range(7000)) + b"}",
    "one field over and over": b'{"data":5,' * 6000,
    "a wrong type among many": b'{"user_id":5' + b',"user_id":5' * 5000 + b"}",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_frames_cost_time_in_proportion_to_their_length(case: str) -> None:
    """64 KB of anything takes some milliseconds; work that grows with the square would take seconds."""
    started = time.process_time()
    try:
        decode_frame(HOSTILE[case])
    except SockudoError as refusal:
        assert len(refusal.text) < 160  # noqa: PT017
    assert time.process_time() - started < 1


# ---- data ----


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (None, None),
        (b'{"channel":"c"}', {"channel": "c"}),
        (b'"{\\"channel\\":\\"c\\"}"', {"channel": "c"}),
        (b'" {\\"a\\": 1} "', {"a": 1}),
        (b'{"a":1,"a":2}', {"a": 2}),
        (b'"room-1"', "room-1"),
        (b'"{room"', "{room"),
        (b'"[{}]"', "[{}]"),
        (b'"{}x"', "{}x"),
        (b'"5"', "5"),
        (b"5", 5),
        (b"[1,2]", [1, 2]),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
    ],
)
def test_data_value(data: bytes | None, value: Any) -> None:
    assert data_value(InboundFrame("e", None, data)) == value


def test_deeply_nested_data_in_a_string_is_just_a_string() -> None:
    text = '{"a":' * 20_000
    assert data_value(decode_frame(json.dumps({"event": "e", "data": text}).encode())) == text


def test_an_integer_that_python_does_not_read_is_refused_where_data_is_read() -> None:
    frame = decode_frame(E + b'{"a":' + b"9" * 5000 + b"}}")
    with pytest.raises(SockudoError, match="more than 4300 digits") as refusal:
        data_value(frame)
    assert refusal.value.spec is errors.MALFORMED_FRAME


@pytest.mark.parametrize("data", [b'{"channel":"c"}', b'"{\\"channel\\":\\"c\\"}"'])
def test_object_data(data: bytes) -> None:
    assert object_data(InboundFrame("e", None, data), "no object") == {"channel": "c"}


@pytest.mark.parametrize("data", [None, b"5", b"[]", b'"text"', b'"[]"', b"true", b'"{"'])
def test_object_data_refuses_anything_else_with_the_text_of_the_caller(data: bytes | None) -> None:
    with pytest.raises(SockudoError, match="no object") as refusal:
        object_data(InboundFrame("e", None, data), "no object")
    assert refusal.value.spec is errors.MISSING_FIELD


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ('{"k":1,"k":2.50}', b'{"k":1,"k":2.50}'),
        (" \t[ 1 ]\r\n", b"[ 1 ]"),
        ('"ü\\u00fc"', '"ü\\u00fc"'.encode()),
        (" null ", None),
        ('"null"', b'"null"'),
        ("9" * 5000, b"9" * 5000),
        ("[" * 127 + "]" * 127, b"[" * 127 + b"]" * 127),
    ],
)
def test_data_as_a_json_text_of_its_own_is_read_as_within_a_frame(text: str, data: bytes | None) -> None:
    assert checked_data(text) == data == decode_frame(E + text.encode() + b"}").data


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("", "empty at byte 0"),
        (" \n", "empty at byte 0"),
        ('1,"channel":"c"', "trailing characters at byte 1"),
        ('1},{"event":"e"', "trailing characters at byte 1"),
        ("[1", "unexpected end at byte 2"),
        ("\ufeff1", "invalid character at byte 0"),
        ("[1,-1e999]", "number out of range at byte 3"),
        (' "\\ud800"', "lone surrogate at byte 2"),
        ("[" * 128 + "]" * 128, "nested more than 128 levels deep at byte 127"),
    ],
)
def test_what_is_wrong_with_such_a_text_is_told_with_its_byte(text: str, detail: str) -> None:
    with pytest.raises(SockudoError) as refusal:
        checked_data(text)
    assert refusal.value.spec is errors.MALFORMED_FRAME
    assert refusal.value.text == f"{PREFIX}{detail} of the JSON text in data"


# ---- properties ----

OPTIONAL_TEXT = st.none() | st.text(max_size=12)


@given(st.text(max_size=20), OPTIONAL_TEXT, JSON, st.booleans(), st.sampled_from([None, 0, 2]))
def test_a_sound_frame_comes_back(event: str, channel: str | None, data: Any, escape: bool, indent: int | None) -> None:
    payload = json.dumps({"event": event, "channel": channel, "data": data}, ensure_ascii=escape, indent=indent)
    frame = decode_frame(payload.encode())
    assert (frame.event, frame.channel) == (event, channel)
    assert frame.data is None if data is None else json.loads(frame.data or b"") == data
    assert frame.data is None or frame.data in payload.encode()


TOKENS = st.sampled_from(
    [
        "{", "}", "[", "]", ",", ":", " ", '"', "\\", '"event"', '"event":"e"', '"data":', '"channel":"c"', '"tags":{',
        '"\\u0065vent":"x"', '"a":1', '"a\\"b":2', '"user_id":', '"u"', '"serial":', "1", "-1", "1e999", "01", "1.5",
        "9" * 400, "9" * 4400, "true", "null", "NaN", '"\\ud800"', '"\\ud83d\\ude00"', '"\\udc00"', '"é"', "\ufeff",
    ]
)  # fmt: skip
TEXTS = st.lists(TOKENS, max_size=14).map(lambda tokens: "".join(tokens).encode()) | st.lists(TOKENS, max_size=10).map(
    lambda tokens: ('{"event":"e",' + "".join(tokens) + "}").encode()
)


class StrangeJsonError(ValueError):
    """What Python's reader accepts and the specification does not."""


def _no_constant(name: str) -> None:
    raise StrangeJsonError(name)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise StrangeJsonError(text)
    return number


def _is_sound(payload: bytes) -> bool:
    """The same verdict by Python's own reader and the rules written out."""
    text = payload.decode()
    pairs_of_objects: list[list[tuple[str, Any]]] = []

    def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        pairs_of_objects.append(pairs)
        return dict(pairs)

    value = json.loads(
        text,
        parse_constant=_no_constant,
        parse_float=_finite,
        parse_int=lambda digits: int(digits[:30]),
        object_pairs_hook=keep,
    )
    json.dumps(value, ensure_ascii=False).encode()
    for pairs in pairs_of_objects:
        "".join(name for name, _ in pairs).encode()
    if not isinstance(value, dict):
        return False
    names = [name for name, _ in pairs_of_objects[-1]]
    strings = all(isinstance(value.get(name), str | None) for name in ("event", *FIELDS_OF_STRINGS))
    numbers = all(
        value.get(name) is None or (type(value[name]) is int and 0 <= value[name] < 2**64) for name in FIELDS_OF_NUMBERS
    )
    tags = value.get("tags")
    tags_fit = tags is None or (isinstance(tags, dict) and all(isinstance(tag, str) for tag in tags.values()))
    return len(names) == len(set(names)) and strings and numbers and tags_fit


@given(JSON.map(json.dumps) | TEXTS.map(bytes.decode))
def test_a_sound_json_text_means_the_same_within_a_frame(text: str) -> None:
    try:
        data = checked_data(text)
    except SockudoError:
        return
    assert decode_frame(E + text.encode() + b"}").data == data


@given(TEXTS)
def test_the_verdict_agrees_with_pythons_reader(payload: bytes) -> None:
    try:
        sound = _is_sound(payload)
    except ValueError:
        sound = False
    try:
        decode_frame(payload)
    except SockudoError as refusal:
        accepted = refusal.spec is errors.EVENT_NAME_INVALID
    else:
        accepted = True
    assert accepted == sound


@given(st.binary(max_size=60) | TEXTS.flatmap(lambda text: st.binary(max_size=3).map(lambda junk: text[:-2] + junk)))
def test_any_bytes_give_a_frame_or_a_refusal_of_one_line(payload: bytes) -> None:
    text = ""
    try:
        frame = decode_frame(payload)
        data_value(frame)
    except SockudoError as refusal:
        text = refusal.text
        assert refusal.spec in (errors.MALFORMED_FRAME, errors.EVENT_NAME_INVALID)  # noqa: PT017
    assert "\n" not in text
    assert len(text) < 160
