"""Several nodes with a history over one store: what one stores the others deliver, in order and once
(spec: history § 2.1)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from contract.history import APP, HistoryNode, open_nodes
from contract.places import Place
from sockudo.base.components import Component
from sockudo.base.stream_records import Append, Position, Retention
from sockudo.cluster.in_process import Network, join_network
from sockudo.cluster.ports import Membership
from sockudo.drivers import MemoryHistoryStore
from sockudo.history import (
    Failed,
    History,
    HistoryOptions,
    HistoryQuery,
    PresenceHistory,
    Replayed,
    Reset,
)
from sockudo.hub.edges import MemberReported
from support.waiting import wait_until
from unit.history.presence import ROOM, added, observed_app


@pytest.fixture
async def nodes(place: Place) -> AsyncIterator[list[HistoryNode]]:
    """Three nodes with a subscriber in ``news`` each."""
    opened = await open_nodes(place, "a", "b", "c")
    for node in opened:
        await node.attach()
    yield opened
    for node in opened:
        await node.history.close()


async def recover(node: HistoryNode, position: Position) -> Replayed | Failed:
    return await node.history.replay(APP, "news", stream_id=position.stream_id, serial=position.serial, max_size=10_000)


async def test_two_nodes_publish_in_turn_a_thousand_times(
    nodes: list[HistoryNode], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = nodes[:2]
    start = await one.attach()
    for number in range(1000):
        node, told = (one, other) if number % 2 else (other, one)
        position = await node.say()
        assert position == Position(start.stream_id, number + 1)
        await told.hear(position)
    for node in (one, other):
        assert node.changes == []
        assert node.serials() == list(range(1, 1001))
        assert len(node.elsewhere) == 500
        buffer = node.replay.get("news")
        assert buffer is not None
        assert buffer.head == Position(start.stream_id, 1000)
        found = node.replay.lookup("news", start.stream_id, 0, node.clock.monotonic())
        assert (found.outcome, len(found.frames)) == ("recovered", 1000)
    assert one.seen == other.seen
    assert "stream changed" not in caplog.text + capsys.readouterr().out


async def test_the_first_message_of_a_channel_reaches_who_attached_before_it(nodes: list[HistoryNode]) -> None:
    one, other, third = nodes
    for _ in range(3):
        last = await one.say()
    await other.hear(last)
    await third.hear(Position(last.stream_id, 2))
    assert other.seen == one.seen
    assert third.serials() == [1, 2, 3]


async def test_a_message_that_comes_behind_others_waits_for_them(nodes: list[HistoryNode]) -> None:
    """Its publisher does not; nobody has said that there are any."""
    one, other, _ = nodes
    for _ in range(3):
        await one.say()
    assert (await other.say()).serial == 4
    await asyncio.to_thread(wait_until, lambda: len(other.serials()) == 4, "those before it")
    assert other.serials() == [1, 2, 3, 4]
    assert other.elsewhere == ["a1", "a2", "a3"]
    assert other.changes == []


async def test_what_is_told_in_any_order_and_again_is_delivered_once(nodes: list[HistoryNode]) -> None:
    one, other, _ = nodes
    places = [await one.say() for _ in range(20)]
    told = places * 3
    random.Random(7).shuffle(told)
    await asyncio.gather(*(other.hear(place) for place in told))
    assert other.serials() == list(range(1, 21))
    assert other.changes == []


async def test_catching_up_fits_in_with_what_the_node_stores_itself(nodes: list[HistoryNode]) -> None:
    choice = random.Random(11)

    async def publish(node: HistoryNode, others: list[HistoryNode]) -> None:
        for _ in range(15):
            stored = [await future for future in [node.submit() for _ in range(choice.randint(1, 4))]]
            for each in others:
                if choice.random() < 0.8:
                    await each.hear(stored[-1].position)

    await asyncio.gather(*(publish(node, [each for each in nodes if each is not node]) for node in nodes))
    for node in nodes:
        await node.hear()
    count = len(nodes[0].serials())
    for node in nodes:
        assert node.serials() == list(range(1, count + 1))
        assert node.seen == nodes[0].seen
        assert node.changes == []
        assert not [name for name in node.elsewhere if name.startswith(node.name)], "its own come by their own way"


async def test_who_attaches_or_recovers_gets_what_others_stored_and_the_node_has_delivered_it(
    nodes: list[HistoryNode],
) -> None:
    one, other, third = nodes
    start = await one.say()
    await other.hear(start)
    await third.hear(start)
    last = await one.say()
    assert await other.attach() == last
    assert other.serials() == [1, 2]
    outcome = await recover(third, start)
    assert isinstance(outcome, Replayed)
    assert ([frame.serial for frame in outcome.frames], outcome.head) == ([2], last)
    assert third.serials() == [1, 2]
    for node in nodes:
        past = await node.history.rewind(APP, "news", count=10, head=last)
        assert [frame.message_id for frame in past.frames] == ["a1", "a2"]
        assert node.changes == []


async def test_a_reset_on_one_node_is_announced_on_the_others(nodes: list[HistoryNode]) -> None:
    one, other, _ = nodes
    old = await one.say()
    await other.hear(old)
    await one.history.reset(APP, "news", Reset("news", "reset", "bad import"))
    new = await one.say()
    assert (new.stream_id != old.stream_id, new.serial) == (True, 1)
    await other.hear(new)
    assert other.changes == [("news", Position(new.stream_id, 0))]
    assert other.seen["news"] == [("a1", old), ("a2", new)]
    await other.hear(old)
    assert other.seen["news"] == [("a1", old), ("a2", new)]
    assert await other.say() == Position(new.stream_id, 2)
    assert len(other.changes) == 1


async def test_messages_that_are_gone_before_they_were_delivered_are_a_hole_that_is_announced(
    nodes: list[HistoryNode],
) -> None:
    one, other, _ = nodes
    one.retention = other.retention = Retention(max_messages=2)
    await other.hear(await one.say())
    for _ in range(5):
        last = await one.say()
    await other.hear(last)
    assert other.serials() == [1, 5, 6]
    assert other.changes == [("news", Position(last.stream_id, 4))]


async def test_a_store_that_fell_back_is_noticed_by_who_catches_up(nodes: list[HistoryNode], place: Place) -> None:
    one, other, _ = nodes
    for _ in range(3):
        last = await one.say()
    await other.hear(last)
    await fall_back(place, one, 2)
    await other.hear()
    [(_, moved)] = other.changes
    assert moved.stream_id != last.stream_id
    assert moved.serial == 2
    position = await one.say()
    assert position == Position(moved.stream_id, 3)
    assert one.changes == [("news", moved)]
    await other.hear(position)
    assert other.seen["news"][-1] == ("a4", position)
    assert len(other.changes) == 1


async def test_a_backup_that_was_added_to_is_noticed_by_what_stands_where(
    nodes: list[HistoryNode], place: Place
) -> None:
    """It is as long as what was known, and longer: only the message at the known place is another one."""
    one, other, third = nodes
    for _ in range(3):
        last = await one.say()
    await other.hear(last)
    third.history.forget(APP, "news")
    await fall_back(place, one, 1)
    for _ in range(4):
        newest = await third.say()
    assert newest == Position(last.stream_id, 5)
    await other.hear(newest)
    assert [moved.stream_id == last.stream_id for _, moved in other.changes] == [False]
    position = await other.say()
    assert position.stream_id == other.changes[0][1].stream_id
    assert position.serial == 6


# ---- members of a presence channel ----


@asynccontextmanager
async def presence_on(node: HistoryNode, network: Network) -> AsyncIterator[tuple[PresenceHistory, Membership]]:
    """The presence history of a node that is joined to others, kept where its messages are."""
    _, membership = join_network(asyncio.get_running_loop().call_soon, network, node.name)
    app = observed_app(APP)
    durable = Component.opened("history", node.history)
    presence = PresenceHistory(
        History(MemoryHistoryStore(), node.clock, HistoryOptions(node_id=node.name)),
        lambda app_id: app.streams if app_id == APP else None,
        node.clock,
        durable=durable,
        node_id=membership.me.id,
        is_alive=membership.is_alive,
    )
    await presence.start()
    yield presence, membership
    await presence.close()


async def told(presence: PresenceHistory) -> list[tuple[str, str, str]]:
    page = await presence.page(APP, ROOM, HistoryQuery(direction="oldest_first"))
    return [(item["event"], item["cause"], item["user_id"]) for item in page["items"]]


async def test_a_join_on_one_node_leaves_the_members_of_a_live_one_in(nodes: list[HistoryNode]) -> None:
    network = Network()
    async with presence_on(nodes[0], network) as (one, here), presence_on(nodes[1], network) as (other, _):
        one.note(MemberReported(APP, ROOM, added("ana")))
        assert await told(one) == [("member_added", "join", "ana")]
        other.note(MemberReported(APP, ROOM, added("ben", socket_id="2.1")))
        both = [("member_added", "join", "ana"), ("member_added", "join", "ben")]
        assert await told(other) == both
        assert await told(one) == both

        network.leave(here.me)
        other.note(MemberReported(APP, ROOM, added("cid", socket_id="2.2")))
        assert await told(other) == [*both, ("member_added", "join", "cid")]
        other.stream_changed(APP, f"[presence-history]{ROOM}")
        assert (await told(other))[3:] == [("member_removed", "orphan_cleanup", "ana")]


async def fall_back(place: Place, node: HistoryNode, serial: int) -> None:
    """The store is as it was when the message with ``serial`` was the newest."""
    store = node.history._store
    if place.kind == "memory":
        stream = store._streams[APP, "news"]  # type: ignore[attr-defined]
        stream.retract({row.serial for row in stream.rows if row.serial > serial})
        return
    rows = (await store.read(APP, "news", limit=100)).rows
    gone = [row for row in rows if row.serial > serial]
    appends = [Append(APP, "news", r.message, r.message_id, r.event_name, r.published_at_ms) for r in gone]
    await store.retract(appends, serial, gone[0].published_at_ms)
