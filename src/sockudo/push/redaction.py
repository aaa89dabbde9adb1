"""Texts that come from devices and providers, made safe to be stored and shown (spec: push § 3, 4)."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

__all__ = ["redacted"]

_LONGEST: Final = 128
_SUSPICIOUS: Final = re.compile(r"token|secret|endpoint|auth|https?://", re.IGNORECASE)
# What a token looks like when nobody says that it is one: 24 characters or more without a blank.
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


def redacted(text: str) -> str:
    """The text, or ``[REDACTED:…]`` with the beginning of its hash where it may hold a secret.

    What has been redacted stays as it is, and so do the words that providers document as reasons.
    """
    if text in _KNOWN or _MARK.fullmatch(text):
        return text
    if len(text) > _LONGEST or _SUSPICIOUS.search(text) or _BARE_TOKEN.search(text):
        return f"[REDACTED:{sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}]"
    return text
