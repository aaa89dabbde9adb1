"""Delivering what the queue holds: each channel in its order, each endpoint at its own pace (spec: platform § 5.2)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog

from sockudo.apps.signer import Signer
from sockudo.base.measures import Latency
from sockudo.base.tasks import end_tasks
from sockudo.errors import SockudoError
from sockudo.inspector import Inspector
from sockudo.webhooks.backlog import Backlog
from sockudo.webhooks.counters import Breaker, EndpointCounters
from sockudo.webhooks.endpoints import Endpoint
from sockudo.webhooks.inspection import entry_of, logged
from sockudo.webhooks.queue import Claim, WebhookQueue
from sockudo.webhooks.records import Answer, Counts, Delivery, Outcome, Sender
from sockudo.webhooks.requests import attempt_of, joined, outcome_of, outcomes_of, request_of
from sockudo.webhooks.traced import WebhookTraces

__all__ = ["Deliverer", "DeliveryOptions", "Resolve"]

T = TypeVar("T")

Resolve = Callable[[str, str], "tuple[Endpoint, str, Signer] | str"]
"""An endpoint of an app by both ids, with the app's key and its signer; or why there is none."""

# Long enough for a process that is busy; it is renewed while the request is made.
_LEASE_MS: Final = 30_000
_QUEUE_PAUSE: Final = 1.0
# Deliveries that are claimed in one call.
_CLAIMED_AT_ONCE: Final = 1000

_log = structlog.get_logger("sockudo.webhooks")


@dataclass(frozen=True, slots=True)
class DeliveryOptions:
    """``concurrency`` bounds the requests of this process, ``per_endpoint`` those to one endpoint; of a channel one is
    made at a time. ``size`` bounds the events of a request that joins several deliveries.

    ``poll`` is how often, in seconds, the queue is polled without a notice.
    """

    concurrency: int = 256
    per_endpoint: int = 10
    size: int = 100
    poll: float = 5.0
    keep_delivered: int = 1000
    keep_dead: int = 10_000


class Deliverer:
    """Takes deliveries that are due and makes their requests. `wake` notifies it that there may be some."""

    def __init__(
        self,
        queue: WebhookQueue,
        sender: Sender,
        resolve: Resolve,
        now: Callable[[], float],
        time: Callable[[], float],
        options: DeliveryOptions,
        inspector: Inspector,
    ) -> None:
        self.options = options
        self._inspector = inspector
        self.counters: dict[tuple[str, str], EndpointCounters] = {}
        # Claims that the queue gave, and how long an attempt took until the queue knew its outcome.
        self.claimed = 0
        self.attempt_times = Latency()
        # What the queue held when it was last counted.
        self.counts: Mapping[tuple[str, str], Counts] = {}
        # Why the queue failed the last time, None when it did not.
        self.problem: str | None = None
        self._queue = queue
        self._sender = sender
        self._resolve = resolve
        self._now = now
        self._time = time
        self._wake = asyncio.Event()
        # Those who wait for the end of a round that begins everything there is to begin.
        self._idlers: list[asyncio.Future[None]] = []
        # What is claimed, by app and endpoint; an endpoint without any is not there.
        self._backlogs: dict[tuple[str, str], Backlog] = {}
        self._requests: dict[asyncio.Task[None], Sequence[Claim]] = {}
        # Requests whose outcome the queue would not take so far.
        self._untold = 0
        # None where nothing is traced.
        self.traces: WebhookTraces | None = None

    def wake(self) -> None:
        """Something was appended, or may be tried again."""
        self._wake.set()

    @property
    def under_way(self) -> int:
        """Requests that are being made."""
        return len(self._requests)

    async def run(self) -> None:
        """Delivers, for ever."""
        while True:
            self._wake.clear()
            try:
                pause = await self._round()
                self._recovered()
            except SockudoError as problem:
                self._queue_failed(problem)
                pause = _QUEUE_PAUSE
            if pause > 0:
                try:
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
                except TimeoutError:
                    pass

    async def idle(self) -> None:
        """Returns once nothing is due and no request is being made."""
        while True:
            rested: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idlers.append(rested)
            self._wake.set()
            await rested
            if not self._requests:
                return
            await asyncio.wait(tuple(self._requests))

    async def drain(self) -> None:
        """Ends the requests under way and gives their deliveries back; for when `run` has ended.

        The next holder of the leases makes the same requests again, at once.
        """
        requests = dict(self._requests)
        claims = [claim for some in requests.values() for claim in some] + self._all_waiting()
        await end_tasks(requests)
        try:
            await self._give_back(claims)
        except SockudoError as problem:
            self._queue_failed(problem)

    def _all_waiting(self) -> list[Claim]:
        return [claim for backlog in self._backlogs.values() for claim in backlog.waiting]

    async def _give_back(self, claims: Sequence[Claim]) -> None:
        """They wait as if they had not been claimed."""
        back = [(claim, Outcome("waiting", None, claim.delivery.due_at_ms)) for claim in claims]
        await self._queue.settle(back, self._now_ms())

    async def _round(self) -> float:
        """Begins what can begin; returns the seconds after which there may be more."""
        # Who asks while this round is under way may have something in mind that it has not seen.
        idlers, self._idlers = self._idlers, []
        try:
            pause, complete = await self._begin()
        except SockudoError:
            self._idlers += idlers
            raise
        if not complete:
            self._idlers += idlers
            return pause
        for idler in idlers:
            if not idler.done():
                idler.set_result(None)
        return pause

    async def _begin(self) -> tuple[float, bool]:
        """Like `_round`, and whether that was all: there may be more once a request has ended."""
        while True:
            for key, backlog in tuple(self._backlogs.items()):
                await self._start(key, backlog)
            if len(self._requests) >= self.options.concurrency:
                return self.options.poll, False
            held = self._held_back()
            busy = {key for key, backlog in self._backlogs.items() if self._is_full(backlog)}
            now_ms = self._now_ms()
            claims = await self._queue.claim(
                now_ms,
                now_ms + _LEASE_MS,
                _CLAIMED_AT_ONCE,
                per_endpoint=max(self.options.size, self.options.per_endpoint),
                run=self.options.size,
                besides=held | busy,
            )
            self.claimed += len(claims)
            for claim in claims:
                key = claim.delivery.app_id, claim.delivery.endpoint
                self._backlogs.setdefault(key, Backlog()).waiting.append(claim)
            if not claims:
                return await self._until_next(held, busy), not busy

    def _is_full(self, backlog: Backlog) -> bool:
        return bool(backlog.waiting) or backlog.under_way >= self.options.per_endpoint

    async def _start(self, key: tuple[str, str], backlog: Backlog) -> None:
        """Begins the requests that the endpoint may have now."""
        found = self._resolve(*key)
        if isinstance(found, str):
            gone = Outcome("dead", None, reason=found)
            await self._queue.settle([(claim, gone) for claim in backlog.empty()], self._now_ms())
        while not isinstance(found, str) and backlog.under_way < self.options.per_endpoint:
            breaker = self._breaker(key)
            if breaker.open:
                await self._give_back(backlog.empty())
            elif len(self._requests) < self.options.concurrency and (claims := backlog.next(self.options.size)):
                breaker.begin()
                task = asyncio.get_running_loop().create_task(self._request(backlog, claims, *found))
                self._requests[task] = claims
                task.add_done_callback(self._ended)
                continue
            break
        if not backlog.waiting and not backlog.under_way:
            del self._backlogs[key]

    def _breaker(self, key: tuple[str, str]) -> Breaker:
        counters = self._of(key)
        counters.breaker = counters.breaker or Breaker(self._now)
        return counters.breaker

    async def _until_next(self, held: frozenset[tuple[str, str]], busy: set[tuple[str, str]]) -> float:
        due_ms = await self._queue.next_due(besides=held | busy)
        pause = self.options.poll
        if due_ms is not None:
            pause = min(pause, max(0.01, (due_ms - self._now_ms()) / 1000))
        for key in held:
            breaker = self._of(key).breaker
            if breaker is not None and breaker.until > self._now():
                pause = min(pause, breaker.until - self._now() + 0.01)
        return pause

    def _held_back(self) -> frozenset[tuple[str, str]]:
        return frozenset(key for key, of in self.counters.items() if of.breaker is not None and of.breaker.open)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._requests[task]
        self._wake.set()
        if not task.cancelled() and (problem := task.exception()) is not None:
            _log.error("a webhook request failed", exc_info=problem)

    async def keep_house(self) -> None:
        """For ever: keeps the leases of requests that take long, gives up what has waited too long for endpoints that
        fail, drops what was kept long enough, and counts what there is.
        """
        while True:
            await asyncio.sleep(self.options.poll)
            try:
                claims = [claim for some in self._requests.values() for claim in some] + self._all_waiting()
                await self._queue.renew(claims, self._now_ms() + _LEASE_MS)
                for key, counters in tuple(self.counters.items()):
                    if counters.breaker is not None and counters.breaker.tripped:
                        await self._expire(key, counters)
                while await self._queue.trim(self.options.keep_delivered, self.options.keep_dead):
                    pass
                self.counts = await self._queue.counts()
            except SockudoError as problem:
                self._queue_failed(problem)

    async def _expire(self, key: tuple[str, str], counters: EndpointCounters) -> None:
        found = self._resolve(*key)
        if isinstance(found, str):
            return
        now_ms = self._now_ms()
        before = now_ms - found[0].retry.max_elapsed_time_ms
        while count := await self._queue.expire(*key, before, now_ms, "time_exhausted"):
            counters.dead += count
            _log.error(
                "webhooks given up: the endpoint has failed for too long", app_id=key[0], endpoint=key[1], count=count
            )

    # ---- one request ----

    async def _request(
        self, backlog: Backlog, claims: Sequence[Claim], endpoint: Endpoint, key: str, signer: Signer
    ) -> None:
        """Makes the request of these claims; what waits behind them comes next, or is given back with them."""
        arrived = False
        try:
            arrived = await self._attempt(claims, endpoint, key, signer)
        finally:
            behind = backlog.ended(claims, arrived=arrived)
        if behind:
            await self._tell(lambda: self._give_back(behind))

    async def _attempt(self, claims: Sequence[Claim], endpoint: Endpoint, key: str, signer: Signer) -> bool:
        """Makes a request, and has the queue know what came of it; whether it was delivered."""
        deliveries = [claim.delivery for claim in claims]
        delivery = deliveries[0] if len(claims) == 1 else joined(deliveries)
        counters = self._of((endpoint.app_id, endpoint.id))
        began, started = self._now(), self._now_ms()
        span = None if self.traces is None else self.traces.attempt(endpoint, delivery)
        trace = delivery.trace if span is None else span.headers
        try:
            answer = await self._sender.send(request_of(endpoint, key, signer, delivery, trace), delivery.body)
        except BaseException:
            self._breaker((endpoint.app_id, endpoint.id)).abandoned()
            if span is not None:
                span.end(error="abandoned")
            raise
        counters.note(answer, self._now_ms(), telling=_is_telling(deliveries))
        outcomes = self._outcomes(endpoint, deliveries, answer, started)
        counters.dead += sum(outcome.state == "dead" for outcome in outcomes)
        counters.retried += any(outcome.state == "waiting" for outcome in outcomes)
        if span is not None and self.traces is not None:
            self.traces.attempted(span, answer, outcomes[0])
        self._log(endpoint, delivery, answer, outcomes[0])
        await self._settle(claims, delivery, outcomes, started, answer)
        self.attempt_times.note(self._now() - began)
        return answer.delivered

    def _outcomes(
        self, endpoint: Endpoint, deliveries: Sequence[Delivery], answer: Answer, started: int
    ) -> list[Outcome]:
        if len(deliveries) > 1 and not answer.delivered:
            return outcomes_of(endpoint, deliveries, answer, started, self._now_ms())
        attempt = attempt_of(deliveries[0], answer, started)
        return [outcome_of(endpoint, deliveries[0], answer, attempt, self._now_ms())] * len(deliveries)

    async def _settle(
        self, claims: Sequence[Claim], delivery: Delivery, outcomes: Sequence[Outcome], started: int, answer: Answer
    ) -> None:
        """Has the queue know what became of the claims of a request."""

        async def settle() -> list[bool]:
            if len(claims) > 1 and answer.delivered:
                attempt = attempt_of(delivery, answer, started)
                return await self._queue.settle_joined(claims, delivery, attempt, self._now_ms())
            return await self._queue.settle(list(zip(claims, outcomes, strict=True)), self._now_ms())

        kept = await self._tell(settle)
        for claim, had in zip(claims, kept, strict=True):
            if not had:
                _log.warning("another process took over a webhook delivery", delivery=claim.delivery.id)

    async def _tell(self, tell: Callable[[], Awaitable[T]]) -> T:
        """Reports to the queue until it answers, or the leases end and the request is made once more."""
        pause = _QUEUE_PAUSE / 4
        untold = False
        try:
            while True:
                try:
                    return await tell()
                except SockudoError as problem:
                    self._untold += not untold
                    untold = True
                    self._queue_failed(problem)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, 5.0)
        finally:
            self._untold -= untold

    # ---- logs, metrics, the inspector ----

    def _log(self, endpoint: Endpoint, delivery: Delivery, answer: Answer, outcome: Outcome) -> None:
        self._show(endpoint, delivery, answer, outcome)
        about = logged(endpoint, delivery, answer)
        if outcome.state == "delivered":
            _log.debug("webhook delivered", **about)
            return
        if outcome.state == "dead":
            _log.error("webhook given up", reason=outcome.reason, **about)
        else:
            _log.warning("webhook failed; it is tried again", **about)

    def _show(self, endpoint: Endpoint, delivery: Delivery, answer: Answer, outcome: Outcome) -> None:
        """Notifies the inspector; of a delivery that went well only while there are watchers."""
        if outcome.state != "delivered" or self._inspector.watching:
            self._inspector.note(entry_of(endpoint, delivery, answer, outcome, self._inspector.now_ms()))

    @property
    def failing(self) -> bool:
        """Whether the queue failed the last time."""
        return self.problem is not None

    def _queue_failed(self, problem: SockudoError) -> None:
        if self.problem is None:
            _log.error("the webhook queue does not answer", reason=problem.text)
        self.problem = problem.text

    def _recovered(self) -> None:
        if self.problem is not None and not self._untold:
            self.problem = None
            _log.info("the webhook queue answers again")

    def _of(self, key: tuple[str, str]) -> EndpointCounters:
        counters = self.counters.get(key)
        if counters is None:
            counters = self.counters[key] = EndpointCounters()
        return counters

    def deaths(self) -> Counter[str]:
        """Deliveries given up, by app."""
        total: Counter[str] = Counter()
        for (app_id, _), counters in self.counters.items():
            total[app_id] += counters.dead
        return total

    def _now_ms(self) -> int:
        return int(self._time() * 1000)


def _is_telling(deliveries: Sequence[Delivery]) -> bool:
    """Whether a refusal of their request counts against the endpoint: it was the first one of a delivery, or of
    one channel. Of several channels one may be the reason, and of a delivery that failed before it is known.
    """
    return len({each.channel for each in deliveries}) == 1 and not deliveries[0].attempts
