"""Keys and certificates of accounts, read from the texts that people paste; the only importer of ``cryptography`` here
besides `sockudo.push.providers.webpush`.

Everything raises AccountError, whose text names the field and its fault, and quotes no part of the value.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

import jwt
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from sockudo.outbound.ports import ClientIdentity
from sockudo.push.providers.accounts import AccountError

__all__ = [
    "Signer",
    "check_certificate",
    "check_not_over",
    "ec_signer",
    "end_of",
    "p12_identity",
    "pem_identity",
    "public_point",
    "rsa_signer",
    "vapid_signer",
]

_POINT_BYTES: Final = 65


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
    """Of a base64url private key, padded or not, or of one in PEM form."""
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


def public_point(text: str, field: str) -> str:
    """A public key as `Signer.public_point` writes it, from base64 of either alphabet."""
    try:
        raw = _from_base64(text)
        if len(raw) != _POINT_BYTES:
            raise ValueError
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw)
    except ValueError:
        raise AccountError(f"{field} is no P-256 public key of {_POINT_BYTES} bytes in base64url") from None
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def p12_identity(encoded: str, password: str | None, field: str) -> ClientIdentity:
    """Certificate and key of a PKCS #12 file, given as base64."""
    try:
        data = _from_base64(encoded)
    except ValueError:
        raise AccountError(f"{field} is not base64 of a PKCS #12 file") from None
    try:
        key, certificate, others = pkcs12.load_key_and_certificates(data, password.encode() if password else None)
    except UnsupportedAlgorithm:
        raise AccountError(
            f"{field} is encrypted in a way that this machine cannot read: export it anew, or as PEM"
        ) from None
    except ValueError as problem:
        # The library distinguishes the two by its message alone.
        if "password" not in str(problem):
            raise AccountError(f"{field} is no PKCS #12 file") from None
        if password:
            raise AccountError(f"{field} has another passphrase than {field}Password") from None
        raise AccountError(f"{field} is protected by a passphrase: give it as {field}Password") from None
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


def check_certificate(identity: ClientIdentity, field: str, now: float) -> None:
    """That its first certificate is the key's and has not ended; ``now`` is Unix seconds."""
    try:
        certificate = x509.load_pem_x509_certificates(identity.pem)[0]
        public, ends = certificate.public_key(), certificate.not_valid_after_utc
    except (ValueError, UnsupportedAlgorithm):
        raise AccountError(f"{field} has a certificate that cannot be read") from None
    key = _private_key(identity.pem.decode(), field)
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) or key.public_key() != public:
        raise AccountError(f"{field} has a private key that is not its first certificate's")
    check_not_over(ends, field, now)


def end_of(identity: ClientIdentity) -> datetime | None:
    """When its first certificate ends; None for one that cannot be read."""
    try:
        return x509.load_pem_x509_certificates(identity.pem)[0].not_valid_after_utc
    except ValueError:
        return None


def check_not_over(ends: datetime, field: str, now: float) -> None:
    """``now`` is Unix seconds."""
    if ends <= datetime.fromtimestamp(now, UTC):
        raise AccountError(f"the certificate in {field} expired on {ends:%Y-%m-%d}: make a new one")


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
    except TypeError:
        raise AccountError(f"{field} is protected by a passphrase: take that off first") from None
    except (ValueError, UnsupportedAlgorithm):
        raise AccountError(f"{field} holds no private key in PEM form") from None


def _from_base64(text: str) -> bytes:
    """Either alphabet, padded or not. Raises ValueError."""
    bare = "".join(text.split()).rstrip("=").replace("+", "-").replace("/", "_")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError from None
