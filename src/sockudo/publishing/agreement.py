"""When joined nodes see the same nodes, and each knows what belongs to it (spec: platform § 10.10)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from hashlib import blake2b
from itertools import islice
from typing import Any, Final

from sockudo.cluster.items import node_topic
from sockudo.cluster.ports import DEADLINE, Bus, Membership, Received
from sockudo.cluster.router import Router
from sockudo.publishing.naming import PLACES_IN_ITEM
from sockudo.publishing.recorder_items import HandOver, Reported, Role, Settled, whole
from sockudo.publishing.topics import Place

__all__ = ["Agreement"]

# Seconds after a change within which the other nodes see it, and pass on what belongs to others since then.
_WITHIN: Final = 4.0
# Seconds after which a node is given again what it has not confirmed.
_AGAIN: Final = 0.25


class Agreement:
    """Passes on what this node knows of places, and sees when all nodes have done so.

    ``known`` gives what this node knows of a place, ``passed`` is called when all that lacked it have confirmed it, and
    ``closer`` when another node has passed on everything. ``start`` runs what waits for answers.
    """

    def __init__(
        self,
        bus: Bus,
        membership: Membership,
        router: Router,
        start: Callable[[Coroutine[Any, Any, None]], None],
        known: Callable[[Place], Role | None],
        passed: Callable[[Place, Role], None],
        closer: Callable[[], None],
    ) -> None:
        self._bus = bus
        self._membership = membership
        self._start = start
        self._known = known
        self._passed = passed
        self._closer = closer
        self._view = b""
        # The views on which other nodes have settled; of nodes that are not known yet, too.
        self._settled: dict[str, bytes] = {}
        self._until = 0.0
        # Places of which another node has to know what this one does, by its id.
        self._passing: dict[str, dict[Place, None]] = {}
        router.on_item(Settled, self._take)

    @property
    def reached(self) -> bool:
        """Whether all nodes see the nodes that this one sees, and have passed on everything or had the time for it."""
        if not self._bus.networked:
            # Inside a process all nodes see a change in one turn, and are given what is passed on in the next.
            return True
        if not self._view:
            # It looks for the others.
            return False
        me, settled = self._membership.me.id, self._settled
        if all(settled.get(node.id) == self._view for node in self._membership.live() if node.id != me):
            return True
        return asyncio.get_running_loop().time() >= self._until

    def change(self) -> None:
        """The nodes are others now, or this one sees them so."""
        owners = sorted(f"{node.id}:{node.incarnation}" for node in self._membership.ranked(""))
        self._view = blake2b(" ".join(owners).encode(), digest_size=8).digest()
        self._settled = {node_id: view for node_id, view in self._settled.items() if self._membership.is_alive(node_id)}
        if self._bus.networked:
            self._until = asyncio.get_running_loop().time() + _WITHIN

    def settle(self) -> None:
        """Says so to the others, when this node has nothing to pass on."""
        if self._passing:
            return
        me, settled = self._membership.me.id, Settled(self._view)
        for node in self._membership.live():
            if node.id != me:
                self._bus.publish(node_topic(node.id), settled)

    def pass_on(self, place: Place, role: Role) -> None:
        """Gives the nodes that lack it what this one knows of a place."""
        for node_id in sorted(role.missing):
            if node_id not in self._passing:
                self._passing[node_id] = {}
                self._start(self._pass_to(node_id))
            self._passing[node_id][place] = None

    async def _pass_to(self, node_id: str) -> None:
        """Goes on until the node has confirmed everything, or is lost."""
        places = self._passing[node_id]
        while places:
            roles = {place: self._known(place) for place in islice(places, PLACES_IN_ITEM)}
            lacking = {place: role for place, role in roles.items() if role is not None and node_id in role.missing}
            for place in roles.keys() - lacking.keys():
                del places[place]
            if not lacking:
                continue
            recorded: list[Reported] = []
            for place, role in lacking.items():
                if node_id == role.first:
                    recorded.append(whole(place, role))
                else:
                    self._bus.publish(node_topic(node_id), whole(place, role))
            # The answer confirms what was sent to the node before, too.
            request = HandOver(self._membership.me.id, tuple(recorded))
            answers = await self._bus.ask(request, deadline=DEADLINE, nodes=[node_id])
            if not answers.values.get(node_id):
                await asyncio.sleep(_AGAIN)
                continue
            for place, role in lacking.items():
                role.missing.discard(node_id)
                if not role.missing and self._known(place) is role:
                    self._passed(place, role)
        del self._passing[node_id]
        self.settle()

    def _take(self, received: Received, item: Settled) -> None:
        self._settled[received.sender.id] = item.view
        self._closer()
