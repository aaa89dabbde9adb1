"""One resume from its frame to its last place: what is answered at once, what waits, and what ends it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sockudo.apps.resolve import Defaults
from sockudo.config import Settings
from sockudo.protocol.formats import V2_JSON
from sockudo.protocol.frames import Frame
from sockudo.sessions.sweeper import check
from support.inside import Client, Node, live_app
from support.waiting import settle

UNAUTHORIZED = "channel_not_authorized"


@pytest.fixture
def node() -> Node:
    settings = Settings()
    recovery = msgspec.structs.replace(settings.connection_recovery, enabled=True)
    settings = msgspec.structs.replace(settings, connection_recovery=recovery)
    return Node(live_app(defaults=Defaults.from_settings(settings)), settings=settings)


@pytest.fixture
def client(node: Node) -> Client:
    return node.connect(shape=V2_JSON)


def publish(node: Node, channel: str, *data: str) -> dict[str, Any]:
    """Publishes each, and returns the position before the first of them."""
    frames = [Frame("said", channel, f'"{each}"') for each in data]
    for frame in frames:
        assert node.publisher.publish(node.app, node.state, frame, node.clock.monotonic(), exclude=None) is None
    assert frames[0].serial is not None
    return {"stream_id": frames[0].stream_id, "serial": frames[0].serial - 1}


async def resume(client: Client, **positions: dict[str, Any]) -> list[Any]:
    client.send("sockudo:resume", {"channel_positions": positions})
    await settle()
    return said(client)


def said(client: Client) -> list[Any]:
    """What each frame says: the data of a message, what failed and why, the channels of the aggregate."""
    shown: list[Any] = []
    for frame in client.frames():
        name, data = frame["event"].split(":")[-1], frame.get("data")
        if name == "said":
            shown.append(msgspec.json.decode(data))
        elif name == "resume_failed":
            shown.append((frame["channel"], msgspec.json.decode(data)["reason"]))
        elif name == "resume_success":
            told = msgspec.json.decode(data)
            shown.append({key: [entry["channel"] for entry in entries] for key, entries in told.items()})
        else:
            shown.append(name)
    return shown


async def test_a_subscribed_channel_is_told_what_it_missed_and_nothing_is_kept(node: Node, client: Client) -> None:
    client.subscribe("news")
    start = publish(node, "news", "1", "2")
    client.frames()
    assert await resume(client, news=start) == ["1", "2", {"recovered": ["news"], "failed": []}]
    assert client.session.resuming is None


async def test_a_public_channel_is_told_ahead_and_its_subscribe_goes_on_from_there(node: Node, client: Client) -> None:
    start = publish(node, "news", "1")
    assert await resume(client, news=start) == ["1", {"recovered": ["news"], "failed": []}]
    publish(node, "news", "2")
    node.clock.advance(11)
    check(client.session, node.clock.monotonic())
    assert said(client) == []
    client.subscribe("news")
    assert said(client) == ["subscription_succeeded", "2"]
    assert client.session.resuming is None


async def test_the_aggregate_waits_for_what_needs_a_signature(node: Node, client: Client) -> None:
    starts = {"private-a": publish(node, "private-a", "1"), "b": publish(node, "b", "2")}
    assert await resume(client, **starts) == ["2"]
    client.subscribe("private-a")
    assert said(client) == ["subscription_succeeded", "1", {"recovered": ["b", "private-a"], "failed": []}]


async def test_what_is_not_subscribed_to_in_time_has_failed(node: Node, client: Client) -> None:
    start = publish(node, "private-a", "1")
    assert await resume(client, **{"private-a": start}) == []
    node.clock.advance(9.9)
    check(client.session, node.clock.monotonic())
    assert said(client) == []
    node.clock.advance(0.2)
    check(client.session, node.clock.monotonic())
    assert said(client) == [("private-a", UNAUTHORIZED), {"recovered": [], "failed": ["private-a"]}]
    assert client.session.resuming is None
    client.subscribe("private-a")
    assert said(client) == ["subscription_succeeded"]


async def test_another_resume_ends_the_one_before_it_first(node: Node, client: Client) -> None:
    start, other = publish(node, "private-a", "1"), publish(node, "b", "2")
    assert await resume(client, **{"private-a": start}) == []
    first = [("private-a", UNAUTHORIZED), {"recovered": [], "failed": ["private-a"]}]
    assert await resume(client, b=other) == [*first, "2", {"recovered": ["b"], "failed": []}]


async def test_what_may_not_be_read_fails_at_once(client: Client) -> None:
    position = {"stream_id": "s", "serial": 1}
    names = ("news-*", "[meta]news", "#server-to-user-ana")
    assert await resume(client, **dict.fromkeys(names, position)) == [
        *((name, UNAUTHORIZED) for name in names),
        {"recovered": [], "failed": list(names)},
    ]


async def test_frames_behind_a_resume_wait_for_it(node: Node, client: Client) -> None:
    start = publish(node, "news", "1")
    client.send("sockudo:resume", {"channel_positions": {"news": start}})
    client.send("sockudo:ping")
    await settle()
    assert said(client) == ["1", {"recovered": ["news"], "failed": []}, "pong"]


async def test_the_end_of_the_session_gives_the_resume_up(node: Node, client: Client) -> None:
    start = publish(node, "private-a", "1")
    await resume(client, **{"private-a": start})
    client.session.leave()
    assert client.session.resuming is None
    assert node.state.traffic.recovery_failures == {}
