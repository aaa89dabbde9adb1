"""The events as JSON, field by field (spec: platform § 5.3)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sockudo.webhooks import events
from sockudo.webhooks.records import Event

CASES: dict[str, tuple[Event, dict[str, Any]]] = {
    "channel_occupied": (events.channel_event("channel_occupied", "room", 5), {"channel": "room"}),
    "channel_vacated": (events.channel_event("channel_vacated", "room", 5), {"channel": "room"}),
    "member_added": (
        events.member_event("member_added", "presence-x", "u", 5),
        {"channel": "presence-x", "user_id": "u"},
    ),
    "member_removed": (
        events.member_event("member_removed", "presence-x", "u", 5),
        {"channel": "presence-x", "user_id": "u"},
    ),
    "member_updated": (
        events.member_event("member_updated", "presence-x", "u", 5, b'{"a": [1, null]}'),
        {"channel": "presence-x", "user_id": "u", "user_info": {"a": [1, None]}},
    ),
    "cache_miss": (events.cache_miss("cache-x", 5), {"channel": "cache-x", "data": "{}"}),
    "subscription_count": (events.subscription_count("room", 0, 5), {"channel": "room", "subscription_count": 0}),
    "user_online": (events.user_event("user_online", "u", 5), {"channel": "#server-to-user-u", "user_id": "u"}),
    "user_offline": (events.user_event("user_offline", "u", 5), {"channel": "#server-to-user-u", "user_id": "u"}),
}


@pytest.mark.parametrize("name", CASES)
def test_shapes(name: str) -> None:
    event, fields = CASES[name]
    assert (event.name, event.channel, event.time_ms) == (name, fields["channel"], 5)
    assert msgspec.json.decode(event.body) == {"name": name, **fields}


def test_a_member_without_information_is_told_as_null() -> None:
    event = events.member_event("member_updated", "presence-x", "u", 5, None)
    assert msgspec.json.decode(event.body)["user_info"] is None


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b'"text"', "text"),
        (b'"{\\"a\\":1}"', '{"a":1}'),
        (b'{"a": 1}', '{"a": 1}'),
        (b"[1,2]", "[1,2]"),
        (b"null", "null"),
        (b"true", "true"),
        (b"1.50", "1.50"),
        (b'""', ""),
        ('"ä\\u0000"'.encode(), "ä\0"),
    ],
)
def test_what_a_client_said_is_always_text(data: bytes, told: str) -> None:
    event = events.client_event("private-x", "client-y", data, "1.2", None, 5)
    body = msgspec.json.decode(event.body)
    assert body == {
        "name": "client_event",
        "channel": "private-x",
        "event": "client-y",
        "data": told,
        "socket_id": "1.2",
    }


def test_the_user_is_named_where_there_is_one() -> None:
    event = events.client_event("presence-x", "client-y", b"{}", "1.2", "ana", 5)
    assert msgspec.json.decode(event.body)["user_id"] == "ana"


def test_names_with_quotes_and_controls_stay_within_their_strings() -> None:
    name = 'a"},{"name":"b\\\n\x01</script>'
    assert msgspec.json.decode(events.channel_event("channel_occupied", name, 5).body)["channel"] == name
