"""One thing that happened, as operators are shown it."""

from __future__ import annotations

from typing import Final, Literal, get_args

import msgspec

__all__ = ["KINDS", "PROBLEMS", "By", "Entry", "Kind"]

Kind = Literal[
    "connected",
    "connect_refused",
    "closed",
    "signed_in",
    "signin_refused",
    "subscribed",
    "subscribe_refused",
    "unsubscribed",
    "message",
    "doubtful",
    "frame_refused",
    "request_refused",
    "push_refused",
    "webhook_delivered",
    "webhook_failed",
    "webhook_dead",
]
By = Literal["client", "server", "backend", "network"]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
PROBLEMS: Final[frozenset[Kind]] = frozenset(
    {
        "connect_refused",
        "closed",
        "signin_refused",
        "subscribe_refused",
        "doubtful",
        "frame_refused",
        "request_refused",
        "push_refused",
        "webhook_failed",
        "webhook_dead",
    }
)
"""Kinds that are kept as problems; a close only when it has an error."""


class Entry(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What happened, to whom, and where it went wrong why. A field that does not apply is None and left out of JSON.

    ``at`` is in milliseconds since the epoch. ``error`` is a slug of the error catalogue, ``text`` what the other side
    got, ``cause`` what probably led to it, for operators alone. ``code`` is the WebSocket code of a close or an
    error frame. ``bytes`` is the size of a message's data and ``data`` its beginning. ``recipients`` are the
    connections of this node that a message went to, before their filters. No field ever holds a secret or a
    signature; names and data come from outside and may hold anything. ``cause`` may name other apps of the server:
    where it does, ``shared_cause`` is what the app's own people are shown in its place, see `for_app`.
    """

    at: int
    kind: Kind
    app_id: str | None = None
    channel: str | None = None
    socket_id: str | None = None
    user_id: str | None = None
    address: str | None = None
    event: str | None = None
    error: str | None = None
    code: int | None = None
    text: str | None = None
    cause: str | None = None
    by: By | None = None
    # Of messages: who published it, and to how many.
    source: Literal["api", "client"] | None = None
    recipients: int | None = None
    bytes: int | None = None
    data: str | None = None
    serial: int | None = None
    # Of connections: the wire format, the SDK and the Origin header.
    client: str | None = None
    origin: str | None = None
    # Of HTTP requests: method and path without the query, which holds the signature.
    request: str | None = None
    # Of webhooks and HTTP requests: what was answered.
    status: int | None = None
    endpoint: str | None = None
    delivery: str | None = None
    attempt: int | None = None
    took_ms: int | None = None
    # Of a connection that was lost: for how many seconds nothing had come from the client.
    silent: int | None = None
    shared_cause: str | None = None
    # Of joined nodes: the name of the one where it happened.
    node: str | None = None

    def for_app(self) -> Entry:
        """The entry as a holder of the app's secret may see it, who need not be an operator of the server."""
        if self.shared_cause is None:
            return self
        return msgspec.structs.replace(self, cause=self.shared_cause, shared_cause=None)
