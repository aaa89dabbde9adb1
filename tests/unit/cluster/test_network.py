"""A node does not start among others that it cannot understand."""

from __future__ import annotations

import msgspec
import pytest

from sockudo import errors
from sockudo.cluster.items import ALL, Item
from sockudo.cluster.members import Timing
from sockudo.cluster.network import join_carrier
from sockudo.cluster.wire import OLDEST_VERSION, VERSION, Beat, Bye, Envelope, encode
from support.carriers import Heard, MemoryBroker
from support.waiting import until


class Stranger(Heard):
    """A node that answers the first beat of another one with one of its own."""

    def __init__(self, broker: MemoryBroker, versions: tuple[int, int], speaks: int = VERSION) -> None:
        super().__init__()
        self.carrier = broker.carrier()
        self._beat = Beat(1.0, "realtime-9", 2.0, versions)
        self._speaks = speaks

    def arrived(self, topic: str, payload: bytes) -> None:
        super().arrived(topic, payload)
        if len(self.payloads) == 1:
            self.say(self._beat)

    def say(self, item: Item) -> None:
        self.carrier.publish(
            ALL, encode(Envelope(self._speaks, b"s" * 16, 1, len(self.payloads), (msgspec.Raw(encode(item)),)))
        )


@pytest.mark.parametrize("speaks", [VERSION, VERSION + 100, OLDEST_VERSION - 1])
@pytest.mark.parametrize("versions", [(VERSION + 1, VERSION + 9), (OLDEST_VERSION - 9, OLDEST_VERSION - 1)])
async def test_versions_that_do_not_fit_end_the_start_and_are_named(versions: tuple[int, int], speaks: int) -> None:
    broker = MemoryBroker()
    stranger = Stranger(broker, versions, speaks)
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


@pytest.mark.parametrize("speaks", [VERSION, VERSION + 100])
async def test_one_that_comes_later_is_no_live_node_and_hears_of_this_one_at_once(speaks: int) -> None:
    broker = MemoryBroker()
    bus = join_carrier(broker.carrier(), "a", Timing(60.0, 300.0))
    await bus.open()
    stranger = Stranger(broker, (VERSION + 100, VERSION + 100), speaks)
    await stranger.carrier.open(stranger)
    await stranger.carrier.subscribe(ALL)
    stranger.say(Beat(1.0, "realtime-9", 2.0, (VERSION + 100, VERSION + 100)))
    await stranger.until(lambda heard: len(heard.payloads) > 1)
    assert list(bus.membership.live()) == [bus.membership.me]
    assert [peer.node.name for peer in bus.membership.strangers()] == ["realtime-9"]
    assert bus.alone
    # It is refused, and goes.
    stranger.say(Bye())
    await until(lambda: not bus.membership.strangers())
    await bus.close()
