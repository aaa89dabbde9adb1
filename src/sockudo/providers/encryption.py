"""Encrypts notifications so that no push service can read them: RFC 8291 over RFC 8188 (contract 50 § 8, Web Push).

The primitives are those of ``cryptography``, put together here: `http_ece` does the same for three times the work.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

__all__ = ["MOST_BYTES", "KeysError", "encrypted"]

MOST_BYTES: Final = 4079
"""What fits into the one record that there may be: 4096 without its end mark and its tag."""

_RECORD_SIZE: Final = (4096).to_bytes(4)
_CURVE: Final = ec.SECP256R1()
_ECDH: Final = ec.ECDH()


class KeysError(ValueError):
    """The keys of a subscription are none."""


def encrypted(plaintext: bytes, p256dh: str, auth: str) -> bytes:
    """The body for a subscription with these keys, which are base64url with or without padding (D17).

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
    ours = ec.generate_private_key(_CURVE)
    our_point = ours.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    if len(point) != len(our_point):
        # The key goes into the derivation as it stands: a compressed one is another text.
        point = theirs.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    salt = os.urandom(16)
    shared = hmac.digest(secret, ours.exchange(_ECDH, theirs), "sha256")
    input_key = hmac.digest(shared, b"WebPush: info\0" + point + our_point + b"\x01", "sha256")
    extracted = hmac.digest(salt, input_key, "sha256")
    key = hmac.digest(extracted, b"Content-Encoding: aes128gcm\0\x01", "sha256")[:16]
    nonce = hmac.digest(extracted, b"Content-Encoding: nonce\0\x01", "sha256")[:12]
    sealed = AESGCM(key).encrypt(nonce, plaintext + b"\x02", None)
    return salt + _RECORD_SIZE + bytes((len(our_point),)) + our_point + sealed


def _decoded(text: str) -> bytes:
    bare = text.strip().rstrip("=").replace("+", "-").replace("/", "_")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise KeysError from None
