"""Presence over several nodes: each owns the entries of its connections and tells the others what changes
(spec: platform § 10.5).

Versions come from one counter of the node. A change names the version before it, so that a node which missed one
notices, and asks for all entries of that owner. Entries of a node that went are dropped by each of the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, ClassVar, NamedTuple

from sockudo.base.tasks import end_tasks, start_tasks
from sockudo.cluster.items import Item, Request, channel_topic
from sockudo.cluster.ports import DEADLINE, Bus, Membership, NodeChange, Received
from sockudo.cluster.router import Router
from sockudo.hub import Channel, Hub
from sockudo.hub.events import ChannelClosed, ChannelOpened, EntryChanged

__all__ = ["EntriesChanged", "Rosters"]

_Place = tuple[str, str]


class EntriesChanged(Item, frozen=True, tag="entries"):
    """A node's entries of a presence channel changed: ``put`` by user, ``removed`` users.

    ``version`` is the node's newest, ``previous`` the one of its last change to this channel, 0 where it had no entry.
    """

    app_id: str
    channel: str
    previous: int
    version: int
    put: dict[str, bytes]
    removed: tuple[str, ...] = ()


class _State(NamedTuple):
    version: int
    entries: dict[str, bytes]


class EntriesOf(Request, frozen=True, tag="entries_of"):
    """Asks a node for all of its entries of a channel."""

    reply: ClassVar = _State

    app_id: str
    channel: str


class Rosters:
    """Keeps the presence channels of this node in step with the entries of the others. Costs nothing while alone."""

    def __init__(self, bus: Bus, membership: Membership, router: Router, hub: Hub) -> None:
        self._bus = bus
        self._membership = membership
        self._hub = hub
        self._counter = 0
        # The version of this node's last change, and what it knows of each owner: (incarnation, version).
        self._own: dict[_Place, int] = {}
        self._known: dict[_Place, dict[str, tuple[int, int]]] = {}
        self._joined = False
        self._tasks: set[asyncio.Task[None]] = set()
        router.on_item(EntriesChanged, self._receive)
        router.on_request(EntriesOf, self._answer)
        router.on_gap(self._gap)
        membership.watch(self._nodes_changed)
        self._join()

    async def close(self) -> None:
        """Ends the questions that are under way."""
        await end_tasks(self._tasks)

    def _join(self) -> None:
        if self._joined or (self._bus.alone and not self._bus.networked):
            return
        self._joined = True
        observers = self._hub.observers
        observers.add(EntryChanged, self._entry_changed)
        observers.add(ChannelOpened, self._opened)
        observers.add(ChannelClosed, self._closed)
        for place, channel in self._channels():
            if channel.presence:
                self._counter += 1
                self._own[place] = self._counter

    def _channels(self) -> list[tuple[_Place, Channel]]:
        return [
            ((state.app_id, channel.name), channel)
            for state in self._hub.states()
            for channel in state.everything()
            if channel.presence is not None
        ]

    def _channel(self, place: _Place) -> Channel | None:
        state = self._hub.find(place[0])
        return None if state is None else state.find(place[1])

    # ---- what this node tells ----

    def _entry_changed(self, event: EntryChanged) -> None:
        channel = event.channel
        place = (channel.app.app_id, channel.name)
        previous = self._own.get(place, 0)
        self._counter += 1
        if channel.presence:
            self._own[place] = self._counter
        else:
            self._own.pop(place, None)
        topic = channel_topic(*place)
        if not self._bus.interested(topic):
            return
        put = {} if event.user_info is None else {event.user_id: event.user_info}
        removed = (event.user_id,) if event.user_info is None else ()
        self._bus.publish(topic, EntriesChanged(*place, previous, self._counter, put, removed))

    def _answer(self, request: EntriesOf) -> _State:
        place = (request.app_id, request.channel)
        channel = self._channel(place)
        presence = None if channel is None else channel.presence
        entries = {member.user_id: member.user_info for member in presence or ()}
        return _State(self._own.get(place, self._counter), entries)

    # ---- what it hears ----

    def _receive(self, received: Received, item: EntriesChanged) -> None:
        place = (item.app_id, item.channel)
        channel = self._channel(place)
        if channel is None or channel.presence is None:
            return
        owner = received.sender
        version = (owner.incarnation, item.version)
        views = self._known.setdefault(place, {})
        known = views.get(owner.id, (0, 0))
        if version <= known:
            return
        if item.previous and (owner.incarnation, item.previous) != known:
            self._ask(place, [owner.id])
            return
        # Without a change before it the owner had nothing: what is known of it is replaced.
        stale = () if item.previous else channel.presence.of_node(owner.id).keys() - item.put.keys()
        views[owner.id] = version
        self._hub.change_elsewhere(channel, owner.id, item.put, (*item.removed, *stale))

    def _opened(self, event: ChannelOpened) -> None:
        if event.kind.presence:
            self._ask((event.app_id, event.channel), None)

    def _closed(self, event: ChannelClosed) -> None:
        self._known.pop((event.app_id, event.channel), None)

    def _gap(self, _topics: Sequence[str]) -> None:
        for place, _ in self._channels():
            self._ask(place, None)

    def _nodes_changed(self, change: NodeChange) -> None:
        self._join()
        for place, channel in self._channels():
            if change.what == "up":
                self._ask(place, [change.node.id])
            elif channel.presence is not None:
                self._known.get(place, {}).pop(change.node.id, None)
                self._hub.change_elsewhere(channel, change.node.id, {}, channel.presence.of_node(change.node.id))

    def _ask(self, place: _Place, nodes: Sequence[str] | None) -> None:
        self._start(self._read(place, nodes))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        [task] = start_tasks(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self, place: _Place, nodes: Sequence[str] | None) -> None:
        me = self._membership.me.id
        others = [node.id for node in self._membership.live() if node.id != me] if nodes is None else nodes
        if not others:
            return
        answers = await self._bus.ask(EntriesOf(*place), deadline=DEADLINE, nodes=others)
        incarnations = {node.id: node.incarnation for node in self._membership.live()}
        for node_id, state in answers.values.items():
            channel = self._channel(place)
            if channel is None or channel.presence is None or state is None or node_id not in incarnations:
                continue
            version = (incarnations[node_id], state.version)
            views = self._known.setdefault(place, {})
            if version < views.get(node_id, (0, 0)):
                # Older than what arrived since.
                continue
            views[node_id] = version
            stale = channel.presence.of_node(node_id).keys() - state.entries.keys()
            self._hub.change_elsewhere(channel, node_id, state.entries, stale)
