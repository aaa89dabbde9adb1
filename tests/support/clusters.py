"""Several nodes joined by a bus, for the contract suites of `sockudo.cluster.ports`."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol

from sockudo.base.windows import Verdict
from sockudo.cluster.counters import InProcessCounters
from sockudo.cluster.in_process import InProcessMembership, Network, join_network
from sockudo.cluster.items import Item, Request
from sockudo.cluster.members import Timing
from sockudo.cluster.network import NetworkBus, join_carrier
from sockudo.cluster.ports import Bus, Claim, Claimed, Counters, Membership, Received
from sockudo.cluster.router import Router
from sockudo.cluster.shared_counters import SharedCounters
from sockudo.drivers.shared.steps import Step
from support.carriers import MemoryBroker
from support.stores import MemoryCacheStore, MemoryWindowStore
from support.waiting import settle

__all__ = [
    "BUSES",
    "COUNTERS",
    "DelayedCounters",
    "Echo",
    "Ground",
    "InProcessGround",
    "Joined",
    "JoinedCounters",
    "NetworkGround",
    "Note",
    "StoredCounters",
    "ground_of",
]

BUSES = ("in-process", "network", "network-unknowing")
"""The implementations that the suites run over; the carrier of the last one does not know what others want."""


class Note(Item, frozen=True, tag="note"):
    """An item with nothing but a text."""

    text: str


class Echo(Request, frozen=True, tag="echo"):
    """A request that a node answers as its test wants."""

    text: str = ""


class Joined:
    """One node: its ports, and what arrived."""

    def __init__(self, bus: Bus, membership: Membership, leave: Callable[[], None]) -> None:
        self.bus = bus
        self.membership = membership
        self.leave = leave
        self.arrived: list[Received] = []
        self.router = Router()
        self.router.on_item(Note, lambda _received, _note: None)
        self.answer_with(lambda echo: f"{membership.me.name}:{echo.text}")
        bus.attach(self)

    @property
    def texts(self) -> list[str]:
        """What arrived, in its order."""
        return [received.item.text for received in self.arrived if isinstance(received.item, Note)]

    @property
    def items(self) -> Sequence[type[Item]]:
        return self.router.items

    @property
    def requests(self) -> Sequence[type[Request]]:
        return self.router.requests

    def answer_with(self, answer: Callable[[Echo], Awaitable[Any] | Any]) -> None:
        """From now on the node answers `Echo` so."""
        self.router.on_request(Echo, answer)

    def receive(self, received: Received) -> None:
        self.arrived.append(received)
        self.router.receive(received)

    def answer(self, request: Request) -> Awaitable[Any] | Any:
        return self.router.answer(request)

    def gap(self, topics: Sequence[str]) -> None:
        self.router.gap(topics)


class Ground(Protocol):
    """Where the nodes of one test live."""

    async def join(self, name: str) -> Joined: ...
    async def settle(self) -> None:
        """Returns when everything that was published has arrived."""
        ...

    async def close(self) -> None: ...


class InProcessGround:
    """Nodes inside this process."""

    def __init__(self) -> None:
        self._network = Network()

    async def join(self, name: str) -> Joined:
        bus, membership = join_network(asyncio.get_running_loop().call_soon, self._network, name)
        assert isinstance(membership, InProcessMembership)
        return Joined(bus, membership, membership.leave)

    async def settle(self) -> None:
        for _ in range(3):
            await asyncio.sleep(0)

    async def close(self) -> None:
        """Nothing is left behind."""


class DelayedCounters:
    """`Counters` that decide elsewhere: every claim is answered a turn of the loop later."""

    def __init__(self) -> None:
        self.immediate = False
        self._counters = InProcessCounters()
        self.hit = self._counters.hit
        self.forget = self._counters.forget

    async def claim(self, key: tuple[str, ...], mark: bytes, ttl: float, now: float) -> Claimed:
        await asyncio.sleep(0)
        return self._counters.claim(key, mark, ttl, now)


class JoinedCounters:
    """Those of one node of two, whose clocks are the times that are passed in. Half of the keys are the other one's."""

    count = 2

    def __init__(self) -> None:
        self.time = 0.0
        network = Network()
        self.nodes = [self._node(network) for _ in range(self.count)]
        self._counters = self.nodes[0]
        self.forget = self._counters.forget

    @property
    def immediate(self) -> bool:
        return self._counters.immediate

    def _node(self, network: Network) -> SharedCounters:
        bus, membership = join_network(asyncio.get_running_loop().call_soon, network)
        router = Router()
        bus.attach(router)
        return SharedCounters(bus, membership, router, lambda: self.time)

    async def claim(self, key: tuple[str, ...], mark: bytes, ttl: float, now: float) -> Claimed:
        # What has ended is known before the clock goes on.
        await settle()
        self.time = now
        claimed = self._counters.claim(key, mark, ttl, now)
        claimed = await claimed if inspect.isawaitable(claimed) else claimed
        return claimed if isinstance(claimed, (str, bytes)) else _TimedClaim(self, claimed)

    def hit(
        self, name: str, key: str, limit: int, seconds: int, now: float, *, cost: int = 1, count_refused: bool = True
    ) -> Verdict:
        self.time = now
        return self._counters.hit(name, key, limit, seconds, now, cost=cost, count_refused=count_refused)


class StoredCounters(JoinedCounters):
    """Those of one node that is alone, over stores whose clocks are the times that are passed in."""

    count = 1

    def _node(self, network: Network) -> SharedCounters:
        bus, membership = join_network(asyncio.get_running_loop().call_soon, network)
        claims = _Renewed(lambda: self.time)
        windows = MemoryWindowStore(lambda: self.time)
        return SharedCounters(bus, membership, Router(), lambda: self.time, claims=claims, windows=windows)


class _Renewed(MemoryCacheStore):
    """Has the leases of nodes that live, which renew them in time."""

    def _claim(self, step: Step, row: dict[str, Any]) -> Sequence[Any]:
        return super()._claim(step._replace(ms=10**15), row)


class _TimedClaim:
    """A claim of `JoinedCounters`, which moves their clock to the time of its end."""

    def __init__(self, counters: JoinedCounters, claim: Claim) -> None:
        self._counters = counters
        self._claim = claim
        self.key = claim.key
        self.release = claim.release

    def complete(self, reply: bytes, now: float) -> None:
        self._counters.time = now
        self._claim.complete(reply, now)


COUNTERS: dict[str, Callable[[], Counters]] = {
    "in-process": InProcessCounters,
    "delayed": DelayedCounters,
    "joined": JoinedCounters,
    "stored": StoredCounters,
}
"""The counters that the suite runs over; the delayed ones show that nobody relies on an answer at once."""


class NetworkGround:
    """Nodes on a carrier, with the beats of every test much faster than those of a server."""

    def __init__(self, *, knowing: bool = True) -> None:
        self._broker = MemoryBroker(knowing=knowing)
        self._buses: list[NetworkBus] = []

    async def join(self, name: str) -> Joined:
        bus = join_carrier(self._broker.carrier(), name, Timing(0.1, 0.5))
        node = Joined(bus, bus.membership, bus.leave)
        await bus.open()
        self._buses.append(bus)
        return node

    async def settle(self) -> None:
        for _ in range(12):
            await asyncio.sleep(0)

    async def close(self) -> None:
        for bus in self._buses:
            await bus.close()


_GROUNDS: dict[str, Callable[[], Ground]] = {
    "in-process": InProcessGround,
    "network": NetworkGround,
    "network-unknowing": partial(NetworkGround, knowing=False),
}


def ground_of(kind: str) -> Ground:
    """The ground of one of `BUSES`."""
    return _GROUNDS[kind]()
