"""What goes through the pipeline to a provider, and what providers are asked (spec: push § 7, 8)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from sockudo.push.recipients import Provider, Recipient
from sockudo.push.records import Outcome, OutcomeError

__all__ = [
    "Batch",
    "DeliveryJob",
    "Material",
    "Materials",
    "PublishOnChannel",
    "PushProvider",
    "Readiness",
    "Sent",
    "delivery_key",
    "settling_key",
]


class DeliveryJob(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One recipient of a batch; ``device_id`` is None for a raw one, which no answer of a provider can delete."""

    recipient: Recipient
    device_id: str | None = None


class Batch(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """The same notification for up to 500 recipients of one provider, as it waits in the queue.

    ``payload`` is rendered for the provider, once for all. ``attempt`` counts sends from 1. Planning a publish again
    gives the same ids to the same batches.
    """

    app_id: str
    publish_id: str
    provider: Provider
    batch_id: str
    payload: msgspec.Raw
    jobs: list[DeliveryJob]
    attempt: int = 1
    first_attempt_at_ms: int | None = None
    not_before_ms: int | None = None
    expires_at_ms: int | None = None
    trace: tuple[tuple[str, str], ...] = ()
    # Of a dead letter that is replayed: the counter in which its jobs stand until they have another outcome.
    replaces: Literal["dead_lettered", "expired"] | None = None

    def has_expired(self, now_ms: int) -> bool:
        """Whether it is over, or will be when it may be sent."""
        return self.expires_at_ms is not None and self.expires_at_ms <= max(now_ms, self.not_before_ms or 0)

    def __repr__(self) -> str:
        return f"<Batch {self.app_id} {self.publish_id} {self.batch_id} of {len(self.jobs)}>"


def delivery_key(batch: Batch, job: DeliveryJob) -> str:
    """The same for every attempt at one recipient of a publish: what outcomes are counted by (spec: push § 7.3).

    A retry has a batch of its own, whose id begins with that of the first.
    """
    first = batch.batch_id.partition("-retry-")[0].partition("-deferred-")[0]
    parts = (batch.app_id, batch.publish_id, batch.provider, first, job.recipient.token)
    return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def settling_key(batch: Batch, job: DeliveryJob) -> str:
    """The key of the one step that settles a recipient, whichever attempt comes to it."""
    return f"{delivery_key(batch, job)}:end"


class Sent(NamedTuple):
    """What one send came to; ``accepted``, ``rejected`` or ``retryable``. Texts hold no token and no endpoint."""

    outcome: Outcome
    message_id: str | None = None
    error: OutcomeError | None = None


class Readiness(NamedTuple):
    """Whether a provider can send for an app, from which credential, or what to set so that it can."""

    ready: bool
    source: str | None = None
    missing: str | None = None


class Material(NamedTuple):
    """A stored credential, its envelopes opened: fields as spec: push § 2.3 names them. Its text holds none of them."""

    credential_id: str
    version: int
    fields: Mapping[str, str]

    def __repr__(self) -> str:
        return f"<Material {self.credential_id} version {self.version}>"


class Materials(Protocol):
    """Where providers get stored credentials from."""

    async def __call__(self, app_id: str, provider: Provider, credential_id: str | None = None) -> Material | None:
        """The app's credential for the provider, or the one of that id; None when it has none.

        Raises errors.SERVICE_UNAVAILABLE when the store cannot be reached, and another SockudoError, whose text says
        what to do, for one that cannot be opened. Providers ask again every few seconds, and so find a new one.
        """
        ...


PublishOnChannel = Callable[[str, str, Mapping[str, Any]], Awaitable[str | None]]
"""Publishes a payload for an app, by its id, on a channel; the message's id, where it has one. Raises SockudoError."""


class PushProvider(Protocol):
    """One provider. Never raises for what the other side does: that is an answer (spec: push § 8)."""

    async def send(
        self, app_id: str, payload: Mapping[str, Any], recipient: Recipient, *, expires_at_ms: int | None
    ) -> Sent:
        """Makes one request, or two where a rejected provider token was renewed; ends within 10 seconds."""
        ...

    async def readiness(self, app_id: str) -> Readiness:
        """Looks at what is configured and stored, never at the network."""
        ...

    async def close(self) -> None: ...
