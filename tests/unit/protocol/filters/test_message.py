"""What expressions see of a message, and which messages predicates have no say over."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from sockudo.protocol import frames
from sockudo.protocol.filters.message import MessageView, ProjectionError, is_filterable
from sockudo.protocol.frames import Frame


def document(frame: Frame) -> dict[str, Any]:
    return MessageView(frame).document()


def failure(frame: Frame) -> str:
    view = MessageView(frame)
    reasons = []
    for _ in range(2):
        with pytest.raises(ProjectionError) as refused:
            view.document()
        reasons.append(refused.value.reason)
    assert reasons[0] == reasons[1]
    return reasons[0]


def test_everything_that_is_shown() -> None:
    frame = Frame(
        "sockudo:message.update",
        "orders-7",
        '{"total":9}',
        name="order.placed",
        user_id="u-9",
        tags={"v": "1", "a": "z"},
        message_id="m-1",
        stream_id="s-1",
        serial=33,
        extras={
            "headers": {"n": 7.5, "class": "firm", "b": True, "sockudo_action": "message.update", "sockudo_x": "1"},
            "idempotencyKey": "secret",
            "ephemeral": False,
        },
    )
    assert document(frame) == {
        "event": "sockudo:message.update",
        "channel": "orders-7",
        "name": "order.placed",
        "userId": "u-9",
        "messageId": "m-1",
        "streamId": "s-1",
        "data": {"total": 9},
        "tags": {"a": "z", "v": "1"},
        "headers": {"b": True, "class": "firm", "n": 7.5},
        "serial": 33,
        "action": "update",
    }
    assert list(document(frame)["tags"]) == ["a", "v"]


def test_absent_is_null() -> None:
    shown = document(Frame("quote"))
    assert shown.pop("event") == "quote"
    assert set(shown.values()) == {None}
    assert len(shown) == 10


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ('{"total":9}', {"total": 9}),
        (' \t\r\n[1,{"a":null}] ', [1, {"a": None}]),
        ("text", "text"),
        ("", ""),
        ("5", "5"),
        ('"quoted"', '"quoted"'),
        ("{broken", "{broken"),
        ('{"a":1} trailing', '{"a":1} trailing'),
        ('\u00a0{"a":1}', '\u00a0{"a":1}'),
        ("[1e999]", "[1e999]"),
        ("[NaN]", "[NaN]"),
        ("[" + "9" * 5000 + "]", "[" + "9" * 5000 + "]"),
        ('["\\ud800"]', '["\\ud800"]'),
        ("[" * 129 + "]" * 129, "[" * 129 + "]" * 129),
        (msgspec.Raw(b'{"total":9}'), {"total": 9}),
        (msgspec.Raw(b"[1,2]"), [1, 2]),
        (msgspec.Raw(b"5"), 5),
        (msgspec.Raw(b"null"), None),
        (msgspec.Raw(b'"text"'), "text"),
        (msgspec.Raw(b'"{\\"total\\":9}"'), {"total": 9}),
        (None, None),
    ],
)
def test_data_that_holds_an_object_or_an_array_is_shown_as_such(data: str | msgspec.Raw | None, shown: Any) -> None:
    assert document(Frame("quote", data=data))["data"] == shown


@pytest.mark.parametrize(
    ("header", "action"),
    [
        ("message.create", "create"),
        ("message.update", "update"),
        ("message.delete", "delete"),
        ("message.append", "append"),
        ("message.summary", "summary"),
        ("append", "append"),
        ("annotation.create", None),
        ("message.", None),
        (5, None),
    ],
)
def test_the_action_comes_from_the_servers_own_header(header: Any, action: str | None) -> None:
    assert document(Frame("quote", extras={"headers": {"sockudo_action": header}}))["action"] == action


@pytest.mark.parametrize("headers", [[], "x", {"a": None}, {"a": [1]}, {"a": {}}])
def test_headers_that_should_not_be_cannot_be_shown(headers: Any) -> None:
    assert failure(Frame("quote", extras={"headers": headers})) == "unprojectable"


def test_data_that_is_no_json_cannot_be_shown() -> None:
    assert failure(Frame("quote", data=msgspec.Raw(b"{"))) == "unprojectable"
    assert failure(Frame("quote", data="\ud800")) == "unprojectable"


def test_the_size_of_what_is_shown() -> None:
    rest = len(json.dumps(document(Frame("quote", data="")), separators=(",", ":")))
    fits = "x" * (65_536 - rest)
    assert document(Frame("quote", data=fits))["data"] == fits
    assert failure(Frame("quote", data=fits + "x")) == "too_large"
    # Written out, each quote takes two bytes.
    assert failure(Frame("quote", data='"' * 40_000)) == "too_large"
    assert failure(Frame("quote", data="é" * 40_000)) == "too_large"


def test_what_is_too_large_is_not_decoded() -> None:
    assert failure(Frame("quote", data=msgspec.Raw(b"{" * 65_537))) == "too_large"
    assert failure(Frame("quote", data="[" + " " * 70_000 + "]")) == "too_large"


def test_the_document_is_made_once() -> None:
    view = MessageView(Frame("quote", data='{"a":1}'))
    assert view.document() is view.document()


def test_numbers_of_tags() -> None:
    view = MessageView(Frame("quote", tags={"size": "5", "word": "x"}))
    assert [view.number(key) for key in ("size", "size", "word", "none", "none")] == [5.0, 5.0, None, None, None]


def test_frames_that_keep_member_lists_right_are_not_filtered() -> None:
    assert not is_filterable(frames.member_added("presence-a", "u1", b"{}"))
    assert not is_filterable(frames.member_removed("presence-a", "u1"))
    assert not is_filterable(frames.presence_update("presence-a", "u1", b"{}"))
    assert not is_filterable(frames.subscription_count("a", 3))


@pytest.mark.parametrize("event", ["quote", "client-q", "member_added", "pusher_internal:annotation", "pusher:x"])
def test_everything_else_is(event: str) -> None:
    assert is_filterable(Frame(event))
