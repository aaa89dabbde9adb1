"""What became of a batch: counted once, devices cleaned up, what is to be sent again put on its way
(spec: push § 7.4).

Everything here may be done again after a crash: the devices and the outcomes have keys, and what follows is produced
together with the end of the message.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

import structlog

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.jobs.ports import Lease
from sockudo.push.delivery import Batch, DeliveryJob, Sent, delivery_key, settling_key
from sockudo.push.diagnosis.advice import row_of_class
from sockudo.push.lifecycle import Step, StepKind
from sockudo.push.messages import Feedback, Retry, read_body, retry_message
from sockudo.push.pipeline.retrier import retries
from sockudo.push.pipeline.works import Worker, Works, dead_letter_id
from sockudo.push.ports import Touch
from sockudo.push.recipients import ROUTE_NAMES, token_hash
from sockudo.push.records import DeadLetter, DeliveryEvent, DeliveryResult, Outcome, PublishStatus
from sockudo.push.telemetry import meta_event

__all__ = ["FeedbackWorker", "guard"]

_TICK: Final = 64
_AT_ONCE: Final = 64
_SLICE: Final = 50
_DELETED_AT_ONCE: Final = 32
_MOST_ATTEMPTS: Final = 5

_SETTLING: Final[dict[Outcome, StepKind]] = {
    "accepted": "accepted",
    "rejected": "rejected",
    "expired": "expired",
    "cancelled": "cancelled",
}

_log = structlog.get_logger("sockudo.push")

_LEAST: Final = 10
_PERCENT: Final = 20


class FeedbackWorker(Worker):
    """Takes what senders say: some batches at a time, those of one publish one after the other."""

    kind = "feedback"
    stage = "delivery_results"

    async def round(self) -> bool:
        leases = await self.take(_TICK)
        lines: dict[tuple[str, str], list[tuple[Lease, Feedback]]] = {}
        for lease in leases:
            body = read_body(lease.job.body)
            if isinstance(body, Feedback):
                lines.setdefault((body.batch.app_id, body.batch.publish_id), []).append((lease, body))
            else:
                await self.works.refuse(lease)
            await asyncio.sleep(0)
        room = asyncio.Semaphore(_AT_ONCE)
        await self.all_of(self._line(line, room) for line in lines.values())
        return bool(leases)

    async def _line(self, line: list[tuple[Lease, Feedback]], room: asyncio.Semaphore) -> None:
        async with room:
            for place, (lease, feedback) in enumerate(line):
                try:
                    await self._note(lease, feedback)
                except SockudoError:
                    later = self.works.now_ms() + 1000
                    await self.works.queue.release([rest for rest, _ in line[place:]], later)
                    raise
                except Exception:
                    if lease.attempt < _MOST_ATTEMPTS:
                        raise
                    _log.exception("push feedback cannot be noted", app_id=feedback.batch.app_id)
                    await self._give_up(lease, feedback)

    async def _give_up(self, lease: Lease, feedback: Feedback) -> None:
        batch, works = feedback.batch, self.works
        await works.give_up(lease, "processing error", publish_id=batch.publish_id, provider=batch.provider)
        await works.queue.settle([lease], [], works.now_ms())

    # ---- one batch ----

    async def _note(self, lease: Lease, feedback: Feedback) -> None:
        works, batch = self.works, feedback.batch
        # A reader of an ended publish finds its dead devices gone.
        await self._forget_dead(feedback)
        await self._touch(feedback)
        again = list(
            retries(
                batch,
                [(job, sent.error) for job, sent in _pairs(feedback) if sent.outcome == "retryable"],
                works.options.retry,
                feedback.at_ms,
            )
        )
        steps = await _steps(feedback, again)
        taken, status = await works.take_steps(batch, steps, "feedback")
        self._tell(batch, steps, taken, status)
        await self._mark(lease, feedback)
        await works.queue.settle([lease], [retry_message(each) for each in again], works.now_ms())
        if again:
            works.wake("retry_schedule")

    async def _forget_dead(self, feedback: Feedback) -> None:
        """Deletes devices whose tokens are dead, unless they have others by now."""
        dead = [
            job
            for job, sent in _pairs(feedback)
            if job.device_id is not None
            and sent.outcome == "rejected"
            and sent.error is not None
            and sent.error.failure_class == "device_terminal"
        ]
        for start in range(0, len(dead), _DELETED_AT_ONCE):
            await asyncio.gather(*(self._forget(feedback.batch, job) for job in dead[start : start + _DELETED_AT_ONCE]))

    async def _forget(self, batch: Batch, job: DeliveryJob) -> None:
        works = self.works
        if job.device_id is None or not await works.store.delete_device(
            batch.app_id, job.device_id, token_hash=token_hash(job.recipient.token)
        ):
            return
        works.counters.count("token_invalidations_total", ROUTE_NAMES[batch.provider], batch.app_id)
        meta_event("token-invalidated", batch.app_id, batch.publish_id, batch.provider)
        works.probe.invalidated(batch.app_id, batch.publish_id, batch.provider, job.device_id)

    async def _touch(self, feedback: Feedback) -> None:
        """Notes successes and transient failures with the devices. Doing it again does no harm to the former."""
        batch = feedback.batch
        touches = []
        for job, sent in _pairs(feedback):
            if job.device_id is None:
                continue
            transient = sent.error is not None and sent.error.failure_class == "device_transient"
            if sent.outcome == "accepted" or transient:
                touches.append(
                    Touch(job.device_id, token_hash(job.recipient.token), feedback.at_ms, succeeded=not transient)
                )
        if not touches:
            return
        await asyncio.sleep(0)
        for change in await self.works.store.touch_devices(batch.app_id, touches):
            if change.before == change.after:
                continue
            self.works.counters.count("device_state_transitions_total", change.before, change.after, batch.app_id)
            detail = {"from": change.before, "to": change.after}
            meta_event("device-state-changed", batch.app_id, batch.publish_id, batch.provider, **detail)

    def _tell(self, batch: Batch, steps: Sequence[Step], taken: Sequence[Step], status: PublishStatus | None) -> None:
        works, provider = self.works, ROUTE_NAMES[batch.provider]
        known = len(steps) - len(taken)
        if known:
            works.counters.count("duplicate_suppressed_total", by=known)
        kinds = Counter(step.kind for step in taken)
        scheduled = kinds["retry_scheduled"]
        if scheduled:
            works.counters.count("retry_scheduled_total", provider, batch.app_id, by=scheduled)
            meta_event(
                "scheduler-event",
                batch.app_id,
                batch.publish_id,
                batch.provider,
                status="retry-scheduled",
                count=scheduled,
            )
        if status is None:
            return
        guard(works, batch, taken, status)
        settled = kinds["accepted"] + kinds["rejected"] + kinds["expired"]
        if settled and status.counters.settled - settled < status.counters.planned:
            works.ended(status)

    async def _mark(self, lease: Lease, feedback: Feedback) -> None:
        """A dead letter for each way in which the provider refused, as a note: there is nothing to send again."""
        batch = feedback.batch
        refused = dict.fromkeys(
            sent.error.kind
            for sent in feedback.sent
            if sent.outcome == "rejected" and sent.error is not None and sent.error.failure_class != "device_terminal"
        )
        letters = [
            DeadLetter(
                dead_letter_id=dead_letter_id(
                    batch.app_id,
                    batch.publish_id,
                    "delivery_result",
                    batch.batch_id,
                    kind,
                    str(feedback.at_ms),
                    lease.job_id,
                ),
                app_id=batch.app_id,
                publish_id=batch.publish_id,
                provider=batch.provider,
                stage="delivery_result",
                key=batch.batch_id,
                reason=kind,
                occurred_at_ms=feedback.at_ms,
            )
            for kind in refused
        ]
        await self.works.keep_letters(letters)


def _pairs(feedback: Feedback) -> list[tuple[DeliveryJob, Sent]]:
    return list(zip(feedback.batch.jobs, feedback.sent, strict=True))


async def _steps(feedback: Feedback, again: Sequence[Retry]) -> list[Step]:
    """A recipient is settled once, after any number of attempts; each attempt is followed by one retry."""
    batch = feedback.batch
    due = {job: retry.due_at_ms for retry in again for job in retry.batch.jobs}
    steps = []
    for place, (job, sent) in enumerate(_pairs(feedback)):
        if place % _SLICE == 0:
            await asyncio.sleep(0)
        key = delivery_key(batch, job)
        event = _event(feedback, job, sent, key)
        text, code = _words(batch, sent)
        kind = _SETTLING.get(sent.outcome)
        steps.append(
            Step(
                settling_key(batch, job) if kind is not None else f"{key}:{batch.attempt}:again",
                kind or "retry_scheduled",
                batch.provider,
                job.device_id,
                sent.error,
                retry_after_ms=due[job] if kind is None else None,
                text=text,
                event=event,
                code=code,
                replaces=None if kind is None else batch.replaces,
            )
        )
    return steps


def _event(feedback: Feedback, job: DeliveryJob, sent: Sent, key: str) -> DeliveryEvent:
    batch = feedback.batch
    result = DeliveryResult(
        app_id=batch.app_id,
        publish_id=batch.publish_id,
        provider=batch.provider,
        batch_id=batch.batch_id,
        device_id=job.device_id,
        outcome=sent.outcome,
        provider_message_id=sent.message_id,
        error=sent.error,
        attempt=batch.attempt,
    )
    return DeliveryEvent(event_id=f"{key[:32]}-{batch.attempt}", occurred_at_ms=feedback.at_ms, result=result)


def _words(batch: Batch, sent: Sent) -> tuple[str | None, str | None]:
    """Its text in the status, and the slug of the catalogue for it; it ends with the class of the error."""
    if sent.outcome == "expired":
        return "expired before it was sent", errors.PUSH_EXPIRED.slug
    if sent.error is None:
        return None, None
    row = row_of_class(sent.error.kind, batch.provider)
    verb = "refused" if sent.outcome == "rejected" else "did not take"
    return f"{batch.provider} {verb} a notification: {sent.error.kind}", None if row is None else row.slug


# ---- many dead tokens at once ----


def guard(works: Works, batch: Batch, taken: Sequence[Step], status: PublishStatus) -> None:
    """Reports that these outcomes made ``failed`` cross the threshold, and a dead token is among them."""
    rejected = [step for step in taken if step.kind == "rejected"]
    if not any(step.error is not None and step.error.failure_class == "device_terminal" for step in rejected):
        return
    counters = status.counters
    threshold = max(_LEAST, math.ceil(counters.planned * _PERCENT / 100))
    if not counters.failed - len(rejected) < threshold <= counters.failed:
        return
    works.counters.count("token_invalidation_guard_total", ROUTE_NAMES[batch.provider], batch.app_id)
    about = {"planned": counters.planned, "failed": counters.failed, "thresholdPercent": _PERCENT}
    meta_event("token-invalidation-guard", batch.app_id, batch.publish_id, batch.provider, action="warned", **about)
    _log.warning(
        "many tokens of one publish are dead: are these the credentials of the right app?",
        app_id=batch.app_id,
        publish_id=batch.publish_id,
        provider=batch.provider,
        **about,
    )
