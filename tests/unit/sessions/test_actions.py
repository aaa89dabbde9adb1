"""The table of what clients may ask for: every prefix, and nothing besides."""

from __future__ import annotations

import pytest

from sockudo.protocol.formats import V2_JSON
from sockudo.sessions.actions import ACTIONS
from support.inside import Node

PREFIXES = ("pusher:", "sockudo:", "pusher_internal:", "sockudo_internal:")
V2_ONLY = ("auth", "resume", "channel_history")


def test_the_table_is_complete() -> None:
    names = {
        "ping",
        "pong",
        "subscribe",
        "unsubscribe",
        "signin",
        "enable_delta_compression",
        "delta_sync_error",
        *V2_ONLY,
    }
    expected = {prefix + name for prefix in PREFIXES for name in names}
    expected |= {"channel_history", "pusher:presence_update", "sockudo:presence_update", "ai-input", "ai-cancel"}
    assert set(ACTIONS) == expected


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_prefix_is_understood_and_answered_in_pushers(node: Node, prefix: str) -> None:
    client = node.connect()
    client.send(f"{prefix}ping")
    client.send(f"{prefix}subscribe", {"channel": "news"})
    client.send(f"{prefix}pong")
    client.send(f"{prefix}unsubscribe", {"channel": "news"})
    client.send(f"{prefix}signin", {})
    frames = client.frames()
    assert [frame["event"] for frame in frames] == [
        "pusher:pong",
        "pusher_internal:subscription_succeeded",
        "pusher:error",
    ]
    assert frames[0] == {"event": "pusher:pong"}
    assert client.session.channels == {}


@pytest.mark.parametrize(
    "event",
    [
        *(f"{prefix}{name}" for prefix in PREFIXES for name in V2_ONLY),
        "channel_history",
        "pusher:presence_update",
        "sockudo:presence_update",
    ],
)
def test_what_needs_the_other_protocol_is_refused(node: Node, event: str) -> None:
    client = node.connect()
    client.send(event, {})
    assert client.error() == (4000, f"Protocol error: {event} requires protocol V2")
    assert not client.session.ended


@pytest.mark.parametrize(
    "event",
    [
        "",
        "ping",
        "subscribe",
        "PUSHER:PING",
        "Pusher:ping",
        "pusher:Ping",
        " pusher:ping",
        "pusher:ping ",
        "pusher:",
        "pusher:error",
        "pusher:connection_established",
        "pusher_internal:subscription_succeeded",
        "pusher_internal:presence_update",
        "sockudo_internal:presence_update",
        "pusher-internal:ping",
        "auth",
        "resume",
        "ai-input",
        "ai-cancel",
        "message",
        "😀",
    ],
)
def test_any_other_name_is_ignored(node: Node, event: str) -> None:
    client = node.connect()
    client.send(event, {"channel": "news"}, "news")
    assert client.frames() == []
    assert not client.session.ended
    assert node.state.traffic.errors == {}


def test_v1_is_told_that_it_gets_no_deltas(node: Node) -> None:
    client = node.connect()
    client.send("pusher:enable_delta_compression", {"algorithms": ["fossil"]})
    assert client.frames() == [
        {"event": "pusher:delta_compression_enabled", "data": {"enabled": False, "algorithm": "fossil"}}
    ]


@pytest.mark.parametrize("name", ["pong", "delta_sync_error"])
@pytest.mark.parametrize("data", [None, {}, {"channel": "news"}, "text", [1]])
def test_what_has_no_effect_has_none_whatever_its_data(node: Node, name: str, data: object) -> None:
    client = node.connect()
    client.send(f"pusher:{name}", data)
    assert client.frames() == []


@pytest.mark.parametrize("event", ["ai-input", "ai-cancel"])
def test_events_of_ai_transport_are_refused_on_v2_and_unknown_on_v1(node: Node, event: str) -> None:
    old, new = node.connect(), node.connect(shape=V2_JSON)
    old.send(event, {}, "private-a")
    assert old.frames() == []
    new.send(event, {}, "private-a")
    [frame] = new.frames()
    assert frame["event"] == "sockudo:error"
    assert frame["data"]["code"] == 4301
    assert event in frame["data"]["message"]
    assert node.state.traffic.errors["feature_disabled"] == 1
