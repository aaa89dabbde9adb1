"""Capability tokens: JSON Web Tokens that an app's backend makes for its clients (spec: websocket § 14.1).

Whether a token was revoked: see `sockudo.auth.revocations`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import ceil
from typing import Any, Final

import msgspec
from jwt import InvalidSignatureError, PyJWS, PyJWTError
from jwt.algorithms import HMACAlgorithm
from jwt.utils import base64url_decode

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.auth.capabilities import Capabilities, CapabilityError
from sockudo.base.ids import unique_id

__all__ = ["MAX_ID_BYTES", "MAX_LIFETIME", "SKEW", "Token", "make_token", "read_token", "signed_by", "unverified_token"]

MAX_LIFETIME: Final = 86_400
"""Seconds from a token's ``iat`` to its ``exp``."""
SKEW: Final = 30
"""Seconds by which the clocks of server and backend may differ."""
MAX_ID_BYTES: Final = 128
"""Of a client id and of a ``jti``, which have at least one byte."""

_MAX_BYTES: Final = 8192
_MAX_APPS: Final = 100
# Seconds until the year 5138. A larger number was meant in another unit.
_MAX_TIME: Final = 10**11
_ALGORITHM: Final = "HS256"
_CLIENT_ID: Final = "x-sockudo-client-id"
_CAPABILITY: Final = "x-sockudo-capability"


class _AppSecret(HMACAlgorithm):
    """HMAC-SHA256 with an app's secret, which may be any text: the library warns of short ones and refuses some."""

    def prepare_key(self, key: str | bytes) -> bytes:
        return key.encode() if isinstance(key, str) else key

    def check_key_length(self, key: bytes) -> None:
        """Any length will do."""


_jws: Final = PyJWS(algorithms=[])
_jws.register_algorithm(_ALGORITHM, _AppSecret(HMACAlgorithm.SHA256))


@dataclass(frozen=True, slots=True)
class Token:
    """The content of a token that has been checked. Times are Unix seconds."""

    client_id: str
    capabilities: Capabilities
    issued_at: int
    expires_at: int
    jti: str


def read_token(app: LiveApp, text: str, now: float) -> Token:
    """The token of ``text``, if the app's backend made it and it may be used at ``now`` (Unix seconds).

    Raises errors.TOKEN_REFUSED, and nothing else, for any text; its detail is about one mistake and contains
    nothing of the text but the name of an unknown operation. What the claims say is shown only for a token that is
    signed with the app's secret.
    """
    claims = _claims(_verified(app, text))
    client_id, jti = _id(claims, _CLIENT_ID), _id(claims, "jti")
    issued_at, expires_at = _times(claims, now)
    if claims.get("aud") is not None:
        raise _refused("capability token must not have an aud claim")
    try:
        capabilities = Capabilities.from_token(_capability(claims))
    except CapabilityError as error:
        raise _refused(str(error)) from None
    return Token(client_id, capabilities, issued_at, expires_at, jti)


def signed_by(text: str, apps: Iterable[LiveApp]) -> LiveApp | None:
    """The app whose secret a token is signed with, of the first 100; for operators, when another app has refused it."""
    if len(text) > _MAX_BYTES or not text.isascii():
        return None
    message, _, signature = text.rpartition(".")
    try:
        given = base64url_decode(signature).hex()
    except ValueError:
        return None
    return next((app for app in islice(apps, _MAX_APPS) if app.signer.matches(message.encode(), given)), None)


def make_token(
    key: str,
    secret: str,
    client_id: str,
    capability: Mapping[str, Sequence[str]],
    ttl: int,
    now: float,
    jti: str | None = None,
) -> str:
    """A token signed with the app's secret, valid from ``now`` (Unix seconds) for ``ttl`` seconds.

    ``capability`` maps channel patterns to operations; without a ``jti`` the token gets a random one. Nothing is
    checked: `read_token` knows whether a server would take it.
    """
    claims = {
        _CLIENT_ID: client_id,
        _CAPABILITY: capability,
        "iat": int(now),
        "exp": int(now) + ttl,
        "jti": unique_id() if jti is None else jti,
    }
    return _jws.encode(msgspec.json.encode(claims), secret, algorithm=_ALGORITHM, headers={"kid": key})


def unverified_token(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token that was not verified: to be shown, never to be acted on.

    Raises errors.TOKEN_REFUSED when there is nothing to show.
    """
    header = _header(text)
    try:
        payload = _jws.decode(text, options={"verify_signature": False})
    except PyJWTError:
        raise _refused("capability token has an invalid header") from None
    return header, _claims(payload)


def _verified(app: LiveApp, text: str) -> bytes:
    """The payload of a token that is signed with the app's secret."""
    header = _header(text)
    if header.get("alg") != _ALGORITHM:
        raise _refused("capability token must use HS256")
    if header.get("kid") != app.key:
        raise _refused("capability token kid does not match app key")
    previous = app.record.previous_secret
    for secret in (app.record.secret, *(() if previous is None else (previous.secret,))):
        try:
            payload: bytes = _jws.decode(text, secret, algorithms=[_ALGORITHM])
        except InvalidSignatureError:
            continue
        except PyJWTError:
            raise _refused("capability token has an invalid header") from None
        return payload
    raise _refused("capability token signature is invalid")


def _header(text: str) -> dict[str, Any]:
    if len(text) > _MAX_BYTES:
        raise _refused("capability token exceeds 8 KiB")
    # The library encodes before it looks, and some texts cannot be encoded.
    if text.isascii():
        try:
            return _jws.get_unverified_header(text)
        except (PyJWTError, RecursionError):
            pass
    raise _refused("capability token has an invalid header")


def _claims(payload: bytes) -> dict[str, Any]:
    claims = _decoded(payload)
    if not isinstance(claims, dict):
        raise _refused("capability token claims must be a JSON object")
    return claims


def _id(claims: dict[str, Any], name: str) -> str:
    value = _claim(claims, name)
    if not isinstance(value, str):
        raise _refused(f"{name} must be a string")
    if not 1 <= len(value.encode()) <= MAX_ID_BYTES:
        raise _refused(f"{name} must be 1 to {MAX_ID_BYTES} bytes")
    return value


def _times(claims: dict[str, Any], now: float) -> tuple[int, int]:
    """``iat`` and ``exp``."""
    issued_at, expires_at = (_whole(name, _claim(claims, name)) for name in ("iat", "exp"))
    if expires_at - issued_at > MAX_LIFETIME:
        raise _refused("capability token lifetime exceeds 24 hours")
    if issued_at > now + SKEW:
        raise _refused(f"capability token iat is too far in the future: {_ahead(issued_at, now)}")
    if expires_at <= now - SKEW:
        raise _refused(f"capability token expired {int(now - expires_at)} seconds ago")
    not_before = 0 if claims.get("nbf") is None else _whole("nbf", claims["nbf"])
    if not_before > now + SKEW:
        raise _refused(f"capability token is not valid yet: nbf is {_ahead(not_before, now)}")
    return issued_at, expires_at


def _capability(claims: dict[str, Any]) -> object:
    value = _claim(claims, _CAPABILITY)
    if not isinstance(value, str):
        return value
    held = _decoded(value.encode())
    if not isinstance(held, dict):
        raise _refused(f"{_CAPABILITY} must be a JSON object string")
    return held


def _claim(claims: dict[str, Any], name: str) -> object:
    value = claims.get(name)
    if value is None:
        raise _refused(f"capability token lacks {name}")
    return value


def _whole(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _refused(f"{name} must be a whole number of seconds")
    if value > _MAX_TIME:
        raise _refused(f"{name} must be in seconds; it looks like milliseconds")
    return value


def _ahead(time: int, now: float) -> str:
    return f"{ceil(time - now)} seconds ahead of the server's clock"


def _decoded(text: bytes) -> object:
    """The JSON value of a text; None where it is none."""
    try:
        value: object = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return value


def _refused(detail: str) -> errors.SockudoError:
    return errors.TOKEN_REFUSED(f"Authentication error: {detail}")
