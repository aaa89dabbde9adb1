"""A long answer between two nodes: it goes in parts of bounded size, one a turn, and other messages come in between."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import msgspec

from sockudo.cluster.items import Request, node_topic
from sockudo.cluster.members import Timing
from sockudo.cluster.network import NetworkBus, join_carrier
from sockudo.cluster.router import Router
from sockudo.cluster.wire import ENVELOPE_BYTES, Answer, Envelope
from support.carriers import Heard, MemoryBroker


class Everything(Request, frozen=True, tag="everything"):
    """Asks for all that a node has."""

    reply: ClassVar = dict[str, bytes]


HELD = {f"user-{number}": b'{"name":"A name of some length"}' for number in range(10_000)}


async def joined(broker: MemoryBroker, name: str) -> NetworkBus:
    bus = join_carrier(broker.carrier(), name, Timing(0.1, 0.5))
    router = Router()
    router.on_request(Everything, lambda _: HELD)
    bus.attach(router)
    await bus.open()
    return bus


class Turns(Heard):
    """Notes the parts of answers, and in which turn of the loop each arrived."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = 0
        self.parts: list[tuple[int, int]] = []
        self.longest = 0

    def arrived(self, topic: str, payload: bytes) -> None:
        for item in msgspec.msgpack.decode(payload, type=Envelope).items:
            if msgspec.msgpack.decode(item)["type"] == "answer":
                answer = msgspec.msgpack.decode(item, type=Answer)
                self.parts.append((self.turn, answer.part))
                self.longest = max(self.longest, len(payload))

    async def count(self) -> None:
        while True:
            self.turn += 1
            await asyncio.sleep(0)


async def test_a_long_answer_goes_in_parts_one_a_turn() -> None:
    broker = MemoryBroker()
    a, b = await joined(broker, "a"), await joined(broker, "b")
    turns, carrier = Turns(), broker.carrier()
    await carrier.open(turns)
    await carrier.subscribe(node_topic(a.membership.me.id))
    counting = asyncio.ensure_future(turns.count())
    answers = await a.ask(Everything(), deadline=5, nodes=[b.membership.me.id])
    counting.cancel()
    assert answers.complete
    assert answers.values[b.membership.me.id] == HELD
    size = len(msgspec.msgpack.encode(HELD))
    assert [part for _, part in turns.parts] == list(range(-(-size // ENVELOPE_BYTES)))
    assert len({turn for turn, _ in turns.parts}) == len(turns.parts) > 5
    assert turns.longest < ENVELOPE_BYTES + 200
    await a.close()
    await b.close()
