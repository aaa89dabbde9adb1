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
from hashlib import blake2b

import msgspec
from msgspec.structs import replace

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.apps.policies import StreamPolicies, StreamPolicy
from sockudo.base.clock import Clock
from sockudo.base.components import Component
from sockudo.base.ids import unique_id
from sockudo.base.message_records import Mutation
from sockudo.base.stream_records import Append, Committed, Position
from sockudo.history import History
from sockudo.history.message_frames import change_frame, shown_extras
from sockudo.hub import AppState, Hub
from sockudo.hub.app_state import Published
from sockudo.hub.streams.versions import VersionSerials
from sockudo.inspector.doubts import Doubts
from sockudo.limits.idempotency import Claim, IdempotencyKeys, fingerprint, running
from sockudo.protocol.formats import json_text
from sockudo.protocol.frames import Frame
from sockudo.protocol.names import USER_CHANNEL_PREFIX, ChannelKind, channel_kind
from sockudo.publishing.caches import Ready, SharedCaches
from sockudo.publishing.delivering import Delivering, keep
from sockudo.publishing.entries import LocalEntries
from sockudo.publishing.extras import is_ephemeral
from sockudo.publishing.nodes import Message, OtherNodes
from sockudo.publishing.shared_streams import SharedStreams
from sockudo.publishing.topics import Place
from sockudo.publishing.versioned import as_change, as_create, unchangeable

__all__ = ["Pending", "Publisher", "check_stored", "committed"]

_encode = msgspec.json.Encoder().encode

Pending = asyncio.Future[Committed] | asyncio.Future[Committed | None]
"""A message that is being stored; see `committed`."""

_How = tuple[str | None, bool, str | None]
# The socket that does not get a message, whether it may be compressed, and the socket that it comes from.


class Publisher(Delivering):
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
        serials: VersionSerials,
    ) -> None:
        super().__init__(hub, clock, history, doubts, nodes, shared, caches, policies)
        self._entries = entries
        self.attach, self.lookup = shared.attach, shared.lookup
        shared.deliver_by(self)
        self.serials = serials
        self._keys = keys
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
                    once = None if key is None else blake2b(key.encode() + mark, digest_size=16).digest()
                    return self._shared.publish(
                        state, message, recovery, deliver, accepted, once=once, lasts=app.idempotency_ttl
                    )
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
        versions = None if policy is None else policy.versions
        if versions is not None and not append.channel.startswith(USER_CHANNEL_PREFIX):
            append = as_create(append, frame, versions, self.serials.next(), _signed_in(state, how))

        def deliver_stored(outcome: Committed) -> None:
            frame.stream_id, frame.serial = outcome.position
            if outcome.version is not None:
                frame.extras = shown_extras(outcome.version)
            at = self._clock.monotonic()
            keep(state, frame, recovery, outcome.position, at)
            self._deliver(state, frame, *how, at)

        return durable.submit(append, deliver_stored)

    def change(
        self, app: LiveApp, state: AppState, channel: str, mutation: Mutation, key: str | None, mark: bytes
    ) -> asyncio.Future[Committed]:
        """Changes a message, once per ``key``; ``mark`` tells another change under it. See `Changes.apply`.

        Raises errors.FEATURE_DISABLED, and what `publish` does when the channel cannot take it.
        """
        policy = None if app.streams is None else app.streams.of(channel)
        versions = None if app.streams is None else app.streams.versions_of(channel)
        if policy is None or versions is None:
            raise unchangeable(channel)
        if mutation.action == "append" and state.wants_whole(channel):
            mutation = replace(mutation, whole=True)
        append = as_change(app.id, channel, mutation, versions, int(self._clock.time() * 1000), key, mark)

        def deliver_stored(outcome: Committed) -> None:
            if outcome.version is None:
                return
            frame = change_frame(channel, outcome.version, outcome.position)
            whole = None if outcome.whole is None else replace(frame, data=outcome.whole)
            keep(state, frame, policy.recovery, outcome.position, self._clock.monotonic())
            state.traffic.published += 1
            if self._on_published:
                self._hub.observers.emit(Published(state, frame, None, None))
            if not self._bus.alone:
                topics = self._nodes.wanted(state.app_id, channel, channel_kind(channel))
                self._nodes.publish(Message(state.app_id, frame, None, compress=False), topics)
            self._hub.publish_change(state, frame, whole)

        return self.changing.note(app.id, channel, self.history.service.submit(append, deliver_stored), mutation.whole)

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

    def follows(self, state: AppState, channel: str) -> bool:
        """Whether what any node stores in a durable channel is delivered here.

        Where there are other nodes, or were, that is so while this one has subscribers of it.
        """
        return (self._bus.alone and not self._bus.networked) or state.find(channel) is not None

    def position(self, state: AppState, channel: str) -> Position | None:
        """Where a channel without a store is; None when `attach` has to ask another node."""
        return state.replay.position(channel) if self._bus.alone else self._shared.position(state.app_id, channel)


def _signed_in(state: AppState, how: _How) -> str | None:
    """The user that the socket is signed in as which a message comes from."""
    exclude, _, sender = how
    connection = state.connection(sender or exclude)
    return None if connection is None or connection.user is None else connection.user.user_id


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
