"""Deliveries that a version before kept by lane: an endpoint had four, and a channel was in one of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, Self

import msgspec

from sockudo.webhooks.records import Attempt, Delivery
from sockudo.webhooks.requests import body_of

__all__ = ["EarlierQueue", "by_channel"]


class EarlierQueue(Protocol):
    """What a version before has left, opened with ``async with``.

    Its methods raise errors.SERVICE_UNAVAILABLE. Several processes may use it at once.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...

    async def take(self, limit: int) -> Sequence[tuple[Delivery, Sequence[Attempt]]]:
        """About ``limit`` of the deliveries, those of a lane in their order, without a channel; none at the end."""
        ...

    async def drop(self, deliveries: Sequence[Delivery]) -> None:
        """Removes deliveries that were taken."""
        ...


class _Event(msgspec.Struct):
    channel: str = ""


class _Body(msgspec.Struct):
    time_ms: int
    events: list[msgspec.Raw]


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_event = msgspec.json.Decoder(_Event).decode


def by_channel(delivery: Delivery) -> Iterator[Delivery]:
    """A delivery as one for each channel of its events; the first of them keeps its id.

    One that is settled stays whole, and so does one whose body is none of ours.
    """
    try:
        body = _decode_body(delivery.body)
        events = [(_decode_event(event).channel, bytes(event)) for event in body.events]
    except msgspec.DecodeError:
        yield delivery
        return
    channels = list(dict.fromkeys(channel for channel, _ in events))
    if len(channels) == 1:
        yield msgspec.structs.replace(delivery, channel=channels[0])
        return
    if delivery.state != "waiting" or not channels:
        yield delivery
        return
    for number, channel in enumerate(channels):
        some = [event for of, event in events if of == channel]
        yield msgspec.structs.replace(
            delivery,
            id=f"{delivery.id}-{number}" if number else delivery.id,
            channel=channel,
            body=body_of(body.time_ms, some),
            events=len(some),
        )
