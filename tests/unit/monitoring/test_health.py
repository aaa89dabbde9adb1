"""Health checks say why in one line, once for each change and not once for each probe."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from sockudo import errors
from sockudo.monitoring import HealthChecks
from support.edge import EdgeNode


class Part:
    """A part whose state the test decides."""

    def __init__(self) -> None:
        self.problem: str | None = None

    async def __call__(self) -> bool:
        if self.problem is not None:
            raise errors.SERVICE_UNAVAILABLE(self.problem)
        return True


@pytest.mark.parametrize(("degrading", "word"), [(False, "ERROR"), (True, "DEGRADED")])
async def test_a_check_that_fails_is_a_line_with_its_reason_for_each_change(degrading: bool, word: str) -> None:
    node, part = EdgeNode(), Part()
    node.health.add("store", part, degrading=degrading)
    with capture_logs() as logs:
        assert (await node.health.run()).word == "OK"
        for problem in ("its disk is full", "its disk is full", "it is away", None, None, "it is away"):
            part.problem = problem
            assert (await node.health.run()).word == ("OK" if problem is None else word)
    assert [(line["event"], line["check"], line.get("reason")) for line in logs] == [
        ("health check failed", "store", "its disk is full"),
        ("health check failed", "store", "it is away"),
        ("health check passes again", "store", None),
        ("health check failed", "store", "it is away"),
    ]


async def test_an_outage_that_is_shorter_than_the_grace_degrades_the_server() -> None:
    node, now, grace = EdgeNode(), [100.0], [10.0]
    health = HealthChecks(node.apps, lambda: False, lambda: 1.0, lambda: grace[0], lambda: now[0])  # type: ignore[arg-type]
    store, others = Part(), Part()
    health.add("store", store)
    health.add("nodes", others, at_once=True)
    words = []
    for problem, seconds in (("away", 0), ("away", 9), (None, 0), ("away", 100), ("away", 9), ("away", 1), (None, 0)):
        store.problem = problem
        now[0] += seconds
        words.append((await health.run()).word)
    assert words == ["DEGRADED", "DEGRADED", "OK", "DEGRADED", "DEGRADED", "ERROR", "OK"]
    others.problem = "cut off"
    assert (await health.run()).word == "ERROR"
    others.problem, store.problem, grace[0] = None, "away", 0.0
    assert (await health.run()).word == "ERROR"
