"""What an operator is told to look at, and that a healthy server says nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from sockudo.base.loop_watch import LoopWatch
from sockudo.config.apps import Limits
from sockudo.dashboard import concerns as module
from sockudo.dashboard.concerns import concerns
from sockudo.webhooks.counters import Breaker, EndpointCounters
from sockudo.webhooks.records import Counts
from support.desk import board_of
from support.edge import EdgeNode, settings
from support.inside import live_app


class Case:
    """A board over a node with one app, ``app``, that may have ten connections."""

    def __init__(self, *, enabled: bool = True, **sections: Any) -> None:
        self.watch = LoopWatch(lambda: 0.0)
        app = live_app("app", enabled=enabled, limits=Limits(max_connections=10))
        self.node = EdgeNode(app, settings=settings(**sections))
        self.board = board_of(self.node, self.watch)

    def sample(self) -> None:
        self.node.clock.advance(2)
        self.board.samples.take()

    def connections(self, count: int) -> None:
        state = self.node.hub.app("app")
        state.connections = {str(number): cast(Any, object()) for number in range(count)}

    def told(self) -> list[tuple[str, str]]:
        return [(concern.level, concern.text) for concern in concerns(self.board)]


def test_a_healthy_server_says_nothing() -> None:
    case = Case()
    case.connections(8)
    for _ in range(30):
        case.watch.note(0.001)
        case.sample()
    assert case.told() == []


@pytest.mark.parametrize(("count", "level"), [(9, "warn"), (10, "bad")])
def test_an_app_near_its_quota(count: int, level: str) -> None:
    case = Case()
    case.connections(count)
    assert case.told() == [(level, f"{count} of 10 connections are in use, app app's limit.")]


def test_a_server_near_its_limit_of_connections() -> None:
    case = Case(max_connections=5)
    case.connections(5)
    assert case.told() == [("bad", "5 of 5 connections are in use, the server's limit.")]


def test_a_process_near_its_limit_of_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "descriptor_limit", lambda: 1024)
    monkeypatch.setattr(module, "open_descriptors", lambda: 1000)
    [(level, text)] = Case().told()
    assert (level, text.partition(":")[0]) == ("bad", "1,000 of 1,024 file descriptors are in use")
    assert "WebSockets are refused with 4100" in text
    monkeypatch.setattr(module, "open_descriptors", lambda: 959)
    assert Case().told() == [("warn", "959 of 1,024 file descriptors are in use; 960 are for WebSockets.")]


@pytest.mark.parametrize("known", [(None, 1024), (5000, None)])
def test_nothing_is_said_of_descriptors_where_nothing_is_known(
    monkeypatch: pytest.MonkeyPatch, known: tuple[int | None, int | None]
) -> None:
    monkeypatch.setattr(module, "open_descriptors", lambda: known[0])
    monkeypatch.setattr(module, "descriptor_limit", lambda: known[1])
    assert Case().told() == []


def test_a_server_without_an_enabled_app_or_on_its_way_out() -> None:
    case = Case(enabled=False)
    case.node.gateway.draining = True
    assert [level for level, _ in case.told()] == ["bad", "bad"]


def test_rate_limits_that_refuse_and_a_loop_that_was_blocked() -> None:
    case = Case()
    case.node.edge.limits.triggered["api_rate_limit", "http_api"] += 12
    case.watch.note(0.18)
    case.sample()
    (_, refused), (_, blocked) = sorted(case.told(), key=lambda each: each[1])
    assert "refused about 12 requests" in refused
    assert "blocked for 180 ms" in blocked
    for _ in range(31):
        case.watch.note(0.001)
        case.sample()
    assert case.told() == []


TAKEN = SimpleNamespace(reason=None)


def test_streams_that_are_degraded_or_have_lost_something() -> None:
    case = Case()
    status = {"degraded_channels": 2, "reset_required_channels": 1}
    case.node.components.history.put(cast(Any, SimpleNamespace(runtime_status=lambda: status, taking=TAKEN)))
    assert [level for level, _ in case.told()] == ["bad", "bad"]
    assert case.told()[0][1].startswith("History: 2 channels are degraded")


def test_durable_publishes_that_are_refused() -> None:
    case = Case()
    status = {"degraded_channels": 0, "reset_required_channels": 0}
    refused = SimpleNamespace(reason="its disk is full")
    case.node.components.history.put(cast(Any, SimpleNamespace(runtime_status=lambda: status, taking=refused)))
    assert case.told() == [("bad", "Publishes to durable channels are refused: its disk is full")]


def test_webhooks_that_fail_were_given_up_or_lost() -> None:
    case = Case()
    broken = EndpointCounters(breaker=Breaker(lambda: 0.0))
    assert broken.breaker is not None
    for _ in range(5):
        broken.breaker.begin()
        broken.breaker.failed()
    webhooks = cast(
        Any,
        SimpleNamespace(
            batches=SimpleNamespace(problem="it is away", lost=7),
            deliverer=SimpleNamespace(
                problem=None,
                counters={("app", "sink"): broken, ("app", "fine"): EndpointCounters()},
                counts={("app", "sink"): Counts(dead=3)},
            ),
        ),
    )
    case.node.components.webhooks.put(webhooks)
    texts = [text for _, text in case.told()]
    assert [level for level, _ in case.told()] == ["bad", "bad", "bad", "warn"]
    assert texts[0] == "The queue of webhooks does not answer, and events wait in memory: it is away"
    assert texts[1].startswith("7 events")
    assert "endpoint sink of app app" in texts[2]
    assert texts[3].startswith("3 webhook deliveries were given up")
