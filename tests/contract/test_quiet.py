"""Over every carrier: what no other node wants leaves no trace on the broker, and nothing is lost by that."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from sockudo.cluster.members import Timing
from sockudo.cluster.network import NetworkBus, join_carrier
from support.carriers import CARRIERS, Broker, broker_of
from support.clusters import Joined, Note
from support.redis_carriers import REDIS_CARRIERS, redis_broker_of
from support.waiting import until

TOPIC = "c:app:room"
# The mesh knows what is wanted, and never asks.
KINDS = [kind for kind in (*CARRIERS, *REDIS_CARRIERS) if kind not in ("memory", "mesh")]


class Nodes:
    """Nodes on the carriers of one broker, closed at the end of the test."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.buses: list[NetworkBus] = []

    async def join(self, name: str) -> Joined:
        bus = join_carrier(self.broker.carrier(), name, Timing(0.5, 3))
        node = Joined(bus, bus.membership, bus.leave)
        await bus.open()
        self.buses.append(bus)
        return node


@pytest.fixture(params=KINDS)
async def nodes(request: pytest.FixtureRequest) -> AsyncIterator[Nodes]:
    make: Any = redis_broker_of if request.param in REDIS_CARRIERS else broker_of
    nodes = Nodes(make(request.param, request))
    yield nodes
    for bus in nodes.buses:
        await bus.close()
    await nodes.broker.close()


def publish(node: Joined, text: str, topic: str = TOPIC) -> bool:
    """Publishes as the server does; whether it went to the broker."""
    wanted = node.bus.interested(topic)
    if wanted:
        node.bus.publish(topic, Note(text))
    return wanted


def texts_of(node: Joined) -> list[str]:
    """What arrived of that for which it had subscribed; a node that polls may get what was published before."""
    return [text for text in node.texts if text != "unheard"]


async def subscribe(node: Joined, topic: str = TOPIC) -> None:
    confirmed = node.bus.subscribe(topic)
    if confirmed is not None:
        await asyncio.wait_for(confirmed, 30)


async def test_a_topic_that_no_other_node_wants_is_left_alone_until_one_does(nodes: Nodes) -> None:
    a, b, c = [await nodes.join(name) for name in "abc"]
    await subscribe(a)
    await until(lambda: not publish(a, "unheard"))
    sent = a.bus.counts.sent  # type: ignore[attr-defined]
    quiet = [publish(a, "unheard") for _ in range(200)]
    assert not any(quiet)
    assert a.bus.counts.sent == sent  # type: ignore[attr-defined]
    await subscribe(b)
    assert publish(a, "first")
    await until(lambda: texts_of(b) == ["first"])
    assert texts_of(c) == []


async def test_what_is_published_after_a_confirmed_subscription_arrives(nodes: Nodes) -> None:
    a, b, c = [await nodes.join(name) for name in "abc"]
    rng = random.Random(1)
    topics = [f"c:app:{number}" for number in range(20)]
    await until_all_are_quiet(a, topics)
    expected: dict[str, list[str]] = {"b": [], "c": []}
    for topic in topics:
        node = rng.choice((b, c))
        await subscribe(node, topic)
        assert publish(a, topic, topic)
        expected[node.membership.me.name].append(topic)
    for node in (b, c):
        # Nothing holds between two topics.
        texts = sorted(expected[node.membership.me.name])
        await until(lambda node=node, texts=texts: sorted(texts_of(node)) == texts)


async def until_all_are_quiet(node: Joined, topics: Sequence[str]) -> None:
    """Publishes on them for so long."""

    def publish_on_all() -> bool:
        return sum(publish(node, "unheard", topic) for topic in topics) == 0

    await until(publish_on_all)


async def test_what_one_publishes_all_the_time_reaches_the_other_from_the_confirmation_on(nodes: Nodes) -> None:
    a, b = [await nodes.join(name) for name in "ab"]
    for round_ in range(5):
        topic = f"c:app:{round_}"
        await until_all_are_quiet(a, [topic])
        confirmed = asyncio.ensure_future(subscribe(b, topic))
        number = before = 0
        while number < before + 50:
            number += 1
            publish(a, str(number), topic)
            if not confirmed.done():
                before = number
            await asyncio.sleep(0)
        await until(lambda last=str(number): last in texts_of(b))
        texts = texts_of(b)
        # In their order, without a gap, at the latest from the first one after the confirmation on.
        assert texts == [str(each) for each in range(int(texts[0]), number + 1)]
        assert int(texts[0]) <= before + 1
        b.arrived.clear()


async def test_an_asker_that_was_cut_off_meanwhile_sends_what_is_wanted(nodes: Nodes) -> None:
    a, b = [await nodes.join(name) for name in "ab"]
    await until(lambda: not publish(a, "unheard"))
    await nodes.broker.cut(nodes.buses[0].carrier)
    await subscribe(b)
    assert publish(a, "hello")
    await until(lambda: publish(a, "again") and "again" in texts_of(b))


async def test_a_subscriber_that_was_cut_off_is_heard_in_the_end(nodes: Nodes) -> None:
    a, b = [await nodes.join(name) for name in "ab"]
    await until(lambda: not publish(a, "unheard"))
    await nodes.broker.cut(nodes.buses[1].carrier)
    await subscribe(b)
    assert publish(a, "hello")
    await until(lambda: "hello" in texts_of(b))


async def test_a_node_that_joins_is_not_passed_over(nodes: Nodes) -> None:
    a, _ = [await nodes.join(name) for name in "ab"]
    await until(lambda: not publish(a, "unheard"))
    c = await nodes.join("c")
    await subscribe(c)
    assert publish(a, "hello")
    await until(lambda: texts_of(c) == ["hello"])
