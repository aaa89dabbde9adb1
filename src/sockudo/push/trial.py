"""One notification sent at once, past queue and counters, to see what a provider answers. Ours alone."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from sockudo import errors
from sockudo.push.delivery import Sent
from sockudo.push.diagnosis.advice import row_of_class
from sockudo.push.recipients import ROUTE_NAMES, Provider, Recipient, provider_named
from sockudo.push.records import Payload
from sockudo.push.rendering import render
from sockudo.push.service import Push
from sockudo.push.spellings import decoded
from sockudo.push.validation import check_payload, check_recipient

__all__ = ["TRIED", "Trial", "TrialRequest", "trial_from", "try_out"]

TRIED: Final[tuple[Provider, ...]] = ("fcm", "apns", "webPush", "hms", "wns")
"""The providers that have a service to send to."""

_LIFE_MS: Final = 60_000


class TrialRequest(NamedTuple):
    """Either a registered device or a recipient, of the provider that is tried."""

    provider: Provider
    payload: Payload
    device_id: str | None = None
    recipient: Recipient | None = None

    def __repr__(self) -> str:
        return f"<TrialRequest {self.provider}>"


class Trial(NamedTuple):
    """What came of it. ``source`` is where the credentials come from; ``took_ms`` how long the provider took."""

    provider: Provider
    sent: Sent
    source: str | None
    took_ms: int
    device_id: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON; without token and endpoint."""
        error = self.sent.error
        row = None if error is None else row_of_class(error.kind, self.provider)
        shown = {
            "provider": ROUTE_NAMES[self.provider],
            "outcome": self.sent.outcome,
            "tookMs": self.took_ms,
            "source": self.source,
            "deviceId": self.device_id,
            "providerMessageId": self.sent.message_id,
            "error": error,
            "code": None if row is None else row.slug,
            "remedy": None if row is None else row.remedy,
        }
        return {name: value for name, value in shown.items() if value is not None}


class _Payload(msgspec.Struct, rename="camel", kw_only=True):
    title: str | None = None
    body: str | None = None
    icon: str | None = None


class _Body(msgspec.Struct, rename="camel", kw_only=True):
    provider: str
    device_id: str | None = None
    recipient: Recipient | None = None
    payload: _Payload | None = None


def trial_from(body: bytes) -> TrialRequest:
    """Raises what `sockudo.push.bodies.decoded` does, and errors.INVALID_INPUT."""
    given = decoded(body, _Body)
    provider = provider_named(given.provider)
    if provider is None or provider not in TRIED:
        raise errors.INVALID_INPUT(f"provider must be one of {', '.join(ROUTE_NAMES[name] for name in TRIED)}")
    content = given.payload or _Payload(title="A test", body="Sent to try the provider out.")
    payload = Payload(title=content.title, body=content.body, icon=content.icon)
    return TrialRequest(provider, payload, given.device_id, given.recipient)


async def try_out(push: Push, app_id: str, wanted: TrialRequest) -> Trial:
    """Sends it, with the credentials that a publish of the app would be sent with. No device is changed by it.

    Raises errors.INVALID_INPUT, errors.PROVIDER_TOKEN_INVALID, errors.DEVICE_NOT_FOUND, errors.CREDENTIAL_MISSING and
    errors.PUSH_PAYLOAD_TOO_LARGE; a refusal of the provider is an answer.
    """
    if (wanted.device_id is None) == (wanted.recipient is None):
        raise errors.INVALID_INPUT("Name the target: deviceId or recipient, one of them")
    check_payload(wanted.payload)
    recipient = await _recipient(push, app_id, wanted)
    name = ROUTE_NAMES[wanted.provider]
    if recipient.provider != wanted.provider:
        raise errors.INVALID_INPUT(f"{_who(wanted)} belongs to {ROUTE_NAMES[recipient.provider]}, not to {name}")
    ready = (await push.ready(app_id)).get(wanted.provider)
    provider = push.providers.get(wanted.provider)
    if provider is None or ready is None or not ready.ready:
        missing = None if ready is None else ready.missing
        raise errors.CREDENTIAL_MISSING(f"{name} cannot be tried: {missing or f'push.{name}_enabled is off'}")
    body = msgspec.json.decode(render(wanted.provider, wanted.payload, ()).body)
    began = push.clock.monotonic()
    sent = await provider.send(app_id, body, recipient, expires_at_ms=push.now_ms() + _LIFE_MS)
    took_ms = round((push.clock.monotonic() - began) * 1000)
    return Trial(wanted.provider, sent, ready.source, took_ms, wanted.device_id)


async def _recipient(push: Push, app_id: str, wanted: TrialRequest) -> Recipient:
    if wanted.recipient is not None:
        check_recipient(wanted.recipient, push.rules)
        return wanted.recipient
    device = None if wanted.device_id is None else await push.store.device(app_id, wanted.device_id)
    if device is None:
        raise errors.DEVICE_NOT_FOUND(f"device '{(wanted.device_id or '')[:100]}' is not registered")
    return device.recipient


def _who(wanted: TrialRequest) -> str:
    return "the recipient" if wanted.device_id is None else f"device '{wanted.device_id[:100]}'"
