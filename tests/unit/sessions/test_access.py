"""How much one connection may be subscribed to, and that what is gone makes room again."""

from __future__ import annotations

import msgspec
import pytest

from sockudo.config import Settings
from sockudo.config.sections.delivery import TagFiltering
from sockudo.hub import HubOptions
from sockudo.protocol.delta import DeltaNode, DeltaOptions
from sockudo.protocol.formats import V1_JSON, V2_JSON, Format
from support.inside import Client, Node

CHANNELS = "websocket.max_channels_per_connection"
PATTERNS = "websocket.max_patterns_per_connection"
FILTERS = "websocket.max_filters_per_connection"


@pytest.fixture
def node() -> Node:
    node = Node(settings=Settings(tag_filtering=TagFiltering(enabled=True)), options=HubOptions())
    limit(node, max_channels_per_connection=3, max_patterns_per_connection=2, max_filters_per_connection=2)
    return node


def limit(node: Node, **limits: int) -> None:
    node.configure(websocket=msgspec.structs.replace(node.settings.websocket, **limits))


def subscribe(client: Client, *names: str, **more: object) -> None:
    for name in names:
        client.send("pusher:subscribe", {"channel": name, **more})


def acknowledged(client: Client) -> list[str]:
    frames = client.frames()
    assert all(str(frame["event"]).endswith(":subscription_succeeded") for frame in frames), frames
    return [str(frame["channel"]) for frame in frames]


def refusal(client: Client) -> tuple[int, str]:
    """Code and message of the one frame since the last look."""
    [frame] = client.frames()
    assert str(frame["event"]).endswith(":error"), frame
    data = frame["data"]
    assert isinstance(data, dict)
    return data["code"], data["message"]


@pytest.mark.parametrize("shape", [V1_JSON, V2_JSON])
def test_channels(node: Node, shape: Format) -> None:
    client, other = node.connect(shape=shape), node.connect(shape=shape)
    subscribe(client, "a", "b", "c", "a")
    assert acknowledged(client) == ["a", "b", "c", "a"]
    subscribe(client, "d")
    code, text = refusal(client)
    assert code == 4300
    assert CHANNELS in text
    assert "3" in text
    assert list(client.session.channels) == ["a", "b", "c"]
    assert "d" not in node.state.channels
    client.send("pusher:unsubscribe", {"channel": "b"})
    subscribe(client, "d")
    assert acknowledged(client) == ["d"]
    subscribe(other, "x", "y", "z")
    assert acknowledged(other) == ["x", "y", "z"]
    assert node.state.traffic.errors["too_many_channels"] == 1


def test_patterns(node: Node) -> None:
    client = node.connect(shape=V2_JSON)
    subscribe(client, "a*", "b*", "b*")
    assert acknowledged(client) == ["a*", "b*", "b*"]
    subscribe(client, "c*")
    code, text = refusal(client)
    assert code == 4300
    assert PATTERNS in text
    assert "2" in text
    client.send("pusher:unsubscribe", {"channel": "a*"})
    subscribe(client, "c*", "name")
    assert acknowledged(client) == ["c*", "name"]
    assert node.state.traffic.errors["too_many_patterns"] == 1


def test_filters(node: Node) -> None:
    client = node.connect(shape=V2_JSON)
    filtered = {"filter": {"expression": "data.price"}}
    subscribe(client, "a", "b", **filtered)
    subscribe(client, "b", filter={"events": ["e"]})
    assert acknowledged(client) == ["a", "b", "b"]
    subscribe(client, "c", **filtered)
    code, text = refusal(client)
    assert code == 4300
    assert FILTERS in text
    assert "2" in text
    # Whoever gives a filter up has room for another.
    subscribe(client, "a")
    subscribe(client, "c", **filtered)
    assert acknowledged(client) == ["a", "c"]
    assert node.state.traffic.errors["too_many_filters"] == 1


def test_without_limits(node: Node) -> None:
    limit(node, max_channels_per_connection=0, max_patterns_per_connection=0, max_filters_per_connection=0)
    client = node.connect(shape=V2_JSON)
    names = [f"a{number}*" for number in range(20)]
    subscribe(client, *names, filter={"events": ["e"]})
    assert acknowledged(client) == names


def test_what_limits_are_compared_with_is_right_after_every_change() -> None:
    node = Node()
    node.hub.delta_node = DeltaNode(DeltaOptions(), node.clock.monotonic)
    client = node.connect(shape=V2_JSON)
    subscribe(client, "a", "b", "c*", filter={"events": ["e"]})
    subscribe(client, "d", delta=True)
    client.send("pusher:enable_delta_compression")
    subscribe(client, "b")
    session = client.session
    gate = node.hub.hold(session, "a", session.gate_limits())
    assert gate is not None

    def counts() -> tuple[int, int, int]:
        fanouts = session.channels.values()
        expected = (
            sum("*" in name for name in session.channels),
            sum(fanout.wants.predicate is not None for fanout in fanouts),
            sum(fanout.wants.delta is not None for fanout in fanouts if "*" not in fanout.channel.name),
        )
        assert (session.patterns, session.filters, session.deltas) == expected
        return expected

    assert counts() == (1, 2, 3)
    client.send("pusher:enable_delta_compression")
    node.hub.open(gate)
    node.settle()
    assert counts() == (1, 2, 3)
    client.send("pusher:unsubscribe", {"channel": "d"})
    client.send("pusher:unsubscribe", {"channel": "c*"})
    assert counts() == (0, 1, 2)
    session.leave()
    assert counts() == (0, 0, 0)
