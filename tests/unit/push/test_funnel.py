"""The funnel of a publish: its parts add up to what was planned, whatever has happened."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sockudo.push.funnel import funnel
from sockudo.push.lifecycle import Step, StepKind, planned, with_steps
from sockudo.push.records import Counters, PublishStatus


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
