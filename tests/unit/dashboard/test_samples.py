"""Samples in virtual time: rates, gaps, a clock that is set, and those who watch."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from math import isnan, nan
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sockudo import errors
from sockudo.base.loop_watch import LoopWatch
from sockudo.dashboard.samples import CAPACITY, INTERVAL, SERIES, Growth, News, NodeReader, Reading, Samples
from sockudo.testing import FakeClock
from sockudo.webhooks.dashboard.area import webhook_area
from sockudo.webhooks.records import Counts
from sockudo.webhooks.service import Webhooks
from support.edge import EdgeNode
from support.inside import live_app
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


# ---- the last hour ----


@pytest.fixture
def node() -> EdgeNode:
    return EdgeNode(live_app("a"), live_app("b"))


@pytest.fixture
def watch() -> LoopWatch:
    return LoopWatch(lambda: 0.0)


def reader_of(node: EdgeNode, watch: LoopWatch) -> NodeReader:
    figures = webhook_area(node.components.webhooks).figures
    assert figures is not None
    return NodeReader(node.gateway, node.view, node.edge.limits, [figures], watch)


def test_connections_and_channels_are_those_of_all_apps(node: EdgeNode, watch: LoopWatch) -> None:
    reader = reader_of(node, watch)
    for app_id in ("a", "b"):
        state = node.hub.app(app_id)
        state.channel(f"room-{app_id}")
        state.connections["1.1"] = cast(Any, object())
    reading = reader.read()
    assert (reading.connections, reading.channels) == (2, 2)
    assert reading.memory > 1_000_000


def test_what_has_grown_is_told_once(node: EdgeNode, watch: LoopWatch) -> None:
    traffic = node.hub.app("a").traffic
    traffic.published = 1000  # before anybody looked
    reader = reader_of(node, watch)
    traffic.published += 3
    traffic.messages_sent += 30
    traffic.bytes_sent += 300
    traffic.bytes_received += 40
    node.hub.app("b").traffic.http_calls += 5
    assert reader.read().grown == Growth(3, 30, 300, 40, 5)
    assert reader.read().grown == Growth()


def test_an_app_that_is_removed_makes_no_rate_negative(node: EdgeNode, watch: LoopWatch) -> None:
    node.hub.app("a").traffic.published = 500
    node.hub.app("b").traffic.published = 500
    reader = reader_of(node, watch)
    node.gateway.remove_app("a")
    node.hub.app("b").traffic.published += 2
    assert reader.read().grown.published == 2
    node.hub.app("a").traffic.published = 7
    assert reader.read().grown.published == 7


def test_errors_are_counted_by_slug_over_apps_connections_and_requests(node: EdgeNode, watch: LoopWatch) -> None:
    unknown, origin = errors.UNKNOWN_APP.slug, errors.ORIGIN_NOT_ALLOWED.slug
    node.gateway.refused["unknown", unknown] += 1
    reader = reader_of(node, watch)
    node.gateway.refused["unknown", unknown] += 1
    node.gateway.refused["a", origin] += 1
    node.gateway.refused_requests["timestamp_stale"] += 2
    node.hub.app("a").traffic.errors["malformed_frame"] += 2
    node.hub.app("b").traffic.errors["malformed_frame"] += 3
    assert reader.read().errors == {unknown: 1, origin: 1, "timestamp_stale": 2, "malformed_frame": 5}
    assert reader.read().errors == {}


def test_refusals_of_rate_limits_are_of_addresses_and_of_connections(node: EdgeNode, watch: LoopWatch) -> None:
    reader = reader_of(node, watch)
    node.edge.limits.triggered["api_rate_limit", "http_api"] += 4
    node.hub.app("a").traffic.rate_refusals["messages"] += 2
    assert reader.read().rate_limited == 6
    assert reader.read().rate_limited == 0


def test_the_loop_s_lag_is_of_ten_seconds_and_its_maximum_of_this_sample(node: EdgeNode, watch: LoopWatch) -> None:
    reader = reader_of(node, watch)
    assert isnan(reader.read().lag_max)
    for _ in range(399):
        watch.note(0.001)
    watch.note(0.2)
    first = reader.read()
    assert (first.lag_p99, first.lag_max) == (pytest.approx(1), pytest.approx(200))
    for _ in range(80):
        watch.note(0.002)
    second = reader.read()
    assert (second.lag_p99, second.lag_max) == (pytest.approx(2), pytest.approx(2))


def webhooks(*, batches_failing: bool = False, deliverer_failing: bool = False) -> Webhooks:
    counts = {("a", "one"): Counts(waiting=3, dead=2), ("b", "two"): Counts(waiting=4)}
    return cast(
        Webhooks,
        SimpleNamespace(
            batches=SimpleNamespace(failing=batches_failing),
            deliverer=SimpleNamespace(failing=deliverer_failing, counts=counts),
        ),
    )


def test_webhooks_are_counted_as_the_queue_was_last_counted(node: EdgeNode, watch: LoopWatch) -> None:
    node.components.webhooks.put(webhooks())
    reading = reader_of(node, watch).read()
    assert reading.more == (7, 2)


@pytest.mark.parametrize("queue", [None, {"batches_failing": True}, {"deliverer_failing": True}])
def test_without_webhooks_or_an_answer_of_their_queue_nothing_is_known(
    node: EdgeNode, watch: LoopWatch, queue: dict[str, bool] | None
) -> None:
    node.components.webhooks.put(None if queue is None else webhooks(**queue))
    reading = reader_of(node, watch).read()
    assert [isnan(value) for value in reading.more] == [True, True]
