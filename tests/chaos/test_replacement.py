"""Every process of a fleet is replaced while it is used: nothing that was accepted is lost, or delivered twice."""

from __future__ import annotations

import pytest

from chaos.fleet import BROKERS, fleet_of, seeded
from chaos.traffic import Traffic


@pytest.mark.parametrize("kind", [*BROKERS, "workers"])
async def test_a_rolling_replacement_loses_and_repeats_nothing(kind: str) -> None:
    async with fleet_of(kind, seeded()) as fleet, Traffic(fleet) as traffic:
        await traffic.goes_on()
        replaced = set(fleet.pids)
        await fleet.replace_all()
        assert replaced.isdisjoint(fleet.pids)
        await traffic.goes_on()
        await traffic.end()
        await traffic.check_durable()
        traffic.check_buffered(whole=True)
        traffic.check_members()
        await traffic.is_true()
