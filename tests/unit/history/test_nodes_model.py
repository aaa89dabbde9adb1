"""Random histories of several nodes over one store: everything stored is delivered once, in order, on every node."""

from __future__ import annotations

import asyncio
import copy
import os
import random
from itertools import pairwise

import pytest

from contract.history import APP, HistoryNode
from sockudo.base.stream_records import Position
from sockudo.errors import SockudoError
from sockudo.history import Failed, Reset
from support.durable import HandTime, UnrulyStore, refuse
from support.waiting import settle

RUNS = int(os.environ.get("SOCKUDO_EXAMPLES", "40"))
CHANNELS = ("news", "sport")


class Cluster:
    """Nodes whose items to each other come late, in any order, twice or never."""

    def __init__(self, seed: int, *, unruly: bool) -> None:
        self.choice = random.Random(seed)
        self.time = HandTime()
        self.store = UnrulyStore()
        self.unruly = unruly
        self.nodes = [
            HistoryNode(name, self.store, self.time, sleep=self.time.sleep)  # type: ignore[arg-type]
            for name in "abc"[: self.choice.randint(2, 3)]
        ]
        self.backup: object = None
        self.tasks: list[asyncio.Task[object]] = []
        self.positions: list[tuple[str, Position]] = []

    async def step(self) -> None:
        choice, node, channel = self.choice, self.choice.choice(self.nodes), self.choice.choice(CHANNELS)
        what = choice.random()
        if what < 0.5:
            for _ in range(choice.randint(1, 4)):
                self.spawn(self.publish(node, channel))
        elif what < 0.6:
            self.spawn(self.place(node, channel))
        elif what < 0.7 and self.positions:
            self.spawn(self.recover(node, *choice.choice(self.positions)))
        elif what < 0.8:
            await self.time.elapse(choice.choice([0.1, 0.25, 1.0]))
        elif self.unruly and what < 0.83:
            self.spawn(node.history.reset(APP, channel, Reset(channel, "reset", "x")))
        elif self.unruly and what < 0.86:
            self.store.plan("read", refuse())
        elif self.unruly and what < 0.88:
            self.backup = copy.deepcopy((self.store.inner._streams, self.store.inner._keys))
        elif self.unruly and what < 0.9 and self.backup is not None:
            self.store.inner._streams, self.store.inner._keys = copy.deepcopy(self.backup)
        else:
            await settle(choice.randint(1, 5))

    def spawn(self, work: object) -> None:
        self.tasks.append(asyncio.ensure_future(work))  # type: ignore[arg-type]

    async def publish(self, node: HistoryNode, channel: str) -> None:
        position = await node.say(channel)
        self.positions.append((channel, position))
        for other in self.nodes:
            for _ in range(self.choice.choice([0, 1, 1, 1, 2])):
                if other is not node:
                    await self.time.sleep(self.choice.choice([0, 0.1, 0.5]))
                    await other.hear(position, channel)

    async def place(self, node: HistoryNode, channel: str) -> None:
        head = await node.attach(channel)
        seen = [at.serial for _, at in node.seen.get(channel, ()) if at.stream_id == head.stream_id]
        moved = [at.serial for where, at in node.changes if (where, at.stream_id) == (channel, head.stream_id)]
        assert head.serial <= max(seen + moved, default=0), "attached ahead of what was delivered"
        self.positions.append((channel, head))

    async def recover(self, node: HistoryNode, channel: str, position: Position) -> None:
        outcome = await node.history.replay(
            APP, channel, stream_id=position.stream_id, serial=position.serial, max_size=10_000
        )
        if isinstance(outcome, Failed):
            assert self.unruly
            return
        serials = [frame.serial for frame in outcome.frames]
        assert serials == list(range(position.serial + 1, outcome.head.serial + 1))
        seen = [at.serial for _, at in node.seen.get(channel, ()) if at.stream_id == position.stream_id]
        moved = [at.serial for where, at in node.changes if (where, at.stream_id) == (channel, position.stream_id)]
        assert outcome.head.serial <= max(seen + moved, default=0), "recovered ahead of what was delivered"

    async def calm(self) -> None:
        self.store.obey()
        for _ in range(12):
            await self.time.elapse(2)
        # What one finds out about the store the others find out after it.
        for node in self.nodes * 2:
            for channel in CHANNELS:
                self.spawn(node.hear(None, channel))
            await self.time.elapse(1)
        for task in self.tasks:
            assert task.done()
            if (problem := task.exception()) is not None and not (self.unruly and isinstance(problem, SockudoError)):
                raise problem


async def run(seed: int, *, unruly: bool) -> Cluster:
    cluster = Cluster(seed, unruly=unruly)
    for node in cluster.nodes:
        await node.history.start()
        for channel in CHANNELS:
            await node.attach(channel)
    for _ in range(40):
        await cluster.step()
    await cluster.calm()
    for node in cluster.nodes:
        await node.history.close()
    return cluster


@pytest.mark.parametrize("seed", range(RUNS))
def test_every_node_delivers_all_that_was_stored(seed: int) -> None:
    cluster = asyncio.run(run(seed, unruly=False))
    for channel in CHANNELS:
        stream = cluster.store.inner._streams.get((APP, channel))
        stored = (
            [] if stream is None else [(row.message_id, Position(row.stream_id, row.serial)) for row in stream.rows]
        )
        for node in cluster.nodes:
            assert node.changes == []
            assert node.seen.get(channel, []) == stored


@pytest.mark.parametrize("seed", range(RUNS))
def test_what_does_not_follow_was_announced_and_nothing_is_delivered_twice(seed: int) -> None:
    cluster = asyncio.run(run(seed, unruly=True))
    for node in cluster.nodes:
        for channel in CHANNELS:
            seen = node.seen.get(channel, [])
            assert len({place for _, place in seen}) == len(seen)
            moved = {place for where, place in node.changes if where == channel}
            for (_, before), (_, after) in pairwise(seen):
                follows = after == before._replace(serial=before.serial + 1)
                assert follows or after._replace(serial=after.serial - 1) in moved
        stream = cluster.store.inner._streams.get((APP, "news"))
        if stream is not None and stream.rows and node.seen.get("news"):
            assert node.history._heads.get((APP, "news")) == Position(stream.stream_id, stream.next_serial - 1)
