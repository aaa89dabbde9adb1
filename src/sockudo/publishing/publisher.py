"""The one way in which a backend's events get in, whatever the entrance (spec: http-api § 5, 6 and 9)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.clock import Clock
from sockudo.errors import SockudoError
from sockudo.hub import AppState, Connection
from sockudo.limits.app_rates import AppRates
from sockudo.limits.idempotency import Claim, IdempotencyKeys, Space, fingerprint
from sockudo.names import check_channel_name
from sockudo.protocol.frame import Frame
from sockudo.publishing.answers import OK, Answer, Waits, after, answer_to, forget, ok
from sockudo.publishing.bodies import EventBody, decode_batch, decode_event
from sockudo.publishing.event_checks import check_channel, check_event, entry, mark_of, targets_of, wants_entry
from sockudo.publishing.extras import delivered, is_ephemeral, key_of
from sockudo.publishing.pipeline import Message, Pending, Pipeline, committed
from sockudo.publishing.pushes import EventPushes, NoPushes

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PublishOptions", "Publisher"]

_EMPTY = b"{}"
# The event by which a push notification comes to a channel of this server.
_NOTIFICATION = "push"
_encode = msgspec.json.Encoder().encode

# Bytes of a key inside the message, which is looked up per channel (spec: http-api § 9.2).
_MAX_MESSAGE_KEY = 128


@dataclass(frozen=True, slots=True)
class PublishOptions:
    """Which features of a message's ``extras`` are on."""

    ephemeral: bool = True
    echo: bool = True


class Publisher:
    """Publishes events and answers with the reply's JSON text.

    What goes to plain channels is decided, said and answered in one go. Where a channel is durable the answer is a
    future that ends after the commit: nobody is told of success before it.
    """

    def __init__(self, pipeline: Pipeline, keys: IdempotencyKeys, rates: AppRates, clock: Clock) -> None:
        self._pipeline = pipeline
        self._keys = keys
        self._rates = rates
        self._clock = clock
        # Which of the optional members of `extras` are delivered; replaced when the configuration is.
        self.options = PublishOptions()
        # Asked about events that become notifications.
        self.pushes: EventPushes = NoPushes()
        self._tasks: set[asyncio.Task[bytes]] = set()
        # Answers that are still to come, by the key that they are for.
        self._running: dict[tuple[str, Space, str], asyncio.Future[bytes]] = {}

    def events(self, app: LiveApp, state: AppState, body: bytes, header_key: str | None, now: float) -> Answer:
        """POST …/events: one event to one or several channels."""
        event = decode_event(body)
        key = event.idempotency_key if event.idempotency_key is not None else header_key
        if key is None or not app.idempotency_enabled:
            self._rates.check_publish(app, 1, now)
            return self._event(app, state, event, None, now)
        state.traffic.idempotent_publishes += 1
        self._keys.check_key(key)
        claim = self._begin(app, "event", key, mark_of(event), now)
        if not isinstance(claim, Claim):
            state.traffic.idempotent_repeats += 1
            return claim
        with _held(claim):
            self._rates.check_publish(app, 1, now)
            return self._keep(claim, self._event(app, state, event, key, now), now)

    def batch(self, app: LiveApp, state: AppState, body: bytes, header_key: str | None, now: float) -> Answer:
        """POST …/batch_events: several events, one after another; the first failure ends the batch."""
        items = decode_batch(body).batch
        limit = app.limits.max_batch_size
        if limit and len(items) > limit:
            raise errors.LIMIT_EXCEEDED(f"Batch size ({len(items)}) exceeds limit ({limit})")
        if not app.idempotency_enabled:
            return self._batch(app, state, items, now)
        for index, item in enumerate(items):
            if item.idempotency_key is not None:
                with _naming(index):
                    self._keys.check_key(item.idempotency_key)
        if header_key is None:
            return self._batch(app, state, items, now)
        self._keys.check_key(header_key)
        claim = self._begin(app, "batch", header_key, fingerprint(body), now)
        if not isinstance(claim, Claim):
            state.traffic.idempotent_repeats += 1
            return claim
        with _held(claim):
            return self._keep(claim, self._batch(app, state, items, now), now)

    async def notification(self, app: LiveApp, state: AppState, channel: str, payload: Mapping[str, Any]) -> str | None:
        """Publishes a push notification on a channel; returns the message's id if it has one."""
        check_channel_name(channel, max_length=app.limits.max_channel_name_length, namespaces=app.namespaces)
        frame = Frame(_NOTIFICATION, channel, _encode(payload).decode())
        pending = self._pipeline.say(app, state, Message(frame), now=self._clock.monotonic())
        if pending is not None:
            await committed(pending)
        return frame.message_id

    # ---- one event ----

    def _event(self, app: LiveApp, state: AppState, event: EventBody, key: str | None, now: float) -> Answer:
        if self._is_pushed(event):
            return self._own(self._pushed_event(app, state, event, key))
        return self._said_event(app, state, event, key, now)

    def _said_event(self, app: LiveApp, state: AppState, event: EventBody, key: str | None, now: float) -> Answer:
        channels, pending = self._publish(app, state, event, key, now)
        if not wants_entry(event):
            return OK if pending is None else self._when_stored(pending, ok)

        def reply() -> bytes:
            return _encode({"channels": {name: entry(state, event, name) for name in channels}})

        return reply() if pending is None else self._when_stored(pending, reply)

    def _publish(
        self, app: LiveApp, state: AppState, event: EventBody, key: str | None, now: float
    ) -> tuple[Sequence[str], list[Pending] | None]:
        """Checks in the order of spec: http-api § 5.2, then says the event; returns the channels in the order given.

        A channel that fails does not stop the others: the first failure in list order is raised after all were tried,
        as far as they could be tried without waiting. What is to be waited for comes second, None when there is none.
        """
        text = event.text()
        check_event(app, event, text)
        channels = targets_of(app, event)
        sender = state.connections.get(event.socket_id) if event.socket_id is not None else None
        exclude = () if sender is None else (sender,)
        if sender is None and event.socket_id is not None:
            self._pipeline.doubts.excluded(app.id, event.socket_id, channels[0])
        own_key = None
        if event.message_id is not None or event.extras is not None:
            own_key = self._message_key(app, event)
        if len(channels) == 1:
            if own_key is None and app.streams is not None:
                own_key = key
            waits = self._say(app, state, event, channels[0], text, exclude, own_key, now)
            return channels, None if waits is None else [waits]
        if own_key is None:
            own_key = key
        failure: SockudoError | None = None
        pending: list[Pending] = []
        for channel in channels:
            try:
                waits = self._say(app, state, event, channel, text, exclude, own_key, now)
            except SockudoError as error:
                failure = failure or error
                continue
            if waits is not None:
                pending.append(waits)
        if failure is not None:
            forget(pending)
            raise failure
        return channels, pending or None

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

    def _say(
        self,
        app: LiveApp,
        state: AppState,
        event: EventBody,
        channel: str,
        text: str,
        exclude: tuple[Connection, ...],
        key: str | None,
        now: float,
    ) -> Pending | None:
        """Says the event to one channel, once its name and the event are allowed there."""
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
        if key is None and app.streams is None:
            self._pipeline.deliver(state, frame, exclude, event.delta is not False, None, now)
            return None
        return self._pipeline.say(app, state, Message(frame, exclude, event.delta is not False), now=now, key=key)

    # ---- several events ----

    def _batch(self, app: LiveApp, state: AppState, items: Sequence[EventBody], now: float) -> Answer:
        self._rates.check_publish(app, len(items), now)
        if any(self._is_pushed(item) for item in items):
            return self._own(self._pushed_batch(app, state, items))
        said: list[bool] = []
        pending: list[Waits] = []
        try:
            for index, item in enumerate(items):
                with _naming(index):
                    said.append(self._item(app, state, item, pending, now))
        except SockudoError:
            forget(pending)
            raise
        reply = partial(_batch_reply, app, state, items, said)
        return reply() if not pending else self._when_stored(pending, reply)

    def _item(self, app: LiveApp, state: AppState, item: EventBody, pending: list[Waits], now: float) -> bool:
        """Publishes one item; False for one that was published before under its key, or is being published."""
        claim = self._claim(app, state, item, pending, now)
        if claim is not False:
            with _held(claim):
                self._say_item(app, state, item, claim, pending, now)
        return claim is not False

    def _claim(
        self, app: LiveApp, state: AppState, item: EventBody, pending: list[Waits], now: float
    ) -> Claim | Literal[False] | None:
        """The claim to publish an item, None for one without a key, False for one that somebody else publishes."""
        key = item.idempotency_key
        if key is None or not app.idempotency_enabled:
            return None
        state.traffic.idempotent_publishes += 1
        claim = self._begin(app, "event", key, mark_of(item), now)
        if isinstance(claim, Claim):
            return claim
        state.traffic.idempotent_repeats += 1
        if isinstance(claim, asyncio.Future):
            # The batch promises what the other request has not been promised yet.
            pending.append(claim)
        return False

    def _say_item(
        self,
        app: LiveApp,
        state: AppState,
        item: EventBody,
        claim: Claim | None,
        pending: list[Waits],
        now: float,
    ) -> None:
        key = None if claim is None else item.idempotency_key
        waits = self._publish(app, state, item, key, now)[1]
        if claim is None:
            pending.extend(waits or ())
        elif waits is None:
            claim.complete(OK, now)
        else:
            pending.extend(waits)
            self._keep(claim, self._when_stored(waits, ok), now)

    # ---- events that are notifications, too (spec: push § 9) ----

    def _is_pushed(self, event: EventBody) -> bool:
        extras = event.extras
        return (extras is not None and extras.get("push") is not None) or event.name in self.pushes.events

    async def _pushed_event(self, app: LiveApp, state: AppState, event: EventBody, key: str | None) -> bytes:
        told = await self._tell(app, event)
        answer = self._said_event(app, state, event, key, self._clock.monotonic())
        if not isinstance(answer, bytes):
            answer = await asyncio.shield(answer)
        self.pushes.after(told)
        return answer

    async def _tell(self, app: LiveApp, event: EventBody) -> object:
        """Has the notifications of an event accepted that may be said as it is; for `EventPushes.after`."""
        check_event(app, event, event.text())
        channels = targets_of(app, event)
        for channel in channels:
            check_channel(app, event, channel)
        extras = event.extras or {}
        return await self.pushes.before(app.id, event.name or "", event.data, channels, extras.get("push"))

    async def _pushed_batch(self, app: LiveApp, state: AppState, items: Sequence[EventBody]) -> bytes:
        said: list[bool] = []
        pending: list[Waits] = []
        told: list[object] = []
        try:
            for index, item in enumerate(items):
                with _naming(index):
                    said.append(await self._pushed_item(app, state, item, pending, told))
            return await after(pending, partial(_batch_reply, app, state, items, said))
        except BaseException:
            forget(pending)
            raise
        finally:
            for each in told:
                self.pushes.after(each)

    async def _pushed_item(
        self, app: LiveApp, state: AppState, item: EventBody, pending: list[Waits], told: list[object]
    ) -> bool:
        """Like `_item`; what rules make of it is put into ``told``."""
        claim = self._claim(app, state, item, pending, self._clock.monotonic())
        if claim is False:
            return False
        with _held(claim):
            notices = await self._tell(app, item) if self._is_pushed(item) else None
            self._say_item(app, state, item, claim, pending, self._clock.monotonic())
        if notices is not None:
            told.append(notices)
        return True

    # ---- what takes time ----

    def _when_stored(self, pending: Sequence[Waits], reply: Callable[[], bytes]) -> asyncio.Future[bytes]:
        """The answer that comes when all of it is stored; as a rule it is one message, which needs no task."""
        return answer_to(pending[0], reply) if len(pending) == 1 else self._own(after(pending, reply))

    def _own(self, work: Coroutine[object, object, bytes]) -> asyncio.Task[bytes]:
        """Starts the wait for a commit; it goes on when the caller has gone."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._end)
        return task

    def _end(self, task: asyncio.Task[bytes]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # A caller that has gone does not ask any more.
            task.exception()

    def _begin(self, app: LiveApp, space: Space, key: str, mark: bytes, now: float) -> Claim | Answer:
        """The claim to publish under a key, or the answer of who has it: the one that was given, or that is to come.

        Raises errors.IDEMPOTENCY_CONFLICT when the key belongs to other content.
        """
        try:
            return self._keys.begin(app.id, space, key, mark, app.idempotency_ttl, now)
        except SockudoError as error:
            running = self._running.get((app.id, space, key))
            if error.spec is not errors.IDEMPOTENCY_RUNNING or running is None:
                raise
            return running

    def _keep(self, claim: Claim, answer: Answer, now: float) -> Answer:
        """Has the key answer with this reply from when it is there, or gives the key back when it fails."""
        if isinstance(answer, bytes):
            claim.complete(answer, now)
            return answer

        def end(done: asyncio.Future[bytes]) -> None:
            del self._running[claim.key]
            if done.cancelled() or done.exception() is not None:
                claim.release()
            else:
                claim.complete(done.result(), self._clock.monotonic())

        self._running[claim.key] = answer
        answer.add_done_callback(end)
        return answer


def _batch_reply(app: LiveApp, state: AppState, items: Sequence[EventBody], said: Sequence[bool]) -> bytes:
    if not any(wants_entry(item) for item in items):
        return _EMPTY
    entries = [
        entry(state, item, targets_of(app, item)[0]) if new and wants_entry(item) else {}
        for item, new in zip(items, said, strict=True)
    ]
    return _encode({"batch": entries})


@contextmanager
def _held(claim: Claim | None) -> Iterator[None]:
    """Gives the key back when the publish fails, so that a retry is not refused."""
    try:
        yield
    except BaseException:
        if claim is not None:
            claim.release()
        raise


@contextmanager
def _naming(index: int) -> Iterator[None]:
    """Says in a refusal which item of the batch it was."""
    try:
        yield
    except SockudoError as error:
        raise error.spec(f"{error.text} (item {index} of the batch)", retry_after=error.retry_after) from None
