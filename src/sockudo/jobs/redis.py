"""Jobs in Redis, where several processes share them.

All keys begin with ``{prefix}:v2:{word}``, whose inner braces are part of the name: in a Redis Cluster they are all in
one hash slot (spec: platform § 4.2).

=========================  ==========  ================================================================================
``:format``                text        version of this layout
``:sequence``              number      of the newest job; 16 digits of it are the job's ref
``:message:{ref}``         hash        the job, its attempts, and its lease
``:keys:{stage}``          hash        key → ref of what the stage holds
``:lane:{stage}:{app}``    sorted set  refs of an app's jobs by when they may be leased; a leased one by when that ends
``:order:{stage}``         sorted set  all refs of a stage by when they may be leased
``:enqueued:{stage}``      sorted set  the same by when they came
``:heads:{stage}``         sorted set  the first ref of each lane, with the app's id behind it, by when it may be leased
``:held:{stage}``          set         refs that are leased, or whose lease ended without being settled
``:line:{stage}:{app}…``   sorted set  refs of an ordering key, which ends the name; only the first is in a lane
``:listed:{stage}:{app}``  sorted set  refs of a share, where jobs have groups; ``:shares`` are those that have any
=========================  ==========  ================================================================================

Where jobs have groups an app is its share, ``app\\0group``. In a queue with kept stages a key is held once, in the
``:keys:`` of no stage.

Each change is one script, which takes the calls that have come meanwhile together where jobs are put in or settled. A
server that has no memory left refuses what is put in, and goes on with what frees memory. When an answer does not come
in time the script may still have been carried out. That does no harm: a key is put in once, a lease without a holder
ends, and a job that is settled is not leased again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from sockudo import errors
from sockudo.base.ids import unique_id
from sockudo.config.sections.redis import RedisAccess
from sockudo.jobs.ports import Depth, Job, Lease, QueueSpec, Share, StoredJob, Tally
from sockudo.storage.group_commit import Bounds, Call, GroupCommit
from sockudo.storage.redis_scripts import Kept, RedisScripts, lua_scripts

__all__ = ["RedisJobQueue"]

_FORMAT: Final = 1
# In bytes, as are the weights of calls.
_BOUNDS: Final = Bounds(group=8 * 1024 * 1024, waiting=64 * 1024 * 1024)
# About what a call costs beside its bodies.
_ROW_BYTES: Final = 1024


class _Settle(NamedTuple):
    leases: Sequence[Lease]
    jobs: Sequence[Job]
    now_ms: int


class RedisJobQueue:
    """Keeps jobs in a Redis server, version 6 or newer.

    What was put in survives this process; whether it survives the Redis server is up to that server: with
    ``appendfsync always`` everything does, with ``everysec`` all but the last second, without an append-only file
    nothing since the last snapshot. Every call ends within ``timeout_ms``; 0 stands for a minute.
    """

    def __init__(self, spec: QueueSpec, access: RedisAccess, *, prefix: str, timeout_ms: int) -> None:
        self._spec = spec
        base = f"{prefix.rstrip(':')}:v2:{{{spec.word}}}"
        kept = Kept(f"The {spec.name}", spec.items, spec.logger)
        scripts = lua_scripts("sockudo.jobs")
        self._redis = RedisScripts(access, scripts, base=base, timeout_ms=timeout_ms, of=kept)
        self._commits = GroupCommit(self._settle_all, _BOUNDS, self._refusal, name=f"the {spec.name}")
        # The latest time seen in each stage; none before its first lease.
        self._latest: dict[str, int] = {}

    async def start(self) -> None:
        await self._redis.open(_FORMAT)

    async def close(self) -> None:
        await self._commits.close()
        await self._redis.close()

    async def put(self, jobs: Sequence[Job], now_ms: int, *, lasting: bool = True) -> None:
        await self.settle((), jobs, now_ms)

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
        turned_back = int(now_ms < self._latest.get(stage, now_ms + 1))
        most, token = "" if per_app is None else per_app, unique_id()
        what = stage, limit, now_ms, lease_until_ms, most, token, turned_back, run
        leased = await self._redis.run("lease", *what, *map(_share, besides))
        self._latest[stage] = now_ms
        return [_lease(token, fields) for fields in leased]

    async def extend(self, leases: Sequence[Lease], lease_until_ms: int) -> list[bool]:
        if not leases:
            return []
        return [had == 1 for had in await self._redis.run("extend", lease_until_ms, *self._held(leases))]

    async def settle(self, leases: Sequence[Lease], follow_up: Sequence[Job], now_ms: int) -> list[bool]:
        if not leases and not follow_up:
            return []
        call = _Settle(tuple(leases), tuple(follow_up), now_ms)
        done: list[bool] = await self._commits.do(call, _weight(call))
        self._note_time(follow_up, now_ms)
        return done

    async def _settle_all(self, waiting: Sequence[Call]) -> list[list[bool]]:
        calls: list[_Settle] = [each.request for each in waiting]
        held = [word for call in calls for word in self._held(call.leases)]
        put = (word for call in calls for word in self._put_arguments(call.jobs, call.now_ms))
        done = iter([had == 1 for had in await self._redis.run("settle", len(held), *held, *put)])
        return [list(islice(done, len(call.leases))) for call in calls]

    async def release(self, leases: Sequence[Lease], due_at_ms: int) -> None:
        if leases:
            await self._redis.run("release", due_at_ms, *self._held(leases))

    async def next_due(self, stages: Sequence[str], *, besides: Collection[Share] = ()) -> int | None:
        least = await self._redis.run("next_due", *stages, "", *map(_share, besides))
        return None if least is None else int(least)

    async def depths(self, now_ms: int) -> dict[str, Depth]:
        found = await self._redis.run("depths", now_ms, *self._spec.stages)
        return {stage: _depth(now_ms, *map(int, each)) for stage, each in zip(self._spec.stages, found, strict=True)}

    async def shares(self, stage: str, now_ms: int) -> dict[str, Depth]:
        found = await self._redis.run("shares", now_ms, stage)
        return {app.decode(): _depth(now_ms, *map(int, numbers)) for app, *numbers in found}

    async def holds(self, keys: Sequence[tuple[str, str]]) -> list[bool]:
        if not keys:
            return []
        words = (word for stage, key in keys for word in (self._key_stage(stage), key))
        return [has == 1 for has in await self._redis.run("holds", *words)]

    async def forget(self, app_id: str, limit: int) -> int:
        return int(await self._redis.run("forget", app_id, limit, *self._spec.stages))

    # ---- kept stages ----

    async def change(self, changes: Sequence[tuple[Lease, Job]], now_ms: int) -> list[bool]:
        if not changes:
            return []
        held = self._held([lease for lease, _ in changes])
        rows = ((job.stage, job.due_at_ms, int(job.alone), job.body, self._field(job)) for _, job in changes)
        words = (word for row in rows for word in row)
        return [had == 1 for had in await self._redis.run("change", len(changes), *held, *words)]

    async def find(self, keys: Sequence[str]) -> list[StoredJob | None]:
        found = await self._redis.run("find", *keys) if keys else []
        return [_stored(fields) if fields else None for fields in found]

    async def page(
        self,
        app_id: str,
        *,
        group: str | None = None,
        stage: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[StoredJob]:
        which = app_id, "*" if group is None else group, stage or "", "" if before is None else before, limit
        return [_stored(fields) for fields in await self._redis.run("page", *which, *self._spec.stages)]

    async def tallies(self) -> dict[tuple[Share, str], Tally]:
        found = await self._redis.run("tallies", *self._spec.stages)
        return {(_share_of(share), stage.decode()): Tally(jobs, leased) for share, stage, jobs, leased in found}

    async def take(self, keys: Sequence[str], now_ms: int, lease_until_ms: int) -> list[Lease]:
        token = unique_id()
        taken = await self._redis.run("take", now_ms, lease_until_ms, token, *dict.fromkeys(keys)) if keys else []
        return [_lease(token, fields) for fields in taken]

    async def take_old(
        self, stage: str, share: Share, came_before_ms: int, limit: int, now_ms: int, lease_until_ms: int
    ) -> list[Lease]:
        token = unique_id()
        which = stage, _share(share), came_before_ms, limit, now_ms, lease_until_ms
        return [_lease(token, fields) for fields in await self._redis.run("take_old", *which, token)]

    async def trim(self, stage: str, keep: int, limit: int) -> int:
        return int(await self._redis.run("trim", stage, keep, limit, *self._spec.stages))

    def _key_stage(self, stage: str) -> str:
        """The stage in whose name a key is held."""
        return "" if self._spec.kept else stage

    def _held(self, leases: Sequence[Lease]) -> Iterator[str]:
        for lease in leases:
            yield from (self._key_stage(lease.job.stage), lease.job.key, lease.token)

    def _field(self, job: Job) -> str:
        """The field that keeps the ordering key."""
        return "kept_order" if job.stage in self._spec.kept else "order"

    def _put_arguments(self, jobs: Sequence[Job], now_ms: int) -> Iterator[str | bytes | int]:
        for job in jobs:
            yield from (now_ms, job.stage, self._key_stage(job.stage), job.key, _share(job.share), job.body)
            yield from (job.due_at_ms, unique_id(), job.order, int(job.alone), self._field(job))

    def _refusal(self, text: str) -> errors.SockudoError:
        return errors.SERVICE_UNAVAILABLE(f"The {self._spec.name} {text}", retry_after=1)

    def _note_time(self, jobs: Sequence[Job], now_ms: int) -> None:
        for stage in {job.stage for job in jobs} & self._latest.keys():
            self._latest[stage] = max(self._latest[stage], now_ms)


def _weight(call: _Settle) -> int:
    return _ROW_BYTES * len(call.leases) + sum(_ROW_BYTES + len(job.body) for job in call.jobs)


def _share(share: Share) -> str:
    app_id, group = share
    return f"{app_id}\0{group}" if group else app_id


def _share_of(name: bytes) -> Share:
    app_id, _, group = name.decode().partition("\0")
    return app_id, group


def _lease(token: str, fields: Sequence[Any]) -> Lease:
    key, share, body, due, job_id, attempt, enqueued, order, alone, stage, ref = fields
    app_id, group = _share_of(share)
    job = Job(stage.decode(), key.decode(), app_id, body, int(due), group, order.decode(), alone == b"1")
    return Lease(job, job_id.decode(), token, int(attempt), int(enqueued), int(ref))


def _stored(fields: Sequence[Any]) -> StoredJob:
    ref, key, stage, share, body, due, order, kept_order, alone = fields
    app_id, group = _share_of(share)
    order = order or kept_order or b""
    job = Job(stage.decode(), key.decode(), app_id, body, int(due), group, order.decode(), alone == b"1")
    return StoredJob(job, int(ref))


def _depth(now_ms: int, count: int, ready: int, inflight: int, oldest_ready: int, oldest_inflight: int) -> Depth:
    return Depth(
        ready=ready,
        delayed=count - ready - inflight,
        inflight=inflight,
        oldest_ready_ms=max(0, now_ms - oldest_ready),
        oldest_inflight_ms=max(0, now_ms - oldest_inflight),
    )
