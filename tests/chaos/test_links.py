"""The connection between one node and its broker is cut, delayed and half open, while the fleet is used."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import pytest

from chaos.fleet import BROKERS, LEASE, PLAIN, Nodes, client_of, fleet_of, seeded, show, signing
from chaos.traffic import TIDES, Traffic, in_order
from sockudo.testing import FaultProxy, RecordingClient
from support.balancer import up
from support.waiting import until

OUTAGE = float(os.environ.get("SOCKUDO_OUTAGE", "3"))
"""Seconds of each fault: longer than it takes to be held dead."""

ROUNDS = int(os.environ.get("SOCKUDO_FAULTS", "2"))
"""How many of the faults each test makes, in random order."""

SLACK = 0.5
"""For the machine: between what is measured and what measures it."""


def cut(link: FaultProxy) -> None:
    link.refuse()
    link.cut()


def delay(link: FaultProxy) -> None:
    link.delay(2.4 * LEASE.beat)


def hear_nothing(link: FaultProxy) -> None:
    link.stall("client")


def say_nothing(link: FaultProxy) -> None:
    link.stall("server")


FAULTS: tuple[Callable[[FaultProxy], None], ...] = (cut, delay, hear_nothing, say_nothing)


class Local:
    """A client and a backend of one node, without a balancer."""

    def __init__(self, url: str, client: RecordingClient) -> None:
        self.url = url
        self.client = client
        self.count = 0

    async def delivers(self) -> None:
        """What is published here arrives here."""
        self.count += 1
        async with client_of(self.url, PLAIN) as backend:
            await backend.publish("quay", "local", {"number": self.count})
        await self.client.expect("local", data={"number": self.count}, timeout=2)


@pytest.mark.timeout(240 + 8 * OUTAGE)
@pytest.mark.parametrize("kind", BROKERS)
async def test_a_node_that_is_cut_off_serves_its_clients_and_catches_up(kind: str) -> None:
    rng = seeded()
    async with fleet_of(kind, rng, links=True) as fleet, Traffic(fleet) as traffic:
        assert isinstance(fleet, Nodes)
        for fault in rng.sample(FAULTS, ROUNDS):
            await traffic.goes_on(10)
            show(f"{fault.__name__}: {await outage(fleet, traffic, fault)}")
        await traffic.end()
        await traffic.check_durable()
        traffic.check_buffered(whole=False)
        # A node that is cut off publishes late, so a backend that went to another one meanwhile has no order.
        traffic.check_members(ordered=False)


async def outage(fleet: Nodes, traffic: Traffic, fault: Callable[[FaultProxy], None]) -> dict[str, float]:
    """One fault from its beginning to the truth after it; answers how many seconds what took."""
    place = fleet.rng.randrange(len(fleet.servers))
    server, link = fleet.servers[place], fleet.links[place]
    now = asyncio.get_running_loop().time
    took: dict[str, float] = {}
    async with await RecordingClient.connect(server.url, signing(PLAIN)) as client:
        await client.subscribe("quay")
        local = Local(server.url, client)
        await local.delivers()
        began = now()
        fault(link)
        while await up(server.port) == 200:
            assert now() - began < 2 * fleet.lease.beat + SLACK, "the node is ready still"
            await asyncio.sleep(0.02)
        took["not ready"] = now() - began
        while now() - began < OUTAGE:
            await local.delivers()
            await asyncio.sleep(0.1)
    healed = now()
    link.heal()
    await fleet.is_whole()
    took["ready"] = now() - healed
    await hears_all(fleet, traffic, f"healed-{fault.__name__}")
    await traffic.is_true(fleet.lease.timeout)
    took["true"] = now() - healed
    return {what: round(seconds, 2) for what, seconds in took.items()}


async def hears_all(fleet: Nodes, traffic: Traffic, name: str) -> None:
    """What is published on every node now reaches every V1 client."""
    sent = []
    for place, server in enumerate(fleet.servers):
        async with client_of(server.url, PLAIN) as backend:
            for number in range(5):
                sent.append(f"{name}-{place}:{number}")
                await backend.publish(TIDES, "e", sent[-1])
    for member in traffic.members:
        await until(lambda of=member: set(sent) <= set(of.heard[-1]), f"{member.name} to hear everything", seconds=5)
        in_order([data for data in member.heard[-1] if data in sent])
