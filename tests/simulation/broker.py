"""A broker that misbehaves: it delays, loses and repeats, cuts carriers off, and comes back with an empty memory."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Sequence

from sockudo.cluster.carrier import CarrierObserver

__all__ = ["FaultyBroker", "FaultyCarrier"]


class FaultyBroker:
    """Payloads of one publisher on one topic keep their order at each subscriber, as a carrier promises."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.carriers: list[FaultyCarrier] = []
        self.slowest = 0.02
        self.lost = 0.0
        self.repeated = 0.0
        # Two groups of carriers that do not reach each other; empty while there is no split.
        self.split: set[FaultyCarrier] = set()
        self._latest: defaultdict[tuple[int, int, str], float] = defaultdict(float)

    def carrier(self) -> FaultyCarrier:
        """A new one, not opened yet."""
        carrier = FaultyCarrier(self, len(self.carriers))
        self.carriers.append(carrier)
        return carrier

    def reaches(self, sender: FaultyCarrier, receiver: FaultyCarrier) -> bool:
        """Whether what one publishes arrives at the other."""
        if sender.dead or receiver.dead or sender.cut_out or receiver.cut_in:
            return False
        return (sender in self.split) == (receiver in self.split)

    def publish(self, sender: FaultyCarrier, topic: str, payload: bytes) -> None:
        """Hands a payload to all that are reached, each in its time."""
        for receiver in self.carriers:
            if topic not in receiver.topics or not self.reaches(sender, receiver):
                continue
            if self.rng.random() < self.lost:
                continue
            for _ in range(1 + (self.rng.random() < self.repeated)):
                self._deliver(sender, receiver, topic, payload)

    def _deliver(self, sender: FaultyCarrier, receiver: FaultyCarrier, topic: str, payload: bytes) -> None:
        loop = asyncio.get_running_loop()
        place = (sender.number, receiver.number, topic)
        # Callbacks of one moment have no order.
        at = max(self._latest[place] + 1e-6, loop.time() + self.rng.uniform(0.0005, self.slowest))
        self._latest[place] = at
        generation = receiver.generation
        loop.call_at(at, lambda: receiver.arrive(generation, topic, payload))

    @property
    def is_well(self) -> bool:
        """Whether no fault is on."""
        off = any(carrier.cut_in or carrier.cut_out or carrier.stopped for carrier in self.carriers if not carrier.dead)
        return not (off or self.split or self.lost)

    def restart(self) -> None:
        """It comes back knowing no subscription, and what was under way is lost."""
        for carrier in self.carriers:
            carrier.reconnect()

    def heal(self) -> None:
        """Ends every fault."""
        self.split = set()
        self.slowest, self.lost, self.repeated = 0.02, 0.0, 0.0
        for carrier in self.carriers:
            carrier.cut_in = carrier.cut_out = False
            carrier.wake()


class FaultyCarrier:
    """One node's connection to a `FaultyBroker`."""

    def __init__(self, broker: FaultyBroker, number: int) -> None:
        self.name = "a broker of the simulation"
        self.max_payload = 8 * 1024 * 1024
        self.dropped = 0
        self.interested = None
        self.number = number
        self.topics: set[str] = set()
        self.cut_in = self.cut_out = self.dead = self.stopped = False
        self.generation = 0
        self._broker = broker
        self._observer: CarrierObserver | None = None
        self._held: list[tuple[str, bytes]] = []
        self._wanted: dict[str, asyncio.Future[None]] = {}

    async def open(self, observer: CarrierObserver) -> None:
        self._observer = observer
        observer.connected()

    async def close(self) -> None:
        self.dead = True
        self._observer = None

    def publish(self, topic: str, payload: bytes) -> None:
        if not self.stopped:
            self._broker.publish(self, topic, payload)

    def arrive(self, generation: int, topic: str, payload: bytes) -> None:
        """Takes what was on its way, if the connection is the same and still wants it."""
        if self.dead or generation != self.generation or topic not in self.topics:
            return
        if self.stopped:
            self._held.append((topic, payload))
        elif self._observer is not None:
            self._observer.arrived(topic, payload)

    def stop(self) -> None:
        """The process stands still: what arrives waits in its buffers, and it sends nothing."""
        self.stopped = True

    def wake(self) -> None:
        """The process goes on, and reads what has come meanwhile."""
        self.stopped = False
        held, self._held = self._held, []
        for topic, payload in held:
            if self._observer is not None:
                self._observer.arrived(topic, payload)
        for topic in tuple(self._wanted):
            self._confirm_soon(topic)

    def subscribe(self, topic: str) -> Awaitable[None]:
        future = self._wanted.get(topic)
        if future is None:
            future = self._wanted[topic] = asyncio.get_running_loop().create_future()
            if topic in self.topics:
                future.set_result(None)
                del self._wanted[topic]
            else:
                self._confirm_soon(topic)
        return asyncio.shield(future)

    def _confirm_soon(self, topic: str) -> None:
        asyncio.get_running_loop().call_later(self._broker.rng.uniform(0.0005, 0.02), self._confirm, topic)

    def _confirm(self, topic: str) -> None:
        if self.dead or self.cut_out or self.stopped or topic not in self._wanted:
            return
        self.topics.add(topic)
        future = self._wanted.pop(topic)
        if not future.done():
            future.set_result(None)

    def unsubscribe(self, topic: str) -> None:
        self.topics.discard(topic)
        future = self._wanted.pop(topic, None)
        if future is not None:
            future.cancel()

    def reconnect(self) -> None:
        if self._observer is None or self.dead or self.stopped:
            return
        self.generation += 1
        self._observer.disconnected("it was cut")
        self._observer.connected()

    def lose(self, topics: Sequence[str]) -> None:
        """Subscriptions that the broker has forgotten and the connection does not show."""
        self.topics.difference_update(topics)
