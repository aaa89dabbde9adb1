"""The checks of one event, and its part of the reply (spec: http-api § 5)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.base.ids import unique_id
from sockudo.base.stream_records import Committed
from sockudo.cluster.directory import Directory
from sockudo.limits.idempotency import fingerprint
from sockudo.protocol.names import channel_kind, check_channel_name, check_event_name
from sockudo.publishing.bodies import EventBody
from sockudo.publishing.queries import words
from sockudo.publishing.versioned import serials_of

__all__ = [
    "New",
    "batch_reply",
    "check_channel",
    "check_event",
    "check_no_counts",
    "entry",
    "mark_of",
    "targets_of",
    "wants_entry",
]

_encode = msgspec.json.Encoder().encode

New = asyncio.Future[Committed] | asyncio.Future[Committed | None] | bool
"""A message that is being stored, or whether an item is new."""

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


def check_channel(app: LiveApp, event: EventBody, channel: str) -> None:
    """Whether there can be such a channel, and such an event on it."""
    check_channel_name(channel, max_length=app.limits.max_channel_name_length, namespaces=app.namespaces)
    if event.name in _AI_EVENTS or (event.extras is not None and event.extras.get("ai") is not None):
        raise errors.AI_EVENT_NOT_PERMITTED(f"AI events are not permitted on channel '{channel}'")


async def entry(
    directory: Directory, app: LiveApp, event: EventBody, name: str, stored: Committed | None = None
) -> dict[str, object]:
    """The attributes of one channel in the reply (spec: http-api § 5.3), counted after the publish.

    ``stored`` is the message, where it had to be stored, and was; one that can change has its serials here.
    """
    entry: dict[str, object] = {"acknowledgement_id": event.message_id or unique_id()}
    if stored is not None and stored.version is not None:
        entry |= serials_of(stored.version, stored.position)
    wanted = words(event.info)
    if not wanted:
        return entry
    counts, complete = await directory.channel(app.id, name)
    if "user_count" in wanted and channel_kind(name).presence:
        entry["user_count"] = counts.users
    if "subscription_count" in wanted:
        entry["subscription_count"] = counts.subscriptions
        if not complete:
            entry["subscription_count_complete"] = False
    return entry


def check_event(app: LiveApp, event: EventBody, text: str) -> None:
    """Steps 5 to 7 of spec: http-api § 5.2: the event's name and the size of its data."""
    if event.name is None:
        raise errors.INVALID_INPUT("Event name is required")
    check_event_name(event.name, app.limits.max_event_name_length)
    limit = app.limits.max_event_payload_kb
    # A character has at most four bytes, so most events need no encoding to be measured.
    if limit and len(text) * 4 > limit * 1024 and (size := len(text.encode())) > limit * 1024:
        raise errors.EVENT_TOO_LARGE(
            f"Event payload size ({size} bytes) for event '{event.name}' exceeds limit ({limit}KB)"
        )


def check_no_counts(event: EventBody) -> None:
    """For nodes that take publishes alone, which know of no subscriptions."""
    if event.info is not None and not words(event.info).isdisjoint(("user_count", "subscription_count")):
        raise errors.INVALID_INPUT("user_count and subscription_count are unavailable in api server role")


def targets_of(app: LiveApp, event: EventBody) -> Sequence[str]:
    """Step 8 of spec: http-api § 5.2: the channels, in the order given."""
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


def wants_entry(event: EventBody) -> bool:
    return event.info is not None or event.message_id is not None


def mark_of(event: EventBody) -> bytes:
    """What makes two events the same: everything but which connection sent it and the key itself
    (spec: http-api § 9.2)."""
    return fingerprint(
        _encode([event.name, event.data, event.channels, event.channel, event.tags, event.extras, event.message_id])
    )


async def batch_reply(
    directory: Directory, app: LiveApp, items: Sequence[EventBody], published: Sequence[New]
) -> bytes:
    """The reply to a batch, once all of it is stored."""
    if not any(wants_entry(item) for item in items):
        return b"{}"
    entries = [
        await entry(directory, app, item, targets_of(app, item)[0], None if new is True else new.result())
        if new is not False and wants_entry(item)
        else {}
        for item, new in zip(items, published, strict=True)
    ]
    return _encode({"batch": entries})
