"""How connections are sent away: over how much time, and how many at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sockudo import errors
from sockudo.edge.context import Edge
from sockudo.edge.drain import drain_sessions, end_sessions
from sockudo.errors import SockudoError
from support.virtual_time import run_in_virtual_time


class Session:
    """One that notes when it is ended."""

    def __init__(self) -> None:
        self.ended = False
        self.at = -1.0

    def end(self, error: SockudoError) -> None:
        assert (error.spec, self.ended) == (errors.SERVER_SHUTDOWN, False)
        self.ended, self.at = True, asyncio.get_running_loop().time()


def edge_of(sessions: list[Session]) -> Edge:
    gateway = SimpleNamespace(draining=False, sessions=lambda: list(sessions))
    return cast(Edge, SimpleNamespace(gateway=gateway, closing=[]))


def moments(count: int, work: Any) -> list[float]:
    """When each of so many was sent away, since the beginning of ``work``."""
    sessions = [Session() for _ in range(count)]

    async def run() -> float:
        began = asyncio.get_running_loop().time()
        edge = edge_of(sessions)
        await work(edge)
        assert edge.gateway.draining
        return began

    began = run_in_virtual_time(run())
    assert all(session.ended for session in sessions)
    return [session.at - began for session in sessions]


@pytest.mark.parametrize(
    ("count", "grace", "seconds"),
    # A thousand in a second, and in half of the grace period at most.
    [(10, 10, 0.01), (500, 10, 0.5), (3_000, 10, 3.0), (20_000, 10, 5.0), (3_000, 2, 1.0)],
)
def test_a_node_that_stops_sends_a_thousand_away_in_a_second(count: int, grace: float, seconds: float) -> None:
    times = moments(count, lambda edge: end_sessions(edge, grace))
    assert times == sorted(times)
    assert times[0] == 0
    assert seconds * 0.8 - 0.05 <= times[-1] <= seconds
    together = max(Counter(times).values())
    assert together <= 50
    # In each half as many.
    assert abs(sum(at < seconds / 2 for at in times) - count / 2) <= together


@pytest.mark.parametrize("seconds", [0.0, 30.0])
def test_an_operator_says_over_how_much_time(seconds: float) -> None:
    times = moments(600, lambda edge: drain_sessions(edge, seconds))
    assert seconds * 0.9 <= times[-1] <= seconds
    assert len(set(times)) >= (300 if seconds else 1)


def test_a_worker_that_is_replaced_has_a_window_of_its_own() -> None:
    times = moments(1_000, lambda edge: end_sessions(edge, 3, 5))
    assert 4.8 <= times[-1] <= 5


def test_who_has_left_meanwhile_is_not_sent_away() -> None:
    gone = Session()
    gone.ended = True
    edge = edge_of([gone])
    run_in_virtual_time(end_sessions(edge, 1))
    assert gone.at == -1
