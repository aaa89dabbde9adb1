"""How a publish goes on: which state follows from which, what each step counts, and how far it has come
(spec: push § 6).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from msgspec.structs import replace

from sockudo.push.recipients import Provider
from sockudo.push.records import (
    TERMINAL,
    Counters,
    DeliveryEvent,
    FailureClass,
    FailureSample,
    OutcomeError,
    PublishStatus,
    State,
)

__all__ = [
    "Funnel",
    "Step",
    "StepKind",
    "funnel",
    "is_untouched",
    "may_become",
    "outcome_state",
    "planned",
    "with_steps",
]

StepKind = Literal[
    "accepted",
    "rejected",
    "expired",
    "cancelled",
    "retry_scheduled",
    "retry_dispatched",
    "retry_expired",
    "retry_exhausted",
]

# States that say how deliveries went: one more outcome may turn one into another.
_SUMMARIES: Final[frozenset[State]] = frozenset(
    {"succeeded", "partiallySucceeded", "expired", "failed", "dead_lettered"}
)
_MOST_SAMPLES: Final = 40

_SETTLING: Final[frozenset[StepKind]] = frozenset(
    {"accepted", "rejected", "expired", "retry_expired", "retry_exhausted"}
)

_LOSING: Final[frozenset[StepKind]] = _SETTLING - {"accepted"}

_COUNTED: Final[dict[StepKind, tuple[str, ...]]] = {
    "accepted": ("dispatched", "succeeded"),
    "rejected": ("dispatched", "failed"),
    "expired": ("dispatched", "expired"),
    "cancelled": (),
    "retry_scheduled": ("retry_scheduled",),
    "retry_dispatched": ("retry_attempted",),
    "retry_expired": ("expired",),
    "retry_exhausted": ("dead_lettered",),
}


class Step(NamedTuple):
    """Something that became of one recipient. A step whose ``key`` was taken before changes nothing.

    ``error`` is why it was not accepted; ``text`` is the reason in the status, ``code`` its slug of the catalogue.
    ``event`` is kept beside the status where there is one. ``replaces`` is the counter in which the recipient stood
    already, for a dead letter that was replayed: the outcome takes its place.
    """

    key: str
    kind: StepKind
    provider: Provider
    device_id: str | None = None
    error: OutcomeError | None = None
    retry_after_ms: int | None = None
    text: str | None = None
    event: DeliveryEvent | None = None
    code: str | None = None
    replaces: Literal["dead_lettered", "expired"] | None = None


def may_become(before: State, after: State) -> bool:
    """Whether the step from one state to the other is legal."""
    if before == after:
        return True
    if before in TERMINAL:
        return before in _SUMMARIES and after in _SUMMARIES
    if after in TERMINAL:
        return True
    order = ("queued", "planning", "throttled", "dispatching")
    return order.index(before) < order.index(after)


def is_untouched(status: PublishStatus) -> bool:
    """Whether nothing has become of the publish since it was accepted."""
    return status.revision <= 1


def outcome_state(counters: Counters) -> State | None:
    """What all outcomes together come to; None while some are missing."""
    if counters.planned <= 0 or counters.settled < counters.planned:
        return None
    if not (counters.failed or counters.expired or counters.dead_lettered):
        return "succeeded"
    if counters.succeeded:
        return "partiallySucceeded"
    if counters.expired:
        return "expired"
    return "dead_lettered" if counters.dead_lettered else "failed"


def planned(status: PublishStatus, emitted: int, *, retry_after_ms: int | None = None) -> PublishStatus:
    """The status once planning has emitted that many deliveries."""
    counters = replace(status.counters, planned=emitted)
    if emitted == 0:
        return _into(replace(status, counters=counters, error_reason="no_recipients", code="no_recipients"), "failed")
    if retry_after_ms is not None:
        status = replace(status, retry_after_ms=retry_after_ms)
    return _completed(_into(replace(status, counters=counters), "dispatching"))


def with_steps(status: PublishStatus, steps: Iterable[Step]) -> PublishStatus:
    """The status after these steps, each new. While planning goes on it is not complete, whichever outcomes it has."""
    counted: Counter[str] = Counter()
    retry_after_ms, text, code = status.retry_after_ms, status.error_reason, status.code
    samples = {_kind_of(sample): sample for sample in status.failures}
    # A publish is shown as retrying only as long as no recipient has failed.
    lost = status.counters.settled > status.counters.succeeded
    for step in steps:
        counted.update(_COUNTED[step.kind])
        if step.replaces is not None and step.kind in _SETTLING:
            counted[step.replaces] -= 1
        if step.kind == "retry_scheduled":
            retry_after_ms = step.retry_after_ms
        elif step.kind == "retry_dispatched":
            retry_after_ms = None
        if step.text is not None and (step.kind != "retry_scheduled" or not lost):
            text, code = step.text, step.code
        lost = lost or step.kind in _LOSING
        if step.error is not None and step.error.failure_class is not None:
            _sample(samples, step, step.error, step.error.failure_class)
    counters = status.counters
    changed = {name: max(0, getattr(counters, name) + count) for name, count in counted.items() if count}
    return _completed(
        replace(
            status,
            counters=replace(counters, **changed),
            retry_after_ms=retry_after_ms,
            error_reason=text,
            code=code,
            failures=list(samples.values()),
        )
    )


def _completed(status: PublishStatus) -> PublishStatus:
    if status.state != "dispatching" and status.state not in _SUMMARIES:
        return status
    after = outcome_state(status.counters)
    if after is None:
        return status
    status = replace(status, retry_after_ms=None)
    if after == "succeeded":
        # What went wrong on the way is in ``failures``; in the end nothing did.
        status = replace(status, error_reason=None, code=None)
    return _into(status, after)


def _into(status: PublishStatus, state: State) -> PublishStatus:
    return replace(status, state=state) if may_become(status.state, state) else status


def _kind_of(sample: FailureSample) -> tuple[Provider, FailureClass, str]:
    return sample.provider, sample.failure_class, sample.code


def _sample(
    samples: dict[tuple[Provider, FailureClass, str], FailureSample],
    step: Step,
    error: OutcomeError,
    failure_class: FailureClass,
) -> None:
    """Counts the failure beside others of its provider and class, with the first as an example."""
    kind = step.provider, failure_class, error.kind
    known = samples.get(kind)
    if known is not None:
        samples[kind] = replace(known, count=known.count + 1)
    elif len(samples) < _MOST_SAMPLES:
        samples[kind] = FailureSample(
            provider=step.provider,
            failure_class=failure_class,
            code=error.kind,
            count=1,
            device_id=step.device_id,
            reason=error.reason,
        )


# ---- numbers that add up for people ----


class Funnel(NamedTuple):
    """Recipients of a publish: ``planned`` is the sum of those that wait, are retried, and of the four ends.

    ``sent`` counts those of whom a provider was asked, with an answer that settled it.
    """

    planned: int
    sent: int
    succeeded: int
    failed: int
    expired: int
    dead_lettered: int
    retrying: int
    waiting: int

    @property
    def settled(self) -> int:
        """Recipients for whom nothing more will happen."""
        return self.succeeded + self.failed + self.expired + self.dead_lettered


def funnel(counters: Counters) -> Funnel:
    """Reads the counters of a status. A retry that has been given up is among the ends, not among the retries."""
    left = max(0, counters.planned - counters.settled)
    retrying = max(0, min(counters.retry_scheduled - counters.retry_attempted, left))
    return Funnel(
        planned=counters.planned,
        sent=counters.dispatched,
        succeeded=counters.succeeded,
        failed=counters.failed,
        expired=counters.expired,
        dead_lettered=counters.dead_lettered,
        retrying=retrying,
        waiting=left - retrying,
    )
