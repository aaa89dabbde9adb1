"""How much one connection may be subscribed to: what it makes the server keep, and work on at every publish.

The limits are settings of ``websocket``, read at each subscribe, so that a reload counts at once; 0 is no limit. What a
connection holds beyond a limit that was lowered stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sockudo import errors
from sockudo.base.names import WILDCARD, ChannelKind

if TYPE_CHECKING:
    from sockudo.sessions.session import Session

__all__ = ["check_room"]


def check_room(session: Session, name: str, kind: ChannelKind, *, filtered: bool) -> None:
    """Whether one more subscription fits; one that replaces what the connection has needs room for its filter only.

    Raises errors.TOO_MANY_CHANNELS, errors.TOO_MANY_PATTERNS or errors.TOO_MANY_FILTERS, each of which names the
    setting and its value.
    """
    limits = session.gateway.settings.websocket
    joined = session.channels.get(name)
    if joined is None:
        most = limits.max_channels_per_connection
        if most and len(session.channels) >= most:
            raise errors.TOO_MANY_CHANNELS(
                f"Channel error: This connection is subscribed to {most} channels, as many as it may be "
                "(websocket.max_channels_per_connection). Unsubscribe from some first."
            )
        most = limits.max_patterns_per_connection
        if kind is WILDCARD and most and session.patterns >= most:
            raise errors.TOO_MANY_PATTERNS(
                f"Channel error: This connection is subscribed to {most} patterns, as many as it may be "
                "(websocket.max_patterns_per_connection). Use wider patterns or unsubscribe from some first."
            )
    most = limits.max_filters_per_connection
    if filtered and most and session.filters - (joined is not None and joined.wants.predicate is not None) >= most:
        raise errors.TOO_MANY_FILTERS(
            f"Channel error: This connection has {most} subscriptions with a filter, as many as it may have "
            "(websocket.max_filters_per_connection). Unsubscribe from some first."
        )
