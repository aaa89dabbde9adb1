"""Encrypts notifications so that no push service can read them: RFC 8291 (spec: push § 8)."""

from __future__ import annotations

import base64
import binascii
import os
from typing import Final

import http_ece
from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["MOST_BYTES", "KeysError", "encrypted"]

MOST_BYTES: Final = 4079
"""What fits into the one record that there may be: 4096 without its end mark and its tag."""

_RECORD_SIZE: Final = 4096
_CURVE: Final = ec.SECP256R1()


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
