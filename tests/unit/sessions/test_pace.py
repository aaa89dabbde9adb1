"""How often a client gets appends to a message (spec: messages § 11)."""

from __future__ import annotations

import pytest

from sockudo import errors
from sockudo.apps.resolve import Defaults
from sockudo.config import Settings
from sockudo.config.schema import build
from sockudo.protocol.formats import V1_JSON, V2_JSON, Format
from sockudo.protocol.frames import Frame
from sockudo.protocol.names import META, ChannelKind, channel_kind
from sockudo.sessions.deltas import wants_of
from sockudo.sessions.sweeper import check
from support.inside import Client, Node, live_app


def changing_node(window: int = 0, *, changing: bool = True) -> Node:
    settings: Settings = build(
        {
            "history.enabled": True,
            "versioned_messages.enabled": changing,
            "versioned_messages.append_rollup_window_ms": window,
        }
    )
    return Node(live_app(defaults=Defaults.from_settings(settings)), settings=settings)


def client_of(node: Node, pace: int | None = None, shape: Format = V2_JSON) -> Client:
    client = node.connect(shape=shape)
    if client.session.v2 is not None:
        client.session.v2.pace = pace
    return client


def pace_of(client: Client, name: str, kind: ChannelKind | None = None) -> int:
    return wants_of(client.session, name, kind or channel_kind(name), None).pace


@pytest.mark.parametrize(("server", "asked", "pace"), [(0, None, 0), (40, None, 40), (40, 0, 0), (0, 100, 100)])
def test_the_client_says_and_else_the_server(server: int, asked: int | None, pace: int) -> None:
    assert pace_of(client_of(changing_node(server), asked), "news") == pace


def test_only_where_messages_can_change() -> None:
    client = client_of(changing_node(), 40)
    assert [pace_of(client, name) for name in ("news", "new*", "#server-to-user-u")] == [40, 40, 0]
    assert pace_of(client, "[meta]news", META) == 0
    assert pace_of(client_of(changing_node(), 40, V1_JSON), "news") == 0
    assert pace_of(client_of(changing_node(changing=False), 40), "news") == 0


def joined(node: Node, *names: str, pace: int | None = None) -> Client:
    client = client_of(node, pace)
    for name in names:
        node.hub.subscribe(client.session, name, wants_of(client.session, name, channel_kind(name), None))
    return client


def paces(client: Client) -> list[int]:
    return [fanout.wants.pace for fanout in client.session.channels.values()]


def test_who_reads_too_slowly_gets_them_less_often_until_it_keeps_up() -> None:
    node = changing_node()
    client = joined(node, "news", "new*", "#server-to-user-u")
    frame = Frame("sockudo:message.append", "news", "a", stream_id="log", serial=1)
    node.hub.publish_change(node.state, frame, None)
    client.session.pause()
    assert paces(client) == [0, 0, 0]
    node.settle()
    assert paces(client) == [100, 100, 0]
    assert client.events() == ["sockudo:message.append"]
    check(client.session, node.clock.monotonic())
    assert paces(client) == [100, 100, 0]
    client.session.resume()
    assert paces(client) == [100, 100, 0]
    check(client.session, node.clock.monotonic())
    assert paces(client) == [0, 0, 0]


def test_nothing_becomes_more_often_by_it() -> None:
    node = changing_node()
    client = joined(node, "news", pace=500)
    client.session.pause()
    node.settle()
    assert paces(client) == [500]


def test_who_is_gone_is_left_alone() -> None:
    node = changing_node()
    client = joined(node, "news")
    client.session.pause()
    client.session.end(errors.APP_DISABLED())
    node.settle()
    assert paces(client) == []
