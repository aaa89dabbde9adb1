"""The one way in which a backend's events get in, whatever the entrance (contract 20 § 5, 6 and 9)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.errors import SockudoError
from sockudo.hub import AppState, Connection, Hub
from sockudo.ids import unique_id
from sockudo.limits.app_rates import AppRates
from sockudo.limits.idempotency import Claim, IdempotencyKeys, fingerprint
from sockudo.names import USER_CHANNEL_PREFIX, channel_kind, check_channel_name, check_event_name
from sockudo.protocol import v1
from sockudo.publishing.bodies import EventBody, decode_batch, decode_event

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["OK", "Publisher"]

OK = b'{"ok":true}'
"""The reply to a publish that asked for nothing: always this very object."""

_EMPTY = b"{}"
_encode = msgspec.json.Encoder().encode

_AI_EVENTS = frozenset(
    (
        "ai-input",
        "ai-output",
        "ai-run-start",
        "ai-run-suspend",
        "ai-run-resume",
        "ai-run-end",
        "ai-cancel",
        "ai-step-start",
        "ai-step-end",
        "ai-turn-start",
        "ai-turn-end",
    )
)


class Publisher:
    """Publishes events and answers with the reply's JSON text.

    Synchronous: a plain channel has nothing to wait for, so a publish is decided, said and answered in one go.
    """

    def __init__(self, hub: Hub, keys: IdempotencyKeys, rates: AppRates) -> None:
        self._hub = hub
        self._keys = keys
        self._rates = rates

    def events(self, app: LiveApp, state: AppState, body: bytes, header_key: str | None, now: float) -> bytes:
        """POST …/events: one event to one or several channels."""
        event = decode_event(body)
        key = event.idempotency_key if event.idempotency_key is not None else header_key
        if key is None or not app.idempotency_enabled:
            self._rates.check_publish(app, 1, now)
            return self._answer(app, state, event, now)
        state.traffic.idempotent_publishes += 1
        self._keys.check_key(key)
        claim = self._keys.begin(app.id, "event", key, _fingerprint(event), app.idempotency_ttl, now)
        if isinstance(claim, bytes):
            state.traffic.idempotent_repeats += 1
            return claim
        with _held(claim):
            self._rates.check_publish(app, 1, now)
            reply = self._answer(app, state, event, now)
            claim.complete(reply, now)
        return reply

    def batch(self, app: LiveApp, state: AppState, body: bytes, header_key: str | None, now: float) -> bytes:
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
        claim = self._keys.begin(app.id, "batch", header_key, fingerprint(body), app.idempotency_ttl, now)
        if isinstance(claim, bytes):
            state.traffic.idempotent_repeats += 1
            return claim
        with _held(claim):
            reply = self._batch(app, state, items, now)
            claim.complete(reply, now)
        return reply

    def _batch(self, app: LiveApp, state: AppState, items: Sequence[EventBody], now: float) -> bytes:
        self._rates.check_publish(app, len(items), now)
        entries: list[dict[str, object]] = []
        for index, item in enumerate(items):
            with _naming(index):
                entries.append(self._item(app, state, item, now))
        if not any(_wants_entry(item) for item in items):
            return _EMPTY
        return _encode({"batch": entries})

    def _item(self, app: LiveApp, state: AppState, item: EventBody, now: float) -> dict[str, object]:
        key = item.idempotency_key
        if key is None or not app.idempotency_enabled:
            return self._item_entry(app, state, item, now)
        state.traffic.idempotent_publishes += 1
        try:
            claim = self._keys.begin(app.id, "event", key, _fingerprint(item), app.idempotency_ttl, now)
        except SockudoError as error:
            if error.spec is errors.IDEMPOTENCY_RUNNING:
                return {}
            raise
        if isinstance(claim, bytes):
            state.traffic.idempotent_repeats += 1
            return {}
        with _held(claim):
            entry = self._item_entry(app, state, item, now)
            claim.complete(OK, now)
        return entry

    def _item_entry(self, app: LiveApp, state: AppState, item: EventBody, now: float) -> dict[str, object]:
        channels = self._publish(app, state, item, now)
        return _entry(state, item, channels[0]) if _wants_entry(item) else {}

    def _answer(self, app: LiveApp, state: AppState, event: EventBody, now: float) -> bytes:
        channels = self._publish(app, state, event, now)
        if not _wants_entry(event):
            return OK
        return _encode({"channels": {name: _entry(state, event, name) for name in channels}})

    def _publish(self, app: LiveApp, state: AppState, event: EventBody, now: float) -> Sequence[str]:
        """Checks in the order of § 5.2, then says the event; returns the channels in the order given.

        A channel that fails does not stop the others: the first failure in list order is raised after all were tried.
        """
        text = event.text()
        _check_event(app, event, text)
        channels = _targets(app, event)
        exclude = state.connections.get(event.socket_id) if event.socket_id is not None else None
        if len(channels) == 1:
            self._say(app, state, event, channels[0], text, exclude, now)
            return channels
        failure: SockudoError | None = None
        for channel in channels:
            try:
                self._say(app, state, event, channel, text, exclude, now)
            except SockudoError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return channels

    def _say(
        self,
        app: LiveApp,
        state: AppState,
        event: EventBody,
        channel: str,
        text: str,
        exclude: Connection | None,
        now: float,
    ) -> None:
        """Says the event to one channel, once its name and the event are allowed there."""
        check_channel_name(channel, max_length=app.limits.max_channel_name_length, namespaces=app.namespaces)
        name = event.name or ""
        if name in _AI_EVENTS or (event.extras is not None and event.extras.ai is not None):
            raise errors.AI_EVENT_NOT_PERMITTED(f"AI events are not permitted on channel '{channel}'")
        kind = channel_kind(channel)
        if kind.user:
            self._hub.publish_to_user(state, channel.removeprefix(USER_CHANNEL_PREFIX), name, text, exclude)
            return
        self._hub.publish(state, channel, name, text, exclude)
        if kind.cache:
            state.cache.put(channel, v1.event_json(name, channel, text), now)


def _entry(state: AppState, event: EventBody, name: str) -> dict[str, object]:
    """What the reply tells about one channel (§ 5.3), counted after the publish."""
    entry: dict[str, object] = {"acknowledgement_id": event.message_id or unique_id()}
    wanted = {word.strip() for word in event.info.split(",")} if event.info else ()
    channel = state.channels.get(name)
    if "user_count" in wanted and channel_kind(name).presence:
        entry["user_count"] = len(channel.presence or ()) if channel is not None else 0
    if "subscription_count" in wanted:
        entry["subscription_count"] = len(channel.subscribers) if channel is not None else 0
    return entry


def _check_event(app: LiveApp, event: EventBody, text: str) -> None:
    """Steps 5 to 7 of § 5.2: the event's name and the size of its data."""
    if event.name is None:
        raise errors.INVALID_INPUT("Event name is required")
    check_event_name(event.name, app.limits.max_event_name_length)
    limit = app.limits.max_event_payload_kb
    # A character has at most four bytes, so most events need no encoding to be measured.
    if limit and len(text) * 4 > limit * 1024 and (size := len(text.encode())) > limit * 1024:
        raise errors.EVENT_TOO_LARGE(
            f"Event payload size ({size} bytes) for event '{event.name}' exceeds limit ({limit}KB)"
        )


def _targets(app: LiveApp, event: EventBody) -> Sequence[str]:
    """Step 8 of § 5.2: the channels, in the order given."""
    channels = event.channels
    if channels is None:
        if event.channel is None:
            raise errors.MISSING_CHANNEL()
        return (event.channel,)
    if not channels:
        raise errors.MISSING_CHANNEL()
    limit = app.limits.max_channels_at_once
    if limit and len(channels) > limit:
        raise errors.LIMIT_EXCEEDED(f"Number of channels ({len(channels)}) exceeds limit ({limit})")
    return channels


def _wants_entry(event: EventBody) -> bool:
    return event.info is not None or event.message_id is not None


def _fingerprint(event: EventBody) -> bytes:
    """What makes two events the same: everything but which connection sent it and the key itself (§ 9.2)."""
    return fingerprint(
        _encode([event.name, event.data, event.channels, event.channel, event.tags, event.extras, event.message_id])
    )


@contextmanager
def _held(claim: Claim) -> Iterator[None]:
    """Gives the key back when the publish fails, so that a retry is not refused."""
    try:
        yield
    except BaseException:
        claim.release()
        raise


@contextmanager
def _naming(index: int) -> Iterator[None]:
    """Says in a refusal which item of the batch it was."""
    try:
        yield
    except SockudoError as error:
        raise error.spec(f"{error.text} (item {index} of the batch)", retry_after=error.retry_after) from None
