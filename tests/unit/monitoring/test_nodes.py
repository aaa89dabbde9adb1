"""What a node among others gives to Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from sockudo.base.measures import Distribution, Numbers
from sockudo.cluster.network import NetworkBus
from sockudo.cluster.owners import OwnerCounts
from sockudo.monitoring.nodes import node_measures
from support.clusters import Echo, NetworkGround, Note


class AppEcho(Echo, frozen=True, tag="app-echo"):
    """A request about an app."""

    app_id: str = ""


def values(bus: NetworkBus) -> dict[tuple[str, ...], float]:
    """Every number by its name and the values of its labels; of a distribution how many there were."""

    def each() -> Iterator[tuple[tuple[str, ...], float]]:
        for measure in node_measures(bus, "redis-cluster", OwnerCounts()):
            for labels, value in measure.samples:
                yield (measure.name, *labels.values()), value if isinstance(value, float) else sum(value.counts)

    assert all(isinstance(measure, Numbers | Distribution) for measure in node_measures(bus, "nats", OwnerCounts()))
    return dict(each())


async def test_everything_that_is_counted_is_told() -> None:
    ground = NetworkGround()
    a, b = await ground.join("a"), await ground.join("b")
    for node in (a, b):
        node.router.on_request(AppEcho, lambda echo: echo.text)
        node.bus.attach(node)
    assert isinstance(a.bus, NetworkBus)
    assert isinstance(b.bus, NetworkBus)
    confirmed = b.bus.subscribe("c:app:room")
    assert confirmed is not None
    await confirmed
    a.bus.publish("c:app:room", Note("hello"))
    await ground.settle()
    assert (await a.bus.ask(AppEcho("hi", "app"), deadline=1)).complete
    b.answer_with(lambda _: asyncio.sleep(10))
    assert not (await a.bus.ask(Echo(), deadline=0.05)).complete
    asking, asked = values(a.bus), values(b.bus)
    assert asking["nodes_live",] == 2
    assert (asking["node_deaf",], asking["node_fenced",]) == (0, 0)
    assert asking["node_items_sent_total",] > 0
    assert asked["node_items_received_total",] == 1
    for name, app, cluster in (
        ("sent_requests", 1, 1),
        ("received_responses", 1, 0),
        ("resolved_promises", 1, 0),
        ("uncomplete_promises", 0, 1),
        ("resolve_time", 1, 1),
    ):
        found = [asking[f"horizontal_adapter_{name}", label] for label in ("app", "cluster")]
        assert found == [app, cluster], name
    assert asked["horizontal_adapter_received_requests", "app"] == 1
    assert asked["horizontal_adapter_received_requests", "cluster"] == 1
    a.bus.disconnected("it was cut")
    assert values(a.bus)["horizontal_transport_reconnections_total", "redis_cluster"] == 1
    assert asking["horizontal_transport_messages_dropped_total", "redis_cluster"] == 0
    await ground.close()
