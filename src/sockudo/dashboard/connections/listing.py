"""Which connections there are: searched, in order, a page at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

from sockudo.cluster.nodes import Nodes
from sockudo.dashboard.everywhere import Part, Row, encode_rows, page_of_all
from sockudo.dashboard.paging import Page, Paging, select
from sockudo.hub.view import shown_user
from sockudo.sessions import Gateway, Session

__all__ = [
    "BY",
    "SORTS",
    "ConnectionQuery",
    "ConnectionRow",
    "ListConnections",
    "connection_row",
    "find_connections",
    "own_connections",
]

By = Literal["any", "socket_id", "user_id", "channel", "address"]
Sort = Literal["newest", "oldest", "subscriptions", "buffered", "quiet"]

BY: Final[tuple[By, ...]] = ("any", "socket_id", "user_id", "channel", "address")
SORTS: Final[tuple[Sort, ...]] = ("newest", "oldest", "subscriptions", "buffered", "quiet")


class ConnectionQuery(NamedTuple):
    """What is looked for, in which of a connection's properties.

    A socket id or an address needs to hold the text, a user id too, in upper or lower case; a channel has to be that
    very one. ``app_id`` of None stands for all apps.
    """

    app_id: str | None = None
    text: str = ""
    by: By = "any"
    sort: Sort = "newest"


class ConnectionRow(Row, frozen=True, kw_only=True):
    """One connection of a list. ``connected_at_ms`` is in Unix milliseconds.

    ``user_id`` is the signed-in user, else that of a presence channel; ``format`` that of its frames.
    """

    app_id: str
    socket_id: str
    user_id: str | None
    address: str
    connected_at_ms: int
    quiet_seconds: float
    protocol: int
    format: str
    client: str
    client_version: str
    subscription_count: int
    buffered_bytes: int


class ListConnections(Part, frozen=True, tag="list_connections"):
    """Asks a node for its connections."""

    query: ConnectionQuery


async def find_connections(
    nodes: Nodes, query: ConnectionQuery, paging: Paging, node: str | None = None
) -> Page[ConnectionRow]:
    """A page of the connections of all nodes, or of the one that is named."""
    return await page_of_all(
        nodes,
        paging,
        lambda start, count: ListConnections(start, count, query),
        ConnectionRow,
        order=_ROW_ORDERS[query.sort],
        node=node,
    )


async def own_connections(gateway: Gateway, asked: ListConnections) -> bytes:
    """What this node answers."""
    found = await select(_candidates(gateway, asked.query), _key(asked.query), asked.start, asked.count)
    return encode_rows([connection_row(session) for session in found.items], found.total)


def connection_row(session: Session) -> ConnectionRow:
    """A connection in a list."""
    clock = session.node.clock
    return ConnectionRow(
        app_id=session.app.app_id,
        socket_id=session.socket_id,
        user_id=shown_user(session),
        address=session.peer.address,
        connected_at_ms=int((clock.time() - clock.monotonic() + session.opened_at) * 1000),
        quiet_seconds=round(max(0.0, clock.monotonic() - session.last_seen), 1),
        protocol=2 if session.shape.v2 else 1,
        format=session.shape.label if session.shape.v2 else "json",
        client=session.sdk.name,
        client_version=session.sdk.version,
        subscription_count=len(session.channels),
        buffered_bytes=session.peer.buffered(),
    )


def _candidates(gateway: Gateway, query: ConnectionQuery) -> list[Session]:
    if query.by != "channel" or not query.text:
        return list(gateway.sessions()) if query.app_id is None else gateway.sessions_of(query.app_id)
    apps = [query.app_id] if query.app_id is not None else [app.id for app in gateway.apps.all()]
    return [session for app_id in apps for session in gateway.sessions_in(app_id, query.text)]


def _key(query: ConnectionQuery) -> Callable[[Session], tuple[Any, ...] | None]:
    wanted, order = _filter(query), _ORDERS[query.sort]

    def key(session: Session) -> tuple[Any, ...] | None:
        if session.ended or not wanted(session):
            return None
        return (order(session), session.app.app_id, session.socket_id)

    return key


_ORDERS: Final[dict[Sort, Callable[[Session], float]]] = {
    "newest": lambda session: -session.opened_at,
    "oldest": lambda session: session.opened_at,
    "subscriptions": lambda session: -len(session.channels),
    "buffered": lambda session: -session.peer.buffered(),
    "quiet": lambda session: session.last_seen,
}


# The same order by what a row says, for rows of several nodes.
_ROW_ORDERS: Final[dict[Sort, Callable[[ConnectionRow], float]]] = {
    "newest": lambda row: -row.connected_at_ms,
    "oldest": lambda row: row.connected_at_ms,
    "subscriptions": lambda row: -row.subscription_count,
    "buffered": lambda row: -row.buffered_bytes,
    "quiet": lambda row: -row.quiet_seconds,
}


def _filter(query: ConnectionQuery) -> Callable[[Session], bool]:
    given, text = query.text, query.text.casefold()
    if not given:
        return lambda _: True

    def is_user(session: Session) -> bool:
        if session.user is not None and text in session.user.user_id.casefold():
            return True
        return any(text in user_id.casefold() for user_id in (session.members or {}).values())

    def is_any(session: Session) -> bool:
        return (
            text in session.socket_id or text in session.peer.address or given in session.channels or is_user(session)
        )

    filters: dict[By, Callable[[Session], bool]] = {
        "any": is_any,
        "socket_id": lambda session: text in session.socket_id,
        "user_id": is_user,
        "channel": lambda session: given in session.channels,
        "address": lambda session: text in session.peer.address,
    }
    return filters[query.by]
