"""One connection: who it is, how it is doing, what it listens to, and its end, whichever node has it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import ClassVar, NamedTuple

import msgspec

from sockudo import errors
from sockudo.cluster.items import Request
from sockudo.cluster.nodes import Nodes, ask_all
from sockudo.dashboard.connections.listing import ConnectionRow, connection_row
from sockudo.dashboard.everywhere import Part, Rows
from sockudo.dashboard.paging import Page, Paging
from sockudo.hub.view import SubscriptionEntry, subscription_entry
from sockudo.sessions import Gateway, Session

__all__ = [
    "ConnectionView",
    "EndConnection",
    "FoundConnection",
    "ShowConnection",
    "end_connection",
    "end_own",
    "find_connection",
    "own_connection",
]


class ConnectionView(ConnectionRow, frozen=True, kw_only=True):
    """One connection. Times are in Unix milliseconds; ``last_seen_at_ms`` is when anything last came from it.

    ``user_info`` is that of the sign-in; None unless it is signed in. ``messages_received`` are messages of the client.
    """

    signed_in: bool
    user_info: msgspec.Raw | None
    last_seen_at_ms: int
    messages_received: int
    recoverable: bool
    echo: bool


class FoundConnection(NamedTuple):
    """A connection with a page of what it is subscribed to, in the order in which it subscribed."""

    connection: ConnectionView
    subscriptions: Page[SubscriptionEntry]


class _Shown(msgspec.Struct):
    """A connection between nodes, with its ``user_info`` as text."""

    connection: ConnectionView
    user_info: str | None
    subscriptions: Rows[SubscriptionEntry]


class ShowConnection(Part, frozen=True, tag="show_connection"):
    """Asks a node for the connections with a socket id, of one app or of all: each app has its own ids."""

    socket_id: str
    app_id: str | None


class EndConnection(Request, frozen=True, tag="end_connection"):
    """Ends a connection; the answer is how many there were."""

    reply: ClassVar = int

    socket_id: str
    app_id: str


async def find_connection(nodes: Nodes, socket_id: str, app_id: str | None, paging: Paging) -> FoundConnection:
    """The open connection with this socket id on any node; without ``app_id``, of whichever app.

    Raises errors.NOT_FOUND, errors.INVALID_INPUT when connections of several apps have the id, and
    errors.SERVICE_UNAVAILABLE when none is found and a node did not answer.
    """
    answered = await ask_all(nodes, ShowConnection(paging.start, paging.per_page, socket_id, app_id), list[_Shown])
    found = [(name, shown) for name, some in answered.values for shown in some]
    if len(found) > 1:
        apps = ", ".join(shown.connection.app_id for _, shown in found)
        raise errors.INVALID_INPUT(f"Connections of several apps have this socket id; add app_id, one of: {apps}")
    if not found and answered.complete is False:
        raise errors.SERVICE_UNAVAILABLE(
            f"No node that answered has a connection with the socket id '{socket_id[:100]}', and one did not answer",
            retry_after=1,
        )
    if not found:
        raise errors.NOT_FOUND(f"No open connection has the socket id '{socket_id[:100]}'")
    [(name, shown)] = found
    view = msgspec.structs.replace(
        shown.connection,
        node=name if nodes.several else None,
        user_info=None if shown.user_info is None else msgspec.Raw(shown.user_info.encode()),
    )
    return FoundConnection(view, Page(shown.subscriptions.rows, shown.subscriptions.total, paging))


async def end_connection(nodes: Nodes, socket_id: str, app_id: str | None) -> ConnectionView:
    """Closes it as the app's backend can (spec: http-api § 8.1): the SDK does not come back by itself.

    Raises as `find_connection` does, and errors.SERVICE_UNAVAILABLE when its node did not answer.
    """
    found = await find_connection(nodes, socket_id, app_id, Paging("", 1, 1))
    answers, complete = await nodes.ask(EndConnection(socket_id, found.connection.app_id))
    if not complete and not sum(count for _, count in answers):
        raise errors.SERVICE_UNAVAILABLE(
            f"The node {found.connection.node} did not answer in time; it may have closed the connection", retry_after=1
        )
    return found.connection


# ---- what a node answers ----


def own_connection(gateway: Gateway, asked: ShowConnection) -> bytes:
    """The connections of this node with the socket id."""
    found = gateway.sessions_with(asked.socket_id, asked.app_id)
    return msgspec.json.encode([_shown(session, asked) for session in found])


def end_own(gateway: Gateway, order: EndConnection) -> int:
    """Ends that of this node."""
    found = gateway.sessions_with(order.socket_id, order.app_id)
    for session in found:
        session.end(errors.TERMINATED())
    return len(found)


def _shown(session: Session, asked: Part) -> _Shown:
    row = connection_row(session)
    user = session.user
    view = ConnectionView(
        **msgspec.structs.asdict(row),
        signed_in=user is not None,
        user_info=None,
        last_seen_at_ms=int((session.node.clock.time() - row.quiet_seconds) * 1000),
        messages_received=session.messages_received,
        recoverable=session.recoverable,
        echo=session.echo,
    )
    return _Shown(view, None if user is None else user.user_info.decode(), _subscriptions(session, asked))


def _subscriptions(session: Session, asked: Part) -> Rows[SubscriptionEntry]:
    some: Sequence[SubscriptionEntry] = [
        subscription_entry(session, fanout)
        for fanout in islice(session.channels.values(), asked.start, asked.start + asked.count)
    ]
    return Rows(some, len(session.channels))
