"""When an endpoint is left alone, and how it is asked again."""

from __future__ import annotations

from sockudo.testing import FakeClock
from sockudo.webhooks.counters import Breaker


def failing(times: int) -> tuple[Breaker, FakeClock]:
    clock = FakeClock()
    breaker = Breaker(clock.monotonic)
    for _ in range(times):
        breaker.begin()
        breaker.failed()
    return breaker, clock


def test_four_failures_are_not_enough() -> None:
    breaker, _ = failing(4)
    assert not breaker.open
    assert not breaker.tripped


def test_five_in_a_row_are() -> None:
    breaker, _ = failing(5)
    assert breaker.open
    assert breaker.tripped
    assert breaker.until == 1.0


def test_a_success_between_begins_the_count_again() -> None:
    breaker, _ = failing(4)
    breaker.succeeded()
    for _ in range(4):
        breaker.failed()
    assert not breaker.open


def test_after_the_pause_one_attempt_is_let_through() -> None:
    breaker, clock = failing(5)
    clock.advance(0.99)
    assert breaker.open
    clock.advance(0.01)
    assert not breaker.open
    breaker.begin()
    assert breaker.open
    breaker.succeeded()
    assert not breaker.open
    assert not breaker.tripped


def test_the_pause_doubles_up_to_half_a_minute() -> None:
    breaker, clock = failing(5)
    pauses = []
    for _ in range(7):
        pauses.append(breaker.until - clock.monotonic())
        clock.advance(pauses[-1])
        breaker.begin()
        breaker.failed()
    assert pauses == [1, 2, 4, 8, 16, 30, 30]


def test_after_a_success_pauses_begin_small_again() -> None:
    breaker, clock = failing(8)
    clock.advance(30)
    breaker.begin()
    breaker.succeeded()
    for _ in range(5):
        breaker.failed()
    assert breaker.until == clock.monotonic() + 1


def test_an_attempt_that_is_abandoned_lets_the_next_one_through() -> None:
    breaker, clock = failing(5)
    clock.advance(1)
    breaker.begin()
    breaker.abandoned()
    assert not breaker.open
    assert breaker.tripped
