from __future__ import annotations

from typing import Any

from sockudo import errors
from sockudo.cluster.carrier import Carrier, CarrierObserver
from sockudo.config import ConfigError
from sockudo.doctor import Deployment, Finding, Options
from sockudo.doctor.nodes import check_nodes, judge_queue
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
