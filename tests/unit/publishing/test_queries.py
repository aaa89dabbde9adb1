"""What a backend may ask: occupied channels, one channel, members of a presence channel."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sockudo import errors
from sockudo.base.tasks import without_waiting
from sockudo.errors import ErrorSpec, SockudoError
from sockudo.hub import HubOptions
from sockudo.protocol.frames import Frame
from sockudo.publishing import channel_state, channel_users, list_channels
from support.inside import Node


@pytest.fixture
def node() -> Node:
    return Node()


def subscribe(node: Node, channel: str, count: int = 1) -> None:
    for _ in range(count):
        node.hub.subscribe(node.connect().session, channel)


def join(node: Node, channel: str, *users: str) -> None:
    for user in users:
        node.hub.join(node.connect().session, channel, user, b"{}")


def listed(node: Node, prefix: str = "", info: str | None = None) -> Any:
    reply = without_waiting(list_channels(node.cluster_directory, node.app, prefix, info))
    assert list(reply) == ["channels"]
    return reply["channels"]


async def state_of(node: Node, channel: str, info: str | None = None) -> dict[str, object]:
    return await channel_state(node.cluster_directory, node.app, node.state, channel, info, node.clock.monotonic())


def state(node: Node, channel: str, info: str | None = None) -> dict[str, object]:
    return without_waiting(state_of(node, channel, info))


def refused(function: Any, *args: Any) -> tuple[ErrorSpec, str]:
    with pytest.raises(SockudoError) as caught:
        without_waiting(function(*args))
    return caught.value.spec, caught.value.text


class TestList:
    def test_nothing(self, node: Node) -> None:
        assert listed(node) == {}
        assert listed(node, "", "user_count") == {}

    def test_occupied_channels_by_prefix(self, node: Node) -> None:
        subscribe(node, "news")
        subscribe(node, "new")
        subscribe(node, "old")
        assert listed(node) == {"news": {}, "new": {}, "old": {}}
        assert listed(node, "new") == {"news": {}, "new": {}}
        assert listed(node, "NEW") == {}
        assert listed(node, "n*") == {}

    def test_counts(self, node: Node) -> None:
        subscribe(node, "news", 3)
        join(node, "presence-a", "u", "u", "v")
        assert listed(node, "", "subscription_count") == {
            "news": {"subscription_count": 3},
            "presence-a": {"subscription_count": 3},
        }
        assert listed(node, "presence-", "user_count") == {"presence-a": {"user_count": 2}}
        assert listed(node, "presence-", " subscription_count , user_count,zzz") == {
            "presence-a": {"user_count": 2, "subscription_count": 3}
        }

    def test_user_count_needs_presence_channels_alone(self, node: Node) -> None:
        join(node, "presence-a", "u")
        assert listed(node, "", "user_count") == {"presence-a": {"user_count": 1}}
        subscribe(node, "news")
        assert refused(list_channels, node.cluster_directory, node.app, "", "user_count") == (
            errors.INVALID_INPUT,
            "user_count is only available for presence channels. Use filter_by_prefix=presence-",
        )
        assert listed(node, "presence-", "user_count") == {"presence-a": {"user_count": 1}}

    @pytest.mark.parametrize("info", ["zzz", ",", " ", "User_Count"])
    def test_info_that_yields_nothing_leaves_the_channel_out(self, node: Node, info: str) -> None:
        subscribe(node, "news")
        assert listed(node, "", info) == {}

    def test_empty_info_is_no_info(self, node: Node) -> None:
        subscribe(node, "news")
        assert listed(node, "", "") == {"news": {}}

    def test_a_channel_that_only_holds_a_lost_member_is_not_occupied(self) -> None:
        node = Node(options=HubOptions(presence_grace=15))
        client = node.connect()
        node.hub.join(client.session, "presence-a", "u", b"{}")
        client.session.leave()
        assert listed(node) == {}
        assert state(node, "presence-a", "user_count,subscription_count") == {
            "occupied": False,
            "user_count": 1,
            "subscription_count": 0,
        }


class TestState:
    def test_unoccupied(self, node: Node) -> None:
        assert state(node, "news") == {"occupied": False}
        assert state(node, "presence-a", "user_count,subscription_count,cache") == {
            "occupied": False,
            "user_count": 0,
            "subscription_count": 0,
        }
        assert node.state.channels == {}

    def test_occupied(self, node: Node) -> None:
        subscribe(node, "news", 2)
        assert state(node, "news") == {"occupied": True}
        assert state(node, "news", "subscription_count,zzz,") == {"occupied": True, "subscription_count": 2}

    def test_members_are_counted_once(self, node: Node) -> None:
        join(node, "presence-a", "u", "u", "v")
        assert state(node, "presence-a", "user_count, subscription_count") == {
            "occupied": True,
            "user_count": 2,
            "subscription_count": 3,
        }

    @pytest.mark.parametrize("channel", ["news", "private-a", "cache-a", "Presence-a"])
    def test_user_count_of_other_channels(self, node: Node, channel: str) -> None:
        assert refused(state_of, node, channel, "user_count") == (
            errors.INVALID_INPUT,
            "user_count is only available for presence channels",
        )

    def test_the_cached_event_and_how_long_it_lasts(self, node: Node) -> None:
        assert state(node, "cache-a", "cache") == {"occupied": False}
        text = b'{"event":"e","channel":"cache-a","data":"d"}'
        node.state.cache.put("cache-a", Frame("e", "cache-a", "d"), node.clock.monotonic())
        node.clock.advance(10.5)
        assert state(node, "cache-a", "cache") == {"occupied": False, "cache": {"data": text.decode(), "ttl": 3589}}
        assert state(node, "cache-a", "subscription_count") == {"occupied": False, "subscription_count": 0}
        node.clock.advance(3589)
        assert state(node, "cache-a", "cache")["cache"] == {"data": text.decode(), "ttl": 1}
        node.clock.advance(1)
        assert state(node, "cache-a", "cache") == {"occupied": False}

    def test_only_cache_channels_have_a_cached_event(self, node: Node) -> None:
        node.state.cache.put("news", Frame("e", "news", "d"), node.clock.monotonic())
        assert state(node, "news", "cache") == {"occupied": False}


class TestUsers:
    def test_distinct_members(self, node: Node) -> None:
        join(node, "presence-a", "u", "v", "u", "7")
        reply = without_waiting(channel_users(node.cluster_directory, node.app, "presence-a"))
        assert sorted(reply["users"], key=json.dumps) == [{"id": "7"}, {"id": "u"}, {"id": "v"}]  # type: ignore[call-overload]

    def test_nobody(self, node: Node) -> None:
        assert without_waiting(channel_users(node.cluster_directory, node.app, "presence-cache-a")) == {"users": []}

    def test_other_channels(self, node: Node) -> None:
        assert refused(channel_users, node.cluster_directory, node.app, "news") == (
            errors.INVALID_INPUT,
            "Only presence channels support this endpoint",
        )


@pytest.mark.parametrize("name", ["", "a b", "presence-", "x" * 201, "news*"])
def test_names_are_checked_first(node: Node, name: str) -> None:
    assert refused(state_of, node, name, "user_count")[0] is errors.CHANNEL_NAME
    assert refused(channel_users, node.cluster_directory, node.app, name)[0] is errors.CHANNEL_NAME
