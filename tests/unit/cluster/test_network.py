"""A node does not start among others that it cannot understand; how it subscribes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from sockudo import errors
from sockudo.cluster.items import ALL, Item, Request
from sockudo.cluster.members import Timing
from sockudo.cluster.network import join_carrier
from sockudo.cluster.ports import Received
from sockudo.cluster.wire import OLDEST_VERSION, VERSION, Beat, Bye, Envelope, encode
from support.carriers import Heard, MemoryBroker
from support.virtual_time import in_virtual_time
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


class _Gaps:
    """A receiver that takes nothing."""

    items = requests = ()

    def __init__(self) -> None:
        self.gaps: list[str] = []

    def receive(self, received: Received) -> None:
        raise AssertionError(received)

    def answer(self, request: Request) -> None:
        raise AssertionError(request)

    def gap(self, topics: Sequence[str]) -> None:
        self.gaps += topics


@in_virtual_time
async def test_a_subscription_that_is_confirmed_late_may_have_missed_something() -> None:
    broker, clock = MemoryBroker(knowing=False), asyncio.get_running_loop().time
    a, b = [join_carrier(broker.carrier(), name, Timing(2.0, 40.0), clock) for name in "ab"]
    receiver = _Gaps()
    b.attach(receiver)
    for bus in (a, b):
        await bus.open()
    first = b.subscribe("c:app:first")
    assert first is not None
    await first
    assert receiver.gaps == []
    await until(lambda: not a.interested("c:app:room"))
    assert a.quiet.unwanted == 1
    a.carrier.mute = True  # type: ignore[attr-defined]
    began = clock()
    confirmed = b.subscribe("c:app:room")
    assert confirmed is not None
    await confirmed
    # The asker did not answer: it relies on the promise for less time than that.
    assert 8 < clock() - began < 11
    assert receiver.gaps == ["c:app:room"]
    for bus in (a, b):
        await bus.close()
