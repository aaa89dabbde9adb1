"""Signing in: what is refused, who is told, and what a second sign-in changes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sockudo.config.apps import Features
from sockudo.protocol.frames import Frame
from support.inside import Client, Node, credentials, live_app
from support.signing import user_auth

WATCHING = Features(enable_user_authentication=True, enable_watchlist_events=True)


@pytest.fixture
def node() -> Node:
    return Node(live_app(features=WATCHING))


def signed_in(node: Node, user_id: str, *watchlist: str) -> Client:
    client = node.connect()
    client.sign_in({"id": user_id, "watchlist": list(watchlist)} if watchlist else {"id": user_id})
    client.frames()
    return client


def watch_events(client: Client) -> list[tuple[str, list[str]]]:
    frames = client.frames()
    assert {frame["event"] for frame in frames} <= {"pusher_internal:watchlist_events"}
    return [(group["name"], group["user_ids"]) for frame in frames for group in frame["data"]["events"]]


class TestOrderOfChecks:
    def test_each_repair_shows_the_next(self, node: Node) -> None:
        client = node.connect()

        def attempt(data: Any) -> tuple[int, str]:
            client.send("pusher:signin", data)
            return client.error()

        client.session.live = live_app()
        disabled = "Authentication error: User authentication is disabled for this app"
        assert attempt(None) == (4009, disabled)
        client.session.live = node.app
        for data in (None, "text", [], 1):
            assert attempt(data) == (4000, "Invalid message format: Invalid signin data format")
        for data in ({}, {"auth": "x", "user_data": {"id": "u"}}, {"user_data": None}):
            assert attempt(data) == (4009, "Authentication error: Missing 'user_data' field in signin data")
        for data in ({"user_data": "{"}, {"user_data": "{", "auth": 1}):
            assert attempt(data) == (4009, "Authentication error: Missing 'auth' field in signin data")
        for user_data in ("{", "", "\ud800"):
            assert attempt({"user_data": user_data, "auth": "x"})[0] in (4000, 4009)
        assert attempt({"user_data": "{", "auth": "x"})[1].startswith("Authentication error: Invalid user_data JSON: ")
        assert attempt({"user_data": "[]", "auth": "x"})[1].endswith("it must be an object")
        assert attempt({"user_data": "{}", "auth": "x"}) == (
            4009,
            "Authentication error: Missing 'id' field in user_data",
        )
        unauthorized = "Authentication error: Connection not authorized for signin."
        assert attempt({"user_data": '{"id":"u"}', "auth": "x"}) == (4009, unauthorized)
        assert client.session.user is None
        assert not client.session.authorized
        client.sign_in({"id": "u"})
        assert client.frames() == [{"event": "pusher:signin_success", "data": {"user_data": '{"id": "u"}'}}]
        assert client.session.authorized

    def test_signatures_of_others_and_for_others(self, node: Node) -> None:
        client, other = node.connect(), node.connect()
        app = credentials(node.app)
        text = '{"id":"u"}'
        right = user_auth(app, client.socket_id, text)
        for wrong in (
            user_auth(app, other.socket_id, text),
            user_auth(app, client.socket_id, '{"id":"v"}'),
            user_auth(credentials(live_app("other")), client.socket_id, text),
            right.partition(":")[2],
            right.replace(app.key, "key-other"),
            right + "0",
        ):
            client.send("pusher:signin", {"user_data": text, "auth": wrong})
            assert client.error() == (4009, "Authentication error: Connection not authorized for signin.")

    @pytest.mark.parametrize("user_id", [None, "", True, 1.5, [], {}])
    def test_ids_that_are_none(self, node: Node, user_id: Any) -> None:
        client = node.connect()
        client.sign_in({"id": user_id})
        assert client.error() == (4009, "Authentication error: Missing 'id' field in user_data")

    def test_ids_have_a_bound(self, node: Node) -> None:
        client = node.connect()
        client.sign_in({"id": "é" * 65})
        assert client.error() == (4009, "Authentication error: 'id' in user_data must have at most 128 bytes")
        client.sign_in({"id": "é" * 64})
        assert client.events() == ["pusher:signin_success"]

    def test_a_number_is_taken_as_its_digits(self, node: Node) -> None:
        client = node.connect()
        client.sign_in({"id": 7})
        assert client.session.user is not None
        assert client.session.user.user_id == "7"

    def test_deep_user_data_is_refused_or_taken_but_never_a_defect(self, node: Node) -> None:
        for levels in (100, 900, 990, 1000, 50_000):
            client = node.connect()
            client.sign_in('{"id":"u","user_info":' + "[" * levels + "]" * levels + "}")
            for frame in client.frames():
                assert "Internal" not in str(frame)[:200]


class TestEffect:
    def test_data_as_a_string(self, node: Node) -> None:
        client = node.connect()
        text = '{"id":"u"}'
        auth = user_auth(credentials(node.app), client.socket_id, text)
        client.send("pusher:signin", json.dumps({"user_data": text, "auth": auth}))
        assert client.events() == ["pusher:signin_success"]

    @pytest.mark.parametrize(
        ("sent", "kept"),
        [({}, b"{}"), ({"user_info": None}, b"null"), ({"user_info": {"n": "é"}}, '{"n":"é"}'.encode())],
    )
    def test_user_info_is_kept(self, node: Node, sent: dict[str, Any], kept: bytes) -> None:
        client = node.connect()
        client.sign_in({"id": "u"} | sent)
        assert client.session.user is not None
        assert client.session.user.user_info == kept

    def test_signing_in_again_as_another_moves_the_connection(self, node: Node) -> None:
        client = signed_in(node, "a")
        client.sign_in({"id": "b"})
        assert node.state.users.connections("a") == ()
        assert node.state.users.connections("b") == (client.session,)

    def test_a_refused_second_sign_in_leaves_the_first(self, node: Node) -> None:
        client = signed_in(node, "a")
        client.send("pusher:signin", {"user_data": '{"id":"b"}', "auth": "wrong"})
        assert node.state.users.connections("a") == (client.session,)

    def test_events_for_the_user_arrive_without_a_subscription(self, node: Node) -> None:
        client = signed_in(node, "u")
        node.hub.publish_to_user(node.state, "u", Frame("e", "#server-to-user-u", "d"))
        assert client.frames() == [{"event": "e", "channel": "#server-to-user-u", "data": "d"}]


class TestWatchlists:
    def test_who_is_on_and_who_is_off_comes_after_the_acknowledgement(self, node: Node) -> None:
        signed_in(node, "on")
        client = node.connect()
        client.sign_in({"id": "u", "watchlist": ["on", "off", "on", "u", 1, None]})
        frames = client.frames()
        assert [frame["event"] for frame in frames] == ["pusher:signin_success", "pusher_internal:watchlist_events"]
        assert frames[1]["data"] == {
            "events": [{"name": "online", "user_ids": ["on", "u"]}, {"name": "offline", "user_ids": ["off"]}]
        }

    def test_watchers_hear_of_the_first_and_of_the_last_connection(self, node: Node) -> None:
        watcher = signed_in(node, "w", "u")
        first = signed_in(node, "u")
        assert watch_events(watcher) == [("online", ["u"])]
        second = signed_in(node, "u")
        first.session.leave(code=1000)
        assert watch_events(watcher) == []
        second.session.leave(code=1000)
        assert watch_events(watcher) == [("offline", ["u"])]

    def test_every_connection_of_a_watcher_that_watches_hears(self, node: Node) -> None:
        watchers = [signed_in(node, "w", "u") for _ in range(2)]
        unwatching = signed_in(node, "w")
        signed_in(node, "u")
        assert [watch_events(watcher) for watcher in watchers] == [[("online", ["u"])]] * 2
        assert watch_events(unwatching) == []

    def test_signing_in_again_replaces_the_watchlist(self, node: Node) -> None:
        watcher = signed_in(node, "w", "a", "b")
        watcher.sign_in({"id": "w", "watchlist": ["b", "c"]})
        watcher.frames()
        for user in ("a", "b", "c"):
            signed_in(node, user)
        assert watch_events(watcher) == [("online", ["b"]), ("online", ["c"])]

    def test_moving_to_another_user_is_told_as_both(self, node: Node) -> None:
        watcher = signed_in(node, "w", "a", "b")
        mover = signed_in(node, "a")
        watcher.frames()
        mover.sign_in({"id": "b"})
        assert watch_events(watcher) == [("offline", ["a"]), ("online", ["b"])]

    @pytest.mark.parametrize("watchlist", [None, "u", {"u": 1}, 1, [], [1, None, ["u"]]])
    def test_what_is_no_list_of_names_is_ignored(self, node: Node, watchlist: Any) -> None:
        client = node.connect()
        client.sign_in({"id": "w", "watchlist": watchlist})
        assert client.events() == ["pusher:signin_success"]

    def test_a_list_that_is_too_long_is_refused_the_sign_in_is_not(self, node: Node) -> None:
        client = node.connect()
        client.sign_in({"id": "w", "watchlist": [f"u{number}" for number in range(101)]})
        frames = client.frames()
        assert [frame["event"] for frame in frames] == ["pusher:signin_success", "pusher:error"]
        assert frames[1]["data"]["code"] == 4302
        assert client.session.user is not None
        signed_in(node, "u1")
        assert client.frames() == []
        client.sign_in({"id": "w", "watchlist": [f"u{number % 100}" for number in range(150)]})
        assert client.events() == ["pusher:signin_success", "pusher_internal:watchlist_events"]

    def test_an_app_that_does_not_want_them(self) -> None:
        node = Node(live_app(features=Features(enable_user_authentication=True)))
        watcher = node.connect()
        watcher.sign_in({"id": "w", "watchlist": ["u"]})
        signed_in(node, "u")
        assert watcher.events() == ["pusher:signin_success"]

    def test_nothing_is_left_when_all_are_gone(self, node: Node) -> None:
        clients = [signed_in(node, f"u{number % 3}", "u0", "u1", "never") for number in range(9)]
        for client in clients:
            client.session.leave()
        assert len(node.state.users) == 0
        assert node.state.users._watchers == {}
