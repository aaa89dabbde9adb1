"""What a channel's page says of it, and its lists."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sockudo import errors
from sockudo.dashboard.channels.detail import TestEvent, channel_view, members, publish, subscribers
from sockudo.dashboard.paging import Paging
from sockudo.errors import SockudoError
from support.desk import board_of, nodes_of
from support.edge import EdgeNode
from support.inside import live_app


def paging(page: int = 1, per_page: int = 50) -> Paging:
    return Paging("", page, per_page)


@pytest.fixture
def node() -> EdgeNode:
    return EdgeNode()


async def test_a_channel_that_nobody_is_subscribed_to(node: EdgeNode) -> None:
    view = await channel_view(board_of(node), node.app, "presence-cache-x")
    assert (view.kind, view.occupied, view.subscription_count, view.user_count) == ("presence-cache", False, 0, 0)
    assert (view.caches, view.cache, view.refused, view.history) == (True, None, None, False)
    for listed in (subscribers, members):
        assert (await listed(nodes_of(node), "app", "x", paging())).total == 0


@pytest.mark.parametrize(
    ("name", "kind", "refused"),
    [
        ("#server-to-user-bob", "server-to-user", None),
        ("[meta]news", "meta", None),
        ("new*", "wildcard", None),
        ("private-encrypted-x", "private-encrypted", None),
        ("a b", "public", "invalid characters"),
        ("private-*", "wildcard", "only supported for public"),
        ("x" * 201, "public", "too long"),
        ("[meta]a/b", "meta", "invalid characters"),
    ],
)
async def test_names_that_nobody_can_subscribe_to_are_told(
    node: EdgeNode, name: str, kind: str, refused: str | None
) -> None:
    view = await channel_view(board_of(node), node.app, name)
    assert view.kind == kind
    assert view.user_id == ("bob" if kind == "server-to-user" else None)
    if refused is None:
        assert view.refused is None
    else:
        assert refused in (view.refused or "")


async def test_the_cached_event_is_shown_with_its_rest_of_life(node: EdgeNode) -> None:
    await publish(board_of(node), node.app, "cache-x", TestEvent("ev", "<b>"))
    node.clock.advance(100)
    cached = (await channel_view(board_of(node), node.app, "cache-x")).cache
    assert cached is not None
    assert (cached.event, cached.data, cached.expires_in_seconds) == ("ev", "<b>", 3500)


async def test_members_and_subscribers_come_in_pages(node: EdgeNode) -> None:
    for number in range(25):
        client = node.connect()
        client.subscribe("presence-x", {"user_id": f"user-{number}", "user_info": {"n": number}})
    for _ in range(30):
        node.connect().subscribe("presence-x", {"user_id": "user-3"})
    place = (nodes_of(node), "app", "presence-x")
    seen = [row for page in (1, 2, 3) for row in (await members(*place, paging(page, 10))).entries]
    assert [row.user_id for row in seen] == [f"user-{number}" for number in range(25)]
    assert (seen[3].connection_count, len(seen[3].socket_ids), seen[3].lost) == (31, 20, False)
    assert msgspec.json.decode(seen[4].user_info) == {"n": 4}
    sockets = [row.socket_id for page in (1, 2) for row in (await subscribers(*place, paging(page, 40))).entries]
    assert len(sockets) == len(set(sockets)) == 55
    assert (await subscribers(*place, paging(3, 40))).entries == []
    assert (await subscribers(*place, paging(1, 1))).entries[0].user_id == "user-0"


@pytest.mark.parametrize(
    ("event", "channel", "spec"),
    [
        ({"name": "x" * 201, "data": ""}, "news", errors.LIMIT_EXCEEDED),
        ({"name": "ev", "data": "x" * 200_000}, "news", errors.EVENT_TOO_LARGE),
        ({"name": "ev", "data": ""}, "a b", errors.CHANNEL_NAME),
        ({"name": "ev", "data": ""}, "[meta]news", errors.CHANNEL_NAME),
        ({"name": "ai-output", "data": ""}, "news", errors.AI_EVENT_NOT_PERMITTED),
    ],
)
async def test_a_test_event_is_checked_like_any_other(
    node: EdgeNode, event: dict[str, Any], channel: str, spec: errors.ErrorSpec
) -> None:
    with pytest.raises(SockudoError) as refusal:
        await publish(board_of(node), node.app, channel, TestEvent(**event))
    assert refusal.value.spec is spec


async def test_a_disabled_app_publishes_nothing() -> None:
    app = live_app("off", enabled=False)
    node = EdgeNode(app)
    with pytest.raises(SockudoError) as refusal:
        await publish(board_of(node), app, "news", TestEvent("ev", ""))
    assert refusal.value.spec is errors.APP_DISABLED
