"""What a connection may do: the rights of protocol V2 (spec: websocket § 6.2 and 14.2), and how much it may hear."""

from __future__ import annotations

from sockudo import errors
from sockudo.auth.capabilities import Capabilities, Operation, check
from sockudo.protocol.names import (
    META_PREFIX,
    WILDCARD,
    ChannelKind,
    is_meta,
    is_wildcard,
    namespace_of,
    user_of,
    users_of,
)
from sockudo.sessions.context import SessionContext

__all__ = [
    "check_granted",
    "check_history",
    "check_owner",
    "check_publish",
    "check_read",
    "check_room",
    "check_subscribe",
    "owns_past",
]


def check_subscribe(session: SessionContext, name: str, *, presence: bool, rewind: bool = False) -> None:
    """The checks of a subscribe, in their order; raises the row of the first that fails."""
    v2 = session.v2
    if v2 is None:
        return
    _check_namespace(session, name, "allow_subscribe_for_client", "client subscriptions")
    if presence:
        _check_namespace(session, name, "allow_presence_for_client", "client presence subscriptions")
    subject = name.removeprefix(META_PREFIX) if is_meta(name) else name
    check_granted(v2.capabilities, subject, presence=presence)
    if rewind:
        check(v2.capabilities, Operation.HISTORY, subject)
    _check_user(session, subject)


def check_granted(capabilities: Capabilities, subject: str, *, presence: bool) -> None:
    """Whether the capabilities let a connection hear the channel, or about it. Raises errors.CAPABILITY_DENIED."""
    check(capabilities, Operation.SUBSCRIBE, subject)
    if presence:
        check(capabilities, Operation.PRESENCE, subject)


def check_read(session: SessionContext, name: str) -> None:
    """Whether the connection could subscribe to a channel that needs no signature, and may get what it missed."""
    check_subscribe(session, name, presence=False)


def check_history(session: SessionContext, name: str) -> None:
    """The checks of a question about a channel's past."""
    _check_user(session, name)
    check_owner(session, name)
    if session.v2 is not None:
        check(session.v2.capabilities, Operation.HISTORY, name)


def owns_past(session: SessionContext, name: str) -> bool:
    """Whether the past of a channel may be shown, as far as it is one user's own.

    Every client may subscribe to such a channel, since that delivers nothing: its messages go to its user alone.
    """
    user_id = user_of(name)
    return user_id is None or (session.user is not None and session.user.user_id == user_id)


def check_owner(session: SessionContext, name: str) -> None:
    """Raises when the channel's past is that of another user."""
    if not owns_past(session, name):
        raise errors.USER_LIMITED(f"Authentication error: Channel '{name}' shows its past to its user alone")


def check_publish(session: SessionContext, name: str) -> None:
    """The checks of a client event."""
    v2 = session.v2
    if v2 is None:
        return
    _check_namespace(session, name, "allow_publish_for_client", "client publishes")
    check(v2.capabilities, Operation.PUBLISH, name)
    _check_user(session, name)


def _check_namespace(session: SessionContext, name: str, flag: str, what: str) -> None:
    if is_meta(name) or is_wildcard(name):
        return
    namespace = session.live.namespaces.get(namespace_of(name) or "")
    if namespace is not None and getattr(namespace, flag) is False:
        raise errors.NAMESPACE_DENIED(f"Authentication error: Namespace '{namespace.name}' does not allow {what}")


def _check_user(session: SessionContext, name: str) -> None:
    users = users_of(name)
    if users is not None and (session.user is None or session.user.user_id not in users):
        raise errors.USER_LIMITED(f"Authentication error: Channel '{name}' is limited to the users in its name")


def check_room(session: SessionContext, name: str, kind: ChannelKind, *, filtered: bool) -> None:
    """Whether one more subscription fits; one that replaces what the connection has needs room for its filter only.

    Raises errors.TOO_MANY_CHANNELS, errors.TOO_MANY_PATTERNS or errors.TOO_MANY_FILTERS, each of which names the
    setting and its value.
    """
    limits = session.node.settings.websocket
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
