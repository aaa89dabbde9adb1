"""Signing in as a user (spec: websocket § 8.1 and 8.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from sockudo import errors
from sockudo.auth.capabilities import Capabilities
from sockudo.auth.channels import check_user_auth
from sockudo.errors import SockudoError
from sockudo.hub.events import SignedIn
from sockudo.protocol import frames
from sockudo.protocol.inbound import InboundFrame, object_data
from sockudo.sessions.refused_auth import log_refused_sign_in

if TYPE_CHECKING:
    from sockudo.sessions.session import Session

__all__ = ["sign_in"]

_MAX_USER_ID = 128
_MAX_WATCHLIST = 100


def sign_in(session: Session, frame: InboundFrame) -> None:
    """Registers the connection for its user and acknowledges; a refusal leaves everything as it was."""
    live = session.live
    if not live.features.enable_user_authentication:
        raise _refused("User authentication is disabled for this app")
    if session.v2 is not None and session.v2.token is not None:
        raise _refused("signin is not allowed on capability-token authenticated connections")
    data = object_data(frame, "Invalid message format: Invalid signin data format")
    user_data = data.get("user_data")
    if not isinstance(user_data, str):
        raise _refused("Missing 'user_data' field in signin data")
    auth = data.get("auth")
    if not isinstance(auth, str):
        raise _refused("Missing 'auth' field in signin data")
    user = _read_user(user_data)
    if not check_user_auth(live, session.socket_id, auth, user_data):
        log_refused_sign_in(session)
        raise _refused("Connection not authorized for signin.")
    capabilities = Capabilities.from_user_data(user.get("capabilities")) if session.v2 is not None else None
    watchlist = _watchlist(user) if live.features.enable_watchlist_events else ()
    session.send(frames.signin_success(user_data))
    user_info = msgspec.json.encode(user.get("user_info", {}))
    if len(watchlist) > _MAX_WATCHLIST:
        session.refuse(
            errors.WATCHLIST_TOO_LONG(f"The watchlist has {len(watchlist)} users; {_MAX_WATCHLIST} are allowed")
        )
        watchlist = ()
    session.app.users.sign_in(session, user["id"], user_info, watchlist)
    if session.v2 is not None and capabilities is not None:
        session.v2.capabilities = capabilities
    session.authorized = True
    session.gateway.hub.observers.emit(SignedIn(session))
    session.gateway.log.debug("signed in", app_id=live.id, socket_id=session.socket_id, user_id=user["id"])


def _read_user(user_data: str) -> dict[str, Any]:
    try:
        user = msgspec.json.decode(user_data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise _refused("Invalid user_data JSON: it is not valid JSON") from None
    if not isinstance(user, dict):
        raise _refused("Invalid user_data JSON: it must be an object")
    user_id = user.get("id")
    if isinstance(user_id, int) and not isinstance(user_id, bool):
        user_id = user["id"] = str(user_id)
    if not isinstance(user_id, str) or not user_id:
        raise _refused("Missing 'id' field in user_data")
    if len(user_id.encode()) > _MAX_USER_ID:
        raise _refused(f"'id' in user_data must have at most {_MAX_USER_ID} bytes")
    return user


def _watchlist(user: dict[str, Any]) -> tuple[str, ...]:
    """The users to watch, each once; what is not a string is ignored, what is not an array is ignored whole."""
    watchlist = user.get("watchlist")
    if not isinstance(watchlist, list):
        return ()
    return tuple(dict.fromkeys(entry for entry in watchlist if isinstance(entry, str)))


def _refused(text: str) -> SockudoError:
    return errors.SIGNIN_REFUSED(f"Authentication error: {text}")
