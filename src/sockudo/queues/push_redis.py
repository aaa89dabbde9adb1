"""Push messages in Redis, where several processes share them.

All keys begin with ``{prefix}:v2:{push}``, whose inner braces are part of the name: in a Redis Cluster they are all in
one hash slot (spec: platform § 4.2).

=========================  ==========  ================================================================================
``:format``                text        version of this layout
``:sequence``              number      of the newest message; 16 digits of it are the message's ref
``:message:{ref}``         hash        the message, its attempts, and who has it since when
``:keys:{stage}``          hash        key → ref of what the stage holds
``:lane:{stage}:{app}``    sorted set  refs of an app's messages by when they may be taken: who is had, when it is not
``:order:{stage}``         sorted set  all refs of a stage by when they may be taken
``:enqueued:{stage}``      sorted set  the same by when they came
``:heads:{stage}``         sorted set  the first ref of each lane, with the app's id behind it, by when it may be taken
``:held:{stage}``          set         refs that somebody has, or had and let the lease end
=========================  ==========  ================================================================================

Whatever changes is one script, which takes the calls that have come meanwhile together where messages are produced or
finished. A server that has no memory left refuses what is produced, and goes on with what frees memory. When an answer
does not come in time the script may still have been carried out. That does no harm: a key is produced once, a lease
that nobody knows of ends, and a message that is finished is not given out again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from sockudo import errors
from sockudo.config.sections import RedisServer, RedisTls
from sockudo.ids import unique_id
from sockudo.push.queue import STAGES, Depth, Lease, Message, Stage
from sockudo.queues.push_redis_scripts import SCRIPTS
from sockudo.queues.redis_connection import Kept, RedisScripts
from sockudo.storage.group_commit import Bounds, Call, GroupCommit

__all__ = ["RedisPushQueue"]

_FORMAT: Final = 1
_KEPT: Final = Kept("The push queue", "notifications", "sockudo.push")
# In bytes, as are the weights of calls.
_BOUNDS: Final = Bounds(group=8 * 1024 * 1024, waiting=64 * 1024 * 1024)
# About what a call costs beside its bodies.
_ROW_BYTES: Final = 1024


class _Finish(NamedTuple):
    leases: Sequence[Lease]
    messages: Sequence[Message]
    now_ms: int


class RedisPushQueue:
    """Keeps messages in a Redis server, version 6 or newer.

    What was produced survives this process; whether it survives the Redis server is up to that server: with
    ``appendfsync always`` everything does, with ``everysec`` all but the last second, without an append-only file
    nothing since the last snapshot. Every call ends within ``timeout_ms``; 0 stands for a minute.
    """

    def __init__(self, server: RedisServer, tls: RedisTls, *, prefix: str, timeout_ms: int) -> None:
        base = f"{prefix.rstrip(':')}:v2:{{push}}"
        self._redis = RedisScripts(server, tls, SCRIPTS, base=base, timeout_ms=timeout_ms, of=_KEPT)
        self._commits = GroupCommit(self._finish, _BOUNDS, _refusal, name="the push queue in Redis")
        # The latest time that was heard of in each stage; none before its first look.
        self._latest: dict[Stage, int] = {}

    async def start(self) -> None:
        await self._redis.open(_FORMAT)

    async def close(self) -> None:
        await self._commits.close()
        await self._redis.close()

    async def produce(self, messages: Sequence[Message], now_ms: int, *, lasting: bool = True) -> None:
        await self.finish((), messages, now_ms)

    async def consume(
        self, stage: Stage, limit: int, now_ms: int, lease_until_ms: int, *, per_app: int | None = None
    ) -> list[Lease]:
        turned_back = now_ms < self._latest.get(stage, now_ms + 1)
        most, token = "" if per_app is None else per_app, unique_id()
        taken = await self._redis.run("consume", stage, limit, now_ms, lease_until_ms, most, token, int(turned_back))
        self._latest[stage] = now_ms
        return [_lease(stage, token, fields) for fields in taken]

    async def extend(self, leases: Sequence[Lease], lease_until_ms: int) -> list[bool]:
        if not leases:
            return []
        return [had == 1 for had in await self._redis.run("extend", lease_until_ms, *_held(leases))]

    async def finish(self, leases: Sequence[Lease], follow_up: Sequence[Message], now_ms: int) -> list[bool]:
        if not leases and not follow_up:
            return []
        call = _Finish(tuple(leases), tuple(follow_up), now_ms)
        done: list[bool] = await self._commits.do(call, _weight(call))
        self._heard(follow_up, now_ms)
        return done

    async def _finish(self, waiting: Sequence[Call]) -> list[list[bool]]:
        calls: list[_Finish] = [each.request for each in waiting]
        held = [word for call in calls for word in _held(call.leases)]
        produced = (word for call in calls for word in _produced(call.messages, call.now_ms))
        done = iter([had == 1 for had in await self._redis.run("finish", len(held), *held, *produced)])
        return [list(islice(done, len(call.leases))) for call in calls]

    async def give_back(self, leases: Sequence[Lease], due_at_ms: int) -> None:
        if leases:
            await self._redis.run("give_back", due_at_ms, *_held(leases))

    async def next_due(self, stages: Sequence[Stage]) -> int | None:
        least = await self._redis.run("next_due", *stages)
        return None if least is None else int(least)

    async def depths(self, now_ms: int) -> dict[Stage, Depth]:
        found = await self._redis.run("depths", now_ms, *STAGES)
        return {stage: _depth(now_ms, *map(int, each)) for stage, each in zip(STAGES, found, strict=True)}

    async def shares(self, stage: Stage, now_ms: int) -> dict[str, Depth]:
        found = await self._redis.run("shares", now_ms, stage)
        return {app.decode(): _depth(now_ms, *map(int, numbers)) for app, *numbers in found}

    async def holds(self, keys: Sequence[tuple[Stage, str]]) -> list[bool]:
        if not keys:
            return []
        return [has == 1 for has in await self._redis.run("holds", *(word for each in keys for word in each))]

    async def forget(self, app_id: str, limit: int) -> int:
        return int(await self._redis.run("forget", app_id, limit, *STAGES))

    def _heard(self, messages: Sequence[Message], now_ms: int) -> None:
        for stage in {message.stage for message in messages} & self._latest.keys():
            self._latest[stage] = max(self._latest[stage], now_ms)


def _refusal(text: str) -> errors.SockudoError:
    return errors.SERVICE_UNAVAILABLE(f"{_KEPT.queue} {text}", retry_after=1)


def _weight(call: _Finish) -> int:
    return _ROW_BYTES * len(call.leases) + sum(_ROW_BYTES + len(message.body) for message in call.messages)


def _produced(messages: Sequence[Message], now_ms: int) -> Iterator[str | bytes | int]:
    for message in messages:
        yield from (now_ms, message.stage, message.key, message.app_id, message.body, message.due_at_ms, unique_id())


def _held(leases: Sequence[Lease]) -> Iterator[str]:
    for lease in leases:
        yield from (lease.message.stage, lease.message.key, lease.token)


def _lease(stage: Stage, token: str, fields: Sequence[Any]) -> Lease:
    key, app_id, body, due, message_id, attempt, enqueued = fields
    message = Message(stage, key.decode(), app_id.decode(), body, int(due))
    return Lease(message, message_id.decode(), token, int(attempt), int(enqueued))


def _depth(now_ms: int, count: int, ready: int, inflight: int, oldest_ready: int, oldest_inflight: int) -> Depth:
    return Depth(
        ready=ready,
        delayed=count - ready - inflight,
        inflight=inflight,
        oldest_ready_ms=max(0, now_ms - oldest_ready),
        oldest_inflight_ms=max(0, now_ms - oldest_inflight),
    )
