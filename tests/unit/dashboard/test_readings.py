"""What a sample is read from: the counters of apps that come and go, refusals, the loop, webhooks."""

from __future__ import annotations

from math import isnan
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sockudo import errors
from sockudo.base.loop_watch import LoopWatch
from sockudo.dashboard.readings import Growth, NodeReader
from sockudo.webhooks.dashboard.area import webhook_area
from sockudo.webhooks.records import Counts
from sockudo.webhooks.service import Webhooks
from support.edge import EdgeNode
from support.inside import live_app


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
