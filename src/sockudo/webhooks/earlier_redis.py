"""An earlier webhook queue in Redis, beside the keys of today's.

Its keys begin with ``{prefix}:v2:{webhooks}``, whose inner braces are part of the name.

=========================  ==========  ================================================================================
``:delivery:{id}``         hash        the delivery; what is None is not there
``:attempts:{id}``         list        its newest attempts as JSON, the oldest first
``:lane:{lane}``           list        ids that wait in a lane, the head first; a lane is ``["app","endpoint",number]``
``:lanes:{endpoint}``      set         lanes of ``["app","endpoint"]`` with something waiting
``:due``                   sorted set  lanes without a lease, by when their head is due; named after its sequence
``:leases``                sorted set  lanes with a lease, by when it ends
``:lane-tokens``           hash        lane → token of the lease
``:{state}:{endpoint}``    sorted set  ids of an endpoint by sequence: ``waiting``, ``delivered``, ``dead``
``:settled:{state}``       sorted set  ids in the order in which they were ``delivered`` or became ``dead``
``:endpoints``             set         endpoints with any delivery
=========================  ==========  ================================================================================
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final, Self

import msgspec

from sockudo.base.spans import TraceHeaders
from sockudo.config import Settings
from sockudo.storage.redis_scripts import Kept, RedisScripts, lua_scripts
from sockudo.webhooks.records import Attempt, Delivery, State

__all__ = ["EarlierRedis"]

_FORMAT: Final = 1
_KEPT: Final = Kept("The webhook queue", "webhooks", "sockudo.webhooks")
# For the lanes that are being carried over.
_LEASE_MS: Final = 60_000


class EarlierRedis:
    """Reads its deliveries lane by lane. Processes of the version before that still run keep the lanes that they have
    leased, and deliver what they append.
    """

    def __init__(self, settings: Settings) -> None:
        queue = settings.queue.redis
        self._redis = RedisScripts(
            settings.redis_of_queue("redis"),
            lua_scripts("sockudo.webhooks"),
            base=f"{queue.prefix.rstrip(':')}:v2:{{webhooks}}",
            timeout_ms=queue.response_timeout_ms,
            of=_KEPT,
        )

    async def __aenter__(self) -> Self:
        await self._redis.open(_FORMAT, warns=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._redis.close()

    async def take(self, limit: int) -> Sequence[tuple[Delivery, Sequence[Attempt]]]:
        now_ms = int(time.time() * 1000)
        found = await self._redis.run("take", now_ms, now_ms + _LEASE_MS, limit)
        return [
            (_delivery(delivery_id, fields), [msgspec.json.decode(each, type=Attempt) for each in tried])
            for delivery_id, fields, tried in found
        ]

    async def drop(self, deliveries: Sequence[Delivery]) -> None:
        await self._redis.run("drop", *(each.id for each in deliveries))


def _delivery(delivery_id: bytes, fields: Sequence[Any]) -> Delivery:
    lane, body, events, trace, created, due, state, attempts, first, settled, reason, sequence = fields
    app_id, endpoint, _ = msgspec.json.decode(lane, type=tuple[str, str, int])
    return Delivery(
        delivery_id.decode(),
        app_id,
        endpoint,
        "",
        body,
        int(events),
        int(created),
        int(due),
        msgspec.convert(state.decode(), State),
        int(attempts),
        None if first is None else int(first),
        None if settled is None else int(settled),
        None if reason is None else reason.decode(),
        int(sequence),
        msgspec.json.decode(trace, type=TraceHeaders),
    )
