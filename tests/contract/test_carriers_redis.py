"""What becomes of carriers when their Redis servers fail, move, stand still or refuse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from sockudo.cluster.carrier import Carrier
from sockudo.config.sections.redis import Redis, RedisAccess, RedisServer, RedisTls
from sockudo.drivers.carriers.redis import RedisCarrier
from sockudo.errors import SockudoError
from sockudo.storage.redis_slots import slot_of
from support.carriers import Heard
from support.redis import PASSWORD, RedisProcess, redis_server
from support.redis_carriers import PACE, PREFIX, RedisBroker, links_of
from support.redis_sets import ClusterSet, cluster_set, say, sentinel_set


class Opened:
    """Carriers of a test, closed at its end."""

    def __init__(self) -> None:
        self._carriers: list[Carrier] = []

    async def open(self, broker: RedisBroker) -> tuple[Carrier, Heard]:
        carrier, heard = broker.carrier(), Heard()
        await asyncio.wait_for(carrier.open(heard), 10)
        self._carriers.append(carrier)
        return carrier, heard

    async def close(self) -> None:
        for carrier in self._carriers:
            await carrier.close()


@pytest.fixture
async def opened() -> AsyncIterator[Opened]:
    opened = Opened()
    yield opened
    await opened.close()


async def arrives(publisher: Carrier, heard: Heard, topic: str, seconds: float = 10) -> None:
    """Publishes until something of it is heard."""
    async with asyncio.timeout(seconds):
        for number in range(10_000):
            publisher.publish(topic, b"again %d" % number)
            await asyncio.sleep(0.02)
            if any(name == topic and payload.startswith(b"again") for name, payload in heard.payloads):
                return


def fails(access: RedisAccess) -> str:
    """What the start says of this server."""

    async def start() -> str:
        carrier = RedisCarrier(access, PREFIX, PACE)
        with pytest.raises(SockudoError) as refusal:
            await carrier.open(Heard())
        return refusal.value.text

    return asyncio.run(start())


# ---- one server ----


async def test_a_server_that_starts_anew_with_nothing(opened: Opened) -> None:
    with redis_server(appendonly="no") as server:
        broker = RedisBroker(server.settings.access())
        (a, at_a), (b, at_b) = await opened.open(broker), await opened.open(broker)
        await asyncio.gather(*(b.subscribe(f"c:app:{number}") for number in range(2_500)))
        server.kill()
        await at_b.until(lambda heard: heard.links[-1] == "down")
        a.publish("c:app:7", b"while it is away")
        await asyncio.sleep(0.3)
        await asyncio.to_thread(server.start)
        for heard in (at_a, at_b):
            await heard.until(lambda heard: heard.links == ["up", "down", "up"])
        for number in range(0, 2_500, 250):
            a.publish(f"c:app:{number}", b"back")
        await at_b.until(lambda heard: len(heard.payloads) == 10)
        await opened.close()


async def test_a_server_that_stands_still_is_left_and_found_again(opened: Opened) -> None:
    with redis_server() as server:
        broker = RedisBroker(server.settings.access())
        (a, _), (b, at_b) = await opened.open(broker), await opened.open(broker)
        await b.subscribe("c:app:room")
        with server.frozen():
            a.publish("c:app:room", b"into a connection that looks well")
            await at_b.until(lambda heard: heard.links == ["up", "down"], seconds=8)
        await at_b.until(lambda heard: heard.links[-1] == "up")
        await arrives(a, at_b, "c:app:room")
        await opened.close()


async def test_a_short_standstill_loses_nothing(opened: Opened) -> None:
    with redis_server() as server:
        broker = RedisBroker(server.settings.access())
        (a, _), (b, at_b) = await opened.open(broker), await opened.open(broker)
        await b.subscribe("c:app:room")
        with server.frozen():
            for number in range(500):
                a.publish("c:app:room", b"%d" % number)
            await asyncio.sleep(0.8)
        await at_b.until(lambda heard: len(heard.payloads) == 500)
        assert [int(payload) for _, payload in at_b.payloads] == list(range(500))
        assert at_b.links == ["up"]
        await opened.close()


async def test_what_does_not_fit_is_dropped_from_the_oldest_on(opened: Opened) -> None:
    with redis_server() as server:
        broker = RedisBroker(server.settings.access())
        (a, at_a), (b, at_b) = await opened.open(broker), await opened.open(broker)
        await b.subscribe("c:app:room")
        with server.frozen():
            for number in range(90_000):
                a.publish("c:app:room", b"%d" % number)
                if number % 1_000 == 0:
                    await asyncio.sleep(0)
            await at_a.until(lambda heard: bool(heard.losses))
        assert at_a.losses[0] == ("c:app:room",)
        assert a.dropped > 0
        await at_b.until(lambda heard: bool(heard.payloads) and heard.payloads[-1][1] == b"89999")
        numbers = [int(payload) for _, payload in at_b.payloads]
        assert len(numbers) == 90_000 - a.dropped
        assert numbers == sorted(numbers)
        await opened.close()


async def test_a_listener_that_redis_gives_up_comes_back(opened: Opened) -> None:
    with redis_server(client_output_buffer_limit="pubsub 64kb 32kb 1") as server:
        broker = RedisBroker(server.settings.access())
        (a, _), (b, at_b) = await opened.open(broker), await opened.open(broker)
        await b.subscribe("c:app:room")
        (link,) = links_of(b)
        listener = link._wires[1]
        assert listener._transport is not None
        listener._transport.pause_reading()
        for _ in range(400):
            a.publish("c:app:room", b"x" * 100_000)
            await asyncio.sleep(0)
        await asyncio.sleep(0.5)
        listener._transport.resume_reading()
        await at_b.until(lambda heard: heard.links == ["up", "down", "up"])
        await arrives(a, at_b, "c:app:room")
        await opened.close()


async def test_a_master_that_becomes_a_replica_is_left(opened: Opened) -> None:
    with redis_server() as server, redis_server() as other:
        _, heard = await opened.open(RedisBroker(server.settings.access()))
        say(server, "REPLICAOF", "127.0.0.1", other.port)
        await heard.until(lambda heard: heard.links == ["up", "down"])
        say(server, "REPLICAOF", "NO", "ONE")
        await heard.until(lambda heard: heard.links[-1] == "up")
        await opened.close()


async def test_subscriptions_that_change_faster_than_they_are_confirmed(opened: Opened, redis: RedisProcess) -> None:
    broker = RedisBroker(redis.settings.access())
    (a, _), (b, at_b) = await opened.open(broker), await opened.open(broker)
    for _ in range(50):
        b.subscribe("c:app:room")
        await asyncio.sleep(0)
        b.unsubscribe("c:app:room")
        await asyncio.sleep(0)
        confirmed = b.subscribe("c:app:room")
        b.unsubscribe("c:app:room")
        confirmed = b.subscribe("c:app:room")
        await asyncio.wait_for(confirmed, 5)
        at_b.payloads.clear()
        a.publish("c:app:room", b"now")
        await at_b.until(lambda heard: heard.payloads == [("c:app:room", b"now")])
        b.unsubscribe("c:app:room")


# ---- the start ----


def test_what_the_start_says(redis: RedisProcess) -> None:
    good = redis.settings
    nowhere = Redis(host="127.0.0.1", port=1)
    assert "connection refused" in fails(nowhere.access())
    assert "database.redis says how" in fails(nowhere.access())
    wrong = fails(Redis(host=good.host, port=good.port, password="wrong-one").access())
    assert "does not accept the configured user or password" in wrong
    assert "wrong-one" not in wrong
    assert "does not accept" in fails(Redis(host=good.host, port=good.port).access())
    assert "no database of the configured number" in fails(
        Redis(host=good.host, port=good.port, password=PASSWORD, db=99).access()
    )
    url = f"redis://:{'x' * 9}@127.0.0.1:{good.port}"
    assert "adapter.redis.redis_pub_options.url says how" in fails(
        good.access(url, "adapter.redis.redis_pub_options.url")
    )


def test_a_replica_is_refused(redis: RedisProcess) -> None:
    with redis_server(lines=[f"replicaof 127.0.0.1 {redis.port}"], masterauth=PASSWORD) as replica:
        assert "it is a replica" in fails(replica.settings.access())


@pytest.mark.parametrize(("rights", "text"), [("-publish", "PUBLISH"), ("-role", "ROLE"), ("resetchannels", "begin")])
def test_a_user_without_a_right_is_refused(rights: str, text: str, redis: RedisProcess) -> None:
    say(redis, "ACL", "SETUSER", "weak", "on", ">weak", "allchannels", "+@all", *rights.split())
    told = fails(Redis(host="127.0.0.1", port=redis.port, username="weak", password="weak").access())
    assert text in told
    assert "NOPERM" in told


def test_tls_that_is_not_trusted_is_refused(redis_tls: RedisAccess) -> None:
    own = RedisAccess(redis_tls.server, RedisTls(enabled=True), "database.redis")
    assert "its certificate is not trusted" in fails(own)
    server = redis_tls.server
    plain = RedisServer(server.host, server.port, 0, server.username, server.password, False)
    assert "No connection to other nodes" in fails(RedisAccess(plain, RedisTls(), "database.redis"))


def test_sentinels_without_the_master_are_refused(redis: RedisProcess) -> None:
    settings = Redis(sentinels=(f"127.0.0.1:{redis.port}", "127.0.0.1:1"), sentinel_password=PASSWORD)
    told = fails(settings.access())
    assert "no Sentinel names the master 'mymaster'" in told
    assert "database.redis.sentinels says how" in told


# ---- Sentinel ----


async def test_a_fail_over_heals_within_ten_seconds(opened: Opened) -> None:
    with sentinel_set() as servers:
        broker = RedisBroker(servers.access)
        (a, at_a), (b, at_b) = await opened.open(broker), await opened.open(broker)
        await b.subscribe("c:app:room")
        servers.master.kill()
        for heard in (at_a, at_b):
            await heard.until(lambda heard: heard.links == ["up", "down", "up"])
        await arrives(a, at_b, "c:app:room", seconds=2)
        assert say(servers.replica, "ROLE")[0] == "master"
        await opened.close()


async def test_a_fail_over_that_is_ordered(opened: Opened) -> None:
    with sentinel_set() as servers:
        broker = RedisBroker(servers.access)
        (a, at_a), (b, at_b) = await opened.open(broker), await opened.open(broker)
        await b.subscribe("c:app:room")
        say(servers.sentinels[0], "SENTINEL", "FAILOVER", "harbor")
        for heard in (at_a, at_b):
            await heard.until(lambda heard: heard.links[-2:] == ["down", "up"])
        await arrives(a, at_b, "c:app:room")
        await opened.close()


# ---- Cluster ----


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterSet]:
    with cluster_set() as servers:
        yield servers


async def test_slots_that_move_while_it_is_published(opened: Opened, cluster: ClusterSet) -> None:
    broker = RedisBroker(cluster.access, sharded=True)
    (a, at_a), (b, at_b) = await opened.open(broker), await opened.open(broker)
    topic, other = "c:app:room", "c:app:calm"
    slot = slot_of((PREFIX + topic).encode())
    await asyncio.gather(b.subscribe(topic), b.subscribe(other), a.subscribe(topic))
    ended = asyncio.Event()

    async def publish() -> int:
        number = 0
        while not ended.is_set():
            a.publish(topic, b"%d" % number)
            number += 1
            await asyncio.sleep(0.001)
        return number

    publishing = asyncio.ensure_future(publish())
    await asyncio.sleep(0.1)
    source = cluster.owner(slot)
    target = next(server for server in cluster.servers if server is not source)
    await asyncio.to_thread(cluster.move, slot, target)
    for heard in (at_a, at_b):
        await heard.until(lambda heard: any(topic in (lost or ()) for lost in heard.losses), seconds=5)
    before = len(at_b.payloads)
    await at_b.until(lambda heard: len(heard.payloads) > before + 100, seconds=5)
    ended.set()
    last = b"%d" % (await publishing - 1)
    await at_b.until(lambda heard: heard.payloads[-1][1] == last)
    assert at_a.links == at_b.links == ["up"]
    assert not any(other in (lost or ()) for lost in at_b.losses)
    await opened.close()


async def test_a_master_of_a_cluster_that_is_away_costs_its_own_topics_alone(
    opened: Opened, cluster: ClusterSet
) -> None:
    broker = RedisBroker(cluster.access, sharded=True)
    (a, at_a), (b, at_b) = await opened.open(broker), await opened.open(broker)
    topics = [f"c:app:{number}" for number in range(60)]
    await asyncio.gather(*(b.subscribe(topic) for topic in topics))
    victim = cluster.servers[2]
    on_victim = [topic for topic in topics if cluster.owner(slot_of((PREFIX + topic).encode())) is victim]
    elsewhere = [topic for topic in topics if topic not in on_victim]
    assert on_victim
    assert elsewhere
    victim.kill()
    for topic in topics:
        a.publish(topic, b"one is away")
    await at_b.until(lambda heard: len(heard.payloads) == len(elsewhere))
    await asyncio.to_thread(victim.start)
    for heard in (at_a, at_b):
        await heard.until(lambda heard: set(on_victim) <= {topic for lost in heard.losses for topic in lost or ()})
    assert at_b.links == ["up"]
    for topic in on_victim:
        await arrives(a, at_b, topic)
    await opened.close()


async def test_a_replica_that_takes_over_has_the_topics(opened: Opened) -> None:
    with cluster_set(replica=True) as servers:
        broker = RedisBroker(servers.access, sharded=True)
        (a, at_a), (b, at_b) = await opened.open(broker), await opened.open(broker)
        topics = [f"c:app:{number}" for number in range(30)]
        await asyncio.gather(*(b.subscribe(topic) for topic in topics))
        moved = [topic for topic in topics if servers.owner(slot_of((PREFIX + topic).encode())) is servers.servers[0]]
        assert moved
        servers.servers[0].kill()
        for topic in moved:
            a.publish(topic, b"into nothing")
        for heard in (at_a, at_b):
            await heard.until(
                lambda heard: set(moved) <= {topic for lost in heard.losses for topic in lost or ()}, seconds=20
            )
        for topic in moved:
            await arrives(a, at_b, topic)
        assert at_a.links == at_b.links == ["up"]
        assert say(servers.servers[3], "ROLE")[0] == "master"
        await opened.close()


async def test_a_cluster_that_is_none(redis: RedisProcess) -> None:
    settings = Redis(password=PASSWORD)
    broker = RedisBroker(
        settings.cluster_access((f"127.0.0.1:{redis.port}",), of="adapter.cluster.nodes"), sharded=True
    )
    with pytest.raises(SockudoError) as refusal:
        await broker.carrier().open(Heard())
    assert "it is no part of a cluster" in refusal.value.text
    assert "adapter.cluster.nodes says how" in refusal.value.text
