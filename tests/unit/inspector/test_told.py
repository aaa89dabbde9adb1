"""What sessions, channels and messages tell the inspector, seen through a session's own frames."""

from __future__ import annotations

import msgspec
import pytest

from sockudo import errors
from sockudo.config import Settings
from sockudo.config.apps import Features
from sockudo.inspector import Entry, Selection, Watcher
from sockudo.inspector.explained import explained, find_problems, shown_to_app
from sockudo.inspector.lines import line_of
from sockudo.protocol.formats import V2_JSON
from sockudo.protocol.frames import Frame
from support.inside import Client, Node, live_app

LIVELY = Features(enable_client_messages=True, enable_user_authentication=True)


@pytest.fixture
def node() -> Node:
    return Node(live_app(features=LIVELY))


def watch(node: Node, **selection: object) -> Watcher:
    return node.gateway.inspector.watch(Selection(**selection), lambda: None)  # type: ignore[arg-type]


def say(node: Node, channel: str, event: str = "tide", data: str = '{"m":2}') -> None:
    node.publisher.publish(node.app, node.state, Frame(event, channel, data), 0)
    node.settle()


def taken(watcher: Watcher) -> list[Entry]:
    return watcher.take(1000)[0]


def problems(node: Node) -> list[tuple[str, str | None, str | None]]:
    return [(group.kind, group.error, group.cause) for group in node.gateway.inspector.problems.groups()]


def test_the_life_of_a_connection(node: Node) -> None:
    client = node.connect()
    watcher = watch(node)
    client.subscribe("presence-crew", {"user_id": "ana"})
    client.sign_in({"id": "bo"})
    client.send("pusher:unsubscribe", {"channel": "presence-crew"})
    client.session.leave(code=1000)
    seen = [(entry.kind, entry.channel, entry.user_id, entry.by, entry.code) for entry in taken(watcher)]
    assert seen == [
        ("subscribed", "presence-crew", "ana", None, None),
        ("signed_in", None, "bo", None, None),
        ("unsubscribed", "presence-crew", "ana", None, None),
        ("closed", None, "bo", "client", 1000),
    ]
    assert problems(node) == []


def test_who_closed_and_why(node: Node) -> None:
    watcher = watch(node, kinds=frozenset({"closed"}))
    lost, ended, terminated = node.connect(), node.connect(), node.connect()
    lost.session.leave()
    ended.session.end(errors.PONG_TIMEOUT())
    terminated.session.end(errors.TERMINATED())
    assert [(entry.by, entry.error, entry.code) for entry in taken(watcher)] == [
        ("network", None, None),
        ("server", "pong_timeout", 4201),
        ("backend", "terminated", 4009),
    ]
    assert [error for _, error, _ in problems(node)] == ["terminated", "pong_timeout"]


@pytest.mark.parametrize(("seconds", "cut"), [(3, False), (60, True)])
def test_a_lost_connection_says_how_long_it_was_silent(node: Node, seconds: int, cut: bool) -> None:
    watcher = watch(node, kinds=frozenset({"closed"}))
    client = node.connect()
    client.send("pusher:ping", {})
    node.clock.advance(seconds)
    client.session.leave()
    [entry] = taken(watcher)
    assert entry.silent == seconds
    assert ("proxy" in (entry.cause or "")) is cut
    assert problems(node) == []


def test_nobody_is_told_that_a_stopping_server_says_goodbye(node: Node) -> None:
    node.connect().session.end(errors.SERVER_SHUTDOWN())
    assert problems(node) == []


def test_refusals_are_kept_though_nobody_watches(node: Node) -> None:
    client, other = node.connect(), node.connect()
    client.send("pusher:subscribe", {"channel": "news*"})
    client.send("pusher:subscribe", {"channel": "private-x", "auth": f"{node.app.key}:{'0' * 64}"})
    signed = other.node.app.signer.hexdigest(f"{other.socket_id}:private-x".encode())
    client.send("pusher:subscribe", {"channel": "private-x", "auth": f"{node.app.key}:{signed}"})
    client.send("pusher:signin", {"user_data": "{"})
    client.send("client-wave", {}, channel="news")
    kept = node.gateway.inspector.problems.groups()
    assert [(group.kind, group.error) for group in reversed(kept)] == [
        ("subscribe_refused", "wildcard_needs_v2"),
        ("subscribe_refused", "channel_auth_invalid"),
        ("subscribe_refused", "channel_auth_invalid"),
        ("signin_refused", "signin_refused"),
        ("frame_refused", "client_event_channel"),
    ]
    assert kept[2].cause == f"signed for another connection: socket_id {other.socket_id} instead of {client.socket_id}"
    assert (kept[2].last[0].channel, kept[2].last[0].socket_id) == ("private-x", client.socket_id)
    assert (kept[0].last[0].channel, kept[0].last[0].event) == ("news", "client-wave")


def test_a_signature_for_a_connection_that_has_ended_is_probably_cached(node: Node) -> None:
    gone = node.connect()
    signed = node.app.signer.hexdigest(f"{gone.socket_id}:private-x".encode())
    gone.session.leave()
    client = node.connect()
    client.send("pusher:subscribe", {"channel": "private-x", "auth": f"{node.app.key}:{signed}"})
    [(_, error, cause)] = problems(node)
    assert error == "channel_auth_invalid"
    assert cause is not None
    assert cause.startswith(f"signed for a connection that has ended: socket_id {gone.socket_id} instead of")
    assert "cached" in cause


def test_only_operators_are_shown_the_name_of_another_app() -> None:
    blog = live_app("blog")
    node = Node(live_app("shop"), blog)
    client, watcher = node.connect(), watch(node, app_id="shop")
    for key in (node.app.key, blog.key):
        signed = blog.signer.hexdigest(f"{client.socket_id}:private-x".encode())
        client.send("pusher:subscribe", {"channel": "private-x", "auth": f"{key}:{signed}"})
    operators = find_problems(node.gateway.inspector.problems, "shop", None, "blog")
    assert len(operators) == 2
    assert shown_to_app(node.gateway.inspector.problems.groups(), "shop", None, "blog") == []
    groups = shown_to_app(node.gateway.inspector.problems.groups(), "shop", None, None)
    for group in groups:
        assert "blog" not in msgspec.json.encode(explained(group, 5)).decode()
        assert group.cause
    for entry in taken(watcher):
        assert "blog" in str(line_of(entry))
        assert "blog" not in msgspec.json.encode(entry.for_app()).decode()


def test_a_subscribe_that_only_the_store_refuses_names_its_channel(node: Node) -> None:
    client = node.connect(shape=V2_JSON)
    client.send("pusher:subscribe", {"channel": "news", "rewind": 5})
    [group] = node.gateway.inspector.problems.groups()
    assert (group.kind, group.error, group.last[0].channel) == ("subscribe_refused", "rewind_disabled", "news")


def test_what_a_slow_reader_left_unread_is_told(node: Node) -> None:
    node.configure(websocket=Settings().websocket)
    client = node.connect()
    client.session.pause()
    for _ in range(node.settings.outbound_messages + 1):
        client.session.send(Frame("tide", "news", "{}"))
    node.settle()
    [(kind, error, cause)] = problems(node)
    assert (kind, error) == ("closed", "slow_consumer")
    assert f"{node.settings.outbound_messages} messages" in (cause or "")


class TestMessages:
    def test_in_and_out(self, node: Node) -> None:
        watcher = watch(node, kinds=frozenset({"message"}))
        sender, reader = node.connect(), node.connect()
        for client in (sender, reader):
            client.subscribe("private-x")
        say(node, "private-x")
        sender.send("client-wave", {"a": 1}, channel="private-x")
        api, client_event = taken(watcher)
        assert (api.source, api.recipients, api.event, api.data, api.bytes) == ("api", 2, "tide", '{"m":2}', 7)
        assert (client_event.source, client_event.recipients, client_event.socket_id) == (
            "client",
            1,
            sender.socket_id,
        )

    def test_a_socket_hears_what_is_said_to_it_and_by_it(self, node: Node) -> None:
        client, other = node.connect(), node.connect()
        for each in (client, other):
            each.subscribe("private-x")
        other.subscribe("news")
        watcher = watch(node, app_id="app", socket_id=client.socket_id)
        say(node, "news")
        say(node, "private-x", "said-to-both")
        client.send("client-wave", {}, channel="private-x")
        client.send("pusher:unsubscribe", {"channel": "private-x"})
        say(node, "private-x", "too-late")
        assert [(entry.kind, entry.event) for entry in taken(watcher)] == [
            ("message", "said-to-both"),
            ("message", "client-wave"),
            ("unsubscribed", None),
        ]

    def test_a_pattern_is_a_way_to_hear(self, node: Node) -> None:
        client, exact = node.connect(shape=V2_JSON), node.connect(shape=V2_JSON)
        client.subscribe("news-*")
        exact.subscribe("news-*")
        exact.subscribe("news-eu")
        watcher = watch(node, app_id="app", socket_id=client.socket_id)
        say(node, "news-eu")
        [entry] = taken(watcher)
        assert entry.recipients == 2

    def test_a_user_hears_on_each_connection_and_on_its_own_channel(self, node: Node) -> None:
        client = node.connect()
        client.sign_in({"id": "ana"})
        client.subscribe("news")
        watcher = watch(node, app_id="app", user_id="ana")
        say(node, "news")
        say(node, "elsewhere")
        say(node, "#server-to-user-ana", "hello")
        say(node, "#server-to-user-bo", "hello")
        heard = taken(watcher)
        assert [(entry.channel, entry.recipients) for entry in heard] == [("news", 1), ("#server-to-user-ana", 1)]

    def test_another_app_and_another_channel_are_not_heard(self, node: Node) -> None:
        elsewhere, channel = watch(node, app_id="other"), watch(node, app_id="app", channel="news")
        say(node, "news")
        say(node, "weather")
        assert taken(elsewhere) == []
        assert [entry.channel for entry in taken(channel)] == ["news"]

    def test_a_flood_is_counted_and_makes_nothing(self, node: Node) -> None:
        watcher = node.gateway.inspector.watch(Selection(), lambda: None, capacity=10)
        for _ in range(100):
            say(node, "news")
        assert [len(entries) if isinstance(entries, list) else entries for entries in watcher.take(50)] == [10, 90]

    def test_long_data_is_cut(self, node: Node) -> None:
        watcher = watch(node)
        say(node, "news", data="ä" * 5000)
        [entry] = taken(watcher)
        assert entry.bytes == 10000
        assert entry.data == "ä" * 1000


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("Private-Room", "private-room"),
        ("room", "private-room"),
        ("presence-room", "private-room"),
        ("private_room", "private-room"),
        ("private-room ", "private-room"),
    ],
)
def test_a_message_that_nobody_hears_says_which_channel_may_be_meant(node: Node, said: str, meant: str) -> None:
    client: Client = node.connect()
    client.subscribe(meant)
    watcher = watch(node, kinds=frozenset({"message"}))
    say(node, said)
    say(node, "quite-another")
    one, other = taken(watcher)
    assert (one.recipients, one.cause) == (0, f"no connection is subscribed to this channel; 1 is to {meant}")
    assert other.cause == "no connection is subscribed to this channel"
