"""What to do about an endpoint that does not take what it is sent, in words for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sockudo.errors import CATALOGUE, ErrorSpec
from sockudo.webhooks.records import CHALLENGE, LOCATION

__all__ = ["advice_on", "explanation", "what_went_wrong"]

_REDIRECT: Final = "Redirects are not followed: put the address that it leads to into the webhook's url."
_REDIRECT_TO: Final = "Redirects are not followed: put the address that it leads to into the webhook's url: {}"
_WANTS_CREDENTIALS: Final = (
    "The endpoint, or a proxy in front of it, asks for credentials: they go into the webhook's headers, for example "
    "Authorization."
)
_SIGNATURE: Final = (
    "The endpoint asks for no credentials, so it refuses the signature. It is over the raw body, with the secret of "
    "the app in X-Pusher-Key."
)
_CREDENTIALS: Final = (
    "The endpoint refuses the signature or asks for credentials. The signature is over the raw body, with the secret "
    "of the app in X-Pusher-Key; credentials go into the webhook's headers."
)
_BY_STATUS: Final = {
    400: "The endpoint does not understand the request. It is JSON with time_ms and events; its log says more.",
    401: _SIGNATURE,
    403: _CREDENTIALS,
    404: "Nothing is at this path: correct the webhook's url.",
    405: "The path takes no POST: correct the webhook's url.",
    408: "The endpoint waited for the request in vain; it is sent again.",
    410: "The endpoint is gone for good: correct or remove the webhook.",
    413: "The request is too large for the endpoint: lower webhooks.batching.size, or let it take more.",
    415: "The endpoint takes no JSON: let it accept Content-Type application/json.",
    419: "Laravel's protection against cross-site requests refuses it: leave the route out of that.",
    422: "The endpoint does not accept what the request holds; its log says more.",
    429: "The endpoint wants fewer requests: raise webhooks.batching.duration, or its own limit.",
    502: "A proxy answers in the endpoint's place: is the endpoint running behind it?",
    503: "The endpoint, or a proxy in its place, reports that it is unavailable: is it running?",
    504: "A proxy waited for the endpoint in vain: answer first and work afterwards.",
}


def explanation(word: str) -> ErrorSpec | None:
    """The row of the catalogue for a ``problem`` of an answer or a ``reason`` of a dead letter."""
    return CATALOGUE.get(f"webhook_{word}")


def advice_on(status: int | None, problem: str | None, snippet: str = "") -> str | None:
    """What to do about an answer with this status, or about the problem that kept one from coming; None if all is well.

    ``snippet`` is that of the `Answer`, which begins with the header that a redirect or a 401 is about. Never empty for
    an answer that is no success.
    """
    if status is None:
        row = explanation(problem or "")
        return row.remedy if row is not None else "Look at the log of the endpoint, and of the proxy in front of it."
    if 200 <= status < 300:
        return None
    name, _, value = snippet.partition(": ")
    if status == 401 and name == CHALLENGE:
        return _WANTS_CREDENTIALS
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if 300 <= status < 400:
        return _REDIRECT if name != LOCATION else _REDIRECT_TO.format(value.partition(" ")[0])
    if status >= 500:
        return "The endpoint failed: look at its log."
    return "The endpoint refuses the request; its log says more."


def what_went_wrong(delivery: Mapping[str, Any]) -> tuple[list[str], str | None]:
    """Why a delivery is not delivered, in sentences, and what to do; nothing for one that is.

    ``delivery`` is the result of `sockudo.webhooks.operations.one_delivery`.
    """
    if delivery["state"] == "delivered":
        return [], None
    attempts = delivery["attempts"]
    last = attempts[-1] if attempts else None
    problem = explanation(last["problem"] or "") if last is not None and last["status"] is None else None
    reason = explanation(delivery["reason"] or "")
    sentences = [row.meaning for row in (problem, reason) if row is not None]
    if last is not None and last["advice"]:
        return sentences, last["advice"]
    return sentences, None if reason is None else reason.remedy
