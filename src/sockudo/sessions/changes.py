"""Who may change a message (spec: messages § 8)."""

from __future__ import annotations

from typing import Final, NamedTuple

from msgspec import UNSET, UnsetType

from sockudo import errors
from sockudo.auth.capabilities import Operation
from sockudo.base.message_records import Change
from sockudo.hub import AppState
from sockudo.sessions.context import SessionContext

__all__ = ["Changer", "changer_of"]

_ANY: Final[dict[Change, Operation]] = {
    "update": Operation.MESSAGE_UPDATE_ANY,
    "delete": Operation.MESSAGE_DELETE_ANY,
    "append": Operation.MESSAGE_APPEND_ANY,
}
_OWN: Final[dict[Change, Operation]] = {
    "update": Operation.MESSAGE_UPDATE_OWN,
    "delete": Operation.MESSAGE_DELETE_OWN,
    "append": Operation.MESSAGE_APPEND_OWN,
}


class Changer(NamedTuple):
    """In whose name a message is changed; with an ``owner`` only a message that this client created."""

    client_id: str | None = None
    owner: str | UnsetType | None = UNSET
    actor: str | None = None


def changer_of(state: AppState, socket_id: str | None, channel: str, action: Change, client_id: str | None) -> Changer:
    """Who changes a message, as the connection of ``socket_id``, or as the app's backend without one.

    Raises errors.VERSION_SOCKET and errors.MUTATION_DENIED.
    """
    if socket_id is None:
        return Changer(client_id)
    connection = state.connection(socket_id)
    if not isinstance(connection, SessionContext):
        raise errors.VERSION_SOCKET(f"Socket {socket_id} is not connected to this node")
    v2 = connection.v2
    if v2 is None:
        raise errors.VERSION_SOCKET(f"Socket {socket_id} is not on protocol V2")
    actor = None if connection.user is None else connection.user.user_id
    if client_id is not None and client_id != actor:
        who = "is not signed in" if actor is None else "is signed in as another user"
        raise errors.VERSION_SOCKET(f"client_id does not fit: socket {socket_id} {who}")
    capabilities = v2.capabilities
    if v2.token is not None and not capabilities.allows(Operation.PUBLISH, channel):
        raise errors.MUTATION_DENIED()
    if capabilities.allows(_ANY[action], channel):
        return Changer(client_id or actor, UNSET, actor)
    if actor is None or not capabilities.allows(_OWN[action], channel):
        raise errors.MUTATION_DENIED()
    return Changer(actor, actor, actor)
