"""What every bus promises: sentence by sentence of `sockudo.cluster.ports.Bus`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from support.clusters import BUSES, Echo, Ground, Joined, Note, ground_of

TOPIC = "c:app:room"


@pytest.fixture(params=BUSES)
async def ground(request: pytest.FixtureRequest) -> AsyncIterator[Ground]:
    ground = ground_of(request.param)
    yield ground
    await ground.close()


async def subscribe(node: Joined, topic: str = TOPIC) -> None:
    confirmed = node.bus.subscribe(topic)
    if confirmed is not None:
        await confirmed


# ---- items ----


async def test_an_item_reaches_the_other_subscribers_and_not_its_sender(ground: Ground) -> None:
    a, b, c = [await ground.join(name) for name in "abc"]
    for node in (a, b, c):
        await subscribe(node)
    a.bus.publish(TOPIC, Note("hello"))
    await ground.settle()
    assert (a.texts, b.texts, c.texts) == ([], ["hello"], ["hello"])
    assert b.arrived[0].sender == a.membership.me
    assert b.arrived[0].topic == TOPIC


async def test_only_subscribers_of_the_topic_hear_an_item(ground: Ground) -> None:
    a, b, c = [await ground.join(name) for name in "abc"]
    await subscribe(b, "c:app:other")
    await subscribe(c)
    a.bus.publish(TOPIC, Note("hello"))
    await ground.settle()
    assert (b.texts, c.texts) == ([], ["hello"])


async def test_items_of_one_sender_keep_their_order_and_are_numbered_for_each_topic(ground: Ground) -> None:
    a, b = [await ground.join(name) for name in "ab"]
    await subscribe(b)
    await subscribe(b, "c:app:other")
    for number in range(300):
        a.bus.publish(TOPIC if number % 3 else "c:app:other", Note(str(number)))
        if number % 100 == 50:
            await ground.settle()
    await ground.settle()
    for topic, expected in ((TOPIC, 200), ("c:app:other", 100)):
        heard = [received for received in b.arrived if received.topic == topic]
        assert [received.sequence for received in heard] == list(range(1, expected + 1))
        numbers = [int(received.item.text) for received in heard if isinstance(received.item, Note)]
        assert numbers == sorted(numbers)


async def test_after_the_end_of_a_subscription_nothing_arrives(ground: Ground) -> None:
    a, b = [await ground.join(name) for name in "ab"]
    await subscribe(b)
    await subscribe(b)
    b.bus.unsubscribe(TOPIC)
    b.bus.unsubscribe("c:app:never")
    await ground.settle()
    a.bus.publish(TOPIC, Note("hello"))
    await ground.settle()
    assert b.texts == []
    await subscribe(b)
    a.bus.publish(TOPIC, Note("again"))
    await ground.settle()
    assert b.texts == ["again"]


async def test_publishing_never_delivers_within_the_call(ground: Ground) -> None:
    a, b = [await ground.join(name) for name in "ab"]
    await subscribe(b)
    a.bus.publish(TOPIC, Note("hello"))
    assert b.texts == []
    await ground.settle()
    assert b.texts == ["hello"]


async def test_what_is_published_while_items_arrive_arrives_too(ground: Ground) -> None:
    a, b = [await ground.join(name) for name in "ab"]
    await subscribe(a, "c:app:back")
    await subscribe(b)
    b.router.on_item(Note, lambda _received, note: b.bus.publish("c:app:back", Note(f"re: {note.text}")))
    a.bus.publish(TOPIC, Note("one"))
    a.bus.publish(TOPIC, Note("two"))
    await ground.settle()
    await ground.settle()
    assert a.texts == ["re: one", "re: two"]


# ---- interest ----


async def test_a_node_alone_has_nobody_who_is_interested(ground: Ground) -> None:
    a = await ground.join("a")
    await subscribe(a)
    assert a.bus.alone
    assert not a.bus.interested(TOPIC)


async def test_interest_of_another_node_is_never_denied(ground: Ground) -> None:
    a, b = [await ground.join(name) for name in "ab"]
    assert not a.bus.alone
    await subscribe(b)
    assert a.bus.interested(TOPIC)


async def publish_until_quiet(node: Joined) -> None:
    """Publishes as long as another node may be interested."""
    async with asyncio.timeout(10):
        while node.bus.interested(TOPIC):
            node.bus.publish(TOPIC, Note("into the void"))
            await asyncio.sleep(0.005)


async def test_what_no_other_node_wants_is_known_after_some_time(ground: Ground) -> None:
    a, b, _ = [await ground.join(name) for name in "abc"]
    await subscribe(a)
    await publish_until_quiet(a)
    await subscribe(b)
    assert a.bus.interested(TOPIC)
    a.bus.publish(TOPIC, Note("hello"))
    await ground.settle()
    assert b.texts == ["hello"]


async def test_a_node_that_joins_later_is_not_denied_either(ground: Ground) -> None:
    a, _ = [await ground.join(name) for name in "ab"]
    await publish_until_quiet(a)
    late = await ground.join("late")
    await subscribe(late)
    assert a.bus.interested(TOPIC)


async def test_every_publisher_is_told_of_the_same_interest(ground: Ground) -> None:
    a, b, c = [await ground.join(name) for name in "abc"]
    await publish_until_quiet(a)
    await publish_until_quiet(b)
    await subscribe(c)
    assert a.bus.interested(TOPIC)
    assert b.bus.interested(TOPIC)
    for node in (a, b):
        node.bus.publish(TOPIC, Note(node.membership.me.name))
    await ground.settle()
    assert sorted(c.texts) == ["a", "b"]


async def test_a_node_that_left_is_alone_and_so_is_the_one_that_stays(ground: Ground) -> None:
    a, b = [await ground.join(name) for name in "ab"]
    await subscribe(b)
    b.leave()
    await ground.settle()
    assert a.bus.alone
    assert not a.bus.interested(TOPIC)
    a.bus.publish(TOPIC, Note("hello"))
    b.bus.publish(TOPIC, Note("from outside"))
    await ground.settle()
    assert b.texts == []


# ---- requests ----


async def test_every_live_node_answers_once_this_one_too(ground: Ground) -> None:
    a, b, c = [await ground.join(name) for name in "abc"]
    answers = await a.bus.ask(Echo("x"), deadline=5)
    assert answers.complete
    assert answers.values == {node.membership.me.id: f"{node.membership.me.name}:x" for node in (a, b, c)}


async def test_only_the_nodes_that_are_named_are_asked(ground: Ground) -> None:
    a, b, c = [await ground.join(name) for name in "abc"]
    c.answer_with(lambda _echo: pytest.fail("was not to be asked"))
    answers = await a.bus.ask(Echo("x"), deadline=5, nodes=[b.membership.me.id])
    assert answers.complete
    assert answers.values == {b.membership.me.id: "b:x"}


async def test_answers_that_take_time_are_waited_for(ground: Ground) -> None:
    a, b = [await ground.join(name) for name in "ab"]

    async def later(echo: Echo) -> str:
        await asyncio.sleep(0)
        return f"later:{echo.text}"

    b.answer_with(later)
    answers = await a.bus.ask(Echo("x"), deadline=5)
    assert answers.complete
    assert answers.values[b.membership.me.id] == "later:x"


async def test_without_an_answer_before_the_deadline_the_rest_is_given_and_marked(ground: Ground) -> None:
    a, b = [await ground.join(name) for name in "ab"]
    never = asyncio.Event()

    async def wait(_echo: Echo) -> str:
        await never.wait()
        return "too late"

    b.answer_with(wait)
    answers = await a.bus.ask(Echo("x"), deadline=0.05)
    assert not answers.complete
    assert answers.values == {a.membership.me.id: "a:x"}
    never.set()
    await ground.settle()
    assert answers.values == {a.membership.me.id: "a:x"}


async def test_a_node_that_cannot_answer_makes_the_answers_incomplete(ground: Ground) -> None:
    a, b = [await ground.join(name) for name in "ab"]

    async def fail(_echo: Echo) -> str:
        raise OSError("no disk")

    b.answer_with(fail)
    answers = await a.bus.ask(Echo("x"), deadline=5)
    assert not answers.complete
    assert answers.values == {a.membership.me.id: "a:x"}


async def test_a_node_that_goes_is_not_waited_for(ground: Ground) -> None:
    a, b = [await ground.join(name) for name in "ab"]
    asked = asyncio.Event()

    async def wait(_echo: Echo) -> None:
        asked.set()
        await asyncio.Event().wait()

    b.answer_with(wait)
    question = asyncio.ensure_future(a.bus.ask(Echo("x"), deadline=60))
    await asyncio.wait_for(asked.wait(), 5)
    b.leave()
    answers = await asyncio.wait_for(question, 5)
    assert answers.complete
    assert answers.values == {a.membership.me.id: "a:x"}
