"""Replies as bytes, for what is answered without the web framework."""

from __future__ import annotations

import http
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from sockudo.errors import ErrorSpec, SockudoError
from sockudo.publishing import OK

__all__ = ["PLAIN_OK", "Refusal", "Reply", "error_reply", "render"]

_JSON = (b"content-type", b"application/json")

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus}


class Refusal(NamedTuple):
    """The error behind a reply, for operators: an error without the traceback that would keep its frames alive."""

    spec: ErrorSpec
    text: str
    likely_cause: str | None
    shared_cause: str | None = None

    @classmethod
    def of(cls, error: SockudoError) -> Refusal:
        return cls(error.spec, error.text, error.likely_cause, error.shared_cause)


class Reply(NamedTuple):
    """An HTTP reply before it is bytes; ``headers`` come on top of the content type and length."""

    status: int
    body: bytes
    headers: Sequence[tuple[bytes, bytes]] = ()
    refusal: Refusal | None = None


PLAIN_OK: Final = Reply(200, OK)
"""The reply to a publish that asked for nothing: always this very object."""


def error_reply(error: SockudoError, headers: Sequence[tuple[bytes, bytes]] = ()) -> Reply:
    """The error envelope (spec: http-api § 3.1), with Retry-After where trying again can help."""
    extra = list(headers)
    if error.retry_after is not None and not any(name == b"retry-after" for name, _ in extra):
        extra.append((b"retry-after", str(error.retry_after).encode()))
    return Reply(error.spec.status or 500, msgspec.json.encode(error.body()), extra, Refusal.of(error))


def render(reply: Reply, common_head: bytes, *, close: bool = False) -> bytes:
    """The reply as HTTP/1.1. ``common_head`` are header lines of every reply."""
    parts = [_STATUS_LINES[reply.status], common_head]
    for name, value in (_JSON, *reply.headers):
        parts.append(b"%b: %b\r\n" % (name, value))
    if close:
        parts.append(b"connection: close\r\n")
    parts.append(b"content-length: %d\r\n\r\n" % len(reply.body))
    parts.append(reply.body)
    return b"".join(parts)
