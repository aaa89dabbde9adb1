"""Where a record stands in its list (spec: push § 1): lists are sorted by these texts, cursors hold them."""

from __future__ import annotations

from typing import NamedTuple

from sockudo import errors
from sockudo.push.records import DeadLetter, DeliveryEvent, PublishIntent, PublishStatus, Subscription

__all__ = [
    "PairPosition",
    "TimePosition",
    "dead_letter_position",
    "event_position",
    "intent_position",
    "pair_after",
    "status_position",
    "subscription_position",
    "time_after",
    "time_position",
]

_DIGITS = 20


class PairPosition(NamedTuple):
    """A subscription among all of an app: ``text`` is ``channel:deviceId``, which two may have in common."""

    text: str
    channel: str


class TimePosition(NamedTuple):
    """A record in a list sorted by time."""

    at_ms: int
    id: str


def subscription_position(
    subscription: Subscription, *, channel: str | None = None, device_id: str | None = None
) -> str:
    """In the list of the channel, of the device, or of all: whichever was asked for."""
    if channel is not None:
        return subscription.device_id
    if device_id is not None:
        return subscription.channel
    return f"{subscription.channel}:{subscription.device_id}\0{subscription.channel}"


def pair_after(position: str) -> PairPosition:
    """Reads the position of a subscription among all."""
    text, _, channel = position.partition("\0")
    return PairPosition(text, channel)


def time_position(at_ms: int, record_id: str) -> str:
    """The time in 20 digits, a colon and the id."""
    return f"{at_ms:0{_DIGITS}d}:{record_id}"


def time_after(position: str) -> TimePosition:
    """Reads the position of a record in a list sorted by time. Raises errors.INVALID_INPUT for anything else."""
    digits, colon, record_id = position[:_DIGITS], position[_DIGITS : _DIGITS + 1], position[_DIGITS + 1 :]
    if len(digits) != _DIGITS or colon != ":" or not (digits.isascii() and digits.isdigit()):
        raise errors.INVALID_INPUT("cursor is not one of this list")
    # No database has room for a larger one, and no record can be behind it.
    return TimePosition(min(int(digits), 2**63 - 1), record_id)


def status_position(status: PublishStatus) -> str:
    return time_position(status.created_at_ms, status.publish_id)


def intent_position(intent: PublishIntent) -> str:
    return time_position(intent.accepted_at_ms, intent.publish_id)


def event_position(event: DeliveryEvent) -> str:
    return time_position(event.occurred_at_ms, event.event_id)


def dead_letter_position(letter: DeadLetter) -> str:
    return time_position(letter.occurred_at_ms, letter.dead_letter_id)
