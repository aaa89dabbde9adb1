"""The one way in which anything is said on a channel: numbered where the channel is recoverable, stored where it is
durable, then delivered (spec: history § 2).

A plain channel and one with a replay buffer alone are done when `Pipeline.say` returns. A durable one returns a future
that is done after its commit: until then nobody has heard the message, and a failure means that nobody ever will.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import NamedTuple

import msgspec

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.apps.policies import StreamPolicy
from sockudo.clock import Clock
from sockudo.components import Component
from sockudo.history import History
from sockudo.hub import AppState, Connection, Hub
from sockudo.ids import unique_id
from sockudo.limits.idempotency import Claim, IdempotencyKeys, fingerprint
from sockudo.names import USER_CHANNEL_PREFIX, channel_kind
from sockudo.protocol.frame import Frame
from sockudo.protocol.shapes import json_text
from sockudo.publishing.extras import is_ephemeral
from sockudo.streams.records import Append, Committed

__all__ = ["Message", "Pending", "Pipeline", "check_stored", "committed"]

_encode = msgspec.json.Encoder().encode

Pending = asyncio.Future[Committed]
"""A message that is being stored; see `committed`."""


class Message(NamedTuple):
    """What is to be said, to everyone but ``exclude``. Without ``compress`` nobody gets it as a difference.

    ``sender`` is the connection that says it, None being the app's backend.
    """

    frame: Frame
    exclude: Collection[Connection] = ()
    compress: bool = True
    sender: Connection | None = None


class Pipeline:
    """Says messages on channels, durable ones while ``history`` is open."""

    def __init__(self, hub: Hub, keys: IdempotencyKeys, clock: Clock, history: Component[History]) -> None:
        self._hub = hub
        self.doubts = hub.inspector.doubts
        self._keys = keys
        self._clock = clock
        self.history = history
        # Commits that are under way under an idempotency key: a repeat waits for the same one.
        self._running: dict[tuple[str, str, str], Pending] = {}

    def say(
        self,
        app: LiveApp,
        state: AppState,
        message: Message,
        *,
        now: float,
        key: str | None = None,
    ) -> Pending | None:
        """Says a message on its channel, once per ``key``; None when it is done, else what `committed` waits for.

        Raises errors.HISTORY_BUSY, errors.HISTORY_DEGRADED or errors.HISTORY_UNAVAILABLE when a durable channel cannot
        take it, and errors.IDEMPOTENCY_CONFLICT when the key belongs to another message; nothing is said then.
        """
        policies, frame = app.streams, message.frame
        policy = None if policies is None or is_ephemeral(frame.extras) else policies.of(frame.channel or "")
        if key is not None:
            return self._say_once(app, state, message, policy, key, now)
        if policy is None:
            self.deliver(state, *message, now)
            return None
        return self._say_numbered(app, state, message, policy, now)

    def _say_once(
        self,
        app: LiveApp,
        state: AppState,
        message: Message,
        policy: StreamPolicy | None,
        key: str,
        now: float,
    ) -> Pending | None:
        channel = message.frame.channel or ""
        mark = fingerprint(_encode(message.frame))
        claim = self._keys.join(app.id, "message", f"{channel}\0{key}", mark, app.idempotency_ttl, now)
        if claim is None:
            return self._running[app.id, channel, key]
        if isinstance(claim, bytes):
            return None
        try:
            if policy is None:
                self.deliver(state, *message, now)
                pending = None
            else:
                pending = self._say_numbered(app, state, message, policy, now, key, mark)
        except BaseException:
            claim.release()
            raise
        if pending is None:
            claim.complete(b"", now)
            return None
        place = (app.id, channel, key)
        self._running[place] = pending
        pending.add_done_callback(lambda done: self._end_claim(place, claim, done))
        return pending

    def _end_claim(self, place: tuple[str, str, str], claim: Claim, done: Pending) -> None:
        self._running.pop(place, None)
        if done.cancelled() or done.exception() is not None or done.result().conflict:
            claim.release()
        else:
            claim.complete(b"", self._clock.monotonic())

    def _say_numbered(
        self,
        app: LiveApp,
        state: AppState,
        message: Message,
        policy: StreamPolicy,
        now: float,
        key: str | None = None,
        mark: bytes = b"",
    ) -> Pending | None:
        history, frame = policy.history, message.frame
        if history is None and policy.recovery is None:
            self.deliver(state, *message, now)
            return None
        if frame.message_id is None:
            frame.message_id = unique_id()
        if history is None:
            if policy.recovery is not None:
                state.replay.number(frame, policy.recovery.max_size, now)
            self.deliver(state, *message, now)
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

        def deliver(outcome: Committed) -> None:
            frame.stream_id, frame.serial = outcome.position
            at = self._clock.monotonic()
            if policy.recovery is not None:
                state.replay.store(frame, policy.recovery.max_size, at)
            else:
                state.replay.align(append.channel, outcome.position, at)
            self.deliver(state, *message, at)

        return durable.submit(append, deliver)

    def deliver(
        self,
        state: AppState,
        frame: Frame,
        exclude: Collection[Connection],
        compress: bool,
        sender: Connection | None,
        now: float,
    ) -> None:
        """Says what has its number, or needs none: all that there is to do on an app whose channels keep nothing."""
        state.traffic.published += 1
        channel = frame.channel or ""
        if self._hub.inspector.watching:
            self._hub.inspector.message(state, frame, exclude, sender)
        kind = channel_kind(channel)
        if sender is None:
            self.doubts.published(state, channel, kind, frame.event, frame.data)
        if kind.user:
            self._hub.publish_to_user(state, channel.removeprefix(USER_CHANNEL_PREFIX), frame, exclude)
            return
        self._hub.publish(state, frame, exclude, compress=compress)
        if kind.cache:
            state.cache.put(channel, frame, now)


async def committed(pending: Pending) -> Committed:
    """Waits for a message that `Pipeline.say` could not finish at once; raises what `check_stored` does."""
    outcome = await asyncio.shield(pending)
    check_stored(pending)
    return outcome


def check_stored(done: asyncio.Future[Committed] | asyncio.Future[bytes]) -> None:
    """Whether what was waited for went well: a message that was being stored, or the answer to whoever published it.

    Raises what kept it from being stored, and errors.IDEMPOTENCY_CONFLICT when its key belongs to another message.
    """
    outcome = done.result()
    if isinstance(outcome, Committed) and outcome.conflict:
        raise errors.IDEMPOTENCY_CONFLICT(
            "The idempotency key was already used with a different payload; make a new key for each new event"
        )
