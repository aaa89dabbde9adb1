"""Channels that are recoverable without a store, among several nodes: one order for all of them
(spec: platform § 10.12).

The owner of a channel numbers it, and every other node with subscribers follows. A node that is alone numbers
everything itself, and nothing of this is used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from sockudo.apps.policies import RecoveryPolicy, StreamPolicies
from sockudo.base.clock import Clock
from sockudo.base.stream_records import Committed, Position
from sockudo.base.tasks import end_tasks
from sockudo.cluster.owners import OwnerCounts
from sockudo.cluster.ports import Bus, Membership
from sockudo.cluster.router import Router
from sockudo.history.calls import Sleep
from sockudo.history.heads import StreamKey
from sockudo.hub import AppState, Hub
from sockudo.hub.streams.replay import ReplayBuffer
from sockudo.publishing.following import Deliveries, Following
from sockudo.publishing.holder import unavailable
from sockudo.publishing.nodes import Message
from sockudo.publishing.recoverable import RecoverableChannels
from sockudo.publishing.tokens import NumberIt

__all__ = ["SharedStreams"]

# Publishes that wait for a number of another node.
_MOST_WAITING: Final = 4096
# Publishes with a key whose numbers are remembered, about 4 MB; past that the oldest is forgotten.
_MOST_ONCE: Final = 10_000


class _Once(NamedTuple):
    """The number of a publish, and the second until which it is that of each further try."""

    place: Position
    until: float


class SharedStreams:
    """The streams without a store, as this node numbers and follows them."""

    def __init__(
        self,
        bus: Bus,
        membership: Membership,
        router: Router,
        hub: Hub,
        clock: Clock,
        policies: Callable[[str], StreamPolicies | None],
        *,
        sleep: Sleep = asyncio.sleep,
        counts: OwnerCounts | None = None,
    ) -> None:
        self._counts = counts = counts or OwnerCounts()
        self._bus = bus
        self._hub = hub
        self._clock = clock
        self._channels = channels = RecoverableChannels(hub, policies)
        self._following = following = Following(bus, membership, router, hub, clock, channels, sleep, counts)
        self._holder = following.holder
        self._publishing: set[asyncio.Task[Committed]] = set()
        # Publishes with a key that were numbered here: whether the answer has arrived is not known.
        self._once: dict[tuple[StreamKey, bytes], _Once] = {}
        self.scrub = following.scrub
        self.offer, self.position = following.offer, following.position
        self.attach, self.lookup = following.attach, following.lookup
        router.on_request(NumberIt, self._number_for)

    def deliver_by(self, deliveries: Deliveries) -> None:
        """Sets what delivers messages, before the first one comes."""
        self._following.deliveries = deliveries

    @property
    def numbered(self) -> int:
        """How many streams are numbered here."""
        return len(self._channels.kept(held=True))

    async def hand_over(self) -> None:
        """Passes the streams that are numbered here on to the nodes that stay."""
        await self._holder.hand_over()

    async def close(self) -> None:
        """Ends what is under way; publishes that wait for a number fail."""
        await end_tasks(self._publishing)
        await self._following.close()

    def publish(
        self,
        state: AppState,
        message: Message,
        recovery: RecoveryPolicy,
        deliver: Callable[[float], None],
        accepted: Callable[[], None],
        *,
        once: bytes | None = None,
        lasts: float = 0.0,
    ) -> asyncio.Future[Committed] | None:
        """Publishes a message that was accepted here under the next number of its stream, see `Publisher.publish`.

        Where it is numbered here ``deliver`` delivers it everywhere; elsewhere it comes back from the holder, and
        ``accepted`` is called once it is known to be published. The future fails with errors.STREAM_OWNER_UNAVAILABLE,
        which is raised when too many publishes wait already. It may be published all the same: with ``once`` it is not
        published again when it is tried again within the seconds that it ``lasts``, at any node.
        """
        key = (state.app_id, message.frame.channel or "")
        number = partial(self._number, state, message, recovery, lambda: deliver(self._clock.monotonic()))
        if once is not None:
            number = partial(self._numbered_once, key, once, lasts, number)
        if self._holder.owns(key) and (buffer := self._holder.held(key)) is not None:
            number(buffer)
            return None
        if len(self._publishing) >= _MOST_WAITING:
            self._counts.numbers_refused += 1
            raise unavailable(f"{_MOST_WAITING} publishes wait for the nodes that number their channels")
        request = NumberIt(message.packed() if self._bus.networked else message, once, lasts)
        work = self._publish_elsewhere(key, message, request, number, accepted)
        task = asyncio.get_running_loop().create_task(work)
        self._publishing.add(task)
        task.add_done_callback(self._published)
        return task

    def _published(self, task: asyncio.Task[Committed]) -> None:
        self._publishing.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # A publisher that has gone does not ask any more.
            self._counts.numbers_refused += 1

    async def _publish_elsewhere(
        self,
        key: StreamKey,
        message: Message,
        request: NumberIt,
        number: Callable[[ReplayBuffer], Position],
        accepted: Callable[[], None],
    ) -> Committed:
        here: list[Position] = []

        def number_here(buffer: ReplayBuffer) -> Position:
            here.append(number(buffer))
            return here[0]

        place: Position = await self._holder.ask_owner(key, request, number_here, lambda place: place)
        if not here:
            message.frame.stream_id, message.frame.serial = place
            accepted()
        return Committed(place)

    def _number(
        self,
        state: AppState,
        message: Message,
        recovery: RecoveryPolicy,
        deliver: Callable[[], None],
        buffer: ReplayBuffer,
    ) -> Position:
        """Gives a message the next number; it is kept and delivered before anything else is numbered."""
        frame = message.frame
        buffer.number(frame)
        buffer.append(frame, recovery.max_size, self._clock.monotonic(), message.exclude)
        place = buffer.head
        self._following.numbered((state.app_id, frame.channel or ""), place)
        deliver()
        return place

    def _numbered_once(
        self,
        key: StreamKey,
        once: bytes,
        lasts: float,
        number: Callable[[ReplayBuffer], Position],
        buffer: ReplayBuffer,
    ) -> Position:
        """The number that the publish has in this stream already, or a new one."""
        now, known = self._clock.monotonic(), self._once.get((key, once))
        if known is not None and known.until > now and known.place.stream_id == buffer.stream_id:
            return known.place
        place = number(buffer)
        self._once[key, once] = _Once(place, now + lasts)
        if len(self._once) > _MOST_ONCE:
            del self._once[next(iter(self._once))]
        return place

    def _number_for(self, request: NumberIt) -> Any:
        message = request.message
        message = msgspec.structs.replace(message, frame=message.unpacked(), json=False)
        key = (message.app_id, message.frame.channel or "")
        state, recovery = self._hub.find(key[0]), self._channels.policy(key)
        if state is None or recovery is None or not self._holder.owns(key):
            return None
        send = partial(self._following.deliveries.send_numbered, state, message)
        number = partial(self._number, state, message, recovery, send)
        if request.once is not None:
            number = partial(self._numbered_once, key, request.once, request.lasts, number)
        buffer = self._holder.held(key)
        return number(buffer) if buffer is not None else self._holder.do(key, number)
