"""A connection's capability token: taken over at connect, refreshed, ended (spec: websocket § 14)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sockudo import errors
from sockudo.auth.tokens import Token, read_token, signed_by
from sockudo.base.names import META_PREFIX, channel_kind, is_meta
from sockudo.errors import SockudoError
from sockudo.protocol import frames
from sockudo.protocol.inbound import InboundFrame, object_data
from sockudo.sessions.access import check_granted
from sockudo.sessions.subscribe import leave_channel

if TYPE_CHECKING:
    from sockudo.apps.live import LiveApp
    from sockudo.auth.ports import Revocation
    from sockudo.sessions.gateway import Gateway
    from sockudo.sessions.session import Session

__all__ = ["GRACE", "admit_token", "adopt_token", "check_token", "refresh_token", "revoke"]

GRACE = 30.0
"""Seconds for which everything still works after the client was told that its token has expired."""

_EXPIRED = errors.TOKEN_EXPIRED.event_code
_REVOKED = errors.TOKEN_REVOKED.event_code
_EXPLAINED_PER_SECOND = 10


def admit_token(gateway: Gateway, app: LiveApp, text: str) -> Token:
    """The token of a new connection. Raises errors.TOKEN_REFUSED, or errors.TOKEN_UNVERIFIED when nobody can tell."""
    now = gateway.clock.time()
    try:
        token = read_token(app, text, now)
    except SockudoError as error:
        _explain(gateway, app, text, error)
        raise
    gateway.revocations.check(app.id, token, now)
    return token


def _explain(gateway: Gateway, app: LiveApp, text: str, error: SockudoError) -> None:
    """Gives the refusal its likely cause if the token is another app's; at most ten times a second for one app."""
    window = gateway.auth_warnings.window(app.id, gateway.clock.monotonic())
    window.count += 1
    if window.count > _EXPLAINED_PER_SECOND:
        return
    other = signed_by(text, gateway.apps.all())
    if other is not None and other.id != app.id:
        error.likely_cause = f"signed with the secret of the app {other.id}"
        error.shared_cause = "not signed with the secret of the app that the client connects to"


def adopt_token(session: Session, token: Token) -> None:
    """From now on the connection is the token's client and has its capabilities."""
    v2 = session.v2
    if v2 is None:
        return
    v2.token, v2.capabilities, v2.expiry_told_at = token, token.capabilities, None
    session.authorized = True
    if session.user is None or session.user.user_id != token.client_id:
        session.app.users.sign_in(session, token.client_id, b"{}", ())


def refresh_token(session: Session, frame: InboundFrame) -> None:
    """Replaces the token in place; a refusal leaves the old one. What the new one does not grant any more ends."""
    v2 = session.v2
    if v2 is None:
        raise errors.NOT_ON_V1(f"Protocol error: {frame.event} requires protocol V2")
    data = object_data(frame, "Invalid message format: Invalid auth data")
    text = data.get("token")
    if not isinstance(text, str):
        raise errors.MISSING_FIELD("Invalid message format: Missing token in auth data")
    try:
        token = admit_token(session.gateway, session.live, text)
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


def check_token(session: Session, now: float) -> None:
    """Once a second: tells of an expiry, and ends a session that has not been refreshed since. ``now`` is monotonic."""
    v2 = session.v2
    if v2 is None or v2.token is None:
        return
    if v2.expiry_told_at is not None:
        if now - v2.expiry_told_at >= GRACE:
            session.end(errors.TOKEN_EXPIRED())
    elif session.gateway.clock.time() >= v2.token.expires_at:
        v2.expiry_told_at = now
        session.send(frames.token_event("token_expired", code=_EXPIRED, reason="expired"))


def revoke(gateway: Gateway, app_id: str, revocations: Sequence[Revocation]) -> int:
    """Ends every session of the app whose token is among those taken back; how many."""
    ended = 0
    for session in gateway.sessions_of(app_id):
        token = session.v2.token if session.v2 is not None else None
        if token is not None and any(revocation.covers(token) for revocation in revocations):
            session.send(frames.token_event("token_expired", code=_REVOKED, reason="revoked"))
            session.end(errors.TOKEN_REVOKED())
            ended += 1
    return ended
