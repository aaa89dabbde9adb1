"""Clients of processes that are replaced: they are sent away over a time, and find nothing missing elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import pairwise

import pytest

from chaos.fleet import BUFFERED, DURABLE, Fleet, fleet_of, seeded, show
from chaos.traffic import MARK, TIDES, Traffic
from clients.node import JsClient, Node, open_pusher
from support.signing import Credentials as App
from support.waiting import until

CLIENTS = 40


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    running = Node("recovery_harness.mjs")
    yield running
    running.stop()


class Target:
    """The balancer, and the app that the client is of."""

    def __init__(self, fleet: Fleet, app: App) -> None:
        self.host, self.port, self.app = fleet.balancer.host, fleet.balancer.port, app


def pusher(node: Node, fleet: Fleet, name: str, app: App) -> JsClient:
    """A stock pusher-js with the recovery plug-in, behind the balancer."""
    client = open_pusher(node, Target(fleet, app), name)  # type: ignore[arg-type]  # where it listens
    client.connected()
    client.subscribe(TIDES)
    return client


@pytest.mark.parametrize("kind", ["nats", "workers"])
async def test_clients_are_sent_away_over_time_and_miss_nothing(kind: str, node: Node) -> None:
    async with fleet_of(kind, seeded()) as fleet, Traffic(fleet, members=CLIENTS) as traffic:
        apps = {f"{kind}-{app.id}": app for app in (DURABLE, BUFFERED)}
        stock = [await asyncio.to_thread(pusher, node, fleet, name, app) for name, app in apps.items()]
        await traffic.goes_on(10)
        await fleet.replace_all()
        await traffic.goes_on(10)
        await traffic.end()
        closes = sorted(close for member in traffic.members for close in member.closes)
        assert len(closes) >= CLIENTS
        assert {code for _, code in closes} == {4200}
        if kind == "workers":
            # All of them are told within the window, which is a second, and not at once.
            moments = [moment for moment, _ in closes]
            assert 0.5 < moments[-1] - moments[0] < 3
            assert max(later - earlier for earlier, later in pairwise(moments)) < 0.5
        for client, (name, app) in zip(stock, apps.items(), strict=True):
            heard = await asyncio.to_thread(heard_by, client)
            follower = traffic.followers[app.id][0]
            assert heard == [text for _, text in follower.heard][-len(heard) :], name
            assert client.reports("told", event="gap") == []
            resumed = client.reports("told", event="recovered")
            assert resumed
            show(f"{kind}: pusher-js resumed {len(resumed)} times, {len(heard)} messages without a gap")
            client.close()
        await until(lambda: all(member.here for member in traffic.members), "every client to be back")
        await traffic.check_durable()
        traffic.check_buffered(whole=True)


def heard_by(client: JsClient) -> list[str]:
    """What it has heard, once the last message has come."""
    client.expect("event", channel=TIDES, event="e", data=MARK)
    return [report["data"] for report in client.reports("event", channel=TIDES, event="e")]
