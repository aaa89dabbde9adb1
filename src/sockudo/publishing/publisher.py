"""The one way of a message to its subscribers: numbered where the channel is recoverable, stored where it is durable,
then delivered (spec: history § 2).

A message on a plain channel, and on one with a replay buffer alone, has been delivered when `Publisher.publish`
returns. On a durable channel it is delivered after its commit: until then no subscriber gets it, and if that fails none
ever does.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec
from msgspec.structs import replace

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.apps.policies import RecoveryPolicy, StreamPolicies, StreamPolicy
from sockudo.base.clock import Clock
from sockudo.base.components import Component
from sockudo.base.ids import unique_id
from sockudo.base.stream_records import Append, Committed, Position
from sockudo.cluster.ports import Received
from sockudo.history import History
from sockudo.hub import AppState, Hub
from sockudo.hub.app_state import Published
from sockudo.inspector.doubts import Doubts
from sockudo.limits.idempotency import Claim, IdempotencyKeys, fingerprint, running
from sockudo.protocol.formats import json_text
from sockudo.protocol.frames import Frame
from sockudo.protocol.names import USER_CHANNEL_PREFIX, ChannelKind, channel_kind
from sockudo.publishing.caches import Ready, SharedCaches
from sockudo.publishing.entries import LocalEntries
from sockudo.publishing.extras import is_ephemeral
from sockudo.publishing.nodes import Message, OtherNodes
from sockudo.publishing.shared_streams import SharedStreams
from sockudo.publishing.topics import Place

__all__ = ["Pending", "Publisher", "check_stored", "committed"]

_encode = msgspec.json.Encoder().encode

Pending = asyncio.Future[Committed] | asyncio.Future[Committed | None]
"""A message that is being stored; see `committed`."""

_How = tuple[str | None, bool, str | None]
# The socket that does not get a message, whether it may be compressed, and the socket that it comes from.


class Publisher:
    """Publishes messages, on durable channels while ``history`` is open; ``policies`` are those of an app by its id."""

    def __init__(
        self,
        hub: Hub,
        keys: IdempotencyKeys,
        clock: Clock,
        history: Component[History],
        doubts: Doubts,
        nodes: OtherNodes,
        entries: LocalEntries,
        shared: SharedStreams,
        caches: SharedCaches,
        policies: Callable[[str], StreamPolicies | None],
    ) -> None:
        self._hub = hub
        self._nodes = nodes
        self._entries = entries
        self._caches = caches
        self._shared = shared
        self.attach, self.lookup = shared.attach, shared.lookup
        shared.deliver_by(self)
        self._bus = nodes.bus
        self._doubts = doubts
        self._policies = policies
        self._on_published = hub.observers.of(Published)
        self._keys = keys
        self._clock = clock
        self.history = history
        # Commits that are under way under an idempotency key: a repeat waits for the same one.
        self._running: dict[tuple[str, str, str], Pending] = {}
        # Messages whose claim is decided elsewhere.
        self._waiting: set[Pending] = set()

    def publish(
        self,
        app: LiveApp,
        state: AppState,
        frame: Frame,
        now: float,
        *,
        exclude: str | None = None,
        compress: bool = True,
        sender: str | None = None,
        key: str | None = None,
    ) -> Pending | None:
        """Publishes a message on its channel, once per ``key``; None when done, else what `committed` waits for.

        ``exclude`` is the socket that does not get it, ``sender`` the one that it comes from, None for the app's
        backend. Without ``compress`` it is delivered as it is, never as a delta.

        Raises errors.HISTORY_BUSY, errors.HISTORY_DEGRADED or errors.HISTORY_UNAVAILABLE when a durable channel cannot
        take it, and errors.IDEMPOTENCY_CONFLICT when the key belongs to another message; nothing is published then.
        """
        policies = app.streams
        policy = None if policies is None or is_ephemeral(frame.extras) else policies.of(frame.channel or "")
        if policy is None and key is None:
            self._deliver(state, frame, exclude, compress, sender, now)
            return None
        how = (exclude, compress, sender)
        if key is not None:
            return self._publish_once(app, state, frame, policy, key, how, now)
        return self._number(app, state, frame, policy, how, now)

    def _publish_once(
        self,
        app: LiveApp,
        state: AppState,
        frame: Frame,
        policy: StreamPolicy | None,
        key: str,
        how: _How,
        now: float,
    ) -> Pending | None:
        channel = frame.channel or ""
        mark = fingerprint(_encode(frame))
        place = (app.id, channel, key)
        number = partial(self._number, app, state, frame, policy, how, key=key, mark=mark)
        if policy is not None and policy.history is not None and not self._keys.immediate:
            # The key is in the transaction of the message, for all nodes.
            return number(now)
        claim = self._keys.claim(app.id, "message", f"{channel}\0{key}", mark, app.idempotency_ttl, now)
        if inspect.isawaitable(claim):
            pending = asyncio.get_running_loop().create_task(self._claimed_later(place, claim, number))
            self._waiting.add(pending)
            pending.add_done_callback(self._waiting.discard)
            return pending
        return self._claimed(place, claim, number, now)

    async def placed(self, pending: Pending) -> None:
        """Returns once a message has its place in the order of its channel, or will never have one."""
        if pending in self._waiting:
            await asyncio.wait({pending})

    def _claimed(
        self,
        place: tuple[str, str, str],
        claim: Claim | bytes | None,
        number: Callable[[float], Pending | None],
        now: float,
    ) -> Pending | None:
        if claim is None:
            # Where another node publishes it, this one does not know how that ends: the client tries again.
            pending = self._running.get(place)
            if pending is None:
                raise running("message")
            return pending
        if isinstance(claim, bytes):
            return None
        try:
            pending = number(now)
        except BaseException:
            claim.release()
            raise
        if pending is None:
            claim.complete(b"", now)
            return None
        self._running[place] = pending
        pending.add_done_callback(lambda done: self._end_claim(place, claim, done))
        return pending

    async def _claimed_later(
        self,
        place: tuple[str, str, str],
        claim: Awaitable[Claim | bytes | None],
        number: Callable[[float], Pending | None],
    ) -> Committed | None:
        pending = self._claimed(place, await claim, number, self._clock.monotonic())
        return None if pending is None else await asyncio.shield(pending)

    def _end_claim(self, place: tuple[str, str, str], claim: Claim, done: Pending) -> None:
        self._running.pop(place, None)
        outcome = None if done.cancelled() or done.exception() is not None else done.result()
        if outcome is None or outcome.conflict:
            claim.release()
        else:
            claim.complete(b"", self._clock.monotonic())

    def _number(
        self,
        app: LiveApp,
        state: AppState,
        frame: Frame,
        policy: StreamPolicy | None,
        how: _How,
        now: float,
        key: str | None = None,
        mark: bytes = b"",
    ) -> Pending | None:
        """Gives the message a serial or a place in the store, as its channel's policy asks, and has it delivered."""
        recovery, history = (None, None) if policy is None else (policy.recovery, policy.history)
        if history is None and recovery is None:
            self._deliver(state, frame, *how, now)
            return None
        if frame.message_id is None:
            frame.message_id = unique_id()
        if history is None:
            if recovery is not None:
                if not self._bus.alone:
                    exclude, compress, sender = how
                    message = Message(state.app_id, frame, exclude, compress)
                    accepted = partial(self._accepted, state, frame, exclude, sender)
                    deliver = partial(self._deliver, state, frame, *how)
                    return self._shared.publish(state, message, recovery, deliver, accepted)
                state.replay.number(frame, recovery.max_size, now)
            self._deliver(state, frame, *how, now)
            return None
        durable = self.history.service
        append = Append(
            app.id,
            frame.channel or "",
            json_text(frame),
            frame.message_id,
            frame.event,
            int(self._clock.time() * 1000),
            history.retention,
            key=key,
            fingerprint=mark,
            key_ttl_ms=app.idempotency_ttl * 1000,
        )

        def deliver_stored(outcome: Committed) -> None:
            frame.stream_id, frame.serial = outcome.position
            at = self._clock.monotonic()
            _keep(state, frame, recovery, outcome.position, at)
            self._deliver(state, frame, *how, at)

        return durable.submit(append, deliver_stored)

    def _deliver(
        self, state: AppState, frame: Frame, exclude: str | None, compress: bool, sender: str | None, now: float
    ) -> None:
        state.traffic.published += 1
        channel = frame.channel or ""
        if self._on_published:
            self._hub.observers.emit(Published(state, frame, exclude, sender))
        kind = channel_kind(channel)
        elsewhere = not self._bus.alone and self._publish_elsewhere(
            Message(state.app_id, frame, exclude, compress), kind
        )
        if sender is None and not elsewhere:
            self._doubts.published(state, channel, kind, frame.event, frame.data)
        if kind.cache:
            self._caches.store(state.app_id, frame, state.cache.ttl)
        self._deliver_here(state, frame, kind, exclude, compress, now)

    def _publish_elsewhere(self, message: Message, kind: ChannelKind) -> bool:
        if kind.cache:
            self._caches.published(message)
        return self._nodes.publish(message, kind)

    def _accepted(self, state: AppState, frame: Frame, exclude: str | None, sender: str | None) -> None:
        """Counts and reports a message that was published here and is numbered by another node."""
        state.traffic.published += 1
        if self._on_published:
            self._hub.observers.emit(Published(state, frame, exclude, sender))

    def _deliver_here(
        self, state: AppState, frame: Frame, kind: ChannelKind, exclude: str | None, compress: bool, now: float
    ) -> None:
        """Delivers a message to this node's subscribers, and keeps it for those who come to a cache channel later."""
        channel = frame.channel or ""
        if kind.user:
            self._hub.publish_to_user(state, channel.removeprefix(USER_CHANNEL_PREFIX), frame, exclude)
            return
        self._hub.publish(state, frame, exclude, compress=compress)
        if kind.cache:
            state.cache.put(channel, frame, now)

    def receive(self, received: Received, message: Message) -> None:
        """Delivers a message that another node accepted, on a durable channel when its turn has come."""
        state, frame = self._hub.find(message.app_id), message.unpacked()
        if state is None or self._nodes.is_copy(received, message):
            return
        channel = frame.channel or ""
        policy = self._numbered_by(message.app_id, channel) if frame.serial is not None else None
        if policy is not None and policy.history is None and policy.recovery is not None:
            self._shared.offer(state, replace(message, frame=frame, json=False), policy.recovery)
            return
        history = self.history.if_open
        if policy is None or history is None:
            now = self._clock.monotonic()
            self._deliver_received(state, frame, message.exclude, message.compress, now)
            return
        deliver = partial(self._deliver_stored, state, frame, policy, message.exclude, message.compress)
        place = Position(frame.stream_id or "", frame.serial or 0)
        history.offer(message.app_id, channel, place, frame.message_id, _size(frame), deliver)

    def deliver_stored(self, app_id: str, frame: Frame) -> None:
        """Delivers a message that another node stored and that was read from the store in its turn."""
        state, policy = self._hub.find(app_id), self._numbered_by(app_id, frame.channel or "")
        if state is not None and policy is not None and policy.history is not None:
            place = Position(frame.stream_id or "", frame.serial or 0)
            self._deliver_stored(state, frame, policy, exclude=None, compress=True, place=place)

    def _deliver_stored(
        self,
        state: AppState,
        frame: Frame,
        policy: StreamPolicy,
        exclude: str | None,
        compress: bool,
        place: Position,
    ) -> None:
        now = self._clock.monotonic()
        _keep(state, frame, policy.recovery, place, now)
        self._deliver_received(state, frame, exclude, compress, now)

    def _deliver_received(self, state: AppState, frame: Frame, exclude: str | None, compress: bool, now: float) -> None:
        """Delivers what another node accepted."""
        if self._on_published:
            self._hub.observers.emit(Published(state, frame, exclude, None, received=True))
        self._deliver_here(state, frame, channel_kind(frame.channel or ""), exclude, compress, now)

    def deliver_numbered(self, state: AppState, message: Message, recovery: RecoveryPolicy) -> None:
        """See `Deliveries`."""
        now = self._clock.monotonic()
        state.replay.store(message.frame, recovery.max_size, now)
        kind = channel_kind(message.frame.channel or "")
        self._deliver_here(state, message.frame, kind, message.exclude, message.compress, now)

    def send_numbered(self, state: AppState, message: Message) -> None:
        """See `Deliveries`."""
        kind = channel_kind(message.frame.channel or "")
        self._nodes.publish(message, kind)
        if kind.cache:
            self._caches.store(state.app_id, message.frame, state.cache.ttl)
        self._deliver_here(state, message.frame, kind, message.exclude, message.compress, self._clock.monotonic())

    def _numbered_by(self, app_id: str, channel: str) -> StreamPolicy | None:
        """The policy of a channel whose messages have numbers; None for every other one."""
        policies = self._policies(app_id)
        policy = None if policies is None else policies.of(channel)
        return policy if policy is not None and (policy.history or policy.recovery) is not None else None

    def prepare(self, app_id: str, name: str, kind: ChannelKind) -> Ready | None:
        """Starts what has to end before a subscription is acknowledged; None for nothing, as nearly always."""
        ready = self._entries.prepare(app_id, name, kind)
        return self._caches.prepare(Place(app_id, name), ready) if kind.cache else ready

    def refresh_cache(self, app_id: str, channel: str) -> Awaitable[None] | None:
        """What has to end before the last event of a cache channel is the last one of all nodes."""
        ready = self._caches.prepare(Place(app_id, channel), None)
        return None if ready is None else ready()

    @property
    def is_shared(self) -> bool:
        """Whether another node may number a channel."""
        return not self._bus.alone

    def position(self, state: AppState, channel: str) -> Position | None:
        """Where a channel without a store is; None when `attach` has to ask another node."""
        return state.replay.position(channel) if self._bus.alone else self._shared.position(state.app_id, channel)


def _keep(state: AppState, frame: Frame, recovery: RecoveryPolicy | None, place: Position, now: float) -> None:
    """Puts a stored message into the replay buffer, or sets the buffer's place in its stream."""
    if recovery is not None:
        state.replay.store(frame, recovery.max_size, now)
    else:
        state.replay.align(frame.channel or "", place, now)


def _size(frame: Frame) -> int:
    data = frame.data
    return 0 if data is None else len(data) if isinstance(data, str) else memoryview(data).nbytes


async def committed(pending: Pending) -> Committed | None:
    """Waits for a message that `Publisher.publish` could not finish at once; raises what `check_stored` does."""
    outcome = await asyncio.shield(pending)
    check_stored(pending)
    return outcome


def check_stored(done: Pending | asyncio.Future[bytes]) -> None:
    """Whether what was waited for went well: a message that was being stored, or the answer to its publisher.

    Raises what kept it from being stored, and errors.IDEMPOTENCY_CONFLICT when its key belongs to another message.
    """
    outcome = done.result()
    if isinstance(outcome, Committed) and outcome.conflict:
        raise errors.IDEMPOTENCY_CONFLICT(
            "The idempotency key was already used with a different payload; make a new key for each new event"
        )
