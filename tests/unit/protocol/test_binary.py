"""What the binary formats share: kinds of data, and what of extras finds a place."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.protocol.binary import (
    KnownExtras,
    binary_data,
    inbound_frame,
    kind_and_text,
    known_extras,
    string_data,
    structured_data,
)
from sockudo.protocol.inbound import InboundFrame


@pytest.mark.parametrize(
    ("data", "pair"),
    [
        ("", ("string", "")),
        ('{"a":1}', ("string", '{"a":1}')),
        (b'{"a":"\\u00e9"}', ("json", '{"a":"\\u00e9"}')),
        (b"[1]", ("json", "[1]")),
        (b"null", ("json", "null")),
        (b"1.50", ("json", "1.50")),
        ('"ü"'.encode(), ("string", "ü")),
        (b' "\\u00fc\\"" ', ("string", 'ü"')),
    ],
)
def test_outbound_data_has_a_kind(data: str | bytes, pair: tuple[str, str]) -> None:
    assert kind_and_text(data if isinstance(data, str) else msgspec.Raw(data)) == pair


def test_every_known_key_of_extras_is_kept() -> None:
    extras = {
        "headers": {"s": "x", "n": 7, "f": 0.5, "b": True},
        "ephemeral": False,
        "idempotencyKey": "ik",
        "echo": True,
        "ai": {"transport": {"a": "1"}, "codec": {"b": "2"}},
        "push": {"title": "x"},
        "other": [1],
    }
    known = known_extras(extras)
    assert known == KnownExtras({"s": "x", "n": 7.0, "f": 0.5, "b": True}, False, "ik", True, {"a": "1"}, {"b": "2"})
    assert isinstance(known.headers["n"], float)
    assert known_extras({"idempotency_key": "ik"}) == KnownExtras({}, None, "ik", None, {}, {})


@pytest.mark.parametrize(
    "extras",
    [
        {},
        {"push": {}, "other": 1},
        {"headers": {}, "ai": {}},
        {"headers": {"a": None, "b": [1], "c": {}, "d": 10**400}},
        {"headers": "x", "ephemeral": "true", "idempotencyKey": 1, "echo": 0, "ai": ["x"]},
        {"ai": {"transport": {"a": 1}, "codec": None}},
        {"ephemeral": None, "echo": None, "idempotencyKey": None},
    ],
)
def test_extras_without_anything_representable_are_absent(extras: dict[str, Any]) -> None:
    assert known_extras(extras) is None


def test_inbound_kinds_become_json_text() -> None:
    assert string_data('a"é\n') == '"a\\"é\\n"'.encode()
    assert binary_data(b"\x00\x01\xff") == b"[0,1,255]"
    assert binary_data(b"") == b"[]"


def test_structured_data_is_an_object_of_what_is_there() -> None:
    named = {"channel_data": '{"user_id":"u"}', "channel": "presence-x", "user_data": None}
    assert structured_data(named, {"auth": '"k:s"', "n": " 1.50 ", "none": "null"}) == (
        b'{"auth":"k:s","n":1.50,"none":null,"channel_data":"{\\"user_id\\":\\"u\\"}","channel":"presence-x"}'
    )
    assert structured_data({}, {}) == b"{}"


def test_a_named_string_of_structured_data_wins_over_an_extra_one() -> None:
    assert structured_data({"channel": "a"}, {"channel": '"b"', "x": "1"}) == b'{"channel":"a","x":1}'


@pytest.mark.parametrize(
    "value", ["", "x", '1,"channel":"other"', "1}", '"', "[1", "NaN", "1e999", "[" * 127 + "]" * 127]
)
def test_an_extra_value_is_one_sound_json_text(value: str) -> None:
    with pytest.raises(SockudoError, match=r"of the JSON text in data$") as refusal:
        structured_data({}, {"a": value})
    assert refusal.value.spec is errors.MALFORMED_FRAME


def test_an_inbound_frame_needs_an_event() -> None:
    assert inbound_frame("", None, b"1") == InboundFrame("", None, b"1")
    with pytest.raises(SockudoError, match=r"^Invalid event name: Event name is required$") as refusal:
        inbound_frame(None, "c", b"1")
    assert refusal.value.spec is errors.EVENT_NAME_INVALID
