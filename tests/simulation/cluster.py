"""Several nodes of one cluster in one process and in virtual time, with clients that write down what they are sent."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter, defaultdict
from collections.abc import Coroutine, Mapping
from itertools import pairwise
from typing import Any

from simulation.broker import FaultyBroker
from simulation.clients import SimClient
from simulation.nodes import KEPT, ROOMS, STORED, SimNode
from simulation.readers import Reader
from simulation.rules import BrokenRuleError, Ledger
from simulation.store import SharedStore
from sockudo.protocol.frames import Frame
from sockudo.publishing.recorder_items import covers
from sockudo.publishing.topics import Place

__all__ = ["ROOMS", "USERS", "Cluster"]

USERS = ("ana", "ben", "cleo", "dan")


class Cluster:
    """Nodes, their clients, and everything that was reported."""

    def __init__(self, seed: int, *, sound: bool = False) -> None:
        self.rng = random.Random(seed)
        # Whether everything that is published arrives.
        self.sound = sound
        self.broker = FaultyBroker(self.rng)
        self.store = SharedStore(self.rng)
        self.ledger = Ledger()
        self.readers: list[Reader] = []
        self.backends: list[asyncio.Task[None]] = []
        # Whether numbers, tokens or claims may have been lost with a node or on the way.
        self.disturbed = False
        self.nodes: list[SimNode] = []
        self.reports: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self.made = self.named = 0
        # How many of those that are sent away come back.
        self.returning = 0.8
        self.sent: Counter[str] = Counter()
        self.counted: dict[str, int] = {}
        # Places of which what was reported was lost with a node.
        self.unproven: set[str] = set()

    @property
    def living(self) -> list[SimNode]:
        return [node for node in self.nodes if node.alive]

    @property
    def clients(self) -> list[SimClient]:
        return [client for node in self.living for client in node.clients]

    async def add(self) -> SimNode:
        self.named += 1
        node = SimNode(self, f"n{self.named}")
        self.nodes.append(node)
        await node.start()
        return node

    def look_for(self, seen: Mapping[Place, Mapping[str, int]]) -> None:
        """Notes the places of which the reports that a node had ``seen`` when it went are known nowhere."""
        others = [dict(node.node.recorders.roles()) for node in self.nodes if node.runs]
        for place, reports in seen.items():
            if not any(place in known and covers(known[place].seen, reports) for known in others):
                self.unproven.add(place.name)

    def heal(self) -> None:
        """Ends every fault."""
        self.store.away = False
        self.broker.heal()

    def connect(self, node: SimNode, user: str, room: str) -> SimClient:
        self.made += 1
        return SimClient(node, user, room, self.made)

    def come_back(self, user: str, room: str) -> None:
        """A client that was sent away connects to another node."""
        if self.living:
            self.connect(self.rng.choice(self.living), user, room)

    def read_on(self, node: SimNode, room: str) -> Reader:
        """A new client follows a channel with numbers."""
        reader = Reader(self, room, len(self.readers) + 1)
        self.readers.append(reader)
        reader.connect(node)
        return reader

    def all_resume(self) -> None:
        """Every reader that was cut off comes back."""
        for reader in self.readers:
            if reader.node is None:
                reader.connect(self.rng.choice(self.living))

    def submit(self, work: Coroutine[Any, Any, None]) -> None:
        """A backend does something, while everything else goes on."""
        self.backends.append(asyncio.get_running_loop().create_task(work))

    def broke(self, reader: Reader, failed: dict[str, Any]) -> None:
        """A client learned that its channel does not go on where it was. Raises where that must not be."""
        if self.disturbed and (reader.room == KEPT or self.store.was_away):
            return
        raise BrokenRuleError(f"{reader}: {failed}")

    def publish(self, node: SimNode, room: str) -> None:
        """A backend publishes at a node."""
        self.sent[f"{node.name}/{room}"] += 1
        data = json.dumps({"from": f"{node.name}/{room}", "n": self.sent[f"{node.name}/{room}"]})
        if self.sound:
            self.read()
            for client in self.clients:
                if client.room == room and client.acknowledged:
                    client.due.add((f"{node.name}/{room}", self.sent[f"{node.name}/{room}"]))
        app, state = node.node.app, node.node.state
        node.node.publisher.publish(app, state, Frame("said", room, data), asyncio.get_running_loop().time())

    def read(self) -> None:
        """Has every client take in what it was sent."""
        for client in self.clients:
            client.read()
        for reader in self.readers:
            reader.read()

    async def wait(self, seconds: float) -> None:
        """Lets time pass, in steps short enough that a broken rule is seen near its cause."""
        while seconds > 0:
            await asyncio.sleep(min(seconds, 0.5))
            seconds -= 0.5
            self.read()

    async def check_at_rest(self) -> None:
        """What has to hold when faults are over and time for repairs has passed."""
        self.sound = True
        for node in self.living:
            for room in ROOMS:
                self.publish(node, room)
        await self.wait(0.5)
        for client in self.clients:
            if client.due.difference(client.messages):
                raise BrokenRuleError(f"{client}: {sorted(client.due.difference(client.messages))} did not come")
        names = {node.node.membership.me.id for node in self.living}
        for node in self.living:
            seen = {other.id for other in node.node.membership.live()}
            if seen != names:
                raise BrokenRuleError(f"{node.name} holds {len(seen)} nodes for living, there are {len(names)}")
        for room in ROOMS:
            here = [client for client in self.clients if client.room == room]
            truth = {client.user for client in here}
            for client in here:
                if not client.acknowledged:
                    raise BrokenRuleError(f"{client}: no acknowledgement")
                if room.startswith("presence-") and client.members != truth:
                    raise BrokenRuleError(f"{client}: members {sorted(client.members)}, truth {sorted(truth)}")
                if client.count != len(here):
                    raise BrokenRuleError(f"{client}: count {client.count}, truth {len(here)}")
        self._check_reports()

    def _check_reports(self) -> None:
        for (room, user), kinds in self.reports.items():
            if room in self.unproven:
                continue
            here = [client for client in self.clients if client.room == room]
            there = any(client.user == user for client in here) if user else bool(here)
            if (kinds[-1] in ("member_added", "occupied")) != there:
                raise BrokenRuleError(f"{user or 'it'} in {room} was last reported as {kinds[-1]}: {kinds}")
        for room, count in self.counted.items():
            if room not in self.unproven and count != sum(client.room == room for client in self.clients):
                raise BrokenRuleError(f"{room} was last reported to have {count} subscriptions")

    def check_streams_at_rest(self) -> None:
        """Every reader is where its channel is, and what was accepted on the durable one is stored once."""
        for problem in (task.exception() for task in self.backends if task.done() and not task.cancelled()):
            if problem is not None:
                raise problem
        if not all(task.done() for task in self.backends):
            raise BrokenRuleError("a publish is not answered")
        stream = self.store.inner._streams.get((STORED, STORED))
        for row in () if stream is None else stream.rows:
            self.ledger.note(STORED, (row.stream_id, row.serial), json.loads(row.message)["data"], "the store")
        self.ledger.check_once(STORED)
        if not self.disturbed:
            self.ledger.check_once(KEPT)
        for publication in self.ledger.publications:
            stored = publication.room != STORED or self.ledger.of.get((STORED, publication.data))
            if publication.accepted and not stored:
                raise BrokenRuleError(f"{publication.data} was accepted and is not stored")
        head = None if stream is None else (stream.stream_id, stream.next_serial - 1)
        for reader in self.readers:
            if not reader.acknowledged:
                raise BrokenRuleError(f"{reader}: no acknowledgement")
        for room, ends in ((STORED, {head}), (KEPT, {None})):
            places = {reader.place for reader in self.readers if reader.room == room}
            if len((places | ends) - {None}) > 1:
                raise BrokenRuleError(f"readers of {room} are at {places}, its head is {head}")

    def check_reported_once(self) -> None:
        """What has to hold where messages between nodes are not lost."""
        for (room, user), kinds in self.reports.items():
            if room in self.unproven:
                continue
            first = "member_added" if user else "occupied"
            if kinds[0] != first or any(kind == after for kind, after in pairwise(kinds)):
                raise BrokenRuleError(f"{user or 'it'} in {room} was reported as {kinds}")
