"""Which row of the error catalogue explains what became of a notification (spec: push § 8, 12), and what publishes were
refused with lately.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from sockudo import errors
from sockudo.errors import CATALOGUE, ErrorSpec, SockudoError

# Commands show advice, and load neither what the inspector observes nor what a publish is.
if TYPE_CHECKING:
    from sockudo.inspector import Inspector, Kind
    from sockudo.inspector.problems import Problems
    from sockudo.push.bodies import PublishRequest

__all__ = ["STATE_WORDS", "note_refused", "refused_lately", "row_of_class", "row_of_status", "state_sentence"]

STATE_WORDS: Final[Mapping[str, str]] = {
    "queued": "accepted, not planned yet",
    "planning": "finding out who gets it",
    "throttled": "held back",
    "dispatching": "being sent",
    "cancelled": "cancelled before it was sent",
    "expired": "expired before it was sent",
    "failed": "failed",
    "succeeded": "sent to everybody",
    "partiallySucceeded": "sent to some",
    "quota_exceeded": "over a quota, not sent",
    "dead_lettered": "given up after the retries",
}
"""Each state of a publish, for people: the end of "it is …"."""

_VERBS: Final = frozenset({"expired", "failed"})

_MOST_SHOWN: Final = 10

_REFUSALS: Final = frozenset(
    {
        "credential_missing",
        "credential_unreadable",
        "device_not_found",
        "provider_token_invalid",
        "push_backpressure",
        "push_disabled",
        "push_payload_too_large",
        "push_rate_limited",
        "scheduled_push_invalid",
    }
)
"""Rows of the catalogue that a publish which was never taken can have been refused with."""


_KINDS: Final[frozenset[Kind]] = frozenset({"request_refused", "push_refused"})


def state_sentence(state: str) -> str:
    """The state of a publish as the beginning of a sentence: "It failed", "It is being sent"."""
    return f"It {'' if state in _VERBS else 'is '}{STATE_WORDS[state]}"


_CLASSES: Final[Mapping[str, ErrorSpec]] = {
    "invalid_token": errors.PROVIDER_TOKEN_INVALID,
    "quota": errors.PROVIDER_THROTTLED,
    "unavailable": errors.PROVIDER_UNAVAILABLE,
    "network_transport": errors.PROVIDER_UNAVAILABLE,
    "auth_failure": errors.PROVIDER_AUTH_FAILED,
    "project_mismatch": errors.PROVIDER_PROJECT_MISMATCH,
    "apns_topic_mismatch": errors.PROVIDER_TOPIC_MISMATCH,
    "invalid_payload": errors.PUSH_PAYLOAD_TOO_LARGE,
    "provider_rejected": errors.PROVIDER_REJECTED,
}
_STATES: Final[Mapping[str, ErrorSpec]] = {
    "expired": errors.PUSH_EXPIRED,
    "dead_lettered": errors.PUSH_RETRIES_EXHAUSTED,
    "quota_exceeded": errors.PUSH_QUOTA_EXCEEDED,
}


def row_of_class(kind: str, provider: str | None = None) -> ErrorSpec | None:
    """The row for the class of an answer of ``provider``, in any spelling; None for a class that no table has."""
    if kind == "auth_failure" and provider is not None and provider.lower() == "webpush":
        return errors.PROVIDER_VAPID_REFUSED
    return _CLASSES.get(kind)


def row_of_status(state: str, code: str | None, reason: str | None) -> ErrorSpec | None:
    """The row for a status: named by its ``code``, else by the class that its ``reason`` ends with, else by its state.

    None where there is nothing to explain.
    """
    for word in (code, reason):
        if word is not None and word in CATALOGUE:
            return CATALOGUE[word]
    if state in _STATES:
        return _STATES[state]
    return None if reason is None else row_of_class(reason.rpartition(": ")[2])


# ---- publishes that never became one ----


def note_refused(inspector: Inspector, app_id: str, request: PublishRequest, problem: SockudoError) -> None:
    """Notifies the inspector of a publish without a waiting caller, such as a rule's; without its content."""
    from sockudo.inspector import Entry

    channel = next((target.channel for target in request.targets if target.channel is not None), None)
    inspector.note(
        Entry(
            inspector.now_ms(),
            "push_refused",
            app_id,
            channel=channel,
            error=problem.spec.slug,
            text=problem.text,
            status=problem.spec.status,
        )
    )


def refused_lately(problems: Problems, app_id: str) -> list[dict[str, Any]]:
    """Publishes of the app that were refused with a reason of push, of calls and of rules, the newest first; of this
    node, since its start.
    """
    found = [group for group in problems.groups(app_id) if group.kind in _KINDS and group.error in _REFUSALS]
    return [
        {
            "code": group.error,
            "count": group.count,
            "lastAtMs": group.last_at,
            "text": group.last[-1].text if group.last else "",
            "remedy": CATALOGUE[group.error].remedy if group.error else "",
        }
        for group in found[:_MOST_SHOWN]
    ]
