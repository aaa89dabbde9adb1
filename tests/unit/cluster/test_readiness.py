"""A node that does not hear itself is not ready, once its grace is over."""

from __future__ import annotations

import pytest

from sockudo import errors
from sockudo.cluster.items import ALL, Item
from sockudo.cluster.members import NetworkMembership, Timing
from sockudo.cluster.ports import Node
from sockudo.cluster.readiness import Readiness
from sockudo.cluster.wire import Beat, Ping


class Lone:
    """A node whose beats come back, or do not, second by second."""

    def __init__(self) -> None:
        self.now = 100.0
        self.hears = True
        self.grace = 0.0
        me = Node("a" * 32, 1, "a")
        self.members = NetworkMembership(
            me, Timing(), lambda: self.now, self._send, resync=lambda: None, reconnect=lambda: None
        )
        self.readiness = Readiness(self.members, "redis at db-1:6379", lambda: self.grace)

    def _send(self, topic: str, item: Item) -> None:
        if self.hears and topic == ALL and isinstance(item, Beat):
            self.members.take_own_beat(item)
        elif self.hears and isinstance(item, Ping):
            self.members.take_own_ping(item)

    def reasons(self, seconds: int) -> list[bool]:
        """Whether the node was ready at each of the next seconds."""
        found = []
        for _ in range(seconds):
            self.now += 1
            self.members.tick()
            found.append(self.readiness.reason is None)
        return found


async def test_a_deaf_node_is_not_ready_until_it_is_heard_and_no_longer_fenced() -> None:
    node = Lone()
    assert node.reasons(5) == [True] * 5
    assert await node.readiness.check()
    node.hears = False
    assert node.reasons(9)[-3:] == [False] * 3
    with pytest.raises(errors.SockudoError) as caught:
        await node.readiness.check()
    assert caught.value.text.startswith("pings of this node do not come back through redis at db-1:6379: it delivers")
    node.hears = True
    healing = node.reasons(10)
    assert healing[:4] == [False] * 4, "others may hold it dead, and say so within two beats"
    assert healing[-2:] == [True] * 2


def test_a_short_outage_is_nothing_within_the_grace() -> None:
    node = Lone()
    node.grace = 30.0
    node.reasons(4)
    node.hears = False
    assert all(node.reasons(20))
    node.hears = True
    assert all(node.reasons(10))
    node.hears = False
    assert not all(node.reasons(40))


def test_a_store_that_is_shared_with_a_stranger_is_a_reason() -> None:
    node = Lone()
    node.readiness.hold_apart("its store is another server's")
    assert node.readiness.reason == "its store is another server's"
