"""A node of the simulation: the real parts of one, on a faulty broker."""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING

from simulation.store import StoreAccess
from sockudo.cluster.members import Timing
from sockudo.cluster.network import join_carrier
from sockudo.cluster.shared_counters import SharedCounters
from sockudo.config.apps import ConnectionRecovery, Features, History
from sockudo.drivers import MemoryHistoryStore
from sockudo.edge.drain import until_members_returned
from sockudo.history.runtime import HistoryRuntime
from sockudo.hub import HubOptions
from sockudo.hub.edges import ChannelCounted, ChannelOccupied, ChannelVacated, MemberReported
from sockudo.publishing.stored_streams import StoredStreams
from support.inside import Node, live_app

if TYPE_CHECKING:
    from simulation.clients import SimClient
    from simulation.cluster import Cluster
    from simulation.readers import Reader

__all__ = ["KEPT", "ROOMS", "STORED", "SimNode"]

ROOMS = ("presence-a", "presence-b", "news", "sports", "games")
"""Channels of the app without numbers."""

KEPT = "kept"
"""An app and its channel that is recoverable and has no history: one node numbers it."""

STORED = "stored"
"""An app and its channel that has a history."""

_RECOVERY = ConnectionRecovery(enabled=True)
_APPS = (
    live_app("app", features=Features(enable_subscription_count=True)),
    live_app(KEPT, connection_recovery=_RECOVERY),
    live_app(STORED, connection_recovery=_RECOVERY, history=History(enabled=True)),
)

_SCRUB_SECONDS = 30
_HAND_OVER_SECONDS = 2.0


class SimNode:
    """One node on the faulty broker."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.name = name
        self.carrier = cluster.broker.carrier()
        self.bus = join_carrier(
            self.carrier, name, Timing(), asyncio.get_running_loop().time, node_id=cluster.rng.randbytes(16).hex()
        )
        self.node = node = Node(*_APPS, options=HubOptions(presence_grace=0.0), bus=self.bus)
        self.store = StoreAccess(cluster.store)
        self.histories = HistoryRuntime(
            node.hub,
            node.edges,
            node.apps,  # type: ignore[arg-type]  # what it asks of apps is there
            node.clock,
            node.settings,
            lambda _: self.store,  # type: ignore[arg-type, return-value]  # every method is there, by name
            MemoryHistoryStore,
            deliver=node.publisher.deliver_stored,
            wants_whole=node.publisher.wants_whole,
            node_id=self.bus.membership.me.id,
            is_alive=self.bus.membership.is_alive,
            is_gone=node.recorders.is_gone,
            is_alone=lambda: self.bus.alone,
        )
        node.publisher.history = self.histories.messages
        self.stored = StoredStreams(
            self.bus, self.bus.membership, node.router, node.hub, self.histories.messages, self.histories.policies
        )
        for app in _APPS:
            node.gateway.state(app)
        # As if there were thousands of members: what is sent and shown of them at a time is one.
        self.node.rosters.entries_in_answer = self.node.entries.members_in_turn = 1
        edges = node.edges
        edges.add(MemberReported, self._reported)
        edges.add(ChannelOccupied, lambda event: self._report(event.channel, "occupied"))
        edges.add(ChannelVacated, lambda event: self._report(event.channel, "vacated"))
        edges.add(ChannelCounted, self._counted)
        self.clients: list[SimClient] = []
        self.readers: list[Reader] = []
        # Whether clients connect to it, and whether it is there at all.
        self.alive = self.runs = True
        self._rounds: asyncio.Task[None] | None = None

    def _reported(self, event: MemberReported) -> None:
        self.cluster.reports[event.channel, event.member.user_id].append(event.member.kind)

    def _report(self, channel: str, what: str) -> None:
        if channel in ROOMS:
            self.cluster.reports[channel, ""].append(what)

    def _counted(self, event: ChannelCounted) -> None:
        if event.channel in ROOMS:
            self.cluster.counted[event.channel] = event.subscriptions

    async def start(self) -> None:
        await self.histories.messages.open()
        await self.bus.open()
        self._rounds = asyncio.get_running_loop().create_task(self._scrub())

    async def _scrub(self) -> None:
        while True:
            await asyncio.sleep(_SCRUB_SECONDS)
            self.node.rosters.scrub()
            self.node.recorders.announce()
            self.node.shared.scrub()
            self.stored.scrub()

    async def kill(self) -> None:
        """It is gone from one moment to the next."""
        self.alive = False
        self._take_along()
        self.carrier.dead = self.store.dead = True
        for reader in tuple(self.readers):
            # What was sent to it last may have been under way.
            reader.lost()
        await self.end()

    async def leave(self) -> None:
        """It stops in an orderly way: connections end, others learn that it goes."""
        self.alive = False
        for client in tuple(self.clients):
            client.close()
        self._send_readers_away()
        await asyncio.sleep(0.01)
        await self._hand_over()
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
        self._send_readers_away()
        await until_members_returned(hub, inf)
        await self._hand_over()
        self._take_along()
        await self.end()

    def _send_readers_away(self) -> None:
        for reader in tuple(self.readers):
            reader.read()
            reader.drop()

    async def _hand_over(self) -> None:
        await self.node.recorders.hand_over(_HAND_OVER_SECONDS)
        await self.node.shared.hand_over()
        if isinstance(self.node.counters, SharedCounters):
            await self.node.counters.hand_over()

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
        await self.node.shared.close()
        await self.stored.close()
        if isinstance(self.node.counters, SharedCounters):
            await self.node.counters.close()
        await self.histories.close()
        self.clients.clear()
