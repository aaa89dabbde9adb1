"""Random histories of nodes that come, go, die and lose items: channels without a store have one order for all."""

from __future__ import annotations

import asyncio
import os
import random
from typing import Any
from unittest.mock import patch

import msgspec
import pytest

from sockudo.apps.resolve import Defaults
from sockudo.cluster.in_process import InProcessBus, Network
from sockudo.cluster.items import channel_topic
from sockudo.cluster.ports import Received
from sockudo.config import Settings
from sockudo.errors import SockudoError
from sockudo.protocol.formats import V2_JSON
from sockudo.protocol.frames import Frame
from support.durable import HandTime
from support.inside import Client, Node, live_app
from support.waiting import settle

RUNS = int(os.environ.get("SOCKUDO_EXAMPLES", "40"))
CHANNELS = ("news", "private-sport", "cache-weather")


def recoverable_settings() -> Settings:
    settings = Settings()
    recovery = msgspec.structs.replace(settings.connection_recovery, enabled=True)
    return msgspec.structs.replace(settings, connection_recovery=recovery)


SETTINGS = recoverable_settings()


def failed(task: asyncio.Future[Any]) -> bool:
    return task.cancelled() or task.exception() is not None


class Watcher:
    """A client that stays, and what it gets of one channel, checked as it comes."""

    def __init__(self, client: Client, channel: str) -> None:
        self.client = client
        self.channel = channel
        self.place: tuple[str, int] | None = None
        self.interruptions = 0
        self.seen: list[tuple[str, int, str]] = []
        client.subscribe(channel)

    def look(self) -> None:
        for frame in self.client.frames():
            kind = frame["event"].split(":")[-1]
            if kind == "resume_failed":
                failed = msgspec.json.decode(frame["data"])
                self.place = (failed["current_stream_id"], failed["newest_available_serial"] or 0)
                self.interruptions += 1
            elif "serial" in frame:
                place = (frame["stream_id"], frame["serial"])
                if kind == "said":
                    follows = self.place is None or place == (self.place[0], self.place[1] + 1)
                    assert follows, f"{place} came behind {self.place}"
                    self.seen.append((*place, frame["data"]))
                self.place = place


class Cluster:
    """Nodes in one process; items on the topics of channels are lost at times."""

    def __init__(self, seed: int, *, losses: bool) -> None:
        self.choice = random.Random(seed)
        self.losses = losses
        self.network, self.time = Network(), HandTime()
        self.app = live_app(defaults=Defaults.from_settings(SETTINGS))
        self.nodes: list[Node] = []
        self.watchers: list[tuple[Node, Watcher]] = []
        self.tasks: list[asyncio.Future[Any]] = []
        self.count = 0
        self.published: dict[tuple[str, str, int], str] = {}

    def join(self) -> None:
        # Who owns a channel follows from the ids of the nodes.
        with patch("secrets.token_hex", lambda size: self.choice.randbytes(size).hex()):
            node = Node(self.app, settings=SETTINGS, network=self.network, clock=self.time, sleep=self.time.sleep)
        assert isinstance(node.bus, InProcessBus)
        put = node.bus.put

        def losing(received: Received) -> None:
            if not (self.losses and received.topic.startswith("c:") and self.choice.random() < 0.1):
                put(received)

        node.bus.put = losing  # type: ignore[method-assign]
        self.nodes.append(node)
        for channel in CHANNELS:
            self.watch(node, channel)

    def watch(self, node: Node, channel: str) -> None:
        self.watchers.append((node, Watcher(node.connect(shape=V2_JSON), channel)))

    def publish(self) -> None:
        node, channel = self.choice.choice(self.nodes), self.choice.choice(CHANNELS)
        self.count += 1
        frame = Frame("said", channel, str(self.count))
        try:
            pending = node.publisher.publish(self.app, node.state, frame, self.time.monotonic())
        except SockudoError:
            return
        if pending is None:
            self.note(frame)
        else:
            pending.add_done_callback(lambda done: None if failed(done) else self.note(frame))
            self.tasks.append(pending)

    def note(self, frame: Frame) -> None:
        place = (frame.channel or "", frame.stream_id or "", frame.serial or 0)
        assert place not in self.published, f"{place} was given twice"
        self.published[place] = str(frame.data)

    async def leave(self, *, orderly: bool) -> None:
        node = self.nodes.pop(self.choice.randrange(len(self.nodes)))
        if orderly:
            # The others go on meanwhile, as they do not know of it yet.
            handing = asyncio.ensure_future(node.shared.hand_over())
            while not handing.done():
                await self.time.elapse(0.1)
                await self.turns(1)
        self.network.leave(node.membership.me)
        self.watchers = [(where, watcher) for where, watcher in self.watchers if where is not node]
        await node.shared.close()

    async def step(self) -> None:
        what = self.choice.random()
        if what < 0.55:
            for _ in range(self.choice.randint(1, 4)):
                self.publish()
        elif what < 0.65 and len(self.nodes) < 4:
            self.join()
        elif what < 0.72 and len(self.nodes) > 1:
            await self.leave(orderly=not self.losses or self.choice.random() < 0.5)
        elif what < 0.8:
            self.watch(self.choice.choice(self.nodes), self.choice.choice(CHANNELS))
        elif what < 0.9:
            await self.time.elapse(self.choice.choice([0.1, 0.25, 1.0]))
        await self.turns(self.choice.randint(0, 3))

    async def turns(self, count: int) -> None:
        for _ in range(count):
            for node in self.nodes:
                node.settle()
            await settle(3)
        for _, watcher in self.watchers:
            watcher.look()

    async def calm(self) -> None:
        self.losses = False
        for step in range(40):
            if step == 20:
                for node in self.nodes:
                    node.shared.scrub()
            await self.time.elapse(0.5)
            await self.turns(3)


async def run(seed: int, *, losses: bool) -> Cluster:
    cluster = Cluster(seed, losses=losses)
    cluster.join()
    cluster.join()
    for _ in range(60):
        await cluster.step()
    await cluster.calm()
    assert all(task.done() for task in cluster.tasks)
    for node in cluster.nodes:
        await node.shared.close()
    return cluster


def check_rest(cluster: Cluster) -> None:
    """Every watcher is at the head of the one stream of its channel, and has seen in it what was published."""
    for channel in CHANNELS:
        places = {watcher.place for _, watcher in cluster.watchers if watcher.channel == channel}
        assert len(places) == 1, places
        holders = [
            buffer for node in cluster.nodes if (buffer := node.state.replay.get(channel)) is not None and buffer.held
        ]
        assert [tuple(buffer.head) for buffer in holders] == list(places)
    for _, watcher in cluster.watchers:
        for stream_id, serial, data in watcher.seen:
            said = cluster.published.get((watcher.channel, stream_id, serial))
            assert said in (data, None)
    topics = {channel_topic(cluster.app.id, channel) for channel in CHANNELS}
    assert all(topics <= node.bus.topics for node in cluster.nodes if len(cluster.nodes) > 1)


@pytest.mark.parametrize("seed", range(RUNS))
def test_nothing_is_missed_or_reset_while_nodes_come_and_go_in_order(seed: int) -> None:
    cluster = asyncio.run(run(seed, losses=False))
    check_rest(cluster)
    assert all(watcher.interruptions == 0 for _, watcher in cluster.watchers)
    assert not any(map(failed, cluster.tasks))
    assert len(cluster.published) == cluster.count


@pytest.mark.parametrize("seed", range(RUNS))
def test_nodes_agree_again_after_losses_and_say_where_streams_break(seed: int) -> None:
    check_rest(asyncio.run(run(seed, losses=True)))
