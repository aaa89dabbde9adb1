"""Parameters of a history request, as URLs and as sockets send them (spec: history § 6 and 7.1)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sockudo import errors
from sockudo.base.stream_records import Bounds
from sockudo.errors import SockudoError
from sockudo.history import Purge, Reset
from sockudo.history.query import HistoryQuery, http_query, socket_query


def test_a_url_without_parameters_asks_for_the_newest_page() -> None:
    assert http_query({}) == HistoryQuery(None, "newest_first", None, Bounds(), False)


def test_long_names_win_over_short_ones_in_a_url() -> None:
    query = http_query({"start": "2", "start_time_ms": "1", "end": "9", "cursor": "abc"})
    assert query == HistoryQuery(cursor="abc", bounds=Bounds(None, None, 1, 9))


def test_times_may_be_before_the_epoch_and_serials_not_below_zero() -> None:
    assert http_query({"start_time_ms": "-5"}).bounds.start_time_ms == -5
    with pytest.raises(SockudoError) as refused:
        http_query({"start_serial": "-1"})
    assert refused.value.text == "start_serial must be a whole number of 0 or more"


@pytest.mark.parametrize("value", ["", "abc", "1.5", "18446744073709551616", "٣", " 1", "+1", "--1", "9" * 5000])
@pytest.mark.parametrize("name", ["limit", "start_serial", "end_serial", "start_time_ms", "end_time_ms", "start"])
def test_what_is_no_number_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(SockudoError) as refused:
        http_query({name: value})
    assert refused.value.spec is errors.HISTORY_QUERY
    assert refused.value.text.startswith(f"{name} must be a whole number")


def test_directions_of_urls_are_named_when_they_are_unknown() -> None:
    with pytest.raises(SockudoError) as refused:
        http_query({"direction": "x"})
    assert refused.value.text == (
        "Invalid direction 'x'. Accepted values: newest_first, oldest_first, backwards, forwards"
    )


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"until_attach": "maybe", "attach_serial": "1"}, "until_attach must be true or false"),
        ({"until_attach": "true"}, "until_attach needs attach_serial here"),
        ({"until_attach": "true", "attach_serial": "x"}, "attach_serial must be a whole number of 0 or more"),
    ],
)
def test_a_url_has_no_connection_to_look_the_attach_up_at(parameters: dict[str, str], text: str) -> None:
    with pytest.raises(SockudoError) as refused:
        http_query(parameters)
    assert refused.value.text == text


def test_a_socket_asks_for_a_hundred_unless_it_says() -> None:
    assert socket_query({}) == HistoryQuery(100, "newest_first", None, Bounds(), False)
    assert socket_query({"limit": 5000}).limit == 1000
    assert socket_query({"limit": 0}).limit == 0


def test_start_and_end_of_a_socket_are_serials() -> None:
    query = socket_query({"start": 2, "end": "3", "start_time_ms": "7", "end_time_ms": 8})
    assert query.bounds == Bounds(2, 3, 7, 8)
    assert socket_query({"start": 2, "start_serial": 5}).bounds.start_serial == 5


def test_nulls_are_as_good_as_absent() -> None:
    names = ("limit", "direction", "cursor", "start", "end", "until_attach", "untilAttach")
    assert socket_query(dict.fromkeys(names)) == socket_query({})


@pytest.mark.parametrize("word", ["true", "True", "1"])
def test_a_proxy_may_say_true_in_its_own_language(word: str) -> None:
    assert http_query({"until_attach": word, "attach_serial": "7"}).bounds.end_serial == 7


@pytest.mark.parametrize("name", ["until_attach", "untilAttach"])
def test_until_attach_has_two_spellings(name: str) -> None:
    assert socket_query({name: True}).until_attach
    assert not socket_query({name: False}).until_attach


@pytest.mark.parametrize("word", ["newest_first", "backwards", "reverse"])
def test_newest_first(word: str) -> None:
    assert socket_query({"direction": word}).direction == "newest_first"


@pytest.mark.parametrize("word", ["oldest_first", "forwards", "forward"])
def test_oldest_first(word: str) -> None:
    assert socket_query({"direction": word}).direction == "oldest_first"


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"direction": "NEWEST_FIRST"}, "Unsupported history direction: NEWEST_FIRST"),
        ({"direction": 5}, "Unsupported history direction: 5"),
        ({"cursor": 5}, "cursor must be a string"),
        ({"limit": "abc"}, "limit must be a whole number of 0 or more"),
        ({"limit": True}, "limit must be a whole number of 0 or more"),
        ({"limit": 1.5}, "limit must be a whole number of 0 or more"),
        ({"start": []}, "start must be a whole number of 0 or more"),
        ({"end_serial": -1}, "end_serial must be a whole number of 0 or more"),
        ({"start_time_ms": {}}, "start_time_ms must be a whole number"),
        ({"end_time_ms": 2**63}, "end_time_ms must be a whole number"),
        ({"until_attach": "yes"}, "until_attach must be true or false"),
        ({"untilAttach": 1}, "until_attach must be true or false"),
    ],
)
def test_wrong_types_are_refused_and_not_passed_over(parameters: dict[str, Any], text: str) -> None:
    with pytest.raises(SockudoError) as refused:
        socket_query(parameters)
    assert refused.value.spec is errors.HISTORY_QUERY
    assert refused.value.text == text


RESET = {"confirm_channel": "news", "confirm_operation": "reset", "reason": "bad import"}
PURGE = {"confirm_channel": "news", "confirm_operation": "purge", "reason": "retention", "mode": "all"}


def read(kind: Any, body: dict[str, Any]) -> Any:
    return msgspec.json.decode(msgspec.json.encode(body), type=kind)


@pytest.mark.parametrize(
    ("kind", "body", "changes", "text"),
    [
        (Reset, RESET, {"confirm_channel": "new"}, "confirm_channel must exactly match the channel path"),
        (Reset, RESET, {"confirm_operation": "purge"}, "confirm_operation must be 'reset'"),
        (Reset, RESET, {"reason": ""}, "reason must not be empty"),
        (Reset, RESET, {"reason": " \t"}, "reason must not be empty"),
        (Purge, PURGE, {"confirm_channel": "News"}, "confirm_channel must exactly match the channel path"),
        (Purge, PURGE, {"confirm_operation": "reset"}, "confirm_operation must be 'purge'"),
        (Purge, PURGE, {"reason": " "}, "reason must not be empty"),
        (Purge, PURGE, {"before_serial": 4}, "Purge mode 'all' does not accept bounds"),
        (Purge, PURGE, {"before_time_ms": 4}, "Purge mode 'all' does not accept bounds"),
        (Purge, PURGE, {"mode": "before_serial"}, "Purge mode 'before_serial' requires before_serial only"),
        (
            Purge,
            PURGE,
            {"mode": "before_serial", "before_serial": 1, "before_time_ms": 1},
            "Purge mode 'before_serial' requires before_serial only",
        ),
        (
            Purge,
            PURGE,
            {"mode": "before_time_ms", "before_serial": 4},
            "Purge mode 'before_time_ms' requires before_time_ms only",
        ),
    ],
)
def test_what_does_not_match_is_refused(kind: Any, body: dict[str, Any], changes: dict[str, Any], text: str) -> None:
    with pytest.raises(SockudoError) as refused:
        read(kind, body | changes).check("news")
    assert refused.value.spec is errors.INVALID_INPUT
    assert refused.value.text == text


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Reset, RESET),
        (Reset, RESET | {"requested_by": "ops", "unknown": 1}),
        (Purge, PURGE),
        (Purge, PURGE | {"before_serial": None}),
        (Purge, PURGE | {"mode": "before_serial", "before_serial": 0}),
        (Purge, PURGE | {"mode": "before_time_ms", "before_time_ms": -5}),
    ],
)
def test_what_matches_is_taken(kind: Any, body: dict[str, Any]) -> None:
    read(kind, body).check("news")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Reset, {name: value for name, value in RESET.items() if name != "reason"}),
        (Reset, RESET | {"requested_by": 5}),
        (Purge, {name: value for name, value in PURGE.items() if name != "mode"}),
        (Purge, PURGE | {"mode": "zzz"}),
        (Purge, PURGE | {"mode": "before_serial", "before_serial": "3"}),
        (Purge, PURGE | {"mode": "before_serial", "before_serial": -1}),
        (Purge, PURGE | {"mode": "before_serial", "before_serial": 2**63}),
    ],
)
def test_what_has_the_wrong_shape_cannot_be_read(kind: Any, body: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(kind, body)
