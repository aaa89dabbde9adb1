"""One batch on its way to its provider, in chunks: before each comes a look at what has changed (spec: push § 7.3)."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, Final, Literal

import msgspec
import structlog
from msgspec.structs import replace

from sockudo.base.spans import Attributes, Span, Tracer
from sockudo.errors import SockudoError
from sockudo.jobs.ports import Job
from sockudo.push.delivery import Batch, DeliveryJob, PushProvider, Sent
from sockudo.push.messages import Feedback, delivery_message, feedback_message
from sockudo.push.pipeline.breaker import Breaker, Lane
from sockudo.push.pipeline.works import LEASE_MS, Works
from sockudo.push.recipients import ROUTE_NAMES
from sockudo.push.records import FailureClass, Outcome, OutcomeError
from sockudo.push.telemetry import meta_event

__all__ = ["Sending", "run_traced"]

# So many requests are begun before the loop gets its turn.
_BEGUN_AT_ONCE: Final = 4
_SOON_MS: Final = 1000

# Outcomes that are no sign of the provider's health.
_NOT_ITS_FAULT: Final[frozenset[FailureClass]] = frozenset({"device_terminal", "caller_payload"})

_log = structlog.get_logger("sockudo.push")

_OTHER: Final = "_OTHER"


class Sending:
    """Sends a batch as far as it goes. From outside are set ``held_until_ms``, when its lease ends, ``lost`` once
    another process may have the batch, and ``stopping``. ``sent`` is what became of the first jobs so far;
    ``put_off_ms`` is when to try again where nothing was sent at all.
    """

    def __init__(self, works: Works, batch: Batch, provider: PushProvider, breaker: Breaker, lane: Lane) -> None:
        self.held_until_ms = works.now_ms() + LEASE_MS
        self.lost = False
        self.stopping = False
        self._works = works
        self._batch = batch
        self._provider = provider
        self._breaker = breaker
        self._lane = lane
        self._payload: dict[str, Any] = {}
        self.sent: list[Sent] = []
        self.put_off_ms: int | None = None
        self._counted_as_failing = False
        # Counted by outcome, class and failure class.
        self._outcomes: Counter[tuple[Outcome, str, str]] = Counter()
        self._labels = (ROUTE_NAMES[batch.provider], batch.app_id)

    async def run(self) -> list[Job]:
        """Returns what follows: what became of the jobs, and those that wait for later as a batch of their own.

        When the batch is ``lost`` then, it must not be finished: it may be without a worker.

        Raises errors.SERVICE_UNAVAILABLE only before the first chunk.
        """
        jobs = self._batch.jobs
        probing = self._breaker.begin()
        begun_ms = self._works.now_ms()
        later_ms: int | None = None
        try:
            self._payload = msgspec.json.decode(self._batch.payload, type=dict[str, Any])
            while len(self.sent) < len(jobs):
                try:
                    settled = await self._look()
                except SockudoError:
                    if not self.sent:
                        raise
                    # Outcomes of what was sent are reported, also when the rest fails.
                    later_ms = self._works.now_ms() + _SOON_MS
                    break
                if settled is not None:
                    self.sent += [Sent(settled)] * (len(jobs) - len(self.sent))
                    break
                later_ms = await self._chunk(jobs, probing=probing)
                if later_ms is not None or self.lost:
                    break
                probing = self._breaker.probing
        finally:
            if probing:
                self._breaker.abandoned()
        self._tell()
        return self._follow_up(begun_ms, later_ms)

    async def _look(self) -> Literal["cancelled", "expired"] | None:
        """What is to become of all that is left without another request."""
        batch = self._batch
        status = await self._works.store.status(batch.app_id, batch.publish_id)
        if status is not None and status.state == "cancelled":
            return "cancelled"
        return "expired" if batch.has_expired(self._works.now_ms()) else None

    async def _chunk(self, jobs: list[DeliveryJob], *, probing: bool) -> int | None:
        """Sends the next ones; returns when to go on, None for at once."""
        works, done = self._works, len(self.sent)
        if works.now_ms() >= self.held_until_ms:
            # This process stood still, or could not extend the lease: another worker may have begun by now.
            self.lost = True
            return None
        if self.stopping:
            return works.now_ms()
        held = None if probing else self._breaker.held_until(works.now_ms())
        if held is not None:
            return held
        size = min(works.options.dispatch_max_outbound_requests, self._lane.width, len(jobs) - done)
        if probing:
            size = min(size, works.options.circuit_breaker.half_open_max_inflight)
        if self._lane.free < (size + 1) // 2:
            await self._lane.room((size + 1) // 2)
            # Things may have changed meanwhile.
            return None
        size = min(size, self._lane.free)
        self._lane.enter(size)
        works.counters.set("dispatch_inflight", self._lane.busy, *self._labels)
        try:
            answers = await self._ask(jobs[done : done + size])
        finally:
            self._lane.leave(size)
            works.counters.set("dispatch_inflight", self._lane.busy, *self._labels)
        self.sent += answers
        return self._learn(answers)

    async def _ask(self, jobs: list[DeliveryJob]) -> list[Sent]:
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[Sent]] = []
        try:
            for place, job in enumerate(jobs):
                if place and place % _BEGUN_AT_ONCE == 0:
                    await asyncio.sleep(0)
                tasks.append(loop.create_task(self._one(job)))
            return await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def _one(self, job: DeliveryJob) -> Sent:
        batch, works = self._batch, self._works
        if batch.expires_at_ms is not None and batch.expires_at_ms <= works.now_ms():
            return Sent("expired")
        began = works.clock.monotonic()
        try:
            answer = await self._provider.send(
                batch.app_id, self._payload, job.recipient, expires_at_ms=batch.expires_at_ms
            )
        except Exception:  # noqa: BLE001 - logged; a defect of one provider must not lose notifications of others
            _log.exception("a push provider failed", provider=batch.provider, app_id=batch.app_id)
            answer = Sent("retryable", None, OutcomeError(kind="network_transport", failure_class="unknown"))
        works.counters.note("dispatch_duration_seconds", works.clock.monotonic() - began, *self._labels)
        return answer

    # ---- what the answers say about the provider ----

    def _learn(self, answers: list[Sent]) -> int | None:
        works, breaker, lane = self._works, self._breaker, self._lane
        now = works.now_ms()
        failures = retryable = throttled = 0
        waits: int | None = None
        for answer in answers:
            error = answer.error
            failure = None if error is None else error.failure_class
            self._outcomes[answer.outcome, "" if error is None else error.kind, failure or ""] += 1
            if answer.outcome in ("accepted", "expired") or failure in _NOT_ITS_FAULT:
                continue
            failures += 1
            retryable += answer.outcome == "retryable"
            throttled += failure == "provider_quota"
            if error is not None and error.retry_after_ms is not None:
                waits = max(waits or 0, error.retry_after_ms)
        if throttled and lane.throttled(now):
            works.counters.count("rate_limiter_throttled_total", *self._labels)
        if waits is not None and waits > now:
            if breaker.asked_to_wait(waits, now):
                self._opened("open_retry_after", breaker, now)
            return breaker.held_until(now)
        if 2 * failures < len(answers):
            if not failures:
                lane.clean(now)
                breaker.clean(now)
            return None
        if not self._counted_as_failing and breaker.failed(now):
            self._opened("open_failure_rate", breaker, now)
        self._counted_as_failing = True
        # As long as it fails like this, no other batch tries it.
        return (breaker.held_until(now) or now + _SOON_MS) if 2 * retryable >= len(answers) else None

    def _opened(self, action: str, breaker: Breaker, now: int) -> None:
        batch = self._batch
        self._works.counters.count("circuit_breaker_open_total", *self._labels)
        meta_event(
            "circuit-breaker-event",
            batch.app_id,
            batch.publish_id,
            batch.provider,
            action=action,
            retryAtMs=breaker.held_until(now),
        )

    # ---- what follows ----

    def _tell(self) -> None:
        batch, counters = self._batch, self._works.counters
        errors = (answer.error for answer in self.sent if answer.error is not None)
        refused = next((error for error in errors if error.failure_class == "credential_auth"), None)
        if refused is not None:
            self._works.probe.misconfigured(batch.app_id, batch.publish_id, batch.provider, refused)
        provider, app_id = self._labels
        for (outcome, kind, failure), count in self._outcomes.items():
            counters.count("dispatched_total", provider, outcome, app_id, by=count)
            if outcome in ("accepted", "expired"):
                continue
            counters.count("provider_failures_total", provider, failure or "unknown", app_id, by=count)
            meta_event(
                "provider-rejected",
                app_id,
                batch.publish_id,
                batch.provider,
                outcome=outcome,
                failureClass=failure or None,
                count=count,
                **{"class": kind},
            )

    def _follow_up(self, begun_ms: int, later_ms: int | None) -> list[Job]:
        batch, done = self._batch, len(self.sent)
        messages = []
        if done:
            sent = replace(batch, jobs=batch.jobs[:done], first_attempt_at_ms=batch.first_attempt_at_ms or begun_ms)
            messages.append(feedback_message(Feedback(batch=sent, sent=self.sent, at_ms=self._works.now_ms())))
        if done < len(batch.jobs) and not self.lost:
            due = later_ms if later_ms is not None else self._works.now_ms()
            if not done:
                # It stays what it is, under the key by which repair finds it.
                self.put_off_ms = due
                return []
            messages.append(delivery_message(_deferred(batch, batch.jobs[done:], due), due))
        return messages


def _deferred(batch: Batch, jobs: list[DeliveryJob], due_ms: int) -> Batch:
    first = batch.batch_id.partition("-deferred-")[0]
    made = f"{first}-deferred-{due_ms}"
    if made == batch.batch_id:
        made = f"{first}-deferred-{due_ms + 1}"
    return replace(batch, batch_id=made, jobs=jobs)


# ---- spans: one for each time that a batch goes to its provider ----


async def run_traced(tracer: Tracer, batch: Batch, sending: Sending) -> list[Job]:
    """See `Sending.run`. The span is a part of the request that published, however much later this is, and also in
    another process.

    It holds the number of recipients by outcome, and nothing of any of them. The provider does not receive the trace.
    """
    span = tracer.start("send push batch", "client", _about(batch), cause=batch.trace)
    error: str | None = _OTHER
    try:
        messages = await sending.run()
        error = None
    except SockudoError as problem:
        error = problem.spec.slug
        raise
    except asyncio.CancelledError:
        error = "cancelled"
        raise
    finally:
        _end(span, batch, sending, error)
    return messages


def _end(span: Span, batch: Batch, sending: Sending, error: str | None) -> None:
    outcomes = Counter(f"sockudo.push.{sent.outcome}" for sent in sending.sent)
    failures = Counter(sent.error.kind for sent in sending.sent if sent.error is not None)
    left = len(batch.jobs) - len(sending.sent)
    attributes = {**outcomes, "sockudo.push.deferred": left} if left else dict(outcomes)
    if error is not None:
        span.end(attributes, error=error)
    elif failures:
        span.end(attributes, error=failures.most_common(1)[0][0], failed=not outcomes["sockudo.push.accepted"])
    else:
        span.end(attributes)


def _about(batch: Batch) -> Attributes:
    provider = ROUTE_NAMES[batch.provider]
    return {
        "messaging.system": "sockudo",
        "messaging.destination.name": f"push.{provider}",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.message.id": batch.publish_id,
        "messaging.batch.message_count": len(batch.jobs),
        "sockudo.app_id": batch.app_id,
        "sockudo.push.provider": provider,
        "sockudo.push.batch_id": batch.batch_id,
        "sockudo.push.attempt": batch.attempt,
    }
