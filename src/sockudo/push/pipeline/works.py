"""What all workers share, with its part of the configuration (spec: push § 10); and how each of them runs: woken by
what comes, started again when it fails.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import ClassVar, Final

import structlog

from sockudo.base.clock import Clock
from sockudo.base.spans import Tracer
from sockudo.config.sections.push import Push as PushSettings
from sockudo.errors import SockudoError
from sockudo.jobs.ports import JobQueue, Lease
from sockudo.push.delivery import Batch
from sockudo.push.lifecycle import Step
from sockudo.push.messages import Stage
from sockudo.push.observers import PushProbe
from sockudo.push.ports import PushStore
from sockudo.push.recipients import Provider
from sockudo.push.records import TERMINAL, DeadLetter, PublishStatus
from sockudo.push.telemetry import PushCounters, meta_event

__all__ = ["KEYS_KEPT_MS", "LEASE_MS", "Worker", "Works", "dead_letter_id"]

_DAY_MS: Final = 86_400_000

LEASE_MS: Final = 30_000
"""How long a worker has a message for itself, unless it asks for longer."""

KEYS_KEPT_MS: Final = 7 * _DAY_MS
"""How long it is remembered that an outcome was counted."""

_RESTART: Final = 1.0
_AGAIN_MS: Final = 1000

_log = structlog.get_logger("sockudo.push")


@dataclass(slots=True)
class Works:
    """``wake`` notifies the workers of a stage of new messages. ``options`` is replaced when the configuration
    is. ``tracer`` is there when traces are collected.
    """

    store: PushStore
    queue: JobQueue
    clock: Clock
    options: PushSettings = field(default_factory=PushSettings)
    counters: PushCounters = field(default_factory=PushCounters)
    probe: PushProbe = field(default_factory=PushProbe)
    wake: Callable[[str], None] = lambda _: None
    tracer: Tracer | None = None

    def now_ms(self) -> int:
        return int(self.clock.time() * 1000)

    def ended(self, status: PublishStatus) -> None:
        """Reports that a publish has ended, if it has."""
        if status.state in TERMINAL:
            meta_event("publish-completed", status.app_id, status.publish_id, status=status.state)
            self.probe.completed(status)

    async def give_up(
        self,
        lease: Lease,
        reason: str,
        *,
        publish_id: str = "",
        provider: Provider | None = None,
        at_ms: int | None = None,
    ) -> None:
        """Keeps the message as a dead letter that can be replayed; the holder of its lease then finishes it."""
        message = lease.job
        at = lease.enqueued_at_ms if at_ms is None else at_ms
        letter = DeadLetter(
            dead_letter_id=dead_letter_id(
                message.app_id, publish_id, message.stage, message.key, reason, str(at), lease.job_id
            ),
            app_id=message.app_id,
            publish_id=publish_id,
            provider=provider,
            stage=message.stage,
            key=message.key,
            reason=reason,
            occurred_at_ms=at,
            payload=message.body,
        )
        await self.keep_letters([letter])

    async def keep_letters(self, letters: Sequence[DeadLetter]) -> None:
        if letters:
            await self.store.append_dead_letters(letters)
        for each in letters:
            about = {"stage": each.stage, "reason": each.reason}
            meta_event("dead-letter", each.app_id, each.publish_id or None, each.provider, **about)

    async def take_steps(
        self, batch: Batch, steps: Sequence[Step], component: str
    ) -> tuple[list[Step], PublishStatus | None]:
        """Those that are new, and the status of the publish after them; ``component`` is who is counted as failing."""
        now = self.now_ms()
        try:
            return await self.store.take_steps(batch.app_id, batch.publish_id, steps, now, now + KEYS_KEPT_MS)
        except SockudoError:
            self.counters.count("status_cas_exhausted_total", component)
            raise

    async def refuse(self, lease: Lease) -> None:
        """A message of an unknown kind: a dead letter, and finished."""
        await self.give_up(lease, f"unexpected payload for {lease.job.stage}")
        await self.queue.settle([lease], [], self.now_ms())


def dead_letter_id(*parts: str) -> str:
    """SHA-256 of what it is about (spec: push § 2.5): giving the same message up again makes the same letter."""
    return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


class Worker:
    """One task. `round` does what is due and returns whether more may be due at once.

    One that fails is counted and starts again after a second; what it had in hand comes back when its lease ends.
    """

    kind: ClassVar[str]
    stage: Stage

    def __init__(self, works: Works, number: int = 0) -> None:
        self.works = works
        self.name = f"{self.kind}-{number}"
        self.failing = False
        self.stopping = False
        self.news = asyncio.Event()

    async def round(self) -> bool:
        raise NotImplementedError

    async def run(self) -> None:
        """Until `stop`, or for ever."""
        while not self.stopping:
            self.news.clear()
            try:
                more = await self.round()
                self.failing = False
            except SockudoError as problem:
                self._failed(problem.spec.slug)
                if not self.failing:
                    _log.error("push cannot go on for now", worker=self.name, stage=self.stage, reason=problem.text)
                self.failing = True
            except Exception:  # noqa: BLE001 - logged, counted and started again (spec: push § 7.1)
                self._failed("exception")
                _log.exception("a push worker failed and starts again", worker=self.name, stage=self.stage)
                self.failing = True
            if self.failing:
                await self._rest(_RESTART)
            elif not more and not self.stopping:
                await self.news.wait()

    async def _rest(self, seconds: float) -> None:
        """Sleeps, unless it is to stop."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not self.stopping:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return
            self.news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self.news.wait()

    def _failed(self, reason: str) -> None:
        self.works.counters.count("worker_exits_total", self.kind, self.name, reason)

    def stop(self) -> None:
        """Has it end once what is under way has ended."""
        self.stopping = True
        self.news.set()

    async def take(self, limit: int) -> list[Lease]:
        """What the stage has, for this worker alone."""
        now = self.works.now_ms()
        return await self.works.queue.lease(self.stage, limit, now, now + LEASE_MS)

    async def all_of(self, each: Iterable[Awaitable[None]]) -> None:
        """Each by itself: one that fails comes back when its lease ends, and the others go on."""
        for outcome in await asyncio.gather(*each, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def put_back(self, lease: Lease, reason: str, due_at_ms: int | None = None) -> None:
        """For later: a second from now by default."""
        self.works.counters.count("queue_local_requeued_total", self.stage, reason)
        due = self.works.now_ms() + _AGAIN_MS if due_at_ms is None else due_at_ms
        await self.works.queue.release([lease], due)
