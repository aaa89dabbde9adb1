"""Versions as frames and as items (spec: messages § 5, 7 and 9)."""

from __future__ import annotations

from typing import Any

import msgspec

from sockudo.base.message_records import Latest, Version
from sockudo.base.stream_records import Position
from sockudo.history.message_frames import change_frame, for_v1, item_of, message_of, version_frame
from sockudo.hub.streams.versions import with_data
from sockudo.protocol.frames import Frame

PLACE = Position("stream", 9)
HEADERS = {
    "sockudo_message_serial": "m",
    "sockudo_version_serial": "v",
    "sockudo_history_serial": 3,
    "sockudo_version_timestamp_ms": 1000,
}


def a_version(action: Any = "append", data: Any = "text", **fields: Any) -> Version:
    about = {"name": "said", "message_id": "id", "tags": {"t": "1"}, **fields}
    return with_data(Version(action, "m", "v", 1000, 3, **about), data)


def test_a_change_has_an_id_of_its_own_and_no_tags() -> None:
    extras = {"a": 1, "headers": {"k": "v"}}
    version = a_version(extras=extras, user_id="maker", client_id="changer", description="why")
    shown = {"a": 1, "headers": {"k": "v", "sockudo_action": "message.append", **HEADERS}}
    due = Frame("sockudo:message.append", "room", "text", "said", "changer", None, "v", "stream", 9, shown)
    assert change_frame("room", version, PLACE) == due
    assert version_frame("room", version, PLACE) == due
    assert extras == {"a": 1, "headers": {"k": "v"}}
    assert change_frame("room", a_version(user_id="maker"), PLACE).user_id == "maker"


def test_a_create_is_what_was_published_and_read_later_under_another_name() -> None:
    version = a_version("create", user_id="maker")
    live, later = version_frame("room", version, PLACE), change_frame("room", version, PLACE)
    assert (live.event, live.name, live.tags, live.message_id) == ("said", None, {"t": "1"}, "id")
    assert (later.event, later.name, later.tags, later.message_id) == ("sockudo:message.create", "said", None, "id")
    assert live.extras == later.extras
    assert (message_of(live), message_of(Frame("said", extras={"headers": {"k": "v"}})), message_of(Frame("x"))) == (
        "m",
        None,
        None,
    )


def test_clients_on_v1_get_creates_alone() -> None:
    frames = [change_frame("room", a_version(action), PLACE) for action in ("create", "append", "update", "delete")]
    assert [(each.event, each.name) for each in for_v1([*frames, Frame("plain")])] == [("said", None), ("plain", None)]


def test_an_item_leaves_out_what_is_not_there() -> None:
    item = item_of("room", Latest(9, a_version("delete", None, name=None)))
    assert item == {
        "event": "sockudo:message.delete",
        "channel": "room",
        "serial": 9,
        "extras": {"headers": {"sockudo_action": "message.delete", **HEADERS}},
        "action": "delete",
        "message_serial": "m",
        "history_serial": 3,
        "delivery_serial": 9,
        "version": {"serial": "v", "timestamp_ms": 1000},
    }
    full = item_of("room", Latest(9, a_version(description="why", metadata=msgspec.Raw(b"[1]"), client_id="u")))
    assert msgspec.json.decode(msgspec.json.encode(full["version"])) == {
        "serial": "v",
        "client_id": "u",
        "timestamp_ms": 1000,
        "description": "why",
        "metadata": [1],
    }
