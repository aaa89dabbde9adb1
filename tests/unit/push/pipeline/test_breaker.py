from __future__ import annotations

import asyncio

from sockudo.config.sections.push import PushCircuitBreaker
from sockudo.push.pipeline.breaker import Breaker, Lane
from support.virtual_time import in_virtual_time

_OPTIONS = PushCircuitBreaker(failure_threshold=3, cooldown_secs=60)


def _tripped() -> Breaker:
    breaker = Breaker(_OPTIONS)
    assert [breaker.failed(0) for _ in range(3)] == [False, False, True]
    return breaker


def test_failing_batches_open_it_for_the_cool_down() -> None:
    breaker = _tripped()
    assert breaker.state(0) == 2
    assert breaker.held_until(10) == 60_000
    assert breaker.held_until(59_900) == 60_900
    assert breaker.held_until(60_000) is None


def test_a_clean_batch_wipes_the_slate() -> None:
    breaker = Breaker(_OPTIONS)
    breaker.failed(0)
    breaker.failed(0)
    breaker.clean(0)
    assert not breaker.failed(0)
    assert breaker.held_until(0) is None


def test_a_clock_that_is_put_back_makes_nobody_wait_longer() -> None:
    hour = 3_600_000
    breaker = Breaker(_OPTIONS)
    for _ in range(3):
        breaker.failed(hour)
    assert breaker.held_until(hour + 20_000) == hour + 60_000
    # An hour back: 40 seconds are left.
    assert breaker.held_until(20_000) == 60_000
    assert breaker.state(59_999) == 2
    assert breaker.held_until(60_000) is None


def test_one_batch_tries_and_the_others_wait() -> None:
    breaker = _tripped()
    assert breaker.begin()
    assert breaker.state(60_000) == 1
    assert breaker.held_until(60_000) == 61_000
    breaker.clean(60_000)
    assert breaker.held_until(60_000) is None
    assert not breaker.begin()


def test_a_try_that_fails_opens_it_again_at_once() -> None:
    breaker = _tripped()
    breaker.begin()
    assert breaker.failed(60_000)
    assert breaker.held_until(60_000) == 120_000


def test_a_try_that_was_given_up_leaves_it_to_the_next() -> None:
    breaker = _tripped()
    breaker.begin()
    breaker.abandoned()
    assert breaker.held_until(60_000) is None
    assert breaker.begin()


def test_it_waits_as_long_as_the_provider_asks_for_whatever_ends_meanwhile() -> None:
    breaker = Breaker(_OPTIONS)
    assert breaker.asked_to_wait(30_000, 0)
    assert not breaker.asked_to_wait(20_000, 0)
    breaker.clean(10)
    assert breaker.held_until(10) == 30_000


def test_a_provider_cannot_switch_an_app_off_for_days() -> None:
    breaker = Breaker(_OPTIONS)
    breaker.asked_to_wait(10 * 86_400_000, 0)
    assert breaker.held_until(0) == 3_600_000


def test_a_lane_is_halved_now_and_then_and_widens_by_one_a_minute() -> None:
    lane = Lane()
    assert lane.throttled(0)
    assert not lane.throttled(29_999)
    assert lane.width == 50
    assert lane.throttled(30_000)
    for _ in range(10):
        lane.throttled(10**9)
    lane.clean(10**9 + 59_999)
    assert lane.width == 12
    lane.clean(10**9 + 60_000)
    assert lane.width == 13


@in_virtual_time
async def test_who_waits_for_a_lane_gets_in_when_somebody_leaves() -> None:
    lane = Lane()
    lane.enter(100)
    waiting = asyncio.create_task(lane.room(10))
    await asyncio.sleep(1)
    lane.leave(5)
    await asyncio.sleep(1)
    assert not waiting.done()
    lane.leave(5)
    await asyncio.sleep(1)
    assert waiting.done()
