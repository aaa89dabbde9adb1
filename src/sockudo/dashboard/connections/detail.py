"""One connection: who it is, how it is doing, what it listens to, and its end."""

from __future__ import annotations

import msgspec

from sockudo import errors
from sockudo.dashboard.connections.listing import ConnectionRow, connection_row
from sockudo.dashboard.paging import Page, Paging
from sockudo.hub.view import SubscriptionEntry, subscription_entry
from sockudo.sessions import Gateway, Session

__all__ = ["ConnectionView", "connection_view", "end_connection", "find_session", "subscriptions"]


class ConnectionView(ConnectionRow, frozen=True):
    """One connection. Times are in Unix milliseconds; ``last_seen_at_ms`` is when anything last came from it.

    ``user_info`` is that of the sign-in; None unless it is signed in. ``messages_received`` are messages of the client.
    """

    signed_in: bool
    user_info: msgspec.Raw | None
    last_seen_at_ms: int
    messages_received: int
    recoverable: bool
    echo: bool


def find_session(gateway: Gateway, socket_id: str, app_id: str | None) -> Session:
    """The open connection with this socket id; without ``app_id``, of whichever app.

    Raises errors.NOT_FOUND, and errors.INVALID_INPUT when connections of several apps have the id.
    """
    found = gateway.sessions_with(socket_id, app_id)
    if len(found) > 1:
        apps = ", ".join(connection.app_id for connection in found)
        raise errors.INVALID_INPUT(f"Connections of several apps have this socket id; add app_id, one of: {apps}")
    if not found:
        raise errors.NOT_FOUND(f"No open connection has the socket id '{socket_id[:100]}'")
    return found[0]


def connection_view(session: Session) -> ConnectionView:
    """Everything about a connection but its subscriptions."""
    row = connection_row(session)
    user = session.user
    return ConnectionView(
        **msgspec.structs.asdict(row),
        signed_in=user is not None,
        user_info=None if user is None else msgspec.Raw(user.user_info),
        last_seen_at_ms=int((session.node.clock.time() - row.quiet_seconds) * 1000),
        messages_received=session.messages_received,
        recoverable=session.recoverable,
        echo=session.echo,
    )


def subscriptions(session: Session, paging: Paging) -> Page[SubscriptionEntry]:
    """A page of what the connection is subscribed to, in the order in which it subscribed."""
    page = paging.cut_iterable(session.channels.values(), len(session.channels))
    return Page([subscription_entry(session, fanout) for fanout in page.entries], page.total, paging)


def end_connection(session: Session) -> None:
    """Closes it as the app's backend can (spec: http-api § 8.1): the SDK does not come back by itself."""
    session.end(errors.TERMINATED())
