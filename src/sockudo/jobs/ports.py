"""The port of the job queue, and what goes through it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

__all__ = ["Depth", "Job", "JobQueue", "Lease", "QueueSpec"]


class QueueSpec(NamedTuple):
    """What a queue holds, and what it is called.

    ``stages`` are all that its jobs go through, plain words. ``name`` and ``items`` stand in texts, without an article.
    ``word`` is part of the names of its tables and keys: it never changes, and no two queues share it.
    """

    stages: tuple[str, ...]
    word: str
    name: str
    items: str
    logger: str


class Job(NamedTuple):
    """What is put into a queue. A second job with a ``key`` that its stage still holds is not put in again.

    ``due_at_ms`` is when it may be leased, in Unix milliseconds; 0 is at once. ``body`` is opaque here.
    """

    stage: str
    key: str
    app_id: str
    body: bytes
    due_at_ms: int = 0


class Lease(NamedTuple):
    """A job that belongs to one worker until the lease ends; ``token`` proves it. ``attempt`` counts from 1."""

    job: Job
    job_id: str
    token: str
    attempt: int
    enqueued_at_ms: int


class Depth(NamedTuple):
    """How many jobs of a stage are due, wait for their time and are leased, and the age in ms of the oldest of each,
    since it could first have been leased: 0 for those that wait.
    """

    ready: int = 0
    delayed: int = 0
    inflight: int = 0
    oldest_ready_ms: int = 0
    oldest_delayed_ms: int = 0
    oldest_inflight_ms: int = 0


class JobQueue(Protocol):
    """Jobs that survive the process once `put` has returned. One contract suite runs over every implementation, the
    memory one first.

    Every method raises errors.SERVICE_UNAVAILABLE when the queue cannot be reached, and nothing has changed then, as
    far as can be known: what a server had done when its answer was lost may be asked for again. None hangs for good. At
    least once: a job whose lease ended is leased again with the next attempt. Of jobs that are due, those that have
    been due for longest come first; one whose lease ended has been due since then.

    Times are the caller's. When they go back, as clocks that are put right do, jobs that were due at once still are,
    leases keep the length that is left of them, and what waits for a time waits for it.
    """

    async def start(self) -> None:
        """Opens the queue and brings its schema up to date; several processes may do so at once."""

    async def close(self) -> None:
        """Gives everything back. Calling it twice does no harm."""

    async def put(self, jobs: Sequence[Job], now_ms: int, *, lasting: bool = True) -> None:
        """Keeps all of them or none. Those that are not ``lasting`` may be lost with the power, if that is faster, for
        callers that can find out that they are gone.
        """

    async def lease(
        self, stage: str, limit: int, now_ms: int, lease_until_ms: int, *, per_app: int | None = None
    ) -> list[Lease]:
        """Leases up to ``limit`` due jobs, oldest first, at most ``per_app`` of one app."""
        ...

    async def extend(self, leases: Sequence[Lease], lease_until_ms: int) -> list[bool]:
        """Makes the leases last longer; False for a job that another worker has, or that is gone."""
        ...

    async def settle(self, leases: Sequence[Lease], follow_up: Sequence[Job], now_ms: int) -> list[bool]:
        """In one step: removes the leased jobs, and puts in what follows from them.

        False for a lease that another worker has taken over. What follows is put in all the same: that worker makes the
        same again, under the same keys.
        """
        ...

    async def release(self, leases: Sequence[Lease], due_at_ms: int) -> None:
        """Ends the leases: the jobs are due then, and the attempt does not count."""

    async def next_due(self, stages: Sequence[str]) -> int | None:
        """When the earliest job is due, a leased one when its lease ends; None without any."""
        ...

    async def depths(self, now_ms: int) -> dict[str, Depth]:
        """The depth of every stage."""
        ...

    async def shares(self, stage: str, now_ms: int) -> dict[str, Depth]:
        """The depth of one stage by app, apps with no jobs omitted. Takes as long as there are jobs."""
        ...

    async def holds(self, keys: Sequence[tuple[str, str]]) -> list[bool]:
        """Whether each stage holds a job of this key, leased or not; of one moment for all keys."""
        ...

    async def forget(self, app_id: str, limit: int) -> int:
        """Deletes at most ``limit`` jobs of an app, due or not, leased or not; how many went."""
        ...
