"""Who is let in, in which order that is decided, and what becomes of sessions whose app changes."""

from __future__ import annotations

import re

import pytest

from sockudo import errors
from sockudo.config import Settings
from sockudo.config.apps import Channels, Features, Limits
from sockudo.errors import ErrorSpec, SockudoError
from sockudo.hub import HubOptions
from sockudo.protocol.frames import Frame
from sockudo.sessions import gateway as gateway_module
from support.inside import Node, OrderedPeer, live_app


def refused(node: Node, key: str, origin: str | None = None) -> ErrorSpec:
    with pytest.raises(SockudoError) as caught:
        node.gateway.admit(key, origin)
    return caught.value.spec


class TestAdmission:
    def test_of_several_reasons_the_first_counts(self) -> None:
        limits = Limits(max_connections=1)
        channels = Channels(allowed_origins=("https://shop.test",))
        disabled = live_app(enabled=False, limits=limits, channels=channels)
        node = Node(disabled, settings=Settings(max_connections=1))
        node.connect()
        here, there = "https://shop.test", "https://elsewhere.test"
        assert refused(node, "unknown", there) is errors.UNKNOWN_APP
        assert refused(node, "key-app", there) is errors.APP_DISABLED
        app = live_app(limits=limits, channels=channels)
        node.apps.put(app)
        assert refused(node, "key-app", there) is errors.ORIGIN_NOT_ALLOWED
        assert refused(node, "key-app", here) is errors.OVER_CAPACITY
        node.configure(max_connections=0)
        assert refused(node, "key-app", here) is errors.OVER_QUOTA
        app = live_app(channels=channels)
        node.apps.put(app)
        assert node.gateway.admit("key-app", here) is app

    def test_texts_and_codes(self) -> None:
        expected = {
            errors.UNKNOWN_APP: 4001,
            errors.APP_DISABLED: 4003,
            errors.OVER_QUOTA: 4004,
            errors.ORIGIN_NOT_ALLOWED: 4009,
            errors.OVER_CAPACITY: 4100,
        }
        assert {spec: spec.ws for spec in expected} == expected
        node = Node(live_app(enabled=False))
        with pytest.raises(SockudoError, match=r"^Application disabled$"):
            node.gateway.admit("key-app", None)

    @pytest.mark.parametrize("key", ["", "app", "secret-app", "KEY-APP", "key-app "])
    def test_only_the_very_key(self, node: Node, key: str) -> None:
        assert refused(node, key) is errors.UNKNOWN_APP

    @pytest.mark.parametrize("origin", [None, "", "null", "https://elsewhere.test"])
    def test_origins(self, origin: str | None) -> None:
        strict = live_app("strict", channels=Channels(allowed_origins=("shop.test",)))
        node = Node(live_app(), strict)
        assert node.gateway.admit("key-app", origin).id == "app"
        assert refused(node, "key-strict", origin) is errors.ORIGIN_NOT_ALLOWED
        assert node.gateway.admit("key-strict", "http://SHOP.test") is strict

    def test_quotas_free_up_when_connections_end(self) -> None:
        node = Node(live_app(limits=Limits(max_connections=2)), live_app("other"))
        clients = [node.connect(node.gateway.admit("key-app", None)) for _ in range(2)]
        assert refused(node, "key-app") is errors.OVER_QUOTA
        assert node.gateway.admit("key-other", None).id == "other"
        clients[0].session.end(errors.TERMINATED())
        assert node.gateway.admit("key-app", None).id == "app"

    def test_the_node_counts_all_apps(self) -> None:
        other = live_app("other")
        node = Node(live_app(), other, settings=Settings(max_connections=2))
        node.connect()
        client = node.connect(other)
        assert refused(node, "key-app") is errors.OVER_CAPACITY
        client.session.leave()
        assert node.gateway.admit("key-app", None).id == "app"

    def test_refusals_are_counted_by_app_and_unknown_keys_as_one(self, node: Node) -> None:
        for key, error in (
            ("key-app", errors.ORIGIN_NOT_ALLOWED()),
            ("guess-1", errors.UNKNOWN_APP()),
            ("guess-2", errors.UNKNOWN_APP()),
        ):
            node.gateway.note_refusal(key, error, "192.0.2.1", None)
        assert node.gateway.refused == {("app", "origin_not_allowed"): 1, ("unknown", "unknown_app"): 2}
        node.gateway.note_refusal("app", errors.UNKNOWN_APP(), "192.0.2.1", None)
        newest = node.gateway.inspector.problems.groups()[0]
        assert newest.cause == "the id of the app app in place of its key"


class TestOpen:
    def test_a_session_is_registered_under_an_id_of_the_right_form(self, node: Node) -> None:
        session = node.gateway.open(node.app, OrderedPeer())
        assert re.fullmatch(r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)", session.socket_id)
        assert node.state.connections == {session.socket_id: session}
        assert (session.opened_at, session.last_seen) == (node.clock.monotonic(),) * 2
        assert node.state.traffic.connections_opened == 1
        assert session.peer.writes == []  # type: ignore[attr-defined]

    def test_an_id_in_use_is_drawn_again(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        drawn = iter(["1.1", "1.1", "1.1", "2.2"])
        monkeypatch.setattr(gateway_module, "socket_id", lambda: next(drawn))
        assert [node.connect().socket_id for _ in range(2)] == ["1.1", "2.2"]

    def test_apps_are_apart(self) -> None:
        other = live_app("other")
        node = Node(live_app(), other)
        one, two = node.connect(), node.connect(other)
        for client in (one, two):
            client.subscribe("news")
            client.frames()
        node.hub.publish(node.state, Frame("e", "news", "{}"))
        assert one.events() == ["e"]
        assert two.events() == []
        assert {session.live.id for session in node.gateway.sessions()} == {"app", "other"}

    def test_the_state_of_an_app_is_one_object(self, node: Node) -> None:
        assert node.gateway.state(node.app) is node.gateway.state(live_app())


class TestChangedApps:
    def test_open_sessions_get_the_new_record(self) -> None:
        node = Node(live_app())
        client = node.connect()
        client.send("client-a", 1, "private-a")
        assert "not enabled" in client.error()[1]
        node.gateway.apply_app(live_app(features=Features(enable_client_messages=True)))
        client.send("client-a", 1, "private-a")
        assert "not subscribed" in client.error()[1]

    def test_counts_of_subscribers_can_be_switched_on(self, node: Node) -> None:
        client = node.connect()
        client.subscribe("news")
        assert client.events() == ["pusher_internal:subscription_succeeded"]
        node.gateway.apply_app(live_app(features=Features(enable_subscription_count=True)))
        node.connect().subscribe("news")
        assert client.events() == ["pusher_internal:subscription_count"]

    def test_a_disabled_apps_sessions_end_those_of_others_stay(self) -> None:
        other = live_app("other")
        node = Node(live_app(), other)
        clients = [node.connect() for _ in range(3)]
        stranger = node.connect(other)
        node.gateway.apply_app(live_app(enabled=False))
        for client in clients:
            assert client.error() == (4003, "Application disabled")
            assert client.peer.closed == (4003, "Application disabled")
        assert not stranger.session.ended

    def test_a_removed_app_leaves_nothing(self) -> None:
        other = live_app("other")
        node = Node(live_app(), other)
        client, stranger = node.connect(), node.connect(other)
        client.subscribe("news")
        client.frames()
        node.apps.remove("app")
        node.gateway.remove_app("app")
        assert client.error() == (4001, "Application does not exist")
        [group] = node.gateway.inspector.problems.groups("app")
        assert group.cause == "the app was removed while the client was connected"
        assert not stranger.session.ended
        assert list(node.hub.apps) == ["other"]
        node.gateway.remove_app("app")

    def test_members_held_for_a_removed_app_expire_quietly(self) -> None:
        node = Node(options=HubOptions(presence_grace=5))
        client = node.connect()
        client.subscribe("presence-a", {"user_id": "u"})
        node.gateway.remove_app("app")
        node.hub.tick(node.clock.monotonic() + 6)
        node.settle()
        assert node.hub.apps == {}
