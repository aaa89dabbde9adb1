"""What push asks of its store (spec: push § 3.1); the queue is in `sockudo.push.messages`, providers in
`sockudo.push.delivery`.

One contract suite runs over every database, that in memory first. Every method raises errors.SERVICE_UNAVAILABLE
when the store cannot be reached, and errors.INVALID_INPUT for what it cannot hold; nothing has changed then, unless the
connection was lost while a change was being confirmed. None hangs for good. A change has been made
durable when it returns, in one step; changes that are asked for at the same time share a transaction. Lists are sorted
by the position that `sockudo.push.paging` gives their records, byte by byte, and start strictly behind ``after``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, NamedTuple, Protocol

from sockudo.push.lifecycle import Step
from sockudo.push.recipients import Provider
from sockudo.push.records import (
    Credential,
    DeadLetter,
    DeliveryEvent,
    Device,
    DeviceState,
    PublishIntent,
    PublishStatus,
    ScheduledJob,
    Shard,
    State,
    Subscription,
    Template,
)

__all__ = [
    "FOREVER_BELOW_MS",
    "Category",
    "Change",
    "Cleaned",
    "Devices",
    "OperatorNote",
    "Publishes",
    "PushStore",
    "Removal",
    "Settings",
    "StateChange",
    "Touch",
]

Change = Literal["inserted", "updated", "unchanged"]
Category = Literal[
    "publish_status", "delivery_events", "dead_letters", "operator_invalidations", "idempotency", "locks"
]
"""What `PushStore.clean` looks after; the last two end at times of their own."""

FOREVER_BELOW_MS: Final = 10**12
"""Keys whose end is before this never end (spec: push § 3.1)."""


class Cleaned(NamedTuple):
    """How many rows of a category were found to be over, and how many of them were deleted."""

    category: Category
    scanned: int
    deleted: int


class Touch(NamedTuple):
    """A send to a device succeeded, or failed in a transient way; ``token_hash`` is that of what was sent to."""

    device_id: str
    token_hash: str
    at_ms: int
    succeeded: bool


class StateChange(NamedTuple):
    """What a touch made of a device's state."""

    device_id: str
    before: DeviceState
    after: DeviceState


class OperatorNote(NamedTuple):
    """An entry of what operators have invalidated."""

    event_id: str
    occurred_at_ms: int
    subject: str


class Removal(NamedTuple):
    """An app that was removed, and whose data is to go."""

    app_id: str
    removed_at_ms: int


class Devices(Protocol):
    """Devices and what they are subscribed to."""

    async def put_device(self, device: Device, *, keep_secret: bool = False) -> Change:
        """Replaces the whole record; with ``keep_secret`` a device that exists keeps the ``secret_hash`` it has."""
        ...

    async def device(self, app_id: str, device_id: str) -> Device | None: ...

    async def devices(self, app_id: str, after: str, limit: int) -> list[Device]: ...

    async def devices_of(self, app_id: str, client_id: str, after: str, limit: int) -> list[Device]: ...

    async def devices_by_id(self, app_id: str, device_ids: Sequence[str]) -> list[Device]:
        """Those that there are, each once, in any order."""
        ...

    async def stale_devices(self, before_ms: int, limit: int) -> list[Device]:
        """Of every app, last active on a day (UTC) before that of ``before_ms``, the longest inactive first."""
        ...

    async def count_devices_of(self, app_id: str, client_id: str) -> int: ...

    async def delete_device(self, app_id: str, device_id: str, *, token_hash: str | None = None) -> bool:
        """With its subscriptions; with ``token_hash`` only if that is still the device's."""
        ...

    async def delete_devices_of(self, app_id: str, client_id: str) -> int:
        """With their subscriptions; how many devices there were."""
        ...

    async def touch_devices(self, app_id: str, touches: Sequence[Touch]) -> list[StateChange]:
        """Notes successes and transient failures of devices that still have the token (spec: push § 3)."""
        ...

    async def put_subscription(self, subscription: Subscription) -> None: ...

    async def subscriptions(
        self, app_id: str, *, channel: str | None = None, device_id: str | None = None, after: str, limit: int
    ) -> list[Subscription]:
        """Of a channel, of a device, of all; with both only that pair."""
        ...

    async def delete_subscriptions(
        self, app_id: str, *, channel: str | None = None, device_id: str | None = None
    ) -> int:
        """Of a channel or of a device; with both only that pair, with neither none. How many there were."""
        ...

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
        """In one step: the status, the idempotency keys and, with an ``intent``, the log. None when done; else the
        status of the publish that has the id or one of the keys already, and nothing has changed
        (spec: push § 5, steps 12 to 14).

        Now is ``status.created_at_ms``. What an attempt that went no further has left, a ``queued`` status that is the
        same but for its times and has no live key, is taken over: None.
        """
        ...

    async def accepted(self, app_id: str, keys: Sequence[str], now_ms: int) -> PublishStatus | None:
        """The status of the publish that has one of the keys, if both are still there (spec: push § 5, step 10)."""
        ...

    async def status(self, app_id: str, publish_id: str) -> PublishStatus | None: ...

    async def statuses(
        self, app_id: str, *, states: Sequence[State] | None, after: str, limit: int
    ) -> list[PublishStatus]:
        """The newest first, by ``created_at_ms`` and id: the one list that is sorted downwards."""
        ...

    async def swap_status(self, before: PublishStatus, after: PublishStatus) -> PublishStatus | None:
        """Replaces the status if it is still ``before`` by revision and time; the status as stored, None if it is not.

        Both rise with every change: the time is that of ``after``, or a millisecond more than before. Use
        `sockudo.push.outcomes.change_status`, which tries again.
        """
        ...

    async def edit_status(
        self, app_id: str, publish_id: str, edit: Callable[[PublishStatus], PublishStatus | None], now_ms: int
    ) -> PublishStatus | None:
        """The status after ``edit``, which is atomic; None when there is none.

        ``edit`` returns None to leave it alone, may be asked more than once, and is called in another thread.
        """
        ...

    async def append_log(self, intent: PublishIntent) -> bool:
        """Of a publish whose status was stored by itself (spec: push § 7.6); False if it is in the log already."""
        ...

    async def intent(self, app_id: str, publish_id: str) -> PublishIntent | None:
        """From the log."""
        ...

    async def intents(self, app_id: str, after: str, limit: int) -> list[PublishIntent]:
        """The log, the oldest first."""
        ...

    async def stuck(
        self, state: State, accepted_before_ms: int, limit: int, *, accepted_after_ms: int = -1
    ) -> list[PublishIntent]:
        """Publishes of every app that are still in this state, the oldest first; of those that are ``dispatching``
        only such that nothing has become of since they were accepted (`sockudo.push.lifecycle.is_untouched`).
        """
        ...

    async def count_publishes(self, app_id: str) -> dict[State, int]:
        """How many there are in each state; states without any are left out."""
        ...

    async def put_shard(self, shard: Shard) -> None: ...

    async def shard(self, app_id: str, publish_id: str, shard_id: str) -> Shard | None: ...

    async def put_job(self, job: ScheduledJob) -> None: ...

    async def job(self, app_id: str, publish_id: str) -> ScheduledJob | None: ...

    async def jobs(self, app_id: str, after: str, limit: int) -> list[ScheduledJob]: ...

    async def due_jobs(self, now_ms: int, limit: int) -> list[ScheduledJob]:
        """Of every app, due at ``now_ms`` at the latest, the longest due first."""
        ...

    async def delete_job(self, app_id: str, publish_id: str) -> bool: ...

    async def take_steps(
        self, app_id: str, publish_id: str, steps: Sequence[Step], now_ms: int, keys_until_ms: int
    ) -> tuple[list[Step], PublishStatus | None]:
        """In one step: keys and events of the steps whose key is new are kept, and the status becomes
        `sockudo.push.lifecycle.with_steps` of these. Returns them and the status after; steps of a publish
        that has no status any more are kept all the same. Keys are those of this publish; they are known until they
        were cleaned. Raises `errors.SERVICE_UNAVAILABLE` after too many conflicts.
        """
        ...

    async def steps_taken(self, app_id: str, publish_id: str, keys: Sequence[str]) -> set[str]:
        """Those of the keys whose step was taken, as long as they are known."""
        ...

    async def append_events(self, events: Sequence[DeliveryEvent]) -> None:
        """One that is there already, by publish, time and id, stays as it is."""
        ...

    async def events(
        self, app_id: str, publish_id: str, after: str, limit: int, *, device_id: str | None = None
    ) -> list[DeliveryEvent]:
        """The oldest first; of every recipient, or of one device."""
        ...

    async def append_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """One that is there already, by its id, stays as it is."""
        ...

    async def dead_letters(
        self,
        app_id: str,
        *,
        provider: Provider | None,
        since_ms: int | None,
        until_ms: int | None,
        after: str,
        limit: int,
    ) -> list[DeadLetter]:
        """The oldest first; both bounds are included."""
        ...

    async def dead_letter(self, app_id: str, dead_letter_id: str) -> DeadLetter | None: ...


class PushStore(Devices, Settings, Publishes, Protocol):
    """All of it, with locks between processes."""

    async def start(self) -> None:
        """Opens the store and brings its schema up to date; several processes may do so at once."""

    async def close(self) -> None:
        """Gives everything back. Calling it twice does no harm."""

    async def check(self) -> bool:
        """True when the store answers. Raises errors.SERVICE_UNAVAILABLE with the reason when it does not."""
        ...

    async def lock(self, app_id: str, name: str, owner: str, now_ms: int, until_ms: int) -> bool:
        """True if it has no other owner at ``now_ms``; the owner may take it again for longer."""
        ...

    async def unlock(self, app_id: str, name: str, owner: str) -> None:
        """If it is still the owner's."""

    async def record_once(self, app_id: str, key: str, now_ms: int, until_ms: int) -> bool:
        """True for the first who records the key, until it ends. Keys are not those of `Publishes.accept`."""
        ...

    async def recorded(self, app_id: str, key: str, now_ms: int) -> bool:
        """Whether `record_once` has been true for the key, and it has not ended."""
        ...

    async def note_operator(self, app_id: str, subject: str, at_ms: int) -> None:
        """Appends to what operators have invalidated."""

    async def operator_notes(self, app_id: str, after: str, limit: int) -> list[OperatorNote]:
        """The oldest first."""
        ...

    async def note_removal(self, app_id: str, at_ms: int) -> None:
        """The app was removed; of one that is noted already the first time stays."""

    async def removals(self) -> list[Removal]:
        """All that are noted, by app."""
        ...

    async def end_removal(self, app_id: str) -> None:
        """Nothing of it is left, or it is there again."""

    async def delete_app(self, app_id: str, limit: int) -> int:
        """Deletes at most ``limit`` rows of what is kept of an app, in one step; how many went.

        Its note stays, and so do keys of outcomes, which are digests and end by themselves. Subscriptions of a device
        may go with it and are not counted then.
        """
        ...

    async def clean(self, before: Mapping[Category, int], now_ms: int, limit: int) -> list[Cleaned]:
        """Deletes at most ``limit`` rows of each category older than its time; those without a time stay.

        Of publishes only what has ended goes, by the time of its last change, with log and shards. Keys and locks
        go when they have ended. Each category is a step of its own, between which others get their turn.
        """
        ...
