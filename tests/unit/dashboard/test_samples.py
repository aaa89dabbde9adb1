"""Samples in virtual time: rates, gaps, a clock that is set, and those who watch."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from math import nan

from sockudo.dashboard.readings import Growth, Reading
from sockudo.dashboard.samples import CAPACITY, INTERVAL, SERIES, News, Samples
from sockudo.testing import FakeClock
from support.virtual_time import START, LoopClock, in_virtual_time

MORE = ("webhooks_pending", "webhooks_dead")


class Node:
    """What is read, set by hand; what has grown is handed out once."""

    def __init__(self) -> None:
        self.connections = 3
        self.grown = Growth()
        self.errors: dict[str, int] = {}
        self.limited = 0
        self.pending = nan

    def read(self) -> Reading:
        grown, self.grown = self.grown, Growth()
        errors, self.errors = self.errors, {}
        limited, self.limited = self.limited, 0
        return Reading(self.connections, 7, grown, 0.5, 12.346, 50e6, errors, limited, (self.pending, nan))


class SetClock(FakeClock):
    """A clock whose time of day can be set, too."""

    def __init__(self) -> None:
        super().__init__(time=START)

    def set(self, seconds: float) -> None:
        self._time += seconds


def sampled(node: Node | None = None) -> tuple[Node, Samples, SetClock]:
    node, clock = node or Node(), SetClock()
    return node, Samples(node.read, clock, MORE), clock


def take(samples: Samples, clock: SetClock, seconds: float = INTERVAL) -> None:
    clock.advance(seconds)
    samples.take()


# ---- what a sample says ----


def test_a_sample_has_gauges_and_rates() -> None:
    node, samples, clock = sampled()
    node.grown = Growth(published=10, delivered=3000, bytes_sent=4096, bytes_received=1, requests=9)
    node.errors, node.limited = {"unknown_app": 3, "over_quota": 1}, 5
    take(samples, clock)
    assert samples.newest() == {
        "at": int(START * 1000) + 2000,
        "connections": 3,
        "channels": 7,
        "messages_per_second": 5,
        "deliveries_per_second": 1500,
        "bytes_sent_per_second": 2048,
        "bytes_received_per_second": 0.5,
        "requests_per_second": 4.5,
        "errors_per_second": 2,
        "rate_limited_per_second": 2.5,
        "loop_lag_p99_ms": 0.5,
        "loop_lag_max_ms": 12.35,
        "memory_bytes": 50e6,
        "webhooks_pending": None,
        "webhooks_dead": None,
        "error_counts": {"unknown_app": 3, "over_quota": 1},
    }


def test_nothing_is_known_before_the_first_sample() -> None:
    _, samples, _ = sampled()
    assert samples.newest() is None
    assert samples.body()["at"] == []


def test_a_rate_is_of_the_time_that_really_passed() -> None:
    node, samples, clock = sampled()
    take(samples, clock)
    node.grown = Growth(published=100)
    take(samples, clock, 10)  # the process stood still
    node.grown = Growth(published=100)
    take(samples, clock)
    body = samples.body()
    assert body["series"]["messages_per_second"] == [0, 10, 50]
    assert [after - before for before, after in zip(body["at"], body["at"][1:], strict=False)] == [10_000, 2000]


def test_no_sample_is_taken_while_time_stands_still() -> None:
    node, samples, clock = sampled()
    samples.take()
    assert samples.ring.count == 0
    node.grown = Growth(published=4)
    take(samples, clock)
    assert samples.body()["series"]["messages_per_second"] == [2]


def test_a_clock_that_is_set_back_takes_the_past_with_it() -> None:
    _, samples, clock = sampled()
    take(samples, clock)
    take(samples, clock)
    clock.set(-3600)
    take(samples, clock)
    end = int((START - 3600) * 1000) + 6000
    assert samples.body()["at"] == [end - 4000, end - 2000, end]


def test_a_clock_that_is_set_forward_leaves_a_gap() -> None:
    _, samples, clock = sampled()
    take(samples, clock)
    clock.set(60)
    take(samples, clock)
    first, second = samples.body()["at"]
    assert second - first == 62_000


def test_an_hour_is_kept() -> None:
    node, samples, clock = sampled()
    for number in range(CAPACITY + 10):
        node.connections = number
        take(samples, clock)
    body = samples.body()
    assert len(body["at"]) == CAPACITY == 3600 / INTERVAL
    assert (body["series"]["connections"][0], body["series"]["connections"][-1]) == (10, CAPACITY + 9)
    assert set(body["series"]) == {*SERIES, *MORE}
    recent = samples.body(body["at"][-4])
    assert recent["series"]["connections"] == [CAPACITY + 7, CAPACITY + 8, CAPACITY + 9]


# ---- who watches ----


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[tuple[Node, Samples]]:
    node = Node()
    samples = Samples(node.read, LoopClock(), MORE)
    task = asyncio.create_task(samples.run())
    yield node, samples
    task.cancel()


async def following(samples: Samples, after_ms: int | None, count: int) -> list[News]:
    news, told = samples.follow(after_ms), []
    while len(told) < count:
        if (found := news()) is not None:
            told.append(found)
        else:
            await asyncio.sleep(0.25)
    return told


def at(seconds: float) -> int:
    return int((START + seconds) * 1000)


@in_virtual_time
async def test_a_watcher_is_told_each_sample_as_it_is_taken() -> None:
    async with running() as (node, samples):
        node.connections = 9
        told = await following(samples, None, 3)
    assert [(news.event, news.at) for news in told] == [("sample", at(2)), ("sample", at(4)), ("sample", at(6))]
    assert json.loads(told[0].data)["connections"] == 9
    assert json.loads(told[2].data)["at"] == at(6)


@in_virtual_time
async def test_many_watchers_cost_one_encoding() -> None:
    async with running() as (_, samples):
        told = await asyncio.gather(*(following(samples, None, 2) for _ in range(20)))
    for place in range(2):
        assert len({id(each[place].data) for each in told}) == 1


@in_virtual_time
async def test_who_comes_back_is_told_in_one_piece_what_was_missed() -> None:
    async with running() as (_, samples):
        await asyncio.sleep(21)
        first, then = await following(samples, at(4), 2)
    assert (first.event, first.at) == ("series", at(20))
    assert json.loads(first.data)["at"] == [at(seconds) for seconds in range(6, 21, 2)]
    assert (then.event, then.at) == ("sample", at(22))


@in_virtual_time
async def test_who_missed_nothing_goes_on_with_the_next_sample() -> None:
    async with running() as (_, samples):
        await asyncio.sleep(5)
        told = await following(samples, at(4), 1)
    assert [(news.event, news.at) for news in told] == [("sample", at(6))]


@in_virtual_time
async def test_who_was_away_for_longer_than_is_kept_gets_all_there_is() -> None:
    async with running() as (_, samples):
        await asyncio.sleep(2 * CAPACITY * INTERVAL)
        (first,) = await following(samples, 0, 1)
    assert first.event == "series"
    assert len(json.loads(first.data)["at"]) == CAPACITY


@in_virtual_time
async def test_a_watcher_that_reads_slowly_is_told_the_rest_at_once() -> None:
    async with running() as (_, samples):
        news = samples.follow()
        assert news() is None
        await asyncio.sleep(2.5)
        first = news()
        assert first is not None
        assert first.at == at(2)
        await asyncio.sleep(8)
        late = news()
        assert news() is None
    assert late is not None
    assert late.event == "series"
    assert json.loads(late.data)["at"] == [at(4), at(6), at(8), at(10)]
