"""The round over all sessions: pings, silence, deadlines. Time is a parameter."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from sockudo.config import Settings
from sockudo.config.apps import Features
from sockudo.hub import HubOptions
from sockudo.protocol.frames import Frame
from sockudo.sessions import sweeper
from sockudo.sessions.sweeper import check, sweep
from support.inside import Client, Node, live_app

NO_PONG = (4201, "Pong reply not received in time")
DEADLINE = (4009, "Connection not authorized within timeout.")


def later(client: Client, seconds: float) -> list[str]:
    """Lets time pass, looks at the session once, and returns what it was sent."""
    client.node.clock.advance(seconds)
    check(client.session, client.node.clock.monotonic())
    return client.events()


class TestPings:
    def test_after_so_much_silence_and_no_earlier(self, node: Node) -> None:
        client = node.connect()
        assert later(client, 119.5) == []
        assert later(client, 0.5) == ["pusher:ping"]
        assert later(client, 1) == []

    def test_any_frame_counts_as_a_sign_of_life(self, node: Node) -> None:
        client = node.connect()
        for payload in (b"broken", b'{"event":"unknown"}', b'{"event":"pusher:pong"}'):
            assert later(client, 119) == []
            client.send_raw(payload)
            client.frames()
        assert later(client, 119) == []
        assert later(client, 1) == ["pusher:ping"]

    def test_what_the_server_sends_does_not(self, node: Node) -> None:
        client = node.connect()
        client.subscribe("news")
        client.frames()
        node.clock.advance(119)
        node.hub.publish(node.state, Frame("e", "news", "{}"))
        client.frames()
        assert later(client, 1) == ["pusher:ping"]

    def test_again_after_each_period_of_silence(self, node: Node) -> None:
        client = node.connect()
        for _ in range(5):
            assert later(client, 120) == ["pusher:ping"]
            node.clock.advance(29)
            client.send("pusher:pong")
            assert later(client, 119) == []
            assert later(client, 1) == ["pusher:ping"]
            client.send("pusher:pong")

    def test_a_change_of_the_period_holds_at_once(self, node: Node) -> None:
        client = node.connect()
        node.configure(activity_timeout=5)
        assert later(client, 5) == ["pusher:ping"]

    @pytest.mark.parametrize(
        "payload", [b'{"event":"pusher:pong"}', b'{"event":"pusher:ping"}', b'{"event":"x"}', b"rubbish"]
    )
    def test_any_frame_after_the_ping_answers_it(self, node: Node, payload: bytes) -> None:
        client = node.connect()
        later(client, 120)
        node.clock.advance(29.9)
        client.send_raw(payload)
        client.frames()
        assert later(client, 60) == []
        assert not client.session.ended

    def test_silence_after_a_ping_ends_it_after_thirty_seconds(self, node: Node) -> None:
        client = node.connect()
        later(client, 120)
        assert later(client, 29.5) == []
        assert later(client, 0.5) == ["pusher:error"]
        assert client.peer.closed == NO_PONG
        assert node.state.traffic.errors == {"pong_timeout": 1}

    def test_a_dead_peers_member_goes_at_once_even_where_there_is_a_grace(self) -> None:
        node = Node(options=HubOptions(presence_grace=60))
        client, watcher = node.connect(), node.connect()
        watcher.subscribe("presence-a", {"user_id": "w"})
        client.subscribe("presence-a", {"user_id": "u"})
        watcher.frames()
        later(client, 120)
        later(client, 30)
        assert watcher.events() == ["pusher_internal:member_removed"]

    def test_a_round_that_comes_late_still_waits_after_its_ping(self, node: Node) -> None:
        client = node.connect()
        assert later(client, 10_000) == ["pusher:ping"]
        assert later(client, 29) == []


class TestDeadline:
    @pytest.fixture
    def client(self) -> Client:
        settings = Settings(user_authentication_timeout=10)
        return Node(live_app(features=Features(enable_user_authentication=True)), settings=settings).connect()

    def test_nobody_authorized(self, client: Client) -> None:
        client.subscribe("news")
        client.frames()
        assert later(client, 9.5) == []
        client.send("pusher:ping")
        client.frames()
        assert later(client, 0.5) == ["pusher:error"]
        assert client.peer.closed == DEADLINE

    def test_signing_in_is_authorization(self, client: Client) -> None:
        client.sign_in({"id": "u"})
        client.frames()
        assert later(client, 11) == []

    @pytest.mark.parametrize("channel", ["private-a", "presence-a", "private-cache-a"])
    def test_so_is_a_protected_channel_even_one_that_was_left(self, client: Client, channel: str) -> None:
        client.subscribe(channel, {"user_id": "u"})
        client.send("pusher:unsubscribe", {"channel": channel})
        client.frames()
        assert later(client, 11) == []

    def test_a_refused_try_is_not(self, client: Client) -> None:
        client.send("pusher:subscribe", {"channel": "private-a", "auth": "wrong"})
        client.send("pusher:signin", {"user_data": '{"id":"u"}', "auth": "wrong"})
        client.frames()
        assert later(client, 10) == ["pusher:error"]

    def test_apps_without_user_authentication_have_none(self) -> None:
        client = Node(settings=Settings(user_authentication_timeout=10)).connect()
        assert later(client, 11) == []

    def test_a_silent_client_that_missed_both_is_told_one_reason(self, client: Client) -> None:
        client.node.configure(activity_timeout=1)
        later(client, 1)
        assert later(client, 100) == ["pusher:error"]
        assert client.peer.closed == NO_PONG


class TestRound:
    """The loop itself, with the waiting taken out."""

    async def rounds(self, node: Node, count: int, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            if seconds:
                if slept.count(seconds) > count:
                    raise asyncio.CancelledError
                node.clock.advance(seconds)

        monkeypatch.setattr(sweeper.asyncio, "sleep", sleep)
        with pytest.raises(asyncio.CancelledError):
            await sweep(node.gateway)
        return slept

    async def test_every_session_of_every_app_once_a_second(self, monkeypatch: pytest.MonkeyPatch) -> None:
        other = live_app("other")
        node = Node(live_app(), other)
        clients = [node.connect(app) for app in (node.app, other, node.app)]
        slept = await self.rounds(node, 120, monkeypatch)
        assert set(slept) == {1.0}
        assert [client.events() for client in clients] == [["pusher:ping"]] * 3

    async def test_sessions_that_end_during_the_round_are_passed_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        node = Node()
        clients = [node.connect() for _ in range(3)]
        looked_at: list[Any] = []

        def end_all(session: Any, _: float) -> None:
            looked_at.append(session)
            for client in clients:
                client.session.leave(code=1000)

        monkeypatch.setattr(sweeper, "check", end_all)
        await self.rounds(node, 2, monkeypatch)
        assert len(looked_at) == 1

    async def test_many_sessions_take_several_turns(self, monkeypatch: pytest.MonkeyPatch) -> None:
        node = Node()
        for _ in range(10):
            node.connect()
        monkeypatch.setattr(sweeper, "_SLICE", 4)
        slept = await self.rounds(node, 1, monkeypatch)
        assert slept == [1.0, 0, 0, 1.0]

    async def test_the_hubs_own_time_passes_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        node = Node(options=HubOptions(presence_grace=5))
        client, watcher = node.connect(), node.connect()
        watcher.subscribe("presence-a", {"user_id": "w"})
        client.subscribe("presence-a", {"user_id": "u"})
        client.session.leave()
        watcher.frames()
        await self.rounds(node, 4, monkeypatch)
        assert watcher.events() == []
        await self.rounds(node, 1, monkeypatch)
        assert watcher.events() == ["pusher_internal:member_removed"]


def test_settings_that_change_reach_open_sessions(node: Node) -> None:
    client = node.connect()
    node.gateway.settings = msgspec.structs.replace(node.settings, activity_timeout=600)
    assert later(client, 599) == []
    assert later(client, 1) == ["pusher:ping"]
