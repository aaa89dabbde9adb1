"""The history over a store that does what a test tells it, on time by hand."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from typing import Any

from sockudo import errors
from sockudo.base.stream_records import Append, Committed, Position, Retention, Row
from sockudo.drivers import MemoryHistoryStore
from sockudo.history import History, HistoryOptions
from sockudo.hub.streams.ports import OutcomeUnknown
from sockudo.hub.streams.totals import Evicted
from sockudo.testing import FakeClock
from support.waiting import settle

__all__ = [
    "APP",
    "NOW_MS",
    "Durable",
    "HandTime",
    "Held",
    "Step",
    "UnrulyStore",
    "Work",
    "failure",
    "lose",
    "refuse",
]

APP = "app"
NOW = 1_767_225_600
NOW_MS = NOW * 1000

Work = Callable[[], Awaitable[Any]]
Step = Callable[[Work], Awaitable[Any]]


class HandTime(FakeClock):
    """A clock whose sleepers wake when it is moved."""

    def __init__(self) -> None:
        super().__init__(NOW)
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.monotonic() + seconds, woken))
        await woken

    async def elapse(self, seconds: float) -> None:
        """Moves the clock and lets everything happen that follows."""
        await settle()
        self.advance(seconds)
        for due, woken in list(self._sleepers):
            if due <= self.monotonic() and not woken.done():
                woken.set_result(None)
        self._sleepers = [sleeper for sleeper in self._sleepers if not sleeper[1].done()]
        await settle()


def refuse(spec: errors.ErrorSpec = errors.HISTORY_UNAVAILABLE) -> Step:
    """The store says no, and nothing is done."""

    async def step(_: Work) -> Any:
        raise spec("no")

    return step


def lose(*, done: bool) -> Step:
    """The connection is lost while the call is being confirmed."""

    async def step(work: Work) -> Any:
        if done:
            await work()
        raise OutcomeUnknown(errors.HISTORY_UNAVAILABLE, "connection lost", 1)

    return step


class Held:
    """A call that hangs until it is told how to end."""

    def __init__(self) -> None:
        self._end: asyncio.Future[Step | None] = asyncio.get_running_loop().create_future()

    async def __call__(self, work: Work) -> Any:
        step = await self._end
        return await (work() if step is None else step(work))

    async def release(self, step: Step | None = None) -> None:
        """Goes on as if it had not been held, or as ``step`` says."""
        self._end.set_result(step)
        await settle()


class UnrulyStore:
    """A store in memory; ``plan`` says what becomes of the next call of a method, in order."""

    def __init__(self) -> None:
        self.inner = MemoryHistoryStore()
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.down = False
        self._plans: defaultdict[str, deque[Step | None]] = defaultdict(deque)

    def plan(self, method: str, *steps: Step | None) -> None:
        self._plans[method].extend(steps)

    @property
    def evicted(self) -> Evicted:
        return self.inner.evicted

    def obey(self) -> None:
        """Forgets what was planned."""
        self._plans.clear()

    def names(self) -> list[str]:
        """The methods called since the last look."""
        names = [name for name, _ in self.calls]
        self.calls.clear()
        return names

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self.inner, name)

        async def call(*args: Any, **options: Any) -> Any:
            self.calls.append((name, args))
            if self.down:
                raise errors.HISTORY_UNAVAILABLE("down")
            step = self._plans[name].popleft() if self._plans[name] else None

            def work() -> Awaitable[Any]:
                return method(*args, **options)  # type: ignore[no-any-return]  # a method of the store

            return await (work() if step is None else step(work))

        return call


class Durable:
    """A history and everything that became of it."""

    def __init__(self, store: UnrulyStore | None = None, time: HandTime | None = None, **options: Any) -> None:
        self.store = store or UnrulyStore()
        self.time = time or HandTime()
        self.delivered: list[tuple[str, Position]] = []
        """Message id and position of everything that was said, in order."""
        self.changes: list[tuple[str, Position]] = []
        self.trims: list[tuple[str, int]] = []
        self.history = History(
            self.store,  # type: ignore[arg-type]  # every method is there, by name
            self.time,
            HistoryOptions(**options),
            lambda _app_id, channel, position: self.changes.append((channel, position)),
            lambda _app_id, channel, oldest: self.trims.append((channel, oldest)),
            lambda _app_id, _channel, row: self.delivered.append((row.message_id or "", Position(*row[:2]))),
            sleep=self.time.sleep,
        )
        self._number = 0

    async def __aenter__(self) -> Durable:
        await self.history.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.store.down = False
        closing = asyncio.ensure_future(self.history.close())
        await settle()
        while not closing.done():
            await self.time.elapse(10)
        await closing

    def append(self, channel: str = "news", message_id: str | None = None, **options: Any) -> Append:
        """The next message of a test; ``message_id`` is also its idempotency key when it is given."""
        self._number += 1
        name = message_id or f"m{self._number}"
        message = {"event": "said", "channel": channel, "data": options.pop("data", name), "message_id": name}
        options.setdefault("published_at_ms", int(self.time.time() * 1000))
        options.setdefault("retention", Retention())
        return Append(
            APP,
            channel,
            json.dumps(message).encode(),
            name,
            "said",
            options.pop("published_at_ms"),
            options.pop("retention"),
            key=message_id,
            **options,
        )

    def submit(self, channel: str = "news", message_id: str | None = None, **options: Any) -> asyncio.Future[Committed]:
        append = self.append(channel, message_id, **options)
        return self.history.submit(
            append, lambda outcome: self.delivered.append((append.message_id or "", outcome.position))
        )

    async def say(self, *channels: str, count: int = 1) -> list[Position]:
        """Publishes and waits; ``count`` messages to one channel, or one to each."""
        names = channels * count if channels else ("news",) * count
        return [(await future).position for future in [self.submit(name) for name in names]]

    def serials(self, channel: str = "news") -> list[int]:
        """The serials that were said, in order."""
        by_id = {row.message_id: row for row in self.rows(channel)}
        return [position.serial for name, position in self.delivered if name in by_id]

    def rows(self, channel: str = "news") -> list[Row]:
        """What the store holds."""
        stream = self.store.inner._streams.get((APP, channel))
        return list(stream.rows) if stream is not None else []

    def ids(self, channel: str = "news") -> list[str | None]:
        """The message ids that the store holds."""
        return [row.message_id for row in self.rows(channel)]

    async def durable_state(self, channel: str = "news") -> dict[str, Any]:
        state: dict[str, Any] = (await self.history.state(APP, channel))["stream"]["state"]
        return state


async def failure(future: asyncio.Future[Any]) -> errors.SockudoError:
    """What a publish failed with."""
    try:
        await future
    except errors.SockudoError as problem:
        return problem
    raise AssertionError("did not fail")
