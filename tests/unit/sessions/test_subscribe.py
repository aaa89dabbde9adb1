"""Joining and leaving: the order of the checks, what a newcomer gets, and that a refusal changes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from sockudo.config.apps import Channels, Features, Limits, Namespace
from sockudo.protocol.frames import Frame
from support.inside import Client, Node, credentials, live_app
from support.signing import channel_auth

SUCCEEDED = "pusher_internal:subscription_succeeded"
ROOM = "presence-room"


def auth(client: Client, channel: str, channel_data: str | None = None) -> str:
    return channel_auth(credentials(client.session.live), client.socket_id, channel, channel_data)


def members(client: Client, channel: str = ROOM) -> set[str]:
    presence = client.node.state.channels[channel].presence
    assert presence is not None
    return {member.user_id for member in presence}


class TestShape:
    @pytest.mark.parametrize("data", [None, "news", [], 1, "[1]", '"x"'])
    def test_data_that_is_no_object(self, node: Node, data: Any) -> None:
        client = node.connect()
        client.send("pusher:subscribe", data)
        assert client.error() == (4000, "Invalid message format: Invalid subscription data")

    @pytest.mark.parametrize("data", [{}, {"channel": None}, {"channel": 1}, {"channel": ["news"]}])
    def test_no_channel(self, node: Node, data: Any) -> None:
        client = node.connect()
        client.send("pusher:subscribe", data, channel="news")
        assert client.error() == (4000, "Invalid message format: Missing channel in subscription data")

    def test_data_as_a_string_that_holds_an_object(self, node: Node) -> None:
        client = node.connect()
        client.send("pusher:subscribe", '{"channel":"news"}')
        assert client.frames() == [{"event": SUCCEEDED, "channel": "news", "data": "{}"}]


class TestOrderOfChecks:
    """One request after another, each with one mistake less."""

    def test_of_a_presence_subscribe(self) -> None:
        node = Node(live_app(limits=Limits(max_channel_name_length=20, max_presence_member_size_in_kb=1)))
        client = node.connect()

        def attempt(channel: str, **fields: Any) -> tuple[int, str]:
            client.send("pusher:subscribe", {"channel": channel, **fields})
            return client.error()

        assert attempt("[meta]presence-*")[1].endswith("Metachannel subscriptions are only supported on protocol V2")
        assert attempt("presence-*x y")[1].endswith("Wildcard subscriptions are only supported on protocol V2")
        assert attempt("presence-" + "x y" * 9) == (4300, "Channel error: Channel name too long. Max length is 20")
        assert attempt("presence-x y")[1].startswith("Channel error: Channel name contains invalid characters")
        needed = "Authentication error: Authentication signature required for this channel"
        assert attempt(ROOM) == (4009, needed)
        assert attempt(ROOM, auth=1) == (4009, needed)
        wrong = auth(client, "presence-other", "{}")
        missing = "Invalid message format: Missing channel_data for presence channel"
        assert attempt(ROOM, auth=wrong) == (4000, missing)
        assert attempt(ROOM, auth=wrong, channel_data={"user_id": "u"}) == (4000, missing)
        refused = "Authentication error: Channel requires authentication"
        assert attempt(ROOM, auth=wrong, channel_data="{}") == (4009, refused)

        def signed(channel_data: str) -> tuple[int, str]:
            return attempt(ROOM, auth=auth(client, ROOM, channel_data), channel_data=channel_data)

        assert signed("{") == (4000, "Invalid message format: Invalid channel_data JSON for presence")
        big = {"user_info": "x" * 3000}
        assert signed(json.dumps(big)) == (4300, "Channel error: Missing user_id in channel_data")
        assert signed(json.dumps({"user_id": ""} | big)) == (4300, "Channel error: user_id must have 1 to 128 bytes")
        assert signed(json.dumps({"user_id": "u"} | big)) == (
            4300,
            "Channel error: Presence member data size (2KB) exceeds limit (1KB)",
        )
        assert node.state.channels == {}
        assert not client.session.authorized
        client.subscribe(ROOM, {"user_id": "u", "user_info": "x" * 1500})
        assert client.events() == [SUCCEEDED]

    def test_an_app_that_was_disabled_in_the_meantime(self, node: Node) -> None:
        client = node.connect()
        client.session.live = live_app(enabled=False)
        client.subscribe("[meta]x")
        assert client.error() == (4003, "Application disabled")
        assert client.peer.closed == (4003, "Application disabled")


class TestNames:
    @pytest.mark.parametrize("name", ["", "private-", "cache-", "#", "##", "#server-to-user-", "a b", "é", "a\n"])
    def test_what_is_no_channel(self, node: Node, name: str) -> None:
        client = node.connect()
        client.send("pusher:subscribe", {"channel": name, "auth": "x:y"})
        code, message = client.error()
        assert code == 4300
        assert message.startswith("Channel error: ")

    def test_users_cannot_be_limited_on_this_protocol(self) -> None:
        namespace = Namespace("room", allow_user_limited_channels=True)
        client = Node(live_app(channels=Channels(channel_namespaces=(namespace,)))).connect()
        client.subscribe("room:1#alice,bob")
        assert client.error()[0] == 4300
        client.subscribe("room:1")
        assert client.events() == [SUCCEEDED]
        client.subscribe("hall:1")
        assert client.error() == (4300, "Channel error: Unknown channel namespace 'hall'")

    def test_the_channel_of_a_user_needs_no_signature_and_gives_nothing(self, node: Node) -> None:
        client = node.connect()
        client.send("pusher:subscribe", {"channel": "#server-to-user-u", "auth": ""})
        assert client.events() == [SUCCEEDED]
        node.hub.publish_to_user(node.state, "u", Frame("e", "#server-to-user-u", "{}"))
        assert client.frames() == []


class TestSignatures:
    @pytest.mark.parametrize(
        "channel", ["private-a", "private-encrypted-a", "private-cache-a", "private-encrypted-cache-a"]
    )
    def test_private_kinds(self, node: Node, channel: str) -> None:
        client = node.connect()
        for wrong in ("", "x", auth(client, "private-b"), auth(client, channel).upper(), auth(client, channel) + "0"):
            client.send("pusher:subscribe", {"channel": channel, "auth": wrong})
            assert client.error() == (4009, "Authentication error: Channel requires authentication")
        assert not client.session.authorized
        client.subscribe(channel)
        assert client.events()[0] == SUCCEEDED
        assert client.session.authorized

    def test_one_made_for_another_connection(self, node: Node) -> None:
        client, other = node.connect(), node.connect()
        with capture_logs() as log:
            client.send("pusher:subscribe", {"channel": "private-a", "auth": auth(other, "private-a")})
        assert client.error()[0] == 4009
        [warning] = [entry for entry in log if entry["log_level"] == "warning"]
        assert "socket_id" in warning["likely_cause"]

    def test_channel_data_is_not_signed_where_it_does_not_belong(self, node: Node) -> None:
        client = node.connect()
        client.subscribe("private-a", {"user_id": "u"})
        assert client.events() == [SUCCEEDED]

    def test_channel_data_has_to_be_the_very_text(self, node: Node) -> None:
        client = node.connect()
        signature = auth(client, ROOM, '{"user_id":"u"}')
        client.send("pusher:subscribe", {"channel": ROOM, "auth": signature, "channel_data": '{"user_id": "u"}'})
        assert client.error() == (4009, "Authentication error: Channel requires authentication")

    def test_public_channels_do_not_authorize(self, node: Node) -> None:
        client = node.connect()
        client.send("pusher:subscribe", {"channel": "news", "auth": "rubbish"})
        assert client.events() == [SUCCEEDED]
        assert not client.session.authorized


class TestAgain:
    def test_a_repeated_subscribe_is_acknowledged_after_what_was_said_before(self, node: Node) -> None:
        client = node.connect()
        client.subscribe("news")
        client.frames()
        node.hub.publish(node.state, Frame("before", "news", "{}"))
        client.subscribe("news")
        node.hub.publish(node.state, Frame("after", "news", "{}"))
        assert client.events() == ["before", SUCCEEDED, "after"]
        assert node.state.traffic.subscribed["public"] == 1

    def test_a_refused_repetition_leaves_the_first_in_place(self, node: Node) -> None:
        client = node.connect()
        client.subscribe("private-a")
        client.send("pusher:subscribe", {"channel": "private-a", "auth": "wrong"})
        client.frames()
        node.hub.publish(node.state, Frame("e", "private-a", "{}"))
        assert client.events() == ["e"]

    def test_presence_again_with_other_info(self, node: Node) -> None:
        client, watcher = node.connect(), node.connect()
        watcher.subscribe(ROOM, {"user_id": "w"})
        client.subscribe(ROOM, {"user_id": "u", "user_info": 1})
        client.frames()
        watcher.frames()
        client.subscribe(ROOM, {"user_id": "u", "user_info": 2})
        assert client.data()["presence"]["hash"] == {"w": {}, "u": 2}
        assert watcher.frames() == []

    def test_presence_again_as_another(self, node: Node) -> None:
        client = node.connect()
        client.subscribe(ROOM, {"user_id": "u"})
        client.frames()
        client.subscribe(ROOM, {"user_id": "v"})
        assert client.error() == (4009, "Authentication error: already joined as another user")
        assert members(client) == {"u"}
        client.send("pusher:unsubscribe", {"channel": ROOM})
        client.subscribe(ROOM, {"user_id": "v"})
        assert members(client) == {"v"}


class TestPresence:
    def test_the_acknowledgement_has_everybody(self, node: Node) -> None:
        for user in ("u", "v"):
            node.connect().subscribe(ROOM, {"user_id": user, "user_info": {"n": user}})
        client = node.connect()
        client.subscribe(ROOM, {"user_id": "v", "user_info": {"n": "second"}})
        presence = client.data()["presence"]
        assert presence["count"] == 2
        assert set(presence["ids"]) == {"u", "v"}
        assert presence["hash"] == {"u": {"n": "u"}, "v": {"n": "second"}}

    @pytest.mark.parametrize(
        ("sent", "shown"),
        [
            ('{"user_id":"u"}', "{}"),
            ('{"user_id":"u","user_info":null}', "null"),
            ('{"user_id":"u","user_info": [1 , {"a" : 2.50}] }', '[1,{"a":2.50}]'),
            ('{"user_id":"u","user_info":"\\u00e9"}', '"\\u00e9"'),
            ('{"user_id":"u","user_info":123456789012345678901234567890}', "123456789012345678901234567890"),
        ],
    )
    def test_user_info_keeps_its_type_and_its_digits(self, node: Node, sent: str, shown: str) -> None:
        client = node.connect()
        client.subscribe(ROOM, sent)
        assert client.session.members == {ROOM: "u"}
        presence = node.state.channels[ROOM].presence
        assert presence is not None
        assert presence.infos() == {"u": shown.encode()}

    @pytest.mark.parametrize(("user_id", "kept"), [(7, "7"), (-1, "-1"), ("x" * 128, "x" * 128), ("é" * 64, "é" * 64)])
    def test_user_ids_that_are_allowed(self, node: Node, user_id: Any, kept: str) -> None:
        client = node.connect()
        client.subscribe(ROOM, {"user_id": user_id})
        assert members(client) == {kept}

    @pytest.mark.parametrize("user_id", [None, True, 1.5, [], {}, "", "x" * 129, "é" * 65])
    def test_user_ids_that_are_not(self, node: Node, user_id: Any) -> None:
        client = node.connect()
        client.subscribe(ROOM, {"user_id": user_id})
        assert client.error()[0] == 4300
        assert node.state.channels == {}

    @pytest.mark.parametrize(
        "channel_data",
        ["", "[]", "null", '"u"', '{"user_id":"u"', '{"user_id":"u","user_info":NaN}', '{"user_id":"u","x":1e}'],
    )
    def test_channel_data_that_is_no_object(self, node: Node, channel_data: str) -> None:
        client = node.connect()
        client.subscribe(ROOM, channel_data)
        assert client.error() == (4000, "Invalid message format: Invalid channel_data JSON for presence")

    def test_deep_channel_data_is_refused_or_taken_but_never_a_defect(self, node: Node) -> None:
        for levels in (100, 900, 990, 1000, 5000, 50_000):
            client = node.connect()
            client.subscribe(ROOM, '{"user_id":"u","user_info":' + "[" * levels + "]" * levels + "}")
            [frame] = client.frames()
            assert "Internal" not in str(frame)[:200]

    def test_a_full_channel_admits_its_members_only(self) -> None:
        node = Node(live_app(limits=Limits(max_presence_members_per_channel=2)))
        for user in ("u", "v"):
            node.connect().subscribe(ROOM, {"user_id": user})
        client = node.connect()
        client.subscribe(ROOM, {"user_id": "w"})
        assert client.error() == (4100, "Over capacity")
        assert not client.session.ended
        client.subscribe(ROOM, {"user_id": "v"})
        assert client.events() == [SUCCEEDED]

    def test_a_signed_in_user_needs_no_channel_data(self) -> None:
        node = Node(live_app(features=Features(enable_user_authentication=True)))
        client = node.connect()
        client.sign_in({"id": "u", "user_info": {"n": 1}})
        client.frames()
        client.send("pusher:subscribe", {"channel": ROOM, "auth": auth(client, ROOM)})
        assert client.data() == {"presence": {"ids": ["u"], "hash": {"u": {"n": 1}}, "count": 1}}

    def test_the_limit_of_user_info_is_of_whole_kilobytes(self) -> None:
        node = Node(live_app(limits=Limits(max_presence_member_size_in_kb=1)))
        for size, fits in ((2047 - 2, True), (2048 - 2, False)):
            client = node.connect()
            client.subscribe(ROOM, {"user_id": f"u{size}", "user_info": "x" * size})
            assert (client.events() == [SUCCEEDED]) is fits


class TestCacheChannels:
    def test_a_newcomer_gets_the_last_event_after_its_acknowledgement(self, node: Node) -> None:
        client = node.connect()
        client.subscribe("cache-a")
        assert client.frames()[1:] == [{"event": "pusher:cache_miss", "channel": "cache-a", "data": "{}"}]
        node.state.cache.put("cache-a", Frame("e", "cache-a", "d"), node.clock.monotonic())
        for _ in range(2):
            client.subscribe("cache-a")
            assert client.frames()[1:] == [{"event": "e", "channel": "cache-a", "data": "d"}]
        node.clock.advance(3600)
        client.subscribe("cache-a")
        assert client.events() == [SUCCEEDED, "pusher:cache_miss"]

    def test_presence_and_cache_at_once(self, node: Node) -> None:
        client = node.connect()
        client.subscribe("presence-cache-a", {"user_id": "u"})
        frames = client.frames()
        assert [frame["event"] for frame in frames] == [SUCCEEDED, "pusher:cache_miss"]
        assert json.loads(frames[0]["data"])["presence"]["ids"] == ["u"]

    def test_a_name_that_only_contains_the_word(self, node: Node) -> None:
        client = node.connect()
        client.subscribe("my-cache-a")
        assert client.events() == [SUCCEEDED]


class TestSubscriptionErrors:
    @pytest.fixture
    def client(self) -> Client:
        return Node(live_app(features=Features(enable_subscription_error=True))).connect()

    def test_an_app_that_wants_them_gets_them_before_the_error(self, client: Client) -> None:
        client.send("pusher:subscribe", {"channel": "private-a"})
        message = "Authentication error: Authentication signature required for this channel"
        assert client.frames() == [
            {
                "event": "pusher:subscription_error",
                "channel": "private-a",
                "data": {"type": "AuthError", "error": message, "status": 401},
            },
            {"event": "pusher:error", "data": {"code": 4009, "message": message}},
        ]

    def test_other_refusals_have_another_status(self, client: Client) -> None:
        client.send("pusher:subscribe", {"channel": "a b"})
        assert client.frames()[0]["data"]["status"] == 400

    def test_without_a_channel_there_is_none(self, client: Client) -> None:
        client.send("pusher:subscribe", {})
        assert client.events() == ["pusher:error"]


class TestUnsubscribe:
    @pytest.mark.parametrize("data", [{"channel": "news"}, "news", '{"channel":"news"}'])
    def test_every_shape(self, node: Node, data: Any) -> None:
        client = node.connect()
        client.subscribe("news")
        client.frames()
        client.send("pusher:unsubscribe", data)
        assert client.frames() == []
        assert client.session.channels == {}

    def test_no_data(self, node: Node) -> None:
        client = node.connect()
        client.send("pusher:unsubscribe")
        assert client.error() == (4000, "Invalid message format: Missing data in unsubscribe message")

    @pytest.mark.parametrize("data", [{}, 1, [], ["news"], {"channel": 1}, True])
    def test_no_channel(self, node: Node, data: Any) -> None:
        client = node.connect()
        client.send("pusher:unsubscribe", data)
        assert client.error() == (4000, "Invalid message format: Missing channel in unsubscribe message")

    @pytest.mark.parametrize("name", ["never", "", "a b", "presence-never", "private-*"])
    def test_what_was_not_joined_is_ignored(self, node: Node, name: str) -> None:
        client = node.connect()
        client.subscribe("news")
        client.frames()
        client.send("pusher:unsubscribe", {"channel": name})
        assert client.frames() == []
        assert list(client.session.channels) == ["news"]

    def test_the_others_hear_of_a_member_that_leaves_at_once(self, node: Node) -> None:
        client, watcher = node.connect(), node.connect()
        watcher.subscribe(ROOM, {"user_id": "w"})
        client.subscribe(ROOM, {"user_id": "u"})
        watcher.frames()
        client.send("pusher:unsubscribe", {"channel": ROOM})
        assert watcher.frames() == [
            {"event": "pusher_internal:member_removed", "channel": ROOM, "data": '{"user_id":"u"}'}
        ]
        assert client.session.members == {}
