"""Channels without a store among nodes: who numbers them, and what is refused when that node is away."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from sockudo import errors
from sockudo.apps.resolve import Defaults
from sockudo.cluster import owners as module
from sockudo.cluster.in_process import Network
from sockudo.cluster.ports import Answers, NodeChange
from sockudo.config import Settings
from sockudo.errors import SockudoError
from sockudo.protocol.formats import V2_JSON
from sockudo.protocol.frames import Frame
from sockudo.publishing import shared_streams
from sockudo.publishing.holder import owner_key
from sockudo.publishing.nodes import Message
from sockudo.publishing.tokens import Asked, GiveTokens, HeadsOf, NumberIt, TakeTokens, Token
from support.durable import HandTime
from support.inside import Client, Node, live_app
from support.waiting import settle

SETTINGS = msgspec.structs.replace(
    Settings(), connection_recovery=msgspec.structs.replace(Settings().connection_recovery, enabled=True)
)
APP = live_app(defaults=Defaults.from_settings(SETTINGS))


class Trio:
    """A node that owns the channel ``news``, one that does not, and a third."""

    def __init__(self, count: int = 3) -> None:
        self.network, self.time = Network(), HandTime()
        nodes = [self.node() for _ in range(count)]
        owner = nodes[0].membership.owner(owner_key((APP.id, "news")))
        self.owner = next(node for node in nodes if node.membership.me == owner)
        self.others = [node for node in nodes if node is not self.owner]
        self.nodes = nodes

    def node(self) -> Node:
        node = Node(APP, settings=SETTINGS, network=self.network, clock=self.time, sleep=self.time.sleep)
        assert node.state.replay.position("news").serial == 0
        return node

    async def settle(self, turns: int = 15) -> None:
        for _ in range(turns):
            for node in self.nodes:
                node.settle()
            await settle(3)

    def publish(self, node: Node, data: str = "x", channel: str = "news", key: str | None = None) -> tuple[Frame, Any]:
        frame = Frame("said", channel, data)
        return frame, node.publisher.publish(APP, node.state, frame, self.time.monotonic(), key=key)

    def subscriber(self, node: Node) -> Client:
        client = node.connect(shape=V2_JSON)
        client.subscribe("news")
        return client


@pytest.fixture
def trio() -> Trio:
    return Trio()


async def test_the_owner_numbers_at_once_and_every_other_node_waits_for_it(trio: Trio) -> None:
    frame, pending = trio.publish(trio.owner)
    # The first one waits for a token that another node may have.
    await trio.settle()
    assert pending.result().position == (frame.stream_id, 1)
    frame, pending = trio.publish(trio.owner)
    assert (pending, frame.serial) == (None, 2)
    frame, pending = trio.publish(trio.others[0])
    assert frame.serial is None
    await trio.settle()
    assert pending.result().position == (frame.stream_id, 3)


async def test_a_publish_is_counted_once_where_it_was_accepted(trio: Trio) -> None:
    for node in trio.nodes:
        trio.publish(node)
    await trio.settle()
    assert [node.state.traffic.published for node in trio.nodes] == [1, 1, 1]


async def test_a_refused_number_is_asked_for_again_where_the_owner_is_then(trio: Trio) -> None:
    trio.publish(trio.others[0])
    await trio.settle()
    trio.network.leave(trio.owner.membership.me)
    node = trio.others[0]
    frame, pending = trio.publish(node)
    await trio.settle()
    assert pending is None or pending.result().position == (frame.stream_id, 1)


@pytest.mark.parametrize("what", ["publish", "resume"])
async def test_an_owner_that_does_not_answer_is_a_refusal(
    trio: Trio, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = trio.others[0]
    client = trio.subscriber(node)
    await trio.settle()
    monkeypatch.setattr(module, "DEADLINE", 0)

    async def nothing(_: Any) -> None:
        await asyncio.Event().wait()

    for kind in (NumberIt, HeadsOf, GiveTokens):
        trio.owner.router.on_request(kind, nothing)
    if what == "publish":
        _, pending = trio.publish(node)
        with pytest.raises(SockudoError) as refused:
            await pending
        assert refused.value.spec is errors.STREAM_OWNER_UNAVAILABLE
        assert (refused.value.spec.status, refused.value.retry_after) == (503, 1)
        await settle()
        assert node.shared._counts.numbers_refused == 1
        return
    node.shared._following._lost([f"c:{APP.id}:news"])
    client.frames()
    client.send("sockudo:resume", {"channel_positions": {"news": {"serial": 0, "stream_id": "s"}}})
    await settle()
    failed = [msgspec.json.decode(f["data"]) for f in client.frames() if f["event"].endswith("resume_failed")]
    assert [(f["code"], f["reason"]) for f in failed] == [("continuity_unverifiable", "stream_owner_unavailable")]


async def test_what_was_numbered_without_an_answer_has_that_number_when_it_is_tried_again(
    trio: Trio, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, other = trio.others
    client = trio.subscriber(other)
    await trio.settle()
    client.frames()
    ask = node.bus.ask

    async def deaf(request: Any, **how: Any) -> Answers:
        answers = await ask(request, **how)
        return Answers({}, complete=False) if isinstance(request, NumberIt) else answers

    monkeypatch.setattr(node.bus, "ask", deaf)
    _, pending = trio.publish(node, key="k")
    await trio.settle()
    with pytest.raises(SockudoError) as refused:
        await pending
    assert refused.value.spec is errors.STREAM_OWNER_UNAVAILABLE
    monkeypatch.undo()
    for again in (other, trio.owner, node):
        _, pending = trio.publish(again, key="k")
        await trio.settle()
        assert pending is None or pending.result().position.serial == 1
    # What comes later than keys are remembered is another message, and so is another one under the same key.
    _, changed = trio.publish(other, "y", key="z")
    await trio.settle()
    await trio.time.elapse(APP.idempotency_ttl + 1)
    _, late = trio.publish(other, key="k")
    await trio.settle()
    assert [each.result().position.serial for each in (changed, late)] == [2, 3]
    said = [frame["serial"] for frame in client.frames() if frame["event"] == "said"]
    assert said == [1, 2, 3]


async def test_what_is_remembered_of_publishes_is_bounded(trio: Trio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_streams, "_MOST_ONCE", 3)
    for number in range(5):
        trio.publish(trio.others[0], str(number), key=str(number))
        await trio.settle()
    assert [each.place.serial for each in trio.owner.shared._once.values()] == [3, 4, 5]


async def test_a_subscriber_is_let_in_without_a_place_when_the_owner_does_not_answer(
    trio: Trio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEADLINE", 0)

    async def nothing(_: Any) -> None:
        await asyncio.Event().wait()

    trio.owner.router.on_request(HeadsOf, nothing)
    client = trio.subscriber(trio.others[0])
    await settle()
    [frame] = client.frames()
    assert frame["event"] == "sockudo_internal:subscription_succeeded"
    assert "serial" not in frame


async def test_too_many_publishes_that_wait_are_refused(trio: Trio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_streams, "_MOST_WAITING", 1)
    trio.publish(trio.others[0])
    with pytest.raises(SockudoError) as refused:
        trio.publish(trio.others[0])
    assert refused.value.spec is errors.STREAM_OWNER_UNAVAILABLE


async def test_a_token_is_given_once_and_its_giver_numbers_nothing_more(trio: Trio) -> None:
    _, pending = trio.publish(trio.owner)
    await trio.settle()
    assert pending.done()
    give = GiveTokens(((APP.id, "news"),))
    [token] = trio.owner.router.answer(give)
    assert isinstance(token, Token)
    assert (token.next_serial, len(token.messages)) == (2, 1)
    assert trio.owner.router.answer(give) == [None]
    counts = trio.owner.shared._counts
    assert (counts.streams_begun, counts.tokens_given, counts.tokens_taken) == (1, 1, 0)
    buffer = trio.owner.state.replay.get("news")
    assert buffer is not None
    assert not buffer.held
    # It is lost: the next message begins another stream.
    frame, pending = trio.publish(trio.owner)
    await trio.settle()
    assert pending.result().position.serial == 1
    assert frame.stream_id != token.stream_id


async def test_a_token_that_is_passed_on_while_it_is_asked_for_is_kept(trio: Trio) -> None:
    give, news = GiveTokens(((APP.id, "news"),)), (APP.id, "news")
    trio.publish(trio.owner)
    await trio.settle()
    [token] = trio.owner.router.answer(give)
    assert isinstance(token, Token)
    # It is under way when the owner wants it again, and no node has it any more.
    frame, pending = trio.publish(trio.owner)
    await asyncio.sleep(0)
    trio.owner.router.answer(TakeTokens(((news, token),)))
    await trio.settle()
    assert pending.result().position.serial == 2
    assert frame.stream_id == token.stream_id
    assert trio.owner.router.answer(give)[0].next_serial == 3


async def test_a_node_that_leaves_passes_on_what_is_on_its_way_to_it(trio: Trio) -> None:
    give, news = GiveTokens(((APP.id, "news"),)), (APP.id, "news")
    trio.publish(trio.owner)
    await trio.settle()
    [token] = trio.owner.router.answer(give)
    trio.publish(trio.owner)
    await asyncio.sleep(0)
    trio.owner.router.answer(TakeTokens(((news, token),)))
    leaving = asyncio.ensure_future(trio.owner.shared.hand_over())
    await trio.settle()
    await leaving
    await trio.owner.shared.close()
    given = [node.router.answer(give)[0] for node in trio.others]
    assert [one.stream_id for one in given if one is not None] == [token.stream_id]


async def test_of_nodes_that_leave_together_none_passes_a_token_to_another(trio: Trio) -> None:
    frame, _ = trio.publish(trio.owner)
    await trio.settle()
    ranked = [node.id for node in trio.owner.membership.ranked(owner_key((APP.id, "news")))]
    first, second, last = sorted(trio.nodes, key=lambda node: ranked.index(node.membership.me.id))
    leaving = [asyncio.ensure_future(node.shared.hand_over()) for node in (first, second)]
    await trio.settle()
    await asyncio.gather(*leaving)
    [token] = last.router.answer(GiveTokens(((APP.id, "news"),)))
    assert token is not None
    assert token.stream_id == frame.stream_id


async def test_another_node_does_not_number(trio: Trio) -> None:
    node = trio.others[0]
    message = NumberIt(Message(APP.id, Frame("said", "news", "x")))
    assert node.router.answer(message) is None
    assert await node.router.answer(HeadsOf((Asked(APP.id, "news"),))) == [None]


async def test_a_node_that_was_held_dead_gives_up_its_tokens(trio: Trio) -> None:
    trio.publish(trio.owner)
    await trio.settle()
    members = trio.owner.membership
    members.tell(NodeChange(members.me, "up"))  # type: ignore[attr-defined]
    assert trio.owner.state.replay.channels(held=True) == []
