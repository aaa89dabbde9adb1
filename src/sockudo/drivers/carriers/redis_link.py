"""The way to one Redis server: a connection to publish, one to listen, made anew for ever."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

import structlog

from sockudo.base.tasks import end_tasks, start_tasks
from sockudo.drivers.carriers.links import pauses
from sockudo.drivers.carriers.redis_outbox import RedisOutbox
from sockudo.drivers.carriers.redis_topics import RedisTopics
from sockudo.storage.redis_wire import UNKNOWN_COMMAND, RedisWire, RedisWireError

__all__ = ["LinkObserver", "Pace", "RedisLink"]

_SOON: Final = 10.0
"""A connection that lasted for so many seconds is made anew at once."""

_log = structlog.get_logger("sockudo.cluster")


class Pace(NamedTuple):
    """Seconds: how often a connection is looked at, and how long an answer may take."""

    check: float = 5.0
    answer: float = 5.0


class LinkObserver(Protocol):
    """What a link tells. Must not raise."""

    def arrived(self, topic: str, payload: bytes) -> None:
        """A payload of a topic that was added to the link."""

    def link_up(self, link: RedisLink) -> None:
        """The link works, for the first time or again, and what was subscribed to before is confirmed."""

    def link_down(self, link: RedisLink, reason: str, unanswered: set[str]) -> None:
        """The link is lost and is made anew; what was published on topics ``unanswered`` may be lost with it."""

    def confirmed(self, topics: Sequence[str]) -> None:
        """From now on payloads of these topics arrive."""

    def astray(self, link: RedisLink, topics: Sequence[str]) -> None:
        """The server does not have these topics: they are to be added where they are now."""

    def refused(self, link: RedisLink, error: str, topic: str, payload: bytes) -> None:
        """The server did not accept a payload."""

    def overflowed(self, topics: Sequence[str] | None) -> None:
        """Payloads on these topics, or on any, were dropped because too much waited."""


class RedisLink:
    """Two connections to the server that ``dial`` reaches, both of one place; they live and end together.

    ``probe`` names a channel that the server accepts, given a random text: what is published there has to come back
    before a connection counts. ``name`` is for the log.
    """

    def __init__(
        self,
        dial: Callable[[], Awaitable[tuple[RedisWire, RedisWire]]],
        observer: LinkObserver,
        *,
        name: str,
        prefix: str,
        sharded: bool = False,
        probe: Callable[[str], str] = str,
        pace: Pace = Pace(),  # noqa: B008 - a constant
    ) -> None:
        self.up = False
        self.problem = ""
        """Why the last attempt at a connection failed."""
        self.topics = RedisTopics(
            prefix,
            sharded=sharded,
            arrived=observer.arrived,
            confirmed=self._confirmed,
            astray=lambda topics: observer.astray(self, topics),
            failed=lambda error: self._lose(f"it refused a subscription: {error.partition(' ')[0]}"),
        )
        self.outbox = RedisOutbox(
            prefix,
            "SPUBLISH" if sharded else "PUBLISH",
            refused=lambda error, topic, payload: observer.refused(self, error, topic, payload),
            overflowed=observer.overflowed,
        )
        self._name = name
        self._dial = dial
        self._observer = observer
        self._words = ("SSUBSCRIBE", "SPUBLISH", "SUNSUBSCRIBE") if sharded else ("SUBSCRIBE", "PUBLISH", "UNSUBSCRIBE")
        self._prefix = prefix
        self._probe = probe
        self._pace = pace
        self._wires: tuple[RedisWire, ...] = ()
        self._lost: asyncio.Future[str] | None = None
        self._left: set[str] = set()
        self._all_confirmed = asyncio.Event()
        self._hurry = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Connects once, or raises `RedisWireError`; from then on the connections are kept."""
        await self._connect()
        self._tasks = start_tasks(self._keep())

    def start(self) -> None:
        """Connects soon, and as often as it takes."""
        self._tasks = start_tasks(self._keep())

    async def close(self, seconds: float = 0.0) -> None:
        """Sends what waits, for ``seconds`` at most, and disconnects. The observer gets no more calls."""
        if seconds and self.up:
            await self.outbox.drain(seconds)
        await end_tasks(self._tasks)
        self._drop()

    def add(self, topic: str) -> bool:
        """Subscribes to a topic soon; True when that is confirmed already."""
        return self.topics.add(topic)

    def discard(self, topic: str) -> None:
        """Ends a subscription soon."""
        self.topics.discard(topic)
        self._found([topic])

    def reconnect(self, reason: str) -> None:
        """Drops the connections; the next attempt is made at once."""
        self._hurry.set()
        self._lose(reason)

    # ---- connecting ----

    async def _connect(self) -> None:
        self._lost = asyncio.get_running_loop().create_future()
        publisher, listener = self._wires = await self._dial()
        try:
            for wire in self._wires:
                wire.ended = self._lose
                await self._see_master(wire.ask("ROLE"))
            await self._see_echo(publisher, listener)
            self._left = set(self.topics)
            self._all_confirmed.clear()
            self.outbox.begin(publisher)
            self.topics.begin(listener)
            while self._left:
                await self._while_heard(self._all_confirmed.wait(), listener)
            if self._lost.done():
                raise RedisWireError(self._lost.result())
        except BaseException:
            self._drop()
            raise
        self.up, self.problem = True, ""
        self._observer.link_up(self)

    async def _see_master(self, asked: Awaitable[Any]) -> None:
        try:
            role = await self._in_time(asked)
        except RedisWireError as problem:
            if str(problem) == "NOPERM":
                raise RedisWireError("the user may not ask for its ROLE: NOPERM") from None
            raise
        if not isinstance(role, list) or role[0] != b"master":
            raise RedisWireError("it is a replica, and what is published there reaches nothing else")

    async def _see_echo(self, publisher: RedisWire, listener: RedisWire) -> None:
        subscribe, publish, unsubscribe = self._words
        channel = self._prefix + self._probe(secrets.token_hex(8))
        try:
            await self._in_time(listener.ask(subscribe, channel))
            arrived = listener.next()
            await self._in_time(publisher.ask(publish, channel, "probe"))
            await self._in_time(arrived)
            await self._in_time(listener.ask(unsubscribe, channel))
        except RedisWireError as problem:
            if str(problem) == UNKNOWN_COMMAND:
                raise RedisWireError(f"it does not know {subscribe}") from None
            if str(problem) == "NOPERM":
                text = f"the user may not {subscribe} and {publish} channels that begin with {self._prefix!r}: NOPERM"
                raise RedisWireError(text) from None
            raise

    async def _in_time(self, answer: Awaitable[Any]) -> Any:
        try:
            return await asyncio.wait_for(answer, self._pace.answer)
        except TimeoutError:
            raise RedisWireError(f"no answer within {self._pace.answer:g} s") from None

    async def _while_heard(self, waiting: Awaitable[Any], wire: RedisWire) -> None:
        """Waits; raises `RedisWireError` when nothing came through the connection for as long as an answer may take."""
        waiter = asyncio.ensure_future(waiting)
        loop = asyncio.get_running_loop()
        since = loop.time()
        while True:
            silent = loop.time() - max(wire.answered_at, since)
            left = self._pace.answer - silent
            if self._lost is not None and self._lost.done():
                waiter.cancel()
                raise RedisWireError(self._lost.result())
            if left <= 0:
                waiter.cancel()
                raise RedisWireError(f"it sent nothing for {self._pace.answer:g} s")
            waits = [waiter] if self._lost is None else [waiter, self._lost]
            await asyncio.wait(waits, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if waiter.done():
                waiter.result()
                return

    # ---- keeping ----

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        waits = pauses()
        while True:
            if self.up:
                since = loop.time()
                reason = await self._watch()
                unanswered = self._drop()
                _log.warning("the connection to Redis was lost", server=self._name, reason=reason)
                self._observer.link_down(self, reason, unanswered)
                if loop.time() - since >= _SOON:
                    waits = pauses()
            await self._pause(next(waits))
            try:
                await self._connect()
            except RedisWireError as problem:
                if str(problem) != self.problem:
                    self.problem = str(problem)
                    _log.warning("no connection to Redis", server=self._name, problem=self.problem)
            else:
                _log.info("connected to Redis again", server=self._name)

    async def _pause(self, seconds: float) -> None:
        if seconds:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), seconds)
        self._hurry.clear()

    async def _watch(self) -> str:
        """Returns why the connections are of no use any more."""
        while self._lost is not None:
            await asyncio.wait([self._lost], timeout=self._pace.check)
            if self._lost.done():
                break
            try:
                publisher, listener = self._wires
                pong, role = self.topics.ping(), self.outbox.ask("ROLE")
                await self._while_heard(pong, listener)
                await self._while_heard(role, publisher)
                await self._see_master(role)
            except RedisWireError as problem:
                self._lose(str(problem))
        return "" if self._lost is None else self._lost.result()

    def _lose(self, reason: str) -> None:
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(reason)

    def _drop(self) -> set[str]:
        self.up = False
        unanswered = self.outbox.end()
        self.topics.end()
        for wire in self._wires:
            wire.ended = None
            wire.close()
        self._wires = ()
        return unanswered

    def _confirmed(self, topics: list[str]) -> None:
        self._found(topics)
        self._observer.confirmed(topics)

    def _found(self, topics: Sequence[str]) -> None:
        """These are none that a new connection still waits for."""
        if self._left:
            self._left.difference_update(topics)
            if not self._left:
                self._all_confirmed.set()
