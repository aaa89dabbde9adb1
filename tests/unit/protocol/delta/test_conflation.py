"""Where the conflation key of a message is found, and what can be one (spec: filters-deltas § 2.7)."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from sockudo.protocol.delta.conflation import key_reader
from sockudo.protocol.frames import Frame


def key(path: str | None, data: Any = None, **fields: Any) -> str | None:
    """The key of a message whose ``data`` is the JSON text of an object, as HTTP publishes it, or a string."""
    text = data if isinstance(data, str | msgspec.Raw | None) else json.dumps(data)
    return key_reader(path)(Frame("quote", "fx:desk", text, **fields))


def test_without_a_path_nothing_has_a_key() -> None:
    assert key(None, {"symbol": "EURUSD"}) is None
    assert key("", {"": "x"}) is None


def test_a_single_name_is_looked_up_in_the_data() -> None:
    assert key("symbol", {"symbol": "EURUSD", "bid": 1.08}) == "EURUSD"
    assert key("symbol", msgspec.Raw(b'{"symbol":"EURUSD"}')) == "EURUSD"


def test_a_path_of_several_names_starts_at_the_frame() -> None:
    data = {"instrument": {"symbol": "EURUSD"}}
    assert key("data.instrument.symbol", data) == "EURUSD"
    assert key("data.instrument.symbol", msgspec.Raw(json.dumps(data).encode())) == "EURUSD"
    assert key("instrument.symbol", data) is None
    assert key("tags.venue", {}, tags={"venue": "ldn"}) == "ldn"
    assert key("tags.venue", {"tags": {"venue": "nyc"}}) is None
    assert key("extras.headers.desk", {}, extras={"headers": {"desk": 7}}) == "7"


def test_names_of_the_frame_win() -> None:
    data = {"event": "in data", "name": "in data", "serial": "in data", "user_id": "in data"}
    assert key("event", data) == "quote"
    assert key("serial", data, serial=41) == "41"
    assert key("name", data, name="given") == "given"
    assert key("name", data) == "in data"
    assert key("user_id", data) == "in data"
    assert key("data", "plain text") == "plain text"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("EURUSD", "EURUSD"),
        ('"quoted" \\ \n', '"quoted" \\ \n'),
        ("é" * 128, "é" * 128),
        (5, "5"),
        (-0, "0"),
        (10**30, "1" + "0" * 30),
        (1.0, "1.0"),
        (98.6, "98.6"),
        (1e-7, "1e-7"),
        (True, "true"),
        (False, "false"),
    ],
)
def test_strings_numbers_and_booleans_are_keys(value: Any, text: str) -> None:
    assert key("k", {"k": value}) == text
    assert key("data.k", {"k": value}) == text
    assert key("extras.k", {}, extras={"k": value}) == text


@pytest.mark.parametrize("value", ["", None, [], ["x"], {}, {"k": "x"}, "x" * 257, "é" * 129])
def test_nothing_else_is(value: Any) -> None:
    assert key("k", {"k": value}) is None
    assert key("data.k", {"k": value}) is None
    assert key("extras.k", {}, extras={"k": value}) is None


@pytest.mark.parametrize(
    "data",
    [
        None,
        "",
        "text",
        "[1]",
        '{"k"',
        '{"k":1e999}',
        '{"k":"x"} trailing',
        '"{}"',
        "5",
        "null",
        '{"k":' + "9" * 5000 + "}",
        '{"other":"x"}',
        '{"deep":' + "[" * 100_000 + "]" * 100_000 + ',"k":"x"}',
    ],
)
def test_data_without_the_name_or_that_cannot_be_read_has_no_key(data: str | None) -> None:
    assert key("k", data) is None
    assert key("data.k", data) is None
    assert key("data.k.further", data) is None


def test_a_path_that_leads_through_something_else_than_objects() -> None:
    assert key("data.a.b", {"a": "text"}) is None
    assert key("data.a.b", {"a": None}) is None
    assert key("data.a.b", {"a": ["b"]}) is None
    assert key("channel.x", {}) is None
    assert key("tags.a.b", {}, tags={"a": "x"}) is None
    assert key("tags.a", {}) is None
    assert key("data..a", {"": {"a": "x"}}) == "x"


def test_a_key_given_by_the_publisher_comes_first() -> None:
    given = {"delta": {"conflation_key": "given"}}
    assert key(None, {}, extras=given) == "given"
    assert key("symbol", {"symbol": "EURUSD"}, extras=given) == "given"
    for other in ({"delta": {"conflation_key": ""}}, {"delta": {"conflation_key": 5}}, {"delta": "x"}, {}):
        assert key("symbol", {"symbol": "EURUSD"}, extras=other) == "EURUSD"
