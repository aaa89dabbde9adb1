"""Delivering what the queue holds: each lane in its order, each endpoint at its own pace (spec: platform § 5.2)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog

from sockudo.apps.signer import Signer
from sockudo.base.measures import Latency
from sockudo.base.spans import TraceHeaders
from sockudo.base.tasks import end_tasks
from sockudo.errors import SockudoError
from sockudo.inspector import Inspector
from sockudo.webhooks.breaker import Breaker
from sockudo.webhooks.endpoints import Endpoint
from sockudo.webhooks.inspection import entry_of, logged
from sockudo.webhooks.ports import Claim, Outcome, Sender, WebhookQueue
from sockudo.webhooks.records import Answer, Attempt, Counts, Delivery, Target
from sockudo.webhooks.traced import WebhookTraces

__all__ = ["Deliverer", "DeliveryOptions", "EndpointCounters", "Resolve", "is_retried", "request_of"]

Resolve = Callable[[str, str], "tuple[Endpoint, str, Signer] | str"]
"""An endpoint of an app by both ids, with the app's key and its signer; or why there is none."""

_RETRIED: Final = frozenset({408, 409, 425, 429})
# Problems that stay until somebody changes something.
_PERMANENT: Final = frozenset({"address_refused", "url_invalid"})
# Long enough for a process that is busy; it is renewed while the request is made.
_LEASE_MS: Final = 30_000
_QUEUE_PAUSE: Final = 1.0

_log = structlog.get_logger("sockudo.webhooks")


@dataclass(frozen=True, slots=True)
class DeliveryOptions:
    """``concurrency`` bounds the requests of this process; each lane of an endpoint makes one at a time.

    ``poll`` is how often, in seconds, the queue is looked at though nothing was said.
    """

    concurrency: int = 256
    poll: float = 5.0
    keep_delivered: int = 1000
    keep_dead: int = 10_000


@dataclass(slots=True)
class EndpointCounters:
    """What became of the requests to one endpoint; ``seconds`` is what they took together."""

    attempts: int = 0
    delivered: int = 0
    failed: int = 0
    retried: int = 0
    dead: int = 0
    seconds: float = 0.0
    last: Answer | None = None
    last_at_ms: int | None = None
    breaker: Breaker | None = field(default=None, repr=False)


class Deliverer:
    """Takes deliveries that are due and makes their requests. `wake` tells it that there may be some."""

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
        self._attempts: dict[asyncio.Task[None], Claim] = {}
        # Claims whose outcome the queue would not take so far.
        self._untold: set[str] = set()
        # None where nothing is traced.
        self.traces: WebhookTraces | None = None

    def wake(self) -> None:
        """Something was appended, or may be tried again."""
        self._wake.set()

    @property
    def under_way(self) -> int:
        """Requests that are being made."""
        return len(self._attempts)

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
            if not self._attempts:
                return
            await asyncio.wait(tuple(self._attempts))

    async def drain(self) -> None:
        """Ends the requests under way and gives their deliveries back; for when `run` has ended.

        Whoever comes next makes the same requests again, at once.
        """
        attempts = dict(self._attempts)
        await end_tasks(attempts)
        back = [(claim, Outcome("waiting", None, claim.delivery.due_at_ms)) for claim in attempts.values()]
        try:
            await self._queue.settle(back, self._now_ms())
        except SockudoError as problem:
            self._queue_failed(problem)

    async def _round(self) -> float:
        """Begins what can begin; returns the seconds after which there may be more."""
        # Who asks while this round is under way may have something in mind that it has not seen.
        idlers, self._idlers = self._idlers, []
        try:
            pause = await self._begin()
        except SockudoError:
            self._idlers += idlers
            raise
        if pause is None:
            self._idlers += idlers
            return self.options.poll
        for idler in idlers:
            if not idler.done():
                idler.set_result(None)
        return pause

    async def _begin(self) -> float | None:
        """Like `_round`; None when there may be more that can begin once a request has ended."""
        free = self.options.concurrency - len(self._attempts)
        if free <= 0:
            return None
        now_ms = self._now_ms()
        held = self._held_back()
        claims = await self._queue.claim(now_ms, now_ms + _LEASE_MS, free, besides=held)
        self.claimed += len(claims)
        for claim in claims:
            task = asyncio.get_running_loop().create_task(self._attempt(claim))
            self._attempts[task] = claim
            task.add_done_callback(self._ended)
        if len(claims) == free:
            return None
        return await self._until_next(held)

    async def _until_next(self, held: frozenset[tuple[str, str]]) -> float:
        due_ms = await self._queue.next_due(besides=held)
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
        del self._attempts[task]
        self._wake.set()
        if not task.cancelled() and (problem := task.exception()) is not None:
            _log.error("a webhook attempt failed", exc_info=problem)

    async def keep_house(self) -> None:
        """For ever: keeps the leases of requests that take long, gives up what has waited too long for endpoints that
        fail, drops what was kept long enough, and counts what there is.
        """
        while True:
            await asyncio.sleep(self.options.poll)
            try:
                if self._attempts:
                    await self._queue.renew(tuple(self._attempts.values()), self._now_ms() + _LEASE_MS)
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

    # ---- one attempt ----

    async def _attempt(self, claim: Claim) -> None:
        delivery = claim.delivery
        found = self._resolve(delivery.app_id, delivery.endpoint)
        if isinstance(found, str):
            await self._settle(claim, Outcome("dead", None, reason=found))
            return
        endpoint, key, signer = found
        counters = self._of((delivery.app_id, delivery.endpoint))
        breaker = counters.breaker = counters.breaker or Breaker(self._now)
        if breaker.open:
            # Another lane of it found out meanwhile.
            await self._settle(claim, Outcome("waiting", None, due_at_ms=self._now_ms()))
            return
        breaker.begin()
        began, started = self._now(), self._now_ms()
        span = None if self.traces is None else self.traces.attempt(endpoint, delivery)
        trace = delivery.trace if span is None else span.headers
        try:
            answer = await self._sender.send(request_of(endpoint, key, signer, delivery, trace), delivery.body)
        except BaseException:
            breaker.abandoned()
            if span is not None:
                span.end(error="abandoned")
            raise
        self._count(counters, answer)
        attempt = Attempt(delivery.attempts + 1, started, answer.took_ms, answer.status, answer.problem, answer.snippet)
        outcome = self._outcome(endpoint, delivery, answer, attempt)
        if outcome.state == "dead":
            counters.dead += 1
        elif outcome.state == "waiting":
            counters.retried += 1
        if span is not None and self.traces is not None:
            self.traces.attempted(span, answer, outcome)
        self._log(endpoint, delivery, answer, outcome)
        await self._settle(claim, outcome)
        self.attempt_times.note(self._now() - began)

    def _count(self, counters: EndpointCounters, answer: Answer) -> None:
        counters.attempts += 1
        counters.seconds += answer.took_ms / 1000
        counters.last, counters.last_at_ms = answer, self._now_ms()
        breaker = counters.breaker
        if answer.delivered:
            counters.delivered += 1
        else:
            counters.failed += 1
        if breaker is None:
            return
        if is_retried(answer):
            breaker.failed()
        else:
            # It answered; that it does not want this one says nothing about the next.
            breaker.succeeded()

    def _outcome(self, endpoint: Endpoint, delivery: Delivery, answer: Answer, attempt: Attempt) -> Outcome:
        if answer.delivered:
            return Outcome("delivered", attempt)
        if not is_retried(answer):
            return Outcome("dead", attempt, reason="refused")
        retry = endpoint.retry
        if not retry.enabled:
            return Outcome("dead", attempt, reason="retry_disabled")
        if retry.max_attempts is not None and attempt.number >= retry.max_attempts:
            return Outcome("dead", attempt, reason="attempts_exhausted")
        pause = retry.pause_ms(attempt.number)
        if answer.retry_after is not None:
            pause = max(pause, min(answer.retry_after * 1000, retry.max_backoff_ms))
        due = self._now_ms() + pause
        if due - delivery.created_at_ms > retry.max_elapsed_time_ms:
            return Outcome("dead", attempt, reason="time_exhausted")
        return Outcome("waiting", attempt, due_at_ms=due)

    async def _settle(self, claim: Claim, outcome: Outcome) -> None:
        try:
            if not await self._told(claim, outcome):
                _log.warning("another process took over a webhook delivery", delivery=claim.delivery.id)
        finally:
            self._untold.discard(claim.token)

    async def _told(self, claim: Claim, outcome: Outcome) -> bool:
        """Tells the queue until it knows, or the lease ends and the delivery is made once more."""
        pause = _QUEUE_PAUSE / 4
        while True:
            try:
                (kept,) = await self._queue.settle([(claim, outcome)], self._now_ms())
                return kept
            except SockudoError as problem:
                self._untold.add(claim.token)
                self._queue_failed(problem)
                await asyncio.sleep(pause)
                pause = min(2 * pause, 5.0)

    # ---- what is said about it ----

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
        """Tells the inspector, for which a delivery that went well is nothing while nobody watches."""
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


def is_retried(answer: Answer) -> bool:
    """Whether the same request may well succeed later."""
    if answer.status is None:
        return answer.problem not in _PERMANENT
    return answer.status >= 500 or answer.status in _RETRIED


def request_of(
    endpoint: Endpoint, key: str, signer: Signer, delivery: Delivery, trace: TraceHeaders | None = None
) -> Target:
    """The request of the next attempt: where it goes, and its headers (spec: platform § 5.2 and ours).

    ``trace`` are those of the attempt, or else the delivery's own; an endpoint that has such headers keeps them.
    """
    trace = delivery.trace if trace is None else trace
    if trace and any(name.lower() in ("traceparent", "tracestate") for name, _ in endpoint.headers):
        trace = ()
    headers = (
        ("Content-Type", "application/json"),
        ("X-Pusher-Key", key),
        ("X-Pusher-Signature", signer.hexdigest(delivery.body)),
        ("X-Sockudo-Delivery", delivery.id),
        ("X-Sockudo-Attempt", str(delivery.attempts + 1)),
        *trace,
        *endpoint.headers,
    )
    return Target(endpoint.url, headers, endpoint.timeout)
