"""How a message that has its place gets to its subscribers, on this node and on the others (spec: platform § 10)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from sockudo.apps.policies import RecoveryPolicy, StreamPolicies, StreamPolicy
from sockudo.base.clock import Clock
from sockudo.base.components import Component
from sockudo.base.stream_records import Position
from sockudo.cluster.ports import Received
from sockudo.history import History
from sockudo.history.message_frames import APPEND, CHANGE
from sockudo.hub import AppState, Hub
from sockudo.hub.app_state import Published
from sockudo.inspector.doubts import Doubts
from sockudo.protocol.frames import Frame
from sockudo.protocol.names import USER_CHANNEL_PREFIX, ChannelKind, channel_kind
from sockudo.publishing.caches import SharedCaches
from sockudo.publishing.nodes import Message, OtherNodes
from sockudo.publishing.shared_streams import SharedStreams
from sockudo.publishing.versioned import Changing

__all__ = ["Delivering", "keep"]


class Delivering:
    """The deliveries of a node's one publisher."""

    def __init__(
        self,
        hub: Hub,
        clock: Clock,
        history: Component[History],
        doubts: Doubts,
        nodes: OtherNodes,
        shared: SharedStreams,
        caches: SharedCaches,
        policies: Callable[[str], StreamPolicies | None],
    ) -> None:
        self._hub = hub
        self._nodes = nodes
        self._caches = caches
        self._shared = shared
        self._bus = nodes.bus
        self._doubts = doubts
        self._policies = policies
        self._on_published = hub.observers.of(Published)
        self._clock = clock
        self.history = history
        self.changing = Changing()
        self.settled = self.changing.settled

    def _deliver(
        self, state: AppState, frame: Frame, exclude: str | None, compress: bool, sender: str | None, now: float
    ) -> None:
        state.traffic.published += 1
        channel = frame.channel or ""
        if self._on_published:
            self._hub.observers.emit(Published(state, frame, exclude, sender))
        kind = channel_kind(channel)
        elsewhere = not self._bus.alone and self._publish_elsewhere(state, frame, kind, exclude, compress)
        if sender is None and not elsewhere:
            self._doubts.published(state, channel, kind, frame.event, frame.data)
        if kind.cache:
            self._caches.store(state.app_id, frame, state.cache.ttl)
        self._deliver_here(state, frame, kind, exclude, compress, now)

    def _publish_elsewhere(
        self, state: AppState, frame: Frame, kind: ChannelKind, exclude: str | None, compress: bool
    ) -> bool:
        """Publishes a message to the nodes that have subscribers for it; whether there may be one."""
        topics = self._nodes.wanted(state.app_id, frame.channel or "", kind)
        if not topics and not kind.cache:
            return False
        message = Message(state.app_id, frame, exclude, compress)
        if kind.cache:
            self._caches.published(message)
        self._nodes.publish(message, topics)
        return bool(topics)

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
        stream = self._stream_of(message.app_id, channel)
        if stream != channel and frame.event == APPEND and state.wants_whole(channel):
            # All of the text is in the store.
            self.changing.read(history.catch_up(message.app_id, stream, place))
            return
        history.offer(message.app_id, stream, place, frame.message_id, _size(frame), deliver)

    def deliver_stored(self, app_id: str, frame: Frame, whole: Frame | None = None) -> None:
        """Delivers a message that another node stored and that was read from the store in its turn.

        ``whole`` is an append to one with all of its text.
        """
        state, policy = self._hub.find(app_id), self._numbered_by(app_id, frame.channel or "")
        if state is not None and policy is not None and policy.history is not None:
            place = Position(frame.stream_id or "", frame.serial or 0)
            self._deliver_stored(state, frame, policy, exclude=None, compress=True, place=place, whole=whole)

    def wants_whole(self, app_id: str, channel: str) -> bool:
        """Whether appends to a channel's messages have to be read with all of their text."""
        state = self._hub.find(app_id)
        return state is not None and state.wants_whole(channel)

    def _stream_of(self, app_id: str, channel: str) -> str:
        policies = self._policies(app_id)
        return channel if policies is None else policies.stream_of(channel)

    def _deliver_stored(
        self,
        state: AppState,
        frame: Frame,
        policy: StreamPolicy,
        exclude: str | None,
        compress: bool,
        place: Position,
        whole: Frame | None = None,
    ) -> None:
        now = self._clock.monotonic()
        keep(state, frame, policy.recovery, place, now)
        if policy.versions is not None and frame.event.startswith(CHANGE):
            if self._on_published:
                self._hub.observers.emit(Published(state, frame, None, None, received=True))
            self._hub.publish_change(state, frame, whole)
            return
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
        self._nodes.publish(message, self._nodes.wanted(state.app_id, message.frame.channel or "", kind))
        if kind.cache:
            self._caches.store(state.app_id, message.frame, state.cache.ttl)
        self._deliver_here(state, message.frame, kind, message.exclude, message.compress, self._clock.monotonic())

    def _numbered_by(self, app_id: str, channel: str) -> StreamPolicy | None:
        """The policy of a channel whose messages have numbers; None for every other one."""
        policies = self._policies(app_id)
        policy = None if policies is None else policies.of(channel)
        return policy if policy is not None and (policy.history or policy.recovery) is not None else None


def keep(state: AppState, frame: Frame, recovery: RecoveryPolicy | None, place: Position, now: float) -> None:
    """Puts a stored message into the replay buffer, or sets the buffer's place in its stream."""
    if recovery is not None:
        state.replay.store(frame, recovery.max_size, now)
    else:
        state.replay.align(frame.channel or "", place, now)


def _size(frame: Frame) -> int:
    data = frame.data
    return 0 if data is None else len(data) if isinstance(data, str) else memoryview(data).nbytes
