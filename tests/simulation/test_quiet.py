"""Random lives of buses alone, on a broker that does not say what others want: what a node publishes reaches every node
whose subscription was confirmed before, however little is sent."""

from __future__ import annotations

import asyncio
import os
import random
from collections import defaultdict
from collections.abc import Sequence

import pytest

from simulation.broker import FaultyBroker, FaultyCarrier
from sockudo.cluster.members import Timing
from sockudo.cluster.network import join_carrier
from sockudo.cluster.ports import Received
from sockudo.errors import SockudoError
from support.clusters import Note
from support.virtual_time import run_in_virtual_time

SEEDS = int(os.environ.get("SOCKUDO_SIMULATIONS", "400"))
FIRST = int(os.environ.get("SOCKUDO_FIRST_SEED", "0"))
_CHUNK = 20

TOPICS = ("c:app:a", "c:app:b", "c:app:c")


class ForgetfulBroker(FaultyBroker):
    """Loses what nodes send each other for themselves, and nothing that is published."""

    def publish(self, sender: FaultyCarrier, topic: str, payload: bytes) -> None:
        lost, self.lost = self.lost, 0.0 if topic in TOPICS else self.lost
        super().publish(sender, topic, payload)
        self.lost = lost


class QuietNode:
    """A node that writes down what arrives."""

    requests = ()
    items = (Note,)

    def __init__(self, broker: FaultyBroker, name: str, *, guest: bool = False) -> None:
        self.name = name
        self.guest = guest
        self.carrier = broker.carrier()
        node_id = broker.rng.randbytes(16).hex()
        clock = asyncio.get_running_loop().time
        self.bus = join_carrier(self.carrier, name, Timing(), clock, guest=guest, node_id=node_id)
        self.bus.attach(self)
        self.confirmed: set[str] = set()
        # What has to arrive, by topic.
        self.due: defaultdict[str, dict[str, float]] = defaultdict(dict)
        self.gone = False

    def receive(self, received: Received) -> None:
        assert isinstance(received.item, Note)
        self.due[received.topic].pop(received.item.text, None)

    def answer(self, _request: object) -> None:
        raise AssertionError("nothing is asked")

    def gap(self, topics: Sequence[str]) -> None:
        for topic in topics:
            self.due[topic].clear()

    async def subscribe(self, topic: str) -> None:
        confirmed = self.bus.subscribe(topic)
        if confirmed is not None:
            try:
                await confirmed
            except asyncio.CancelledError:
                return
        if topic in self.bus.topics:
            self.confirmed.add(topic)

    def unsubscribe(self, topic: str) -> None:
        self.bus.unsubscribe(topic)
        self.confirmed.discard(topic)
        self.due[topic].clear()

    def sees(self, other: QuietNode) -> bool:
        return other.bus.membership.me in self.bus.membership.live() or other.guest


class Life:
    """Nodes that publish on few topics, and subscribe to them for a while."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.broker = ForgetfulBroker(self.rng)
        self.broker.slowest = self.rng.choice((0.02, 0.3))
        self.broker.lost = self.rng.choice((0.0, 0.1))
        self.nodes: list[QuietNode] = []
        self.story: list[str] = []
        self.made = self.published = self.spared = 0
        self.tasks: set[asyncio.Task[None]] = set()

    def say(self, text: str) -> None:
        self.story.append(f"{asyncio.get_running_loop().time():8.3f} {text}")

    async def start(self, *, guest: bool = False) -> None:
        self.made += 1
        node = QuietNode(self.broker, f"n{self.made}", guest=guest)
        try:
            await node.bus.open()
        except SockudoError:
            # The broker has lost what it needs to hear of itself.
            self.say(f"{node.name} does not start")
            return
        self.nodes.append(node)
        self.say(f"start {node.name}")

    def publish(self, node: QuietNode, topic: str) -> None:
        self.published += 1
        text = f"{node.name} {self.published}"
        now = asyncio.get_running_loop().time()
        for other in self.nodes:
            if other is not node and topic in other.confirmed and self.is_due(node, other):
                other.due[topic][text] = now
        if node.bus.interested(topic):
            node.bus.publish(topic, Note(text))
        else:
            self.spared += 1

    def is_due(self, sender: QuietNode, receiver: QuietNode) -> bool:
        """Both hold each other for living, and the one reaches the other."""
        members = (sender.bus.membership, receiver.bus.membership)
        return (
            self.broker.reaches(sender.carrier, receiver.carrier)
            and sender.sees(receiver)
            and receiver.sees(sender)
            and not any(each.deaf or each.fenced() for each in members)
        )

    def toggle(self, node: QuietNode, topic: str) -> None:
        if topic in node.bus.topics:
            self.say(f"{node.name} unsubscribes from {topic}")
            node.unsubscribe(topic)
            return
        self.say(f"{node.name} subscribes to {topic}")
        task = asyncio.get_running_loop().create_task(node.subscribe(topic))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def end(self, node: QuietNode) -> None:
        self.say(f"{node.name} goes")
        self.nodes.remove(node)
        for due in (due for other in self.nodes for due in other.due.values()):
            # What is behind its goodbye counts no more.
            for text in [text for text in due if text.startswith(f"{node.name} ")]:
                del due[text]
        node.carrier.dead = self.rng.random() < 0.5
        await node.bus.close()

    def cut(self, node: QuietNode) -> None:
        self.say(f"{node.name} is cut off")
        node.carrier.cut_in = self.rng.random() < 0.6
        node.carrier.cut_out = self.rng.random() < 0.6 or not node.carrier.cut_in
        for due in (due for other in self.nodes for due in other.due.values()):
            due.clear()

    def check(self, seed: int) -> None:
        now = asyncio.get_running_loop().time()
        for node in self.nodes:
            for topic, due in node.due.items():
                for text, at in due.items():
                    if now - at > 2:
                        story = "\n".join(self.story)
                        raise AssertionError(
                            f"seed {seed}: {node.name} did not get {topic} {text} of {at:.3f}\n{story}"
                        )


async def live(seed: int) -> Life:
    life = Life(seed)
    rng = life.rng
    wanted = rng.randint(2, 3)
    while len(life.nodes) < wanted:
        await life.start(guest=len(life.nodes) == 2)
    until = asyncio.get_running_loop().time() + 60
    while asyncio.get_running_loop().time() < until:
        # Each topic has a node that publishes most on it.
        number = rng.randrange(len(TOPICS))
        for _ in range(rng.choice((1, 9))):
            life.publish(life.nodes[number % len(life.nodes)], TOPICS[number])
        listeners = [node for node in life.nodes if not node.guest]
        match rng.randrange(60):
            case 0 | 1 | 2 | 3 | 4:
                life.toggle(rng.choice(listeners), rng.choice(TOPICS))
            case 5 if len(life.nodes) < 5:
                await life.start(guest=rng.random() < 0.2)
            case 6 if len(listeners) > 2:
                await life.end(rng.choice(listeners))
            case 7:
                life.cut(rng.choice(life.nodes))
            case 8 | 9 | 10 | 11:
                life.say("all is well")
                for carrier in life.broker.carriers:
                    carrier.cut_in = carrier.cut_out = False
        await asyncio.sleep(rng.choice((0, 0.002, 0.02, 0.2, 1.0)))
        life.check(seed)
    for node in life.nodes:
        await node.bus.close()
    return life


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, _CHUNK))
def test_what_is_published_after_a_confirmation_arrives(first: int) -> None:
    lives = [run_in_virtual_time(live(seed)) for seed in range(first, min(first + _CHUNK, FIRST + SEEDS))]
    assert sum(life.spared for life in lives) > 100, "nothing was quiet"
