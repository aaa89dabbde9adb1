"""Capability tokens as a backend makes them, with PyJWT (spec: websocket § 14.1)."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jwt

from support.signing import Credentials

__all__ = ["EVERYTHING", "TOKEN_APP", "token"]

TOKEN_APP = Credentials("tokens", "tokens-key", "a-secret-that-is-as-long-as-an-hmac-key-should-be")
"""The library warns of shorter secrets."""

EVERYTHING = {"*": ["subscribe", "publish", "history", "presence"]}

_numbers = itertools.count(1)


def token(
    client_id: str = "ana",
    capability: Mapping[str, Sequence[str]] | str = EVERYTHING,
    *,
    app: Credentials = TOKEN_APP,
    now: float | None = None,
    lasts: int = 3600,
    header: Mapping[str, Any] | None = None,
    algorithm: str = "HS256",
    without: str | None = None,
    **claims: Any,
) -> str:
    """A token that the server accepts, unless ``header``, ``claims`` or ``without``, the name of a claim, spoil it."""
    issued_at = int(time.time() if now is None else now)
    chosen: dict[str, Any] = {
        "x-sockudo-client-id": client_id,
        "x-sockudo-capability": capability,
        "iat": issued_at,
        "exp": issued_at + lasts,
        "jti": f"token-{next(_numbers)}",
        **claims,
    }
    chosen.pop(without or "", None)
    return jwt.encode(chosen, app.secret, algorithm=algorithm, headers={"kid": app.key, **(header or {})})
