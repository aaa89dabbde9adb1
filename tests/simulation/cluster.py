"""Several nodes of one cluster in one process and in virtual time, with clients that write down what they are sent."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter, defaultdict
from collections.abc import Mapping
from math import inf
from typing import Any

from simulation.broker import FaultyBroker
from sockudo import errors
from sockudo.cluster.members import Timing
from sockudo.cluster.network import join_carrier
from sockudo.config.apps import Features
from sockudo.edge.drain import until_members_returned
from sockudo.hub import HubOptions
from sockudo.hub.edges import ChannelCounted, ChannelOccupied, ChannelVacated, MemberReported
from sockudo.protocol.frames import Frame
from sockudo.publishing.recorder_items import covers
from sockudo.publishing.topics import Place
from support.inside import Client, Node, live_app

__all__ = ["ROOMS", "BrokenRuleError", "Cluster", "SimClient", "SimNode"]

ROOMS = ("presence-a", "presence-b", "news", "sports", "games")
USERS = ("ana", "ben", "cleo", "dan")


class BrokenRuleError(AssertionError):
    """A rule did not hold."""


class SimNode:
    """One node on the faulty broker."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.name = name
        self.carrier = cluster.broker.carrier()
        self.bus = join_carrier(
            self.carrier, name, Timing(), asyncio.get_running_loop().time, node_id=cluster.rng.randbytes(16).hex()
        )
        app = live_app("app", features=Features(enable_subscription_count=True))
        self.node = Node(app, options=HubOptions(presence_grace=0.0), bus=self.bus)
        # As if there were thousands of members: what is sent and shown of them at a time is one.
        self.node.rosters.entries_in_answer = self.node.entries.members_in_turn = 1
        edges, reports = self.node.edges, cluster.reports
        edges.add(MemberReported, self._reported)
        edges.add(ChannelOccupied, lambda event: reports[event.channel, ""].append("occupied"))
        edges.add(ChannelVacated, lambda event: reports[event.channel, ""].append("vacated"))
        edges.add(ChannelCounted, self._counted)
        self.clients: list[SimClient] = []
        # Whether clients connect to it, and whether it is there at all.
        self.alive = self.runs = True
        self._rounds: asyncio.Task[None] | None = None

    def _reported(self, event: MemberReported) -> None:
        self.cluster.reports[event.channel, event.member.user_id].append(event.member.kind)

    def _counted(self, event: ChannelCounted) -> None:
        self.cluster.counted[event.channel] = event.subscriptions

    async def start(self) -> None:
        await self.bus.open()
        self._rounds = asyncio.get_running_loop().create_task(self._scrub())

    async def _scrub(self) -> None:
        while True:
            await asyncio.sleep(30)
            self.node.rosters.scrub()
            self.node.recorders.announce()

    async def kill(self) -> None:
        """It is gone from one moment to the next."""
        self.alive = False
        self._take_along()
        self.carrier.dead = True
        await self.end()

    async def leave(self) -> None:
        """It stops in an orderly way: connections end, others learn that it goes."""
        self.alive = False
        for client in tuple(self.clients):
            client.close()
        await asyncio.sleep(0.01)
        await self.node.recorders.hand_over(2.0)
        self._take_along()
        await self.end()

    async def roll(self) -> None:
        """It is replaced: its connections are sent away, and most clients come back at other nodes within a while."""
        self.alive = False
        loop, rng, hub = asyncio.get_running_loop(), self.cluster.rng, self.node.hub
        hub.kept_over_drain = 5.0
        for client in tuple(self.clients):
            client.send_away()
            if rng.random() < self.cluster.returning:
                loop.call_later(rng.uniform(0, 3), self.cluster.come_back, client.user, client.room)
        await until_members_returned(hub, inf)
        await self.node.recorders.hand_over(2.0)
        self._take_along()
        await self.end()

    def _take_along(self) -> None:
        """Has the cluster see, when all that was sent has arrived, whether others know what this node reported."""
        seen = {place: dict(role.seen) for place, role in self.node.recorders.roles() if role.seen}
        asyncio.get_running_loop().call_later(1.0, self.cluster.look_for, seen)

    async def end(self) -> None:
        """Ends what is under way, when the life is over."""
        self.runs = False
        if self._rounds is not None:
            self._rounds.cancel()
        await self.bus.close()
        await self.node.recorders.close()
        self.node.entries.close()
        await self.node.rosters.close()
        self.clients.clear()


class SimClient:
    """A connection of a user, in one channel."""

    def __init__(self, node: SimNode, user: str, room: str, number: int) -> None:
        self.node = node
        self.user = user
        self.room = room
        self.number = number
        self.client: Client = node.node.connect()
        self.acknowledged = False
        self.open = True
        self.members: set[str] = set()
        self.told: list[tuple[str, str]] = []
        self.count: int | None = None
        self.messages: list[tuple[str, int]] = []
        # What was published after its acknowledgement while nothing could get lost.
        self.due: set[tuple[str, int]] = set()
        data = {"user_id": user, "user_info": {"n": number}} if room.startswith("presence-") else None
        self.client.subscribe(room, data)
        node.clients.append(self)

    def __str__(self) -> str:
        return f"{self.user}#{self.number} on {self.node.name} in {self.room}"

    def close(self) -> None:
        """The client closes its connection."""
        if self.open:
            self.open = False
            self.client.session.leave(code=1000)
            self.node.clients.remove(self)

    def send_away(self) -> None:
        """Its node ends the connection, as it drains."""
        self.open = False
        self.client.session.end(errors.SERVER_SHUTDOWN())
        self.node.clients.remove(self)

    def read(self) -> None:
        """Takes in what was sent since the last look. Raises `BrokenRuleError`."""
        for frame in self.client.peer.frames():
            self._take(frame)

    def _take(self, frame: dict[str, Any]) -> None:
        event = frame["event"]
        if event == "pusher_internal:subscription_succeeded":
            self.acknowledged = True
            data = json.loads(frame["data"] or "{}")
            self.members = set(data["presence"]["ids"]) if "presence" in data else set()
        elif frame.get("channel") == self.room:
            if not self.acknowledged:
                raise BrokenRuleError(f"{self}: {event} before the acknowledgement")
            self._take_event(event, frame)
        elif event == "pusher:error":
            raise BrokenRuleError(f"{self}: {frame}")

    def _take_event(self, event: str, frame: dict[str, Any]) -> None:
        data = json.loads(frame["data"])
        match event:
            case "pusher_internal:member_added":
                self.told.append(("came", data["user_id"]))
                if data["user_id"] in self.members:
                    raise BrokenRuleError(f"{self}: {data['user_id']} was added twice")
                self.members.add(data["user_id"])
            case "pusher_internal:member_removed":
                self.told.append(("left", data["user_id"]))
                if data["user_id"] not in self.members:
                    raise BrokenRuleError(f"{self}: {data['user_id']} was removed and not in")
                self.members.discard(data["user_id"])
            case "pusher_internal:subscription_count":
                self.count = data["subscription_count"]
            case _:
                sender, number = data["from"], data["n"]
                latest = max((n for name, n in self.messages if name == sender), default=0)
                if number <= latest:
                    raise BrokenRuleError(f"{self}: message {number} of {sender} after {latest}")
                self.messages.append((sender, number))


class Cluster:
    """Nodes, their clients, and everything that was reported."""

    def __init__(self, seed: int, *, sound: bool = False) -> None:
        self.rng = random.Random(seed)
        # Whether everything that is published arrives.
        self.sound = sound
        self.broker = FaultyBroker(self.rng)
        self.nodes: list[SimNode] = []
        self.reports: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self.story: list[str] = []
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
        self.broker.heal()

    def connect(self, node: SimNode, user: str, room: str) -> SimClient:
        self.made += 1
        return SimClient(node, user, room, self.made)

    def come_back(self, user: str, room: str) -> None:
        """A client that was sent away connects to another node."""
        if self.living:
            self.connect(self.rng.choice(self.living), user, room)

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
