"""What the operator's log says of a refused signature: its likely cause, and no more lines than anybody reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sockudo.auth.diagnose import Mistake, likely_mistake

if TYPE_CHECKING:
    from sockudo.sessions.session import Session

__all__ = ["log_refused_channel", "log_refused_sign_in"]

# Refusals of one app that are warned of in a second. Looking for the cause of one takes up to a millisecond, and a
# client with a wrong signature tries again and again.
_WARNINGS_PER_SECOND = 10


def log_refused_channel(session: Session, channel: str, auth: str, channel_data: str | None) -> Mistake | None:
    """Warns of a refused subscribe, and returns its likely cause; past ten a second in one app nobody looks for it and
    the bare fact goes to debug.

    ``channel_data`` is the text that came, also where none is signed.
    """
    gateway, app = session.gateway, session.live
    log = gateway.log.bind(app_id=app.id, socket_id=session.socket_id, channel=channel)
    if not _may_warn(session):
        log.debug("channel authorization refused")
        return None
    mistake = likely_mistake(
        app,
        session.socket_id,
        channel,
        auth,
        channel_data,
        # A client that has just reconnected is the one most likely to use its former id: newest first.
        other_socket_ids=reversed(session.app.connections),
        ended_socket_ids=reversed(session.app.departed),
        other_apps=[other for other in gateway.apps.all() if other.id != app.id],
    )
    log.warning("channel authorization refused", likely_cause=mistake.cause)
    return mistake


def log_refused_sign_in(session: Session) -> None:
    """Warns of a refused sign-in, within the same bound."""
    log = session.gateway.log.bind(app_id=session.live.id, socket_id=session.socket_id)
    if _may_warn(session):
        log.warning("sign-in refused")
    else:
        log.debug("sign-in refused")


def _may_warn(session: Session) -> bool:
    gateway = session.gateway
    window = gateway.auth_warnings.window(session.live.id, gateway.clock.monotonic())
    window.count += 1
    return window.count <= _WARNINGS_PER_SECOND
