"""Secrets of credentials as they are stored: encrypted, each by itself (spec: push § 2.3); and texts that come from
devices and providers, made safe to be stored and shown (spec: push § 3, 4).

``envelope:v1:aes256gcm:`` is followed by base64url of nonce (12 bytes), ciphertext and tag (16 bytes), without padding
and without associated data. ``envelope:v1:local:`` and ``envelope:v1:sha256:`` are of other versions: the first is
plain text in base64url, the second a mere hash.
"""

from __future__ import annotations

import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from sockudo import errors

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["Envelopes", "redacted"]

_SEALED: Final = "envelope:v1:aes256gcm:"
_LOCAL: Final = "envelope:v1:local:"
_HASHED: Final = "envelope:v1:sha256:"
_NONCE: Final = 12
_TAG: Final = 16

_LONGEST: Final = 128
_SUSPICIOUS: Final = re.compile(r"token|secret|endpoint|auth|https?://", re.IGNORECASE)
# What a token looks like where no field marks it as one: 24 characters or more without a blank.
_BARE_TOKEN: Final = re.compile(r"[A-Za-z0-9_\-+/=.:~%]{24}")
_MARK: Final = re.compile(r"\[REDACTED:[0-9a-f]{12}\]")

_REASONS: Final = """
    BadCertificate BadCertificateEnvironment BadCollapseId BadDeviceToken BadExpirationDate BadMessageId BadPath
    BadPriority BadTopic DeviceTokenNotForTopic DuplicateHeaders ExpiredProviderToken ExpiredToken Forbidden IdleTimeout
    InternalServerError InvalidProviderToken InvalidPushType MethodNotAllowed MissingDeviceToken MissingProviderToken
    MissingTopic PayloadEmpty PayloadTooLarge ServiceUnavailable Shutdown TooManyProviderTokenUpdates TooManyRequests
    TopicDisallowed Unregistered UnrelatedKeyIdInToken
    INTERNAL INVALID_ARGUMENT NOT_FOUND PERMISSION_DENIED QUOTA_EXCEEDED RESOURCE_EXHAUSTED SENDER_ID_MISMATCH
    THIRD_PARTY_AUTH_ERROR UNAUTHENTICATED UNAVAILABLE UNREGISTERED UNSPECIFIED_ERROR registration-token-not-registered
    BadJwtToken BadVapidPublicKey BadWebPushTopic ExpiredJwtToken VapidPkHashMismatch
    invalid_client invalid_grant sender_id_mismatch vapid_key_mismatch vapid_refused
    accepted apns_topic_mismatch auth_failure invalid_payload invalid_token network_transport project_mismatch
    provider_rejected quota unavailable
"""
# Words that providers document as their answers: they say why, and nothing about whom.
_KNOWN: Final = frozenset(_REASONS.split())


class Envelopes:
    """Seals and opens with the key that the text of ``PUSH_CREDENTIAL_ENCRYPTION_KEY`` stands for.

    ``earlier`` are texts of keys that envelopes may have been sealed with before: they only open. ``random`` gives as
    many random bytes as it is asked for.
    """

    def __init__(
        self, key_text: str | None, random: Callable[[int], bytes] = os.urandom, *, earlier: Sequence[str] = ()
    ) -> None:
        stripped = (key_text or "").strip()
        self._key = _key(stripped) if stripped else None
        self._earlier = tuple(map(_key, earlier))
        self._random = random

    def __repr__(self) -> str:
        return f"<Envelopes {'with' if self.can_seal else 'without'} a key>"

    @property
    def can_seal(self) -> bool:
        """Whether there is a key."""
        return self._key is not None

    def seal(self, secret: str) -> str:
        """The envelope. Raises errors.ENCRYPTION_KEY_MISSING without a key."""
        if self._key is None:
            raise errors.ENCRYPTION_KEY_MISSING(
                "PUSH_CREDENTIAL_ENCRYPTION_KEY must be configured before storing push credentials"
            )
        nonce = self._random(_NONCE)
        sealed = nonce + _cipher(self._key).encrypt(nonce, secret.encode("utf-8", "surrogatepass"), None)
        return _SEALED + urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open(self, envelope: str) -> str:
        """The secret. Raises errors.CREDENTIAL_UNREADABLE, whose text gives the remedy and nothing of the content."""
        if envelope.startswith(_SEALED):
            return _text(self._decrypted(envelope.removeprefix(_SEALED)))
        if envelope.startswith(_LOCAL):
            return _text(_decoded(envelope.removeprefix(_LOCAL)))
        if envelope.startswith(_HASHED):
            raise errors.CREDENTIAL_UNREADABLE(
                "Only the hash of the stored push credential was kept: upload the credential again"
            )
        raise _broken()

    def _decrypted(self, text: str) -> bytes:
        if self._key is None:
            raise errors.CREDENTIAL_UNREADABLE(
                "The stored push credential is encrypted, and PUSH_CREDENTIAL_ENCRYPTION_KEY is not set"
            )
        sealed = _decoded(text)
        if len(sealed) < _NONCE + _TAG:
            raise _broken()
        for key in (self._key, *self._earlier):
            secret = _opened(_cipher(key), sealed)
            if secret is not None:
                return secret
        raise errors.CREDENTIAL_UNREADABLE(
            "The stored push credential was encrypted with another PUSH_CREDENTIAL_ENCRYPTION_KEY: set that one, "
            "or upload the credential again"
        )


def _key(text: str) -> bytes:
    return sha256(text.encode()).digest()


def _opened(cipher: AESGCM, sealed: bytes) -> bytes | None:
    """What is inside, None when the key is another one."""
    from cryptography.exceptions import InvalidTag

    try:
        return cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], None)
    except InvalidTag:
        return None


def _cipher(key: bytes) -> AESGCM:
    # Twenty milliseconds to load, which servers without push need not spend.
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise errors.SERVICE_UNAVAILABLE(
            "Push credentials cannot be encrypted here: the package cryptography, which comes with Sockudo, is missing"
        ) from None
    return AESGCM(key)


def _decoded(text: str) -> bytes:
    bare = text.rstrip("=")
    try:
        if not bare.isascii() or "+" in bare or "/" in bare:
            raise _broken()
        return urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
    except ValueError:
        raise _broken() from None


def _text(secret: bytes) -> str:
    try:
        return secret.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise _broken() from None


def _broken() -> errors.SockudoError:
    return errors.CREDENTIAL_UNREADABLE("The stored push credential is damaged: upload the credential again")


# ---- redaction ----


def redacted(text: str) -> str:
    """The text, or ``[REDACTED:…]`` with the beginning of its hash where it may hold a secret.

    What has been redacted stays as it is, and so do the words that providers document as reasons.
    """
    if text in _KNOWN or _MARK.fullmatch(text):
        return text
    if len(text) > _LONGEST or _SUSPICIOUS.search(text) or _BARE_TOKEN.search(text):
        return f"[REDACTED:{sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}]"
    return text
