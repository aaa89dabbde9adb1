"""The signature of an HTTP API request (spec: http-api § 2)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import quote

from sockudo.client.auth import Credentials

__all__ = ["canonical", "signed_target"]


def canonical(method: str, path: str, parameters: Mapping[str, str]) -> str:
    """The text that is signed: method, path as it is sent, parameters sorted by lower-case name and not encoded."""
    pairs = sorted((name.lower(), value) for name, value in parameters.items())
    return f"{method.upper()}\n{path}\n" + "&".join(f"{name}={value}" for name, value in pairs)


def signed_target(
    credentials: Credentials,
    method: str,
    path: str,
    parameters: Mapping[str, str] | None = None,
    *,
    body: bytes | None = None,
    timestamp: int,
) -> str:
    """Path and query to send, signature included.

    ``path`` is percent-encoded already and signed as it stands; ``body`` is None for a request without one;
    ``timestamp`` is Unix time in seconds.
    """
    signed = dict(parameters or {})
    signed |= {"auth_key": credentials.key, "auth_timestamp": str(timestamp), "auth_version": "1.0"}
    if body is not None:
        signed["body_md5"] = hashlib.md5(body, usedforsecurity=False).hexdigest()
    text = canonical(method, path, signed)
    signed["auth_signature"] = hmac.new(credentials.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in signed.items())
    return f"{path}?{query}"
