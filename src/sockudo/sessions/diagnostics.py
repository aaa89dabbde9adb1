"""What operators learn of refusals: their probable cause, in a bounded number of log lines."""

from __future__ import annotations

from typing import Final

import structlog

from sockudo import errors
from sockudo.auth.diagnose import Mistake, likely_mistake
from sockudo.base.clock import Clock
from sockudo.base.windows import KeyedWindows
from sockudo.errors import CATALOGUE
from sockudo.history import Failed
from sockudo.hub.events import FrameRefused, PredicateFailed
from sockudo.sessions.context import SessionContext

__all__ = ["FilterWarnings", "log_refused_channel", "log_refused_sign_in", "note_failed_resume"]

# Refusals of one app that are warned of in a second. Looking for the cause of one takes up to a millisecond, and a
# client with a wrong signature tries again and again.
_WARNINGS_PER_SECOND = 10
# Expressions that were warned of, and warnings of one app in a second.
_REMEMBERED: Final = 1000
_PER_SECOND: Final = 5


def log_refused_channel(session: SessionContext, channel: str, auth: str, channel_data: str | None) -> Mistake | None:
    """Warns of a refused subscribe, and returns its likely cause; past ten a second in one app it is not looked for and
    the bare fact goes to debug.

    ``channel_data`` is the text that came, also where none is signed.
    """
    node, app = session.node, session.live
    log = node.log.bind(app_id=app.id, socket_id=session.socket_id, channel=channel)
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
        other_socket_ids=reversed(session.app.socket_ids()),
        ended_socket_ids=reversed(session.app.departed),
        other_apps=[other for other in node.apps.all() if other.id != app.id],
    )
    log.warning("channel authorization refused", likely_cause=mistake.cause)
    return mistake


def log_refused_sign_in(session: SessionContext) -> None:
    """Warns of a refused sign-in, within the same bound."""
    log = session.node.log.bind(app_id=session.live.id, socket_id=session.socket_id)
    if _may_warn(session):
        log.warning("sign-in refused")
    else:
        log.debug("sign-in refused")


def _may_warn(session: SessionContext) -> bool:
    node = session.node
    window = node.auth_warnings.window(session.live.id, node.clock.monotonic())
    window.count += 1
    return window.count <= _WARNINGS_PER_SECOND


_ELSEWHERE: Final = "the store was wiped or restored, or the position is from another server or environment"

_CAUSES: Final = {
    "channel_not_authorized": "the client resumed a channel that it may not read, or did not subscribe to in time",
    "durable_history_empty_after_prior_writes": "retention or a purge removed everything that the stream held",
    "history_stream_degraded": "the stream is degraded: the log names what failed",
    "hot_replay_expired_and_durable_history_disabled": "what was missed has left the replay buffer, and the channel "
    "has no history: raise connection_recovery.buffer_ttl_seconds, or switch the history on",
    "legacy_serial_only_position_cannot_use_cold_recovery": "the client sent a serial without its stream_id, and what "
    "it missed has left the replay buffer",
    "position_ahead_of_durable_stream": f"the position is ahead of the stream: {_ELSEWHERE}",
    "recovery_window_exceeded": "more was missed than connection_recovery.max_buffer_size",
    "retained_history_floor_is_ahead_of_requested_serial": "retention or a purge removed part of what was missed",
    "retention_boundary_crossed_during_reconnect": "retention removed part of what was missed while it was read",
}


def note_failed_resume(session: SessionContext, channel: str, failed: Failed, serial: int | None) -> None:
    """Notifies the inspector, and the log once a minute for each app and code. ``serial`` is where the client was."""
    node = session.node
    spec = CATALOGUE.get(failed.code, errors.CONTINUITY_UNVERIFIABLE)
    cause = _cause(failed, serial)
    refusal = spec(likely_cause=cause)
    node.hub.observers.emit(FrameRefused(session, "frame", refusal, channel[:300], "pusher:resume"))
    app_id = session.live.id
    window = node.resume_warnings.window(f"{app_id} {failed.code}", node.clock.monotonic())
    window.count += 1
    if window.count == 1:
        node.log.info("recovery refused", app_id=app_id, channel=channel[:300], error=failed.code, likely_cause=cause)


def _cause(failed: Failed, serial: int | None) -> str:
    if failed.code == "stream_reset":
        expected, current = failed.expected_stream_id, failed.current_stream_id
        return f"the history was reset, {_ELSEWHERE}: the position is of the stream {expected}, here is {current}"
    cause = _CAUSES.get(failed.reason, failed.reason.replace("_", " "))
    known = (
        ("after serial", serial),
        ("oldest kept", failed.oldest_available_serial),
        ("newest", failed.newest_available_serial),
    )
    details = ", ".join(f"{name} {value}" for name, value in known if value is not None)
    return f"{cause}: {details}" if details and ":" not in cause else cause


_log = structlog.get_logger("sockudo.filters")


class FilterWarnings:
    """Observes `PredicateFailed`. Neither the expression nor the message is in the log."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._windows = KeyedWindows(1)
        self._warned: dict[tuple[str, str], None] = {}

    def note(self, failed: PredicateFailed) -> None:
        """Warns, unless that was done for this expression or the app has had its share of this second."""
        app_id, reason, predicate_id = failed
        warned, key = self._warned, (app_id, predicate_id)
        if key in warned:
            return
        window = self._windows.window(app_id, self._clock.monotonic())
        window.count += 1
        if window.count > _PER_SECOND:
            return
        warned[key] = None
        if len(warned) > _REMEMBERED:
            del warned[next(iter(warned))]
        _log.warning("a filter fails, which is no match", app_id=app_id, filter=predicate_id, reason=reason)
