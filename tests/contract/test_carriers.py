"""What every carrier promises: sentence by sentence of `sockudo.cluster.carrier.Carrier`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from sockudo.cluster.carrier import Carrier
from support.carriers import CARRIERS, Broker, Heard, broker_of
from support.redis_carriers import REDIS_CARRIERS, redis_broker_of

TOPIC = "c:app:room"


@pytest.fixture(params=[*CARRIERS, *REDIS_CARRIERS])
async def broker(request: pytest.FixtureRequest) -> AsyncIterator[Broker]:
    make = redis_broker_of if request.param in REDIS_CARRIERS else broker_of
    broker: Broker = make(request.param, request)
    yield broker
    await broker.close()


class Nodes:
    """Opened carriers of one broker, closed at the end of the test."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.opened: list[Carrier] = []

    async def open(self) -> tuple[Carrier, Heard]:
        carrier, heard = self.broker.carrier(), Heard()
        await asyncio.wait_for(carrier.open(heard), 10)
        self.opened.append(carrier)
        return carrier, heard


@pytest.fixture
async def nodes(broker: Broker) -> AsyncIterator[Nodes]:
    nodes = Nodes(broker)
    yield nodes
    for carrier in nodes.opened:
        await carrier.close()


async def subscribe(carrier: Carrier, *topics: str) -> None:
    confirmed = [carrier.subscribe(topic) for topic in topics]
    await asyncio.wait_for(asyncio.gather(*confirmed), 10)


async def test_opening_tells_that_it_works(nodes: Nodes) -> None:
    carrier, heard = await nodes.open()
    assert heard.links == ["up"]
    assert carrier.name
    assert carrier.max_payload >= 64 * 1024
    assert carrier.dropped == 0


async def test_a_payload_reaches_every_subscriber_its_publisher_too(nodes: Nodes) -> None:
    (a, at_a), (b, at_b), (_, at_c) = [await nodes.open() for _ in range(3)]
    await subscribe(a, TOPIC)
    await subscribe(b, TOPIC)
    a.publish(TOPIC, b"hello")
    for heard in (at_a, at_b):
        await heard.until(lambda heard: heard.payloads == [(TOPIC, b"hello")])
    assert at_c.payloads == []


async def test_any_topic_and_any_bytes_come_as_they_were_sent(nodes: Nodes) -> None:
    (a, _), (b, heard) = [await nodes.open() for _ in range(2)]
    topics = ["all", "n:" + "0f" * 16, "c:app:presence-a.b;c=d@e,f_g-h", "u:app:名前 with spaces\n*>?[", "w:app"]
    await subscribe(b, *topics)
    payloads = [bytes(range(256)), b"\x00", b"x" * 7_900, b"y" * 70_000, bytes(range(256)) * 1_000]
    for topic, payload in zip(topics, payloads, strict=True):
        a.publish(topic, payload)
    await heard.until(lambda heard: len(heard.payloads) == len(topics))
    assert sorted(heard.payloads) == sorted(zip(topics, payloads, strict=True))


async def test_payloads_of_one_publisher_on_one_topic_keep_their_order(nodes: Nodes) -> None:
    (a, _), (b, heard) = [await nodes.open() for _ in range(2)]
    await subscribe(b, TOPIC, "c:app:other")
    for number in range(1_000):
        # Long and short ones may take different ways.
        a.publish(TOPIC if number % 3 else "c:app:other", b"%d:" % number + b"x" * (9_000 if number % 50 == 7 else 10))
        if number % 100 == 50:
            await asyncio.sleep(0.001)
    await heard.until(lambda heard: len(heard.payloads) == 1_000)
    for topic in (TOPIC, "c:app:other"):
        numbers = [int(payload.partition(b":")[0]) for name, payload in heard.payloads if name == topic]
        assert numbers == sorted(numbers)


async def test_what_is_published_after_the_confirmation_arrives(nodes: Nodes) -> None:
    (a, _), (b, heard) = [await nodes.open() for _ in range(2)]
    for number in range(50):
        await subscribe(b, f"c:app:{number}")
        a.publish(f"c:app:{number}", b"now")
    await heard.until(lambda heard: len(heard.payloads) == 50)


async def test_after_the_end_of_a_subscription_nothing_arrives(nodes: Nodes) -> None:
    (a, _), (b, heard) = [await nodes.open() for _ in range(2)]
    await subscribe(b, TOPIC, "c:app:other")
    await subscribe(b, TOPIC)
    b.unsubscribe(TOPIC)
    b.unsubscribe("c:app:never")
    # The confirmation of a later one shows that the end is in force.
    await subscribe(b, "c:app:later")
    a.publish(TOPIC, b"hello")
    a.publish("c:app:later", b"end")
    await heard.until(lambda heard: ("c:app:later", b"end") in heard.payloads)
    assert heard.payloads == [("c:app:later", b"end")]
    await subscribe(b, TOPIC)
    a.publish(TOPIC, b"again")
    await heard.until(lambda heard: heard.payloads[-1] == (TOPIC, b"again"))


async def test_interest_of_another_is_never_denied(nodes: Nodes) -> None:
    (a, _), (b, _) = [await nodes.open() for _ in range(2)]
    await subscribe(b, TOPIC)
    assert a.interested is None or a.interested(TOPIC)


async def test_many_topics_are_confirmed_together(nodes: Nodes) -> None:
    (a, _), (b, heard) = [await nodes.open() for _ in range(2)]
    topics = [f"c:app:{number}" for number in range(3_000)]
    await subscribe(b, *topics)
    for topic in topics[::300]:
        a.publish(topic, b"here")
    await heard.until(lambda heard: len(heard.payloads) == 10)


async def test_after_a_cut_it_connects_and_subscribes_by_itself(nodes: Nodes) -> None:
    (a, _), (b, heard) = [await nodes.open() for _ in range(2)]
    await subscribe(b, TOPIC, "c:app:other")
    await nodes.broker.cut(b)
    await heard.until(lambda heard: heard.links == ["up", "down", "up"])
    for topic in (TOPIC, "c:app:other"):
        a.publish(topic, b"after")
    await heard.until(lambda heard: len(heard.payloads) == 2)


async def test_a_reconnection_that_is_asked_for_is_told(nodes: Nodes) -> None:
    (a, _), (b, heard) = [await nodes.open() for _ in range(2)]
    await subscribe(b, TOPIC)
    b.reconnect()
    await heard.until(lambda heard: heard.links == ["up", "down", "up"])
    a.publish(TOPIC, b"after")
    await heard.until(lambda heard: heard.payloads == [(TOPIC, b"after")])


async def test_a_subscription_of_a_cut_carrier_is_confirmed_once_it_is_back(nodes: Nodes) -> None:
    (a, _), (b, heard) = [await nodes.open() for _ in range(2)]
    await nodes.broker.cut(b)
    await subscribe(b, TOPIC)
    a.publish(TOPIC, b"hello")
    await heard.until(lambda heard: heard.payloads == [(TOPIC, b"hello")])


async def test_what_is_published_in_one_turn_before_closing_is_sent(nodes: Nodes) -> None:
    (a, _), (b, heard) = [await nodes.open() for _ in range(2)]
    await subscribe(b, TOPIC)
    for number in range(100):
        a.publish(TOPIC, b"%d" % number)
    await a.close()
    await heard.until(lambda heard: len(heard.payloads) == 100)


async def test_a_closed_carrier_takes_and_tells_nothing(nodes: Nodes) -> None:
    (a, _), (b, at_b), (c, at_c) = [await nodes.open() for _ in range(3)]
    await subscribe(b, TOPIC)
    await subscribe(c, TOPIC)
    await b.close()
    a.publish(TOPIC, b"hello")
    b.publish(TOPIC, b"from a closed one")
    await at_c.until(lambda heard: heard.payloads == [(TOPIC, b"hello")])
    assert at_b.payloads == []
    assert at_b.links == ["up"]
