"""Health checks say why in one line, once for each change and not once for each probe."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from sockudo import errors
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
