"""Topics and payloads of a cluster whose slots move, with links that say when they work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from sockudo.config import Settings
from sockudo.config.sections.drivers import Adapter
from sockudo.config.sections.redis import Redis
from sockudo.config.sections.redis_nodes import AdapterCluster
from sockudo.drivers.carriers import redis_cluster
from sockudo.drivers.carriers.redis import RedisCarrier
from sockudo.drivers.carriers.redis_cluster import RedisClusterCarrier, redis_cluster_carrier
from sockudo.errors import SockudoError
from sockudo.storage.redis_slots import SlotRange, slot_of
from sockudo.storage.redis_wire import RedisWireError
from support.carriers import Heard
from support.virtual_time import in_virtual_time

A, B = ("10.0.0.1", 1), ("10.0.0.2", 2)
# The first is on the server of the lower slots, the second on that of the higher ones.
LOW, HIGH = "c:app:0", "c:app:3"
SLOT = slot_of(f"p:{LOW}".encode())


class FakeOutbox:
    def __init__(self, link: FakeLink) -> None:
        self.dropped = 0
        self.sent: list[tuple[str, bytes]] = []
        self._link = link

    def publish(self, topic: str, payload: bytes) -> bool:
        if self._link.up:
            self.sent.append((topic, payload))
        return self._link.up


class FakeLink:
    """Works once it is opened, or when a test says so; confirms what is added when a test says so."""

    def __init__(self, dial: Any, observer: RedisClusterCarrier, **options: Any) -> None:
        self.place = dial.args
        self.observer = observer
        self.probe: Callable[[str], str] = options["probe"]
        self.up = False
        self.closed = False
        self.started = False
        self.refuses = False
        self.topics: list[str] = []
        self.reconnected: list[str] = []
        self.outbox = FakeOutbox(self)

    async def open(self) -> None:
        if self.refuses:
            raise RedisWireError("connection refused")
        self.up = True

    def start(self) -> None:
        self.started = True

    async def close(self, seconds: float = 0.0) -> None:
        self.up, self.closed = False, True

    def add(self, topic: str) -> bool:
        self.topics.append(topic)
        return False

    def discard(self, topic: str) -> None:
        self.topics.remove(topic)

    def reconnect(self, reason: str) -> None:
        self.reconnected.append(reason)

    def goes_down(self, *unanswered: str) -> None:
        self.up = False
        self.observer.link_down(self, "it closed the connection", set(unanswered))  # type: ignore[arg-type]

    def comes_up(self) -> None:
        self.observer.confirmed(self.topics)
        self.up = True
        self.observer.link_up(self)  # type: ignore[arg-type]


class World:
    """A carrier on two servers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.split = 8_000
        self.looks = 0
        self.away = False
        monkeypatch.setattr(redis_cluster, "RedisLink", FakeLink)
        self.carrier = RedisClusterCarrier(Redis().cluster_access(("seed:1",)), "p:")
        self.carrier._reach = self  # type: ignore[assignment]
        self.heard = Heard()

    def dial_both(self) -> None:
        """Of the reach; nothing is dialled."""

    async def masters(self) -> list[SlotRange]:
        self.looks += 1
        if self.away:
            raise RedisWireError("connection refused")
        ranges = [SlotRange(0, self.split, *A), SlotRange(self.split + 1, 16_383, *B)]
        return [each for each in ranges if each.first <= each.last]

    def link(self, place: tuple[str, int]) -> FakeLink:
        return self.carrier._links[place]  # type: ignore[return-value]

    async def open(self) -> tuple[FakeLink, FakeLink]:
        await self.carrier.open(self.heard)
        return self.link(A), self.link(B)

    @property
    def losses(self) -> list[Sequence[str] | None]:
        found, self.heard.losses = self.heard.losses, []
        return [sorted(topics) if topics is not None else None for topics in found]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_the_topics_of_these_tests() -> None:
    assert SLOT < 8_000 < slot_of(f"p:{HIGH}".encode())


@in_virtual_time
async def test_each_server_has_its_own(world: World) -> None:
    low, high = await world.open()
    assert world.heard.links == ["up"]
    world.carrier.subscribe(LOW)
    world.carrier.subscribe(HIGH)
    world.carrier.publish(LOW, b"1")
    assert (low.topics, high.topics) == ([LOW], [HIGH])
    assert (low.outbox.sent, high.outbox.sent) == ([(LOW, b"1")], [])
    for link in (low, high):
        name = link.probe("random")
        assert name.startswith("random")
        assert world.carrier._slots[slot_of(f"p:{name}".encode())] is link
    world.carrier.unsubscribe(LOW)
    assert low.topics == []
    await world.carrier.close()
    world.carrier.publish(LOW, b"2")
    assert len(low.outbox.sent) == 1
    assert low.closed


@in_virtual_time
async def test_a_server_that_refuses_ends_the_start(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeLink, "refuses", property(lambda _: True, lambda *_: None), raising=False)
    with pytest.raises(SockudoError) as told:
        await world.open()
    assert "connection refused" in told.value.text
    assert "database.redis.cluster.nodes says how" in told.value.text
    assert world.heard.links == []


@in_virtual_time
async def test_topics_go_with_their_slot(world: World) -> None:
    low, high = await world.open()
    confirmed = asyncio.ensure_future(world.carrier.subscribe(LOW))
    world.split = SLOT - 1
    world.carrier.astray(low, [LOW])  # type: ignore[arg-type]
    await asyncio.sleep(0.1)
    assert (low.topics, high.topics) == ([], [LOW])
    assert not confirmed.done()
    world.carrier.confirmed([LOW])
    await confirmed
    assert world.losses == [[LOW]]
    world.carrier.confirmed([LOW])
    assert world.losses == []
    await world.carrier.close()


@in_virtual_time
async def test_a_payload_at_the_wrong_server_is_sent_to_the_right_one_once(world: World) -> None:
    low, high = await world.open()
    world.carrier.subscribe(LOW)
    error = f"MOVED {SLOT} {B[0]}:{B[1]}"
    world.carrier.refused(low, error, LOW, b"1")  # type: ignore[arg-type]
    [(topic, payload)] = high.outbox.sent
    assert (topic, payload) == (LOW, b"1")
    assert world.losses == [[LOW]]
    # The next ones go there at once, and a subscription that is made now is no longer at the old one.
    world.carrier.publish(LOW, b"2")
    assert high.outbox.sent[1:] == [(LOW, b"2")]
    world.carrier.subscribe(LOW)
    assert (low.topics, high.topics) == ([], [LOW])
    world.carrier.refused(high, f"MOVED {SLOT} {A[0]}:{A[1]}", topic, payload)  # type: ignore[arg-type]
    assert low.outbox.sent == []
    # The look that follows finds what is where.
    world.split = SLOT - 1
    await asyncio.sleep(0.1)
    assert (low.topics, high.topics) == ([], [LOW])
    assert world.losses == [[LOW]]
    assert low.reconnected == []
    await world.carrier.close()


@in_virtual_time
async def test_an_error_that_does_not_pass_ends_the_connection(world: World) -> None:
    low, _ = await world.open()
    world.carrier.refused(low, "NOPERM no", LOW, b"1")  # type: ignore[arg-type]
    assert low.reconnected == ["it refused a payload: NOPERM"]
    await world.carrier.close()


@in_virtual_time
async def test_a_part_that_is_away_is_reported_when_it_is_back(world: World) -> None:
    low, high = await world.open()
    world.carrier.subscribe(LOW)
    low.goes_down("c:app:4")
    world.carrier.publish("c:app:8", b"1")
    world.carrier.publish(HIGH, b"1")
    await asyncio.sleep(5)
    assert world.heard.links == ["up"]
    assert world.losses == []
    low.comes_up()
    assert world.losses == [[LOW, "c:app:4", "c:app:8"]]
    assert high.outbox.sent == [(HIGH, b"1")]
    await world.carrier.close()


@in_virtual_time
async def test_while_a_part_is_away_it_is_looked_for_every_two_seconds(world: World) -> None:
    low, _ = await world.open()
    await asyncio.sleep(29)
    assert world.looks == 1
    low.goes_down()
    await asyncio.sleep(20)
    assert 10 <= world.looks <= 16
    low.comes_up()
    await asyncio.sleep(3)
    looks = world.looks
    await asyncio.sleep(59)
    assert world.looks - looks == 2
    await world.carrier.close()


@in_virtual_time
async def test_nothing_works_until_everything_does(world: World) -> None:
    low, high = await world.open()
    for link in (low, high):
        link.goes_down()
    assert world.heard.links == ["up", "down"]
    low.comes_up()
    assert world.heard.links == ["up", "down"]
    high.comes_up()
    assert world.heard.links == ["up", "down", "up"]
    assert world.losses == []
    await world.carrier.close()


@in_virtual_time
async def test_a_part_that_stays_away_does_not_keep_the_rest_from_working(world: World) -> None:
    low, high = await world.open()
    for link in (low, high):
        link.goes_down()
    low.comes_up()
    await asyncio.sleep(6)
    assert world.heard.links == ["up", "down", "up"]
    await world.carrier.close()


@in_virtual_time
async def test_a_server_that_has_no_slots_any_more_is_left(world: World) -> None:
    low, high = await world.open()
    world.carrier.subscribe(LOW)
    low.outbox.dropped = 3
    low.goes_down()
    world.split = -1
    await asyncio.sleep(1)
    assert low.closed
    assert list(world.carrier._links) == [B]
    assert high.topics == [LOW]
    assert world.carrier.dropped == 3
    # One that is new is started, and each topic reported once.
    world.split = 8_000
    world.carrier.reconnect()
    await asyncio.sleep(1)
    new = world.link(A)
    assert new is not low
    assert new.started
    new.comes_up()
    assert world.losses == [[LOW]]
    await world.carrier.close()


@in_virtual_time
async def test_what_is_remembered_has_a_bound(world: World) -> None:
    low, _ = await world.open()
    low.goes_down()
    for number in range(30_000):
        world.carrier.publish(f"c:app:{number}", b"1")
    assert len(world.carrier._lost) <= 10_000
    low.comes_up()
    assert None in world.losses
    assert not world.carrier._lost
    await world.carrier.close()


@in_virtual_time
async def test_a_cluster_that_is_away_is_looked_for_until_it_is_back(world: World) -> None:
    await world.open()
    world.away = True
    world.carrier.reconnect()
    await asyncio.sleep(20)
    looks = world.looks
    assert looks > 8
    world.away = False
    await asyncio.sleep(3)
    assert world.looks > looks
    await world.carrier.close()


def test_which_carrier_a_cluster_has() -> None:
    settings = Settings(adapter=Adapter(driver="redis-cluster"))
    assert isinstance(redis_cluster_carrier(settings), RedisClusterCarrier)
    plain = Settings(adapter=Adapter(driver="redis-cluster", cluster=AdapterCluster(use_sharded_pubsub=False)))
    assert isinstance(redis_cluster_carrier(plain), RedisCarrier)
