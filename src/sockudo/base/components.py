"""The parts of a server that open and close while it runs: each exists from the start, in one of four states."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final, Generic, Literal, Self, TypeVar

import structlog

from sockudo.base.tasks import end_tasks, start_tasks

__all__ = ["Component", "Opener", "State"]

State = Literal["closed", "opening", "open", "failed"]

_RETRY_SECONDS: Final = 1.0

_log = structlog.get_logger("sockudo.server")

T = TypeVar("T")


def _closed() -> Exception:
    return RuntimeError("This part of the server is closed")


class Component(Generic[T]):
    """A service that is opened when it is needed.

    ``make`` returns the service ready for use, or raises and leaves nothing behind; ``end`` closes it. ``closed`` makes
    the error for a caller that uses the service while it is not open.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], Awaitable[T]],
        end: Callable[[T], Awaitable[None]],
        closed: Callable[[], Exception],
    ) -> None:
        self.name = name
        self.state: State = "closed"
        # Why the last opening failed.
        self.problem: Exception | None = None
        self._make = make
        self._end = end
        self._closed = closed
        self._service: T | None = None
        self._lock = asyncio.Lock()

    @classmethod
    def opened(cls, name: str, service: T, closed: Callable[[], Exception] = _closed) -> Self:
        """A component around a service that its caller opened, and closes."""

        async def make() -> T:
            return service

        async def end(_: T) -> None:
            pass

        made = cls(name, make, end, closed)
        made._service, made.state = service, "open"
        return made

    @property
    def is_open(self) -> bool:
        """Whether `service` can be used."""
        return self._service is not None

    @property
    def service(self) -> T:
        """The open service. Raises the component's error of the catalogue while it is not open."""
        service = self._service
        if service is None:
            raise self._closed()
        return service

    @property
    def if_open(self) -> T | None:
        """The service for readers that show what there is: metrics, pages; None while it is not open."""
        return self._service

    async def open(self) -> T:
        """Opens the service, once for all callers, and returns it. Raises what ``make`` does; call it again then."""
        async with self._lock:
            if self._service is None:
                self.state = "opening"
                try:
                    self._service = await self._make()
                except BaseException as problem:
                    self.state = "failed"
                    self.problem = problem if isinstance(problem, Exception) else None
                    raise
                self.state, self.problem = "open", None
            return self._service

    async def close(self) -> None:
        """Closes the service; a component that is not open stays closed."""
        async with self._lock:
            service, self._service, self.state = self._service, None, "closed"
            if service is not None:
                await self._end(service)


class Opener:
    """Opens components once they are needed, and tries a failed one again every second for as long as it is.

    ``needed`` maps each component to the question whether it is, in the order of opening. `changed` has that asked
    again: an app or a setting is not what it was. Nothing runs while every needed component is open. ``failure`` is
    what a component raises that cannot be opened now; an ``optional`` one does not fail `start` then.
    """

    def __init__(
        self,
        needed: Mapping[Component[Any], Callable[[], bool]],
        failure: type[Exception],
        *,
        optional: Collection[Component[Any]] = (),
        pause: float = _RETRY_SECONDS,
    ) -> None:
        self._needed = needed
        self._failure = failure
        self._optional = optional
        self._pause = pause
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Opens what is needed now, and from here on what comes to be needed.

        Raises the failure of the first that cannot be opened; later failures are logged.
        """
        for component in self._missing():
            try:
                await component.open()
            except self._failure as problem:
                if component not in self._optional:
                    raise
                _log.error("cannot be opened", part=component.name, reason=str(problem))
        self._tasks = start_tasks(self._run())

    def changed(self) -> None:
        """Something changed that a component may be needed for."""
        self._changed.set()

    async def close(self) -> None:
        """Ends the opening; the components stay as they are."""
        await end_tasks(self._tasks)

    def _missing(self) -> list[Component[Any]]:
        return [each for each, needed in self._needed.items() if not each.is_open and needed()]

    async def _run(self) -> None:
        while True:
            if not self._missing():
                await self._changed.wait()
            self._changed.clear()
            for component in self._missing():
                try:
                    await component.open()
                except self._failure as problem:
                    _log.error("cannot be opened", part=component.name, reason=str(problem))
            if self._missing():
                await asyncio.sleep(self._pause)
