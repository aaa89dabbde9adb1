"""Webhook deliveries in Redis, where several processes share them.

All keys begin with ``{prefix}:v2:{webhooks}``, whose braces are part of the name: in a Redis Cluster they are all in
one hash slot (spec: platform § 4.2). None of them has the name of a key that other versions keep there.

=========================  ==========  ================================================================================
``:format``                text        version of this layout
``:sequence``              number      of the newest delivery
``:delivery:{id}``         hash        the delivery; what is None is not there
``:attempts:{id}``         list        its newest attempts as JSON, the oldest first
``:lane:{lane}``           list        ids that wait in a lane, the head first; a lane is ``["app","endpoint",number]``
``:lanes:{endpoint}``      set         lanes of ``["app","endpoint"]`` with something waiting
``:due``                   sorted set  lanes that nobody has, by when their head is due; named after the head's sequence
``:leases``                sorted set  lanes that somebody has, by when the lease ends
``:lane-tokens``           hash        lane → token of who has it, or had it last and never said what became of it
``:{state}:{endpoint}``    sorted set  ids of an endpoint by sequence: ``waiting``, ``delivered``, ``dead``
``:settled:{state}``       sorted set  ids in the order in which they were ``delivered`` or became ``dead``
``:settled-sequence``      number      of the last of those
``:endpoints``             set         endpoints with any delivery
=========================  ==========  ================================================================================

A lane with something in it is either in ``:due`` or in ``:leases``. Whatever changes is one script; when its answer
does not come in time it may still have been carried out. That does no harm: an id is appended once, a claim that nobody
knows of ends with its lease, and a settled delivery is not claimed again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from sockudo.base.ids import unique_id
from sockudo.config.sections import RedisServer, RedisTls
from sockudo.storage.redis_scripts import Kept, RedisScripts, lua_scripts
from sockudo.webhooks.ports import Claim, Endpoints, Outcome
from sockudo.webhooks.queues.memory import KEPT_ATTEMPTS
from sockudo.webhooks.records import Attempt, Counts, Delivery, State

__all__ = ["RedisWebhookQueue"]

_FORMAT: Final = 1
_KEPT: Final = Kept("The webhook queue", "webhooks", "sockudo.webhooks")

_Lane = tuple[str, str, int]
_Trace = tuple[tuple[str, str], ...]


class RedisWebhookQueue:
    """Keeps deliveries in a Redis server, version 6 or newer.

    What was appended survives this process; whether it survives the Redis server is up to that server: with
    ``appendfsync always`` everything does, with ``everysec`` all but the last second, without an append-only file
    nothing since the last snapshot. Every call ends within ``timeout_ms``; 0 stands for a minute.
    """

    def __init__(self, server: RedisServer, tls: RedisTls, *, prefix: str, timeout_ms: int) -> None:
        base = f"{prefix.rstrip(':')}:v2:{{webhooks}}"
        scripts = lua_scripts("sockudo.webhooks.queues")
        self._redis = RedisScripts(server, tls, scripts, base=base, timeout_ms=timeout_ms, of=_KEPT)

    async def start(self) -> None:
        await self._redis.open(_FORMAT)

    async def close(self) -> None:
        await self._redis.close()

    async def append(self, deliveries: Sequence[Delivery]) -> None:
        if deliveries:
            await self._redis.run("append", *(value for each in deliveries for value in _appended(each)))

    async def claim(
        self, now_ms: int, lease_until_ms: int, limit: int, *, besides: Endpoints = frozenset()
    ) -> list[Claim]:
        claims = await self._redis.run("claim", now_ms, lease_until_ms, limit, unique_id(), *_names(besides))
        return [Claim(_delivery(delivery_id, fields), str(token, "utf-8")) for delivery_id, token, fields in claims]

    async def renew(self, claims: Sequence[Claim], lease_until_ms: int) -> None:
        if claims:
            held = (value for claim in claims for value in (_lane_of(claim.delivery), claim.token))
            await self._redis.run("renew", lease_until_ms, *held)

    async def settle(self, outcomes: Sequence[tuple[Claim, Outcome]], now_ms: int) -> list[bool]:
        if not outcomes:
            return []
        values = (value for claim, outcome in outcomes for value in _settled(claim, outcome))
        return [held == 1 for held in await self._redis.run("settle", now_ms, KEPT_ATTEMPTS, *values)]

    async def next_due(self, *, besides: Endpoints = frozenset()) -> int | None:
        return _number(await self._redis.run("next_due", *_names(besides)))

    async def counts(self) -> Mapping[tuple[str, str], Counts]:
        found = await self._redis.run("counts")
        return {msgspec.json.decode(endpoint, type=tuple[str, str]): Counts(*counts) for endpoint, *counts in found}

    async def page(
        self,
        app_id: str,
        *,
        endpoint: str | None = None,
        state: State | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[Delivery]:
        which = "" if endpoint is None else _name(app_id, endpoint)
        below = "" if before is None else before
        found = await self._redis.run("page", _beginning(app_id), which, state or "", below, limit)
        return [_delivery(delivery_id, fields) for delivery_id, fields in found]

    async def get(self, app_id: str, delivery_id: str) -> tuple[Delivery, list[Attempt]] | None:
        fields, attempts = await self._redis.run("get", delivery_id)
        if fields[0] is None:
            return None
        delivery = _delivery(delivery_id.encode(), fields)
        if delivery.app_id != app_id:
            return None
        return delivery, [msgspec.json.decode(attempt, type=Attempt) for attempt in attempts]

    async def replay(
        self, app_id: str, now_ms: int, *, ids: Sequence[str] | None = None, endpoint: str | None = None
    ) -> int:
        if ids is not None:
            which = ["ids", *dict.fromkeys(ids)]
        else:
            which = ["dead", "" if endpoint is None else _name(app_id, endpoint)]
        return int(await self._redis.run("replay", now_ms, _beginning(app_id), *which))

    async def expire(self, app_id: str, endpoint: str, created_before_ms: int, now_ms: int, reason: str) -> int:
        return int(await self._redis.run("expire", _name(app_id, endpoint), created_before_ms, now_ms, reason))

    async def trim(self, keep_delivered: int, keep_dead: int) -> int:
        return int(await self._redis.run("trim", keep_delivered, keep_dead))


def _name(app_id: str, endpoint: str) -> str:
    return msgspec.json.encode((app_id, endpoint)).decode()


def _names(endpoints: Endpoints) -> Iterable[str]:
    return (_name(*each) for each in endpoints)


def _beginning(app_id: str) -> str:
    """What the names of an app's endpoints and lanes begin with."""
    return msgspec.json.encode((app_id,)).decode()[:-1] + ","


def _lane_of(delivery: Delivery) -> bytes:
    return msgspec.json.encode((delivery.app_id, delivery.endpoint, delivery.lane))


def _appended(delivery: Delivery) -> tuple[str | bytes | int, ...]:
    return (
        delivery.id,
        _lane_of(delivery),
        delivery.body,
        delivery.events,
        msgspec.json.encode(delivery.trace),
        delivery.created_at_ms,
        delivery.due_at_ms,
    )


def _settled(claim: Claim, outcome: Outcome) -> tuple[str | bytes | int, ...]:
    attempt = outcome.attempt
    return (
        _lane_of(claim.delivery),
        claim.token,
        outcome.state,
        outcome.due_at_ms,
        outcome.reason or "",
        b"" if attempt is None else msgspec.json.encode(attempt),
        "" if attempt is None else attempt.at_ms,
    )


def _delivery(delivery_id: bytes, fields: Sequence[Any]) -> Delivery:
    lane, body, events, trace, created, due, state, attempts, first, settled, reason, sequence = fields
    app_id, endpoint, number = msgspec.json.decode(lane, type=_Lane)
    return Delivery(
        id=delivery_id.decode(),
        app_id=app_id,
        endpoint=endpoint,
        lane=number,
        body=body,
        events=int(events),
        created_at_ms=int(created),
        due_at_ms=int(due),
        state=msgspec.convert(state.decode(), State),
        attempts=int(attempts),
        first_attempt_at_ms=_number(first),
        settled_at_ms=_number(settled),
        reason=None if reason is None else reason.decode(),
        sequence=int(sequence),
        trace=msgspec.json.decode(trace, type=_Trace),
    )


def _number(text: bytes | None) -> int | None:
    return None if text is None else int(text)
