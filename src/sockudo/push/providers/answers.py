"""What providers answer, in the words of push (spec: push § 8)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec

from sockudo.outbound.ports import Reply
from sockudo.push.delivery import Sent
from sockudo.push.records import FailureClass, OutcomeError
from sockudo.push.secrecy import redacted

__all__ = [
    "FailedError",
    "accepted",
    "failed",
    "is_unread",
    "json_of",
    "kind_of",
    "reason_of",
    "refused",
    "retry_after_ms",
]

_FAILURE_CLASSES: Final[Mapping[str, FailureClass]] = {
    "invalid_token": "device_terminal",
    "quota": "provider_quota",
    "unavailable": "provider_transient",
    "auth_failure": "credential_auth",
    "project_mismatch": "credential_auth",
    "apns_topic_mismatch": "credential_auth",
    "invalid_payload": "caller_payload",
    "network_transport": "network_transport",
    "provider_rejected": "unknown",
}
_KINDS: Final[Mapping[int, str]] = {
    401: "auth_failure",
    403: "auth_failure",
    404: "invalid_token",
    410: "invalid_token",
    413: "invalid_payload",
    429: "quota",
}
_RETRYABLE: Final = frozenset({"quota", "unavailable", "network_transport"})
_LONGEST_RETRY_AFTER: Final = 24 * 3600
_LONGEST_ID: Final = 512
_SHORTEST_END: Final = 8

_decode: Final = msgspec.json.Decoder().decode


class FailedError(Exception):
    """The send ended before the provider answered; ``sent`` describes how."""

    def __init__(self, sent: Sent) -> None:
        super().__init__(sent.error.kind if sent.error else sent.outcome)
        self.sent = sent


def accepted(message_id: object = None, *, token: str = "") -> Sent:
    """``message_id`` is the provider's; one that is no text, or holds the recipient's token, is left out."""
    if not isinstance(message_id, str) or not message_id.isprintable() or not 0 < len(message_id) <= _LONGEST_ID:
        return Sent("accepted")
    return Sent("accepted", None if _tells(message_id, token) else message_id)


def failed(kind: str, reason: str, *, retry: bool | None = None, retry_after_ms: int | None = None) -> Sent:
    """``kind`` is a class of spec: push § 8 and decides whether the send is tried again, unless ``retry`` does."""
    retryable = kind in _RETRYABLE if retry is None else retry
    error = OutcomeError(
        kind=kind,
        failure_class=_FAILURE_CLASSES[kind],
        reason=reason,
        retry_after_ms=retry_after_ms if retryable else None,
    )
    return Sent("retryable" if retryable else "rejected", None, error)


def refused(
    kind: str,
    reply: Reply,
    now: float,
    *,
    token: str = "",
    reason: str | None = None,
    retry: bool | None = None,
    about: str = "",
) -> Sent:
    """A refusal with the reason that the provider gave, never with the recipient's ``token``.

    ``about`` is what of the server's own settings was sent, and holds no secret.
    """
    if not reply.whole and not (kind in _RETRYABLE or retry):
        # Which row of the table it is stands in the part that is missing.
        return failed("network_transport", "connection_reset")
    text = reason or reason_of(reply)
    if _tells(text, token):
        text = f"provider status {reply.status}"
    text = f"{redacted(text)}, sent with {about}" if about else redacted(text)
    return failed(kind, text, retry=retry, retry_after_ms=retry_after_ms(reply, now))


def _tells(text: str, token: str) -> bool:
    """Whether the text has the token in it, or the end of an address, which is what makes it a secret."""
    if not token:
        return False
    end = token.rstrip("/").rpartition("/")[2] if "://" in token else ""
    return token in text or (len(end) >= _SHORTEST_END and end in text)


def json_of(reply: Reply) -> Mapping[str, Any]:
    """The body's object; an empty one when it has none."""
    return _object_of(reply.body) or {}


def _object_of(body: bytes) -> Mapping[str, Any] | None:
    try:
        found = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return found if isinstance(found, dict) else None


def is_unread(reply: Reply) -> bool:
    """Whether the body has content that cannot be parsed: it was cut, or is no object of JSON.

    A 2xx is a verdict by itself where the status is all that the provider has to say, and FCM's body only adds the id
    of the message: another attempt then notifies twice. Of providers whose verdict is in the body this asks whether
    it arrived. An empty body that is complete hides no verdict.
    """
    return (bool(reply.body) or not reply.whole) and _object_of(reply.body) is None


def kind_of(status: int) -> str:
    """The class of a refusal of which the status is all that is known."""
    return _KINDS.get(status) or ("unavailable" if 500 <= status < 600 else "provider_rejected")


def reason_of(reply: Reply) -> str:
    body = json_of(reply)
    error = body.get("error")
    for reason in (error.get("status") if isinstance(error, dict) else None, body.get("reason")):
        if isinstance(reason, str) and reason.strip():
            return reason.strip()
    return f"provider status {reply.status}"


def retry_after_ms(reply: Reply, now: float) -> int | None:
    """``Retry-After`` as a moment in Unix milliseconds, whether it has seconds or a date; a day away at most."""
    value = reply.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        seconds = float(min(int(value[:10]), _LONGEST_RETRY_AFTER))
    else:
        try:
            date = parsedate_to_datetime(value)
        except ValueError:
            return None
        # A date without a zone is in GMT: HTTP knows no other.
        seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
    return int((now + max(0.0, min(seconds, _LONGEST_RETRY_AFTER))) * 1000)
