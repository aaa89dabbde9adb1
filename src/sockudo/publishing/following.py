"""Following the streams that other nodes number, without a store (spec: platform § 10.12).

A node with subscribers of a channel delivers in the order of the serials; what does not come by itself, or may have
been lost, is read from the holder.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Iterable, Sequence
from functools import partial
from typing import Any, Final, Protocol

import msgspec

from sockudo.apps.policies import RecoveryPolicy
from sockudo.base.clock import Clock
from sockudo.base.stream_records import Position
from sockudo.base.tasks import end_tasks, start_tasks
from sockudo.cluster.owners import OwnerCounts
from sockudo.cluster.ports import DEADLINE, Bus, Membership, NodeChange
from sockudo.cluster.router import Router
from sockudo.errors import SockudoError
from sockudo.history.authority import Numbered, Reading
from sockudo.history.calls import Sleep
from sockudo.history.heads import Heads, StreamKey
from sockudo.history.sequencer import Sequencer
from sockudo.hub import AppState, Hub
from sockudo.hub.events import ChannelClosed, ChannelForgotten, ChannelOpened, UserChanged
from sockudo.hub.streams.replay import Lookup, ReplayBuffer
from sockudo.protocol.frames import Frame
from sockudo.protocol.names import USER_CHANNEL_PREFIX
from sockudo.publishing.holder import Holder, owner_key
from sockudo.publishing.nodes import Message
from sockudo.publishing.recoverable import RecoverableChannels, interruption
from sockudo.publishing.tokens import KEYS_AT_ONCE, RING_BYTES, Asked, Head, HeadsOf, Token, size_of

__all__ = ["Deliveries", "Following"]

# Seconds after which a holder that did not answer is asked again, and how often.
_AGAIN: Final = 1.0
_ROUNDS: Final = 5


class Deliveries(Protocol):
    """Delivers messages that have their number, with their frames as they were published."""

    def send_numbered(self, state: AppState, message: Message) -> None:
        """Delivers a message of another node that was numbered here, on every node."""

    def deliver_numbered(self, state: AppState, message: Message, recovery: RecoveryPolicy) -> None:
        """Keeps a message that was numbered elsewhere, and delivers it on this node."""


class Following:
    """The streams without a store as this node's subscribers get them. It is their `Authority`, by asking the owner.

    ``deliveries`` is set before the first message comes.
    """

    deliveries: Deliveries

    def __init__(
        self,
        bus: Bus,
        membership: Membership,
        router: Router,
        hub: Hub,
        clock: Clock,
        channels: RecoverableChannels,
        sleep: Sleep,
        counts: OwnerCounts,
    ) -> None:
        self._counts = counts
        self._bus = bus
        self._membership = membership
        self._hub = hub
        self._clock = clock
        self._channels = channels
        self._sleep = sleep
        self._heads = Heads(self._moved)
        self.sequencer = Sequencer(self, self._heads, sleep)
        self.holder = Holder(bus, membership, router, hub, clock, channels, sleep, self._given, self._taken)
        # Channels whose head the holder has confirmed since items may have been lost the last time.
        self._confirmed: set[StreamKey] = set()
        self._losses = 0
        self._attaching: dict[StreamKey, asyncio.Future[None]] = {}
        self._due: dict[StreamKey, None] = {}
        self._joined = False
        self._was_alone = bus.alone
        self._tasks: set[asyncio.Task[Any]] = set()
        router.on_gap(self._lost)
        membership.watch(self._nodes_changed)
        self._join()

    def scrub(self) -> None:
        """Compares with the holders what this node knows, while there are other nodes."""
        self._refresh(self._channels)

    async def close(self) -> None:
        """Ends what is under way."""
        await end_tasks(self._tasks)
        await self.holder.close()
        await self.sequencer.close()

    # ---- messages and places ----

    def offer(self, state: AppState, message: Message, recovery: RecoveryPolicy) -> None:
        """Takes a message that another node numbered, with its frame as it was published; delivers it in its turn."""
        frame = message.frame
        key, place = (state.app_id, frame.channel or ""), Position(frame.stream_id or "", frame.serial or 0)
        deliver = partial(self._deliver_at, state, message, recovery)
        self.sequencer.offer(key, place, frame.message_id, size_of(frame), deliver)

    def numbered(self, key: StreamKey, place: Position) -> None:
        """A message was numbered here, where the order is; it is delivered by that."""
        if not self._bus.alone:
            self._heads.advance(key, place)

    def _deliver_at(self, state: AppState, message: Message, recovery: RecoveryPolicy, _place: Position) -> None:
        self.deliveries.deliver_numbered(state, message, recovery)

    def position(self, app_id: str, channel: str) -> Position | None:
        """Where the channel is, when that is known here at this moment; see `attach`."""
        key = (app_id, channel)
        if (buffer := self._numbers(key)) is not None:
            return buffer.head
        return self._heads.get(key) if key in self._confirmed else None

    async def attach(self, app_id: str, channel: str) -> Position | None:
        """Where the channel is, for who subscribes now; everything up to there has been delivered here.

        None when the holder cannot be asked, and nothing is known here: no subscriber is refused for that.
        """
        key = (app_id, channel)
        while (place := self.position(*key)) is None:
            if self._membership.deaf:
                return self._heads.get(key)
            attaching = self._attaching.get(key)
            if attaching is not None:
                await asyncio.wait({attaching})
                continue
            attaching = self._attaching[key] = asyncio.get_running_loop().create_future()
            try:
                await self._catch_up(key)
                place = self.position(*key) or self._heads.get(key)
                break
            except SockudoError:
                return self._heads.get(key)
            finally:
                del self._attaching[key]
                attaching.set_result(None)
        return place

    async def lookup(self, app_id: str, channel: str, stream_id: str | None, serial: int) -> Lookup:
        """What came after a position, as the holder has it. Raises errors.STREAM_OWNER_UNAVAILABLE.

        What is found has been delivered to the subscribers of this node, too.
        """
        key, now = (app_id, channel), self._clock.monotonic()
        state = self._hub.find(app_id)
        if state is not None and self.position(*key) is not None:
            found = state.replay.lookup(channel, stream_id, serial, now)
            if found.outcome == "recovered" or self._numbers(key) is not None:
                return found
        frames: list[Frame] = []
        while True:
            head = await self._head(Asked(*key, stream_id, serial, replay=True))
            if head.outcome != "recovered":
                return Lookup(head.outcome, head.position)  # type: ignore[arg-type]  # one of those of `Lookup`
            frames += [message.unpacked() for message in head.messages]
            if not head.more:
                break
            stream_id, serial = head.stream_id, frames[-1].serial or 0
        known = self._heads.get(key)
        if known is not None and (known.stream_id != head.stream_id or known.serial < head.serial):
            await self.sequencer.catch_up(key, head.position)
        return Lookup("recovered", head.position, tuple(frames))

    async def _catch_up(self, key: StreamKey) -> None:
        """Delivers what the holder has beyond what was delivered here, and follows it from there."""
        state = self._hub.find(key[0])
        buffer = None if state is None else state.replay.get(key[1])
        if buffer is not None and self._heads.get(key) is None:
            self._heads.advance(key, buffer.head)
        await self.sequencer.catch_up(key)
        head = self._heads.get(key)
        if state is not None and head is not None and self._numbers(key) is None:
            state.replay.follow(key[1], head, self._clock.monotonic())

    # ---- the authority of the sequencer ----

    async def read(self, key: StreamKey, start: int | None) -> Reading | None:
        """See `Authority.read`."""
        losses, known = self._losses, self._heads.get(key)
        serial = None if start is None else start if known is not None else start - 1
        head = await self._head(Asked(*key, known.stream_id if known is not None else None, serial))
        if losses == self._losses and self._channels.is_heard(key):
            self._confirmed.add(key)
        if (buffer := self._numbers(key)) is not None:
            # What was numbered here was delivered by that.
            self._heads.advance(key, buffer.head)
            return Reading(buffer.head)
        state, recovery = self._hub.find(key[0]), self._channels.policy(key)
        messages: list[Numbered] = []
        if state is None or recovery is None:
            return Reading(head.position)
        for message in head.messages:
            unpacked = msgspec.structs.replace(message, frame=message.unpacked(), json=False)
            frame = unpacked.frame
            deliver = partial(self._deliver_at, state, unpacked, recovery)
            messages.append(Numbered(Position(frame.stream_id or "", frame.serial or 0), frame.message_id, deliver))
        return Reading(head.position, messages, head.more, begin=head.oldest - 1)

    def check(self, key: StreamKey, reading: Reading | None) -> None:
        """See `Authority.check`: everything that a holder has may be delivered."""

    def has_lost(self, known: Position, message_id: str | None, reading: Reading) -> bool:
        """See `Authority.has_lost`: a stream has one holder, which never goes back."""
        return False

    async def settle(self, key: StreamKey, known: Position) -> Position:
        """See `Authority.settle`."""
        return (await self._head(Asked(*key))).position

    async def _head(self, asked: Asked) -> Head:
        key = (asked.app_id, asked.channel)
        here = partial(self.holder.head, asked, RING_BYTES)
        return await self.holder.ask_owner(key, HeadsOf((asked,)), here, lambda heads: heads[0] if heads else None)

    # ---- tokens ----

    def _given(self, key: StreamKey, buffer: ReplayBuffer) -> None:
        state = self._hub.find(key[0])
        if state is not None:
            self._counts.tokens_given += 1
            state.replay.give(key[1])
            self._heads.advance(key, buffer.head)

    def _taken(self, key: StreamKey, token: Token | None) -> ReplayBuffer | None:
        """A token has come, or a stream begins here: this node's subscribers go on with it."""
        state, recovery, now = self._hub.find(key[0]), self._channels.policy(key), self._clock.monotonic()
        if state is None or recovery is None:
            return None
        followed = state.replay.get(key[1])
        if followed is not None and self._heads.get(key) is None:
            self._heads.advance(key, followed.head)
        if token is None:
            before = self._heads.get(key)
            self._counts.streams_begun += 1
            buffer = state.replay.begin(key[1], now)
        else:
            messages = [msgspec.structs.replace(each, frame=each.unpacked(), json=False) for each in token.messages]
            for message in messages:
                # What comes next for the subscribers of this node may be among them.
                if self._comes_next(key, message.frame):
                    self.offer(state, message, recovery)
            before = self._heads.get(key)
            kept = [(message.frame, message.exclude) for message in messages]
            self._counts.tokens_taken += 1
            buffer = state.replay.take(key[1], token.stream_id, token.next_serial, kept, now)
        self.sequencer.forget(key)
        self._heads.advance(key, buffer.head)
        if before is not None and before != buffer.head:
            state.interrupt(interruption(key[1], before, buffer.head))
        return buffer

    def _comes_next(self, key: StreamKey, frame: Frame) -> bool:
        head = self._heads.get(key)
        return head is not None and (frame.stream_id, frame.serial) == (head.stream_id, head.serial + 1)

    def _moved(self, app_id: str, channel: str, position: Position) -> None:
        """This node goes on elsewhere in a stream that it follows, or in another one."""
        state = self._hub.find(app_id)
        if state is None or self._numbers((app_id, channel)) is not None:
            return
        buffer = state.replay.get(channel)
        before = None if buffer is None else buffer.head
        state.replay.follow(channel, position, self._clock.monotonic())
        if before is not None and before != position:
            state.interrupt(interruption(channel, before, position))

    # ---- nodes and topics ----

    def _join(self) -> None:
        if self._joined or (self._bus.alone and not self._bus.networked):
            return
        self._joined = True
        observers = self._hub.observers
        observers.add(ChannelOpened, lambda event: self._let_go(event.app_id, event.channel))
        observers.add(ChannelClosed, lambda event: self._let_go(event.app_id, event.channel))
        observers.add(UserChanged, lambda event: self._let_go(event.app_id, USER_CHANNEL_PREFIX + event.user_id))
        observers.add(ChannelForgotten, lambda event: self._let_go(event.app_id, event.channel))

    def _let_go(self, app_id: str, channel: str) -> None:
        """Forgets where a channel without subscribers is: what is published meanwhile does not come here."""
        key = (app_id, channel)
        if self._bus.alone or self._channels.policy(key) is None:
            return
        self._heads.forget(key)
        self.sequencer.forget(key)
        self._confirmed.discard(key)
        state = self._hub.find(app_id)
        if state is not None and self.holder.held(key) is None and key not in self.holder:
            state.replay.drop(channel)

    def _nodes_changed(self, change: NodeChange) -> None:
        self._join()
        was_alone, self._was_alone = self._was_alone, self._bus.alone
        if change.node.id == self._membership.me.id and not self._bus.alone:
            # The others held this node dead, and began other streams.
            for app_id, channel in self._channels.kept(held=True):
                self._hub.app(app_id).replay.give(channel)
        if was_alone or self._bus.alone:
            self._forget_places()
        if self._bus.alone:
            if not was_alone:
                self._be_alone()
            return
        if was_alone:
            self._be_joined()
        self._confirmed.clear()
        self._losses += 1
        self._refresh(self._channels)

    def _be_alone(self) -> None:
        """The other nodes went with their tokens: this one numbers every stream that it followed anew."""
        for app_id, channel in self._channels.kept(held=False):
            state = self._hub.app(app_id)
            before = state.replay.position(channel)
            after = state.replay.begin(channel, self._clock.monotonic()).head
            state.interrupt(interruption(channel, before, after))

    def _forget_places(self) -> None:
        """What is known of the order is void: alone, a node delivers without it."""
        for key in tuple(self.sequencer.waiting):
            self.sequencer.forget(key)
        self._heads.clear()
        self._confirmed.clear()

    def _be_joined(self) -> None:
        """This node holds all of its streams, also those of which clients only know a place so far."""
        for app_id, channel in self._channels:
            state = self._hub.find(app_id)
            if state is not None and state.replay.get(channel) is None:
                state.replay.begin(channel, self._clock.monotonic())
        for key in (*self._channels.kept(held=True), *self._channels.kept(held=False)):
            # What does not follow from there is noticed.
            self._heads.advance(key, self._hub.app(key[0]).replay.position(key[1]))

    def _lost(self, topics: Sequence[str]) -> None:
        about = filter(None, map(self._channels.key_of, topics))
        keys = [key for key in about if self._channels.policy(key) is not None]
        self._losses += 1
        self._confirmed.difference_update(keys)
        if not self._bus.alone:
            self._refresh(keys)

    def _is_needed(self, key: StreamKey) -> bool:
        return self._channels.is_heard(key) and self._numbers(key) is None

    def _numbers(self, key: StreamKey) -> ReplayBuffer | None:
        """The buffer of a channel that is numbered here; None where another node does that."""
        buffer = self.holder.held(key)
        return buffer if buffer is not None and self.holder.owns(key) else None

    # ---- comparing with the holders ----

    def _refresh(self, keys: Iterable[StreamKey]) -> None:
        """Reads what the holders of these channels have, from the end of this turn on."""
        scheduled = bool(self._due)
        self._due.update(dict.fromkeys(keys))
        if self._due and not scheduled:
            self._start(self._compare_due())

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        [task] = start_tasks(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _compare_due(self) -> None:
        due, self._due = list(self._due), {}
        for attempt in range(_ROUNDS):
            if attempt:
                await self._sleep(_AGAIN)
            by_owner: defaultdict[str, list[StreamKey]] = defaultdict(list)
            for number, key in enumerate(due, 1):
                if self._is_needed(key):
                    by_owner[self._membership.owner(owner_key(key)).id].append(key)
                if number % KEYS_AT_ONCE == 0:
                    await asyncio.sleep(0)
            due = []
            for owner, keys in by_owner.items():
                for start in range(0, len(keys), KEYS_AT_ONCE):
                    due += await self._compare(owner, keys[start : start + KEYS_AT_ONCE])
            if not due:
                return

    async def _compare(self, owner: str, keys: list[StreamKey]) -> list[StreamKey]:
        """Brings this node to where the channels of one owner are; those of which it had no answer."""
        losses = self._losses
        request = HeadsOf(tuple(Asked(*key) for key in keys))
        answers = await self._bus.ask(request, deadline=DEADLINE, nodes=[owner])
        heads: list[Head | None] = answers.values.get(owner) or []
        missing = keys[len(heads) :]
        for key, head in zip(keys, heads, strict=False):
            if head is None:
                missing.append(key)
            elif self._heads.get(key) == head.position:
                if losses == self._losses:
                    self._confirmed.add(key)
            elif self._is_needed(key):
                try:
                    await self._catch_up(key)
                except SockudoError:
                    missing.append(key)
        return missing
