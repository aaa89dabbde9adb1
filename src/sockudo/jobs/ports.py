"""The port of the job queue, and what goes through it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

__all__ = ["Depth", "Job", "JobQueue", "Lease", "ListedJobQueue", "QueueSpec", "Share", "StoredJob", "Tally"]

Share = tuple[str, str]
"""The jobs of one group of an app, by app id and group: what is leased fairly beside other shares."""


class QueueSpec(NamedTuple):
    """What a queue holds, and what it is called.

    ``stages`` are all that its jobs go through, plain words. ``name`` and ``items`` stand in texts, without an article.
    ``word`` is part of the names of its tables and keys: it never changes, and no two queues share it. ``kept`` are
    stages whose jobs are not leased but kept to be looked at. A queue with such stages holds a key once in all of its
    stages together, so that a job can change its stage; one in memory does not count them when it is full.
    """

    stages: tuple[str, ...]
    word: str
    name: str
    items: str
    logger: str
    kept: tuple[str, ...] = ()


class Job(NamedTuple):
    """What is put into a queue. A second job with a ``key`` that its stage still holds is not put in again.

    ``due_at_ms`` is when it may be leased, in Unix milliseconds; 0 is at once. ``body`` is opaque here.

    Jobs of a stage and a share with the same ``order``, the ordering key, are leased one after the other in the order
    in which they were put in: the first of them holds up the others while it waits or is leased. Without one nothing
    is held up. ``alone``: it is leased without those behind it. Jobs with a ``group`` can be listed.
    """

    stage: str
    key: str
    app_id: str
    body: bytes
    due_at_ms: int = 0
    group: str = ""
    order: str = ""
    alone: bool = False

    @property
    def share(self) -> Share:
        """Whose part it is where jobs are leased fairly."""
        return self.app_id, self.group


class Lease(NamedTuple):
    """A job that belongs to one worker until the lease ends; ``token`` proves it. ``attempt`` counts from 1.

    ``number`` is that of `StoredJob`, in a queue with kept stages.
    """

    job: Job
    job_id: str
    token: str
    attempt: int
    enqueued_at_ms: int
    number: int = 0


class StoredJob(NamedTuple):
    """A job as it is listed. ``number`` ascends in the order in which jobs are put in, and stays when one changes; that
    of a job that is gone may be used again.
    """

    job: Job
    number: int


class Tally(NamedTuple):
    """How many jobs, and how many of them are leased or were leased and not settled."""

    jobs: int
    leased: int


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


class ListedJobQueue(JobQueue, Protocol):
    """A job queue with kept stages, whose jobs have groups: they change their stage, are listed, and leased by key.

    What is leased by app there is leased by share here; `shares` and `forget` know jobs without a group alone.
    """

    async def lease(
        self,
        stage: str,
        limit: int,
        now_ms: int,
        lease_until_ms: int,
        *,
        per_app: int | None = None,
        run: int = 1,
        besides: Collection[Share] = (),
    ) -> list[Lease]:
        """Leases up to ``limit`` due jobs, oldest first, at most ``per_app`` of one share and none of ``besides``.

        A job with an ordering key brings those behind it along, up to ``run`` of the key together, each of which is
        not `Job.alone`; they follow it in the list, in their order.
        """
        ...

    async def next_due(self, stages: Sequence[str], *, besides: Collection[Share] = ()) -> int | None:
        """When a job may be due next that is none of ``besides``, a leased one when its lease ends; None without any.

        What its ordering key holds up is not due.
        """
        ...

    async def change(self, changes: Sequence[tuple[Lease, Job]], now_ms: int) -> list[bool]:
        """In one step: ends the leases, and each job has the stage, body, due time and `Job.alone` of the other one.

        Key, app, group, ordering key, number and attempt stay, and so does its place among those of its ordering key.
        False for a lease that another worker has taken over.
        """
        ...

    async def find(self, keys: Sequence[str]) -> list[StoredJob | None]:
        """The job of each key, in any stage; None for one that is not held."""
        ...

    async def page(
        self,
        app_id: str,
        *,
        group: str | None = None,
        stage: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[StoredJob]:
        """The newest jobs of an app first, those below the number ``before``."""
        ...

    async def tallies(self) -> dict[tuple[Share, str], Tally]:
        """The numbers of jobs by share and stage. Takes as long as there are jobs."""
        ...

    async def take(self, keys: Sequence[str], now_ms: int, lease_until_ms: int) -> list[Lease]:
        """Leases the jobs of these keys, due or not, held up or not; those that are leased already are left out."""
        ...

    async def take_old(
        self, stage: str, share: Share, came_before_ms: int, limit: int, now_ms: int, lease_until_ms: int
    ) -> list[Lease]:
        """Leases up to ``limit`` jobs that came earlier, due or not, the oldest numbers first.

        Those of an ordering key are left alone while the first of them is leased or is none of them.
        """
        ...

    async def trim(self, stage: str, keep: int, limit: int) -> int:
        """Deletes at most ``limit`` of the jobs of a kept stage beyond so many, by due time; how many went."""
        ...
