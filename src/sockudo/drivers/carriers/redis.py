"""Redis pub/sub between nodes: one server, or the master that Sentinels name (spec: platform § 10.2)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Final

import structlog

from sockudo import errors
from sockudo.base.tasks import end_tasks, start_tasks
from sockudo.cluster.carrier import CarrierObserver
from sockudo.config import Settings
from sockudo.config.sections.redis import RedisAccess
from sockudo.drivers.carriers.redis_link import Pace, RedisLink
from sockudo.drivers.carriers.redis_topics import RedisWaiters
from sockudo.errors import SockudoError
from sockudo.storage.redis_reach import RedisReach
from sockudo.storage.redis_wire import RedisWire, RedisWireError

__all__ = ["MAX_PAYLOAD", "RedisCarrier", "redis_carrier", "unreachable"]

MAX_PAYLOAD: Final = 8 * 1024 * 1024
LAST_SECOND: Final = 1.0

_log = structlog.get_logger("sockudo.cluster")


def redis_carrier(settings: Settings) -> RedisCarrier:
    """The carrier of ``adapter.driver = redis``."""
    return RedisCarrier(settings.redis_of_nodes(), settings.adapter.redis.prefix)


def unreachable(access: RedisAccess, problem: object) -> SockudoError:
    """What ends the start when there is no connection."""
    return errors.SERVICE_UNAVAILABLE(
        f"No connection to other nodes: Redis at {access.place}: {problem}. See that it runs and that {access.section} "
        "says how to reach it and who connects; adapter.driver says how nodes are joined."
    )


class RedisCarrier:
    """A carrier on one Redis server, or on the master of Sentinels."""

    interested = None

    def __init__(self, access: RedisAccess, prefix: str, pace: Pace = Pace()) -> None:  # noqa: B008 - a constant
        self.name = f"redis at {access.place}"
        self.max_payload = MAX_PAYLOAD
        self._access = access
        self._pace = pace
        self._reach = RedisReach(access)
        self._link = RedisLink(self._dial, self, name=access.place, prefix=prefix, pace=pace)
        self._waiters = RedisWaiters()
        self._observer: CarrierObserver | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def dropped(self) -> int:
        return self._link.outbox.dropped

    async def open(self, observer: CarrierObserver) -> None:
        self._observer = observer
        try:
            await self._link.open()
        except RedisWireError as problem:
            await self.close()
            raise unreachable(self._access, problem) from problem
        self._tasks = start_tasks(self._reach.watch(self._switched, self._pace.check))

    async def close(self) -> None:
        self._observer = None
        await end_tasks(self._tasks)
        await self._link.close(LAST_SECOND)

    def publish(self, topic: str, payload: bytes) -> None:
        if self._observer is not None:
            self._link.outbox.publish(topic, payload)

    def subscribe(self, topic: str) -> Awaitable[None]:
        return self._waiters.wait(topic, confirmed=self._link.add(topic))

    def unsubscribe(self, topic: str) -> None:
        self._link.discard(topic)
        self._waiters.forget(topic)

    def reconnect(self) -> None:
        self._link.reconnect("nothing came through it")

    # ---- what the link tells ----

    def arrived(self, topic: str, payload: bytes) -> None:
        if self._observer is not None:
            self._observer.arrived(topic, payload)

    def link_up(self, link: RedisLink) -> None:
        if self._observer is not None:
            self._observer.connected()

    def link_down(self, link: RedisLink, reason: str, unanswered: set[str]) -> None:
        if self._observer is not None:
            self._observer.disconnected(reason)

    def confirmed(self, topics: Sequence[str]) -> None:
        self._waiters.confirmed(topics)

    def astray(self, link: RedisLink, topics: Sequence[str]) -> None:
        """Plain channels are on every server."""

    def refused(self, link: RedisLink, error: str, topic: str, payload: bytes) -> None:
        link.reconnect(f"it refused a payload: {error.partition(' ')[0]}")

    def overflowed(self, topics: Sequence[str] | None) -> None:
        if self._observer is not None:
            self._observer.lost(topics)

    # ---- where the server is ----

    async def _dial(self) -> tuple[RedisWire, RedisWire]:
        host, port = await self._reach.find()
        return await self._reach.dial_both(host, port, self._pace.answer)

    def _switched(self) -> None:
        self._link.reconnect("the Sentinels named another master")
