"""Reports a failed recovery to operators: its probable cause, in a bounded number of log lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sockudo import errors
from sockudo.errors import CATALOGUE
from sockudo.history import Failed
from sockudo.hub.events import FrameRefused

if TYPE_CHECKING:
    from sockudo.sessions.session import Session

__all__ = ["note_failed_resume"]

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


def note_failed_resume(session: Session, channel: str, failed: Failed, serial: int | None) -> None:
    """Tells the inspector, and the log once a minute for each app and code. ``serial`` is where the client was."""
    gateway = session.gateway
    spec = CATALOGUE.get(failed.code, errors.CONTINUITY_UNVERIFIABLE)
    cause = _cause(failed, serial)
    refusal = spec(likely_cause=cause)
    gateway.hub.observers.emit(FrameRefused(session, "frame", refusal, channel[:300], "pusher:resume"))
    app_id = session.live.id
    window = gateway.resume_warnings.window(f"{app_id} {failed.code}", gateway.clock.monotonic())
    window.count += 1
    if window.count == 1:
        gateway.log.info(
            "recovery refused", app_id=app_id, channel=channel[:300], error=failed.code, likely_cause=cause
        )


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
