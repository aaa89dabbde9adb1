"""Where a notification goes: one kind of recipient for each provider (spec: push § 3)."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import ClassVar, Final, Literal

import msgspec

__all__ = [
    "PROVIDERS",
    "ROUTE_NAMES",
    "ApnsRecipient",
    "FcmRecipient",
    "HmsRecipient",
    "Provider",
    "RealtimeRecipient",
    "Recipient",
    "WebRecipient",
    "WnsRecipient",
    "provider_named",
    "token_hash",
]

Provider = Literal["fcm", "apns", "webPush", "hms", "wns", "realtime"]

PROVIDERS: Final[tuple[Provider, ...]] = ("fcm", "apns", "webPush", "hms", "wns", "realtime")
"""In the order in which renderings are shown."""

ROUTE_NAMES: Final[Mapping[Provider, str]] = {name: name.lower() for name in PROVIDERS}
"""As they stand in URLs, queue names and metric labels."""

_SPELLINGS: Final[Mapping[str, Provider]] = {
    **{spelling: name for name in PROVIDERS for spelling in (name, name.lower())},
    "web_push": "webPush",
}


def provider_named(text: str) -> Provider | None:
    """The provider that a caller means, however it is spelt."""
    return _SPELLINGS.get(text)


def token_hash(token: str) -> str:
    """SHA-256 as hex: stands for a token wherever it is compared, kept apart or shown."""
    return sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class _Recipient(msgspec.Struct, frozen=True, rename="camel", tag_field="transportType"):
    """``token`` is what the provider knows the device by: a secret, so the text of a recipient never holds it."""

    provider: ClassVar[Provider]

    @property
    def token(self) -> str:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {token_hash(self.token)[:12]}>"


class FcmRecipient(_Recipient, frozen=True, tag="gcm"):
    provider: ClassVar[Provider] = "fcm"
    registration_token: str

    @property
    def token(self) -> str:
        return self.registration_token


class ApnsRecipient(_Recipient, frozen=True, tag="apns"):
    provider: ClassVar[Provider] = "apns"
    device_token: str

    @property
    def token(self) -> str:
        return self.device_token


class WebRecipient(_Recipient, frozen=True, tag="web"):
    """A browser's subscription; keys are base64url, padded or not."""

    provider: ClassVar[Provider] = "webPush"
    endpoint: str
    p256dh: str
    auth: str

    @property
    def token(self) -> str:
        return self.endpoint


class HmsRecipient(_Recipient, frozen=True, tag="hms"):
    provider: ClassVar[Provider] = "hms"
    registration_token: str

    @property
    def token(self) -> str:
        return self.registration_token


class WnsRecipient(_Recipient, frozen=True, tag="wns"):
    provider: ClassVar[Provider] = "wns"
    channel_uri: str

    @property
    def token(self) -> str:
        return self.channel_uri


class RealtimeRecipient(_Recipient, frozen=True, tag="realtime"):
    """A channel of this server instead of a provider."""

    provider: ClassVar[Provider] = "realtime"
    channel: str

    @property
    def token(self) -> str:
        return self.channel


Recipient = FcmRecipient | ApnsRecipient | WebRecipient | HmsRecipient | WnsRecipient | RealtimeRecipient
