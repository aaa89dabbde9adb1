"""A node does not start among others that it cannot understand."""

from __future__ import annotations

import pytest

from sockudo import errors
from sockudo.cluster.items import ALL
from sockudo.cluster.members import Timing
from sockudo.cluster.network import join_carrier
from sockudo.cluster.wire import OLDEST_VERSION, VERSION, Beat, encode, envelopes
from support.carriers import Heard, MemoryBroker


class Stranger(Heard):
    """A node that answers the first beat of another one with one of its own."""

    def __init__(self, broker: MemoryBroker, versions: tuple[int, int]) -> None:
        super().__init__()
        self.carrier = broker.carrier()
        self._beat = encode(Beat(1.0, "realtime-9", 2.0, versions))

    def arrived(self, topic: str, payload: bytes) -> None:
        super().arrived(topic, payload)
        if len(self.payloads) == 1:
            for envelope in envelopes(b"s" * 16, 1, 1, [self._beat]):
                self.carrier.publish(ALL, envelope)


@pytest.mark.parametrize("versions", [(VERSION + 1, VERSION + 9), (OLDEST_VERSION - 9, OLDEST_VERSION - 1)])
async def test_versions_that_do_not_fit_end_the_start_and_are_named(versions: tuple[int, int]) -> None:
    broker = MemoryBroker()
    stranger = Stranger(broker, versions)
    await stranger.carrier.open(stranger)
    await stranger.carrier.subscribe(ALL)
    with pytest.raises(errors.SockudoError) as caught:
        await join_carrier(broker.carrier(), "a", Timing(0.1, 0.5)).open()
    assert f"realtime-9 ({versions[0]}–{versions[1]})" in caught.value.text
    assert f"the versions {OLDEST_VERSION}–{VERSION} of the protocol between nodes" in caught.value.text


async def test_a_newer_one_that_still_understands_this_one_is_no_stranger() -> None:
    broker = MemoryBroker()
    stranger = Stranger(broker, (VERSION, VERSION + 9))
    await stranger.carrier.open(stranger)
    await stranger.carrier.subscribe(ALL)
    bus = join_carrier(broker.carrier(), "a", Timing(0.1, 0.5))
    await bus.open()
    assert [node.name for node in bus.membership.live() if node.id != bus.membership.me.id] == ["realtime-9"]
    await bus.close()
