"""What push asks of its store (contract 50 § 3.1); the queue is in `sockudo.push.queue`, providers in
`sockudo.push.delivery`.

One contract suite runs over every implementation, the memory one first. Every method raises errors.SERVICE_UNAVAILABLE
when the store cannot be reached, and nothing has changed then; none hangs for good. Lists are sorted by the position
that § 1 gives them, and start strictly behind ``after``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from sockudo.push.lifecycle import Step
from sockudo.push.recipients import Provider
from sockudo.push.records import (
    Credential,
    DeadLetter,
    DeliveryEvent,
    Device,
    PublishIntent,
    PublishStatus,
    ScheduledJob,
    Shard,
    State,
    Subscription,
    Template,
)

__all__ = ["Change", "Cleaned", "Devices", "Publishes", "PushStore", "Settings"]

Change = Literal["inserted", "updated", "unchanged"]


class Cleaned(NamedTuple):
    """How many rows of a category were looked at and deleted."""

    category: str
    scanned: int
    deleted: int


class Devices(Protocol):
    """Devices and what they are subscribed to."""

    async def put_device(self, device: Device) -> Change: ...

    async def device(self, app_id: str, device_id: str) -> Device | None: ...

    async def devices(self, app_id: str, after: str, limit: int) -> list[Device]: ...

    async def devices_of(self, app_id: str, client_id: str, after: str, limit: int) -> list[Device]: ...

    async def devices_by_id(self, app_id: str, device_ids: Sequence[str]) -> list[Device]: ...

    async def count_devices_of(self, app_id: str, client_id: str) -> int: ...

    async def delete_device(self, app_id: str, device_id: str, *, token_hash: str | None = None) -> bool:
        """With its subscriptions; with ``token_hash`` only if that is still the device's."""
        ...

    async def delete_devices_of(self, app_id: str, client_id: str) -> int: ...

    async def touch_device(
        self, app_id: str, device_id: str, token_hash: str, *, at_ms: int, succeeded: bool
    ) -> tuple[str, str] | None:
        """Notes a success or a transient failure by the rule of § 3; the states before and after where they differ."""
        ...

    async def put_subscription(self, subscription: Subscription) -> None: ...

    async def subscriptions(
        self, app_id: str, *, channel: str | None = None, device_id: str | None = None, after: str, limit: int
    ) -> list[Subscription]: ...

    async def delete_subscriptions(
        self, app_id: str, *, channel: str | None = None, device_id: str | None = None
    ) -> int: ...

    async def subscribed_channels(self, app_id: str, after: str, limit: int) -> list[str]: ...

    async def count_subscriptions(self, app_id: str, channel: str) -> int: ...


class Settings(Protocol):
    """Credentials and templates."""

    async def put_credential(self, credential: Credential) -> None: ...

    async def credential(self, app_id: str, credential_id: str) -> Credential | None: ...

    async def credentials(self, app_id: str, after: str, limit: int) -> list[Credential]: ...

    async def credentials_for(self, provider: Provider) -> list[Credential]:
        """Of every app, the newest first."""
        ...

    async def put_template(self, template: Template) -> None: ...

    async def template(self, app_id: str, template_id: str) -> Template | None: ...

    async def templates(self, app_id: str, after: str, limit: int) -> list[Template]: ...

    async def delete_template(self, app_id: str, template_id: str) -> bool: ...


class Publishes(Protocol):
    """What was accepted, and what became of it."""

    async def accept(
        self, status: PublishStatus, intent: PublishIntent | None, keys: Sequence[str], keys_until_ms: int
    ) -> PublishStatus | None:
        """In one step: the status, the idempotency keys and the log. None when done; else the status of the publish
        that has one of the keys already, and nothing has changed.
        """
        ...

    async def status(self, app_id: str, publish_id: str) -> PublishStatus | None: ...

    async def statuses(
        self, app_id: str, *, states: Sequence[State] | None, after: str, limit: int
    ) -> list[PublishStatus]:
        """The newest first; the position is ``created_at_ms`` in 20 digits, a colon and the id."""
        ...

    async def swap_status(self, before: PublishStatus, after: PublishStatus) -> bool:
        """Replaces the status if it is still ``before`` by revision and time; both rise with every change."""
        ...

    async def intent(self, app_id: str, publish_id: str) -> PublishIntent | None: ...

    async def stuck(self, state: State, accepted_before_ms: int, limit: int) -> list[PublishIntent]:
        """Publishes of every app that are still in this state, the oldest first (D11)."""
        ...

    async def put_shard(self, shard: Shard) -> None: ...

    async def shard(self, app_id: str, publish_id: str, shard_id: str) -> Shard | None: ...

    async def put_job(self, job: ScheduledJob) -> None: ...

    async def jobs(self, app_id: str, after: str, limit: int) -> list[ScheduledJob]: ...

    async def due_jobs(self, before_ms: int, limit: int) -> list[ScheduledJob]: ...

    async def delete_job(self, app_id: str, publish_id: str) -> bool: ...

    async def take_steps(
        self, app_id: str, publish_id: str, steps: Sequence[Step], keys_until_ms: int
    ) -> tuple[list[Step], PublishStatus | None]:
        """In one step: keys and events of the steps whose key is new are kept, and the status becomes
        `sockudo.push.lifecycle.with_steps` of these. Returns them and the status after; steps of a publish that has no
        status any more are kept all the same. Raises `errors.SERVICE_UNAVAILABLE` after too many conflicts.
        """
        ...

    async def append_events(self, events: Sequence[DeliveryEvent]) -> None: ...

    async def events(self, app_id: str, publish_id: str, after: str, limit: int) -> list[DeliveryEvent]:
        """The position is ``occurred_at_ms`` in 20 digits, a colon and the event id."""
        ...

    async def append_dead_letters(self, letters: Sequence[DeadLetter]) -> None: ...

    async def dead_letters(
        self,
        app_id: str,
        *,
        provider: Provider | None,
        since_ms: int | None,
        until_ms: int | None,
        after: str,
        limit: int,
    ) -> list[DeadLetter]: ...

    async def dead_letter(self, app_id: str, dead_letter_id: str) -> DeadLetter | None: ...


class PushStore(Devices, Settings, Publishes, Protocol):
    """All of it, with locks between processes."""

    async def start(self) -> None:
        """Opens the store and brings its schema up to date; several processes may do so at once."""

    async def close(self) -> None:
        """Gives everything back. Calling it twice does no harm."""

    async def lock(self, app_id: str, name: str, owner: str, now_ms: int, until_ms: int) -> bool:
        """True if nobody else has it."""
        ...

    async def unlock(self, app_id: str, name: str, owner: str) -> None: ...

    async def record_once(self, app_id: str, key: str, now_ms: int, until_ms: int) -> bool:
        """True for the first who records the key, until it ends."""
        ...

    async def note_operator(self, app_id: str, subject: str, at_ms: int) -> None:
        """Appends to what operators have invalidated."""

    async def clean(self, before: dict[str, int], now_ms: int, limit: int) -> list[Cleaned]:
        """Deletes at most ``limit`` rows of each category older than its time; those without a time stay."""
        ...
