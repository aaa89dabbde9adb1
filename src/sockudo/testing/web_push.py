"""A browser's end of Web Push: keys to subscribe with, and reading what was encrypted for them (RFC 8291)."""

from __future__ import annotations

import base64
import hmac
import os
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

__all__ = ["BrowserKeys"]

_CURVE: Final = ec.SECP256R1()
_HEAD: Final = 21


class BrowserKeys:
    """A subscription's keys, new with each instance."""

    def __init__(self) -> None:
        self._private = ec.generate_private_key(_CURVE)
        self._point = self._private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self._secret = os.urandom(16)
        self.p256dh: str = _text(self._point)
        self.auth: str = _text(self._secret)

    def recipient(self, endpoint: str) -> dict[str, str]:
        """What is registered as ``push.recipient`` (spec: push § 2.1)."""
        return {"transportType": "web", "endpoint": endpoint, "p256dh": self.p256dh, "auth": self.auth}

    def read(self, body: bytes) -> Mapping[str, Any]:
        """The notification in the body of a request. Raises ValueError when it is not for these keys."""
        salt, length = body[:16], body[20] if len(body) > _HEAD else 0
        sender, sealed = body[_HEAD : _HEAD + length], body[_HEAD + length :]
        try:
            shared = self._private.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, sender))
            start = hmac.digest(self._secret, shared, "sha256")
            key = hmac.digest(start, b"WebPush: info\0" + self._point + sender + b"\x01", "sha256")
            start = hmac.digest(salt, key, "sha256")
            content_key = hmac.digest(start, b"Content-Encoding: aes128gcm\0\x01", "sha256")[:16]
            nonce = hmac.digest(start, b"Content-Encoding: nonce\0\x01", "sha256")[:12]
            plaintext = AESGCM(content_key).decrypt(nonce, sealed, None)
        except (InvalidTag, ValueError):
            raise ValueError("the notification was not encrypted for these keys") from None
        notification: Mapping[str, Any] = msgspec.json.decode(plaintext.rstrip(b"\0")[:-1])
        return notification


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
