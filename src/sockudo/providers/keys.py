"""Keys and certificates of accounts, read from the texts that people paste; the only importer of ``cryptography`` here
besides `sockudo.providers.encryption`.

Everything raises AccountError, whose text says what is wrong with which field and repeats nothing of it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from sockudo.providers.accounts import AccountError
from sockudo.push.exchange import ClientIdentity

__all__ = ["Signer", "ec_signer", "p12_identity", "pem_identity", "rsa_signer", "vapid_signer"]


class Signer:
    """Makes JSON web tokens with a private key."""

    def __init__(self, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, algorithm: str, key_id: str | None) -> None:
        self._key = key
        self._algorithm = algorithm
        self._headers = {"kid": key_id} if key_id else None

    def __repr__(self) -> str:
        return f"<Signer {self._algorithm}>"

    def token(self, claims: Mapping[str, Any]) -> str:
        return jwt.encode(dict(claims), self._key, algorithm=self._algorithm, headers=self._headers)

    def public_point(self) -> str:
        """The public key of a Web Push account: the uncompressed point as base64url without padding."""
        point = self._key.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        return base64.urlsafe_b64encode(point).rstrip(b"=").decode()


def rsa_signer(pem: str, key_id: str | None, field: str) -> Signer:
    key = _private_key(pem, field)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise AccountError(f"{field} is no RSA key")
    return Signer(key, "RS256", key_id)


def ec_signer(pem: str, key_id: str, field: str) -> Signer:
    key = _private_key(pem, field)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise AccountError(f"{field} is no P-256 key")
    return Signer(key, "ES256", key_id)


def vapid_signer(text: str, field: str) -> Signer:
    """Of a base64url private key, padded or not (D17), or of one in PEM form."""
    if "-----BEGIN" in text:
        return ec_signer(text, "", field)
    try:
        raw = _from_base64(text)
        if len(raw) != 32:
            raise ValueError
        key = ec.derive_private_key(int.from_bytes(raw), ec.SECP256R1())
    except ValueError:
        raise AccountError(f"{field} is no P-256 private key of 32 bytes in base64url") from None
    return Signer(key, "ES256", None)


def p12_identity(encoded: str, password: str | None, field: str) -> ClientIdentity:
    """Certificate and key of a PKCS #12 file, given as base64."""
    try:
        data = _from_base64(encoded)
        key, certificate, others = pkcs12.load_key_and_certificates(data, password.encode() if password else None)
    except (ValueError, UnsupportedAlgorithm):
        raise AccountError(f"{field} is no PKCS #12 file in base64, or its password is another one") from None
    if key is None or certificate is None:
        raise AccountError(f"{field} lacks the certificate or its private key")
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for one in (certificate, *others):
        pem += one.public_bytes(serialization.Encoding.PEM)
    return _identity(pem)


def pem_identity(text: str, field: str) -> ClientIdentity:
    """Certificate and key that stand in one PEM text."""
    pem = with_line_ends(text)
    _private_key(pem, field)
    if "-----BEGIN CERTIFICATE-----" not in pem:
        raise AccountError(f"{field} lacks the certificate")
    return _identity(pem.encode())


def with_line_ends(text: str) -> str:
    """A key that has been through an environment variable has ``\\n`` in it instead of ends of lines."""
    return text.replace("\\n", "\n").strip() + "\n"


def _identity(pem: bytes) -> ClientIdentity:
    return ClientIdentity(sha256(pem).hexdigest()[:16], pem)


def _private_key(text: str, field: str) -> object:
    pem = with_line_ends(text)
    start = pem.find("-----BEGIN")
    # In one text with a certificate the key may be the second; the library reads the first block.
    for label in ("PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"):
        start = max(start, pem.find(f"-----BEGIN {label}-----"))
    try:
        return serialization.load_pem_private_key(pem[max(start, 0) :].encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise AccountError(f"{field} holds no private key in PEM form without a password") from None


def _from_base64(text: str) -> bytes:
    """Either alphabet, padded or not. Raises ValueError."""
    bare = "".join(text.split()).rstrip("=").replace("+", "-").replace("/", "_")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError from None
