"""What the doctor makes of what nodes say of each other."""

from __future__ import annotations

from typing import Any

import pytest

from sockudo.doctor.cluster import check_cluster, judge_nodes
from sockudo.doctor.deployment import Deployment


def a_node(name: str, *, skew: float = 0.0, silent: bool = False, **report: Any) -> dict[str, Any]:
    known = {"versions": [100, 101], "unreadable": 0, "round_trip_ms": 1.0, **report}
    return {"name": name, "clock_skew": None if silent else skew, "report": None if silent else known}


def judged(*nodes: dict[str, Any]) -> list[tuple[str, str]]:
    return [(finding.state, finding.seen) for finding in judge_nodes({"nodes": nodes})]


def test_nodes_that_are_well_are_one_line() -> None:
    assert judged(a_node("a"), a_node("b", skew=0.4)) == [("ok", "2 nodes answer and agree on the time")]
    assert judged(a_node("a")) == [("ok", "no other node is joined with this one")]


@pytest.mark.parametrize(
    ("node", "state", "seen"),
    [
        (a_node("b", silent=True), "problem", "1 of 2 nodes did not answer within a second: b"),
        (a_node("b", versions=[200, 201]), "problem", "a cannot be understood by all others"),
        (a_node("b", versions=[90, 99]), "problem", "b cannot be understood by all others"),
        (a_node("b", unreadable=7), "warning", "some of what other nodes sent was not understood by b (7)"),
        (a_node("b", skew=-4.25), "warning", "clocks differ from the one of the node that was asked: b by -4.2 s"),
        (a_node("b", round_trip_ms=250.0), "warning", "messages between nodes are slow: the last one to itself took b"),
    ],
)
def test_what_is_wrong_names_the_node(node: dict[str, Any], state: str, seen: str) -> None:
    [found] = judged(a_node("a"), node)
    assert found[0] == state
    assert found[1].startswith(seen)


async def test_without_a_password_nothing_is_asked() -> None:
    [found] = await check_cluster(Deployment("http://h"))
    assert found.state == "not_checked"
