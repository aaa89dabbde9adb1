"""What every store outside of the nodes promises: sentence by sentence of `sockudo.cluster.stores`, on real servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from sockudo import errors
from sockudo.cluster.stores import Added, CacheStore, Claiming, StoredEvent, WindowPlace, WindowStore
from sockudo.config.sections.databases import Postgres
from sockudo.config.sections.redis import Redis, RedisAccess, RedisCluster
from sockudo.drivers.shared.postgres import PostgresCache, PostgresWindows
from sockudo.drivers.shared.redis import RedisCache, RedisWindows
from sockudo.errors import SockudoError
from sockudo.storage.redis_scripts import lua_scripts
from sockudo.storage.redis_slots import slot_of
from support.databases import DatabaseServer
from support.redis import RedisProcess
from support.redis_sets import ClusterSet, say, sentinel_set
from support.stores import MemoryCacheStore, MemoryWindowStore

REDIS = ("redis", "valkey", "redis_sentinel", "redis_cluster")
KINDS = ("memory", *REDIS, "postgres")
KEY, OTHER = bytes(16), bytes(range(16))
CLAIMED = Claiming("claimed")


def access_of(kind: str, request: pytest.FixtureRequest) -> RedisAccess:
    server = request.getfixturevalue(kind)
    access: RedisAccess = server.settings.access() if isinstance(server, RedisProcess) else server.access
    return access


@pytest.fixture(params=KINDS)
async def cache(request: pytest.FixtureRequest, unique: str) -> AsyncIterator[CacheStore]:
    """A cache of every kind, with nothing in it."""
    store: CacheStore
    if request.param == "memory":
        store = MemoryCacheStore()
    elif request.param == "postgres":
        server: DatabaseServer = request.getfixturevalue("postgres")
        store = PostgresCache(server.postgres)
    else:
        store = RedisCache(access_of(request.param, request), f"{unique}:")
    await store.start()
    if request.param == "postgres":
        server.execute("TRUNCATE sockudo_cache_keys, sockudo_cache_events")
    yield store
    await store.close()


@pytest.fixture(params=KINDS)
async def windows(request: pytest.FixtureRequest, unique: str) -> AsyncIterator[WindowStore]:
    """A store of windows of every kind, with nothing in it."""
    store: WindowStore
    if request.param == "memory":
        store = MemoryWindowStore()
    elif request.param == "postgres":
        server: DatabaseServer = request.getfixturevalue("postgres")
        store = PostgresWindows(server.postgres)
    else:
        store = RedisWindows(access_of(request.param, request), f"{unique}:")
    await store.start()
    if request.param == "postgres":
        server.execute("TRUNCATE sockudo_limits_windows")
    yield store
    await store.close()


# ---- keys ----


async def test_a_key_is_claimed_once(cache: CacheStore) -> None:
    claims = await asyncio.gather(*(cache.claim(KEY, b"m", f"node:{number}", 30) for number in range(20)))
    assert sorted(claim.outcome for claim in claims) == ["claimed"] + ["running"] * 19
    assert await cache.claim(OTHER, b"m", "node:20", 30) == CLAIMED


async def test_the_same_claim_may_be_made_again(cache: CacheStore) -> None:
    assert [await cache.claim(KEY, b"m", "node:1", 30) for _ in range(2)] == [CLAIMED, CLAIMED]


async def test_a_claim_that_is_made_again_has_its_lease_renewed(cache: CacheStore) -> None:
    for lease in (0.15, 30):
        assert await cache.claim(KEY, b"m", "node:1", lease) == CLAIMED
    await asyncio.sleep(0.2)
    assert (await cache.claim(KEY, b"m", "node:2", 30)).outcome == "running"


async def test_what_was_done_answers_for_its_time_to_live(cache: CacheStore) -> None:
    await cache.claim(KEY, b"m", "node:1", 30)
    await cache.end(KEY, b"m", "node:1", b"\0reply", 30)
    assert await cache.claim(KEY, b"m", "node:2", 30) == Claiming("done", b"\0reply")
    assert (await cache.claim(KEY, b"other", "node:2", 30)).outcome == "conflict"
    await cache.claim(OTHER, b"m", "node:1", 30)
    await cache.end(OTHER, b"m", "node:1", b"\0reply", 0.1)
    await asyncio.sleep(0.15)
    assert await cache.claim(OTHER, b"other", "node:2", 30) == CLAIMED


async def test_an_empty_reply_is_one(cache: CacheStore) -> None:
    await cache.claim(KEY, b"m", "node:1", 30)
    await cache.end(KEY, b"m", "node:1", b"", 30)
    assert await cache.claim(KEY, b"m", "node:2", 30) == Claiming("done", b"")


async def test_what_failed_is_free_and_only_its_own_claim_frees_it(cache: CacheStore) -> None:
    await cache.claim(KEY, b"m", "node:1", 30)
    await cache.end(KEY, b"m", "node:2", None, 30)
    assert (await cache.claim(KEY, b"m", "node:2", 30)).outcome == "running"
    await cache.end(KEY, b"m", "node:1", None, 30)
    assert await cache.claim(KEY, b"other", "node:2", 30) == CLAIMED


async def test_what_is_done_is_not_freed_any_more(cache: CacheStore) -> None:
    await cache.claim(KEY, b"m", "node:1", 30)
    await cache.end(KEY, b"m", "node:1", b"reply", 30)
    await cache.end(KEY, b"m", "node:1", None, 30)
    assert (await cache.claim(KEY, b"m", "node:2", 30)).outcome == "done"


async def test_the_key_of_a_node_that_ended_is_free_after_its_lease(cache: CacheStore) -> None:
    await cache.claim(KEY, b"m", "node:1", 0.2)
    await asyncio.sleep(0.25)
    assert await cache.claim(KEY, b"m", "node:2", 30) == CLAIMED
    # The first one was only slow: the key is the other one's now.
    await cache.end(KEY, b"m", "node:1", b"late", 30)
    assert (await cache.claim(KEY, b"m", "node:3", 30)).outcome == "running"


async def test_a_lease_that_ended_before_its_claim_keeps_the_reply(cache: CacheStore) -> None:
    await cache.claim(KEY, b"m", "node:1", 0.1)
    await asyncio.sleep(0.15)
    await cache.end(KEY, b"m", "node:1", b"late", 30)
    assert await cache.claim(KEY, b"m", "node:2", 30) == Claiming("done", b"late")


async def test_a_claim_that_nobody_waits_for_is_undone(cache: CacheStore) -> None:
    waiting = [asyncio.create_task(cache.claim(KEY, b"m", f"node:{number}", 30)) for number in range(2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.wait(waiting)
    for _ in range(100):
        if (await cache.claim(KEY, b"m", "node:1", 30)).outcome == "claimed":
            break
        await asyncio.sleep(0.01)
    else:
        raise AssertionError("the key belongs to a claim that nobody has")


# ---- last events ----


async def test_the_last_event_is_kept_for_its_time(cache: CacheStore) -> None:
    assert await cache.get(KEY) is None
    await cache.put(KEY, StoredEvent(b"old"), 60)
    await cache.put(KEY, StoredEvent(b"\0new\xff"), 40)
    found = await cache.get(KEY)
    assert found is not None
    assert found[0] == b"\0new\xff"
    assert 0 < found[1] <= 40
    assert await cache.get(OTHER) is None
    await cache.put(KEY, StoredEvent(b"last"), 0.1)
    await asyncio.sleep(0.15)
    assert await cache.get(KEY) is None


async def test_an_earlier_event_of_the_same_stream_is_left_out(cache: CacheStore) -> None:
    for serial, stream in ((9, "a"), (10, "a"), (8, "a")):
        await cache.put(KEY, StoredEvent(b"%d" % serial, stream, serial), 60)
    assert (await cache.get(KEY) or (b"", 0))[0] == b"10"
    await cache.put(KEY, StoredEvent(b"other", "b", 1), 60)
    assert (await cache.get(KEY) or (b"", 0))[0] == b"other"
    await cache.put(KEY, StoredEvent(b"plain"), 60)
    assert (await cache.get(KEY) or (b"", 0))[0] == b"plain"


async def test_keys_and_events_of_one_hash_are_apart(cache: CacheStore) -> None:
    await cache.put(KEY, StoredEvent(b"event"), 60)
    assert await cache.claim(KEY, b"m", "node:1", 30) == CLAIMED
    assert (await cache.get(KEY) or (b"", 0))[0] == b"event"


# ---- windows ----


def hits(key: str, added: int, *, total: int | None = None, left: float = 60, seconds: int = 60) -> Added:
    return Added(WindowPlace("reads", key, seconds), added, added if total is None else total, left)


async def test_hits_of_all_nodes_are_added_up(windows: WindowStore) -> None:
    assert await windows.add([hits("a", 2), hits("b", 5)]) == [
        (2, pytest.approx(60, abs=1)),
        (5, pytest.approx(60, abs=1)),
    ]
    [(total, left)] = await windows.add([hits("a", 3, left=10)])
    assert total == 5
    # What has passed since then is the machine's.
    assert 30 < left <= 60
    await asyncio.gather(*(windows.add([hits("a", 1), hits("c", 1)]) for _ in range(10)))
    assert [total for total, _ in await windows.add([hits("c", 0), hits("a", 0)])] == [10, 15]


async def test_names_and_lengths_are_apart(windows: WindowStore) -> None:
    await windows.add([hits("a", 2)])
    other = Added(WindowPlace("writes", "a", 60), 1, 1, 60)
    assert [total for total, _ in await windows.add([other, hits("a", 1, seconds=10)])] == [1, 1]


async def test_a_window_ends_and_begins_with_what_the_node_knows(windows: WindowStore) -> None:
    await windows.add([hits("a", 2, left=0.2)])
    await asyncio.sleep(0.25)
    assert [total for total, _ in await windows.add([hits("a", 1, total=7)])] == [7]
    assert [total for total, _ in await windows.add([hits("a", 1, total=9)])] == [8]


async def test_many_windows_at_once(windows: WindowStore) -> None:
    many = [hits(f"k{number}", number) for number in range(1000)]
    assert [total for total, _ in await windows.add(many)] == list(range(1000))


async def test_nothing_at_all(windows: WindowStore) -> None:
    assert list(await windows.add([])) == []
    assert await windows.check()


# ---- that they are away ----


async def refusal_of(store: CacheStore | WindowStore) -> str:
    with pytest.raises(SockudoError) as raised:
        await store.start()
    assert raised.value.spec is errors.SERVICE_UNAVAILABLE
    await store.close()
    return raised.value.text


async def test_a_start_without_the_server_names_the_setting() -> None:
    redis = Redis(host="127.0.0.1", port=1)
    assert "See that it runs and that database.redis, or cache.redis.url_override, says how to reach it" in (
        await refusal_of(RedisCache(redis.access(), "p:"))
    )
    assert "database.redis, or rate_limiter.redis.url_override, says" in (
        await refusal_of(RedisWindows(redis.access("redis://127.0.0.1:1", "rate_limiter.redis.url_override"), "p:"))
    )
    sentinels = Redis(sentinels=("127.0.0.1:1", "127.0.0.1:2"))
    assert "that database.redis.sentinels says" in await refusal_of(RedisCache(sentinels.access(), "p:"))
    cluster = Redis(cluster=RedisCluster(nodes=("127.0.0.1:1",))).cluster_access()
    assert "that database.redis.cluster.nodes says" in await refusal_of(RedisWindows(cluster, "p:"))
    postgres = Postgres(host="127.0.0.1", port=1)
    assert (
        "See that the database at 127.0.0.1:1 runs, that user 'root' may log in and that database.postgres says how"
        in (await refusal_of(PostgresCache(postgres)))
    )
    assert "that database.postgres says how to reach it" in await refusal_of(PostgresWindows(postgres))


async def test_what_a_newer_version_wrote_is_not_touched(redis: RedisProcess, unique: str) -> None:
    with redis.client() as client:
        client.set(f"{unique}:{{cache}}:format", "9")
    assert "set another cache.redis.prefix" in await refusal_of(RedisCache(redis.settings.access(), f"{unique}:"))


@pytest.mark.parametrize("kind", ["redis", "postgres"])
async def test_a_server_that_hangs_is_not_waited_for(kind: str, request: pytest.FixtureRequest, unique: str) -> None:
    server = request.getfixturevalue(kind)
    store: CacheStore = (
        RedisCache(server.settings.access(), f"{unique}:", timeout_ms=300)
        if kind == "redis"
        else PostgresCache(server.postgres, timeout_ms=300)
    )
    await store.start()
    with server.frozen():
        with pytest.raises(SockudoError, match=r"The cache.* does not answer"):
            await store.claim(KEY, b"m", "node:1", 30)
        with pytest.raises(SockudoError):
            await store.check()
    assert (await store.claim(KEY, b"m", "node:1", 30)).outcome == "claimed"
    await store.end(KEY, b"m", "node:1", None, 30)
    await store.close()


async def test_a_master_that_fails_is_followed(unique: str) -> None:
    with sentinel_set() as servers:
        cache = RedisCache(servers.access, f"{unique}:", timeout_ms=1000)
        await cache.start()
        await cache.claim(KEY, b"m", "node:1", 30)
        await cache.end(KEY, b"m", "node:1", b"reply", 600)
        assert say(servers.master, "WAIT", 1, 5000) == 1
        servers.master.kill()
        for _ in range(60):
            try:
                assert await cache.claim(KEY, b"m", "node:2", 30) == Claiming("done", b"reply")
                break
            except SockudoError:
                await asyncio.sleep(0.5)
        else:
            raise AssertionError("the replica was not found")
        await cache.close()


async def test_a_slot_that_moves_is_followed(redis_cluster: ClusterSet, unique: str) -> None:
    cache = RedisCache(redis_cluster.access, f"{unique}:")
    await cache.start()
    await cache.put(KEY, StoredEvent(b"event"), 600)
    slot = slot_of(f"{unique}:{{cache}}".encode())
    owner = redis_cluster.owner(slot)
    redis_cluster.move(slot, next(server for server in redis_cluster.servers if server is not owner))
    assert (await cache.get(KEY) or (b"", 0))[0] == b"event"
    await cache.close()


async def test_rows_that_are_over_are_deleted(postgres: DatabaseServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sockudo.drivers.shared.postgres._SWEEP_SECONDS", 0.0)
    store = PostgresCache(postgres.postgres)
    await store.start()
    await store.put(KEY, StoredEvent(b"event"), 0.05)
    await store.claim(OTHER, b"m", "node:1", 0.05)
    await asyncio.sleep(0.1)
    await store.get(KEY)
    await store.close()
    assert postgres.execute("SELECT count(*) FROM sockudo_cache_keys WHERE until < now()") == [(0,)]
    assert postgres.execute("SELECT count(*) FROM sockudo_cache_events WHERE until < now()") == [(0,)]


def test_scripts_are_part_of_the_package() -> None:
    assert set(lua_scripts("sockudo.drivers.shared")) == {"cache", "open", "windows"}
