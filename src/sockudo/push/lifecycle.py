"""How a publish goes on: which state follows from which, and what each step counts (contract 50 § 6)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from msgspec.structs import replace

from sockudo.push.recipients import Provider
from sockudo.push.records import (
    TERMINAL,
    Counters,
    DeliveryEvent,
    FailureSample,
    OutcomeError,
    PublishStatus,
    State,
)

__all__ = ["Step", "StepKind", "may_become", "outcome_state", "planned", "with_steps"]

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

    ``error`` says why it was not accepted; ``text`` is what the status says of a delivery that was given up.
    ``event`` is kept beside the status where there is one.
    """

    key: str
    kind: StepKind
    provider: Provider
    device_id: str | None = None
    error: OutcomeError | None = None
    retry_after_ms: int | None = None
    text: str | None = None
    event: DeliveryEvent | None = None


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
    """The status once planning has emitted that many deliveries (D9)."""
    counters = replace(status.counters, planned=emitted)
    if emitted == 0:
        return _into(replace(status, counters=counters, error_reason="no_recipients", code="no_recipients"), "failed")
    after = _into(replace(status, counters=counters, retry_after_ms=retry_after_ms), "dispatching")
    return _completed(after)


def with_steps(status: PublishStatus, steps: Iterable[Step]) -> PublishStatus:
    """The status after these steps, each new. While planning goes on nothing is complete, whatever has come already."""
    for step in steps:
        counters = status.counters
        for name in _COUNTED[step.kind]:
            counters = replace(counters, **{name: getattr(counters, name) + 1})
        status = replace(status, counters=counters)
        if step.kind == "retry_scheduled":
            status = replace(status, retry_after_ms=step.retry_after_ms)
        elif step.kind == "retry_dispatched":
            status = replace(status, retry_after_ms=None)
        if step.text is not None:
            status = replace(status, error_reason=step.text)
        if step.error is not None and step.error.failure_class is not None:
            status = replace(status, failures=_sampled(status.failures, step))
    return _completed(status)


def _completed(status: PublishStatus) -> PublishStatus:
    if status.state != "dispatching" and status.state not in _SUMMARIES:
        return status
    after = outcome_state(status.counters)
    return status if after is None else _into(status, after)


def _into(status: PublishStatus, state: State) -> PublishStatus:
    return replace(status, state=state) if may_become(status.state, state) else status


def _sampled(samples: list[FailureSample], step: Step) -> list[FailureSample]:
    """Counts the failure beside others of its provider and class, with the first as an example."""
    error = step.error
    if error is None or error.failure_class is None:
        return samples
    for place, sample in enumerate(samples):
        if (sample.provider, sample.failure_class, sample.code) == (step.provider, error.failure_class, error.kind):
            return [*samples[:place], replace(sample, count=sample.count + 1), *samples[place + 1 :]]
    if len(samples) >= _MOST_SAMPLES:
        return samples
    made = FailureSample(
        provider=step.provider,
        failure_class=error.failure_class,
        code=error.kind,
        count=1,
        device_id=step.device_id,
        reason=error.reason,
    )
    return [*samples, made]
