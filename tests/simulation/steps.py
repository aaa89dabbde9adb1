"""What can happen in the life of a cluster. Each step does what is possible then, so a life goes on without others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from simulation import backend
from simulation.cluster import ROOMS, USERS
from simulation.nodes import KEPT, STORED

if TYPE_CHECKING:
    from simulation.cluster import Cluster

__all__ = ["CALM", "EASY", "LOSSES", "PICKS", "STEPS", "WILD", "Picks"]

T = TypeVar("T")

NUMBERED = (KEPT, STORED)

PICKS = 3
"""How many choices a step makes at most."""

_MOST_NODES = 7


class Picks:
    """The choices of a step: they stay the same whatever there is to choose from."""

    def __init__(self, picks: Sequence[float]) -> None:
        self._left: Iterator[float] = iter(picks)

    def of(self, choices: Sequence[T]) -> T:
        """One of several."""
        return choices[int(next(self._left) * len(choices))]


Do = Callable[["Cluster", Picks], Awaitable[str]]
"""Does a step, and says what it was; an empty text for nothing."""


async def connect(cluster: Cluster, pick: Picks) -> str:
    return f"connect {cluster.connect(pick.of(cluster.living), pick.of(USERS), pick.of(ROOMS))}"


async def close(cluster: Cluster, pick: Picks) -> str:
    if not cluster.clients:
        return ""
    client = pick.of(cluster.clients)
    client.read()
    client.close()
    return f"close {client}"


async def publish(cluster: Cluster, pick: Picks) -> str:
    room, living = pick.of(ROOMS), cluster.living
    # Mostly at one node, which asks the others whether they want it.
    usual = living[ROOMS.index(room) % len(living)]
    node, times = pick.of((*[usual] * len(living), *living)), pick.of((1, 9))
    for _ in range(times):
        cluster.publish(node, room)
    return f"publish {times} at {node.name} in {room}"


async def start(cluster: Cluster, _pick: Picks) -> str:
    if len(cluster.living) >= _MOST_NODES or cluster.store.away:
        return ""
    node = await cluster.add()
    # The others have to hear of it: until then each may be the owner of a key in its own view.
    await cluster.wait(0.5)
    return f"start {node.name}"


async def leave(cluster: Cluster, pick: Picks) -> str:
    if len(cluster.living) < 2:
        return ""
    node = pick.of(cluster.living)
    cluster.read()
    await node.leave()
    return f"leave {node.name}"


async def leave_together(cluster: Cluster, pick: Picks) -> str:
    if len(cluster.living) < 3:
        return ""
    first, step = pick.of(cluster.living), pick.of(range(1, len(cluster.living)))
    other = cluster.living[(cluster.living.index(first) + step) % len(cluster.living)]
    cluster.read()
    await asyncio.gather(first.leave(), other.leave())
    return f"leave {first.name} and {other.name}"


async def roll(cluster: Cluster, pick: Picks) -> str:
    if len(cluster.living) < 2:
        return ""
    node = pick.of(cluster.living)
    cluster.read()
    await node.roll()
    return f"roll {node.name}"


async def kill(cluster: Cluster, pick: Picks) -> str:
    if len(cluster.living) < 2:
        return ""
    node = pick.of(cluster.living)
    await node.kill()
    return f"kill {node.name}"


async def lose_one(cluster: Cluster, pick: Picks) -> str:
    """All others have seen the change before."""
    await cluster.wait(15)
    return await pick.of((leave, roll, kill))(cluster, pick)


async def cut(cluster: Cluster, pick: Picks) -> str:
    node, ways = pick.of(cluster.living), pick.of(("in", "out", "both"))
    node.carrier.cut_in = node.carrier.cut_in or ways != "out"
    node.carrier.cut_out = node.carrier.cut_out or ways != "in"
    return f"cut {ways} {node.name}"


async def split(cluster: Cluster, pick: Picks) -> str:
    first, nodes = pick.of(range(len(cluster.living))), cluster.living
    half = (nodes[first:] + nodes[:first])[: len(nodes) // 2]
    cluster.broker.split = {node.carrier for node in half}
    return f"split off {', '.join(node.name for node in half)}" if half else ""


async def stop(cluster: Cluster, pick: Picks) -> str:
    node = pick.of(cluster.living)
    node.carrier.stop()
    return f"stop {node.name}"


async def heal(cluster: Cluster, _pick: Picks) -> str:
    cluster.heal()
    return "heal"


async def restart(cluster: Cluster, _pick: Picks) -> str:
    cluster.broker.restart()
    return "restart the broker"


async def trouble(cluster: Cluster, pick: Picks) -> str:
    broker = cluster.broker
    broker.lost, broker.repeated = pick.of((0, 0.02, 0.05)), pick.of((0, 0.05))
    broker.slowest = pick.of((0.02, 0.4))
    return f"lose {broker.lost}, repeat {broker.repeated}, delay {broker.slowest}"


async def follow(cluster: Cluster, pick: Picks) -> str:
    node = pick.of(cluster.living)
    return f"follow: {cluster.read_on(node, pick.of(NUMBERED))} at {node.name}"


async def drop(cluster: Cluster, pick: Picks) -> str:
    there = [reader for reader in cluster.readers if reader.node is not None]
    if not there:
        return ""
    reader = pick.of(there)
    reader.drop()
    return f"drop {reader}"


async def resume(cluster: Cluster, pick: Picks) -> str:
    away = [reader for reader in cluster.readers if reader.node is None]
    if not away:
        return ""
    node, reader = pick.of(cluster.living), pick.of(away)
    reader.connect(node)
    return f"resume {reader} at {node.name} from {reader.place}"


async def say(cluster: Cluster, pick: Picks) -> str:
    node, publication = pick.of(cluster.living), cluster.ledger.publication(pick.of(NUMBERED))
    cluster.submit(backend.publish(cluster, publication, node))
    return f"say {publication.data} at {node.name} in {publication.room}"


async def say_twice(cluster: Cluster, pick: Picks) -> str:
    """A backend that had no answer in time asks another node while the first is at it."""
    node, other = pick.of(cluster.living), pick.of(cluster.living)
    publication = cluster.ledger.publication(pick.of(NUMBERED))
    cluster.submit(backend.publish(cluster, publication, node))
    cluster.submit(backend.publish(cluster, publication, other))
    return f"say {publication.data} at {node.name} and {other.name} in {publication.room}"


async def clash(cluster: Cluster, pick: Picks) -> str:
    known = [each for each in cluster.ledger.publications if each.accepted and each.room == STORED]
    if not known:
        return ""
    node, publication = pick.of(cluster.living), pick.of(known)
    cluster.submit(backend.clash(cluster, publication, node))
    return f"say something else under the key of {publication.data} at {node.name}"


async def lose_store(cluster: Cluster, _pick: Picks) -> str:
    cluster.store.away = cluster.store.was_away = True
    return "the store is away"


CALM: dict[Do, int] = {
    connect: 8,
    close: 5,
    publish: 4,
    start: 2,
    follow: 4,
    drop: 2,
    resume: 3,
    say: 6,
    say_twice: 2,
    clash: 1,
}
"""Steps of a life without faults, with how often each is taken."""

EASY: dict[Do, int] = CALM | {leave: 1, leave_together: 1, roll: 1, kill: 1}
"""Nodes come and go in any way, and nothing that they send is lost."""

LOSSES: dict[Do, int] = CALM | {lose_one: 2}
"""One node at a time goes."""

WILD: dict[Do, int] = CALM | {
    leave: 1,
    roll: 1,
    kill: 1,
    cut: 1,
    split: 1,
    stop: 1,
    heal: 2,
    restart: 1,
    trouble: 1,
    lose_store: 1,
}

STEPS: dict[str, Do] = {step.__name__: step for step in (*WILD, *EASY, *LOSSES)}
