"""Who a connection is: signing in as a user, and its capability token: taken over at connect, refreshed, ended
(spec: websocket § 8.1, 8.2 and 14)."""

from __future__ import annotations

from typing import Any

import msgspec

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.auth.capabilities import Capabilities
from sockudo.auth.channels import check_user_auth
from sockudo.auth.tokens import Token, read_token, signed_by
from sockudo.errors import SockudoError
from sockudo.hub.events import SignedIn
from sockudo.protocol import frames
from sockudo.protocol.inbound import InboundFrame, object_data
from sockudo.protocol.names import META_PREFIX, channel_kind, is_meta
from sockudo.sessions.access import check_granted
from sockudo.sessions.context import NodeContext, SessionContext
from sockudo.sessions.diagnostics import log_refused_sign_in
from sockudo.sessions.subscribe import leave_channel

__all__ = ["GRACE", "admit_token", "adopt_token", "check_token", "refresh_token", "sign_in"]

_MAX_USER_ID = 128
_MAX_WATCHLIST = 100
_EXPIRED = errors.TOKEN_EXPIRED.event_code
_EXPLAINED_PER_SECOND = 10


def sign_in(session: SessionContext, frame: InboundFrame) -> None:
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
    session.app.sign_in(session, user["id"], user_info, watchlist)
    if session.v2 is not None and capabilities is not None:
        session.v2.capabilities = capabilities
    session.authorized = True
    session.node.hub.observers.emit(SignedIn(session))
    session.node.log.debug("signed in", app_id=live.id, socket_id=session.socket_id, user_id=user["id"])


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


GRACE = 30.0
"""Seconds for which everything still works after the client got notice of its expired token."""


def admit_token(node: NodeContext, app: LiveApp, text: str) -> Token:
    """The token of a new connection.

    Raises errors.TOKEN_REFUSED, or errors.TOKEN_UNVERIFIED while the revocations are not known.
    """
    now = node.clock.time()
    try:
        token = read_token(app, text, now)
    except SockudoError as error:
        _explain(node, app, text, error)
        raise
    node.revocations.check(app.id, token, now)
    return token


def _explain(node: NodeContext, app: LiveApp, text: str, error: SockudoError) -> None:
    """Gives the refusal its likely cause if the token is another app's; at most ten times a second for one app."""
    window = node.auth_warnings.window(app.id, node.clock.monotonic())
    window.count += 1
    if window.count > _EXPLAINED_PER_SECOND:
        return
    other = signed_by(text, node.apps.all())
    if other is not None and other.id != app.id:
        error.likely_cause = f"signed with the secret of the app {other.id}"
        error.shared_cause = "not signed with the secret of the app that the client connects to"


def adopt_token(session: SessionContext, token: Token) -> None:
    """From now on the connection is the token's client and has its capabilities."""
    v2 = session.v2
    if v2 is None:
        return
    v2.token, v2.capabilities, v2.expiry_told_at = token, token.capabilities, None
    session.authorized = True
    if session.user is None or session.user.user_id != token.client_id:
        session.app.sign_in(session, token.client_id, b"{}", ())


def refresh_token(session: SessionContext, frame: InboundFrame) -> None:
    """Replaces the token in place; a refusal leaves the old one. What the new one does not grant any more ends."""
    session.need_v2(frame)
    data = object_data(frame, "Invalid message format: Invalid auth data")
    text = data.get("token")
    if not isinstance(text, str):
        raise errors.MISSING_FIELD("Invalid message format: Missing token in auth data")
    try:
        token = admit_token(session.node, session.live, text)
    except SockudoError as error:
        if error.spec is errors.TOKEN_REFUSED:
            raise errors.TOKEN_REFRESH_REFUSED(
                error.text, likely_cause=error.likely_cause, shared_cause=error.shared_cause
            ) from None
        raise
    if session.user is not None and session.user.user_id != token.client_id:
        raise errors.TOKEN_REFRESH_REFUSED("Authentication error: capability token refresh cannot change client_id")
    adopt_token(session, token)
    session.send(frames.token_event("auth_success", client_id=token.client_id, jti=token.jti, exp=token.expires_at))
    for name in tuple(session.channels):
        subject = name.removeprefix(META_PREFIX) if is_meta(name) else name
        try:
            check_granted(token.capabilities, subject, presence=channel_kind(subject).presence)
        except SockudoError as error:
            leave_channel(session, name)
            session.refuse(error, name, about=name)


def check_token(session: SessionContext, now: float) -> None:
    """Once a second: notifies of an expiry, and ends a session that was not refreshed since. ``now`` is monotonic."""
    v2 = session.v2
    if v2 is None or v2.token is None:
        return
    if v2.expiry_told_at is not None:
        if now - v2.expiry_told_at >= GRACE:
            session.end(errors.TOKEN_EXPIRED())
    elif session.node.clock.time() >= v2.token.expires_at:
        v2.expiry_told_at = now
        session.send(frames.token_event("token_expired", code=_EXPIRED, reason="expired"))
