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
=========================  ==========  ================================================================================

Each change is one script, which takes the calls that have come meanwhile together where jobs are put in or settled. A
server that has no memory left refuses what is put in, and goes on with what frees memory. When an answer does not come
in time the script may still have been carried out. That does no harm: a key is put in once, a lease without a holder
ends, and a job that is settled is not leased again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from sockudo import errors
from sockudo.base.ids import unique_id
from sockudo.config.sections import RedisServer, RedisTls
from sockudo.jobs.ports import Depth, Job, Lease, QueueSpec
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

    def __init__(self, spec: QueueSpec, server: RedisServer, tls: RedisTls, *, prefix: str, timeout_ms: int) -> None:
        self._spec = spec
        base = f"{prefix.rstrip(':')}:v2:{{{spec.word}}}"
        kept = Kept(f"The {spec.name}", spec.items, spec.logger)
        scripts = lua_scripts("sockudo.jobs")
        self._redis = RedisScripts(server, tls, scripts, base=base, timeout_ms=timeout_ms, of=kept)
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
        self, stage: str, limit: int, now_ms: int, lease_until_ms: int, *, per_app: int | None = None
    ) -> list[Lease]:
        turned_back = now_ms < self._latest.get(stage, now_ms + 1)
        most, token = "" if per_app is None else per_app, unique_id()
        leased = await self._redis.run("lease", stage, limit, now_ms, lease_until_ms, most, token, int(turned_back))
        self._latest[stage] = now_ms
        return [_lease(stage, token, fields) for fields in leased]

    async def extend(self, leases: Sequence[Lease], lease_until_ms: int) -> list[bool]:
        if not leases:
            return []
        return [had == 1 for had in await self._redis.run("extend", lease_until_ms, *_held(leases))]

    async def settle(self, leases: Sequence[Lease], follow_up: Sequence[Job], now_ms: int) -> list[bool]:
        if not leases and not follow_up:
            return []
        call = _Settle(tuple(leases), tuple(follow_up), now_ms)
        done: list[bool] = await self._commits.do(call, _weight(call))
        self._note_time(follow_up, now_ms)
        return done

    async def _settle_all(self, waiting: Sequence[Call]) -> list[list[bool]]:
        calls: list[_Settle] = [each.request for each in waiting]
        held = [word for call in calls for word in _held(call.leases)]
        put = (word for call in calls for word in _put_arguments(call.jobs, call.now_ms))
        done = iter([had == 1 for had in await self._redis.run("settle", len(held), *held, *put)])
        return [list(islice(done, len(call.leases))) for call in calls]

    async def release(self, leases: Sequence[Lease], due_at_ms: int) -> None:
        if leases:
            await self._redis.run("release", due_at_ms, *_held(leases))

    async def next_due(self, stages: Sequence[str]) -> int | None:
        least = await self._redis.run("next_due", *stages)
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
        return [has == 1 for has in await self._redis.run("holds", *(word for each in keys for word in each))]

    async def forget(self, app_id: str, limit: int) -> int:
        return int(await self._redis.run("forget", app_id, limit, *self._spec.stages))

    def _refusal(self, text: str) -> errors.SockudoError:
        return errors.SERVICE_UNAVAILABLE(f"The {self._spec.name} {text}", retry_after=1)

    def _note_time(self, jobs: Sequence[Job], now_ms: int) -> None:
        for stage in {job.stage for job in jobs} & self._latest.keys():
            self._latest[stage] = max(self._latest[stage], now_ms)


def _weight(call: _Settle) -> int:
    return _ROW_BYTES * len(call.leases) + sum(_ROW_BYTES + len(job.body) for job in call.jobs)


def _put_arguments(jobs: Sequence[Job], now_ms: int) -> Iterator[str | bytes | int]:
    for job in jobs:
        yield from (now_ms, job.stage, job.key, job.app_id, job.body, job.due_at_ms, unique_id())


def _held(leases: Sequence[Lease]) -> Iterator[str]:
    for lease in leases:
        yield from (lease.job.stage, lease.job.key, lease.token)


def _lease(stage: str, token: str, fields: Sequence[Any]) -> Lease:
    key, app_id, body, due, job_id, attempt, enqueued = fields
    job = Job(stage, key.decode(), app_id.decode(), body, int(due))
    return Lease(job, job_id.decode(), token, int(attempt), int(enqueued))


def _depth(now_ms: int, count: int, ready: int, inflight: int, oldest_ready: int, oldest_inflight: int) -> Depth:
    return Depth(
        ready=ready,
        delayed=count - ready - inflight,
        inflight=inflight,
        oldest_ready_ms=max(0, now_ms - oldest_ready),
        oldest_inflight_ms=max(0, now_ms - oldest_inflight),
    )
