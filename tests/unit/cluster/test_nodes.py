"""What operators learn of all nodes, and which one they mean."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from msgspec import structs

from sockudo import errors
from sockudo.cluster.in_process import InProcessMembership, Network, join_network
from sockudo.cluster.nodes import Nodes
from sockudo.cluster.router import Router
from support.desk import REPORT, LoneNode

NOW = 1000.0


class Joined:
    """A node among others of this process."""

    def __init__(self, network: Network, name: str, at: float = NOW) -> None:
        bus, self.membership = join_network(asyncio.get_running_loop().call_soon, network, name)
        assert isinstance(self.membership, InProcessMembership)
        router = Router()
        self.this = LoneNode(structs.replace(REPORT, at=at))
        self.nodes = Nodes(bus, self.membership, router, self.this, lambda: NOW)
        self.attach: Callable[[], None] = lambda: bus.attach(router)


async def test_every_node_tells_about_itself_to_any_that_asks() -> None:
    network = Network()
    alone = Joined(network, "b")
    alone.attach()
    assert not alone.nodes.several
    other = Joined(network, "a", at=NOW + 3)
    other.attach()
    assert alone.nodes.several
    for asked in (alone, other):
        views = await asked.nodes.views()
        assert views.complete
        assert [(view.name, view.me, view.clock_skew) for view in views.nodes] == [
            ("a", asked is other, 3.0),
            ("b", asked is alone, 0.0),
        ]
        assert views.nodes[1].report == REPORT


async def test_a_node_without_an_answer_is_listed_and_said() -> None:
    network = Network()
    asked, silent = Joined(network, "a"), Joined(network, "b")
    asked.attach()
    views = await asked.nodes.views()
    assert not views.complete
    assert [view.report is None for view in views.nodes] == [False, True]
    with pytest.raises(errors.SockudoError) as caught:
        await asked.nodes.drain("b", 5)
    assert caught.value.spec is errors.SERVICE_UNAVAILABLE
    assert silent.this.drained == []


async def test_a_node_is_named_by_its_name_or_its_id() -> None:
    network = Network()
    joined = [Joined(network, name) for name in ("a", "b", "twin", "twin")]
    for node in joined:
        node.attach()
    second = joined[1].membership.me
    for name, seconds in (("b", 5.0), (second.id, 6.0), (second.id[:8], 7.0)):
        assert await joined[0].nodes.drain(name, seconds) == second
    assert joined[1].this.drained == [5.0, 6.0, 7.0]
    joined[1].this.drains = False
    for name, spec, text in (
        ("b", errors.INVALID_INPUT, "The node b is a worker, and others take connections at the same port"),
        ("twin", errors.INVALID_INPUT, "2 nodes are called 'twin': use one of the ids "),
        ("c", errors.NOT_FOUND, "No live node is called 'c'"),
        (second.id[:3], errors.NOT_FOUND, "No live node"),
    ):
        with pytest.raises(errors.SockudoError) as caught:
            await joined[0].nodes.drain(name, 5)
        assert caught.value.spec is spec
        assert caught.value.text.startswith(text)
