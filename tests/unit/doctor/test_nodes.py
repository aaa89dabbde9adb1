"""What the doctor makes of what nodes say of each other."""

from __future__ import annotations

from typing import Any

import pytest

from sockudo import errors
from sockudo.cluster.carrier import Carrier, CarrierObserver
from sockudo.config import ConfigError
from sockudo.doctor import Deployment, Finding, Options
from sockudo.doctor.nodes import check_cluster, check_nodes, judge_nodes, judge_queue
from support.carriers import MemoryBroker, MemoryCarrier


async def look(make: Any) -> Finding:
    deployment = Deployment("http://h", options=Options(timeout=0.05), make_carrier=make)
    [found] = await check_nodes(deployment)
    return found


async def test_a_message_comes_back() -> None:
    broker = MemoryBroker()
    found = await look(lambda: MemoryCarrier(broker))
    assert found.state == "ok"
    assert found.seen.startswith("a broker inside the process: a message comes back after")
    assert not any(broker.subscribers.values())


async def test_nothing_to_look_at() -> None:
    assert (await look(None)).state == "not_checked"
    assert (await look(lambda: None)).state == "ok"


async def test_a_driver_that_is_not_installed() -> None:
    def make() -> Carrier:
        raise ConfigError(["Redis needs a driver that is not installed"])

    found = await look(make)
    assert (found.state, found.advice) == ("not_checked", ("Redis needs a driver that is not installed",))


class Refused(MemoryCarrier):
    async def open(self, observer: CarrierObserver) -> None:
        raise errors.SERVICE_UNAVAILABLE("No connection: wrong password.")


class Silent(MemoryCarrier):
    def publish(self, topic: str, payload: bytes) -> None:
        """It goes nowhere."""


async def test_what_is_wrong_is_told() -> None:
    broker = MemoryBroker()
    refused, silent = await look(lambda: Refused(broker)), await look(lambda: Silent(broker))
    assert refused.state == silent.state == "problem"
    assert refused.seen.endswith("No connection: wrong password.")
    assert silent.seen.endswith("a message did not come back in time")


def test_notifications_that_are_not_read_are_a_warning() -> None:
    assert [judge_queue(unread).state for unread in (0.0, 0.1)] == ["ok", "ok"]
    found = judge_queue(0.31)
    assert found.state == "warning"
    assert "31%" in found.seen
    assert "pg_stat_activity" in found.advice[0]


# ---- what the nodes say of each other ----


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
