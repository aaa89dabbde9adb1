"""What the pipeline asks of its queue: stages of messages, each taken by one worker at a time (spec: push § 7.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, Protocol, get_args

__all__ = ["DELIVERY_STAGES", "STAGES", "Depth", "Lease", "Message", "PushQueue", "Stage"]

Stage = Literal[
    "publish_log",
    "shard_jobs",
    "delivery_jobs_fcm",
    "delivery_jobs_apns",
    "delivery_jobs_webpush",
    "delivery_jobs_hms",
    "delivery_jobs_wns",
    "delivery_jobs_realtime",
    "delivery_results",
    "retry_schedule",
    "dead_letters",
]

STAGES: Final[tuple[Stage, ...]] = get_args(Stage)
DELIVERY_STAGES: Final[tuple[Stage, ...]] = tuple(name for name in STAGES if name.startswith("delivery_jobs_"))


class Message(NamedTuple):
    """What is produced. A second message with a ``key`` that its stage still holds is not produced again.

    ``due_at_ms`` is when it may be taken, in Unix milliseconds; 0 is at once. ``body`` is opaque here.
    """

    stage: Stage
    key: str
    app_id: str
    body: bytes
    due_at_ms: int = 0


class Lease(NamedTuple):
    """A message that one worker has until its lease ends; ``token`` proves it. ``attempt`` counts from 1."""

    message: Message
    message_id: str
    token: str
    attempt: int
    enqueued_at_ms: int


class Depth(NamedTuple):
    """How many messages of a stage are ready, wait for their time and are being worked on, and the age in ms of the
    oldest of each, since when it could first have been taken: 0 for those that wait.
    """

    ready: int = 0
    delayed: int = 0
    inflight: int = 0
    oldest_ready_ms: int = 0
    oldest_delayed_ms: int = 0
    oldest_inflight_ms: int = 0


class PushQueue(Protocol):
    """Messages that survive the process once `produce` has returned. One contract suite runs over every implementation,
    the memory one first.

    Every method raises errors.SERVICE_UNAVAILABLE when the queue cannot be reached, and nothing has changed then, as
    far as can be known: what a server had done when its answer was lost may be asked for again. None hangs for good. At
    least once: a message whose lease ended is given out again with the next attempt. Of messages that are due, those
    that have been due for longest come first; one whose lease ended has been due since then.

    Times are the caller's. When they go back, as clocks that are put right do, what was produced to be taken at once
    still may be, leases keep the length that is left of them, and what waits for a time waits for it.
    """

    async def start(self) -> None:
        """Opens the queue and brings its schema up to date; several processes may do so at once."""

    async def close(self) -> None:
        """Gives everything back. Calling it twice does no harm."""

    async def produce(self, messages: Sequence[Message], now_ms: int, *, lasting: bool = True) -> None:
        """Keeps all of them or none. Those that are not ``lasting`` may be lost with the power, if that is faster:
        whoever produces them can find out that they are gone.
        """

    async def consume(
        self, stage: Stage, limit: int, now_ms: int, lease_until_ms: int, *, per_app: int | None = None
    ) -> list[Lease]:
        """At most ``limit`` messages that are due, ``per_app`` of one app at most; nobody else has them until then."""
        ...

    async def extend(self, leases: Sequence[Lease], lease_until_ms: int) -> list[bool]:
        """Keeps them for longer; False for one that somebody else has, or that is gone."""
        ...

    async def finish(self, leases: Sequence[Lease], follow_up: Sequence[Message], now_ms: int) -> list[bool]:
        """In one step: the messages are done with, and what follows from them is produced.

        False for one that is not this worker's any more. What follows is produced all the same: whoever has the
        message now makes the same again, under the same keys.
        """
        ...

    async def give_back(self, leases: Sequence[Lease], due_at_ms: int) -> None:
        """Others may take them from then on; the attempt does not count."""

    async def next_due(self, stages: Sequence[Stage]) -> int | None:
        """When the earliest message may be taken, one that somebody has when its lease ends; None without any."""
        ...

    async def depths(self, now_ms: int) -> dict[Stage, Depth]:
        """Of every stage."""
        ...

    async def shares(self, stage: Stage, now_ms: int) -> dict[str, Depth]:
        """Whose the messages of a stage are, by app; apps without any are left out. Together they are its depth.

        Takes as long as there are messages.
        """
        ...

    async def holds(self, keys: Sequence[tuple[Stage, str]]) -> list[bool]:
        """Whether each stage has a message of this key, waiting or in somebody's hands; of one moment for all keys."""
        ...

    async def forget(self, app_id: str, limit: int) -> int:
        """Deletes at most ``limit`` messages of an app, whenever they are due and whoever has them; how many went."""
        ...
