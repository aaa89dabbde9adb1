"""Keeps a connection to a broker: whenever it ends it is made anew, for as long as the carrier is open."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, Generic, Protocol, TypeVar

import structlog

from sockudo.base.tasks import end_tasks, start_tasks
from sockudo.cluster.carrier import CarrierObserver
from sockudo.errors import SockudoError

__all__ = ["KeptLink", "Link", "pauses"]

_FIRST_SECONDS: Final = 0.5
_LONGEST_SECONDS: Final = 10.0

_log = structlog.get_logger("sockudo.cluster")


class Link(Protocol):
    """A connection that works: what was subscribed to when it was made is confirmed."""

    @property
    def ended(self) -> asyncio.Future[str]:
        """Done when it does not work any more; the result is why, for people, without secrets."""

    async def close(self) -> None:
        """Disconnects; what waited is lost. Does no harm where the connection has ended."""


L = TypeVar("L", bound=Link)


def pauses() -> Iterator[float]:
    """Seconds before each attempt: none before the first, then 0.5 that double to 10, all a little different."""
    yield 0.0
    seconds = _FIRST_SECONDS
    while True:
        yield seconds * random.uniform(0.75, 1.25)  # noqa: S311 - not a secret
        seconds = min(2 * seconds, _LONGEST_SECONDS)


class KeptLink(Generic[L]):
    """The link that ``connect`` makes, which raises `SockudoError` where it cannot, or the next one."""

    def __init__(self, name: str, connect: Callable[[], Awaitable[L]]) -> None:
        self.name = name
        self.current: L | None = None
        self._connect = connect
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self, observer: CarrierObserver) -> None:
        """Makes the first one. Raises what ``connect`` raises."""
        self.current = await self._connect()
        observer.connected()
        self._tasks = start_tasks(self._keep(observer))

    async def close(self) -> None:
        """Ends the link; no other one is made."""
        tasks, self._tasks = self._tasks, []
        await end_tasks(tasks)
        link, self.current = self.current, None
        if link is not None:
            await link.close()

    def reconnect(self) -> None:
        """Has another link made, where there is one."""
        if self.current is not None and not self.current.ended.done():
            self.current.ended.set_result("nothing came through it")

    async def _keep(self, observer: CarrierObserver) -> None:
        while self.current is not None:
            reason = await self.current.ended
            link, self.current = self.current, None
            observer.disconnected(reason)
            _log.warning("the connection between nodes was lost", broker=self.name, reason=reason)
            await link.close()
            self.current = await self._made_again()
            _log.info("nodes are connected again", broker=self.name)
            observer.connected()

    async def _made_again(self) -> L:
        problem = ""
        for seconds in pauses():
            await asyncio.sleep(seconds)
            try:
                return await self._connect()
            except (SockudoError, OSError) as error:
                # Where there are no descriptors left, that is no refusal.
                if str(error) != problem:
                    problem = str(error)
                    _log.warning("nodes cannot be connected", broker=self.name, problem=problem)
        raise AssertionError("pauses never end")
