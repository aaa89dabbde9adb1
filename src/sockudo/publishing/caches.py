"""The last event of cache channels, among several nodes (spec: platform § 4.1).

Every node with subscribers of the channel keeps it, as they get it. While there are none the owner of the channel keeps
it, or a store outside of the nodes, if there is one. A node whose first subscriber comes asks all nodes, and the store,
once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import ClassVar, Final, NamedTuple

from sockudo.base.clock import Clock
from sockudo.base.tasks import end_tasks, start_tasks
from sockudo.cluster.items import Item, Request, node_topic
from sockudo.cluster.owners import ranked_owners
from sockudo.cluster.ports import Bus, Membership, Node, NodeChange, Received
from sockudo.cluster.router import Router
from sockudo.hub import Hub
from sockudo.hub.events import ChannelClosed
from sockudo.protocol.frames import Frame
from sockudo.publishing.nodes import Message
from sockudo.publishing.stored_events import StoredEvents
from sockudo.publishing.topics import Place, Topics

__all__ = ["SharedCaches"]

Ready = Callable[[], Awaitable[None]]
"""Starts what has to end before a subscription is acknowledged."""

# Seconds that a first subscriber waits for what other nodes have.
_ANSWERED_WITHIN: Final = 0.25
# Channels that are passed on in one turn, and of which it is known that nothing newer was published.
_PASSED_AT_ONCE: Final = 500
_MOST_CURRENT: Final = 100_000


class KeepCached(Item, frozen=True, tag="cached"):
    """The last event of a cache channel, for the owner of the channel; ``age`` in seconds."""

    message: Message
    age: float = 0.0


class _Cached(NamedTuple):
    message: Message
    age: float


class CachedOf(Request, frozen=True, tag="cached_of"):
    """Asks a node for the last event of a cache channel that it knows."""

    reply: ClassVar = _Cached | None

    app_id: str
    channel: str


class SharedCaches:
    """The last events that this node keeps, in step with those of the others, and with those ``stored``.

    Without a store it costs nothing while the node is alone.
    """

    def __init__(
        self,
        bus: Bus,
        membership: Membership,
        router: Router,
        topics: Topics,
        hub: Hub,
        clock: Clock,
        stored: StoredEvents | None = None,
    ) -> None:
        self._bus = bus
        self._stored = stored
        self._topics = topics
        self._membership = membership
        self._hub = hub
        self._clock = clock
        self._joined = False
        # Channels whose last event was asked for, as long as this node gets their events.
        self._current: set[Place] = set()
        self._asking: dict[Place, asyncio.Future[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        router.on_item(KeepCached, self._keep)
        router.on_request(CachedOf, self._answer)
        router.on_gap(self._lost)
        membership.watch(self._nodes_changed)
        if stored is not None:
            hub.observers.add(ChannelClosed, self._closed)
        self._join()

    async def close(self) -> None:
        """Ends what is under way."""
        await end_tasks(self._tasks)
        if self._stored is not None:
            await self._stored.close()

    def _join(self) -> None:
        if self._joined or (self._bus.alone and not self._bus.networked):
            return
        self._joined = True
        self._bus.subscribe(node_topic(self._membership.me.id))
        if self._stored is None:
            self._hub.observers.add(ChannelClosed, self._closed)

    # ---- what this node publishes ----

    def store(self, app_id: str, frame: Frame, ttl: float) -> None:
        """A message on a cache channel was published, or numbered, here: the store keeps it, if there is one."""
        if self._stored is not None:
            self._stored.put(Place(app_id, frame.channel or ""), frame, ttl)

    def published(self, message: Message) -> None:
        """A message on a cache channel was published here: the owner of the channel keeps it."""
        if self._stored is not None:
            return
        owner = self._membership.owner(_name(Place(message.app_id, message.frame.channel or "")))
        if owner.id != self._membership.me.id:
            self._send(owner, message, 0.0)

    def _send(self, owner: Node, message: Message, age: float) -> None:
        self._bus.publish(node_topic(owner.id), KeepCached(message.packed() if self._bus.networked else message, age))

    def hand_over(self) -> None:
        """Passes what this node keeps as the owner on to the nodes that stay."""
        me = self._membership.me.id
        for place, message, age in () if self._bus.alone or self._stored is not None else self._kept():
            ranked = self._membership.ranked(_name(place))
            other = next((node for node in ranked if node.id != me), None)
            # A node that is drained owns nothing any more, and may still be the only one to have it.
            if other is not None and (ranked[0].id == me or all(node.id != me for node in ranked)):
                self._send(other, message, age)

    def _kept(self) -> Iterator[tuple[Place, Message, float]]:
        now = self._clock.monotonic()
        for state in tuple(self._hub.states()):
            for channel, event in state.cache.events(now):
                yield Place(state.app_id, channel), Message(state.app_id, event.frame), now - event.kept_at

    # ---- before a subscription, and a question about the channel ----

    def prepare(self, place: Place, ready: Ready | None) -> Ready | None:
        """What has to end before a subscriber is shown the last event, after what makes the channel ``ready``."""
        isolated = self._bus.alone or self._membership.deaf
        if (isolated and self._stored is None) or (ready is None and self._is_current(place)):
            return ready
        return partial(self._prepared, place, ready)

    def _is_current(self, place: Place) -> bool:
        return place in self._current and self._hears(place)

    def _hears(self, place: Place) -> bool:
        """Whether what is published in the channel comes here, wherever that is."""
        return place.topic in self._topics or (self._bus.alone and not self._bus.networked)

    async def _prepared(self, place: Place, ready: Ready | None) -> None:
        if ready is not None:
            await ready()
        if (asking := self._asking.get(place)) is not None:
            # What was published since that question comes by itself.
            await asyncio.wait({asking})
            return
        asking = self._asking[place] = asyncio.get_running_loop().create_future()
        try:
            await self._ask(place)
        finally:
            del self._asking[place]
            asking.set_result(None)

    async def _ask(self, place: Place) -> None:
        if all(await asyncio.gather(self._ask_nodes(place), self._ask_store(place))) and self._hears(place):
            if len(self._current) >= _MOST_CURRENT:
                self._current.clear()
            self._current.add(place)

    async def _ask_nodes(self, place: Place) -> bool:
        if self._bus.alone:
            return True
        me, asked_at = self._membership.me.id, self._clock.monotonic()
        others = [node.id for node in self._membership.live() if node.id != me]
        answers = await self._bus.ask(CachedOf(*place), deadline=_ANSWERED_WITHIN, nodes=others)
        for cached in answers.values.values():
            if cached is not None:
                # What is published since then comes by itself, and is newer.
                self._take(cached.message, asked_at - cached.age)
        return answers.complete

    async def _ask_store(self, place: Place) -> bool:
        state = self._hub.find(place.app_id)
        if self._stored is None or state is None:
            return True
        asked_at = self._clock.monotonic()
        try:
            found = await asyncio.wait_for(self._stored.get(place), _ANSWERED_WITHIN)
        except TimeoutError:
            return False
        if found is not None:
            message, left = found
            self._take(message, min(asked_at, asked_at + left - state.cache.ttl))
        return True

    # ---- what other nodes have ----

    def _answer(self, request: CachedOf) -> _Cached | None:
        state, now = self._hub.find(request.app_id), self._clock.monotonic()
        event = None if state is None else state.cache.get(request.channel, now)
        if event is None:
            return None
        message = Message(request.app_id, event.frame)
        return _Cached(message.packed() if self._bus.networked else message, now - event.kept_at)

    def _keep(self, _received: Received, item: KeepCached) -> None:
        self._take(item.message, self._clock.monotonic() - item.age)

    def _take(self, message: Message, kept_at: float) -> None:
        state = self._hub.find(message.app_id)
        if state is not None:
            state.cache.offer(message.frame.channel or "", message.unpacked(), kept_at, self._clock.monotonic())

    # ---- what changes ----

    def _closed(self, event: ChannelClosed) -> None:
        self._current.discard(Place(event.app_id, event.channel))

    def _lost(self, topics: object) -> None:
        self._current.clear()

    def _nodes_changed(self, change: NodeChange) -> None:
        self._join()
        if self._bus.alone:
            # What comes later is published here.
            return
        if change.node.id == self._membership.me.id:
            self._current.clear()
            return
        if self._stored is None and any(len(state.cache) for state in self._hub.states()):
            [task] = start_tasks(self._pass_on(change))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, change: NodeChange) -> None:
        """Tells new owners of the last events of their channels."""
        live = self._membership.live()
        before = [*live, change.node] if change.what == "down" else [node for node in live if node.id != change.node.id]
        for number, (place, message, age) in enumerate(tuple(self._kept()), 1):
            owner = self._membership.owner(_name(place))
            if owner.id != self._membership.me.id and ranked_owners(_name(place), before)[0].id != owner.id:
                self._send(owner, message, age)
            if number % _PASSED_AT_ONCE == 0:
                await asyncio.sleep(0)


def _name(place: Place) -> str:
    return f"{place.app_id}/{place.name}"
