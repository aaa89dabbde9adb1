"""States and counters of a publish: which may follow which, and what each outcome makes of them (spec: push § 6)."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo.push.lifecycle import Step, StepKind, funnel, may_become, outcome_state, planned, with_steps
from sockudo.push.records import TERMINAL, Counters, OutcomeError, PublishStatus, State

_ERROR = OutcomeError(kind="quota", failure_class="provider_quota", reason="slow down")
_ENDS: tuple[StepKind, ...] = ("accepted", "rejected", "expired", "retry_expired", "retry_exhausted")


def _status(state: State = "dispatching", **counters: int) -> PublishStatus:
    return PublishStatus(app_id="app", publish_id="publish", state=state, counters=Counters(**counters))


def _step(kind: StepKind, **more: object) -> Step:
    return Step("key", kind, "fcm", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after", "legal"),
    [
        ("queued", "planning", True),
        ("planning", "queued", False),
        ("planning", "dispatching", True),
        ("dispatching", "planning", False),
        ("queued", "cancelled", True),
        ("succeeded", "dispatching", False),
        ("succeeded", "partiallySucceeded", True),
        ("dead_lettered", "succeeded", True),
        ("cancelled", "succeeded", False),
        ("quota_exceeded", "failed", False),
        ("cancelled", "cancelled", True),
    ],
)
def test_transitions(before: State, after: State, legal: bool) -> None:
    assert may_become(before, after) is legal


def test_no_end_becomes_active_again() -> None:
    active = set(get_args(State)) - TERMINAL
    assert not [(end, state) for end in TERMINAL for state in active if may_become(end, state)]


@pytest.mark.parametrize(
    ("counters", "state"),
    [
        ({"planned": 2, "succeeded": 1}, None),
        ({"planned": 0}, None),
        ({"planned": 2, "succeeded": 2}, "succeeded"),
        ({"planned": 2, "succeeded": 1, "expired": 1}, "partiallySucceeded"),
        ({"planned": 2, "failed": 1, "expired": 1}, "expired"),
        ({"planned": 2, "failed": 1, "dead_lettered": 1}, "dead_lettered"),
        ({"planned": 2, "failed": 2}, "failed"),
    ],
)
def test_what_all_outcomes_come_to(counters: dict[str, int], state: State | None) -> None:
    assert outcome_state(Counters(**counters)) == state


def test_planning_corrects_what_was_estimated_and_sees_what_has_come_already() -> None:
    early = with_steps(_status("planning", planned=1), [_step("accepted")])
    assert early.state == "planning"
    assert planned(early, 2).state == "dispatching"
    assert planned(early, 1).state == "succeeded"
    nobody = planned(_status("planning", planned=5), 0)
    assert (nobody.state, nobody.code, nobody.counters.planned) == ("failed", "no_recipients", 0)
    assert planned(_status("cancelled"), 3).state == "cancelled"


def test_a_retry_is_announced_until_it_is_sent() -> None:
    waits = with_steps(
        _status(planned=1), [_step("retry_scheduled", error=_ERROR, retry_after_ms=7, text="slow: quota")]
    )
    assert (waits.state, waits.retry_after_ms, waits.error_reason) == ("dispatching", 7, "slow: quota")
    sent = with_steps(waits, [_step("retry_dispatched")])
    assert (sent.retry_after_ms, sent.counters.retry_attempted) == (None, 1)
    done = with_steps(sent, [_step("accepted")])
    assert (done.state, done.error_reason) == ("succeeded", None)
    assert [(sample.code, sample.count, sample.reason) for sample in done.failures] == [("quota", 1, "slow down")]


def test_what_is_lost_is_said_rather_than_what_is_tried_again() -> None:
    steps = [_step("rejected", text="gone", code="provider_token_invalid"), _step("retry_scheduled", text="slow")]
    assert with_steps(_status(planned=2), steps).error_reason == "gone"
    assert with_steps(with_steps(_status(planned=2), steps[:1]), steps[1:]).error_reason == "gone"


def test_failures_are_counted_by_kind_in_bounds() -> None:
    kinds = [OutcomeError(kind=f"kind-{n}", failure_class="unknown") for n in range(60)]
    status = with_steps(_status(planned=200), [_step("rejected", error=error) for error in (*kinds, *kinds)])
    assert len(status.failures) == 40
    assert {sample.count for sample in status.failures} == {2}


def test_a_replayed_outcome_takes_the_place_of_the_first() -> None:
    status = _status("dead_lettered", planned=1, dead_lettered=1)
    again = with_steps(status, [_step("retry_exhausted", replaces="dead_lettered")])
    assert again.counters == status.counters
    done = with_steps(again, [_step("accepted", replaces="dead_lettered")])
    assert done.counters == Counters(planned=1, dispatched=1, succeeded=1)
    assert done.state == "succeeded"


@given(st.lists(st.sampled_from(_ENDS), min_size=1, max_size=30), st.data())
def test_the_state_is_a_function_of_the_counters_however_steps_come_together(
    kinds: list[StepKind], data: st.DataObject
) -> None:
    status = whole = _status(planned=len(kinds))
    left = [_step(kind) for kind in kinds]
    whole = with_steps(whole, left)
    while left:
        count = data.draw(st.integers(1, len(left)))
        status = with_steps(status, left[:count])
        left = left[count:]
        assert status.state == (outcome_state(status.counters) or "dispatching")
    assert status == whole
    assert status.counters.settled == status.counters.planned


def test_nothing_is_known_before_planning() -> None:
    assert set(funnel(Counters())) == {0}


def test_a_retry_that_waits_is_no_end() -> None:
    counts = funnel(Counters(planned=4, dispatched=2, succeeded=1, failed=1, retry_scheduled=3, retry_attempted=2))
    assert (counts.settled, counts.retrying, counts.waiting, counts.sent) == (2, 1, 1, 2)


def test_a_retry_that_was_given_up_is_no_retry_any_more() -> None:
    counts = funnel(Counters(planned=1, retry_scheduled=5, retry_attempted=4, dead_lettered=1))
    assert (counts.dead_lettered, counts.retrying, counts.waiting) == (1, 0, 0)


ENDS: list[list[StepKind]] = [
    ["accepted"],
    ["rejected"],
    ["expired"],
    ["retry_scheduled"],
    ["retry_scheduled", "retry_dispatched"],
    ["retry_scheduled", "retry_dispatched", "accepted"],
    ["retry_scheduled", "retry_expired"],
    ["retry_scheduled", "retry_dispatched", "retry_scheduled", "retry_exhausted"],
]


@given(st.lists(st.sampled_from(ENDS), max_size=12), st.integers(0, 5))
def test_the_parts_are_the_whole(lives: list[list[StepKind]], untouched: int) -> None:
    status = PublishStatus(app_id="a", publish_id="p", state="planning")
    status = planned(status, len(lives) + untouched)
    for number, life in enumerate(lives):
        status = with_steps(status, [Step(f"{number}-{place}", kind, "fcm") for place, kind in enumerate(life)])
    counts = funnel(status.counters)
    assert counts.settled + counts.retrying + counts.waiting == counts.planned
    assert min(counts) >= 0
