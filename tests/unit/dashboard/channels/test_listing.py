"""Channels are found by what their names hold, by app and by kind, and come in the order that was asked for."""

from __future__ import annotations

import pytest

from sockudo.cluster.in_process import join_network
from sockudo.cluster.nodes import Nodes
from sockudo.cluster.router import Router
from sockudo.dashboard.channels.listing import ChannelQuery, ChannelRow, ListChannels, find_channels, own_channels
from sockudo.dashboard.paging import Paging
from sockudo.hub.view import HubView
from support.desk import LoneNode
from support.world import World


@pytest.fixture
def world() -> World:
    return World()


def nodes_of(world: World) -> Nodes:
    """What is asked of this hub alone."""
    bus, membership = join_network(lambda callback: None)
    router, view = Router(), HubView(world.hub)
    bus.attach(router)
    router.on_request(ListChannels, lambda asked: own_channels(view, asked))
    return Nodes(bus, membership, router, LoneNode(), lambda: world.time)


def subscribe(world: World, counts: dict[str, int]) -> None:
    for name, count in counts.items():
        world.subscribers(count, name)


async def names(world: World, page: int = 1, per_page: int = 100, **query: object) -> list[str]:
    found = await find_channels(nodes_of(world), ChannelQuery(**query), Paging("", page, per_page))  # type: ignore[arg-type]
    return [row.channel for row in found.entries]


async def test_names_are_searched_in_both_cases_and_anywhere(world: World) -> None:
    subscribe(world, {"private-news": 1, "News-en": 1, "weather": 1})
    assert await names(world, text="news") == ["News-en", "private-news"]
    assert await names(world, text="NEWS", match="prefix") == ["News-en"]
    assert await names(world, text="nothing") == []
    assert await names(world) == ["News-en", "private-news", "weather"]


async def test_kinds_are_told_apart_and_patterns_and_metachannels_are_found(world: World) -> None:
    subscribe(world, {"news": 1, "private-a": 1, "private-cache-a": 1, "[meta]news": 1, "new*": 1})
    assert await names(world, kind="private") == ["private-a"]
    assert await names(world, kind="meta") == ["[meta]news"]
    assert await names(world, kind="wildcard") == ["new*"]
    assert await names(world, kind="presence") == []


async def test_apps_are_told_apart(world: World) -> None:
    subscribe(world, {"news": 1})
    other = World()
    other.hub = world.hub
    other.app = world.hub.app("other")
    subscribe(other, {"news": 1, "weather": 1})
    assert await names(world, app_id="app") == ["news"]
    assert await names(world, app_id="other") == ["news", "weather"]
    assert await names(world, app_id="third") == []
    found = await find_channels(nodes_of(world), ChannelQuery(), Paging("", 1, 10))
    assert [(row.channel, row.app_id) for row in found.entries] == [
        ("news", "app"),
        ("news", "other"),
        ("weather", "other"),
    ]


async def test_the_most_subscribed_and_the_fullest_come_first(world: World) -> None:
    subscribe(world, {"a": 1, "b": 3, "c": 2, "d": 3})
    for number in range(3):
        connection, _ = world.connect()
        world.hub.join(connection, "presence-x", f"user-{number % 2}", b"{}")
    assert await names(world, sort="subscriptions") == ["b", "d", "presence-x", "c", "a"]
    assert await names(world, sort="users") == ["presence-x", "a", "b", "c", "d"]
    found = await find_channels(nodes_of(world), ChannelQuery(sort="users"), Paging("", 1, 1))
    assert found.entries == [ChannelRow("app", "presence-x", "presence", 3, 2)]
    assert found.total == 5


@pytest.mark.parametrize("sort", ["name", "subscriptions", "users"])
async def test_pages_are_complete_and_repeat_nothing(world: World, sort: str) -> None:
    subscribe(world, {f"channel-{number:04}": 1 + number % 3 for number in range(1234)})
    seen: list[str] = []
    for page in range(1, 14):
        seen += await names(world, page, sort=sort)
    assert len(seen) == len(set(seen)) == 1234
    assert await names(world, 14, sort=sort) == []
