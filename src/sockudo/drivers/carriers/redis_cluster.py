"""Sharded pub/sub between nodes: each topic is on the server of a Redis Cluster that has its slot.

A cluster without it is one server, see `sockudo.drivers.carriers.redis`: plain channels are on all servers of it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Sequence
from functools import partial
from typing import Final

import structlog

from sockudo.base.tasks import end_tasks, start_tasks
from sockudo.cluster.carrier import Carrier, CarrierObserver
from sockudo.config import Settings
from sockudo.config.sections.redis import RedisAccess
from sockudo.drivers.carriers.links import pauses
from sockudo.drivers.carriers.redis import LAST_SECOND, MAX_PAYLOAD, RedisCarrier, unreachable
from sockudo.drivers.carriers.redis_link import Pace, RedisLink
from sockudo.drivers.carriers.redis_topics import RedisWaiters
from sockudo.storage.redis_reach import RedisReach
from sockudo.storage.redis_slots import SLOTS, SlotRange, slot_of
from sockudo.storage.redis_wire import RedisWireError

__all__ = ["RedisClusterCarrier", "redis_cluster_carrier"]

_REFRESHED_EVERY: Final = 30.0
# A replica takes over within seconds, and a look costs the cluster little.
_LONGEST_PAUSE: Final = 2.0
# So long after the first connection the carrier works, also when a part of the cluster is missing.
_SETTLED_AFTER: Final = 5.0
_MOVED: Final = re.compile(r"MOVED ([0-9]+) (.*):([0-9]+)")
_MOST_LOST: Final = 10_000
# Names that are tried to find one of a server's own: enough for a server of one slot.
_MOST_PROBES: Final = 200_000
# Errors that go by themselves, or with a look at what is where.
_PASSING: Final = ("MOVED", "CLUSTERDOWN", "ASK", "TRYAGAIN")

_log = structlog.get_logger("sockudo.cluster")


def redis_cluster_carrier(settings: Settings) -> Carrier:
    """The carrier of ``adapter.driver = redis-cluster``."""
    options, access = settings.adapter.cluster, settings.redis_of_nodes()
    if options.use_sharded_pubsub:
        return RedisClusterCarrier(access, options.prefix)
    return RedisCarrier(access, options.prefix)


class _SentAgain(bytes):
    """A payload that has been at a wrong server once; the second time it is given up."""


class RedisClusterCarrier:
    """A carrier on all masters of a Redis Cluster, a link for each."""

    interested = None

    def __init__(self, access: RedisAccess, prefix: str, pace: Pace = Pace()) -> None:  # noqa: B008 - a constant
        self.name = f"redis at {access.place}"
        self.max_payload = MAX_PAYLOAD
        self._access = access
        self._prefix = prefix
        self._pace = pace
        self._dropped = 0
        self._reach = RedisReach(access)
        self._observer: CarrierObserver | None = None
        self._waiters = RedisWaiters()
        self._links: dict[tuple[str, int], RedisLink] = {}
        self._slots: list[RedisLink | None] = [None] * SLOTS
        self._topics: dict[str, RedisLink | None] = {}
        # Topics that the server they were on does not have any more.
        self._astray: set[str] = set()
        # Those of which payloads may be missing, as soon as they are confirmed where they are now.
        self._moved: set[str] = set()
        # Those of payloads that were not sent; `_lost_more` says that there are others, too.
        self._lost: set[str] = set()
        self._lost_more = False
        # A redirection changed the slots, and topics are still where they were.
        self._shifted = False
        self._new: set[RedisLink] = set()
        self._working = False
        self._stale = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def dropped(self) -> int:
        return self._dropped + sum(link.outbox.dropped for link in self._links.values())

    async def open(self, observer: CarrierObserver) -> None:
        try:
            self._place(await self._reach.masters())
            async with asyncio.TaskGroup() as group:
                for link in self._links.values():
                    group.create_task(link.open())
        except RedisWireError as problem:
            await self.close()
            raise unreachable(self._access, problem) from problem
        except BaseExceptionGroup as several:
            await self.close()
            problems, others = several.split(RedisWireError)
            if others is not None or problems is None:
                raise
            raise unreachable(self._access, problems.exceptions[0]) from several
        self._observer, self._working = observer, True
        observer.connected()
        self._tasks = start_tasks(self._follow())

    async def close(self) -> None:
        self._observer = None
        await end_tasks(self._tasks)
        links, self._links = tuple(self._links.values()), {}
        await asyncio.gather(*(link.close(LAST_SECOND) for link in links))
        self._dropped += sum(link.outbox.dropped for link in links)

    def publish(self, topic: str, payload: bytes) -> None:
        if self._observer is None:
            return
        link = self._slots[self._slot(topic)]
        if link is None or not link.outbox.publish(topic, payload):
            self._lose(topic)
            self._look_soon()

    def subscribe(self, topic: str) -> Awaitable[None]:
        old, link = self._topics.get(topic), self._slots[self._slot(topic)]
        if old is not None and old is not link:
            old.discard(topic)
        self._topics[topic] = link
        return self._waiters.wait(topic, confirmed=link is not None and link.add(topic))

    def unsubscribe(self, topic: str) -> None:
        link = self._topics.pop(topic, None)
        if link is not None:
            link.discard(topic)
        self._astray.discard(topic)
        self._moved.discard(topic)
        self._waiters.forget(topic)

    def reconnect(self) -> None:
        for link in self._links.values():
            link.reconnect("nothing came through it")
        self._look_soon()

    # ---- what links tell ----

    def arrived(self, topic: str, payload: bytes) -> None:
        if self._observer is not None:
            self._observer.arrived(topic, payload)

    def link_up(self, link: RedisLink) -> None:
        if self._observer is None:
            return
        if not self._working:
            self._settle()
            asyncio.get_running_loop().call_later(_SETTLED_AFTER, self._settle, True)
            return
        if link not in self._new:
            # Of a new one each topic is reported when it is confirmed.
            self._lost.update(link.topics)
        self._new.discard(link)
        self._tell_losses()

    def link_down(self, link: RedisLink, reason: str, unanswered: set[str]) -> None:
        self._lost |= unanswered
        self._look_soon()
        if self._observer is not None and self._working and not any(each.up for each in self._links.values()):
            self._working = False
            self._observer.disconnected(reason)

    def confirmed(self, topics: Sequence[str]) -> None:
        self._waiters.confirmed(topics)
        moved = self._moved.intersection(topics)
        self._moved -= moved
        if moved and self._working and self._observer is not None:
            self._observer.lost(tuple(moved))

    def astray(self, link: RedisLink, topics: Sequence[str]) -> None:
        self._astray.update(topic for topic in topics if self._topics.get(topic) is link)
        self._look_soon()

    def refused(self, link: RedisLink, error: str, topic: str, payload: bytes) -> None:
        if not error.startswith(_PASSING):
            link.reconnect(f"it refused a payload: {error.partition(' ')[0]}")
            return
        self._look_soon()
        moved = _MOVED.match(error)
        target = None if moved is None else self._links.get((moved[2] or self._host(link), int(moved[3])))
        if moved is not None and target is not None and not isinstance(payload, _SentAgain):
            self._slots[int(moved[1])] = target
            self._shifted = True
            if target.outbox.publish(topic, _SentAgain(payload)):
                # It may have come behind one that was published later.
                self.overflowed([topic])
                return
        self._lose(topic)

    def overflowed(self, topics: Sequence[str] | None) -> None:
        if self._observer is not None:
            self._observer.lost(topics)

    # ---- which server has what ----

    def _slot(self, topic: str) -> int:
        return slot_of((self._prefix + topic).encode())

    def _look_soon(self) -> None:
        self._stale.set()

    def _lose(self, topic: str) -> None:
        """Remembers that a payload was not sent, until it can be made good."""
        if len(self._lost) < _MOST_LOST:
            self._lost.add(topic)
        else:
            self._lost_more = True

    def _tell_losses(self) -> None:
        """Tells of payloads that were not sent, where there is a way again."""
        if self._lost_more and all(link.up for link in self._links.values()):
            self._lost_more = False
            self._lost.clear()
            self.overflowed(None)
        reported = set()
        for topic in self._lost:
            link = self._slots[self._slot(topic)]
            if link is not None and link.up:
                reported.add(topic)
        self._lost -= reported
        if reported and self._working and self._observer is not None:
            self._observer.lost(tuple(reported))

    def _settle(self, missing: bool = False) -> None:
        """Says that the carrier works when every link does, or, with ``missing``, when one does."""
        if self._working or self._observer is None or not self._links:
            return
        up = [link.up for link in self._links.values()]
        if all(up) or (missing and any(up)):
            self._working, self._lost_more = True, False
            self._lost.clear()
            self._observer.connected()

    async def _follow(self) -> None:
        """Looks what is where: every 30 s, and, when something changed, at once and then with growing pauses."""
        waits, logged = pauses(), ""
        while True:
            try:
                await asyncio.wait_for(self._stale.wait(), _REFRESHED_EVERY)
            except TimeoutError:
                waits = pauses()
            else:
                await asyncio.sleep(min(next(waits), _LONGEST_PAUSE))
            self._stale.clear()
            try:
                ranges = await self._reach.masters()
            except RedisWireError as problem:
                if str(problem) != logged:
                    logged = str(problem)
                    _log.warning("no server of the Redis Cluster answers", problem=logged)
                self._look_soon()
                continue
            logged = ""
            gone = self._place(ranges)
            await asyncio.gather(*(link.close() for link in gone))
            self._settle()
            self._tell_losses()
            if all(link.up for link in self._links.values()) and not self._astray and not self._lost:
                waits = pauses()
            else:
                self._look_soon()

    def _place(self, ranges: Sequence[SlotRange]) -> list[RedisLink]:
        """Moves topics to where they are; returns the links that are of no use any more."""
        slots: list[RedisLink | None] = [None] * SLOTS
        links = {(each.host, each.port): self._links.get((each.host, each.port)) for each in ranges}
        for place, link in links.items():
            if link is None:
                links[place] = self._made(place)
        for each in ranges:
            slots[each.first : each.last + 1] = [links[each.host, each.port]] * (each.last - each.first + 1)
        changed = self._shifted or slots != self._slots
        old, self._links, self._slots = self._links, {place: link for place, link in links.items() if link}, slots
        self._shifted = False
        self._place_topics(tuple(self._topics if changed else self._astray))
        gone = [link for place, link in old.items() if place not in self._links]
        self._dropped += sum(link.outbox.dropped for link in gone)
        return gone

    def _place_topics(self, topics: Sequence[str]) -> None:
        for topic in topics:
            link = self._topics[topic]
            target = self._slots[self._slot(topic)]
            if target is link and topic not in self._astray:
                continue
            if link is not None and link is not target:
                link.discard(topic)
            self._topics[topic] = target
            if target is not None:
                self._moved.add(topic)
                self._astray.discard(topic)
                target.add(topic)

    def _made(self, place: tuple[str, int]) -> RedisLink:
        link = RedisLink(
            partial(self._reach.dial_both, *place, self._pace.answer),
            self,
            name=f"{place[0]}:{place[1]}",
            prefix=self._prefix,
            sharded=True,
            probe=lambda text: self._probe(place, text),
            pace=self._pace,
        )
        if self._observer is not None:
            self._new.add(link)
            link.start()
        return link

    def _probe(self, place: tuple[str, int], text: str) -> str:
        """A name that begins with ``text`` and belongs to this server, if it has any slot."""
        link = self._links.get(place)
        names = (f"{text}{number}" for number in range(_MOST_PROBES))
        return next((name for name in names if self._slots[self._slot(name)] is link), text)

    def _host(self, link: RedisLink) -> str:
        return next((host for (host, _), each in self._links.items() if each is link), "")
