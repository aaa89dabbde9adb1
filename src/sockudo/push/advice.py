"""Which row of the error catalogue explains what became of a notification (spec: push § 8, 12)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sockudo import errors
from sockudo.errors import CATALOGUE, ErrorSpec

__all__ = ["STATE_WORDS", "row_of_class", "row_of_status", "state_sentence"]

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
