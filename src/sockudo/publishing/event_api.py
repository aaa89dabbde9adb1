"""Events that backends publish over HTTP, single and in batches (spec: http-api § 5, 6 and 9)."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.base.clock import Clock
from sockudo.base.tasks import without_waiting
from sockudo.cluster.directory import Directory
from sockudo.errors import SockudoError
from sockudo.hub import AppState
from sockudo.inspector.doubts import Doubts
from sockudo.limits.app_rates import AppRates
from sockudo.limits.idempotency import Claim, IdempotencyKeys, fingerprint
from sockudo.protocol.frames import Frame
from sockudo.protocol.names import check_channel_name
from sockudo.publishing.answers import OK, Answer, Owned, Waits, after, answer_to, forget, ok
from sockudo.publishing.bodies import EventBody, decode_batch, decode_event
from sockudo.publishing.changes import Changes
from sockudo.publishing.event_checks import (
    New,
    batch_reply,
    check_channel,
    check_event,
    check_no_counts,
    entry,
    mark_of,
    targets_of,
    wants_entry,
)
from sockudo.publishing.extras import delivered, is_ephemeral, key_of
from sockudo.publishing.once import Once, held
from sockudo.publishing.publisher import Pending, Publisher, committed
from sockudo.publishing.pushes import EventPushes, NoPushes

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["EventApi", "PublishOptions"]

_NO_PUSHES = NoPushes()
# The event by which a push notification comes to a channel of this server.
_NOTIFICATION = "push"
_encode = msgspec.json.Encoder().encode

# Bytes of a key inside the message, which is looked up per channel (spec: http-api § 9.2).
_MAX_MESSAGE_KEY = 128


@dataclass(frozen=True, slots=True)
class PublishOptions:
    """Which features of a message's ``extras`` are on, and whether a reply may have ``counts`` of a channel."""

    ephemeral: bool = True
    echo: bool = True
    counts: bool = True


class EventApi:
    """Publishes events and answers with the reply's JSON text.

    What goes to plain channels is checked, published and answered in one go. Where a channel is durable the answer is a
    future that ends after the commit: success is not reported before it.
    """

    def __init__(
        self,
        publisher: Publisher,
        keys: IdempotencyKeys,
        rates: AppRates,
        clock: Clock,
        doubts: Doubts,
        directory: Directory,
        pushes: EventPushes = _NO_PUSHES,
        options: PublishOptions = PublishOptions(),
    ) -> None:
        self._publisher = publisher
        self._doubts = doubts
        self._directory = directory
        self._keys = keys
        self._rates = rates
        self._clock = clock
        # Which of the optional members of `extras` are delivered; replaced when the configuration is.
        self.options = options
        # Asked about events that become notifications.
        self._pushes = pushes
        self._owned = Owned()
        self._once = Once(keys, clock, self._owned)
        self.refresh_cache = publisher.refresh_cache
        self.changes = Changes(publisher)

    def publish(self, app: LiveApp, state: AppState, body: bytes, header_key: str | None, now: float) -> Answer:
        """POST …/events: one event to one or several channels."""
        event = decode_event(body)
        if not self.options.counts:
            check_no_counts(event)
        key = event.idempotency_key if event.idempotency_key is not None else header_key
        if key is None or not app.idempotency_enabled:
            self._rates.check_publish(app, 1, now)
            return self._event(app, state, event, None, now)
        state.traffic.idempotent_publishes += 1
        self._keys.check_key(key)

        def publish(now: float) -> Answer:
            self._rates.check_publish(app, 1, now)
            return self._event(app, state, event, key, now)

        return self._once.answer(app, state, "event", key, mark_of(event), publish, now)

    def publish_batch(self, app: LiveApp, state: AppState, body: bytes, header_key: str | None, now: float) -> Answer:
        """POST …/batch_events: several events, one after another; the first failure ends the batch."""
        items = decode_batch(body).batch
        limit = app.limits.max_batch_size
        if limit and len(items) > limit:
            raise errors.LIMIT_EXCEEDED(f"Batch size ({len(items)}) exceeds limit ({limit})")
        if not self.options.counts:
            for index, item in enumerate(items):
                with _naming(index):
                    check_no_counts(item)
        if not app.idempotency_enabled:
            return self._batch(app, state, items, now)
        for index, item in enumerate(items):
            if item.idempotency_key is not None:
                with _naming(index):
                    self._keys.check_key(item.idempotency_key)
        if header_key is None:
            return self._batch(app, state, items, now)
        self._keys.check_key(header_key)
        publish = partial(self._batch, app, state, items)
        return self._once.answer(app, state, "batch", header_key, fingerprint(body), publish, now)

    async def notification(self, app: LiveApp, state: AppState, channel: str, payload: Mapping[str, Any]) -> str | None:
        """Publishes a push notification on a channel; returns the message's id if it has one."""
        check_channel_name(channel, max_length=app.limits.max_channel_name_length, namespaces=app.namespaces)
        frame = Frame(_NOTIFICATION, channel, _encode(payload).decode())
        pending = self._publisher.publish(app, state, frame, self._clock.monotonic())
        if pending is not None:
            await committed(pending)
        return frame.message_id

    # ---- one event ----

    def _event(self, app: LiveApp, state: AppState, event: EventBody, key: str | None, now: float) -> Answer:
        if self._is_pushed(event):
            return self._owned.start(self._pushed_event(app, state, event, key))
        return self._publish_event(app, state, event, key, now)

    def _publish_event(self, app: LiveApp, state: AppState, event: EventBody, key: str | None, now: float) -> Answer:
        channels, pending, stored = self._publish(app, state, event, key, now)
        if not wants_entry(event):
            return OK if pending is None else self._when_stored(pending, ok)

        return self._replied(pending, partial(self._entries, app, event, channels, pending or (), stored))

    def _publish(
        self, app: LiveApp, state: AppState, event: EventBody, key: str | None, now: float
    ) -> tuple[Sequence[str], list[Pending] | None, Sequence[str]]:
        """Checks in the order of spec: http-api § 5.2, then publishes; returns the channels in the order given.

        A channel that fails does not stop the others: the first failure in list order is raised after all were tried,
        as far as they could be tried without waiting. What is to be waited for comes second, None when there is none,
        and then the channels of that.
        """
        text = event.text()
        check_event(app, event, text)
        channels = targets_of(app, event)
        if event.socket_id is not None and state.connection(event.socket_id) is None:
            self._doubts.excluded(app.id, event.socket_id, channels[0])
        own_key = None
        if event.message_id is not None or event.extras is not None:
            own_key = self._message_key(app, event)
        if len(channels) == 1:
            if own_key is None and app.streams is not None:
                own_key = key
            waits = self._publish_to(app, state, event, channels[0], text, own_key, now)
            return channels, None if waits is None else [waits], channels
        if own_key is None:
            own_key = key
        failure: SockudoError | None = None
        pending: list[Pending] = []
        stored: list[str] = []
        for channel in channels:
            try:
                waits = self._publish_to(app, state, event, channel, text, own_key, now)
            except SockudoError as error:
                failure = failure or error
                continue
            if waits is not None:
                pending.append(waits)
                stored.append(channel)
        if failure is not None:
            forget(pending)
            raise failure
        return channels, pending or None, stored

    def _message_key(self, app: LiveApp, event: EventBody) -> str | None:
        """What makes the message the same on each of its channels (spec: http-api § 9.2)."""
        if not app.idempotency_enabled:
            return None
        key = event.message_id if event.message_id is not None else key_of(event.extras)
        if key is None:
            return None
        if not key:
            raise errors.INVALID_INPUT("idempotency key must not be empty")
        if len(key.encode()) > _MAX_MESSAGE_KEY:
            raise errors.INVALID_INPUT(f"idempotency key exceeds {_MAX_MESSAGE_KEY} bytes")
        return key

    def _publish_to(
        self,
        app: LiveApp,
        state: AppState,
        event: EventBody,
        channel: str,
        text: str,
        key: str | None,
        now: float,
    ) -> Pending | None:
        """Publishes the event on one channel, once its name and the event are allowed there."""
        check_channel(app, event, channel)
        extras = event.extras
        frame = Frame(event.name or "", channel, text)
        if event.message_id is not None:
            frame.message_id = event.message_id
        if event.tags:
            frame.tags = dict(sorted(event.tags.items()))
        if extras is not None:
            frame.extras = delivered(extras, ephemeral=self.options.ephemeral, echo=self.options.echo)
            if is_ephemeral(frame.extras):
                state.traffic.ephemeral += 1
        return self._publisher.publish(
            app, state, frame, now, exclude=event.socket_id, compress=event.delta is not False, key=key
        )

    # ---- several events ----

    def _batch(self, app: LiveApp, state: AppState, items: Sequence[EventBody], now: float) -> Answer:
        self._rates.check_publish(app, len(items), now)
        if any(self._is_pushed(item) for item in items) or not (
            self._keys.immediate or not any(_may_have_key(item) for item in items)
        ):
            return self._owned.start(self._waiting_batch(app, state, items))
        published, pending = without_waiting(self._publish_items(app, state, items, []))
        return self._replied(pending, partial(batch_reply, self._directory, app, items, published))

    async def _publish_items(
        self, app: LiveApp, state: AppState, items: Sequence[EventBody], accepted: list[object]
    ) -> tuple[list[New], list[Waits]]:
        """Which items are new, and what is to be waited for.

        Only an item that is pushed waits for anything here, and a claim that is decided elsewhere.

        What `EventPushes.before` made of pushed items is put into ``accepted``.
        """
        published: list[New] = []
        pending: list[Waits] = []
        try:
            for index, item in enumerate(items):
                with _naming(index):
                    published.append(await self._item(app, state, item, pending, accepted))
        except BaseException:
            forget(pending)
            raise
        return published, pending

    async def _item(
        self, app: LiveApp, state: AppState, item: EventBody, pending: list[Waits], accepted: list[object]
    ) -> New:
        """Publishes one item; False for one that was published before under its key, or is being published."""
        claim = await self._claim(app, state, item, pending, self._clock.monotonic())
        if claim is False:
            return False
        with held(claim):
            notices = await self._accept_push(app, item) if self._is_pushed(item) else None
            published = self._publish_item(app, state, item, claim, pending, self._clock.monotonic())
        for waits in published:
            await self._publisher.placed(waits)
        if notices is not None:
            accepted.append(notices)
        return published[0] if published else True

    async def _claim(
        self, app: LiveApp, state: AppState, item: EventBody, pending: list[Waits], now: float
    ) -> Claim | Literal[False] | None:
        """The claim to publish an item, None for one without a key, False for one that another request publishes."""
        key = item.idempotency_key
        if key is None or not app.idempotency_enabled:
            return None
        state.traffic.idempotent_publishes += 1
        claim = self._keys.claim(app.id, "event", key, mark_of(item), app.idempotency_ttl, now)
        claim = await claim if inspect.isawaitable(claim) else claim
        if claim is not None and not isinstance(claim, bytes):
            return claim
        state.traffic.idempotent_repeats += 1
        answer = self._once.repeat(app, "event", key, claim)
        if isinstance(answer, asyncio.Future):
            # The batch promises what the other request has not been promised yet.
            pending.append(answer)
        return False

    def _publish_item(
        self,
        app: LiveApp,
        state: AppState,
        item: EventBody,
        claim: Claim | None,
        pending: list[Waits],
        now: float,
    ) -> Sequence[Pending]:
        """Publishes an item; the messages that wait for something."""
        key = None if claim is None else item.idempotency_key
        waits = self._publish(app, state, item, key, now)[1]
        if claim is None:
            pending.extend(waits or ())
        elif waits is None:
            claim.complete(OK, now)
        else:
            pending.extend(waits)
            self._once.keep(claim, self._when_stored(waits, ok), now)
        return waits or ()

    # ---- events that are notifications, too (spec: push § 9) ----

    def _is_pushed(self, event: EventBody) -> bool:
        extras = event.extras
        return (extras is not None and extras.get("push") is not None) or event.name in self._pushes.events

    async def _pushed_event(self, app: LiveApp, state: AppState, event: EventBody, key: str | None) -> bytes:
        accepted = await self._accept_push(app, event)
        answer = self._publish_event(app, state, event, key, self._clock.monotonic())
        if not isinstance(answer, bytes):
            answer = await asyncio.shield(answer)
        self._pushes.after(accepted)
        return answer

    async def _accept_push(self, app: LiveApp, event: EventBody) -> object:
        """Has the notifications of an event accepted that may be published as it is; for `EventPushes.after`."""
        check_event(app, event, event.text())
        channels = targets_of(app, event)
        for channel in channels:
            check_channel(app, event, channel)
        extras = event.extras or {}
        return await self._pushes.before(app.id, event.name or "", event.data, channels, extras.get("push"))

    async def _waiting_batch(self, app: LiveApp, state: AppState, items: Sequence[EventBody]) -> bytes:
        accepted: list[object] = []
        try:
            published, pending = await self._publish_items(app, state, items, accepted)
            forget(pending)
            await after(pending)
            return await batch_reply(self._directory, app, items, published)
        finally:
            for each in accepted:
                self._pushes.after(each)

    # ---- what takes time ----

    def _when_stored(self, pending: Sequence[Waits], reply: Callable[[], bytes]) -> asyncio.Future[bytes]:
        """The answer that comes when all of it is stored; as a rule it is one message, which needs no task."""
        return answer_to(pending[0], reply) if len(pending) == 1 else self._owned.start(_when_all(pending, reply))

    def _replied(
        self, pending: Sequence[Waits] | None, reply: Callable[[], Coroutine[object, object, bytes]]
    ) -> Answer:
        """The reply, once all is stored and every node that takes part has been asked."""
        if not self._directory.alone:
            return self._owned.start(_reply_after(pending or (), reply))
        if not pending:
            return without_waiting(reply())
        return self._when_stored(pending, lambda: without_waiting(reply()))

    async def _entries(
        self, app: LiveApp, event: EventBody, channels: Sequence[str], pending: Sequence[Pending], stored: Sequence[str]
    ) -> bytes:
        outcomes = {name: each.result() for name, each in zip(stored, pending, strict=False)}
        entries = {name: await entry(self._directory, app, event, name, outcomes.get(name)) for name in channels}
        return _encode({"channels": entries})


def _may_have_key(item: EventBody) -> bool:
    return any(each is not None for each in (item.idempotency_key, item.message_id, item.extras))


async def _when_all(pending: Sequence[Waits], reply: Callable[[], bytes]) -> bytes:
    await after(pending)
    return reply()


async def _reply_after(pending: Sequence[Waits], reply: Callable[[], Coroutine[object, object, bytes]]) -> bytes:
    await after(pending)
    return await reply()


@contextmanager
def _naming(index: int) -> Iterator[None]:
    """Names the refused item of the batch."""
    try:
        yield
    except SockudoError as error:
        raise error.spec(f"{error.text} (item {index} of the batch)", retry_after=error.retry_after) from None
