"""What a subscription gets, as both its connection and its channel show it."""

from __future__ import annotations

from typing import Any

import msgspec

from sockudo.hub import Connection, Fanout, Gate

__all__ = ["FilterView", "Subscription", "subscription_of"]


class FilterView(msgspec.Struct, frozen=True):
    """Which messages a subscription wants: by event name, by tags in their normal form, by an expression.

    ``given_up``: the expression took too long too often, and matches nothing any more.
    """

    id: str
    events: list[str]
    tags: Any
    expression: str | None
    given_up: bool


class Subscription(msgspec.Struct, frozen=True):
    """``user_id`` is that of the member of a presence channel; ``delta`` the format of differences, None for none.

    ``catching_up``: the past is being sent, and what is said now is held back until then.
    """

    channel: str
    kind: str
    user_id: str | None
    filter: FilterView | None
    delta: str | None
    catching_up: bool


def subscription_of(connection: Connection, fanout: Fanout) -> Subscription:
    """The subscription that puts the connection there."""
    channel, wants = fanout.channel, fanout.wants
    predicate = wants.predicate
    shown = None
    if predicate is not None:
        events, tags, expression = msgspec.json.decode(predicate.text)
        shown = FilterView(predicate.id, events, tags, expression, predicate.tripped)
    return Subscription(
        channel.name,
        channel.kind.label,
        connection.members.get(channel.name) if connection.members is not None else None,
        shown,
        None if wants.delta is None else str(wants.delta),
        isinstance(fanout, Gate),
    )
