"""Signatures as a backend makes them (spec: http-api § 2; websocket § 6.3 and 8.1), without the server's own code."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

__all__ = ["Credentials", "channel_auth", "signed_query", "user_auth"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a backend knows of its app."""

    id: str
    key: str
    secret: str


def _hex(secret: str, text: str) -> str:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def signed_query(
    app: Credentials,
    method: str,
    path: str,
    *,
    params: Mapping[str, str] | None = None,
    body: bytes = b"",
    timestamp: int | None = None,
) -> str:
    """The query string, signature included, for a request to the HTTP API.

    ``path`` is signed as it is given, so it has to be encoded the way it will be sent. POST bodies get ``body_md5``.
    """
    fields = {
        "auth_key": app.key,
        "auth_timestamp": str(int(time.time()) if timestamp is None else timestamp),
        "auth_version": "1.0",
        **(params or {}),
    }
    if method == "POST":
        fields["body_md5"] = hashlib.md5(body).hexdigest()
    plain = "&".join(f"{key.lower()}={value}" for key, value in sorted(fields.items()))
    signature = _hex(app.secret, f"{method}\n{path}\n{plain}")
    encoded = "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in sorted(fields.items()))
    return f"{encoded}&auth_signature={signature}"


def channel_auth(app: Credentials, socket_id: str, channel: str, channel_data: str | None = None) -> str:
    """The ``auth`` of a subscribe frame to a private or presence channel."""
    text = f"{socket_id}:{channel}" if channel_data is None else f"{socket_id}:{channel}:{channel_data}"
    return f"{app.key}:{_hex(app.secret, text)}"


def user_auth(app: Credentials, socket_id: str, user_data: str) -> str:
    """The ``auth`` of a signin frame."""
    return f"{app.key}:{_hex(app.secret, f'{socket_id}::user::{user_data}')}"
