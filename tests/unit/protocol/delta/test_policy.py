"""Who gets deltas, in which format, of which frames (spec: filters-deltas § 2.2 to 2.4)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sockudo.protocol.delta.policy import (
    MAX_FRAME,
    DeltaRequest,
    choose_algorithm,
    has_one_base,
    is_eligible,
    poisons_bases,
    read_algorithms,
    read_request,
    usable_algorithms,
    wants_deltas,
)
from sockudo.protocol.delta.settings import INHERITED, Algorithm, ChannelDelta, DeltaOptions
from sockudo.protocol.frames import Frame

FOSSIL, XDELTA3 = Algorithm.FOSSIL, Algorithm.XDELTA3
OPTIONS = DeltaOptions()


@pytest.mark.parametrize(
    ("value", "request_"),
    [
        (True, DeltaRequest(True)),
        (False, DeltaRequest(False)),
        ("fossil", DeltaRequest(True, FOSSIL)),
        ("Fossil", DeltaRequest(True, FOSSIL)),
        ("xdelta3", DeltaRequest(True, XDELTA3)),
        ("XDelta3", DeltaRequest(True, XDELTA3)),
        ("vcdiff", DeltaRequest(True, XDELTA3)),
        ("VCDIFF", DeltaRequest(True, XDELTA3)),
        ("disabled", DeltaRequest(False)),
        ("false", DeltaRequest(False)),
        ("none", DeltaRequest(False)),
        ("None", DeltaRequest(False)),
        ("whatever", DeltaRequest(True)),
        ("", DeltaRequest(True)),
        ({}, DeltaRequest(True)),
        ({"enabled": True}, DeltaRequest(True)),
        ({"enabled": False}, DeltaRequest(False)),
        ({"enabled": None}, DeltaRequest(True)),
        ({"algorithm": "vcdiff"}, DeltaRequest(True, XDELTA3)),
        ({"enabled": True, "algorithm": "Fossil"}, DeltaRequest(True, FOSSIL)),
        ({"enabled": False, "algorithm": "fossil"}, DeltaRequest(False, FOSSIL)),
        ({"algorithm": "brotli"}, DeltaRequest(True)),
        ({"algorithm": 5}, DeltaRequest(True)),
        (5, None),
        (0, None),
        (1.5, None),
        ([], None),
        (["fossil"], None),
        (None, None),
    ],
)
def test_what_a_subscription_asks_for(value: Any, request_: DeltaRequest | None) -> None:
    assert read_request(value) == request_


@pytest.mark.parametrize(
    ("data", "listed"),
    [
        ({"algorithms": ["fossil", "xdelta3"]}, {FOSSIL, XDELTA3}),
        ({"algorithms": ["vcdiff"]}, {XDELTA3}),
        ({"algorithms": ["FOSSIL", "brotli", 5, None, {}]}, {FOSSIL}),
        ({"algorithms": ["brotli"]}, set()),
        ({"algorithms": []}, set()),
        ({"algorithms": "fossil"}, set()),
        ({"algorithms": None}, set()),
        ({"algorithms": {"fossil": 1}}, set()),
        ({"algorithms": ["x"] * 100_000}, set()),
        ({}, set()),
        ("fossil", set()),
        ([], set()),
        (5, set()),
        (None, set()),
    ],
)
def test_what_a_connection_lists(data: Any, listed: set[Algorithm]) -> None:
    assert read_algorithms(data) == listed


def test_the_subscription_is_asked_first_then_the_channel_then_the_server() -> None:
    channel = ChannelDelta(algorithm=XDELTA3)
    assert choose_algorithm(OPTIONS, INHERITED) is FOSSIL
    assert choose_algorithm(replace(OPTIONS, algorithm=XDELTA3), INHERITED) is XDELTA3
    assert choose_algorithm(OPTIONS, channel) is XDELTA3
    assert choose_algorithm(OPTIONS, channel, DeltaRequest(True)) is XDELTA3
    assert choose_algorithm(OPTIONS, channel, DeltaRequest(True, FOSSIL)) is FOSSIL


def test_what_the_connection_did_not_list_is_not_chosen() -> None:
    request = DeltaRequest(True, FOSSIL)
    assert choose_algorithm(OPTIONS, INHERITED, request, frozenset((XDELTA3,))) is XDELTA3
    assert choose_algorithm(OPTIONS, ChannelDelta(algorithm=XDELTA3), request, frozenset((FOSSIL,))) is FOSSIL
    assert choose_algorithm(OPTIONS, INHERITED, request, frozenset((FOSSIL, XDELTA3))) is FOSSIL
    assert choose_algorithm(OPTIONS, INHERITED, request, frozenset()) is None
    assert usable_algorithms() == usable_algorithms(frozenset()) == {FOSSIL, XDELTA3}


@pytest.mark.parametrize("client", ["python", "swift"])
def test_clients_that_cannot_read_fossil_get_vcdiff_or_nothing(client: str) -> None:
    request = DeltaRequest(True, FOSSIL)
    assert usable_algorithms(client=client) == usable_algorithms(frozenset((FOSSIL, XDELTA3)), client) == {XDELTA3}
    assert usable_algorithms(frozenset((FOSSIL,)), client) == frozenset()
    assert choose_algorithm(OPTIONS, INHERITED, request, frozenset((XDELTA3,))) is XDELTA3
    options = replace(OPTIONS, omit_delta_algorithm=True)
    assert choose_algorithm(options, INHERITED, None, frozenset((XDELTA3,))) is None


def test_a_client_that_loses_every_delta_gets_none() -> None:
    for version in ("2.2.0", "2", "2.0"):
        assert usable_algorithms(client="python", version=version) == frozenset()
    for version in (None, "", "0.1.0", "20.1", "3.0"):
        assert usable_algorithms(client="python", version=version) == {XDELTA3}
    assert usable_algorithms(client="js", version="2.2.0") == {FOSSIL, XDELTA3}


@pytest.mark.parametrize(
    ("client", "ways"),
    [
        ("js", ["json", "msgpack"]),
        ("kotlin", ["json", "json*", "msgpack", "msgpack*", "protobuf", "protobuf*"]),
        ("flutter", ["json", "json*", "msgpack", "msgpack*"]),
        ("swift", ["json", "json*"]),
        ("csharp", ["json"]),
        ("other", ["json", "json*", "msgpack", "msgpack*", "protobuf", "protobuf*"]),
        ("", ["json", "json*", "msgpack", "msgpack*", "protobuf", "protobuf*"]),
        (None, ["json", "json*", "msgpack", "msgpack*", "protobuf", "protobuf*"]),
    ],
)
def test_the_ways_by_which_a_client_can_follow(client: str | None, ways: list[str]) -> None:
    """By format, and with a star for what comes by a pattern: that needs both."""
    found = [
        wire + "*" * by_pattern
        for wire in ("json", "msgpack", "protobuf")
        for by_pattern in (False, True)
        if usable_algorithms(client=client, version="1.0", wire=wire, by_pattern=by_pattern)
    ]
    assert found == ways


def test_one_base_is_for_the_library_that_keeps_no_other() -> None:
    for client in ("js", "csharp", "kotlin", "swift", "Python", "", None):
        assert not has_one_base(client)
    assert has_one_base("python")


def test_frames_that_do_not_name_their_format_have_the_servers() -> None:
    options = replace(OPTIONS, omit_delta_algorithm=True)
    channel = ChannelDelta(algorithm=XDELTA3)
    assert choose_algorithm(options, channel, DeltaRequest(True, XDELTA3)) is FOSSIL
    assert choose_algorithm(options, channel, None, frozenset((XDELTA3,))) is None


@pytest.mark.parametrize(
    ("request_", "connection_enabled", "wanted"),
    [
        (None, False, False),
        (None, True, True),
        (DeltaRequest(True), False, True),
        (DeltaRequest(True), True, True),
        (DeltaRequest(False), False, False),
        (DeltaRequest(False), True, False),
    ],
)
def test_the_subscription_decides_and_otherwise_the_connection(
    request_: DeltaRequest | None, connection_enabled: bool, wanted: bool
) -> None:
    def decided(name: str = "fx:desk", options: DeltaOptions = OPTIONS, channel: ChannelDelta = INHERITED) -> bool:
        return wants_deltas(options, name, channel, request_, connection_enabled=connection_enabled)

    assert decided() is wanted
    assert decided("private-encrypt") is wanted
    assert decided("private-encrypted-x") is False
    assert decided("private-encrypted-cache-x") is False
    assert decided(channel=ChannelDelta(enabled=False)) is False
    assert decided(options=replace(OPTIONS, enabled=False)) is False


TEXT = b'{"event":"quote","channel":"fx:desk","data":"' + b"x" * 100 + b'"}'


@pytest.mark.parametrize("event", ["quote", "client", "sockudo", "pusher-x", "sockud:o", "Pusher:x"])
def test_ordinary_events_carry_metadata(event: str) -> None:
    assert is_eligible(Frame(event, "fx:desk", "x"), TEXT, OPTIONS)


@pytest.mark.parametrize(
    "event",
    [
        "sockudo:message.update",
        "sockudo_internal:annotation",
        "pusher:cache_miss",
        "pusher_internal:member_added",
        "client-typing",
    ],
)
def test_platform_internal_and_client_events_do_not(event: str) -> None:
    assert not is_eligible(Frame(event, "fx:desk", "x"), TEXT, OPTIONS)


def test_frames_that_are_too_small_or_too_large_do_not() -> None:
    frame = Frame("quote", "fx:desk", "x")
    assert is_eligible(frame, bytes(100), OPTIONS)
    assert not is_eligible(frame, bytes(99), OPTIONS)
    assert is_eligible(frame, b"", replace(OPTIONS, min_message_size=0))
    assert is_eligible(frame, bytes(MAX_FRAME), OPTIONS)
    assert not is_eligible(frame, bytes(MAX_FRAME + 1), OPTIONS)


def test_frames_that_look_as_if_they_had_metadata_do_not() -> None:
    frame = Frame("quote", "fx:desk", "x")
    marked = {
        "__delta_seq": TEXT[:-1] + b',"tags":{"__delta_seq":"5"}}',
        "__conflation_key": b"{}" * 50 + b"__conflation_key",
    }
    for text in marked.values():
        assert not is_eligible(frame, text, OPTIONS)
    assert poisons_bases(marked["__delta_seq"])
    assert not poisons_bases(marked["__conflation_key"])
    assert not poisons_bases(TEXT)
