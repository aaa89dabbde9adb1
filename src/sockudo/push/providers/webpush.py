"""Browsers, through the service that each has registered with (spec: push § 8), to which notifications are encrypted
(RFC 8291).
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import http_ece
from cryptography.hazmat.primitives.asymmetric import ec

from sockudo.config.sections.push_providers import PushWebpush
from sockudo.errors import SockudoError
from sockudo.outbound.ports import Reply
from sockudo.push.delivery import Material, Materials, Sent
from sockudo.push.endpoints import EndpointRules
from sockudo.push.providers.accounts import AccountError, Own, given
from sockudo.push.providers.answers import accepted, failed, json_of, kind_of, refused
from sockudo.push.providers.base import HttpProvider, Outgoing, Shapes, Surroundings, encode, webpush_topic
from sockudo.push.providers.keys import Signer, vapid_signer
from sockudo.push.recipients import WebRecipient

__all__ = ["MOST_BYTES", "KeysError", "WebPushProvider", "encrypted", "webpush_meaning"]

MOST_BYTES: Final = 4079
"""What fits into the one record that there may be: 4096 without its end mark and its tag."""

_RECORD_SIZE: Final = 4096
_CURVE: Final = ec.SECP256R1()

_LASTS: Final = 12 * 3600
_EARLY: Final = 3600.0
_TTL_UNLESS_SAID: Final = 43_200
_MOST_ORIGINS: Final = 1024
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_MISSING: Final = "set VAPID_PRIVATE_KEY, or store a credential: POST /apps/{appId}/push/credentials/webpush"


# ---- encryption: no push service can read what is sent ----


class KeysError(ValueError):
    """The keys of a subscription are none."""


def encrypted(plaintext: bytes, p256dh: str, auth: str) -> bytes:
    """The body for a subscription with these keys, which are base64url with or without padding.

    Raises KeysError, and ValueError for a plaintext of more than `MOST_BYTES`.
    """
    if len(plaintext) > MOST_BYTES:
        raise ValueError("the notification does not fit into a record")
    secret, point = _decoded(auth), _decoded(p256dh)
    if len(secret) != 16:
        raise KeysError
    try:
        theirs = ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, point)
    except ValueError:
        raise KeysError from None
    # A new pair of keys and a new salt for every notification: nothing may be encrypted twice with the same.
    body: bytes = http_ece.encrypt(
        plaintext,
        salt=os.urandom(16),
        private_key=ec.generate_private_key(_CURVE),
        dh=theirs,
        auth_secret=secret,
        rs=_RECORD_SIZE,
        version="aes128gcm",
    )
    return body


def _decoded(text: str) -> bytes:
    bare = text.strip().rstrip("=").replace("+", "-").replace("/", "_")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise KeysError from None


# ---- requests ----


class VapidAccount:
    """Who this server is to the services: a header for each of them, signed anew before the old one ends (RFC 8292)."""

    def __init__(self, signer: Signer, contact: str, around: Surroundings) -> None:
        self._signer = signer
        self._contact = contact
        self._around = around
        self._public = signer.public_point()
        self._headers: dict[str, tuple[float, str]] = {}

    def authorization(self, audience: str) -> str:
        known = self._headers.get(audience)
        now = self._around.monotonic()
        if known is not None and now < known[0]:
            return known[1]
        claims = {"aud": audience, "exp": int(self._around.time()) + _LASTS, "sub": self._contact}
        header = f"vapid t={self._signer.token(claims)}, k={self._public}"
        if len(self._headers) >= _MOST_ORIGINS:
            del self._headers[next(iter(self._headers))]
        self._headers[audience] = now + _LASTS - _EARLY, header
        return header

    async def close(self) -> None:
        return None


class Shape(NamedTuple):
    plaintext: bytes
    ttl: int
    headers: tuple[tuple[str, str], ...]
    audience: str | None


class WebPushProvider(HttpProvider[PushWebpush, VapidAccount]):
    """A `PushProvider` for Web Push."""

    provider = "webPush"

    def __init__(self, settings: PushWebpush, rules: EndpointRules, materials: Materials, around: Surroundings) -> None:
        super().__init__(settings, materials, around)
        self._rules = rules
        self._shapes = Shapes(_shape)

    async def _send(self, account: VapidAccount, outgoing: Outgoing) -> Sent:
        if not isinstance(outgoing.recipient, WebRecipient):
            return failed("invalid_token", "the recipient is no browser's subscription")
        shape = self._shapes.of(outgoing.payload)
        try:
            self._rules.check(outgoing.recipient.endpoint)
            audience = shape.audience or origin_of(outgoing.recipient.endpoint)
            body = encrypted(shape.plaintext, outgoing.recipient.p256dh, outgoing.recipient.auth)
        except SockudoError:
            return failed("invalid_token", "its address may not be called")
        except KeysError:
            return failed("invalid_token", "p256dh or auth is no key of a subscription")
        except ValueError:
            return failed("invalid_payload", "the notification is too long to be encrypted")
        headers = [
            ("content-encoding", "aes128gcm"),
            ("content-type", "application/octet-stream"),
            ("ttl", str(self._ttl(shape.ttl, outgoing.expires_at_ms))),
            *shape.headers,
            ("authorization", account.authorization(audience)),
        ]
        reply = await self._around.http.post(outgoing.recipient.endpoint, headers, body, deadline=outgoing.deadline)
        return webpush_meaning(reply, outgoing.recipient.endpoint, self._around.time())

    def _ttl(self, seconds: int, expires_at_ms: int | None) -> int:
        """No longer than the notification is worth something."""
        if expires_at_ms is None:
            return seconds
        return max(0, min(seconds, int(expires_at_ms / 1000 - self._around.time())))

    def _account(self, material: Material, theirs: bool) -> VapidAccount:
        signer = vapid_signer(material.fields.get("privateKey", ""), "privateKey")
        return VapidAccount(signer, self._settings.vapid_contact, self._around)

    def _own(self) -> Own:
        key = given(self._settings.vapid_private_key)
        if key is None:
            raise AccountError(_MISSING)
        return Own("VAPID_PRIVATE_KEY", Material("process", 0, {"privateKey": key}))


def webpush_meaning(reply: Reply, endpoint: str, now: float) -> Sent:
    """The table of spec: push § 8; the first row that matches."""
    status = reply.status
    if 200 <= status <= 202:
        return accepted(reply.headers.get("location"), token=endpoint)
    kind = kind_of(status)
    reason = None
    if kind == "auth_failure" and not json_of(reply).get("reason"):
        # Services explain it in sentences of their own; RFC 8292 has 403 for another key than the subscription's.
        reason = "vapid_key_mismatch" if status == 403 else "vapid_refused"
    return refused(kind, reply, now, token=endpoint, reason=reason)


def origin_of(url: str) -> str:
    """Scheme, host and port, which is left out where it is the scheme's own."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    shown = f"[{host}]" if ":" in host else host
    port = "" if parts.port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{shown}{port}"


def _shape(payload: Mapping[str, Any]) -> Shape:
    given = payload.get("headers")
    headers = given if isinstance(given, dict) else {}
    chosen = []
    urgency, topic = headers.get("urgency"), headers.get("topic")
    if isinstance(urgency, str) and urgency:
        chosen.append(("urgency", urgency))
    # One that is null is none.
    if isinstance(topic, str) and topic:
        chosen.append(("topic", webpush_topic(topic)))
    audience = headers.get("vapidAudience")
    return Shape(
        encode(payload),
        _seconds(headers.get("ttl")),
        tuple(chosen),
        origin_of(audience) if isinstance(audience, str) and audience else None,
    )


def _seconds(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value[:10])
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else _TTL_UNLESS_SAID
