"""Servers that keep idempotency keys, last events and hits outside of themselves, through their front doors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import structs

from sockudo import errors
from sockudo.client.failures import ApiError
from support.databases import postgres_server
from support.joined import FEATURES, Pair, pair_of
from support.redis import PASSWORD, RedisProcess, redis_server
from support.redis_sets import cluster_set, sentinel_set
from support.waiting import until

APPS = {"array": {"apps": [{"id": "app", "key": "key", "secret": "secret", "policy": {"features": FEATURES}}]}}
APPS["array"]["apps"][0]["enabled"] = True
Json = dict[str, Any]


def over(driver: str, database: Json, **more: Json) -> Json:
    """A server without a store of its own."""
    limiter = {"driver": driver, "failed_auth": {"max_requests": 6, "window_seconds": 3600}}
    return {
        "app_manager": APPS,
        "history": {"enabled": False},
        "database": database,
        "cache": {"driver": driver},
        "rate_limiter": {"enabled": True, **limiter, **more.pop("rate_limiter", {})},
        **more,
    }


def redis_place(server: RedisProcess) -> Json:
    return {"redis": {"host": "127.0.0.1", "port": server.port, "password": PASSWORD}}


@pytest.fixture(params=["redis", "sentinels", "cluster", "postgres"])
def place(request: pytest.FixtureRequest) -> Iterator[Json]:
    with ExitStack() as stack:
        match request.param:
            case "redis":
                yield over("redis", redis_place(stack.enter_context(redis_server())))
            case "sentinels":
                access = stack.enter_context(sentinel_set()).access
                sentinels = [each.place for each in access.sentinels]
                of_them = {"sentinels": sentinels, "name": access.master, "sentinel_password": "of the sentinels"}
                yield over("redis", {"redis": {"password": PASSWORD, **of_them}})
            case "cluster":
                seeds = [f"127.0.0.1:{each.port}" for each in stack.enter_context(cluster_set()).servers]
                yield over("redis-cluster", {"redis": {"password": PASSWORD, "cluster": {"nodes": seeds}}})
            case _:
                server = stack.enter_context(postgres_server())
                yield over("postgres", {"postgres": structs.asdict(server.postgres)})


async def wrong(pair: Pair, server: int) -> int:
    """The status of a request with a wrong signature."""
    path = "/apps/app/channels?auth_key=key&auth_timestamp=1&auth_version=1.0&auth_signature=00"
    return (await pair.get(server, path)).status_code


async def test_all_of_it_outlives_every_server(tmp_path: Path, place: Json) -> None:
    async with pair_of(tmp_path, place, shared=False, joined="in-process", servers=1) as pair:
        await pair.backends[0].publish("news", "tide", {"n": 1}, idempotency_key="k")
        await pair.backends[0].publish("cache-news", "tide", {"n": 2})
        assert [await wrong(pair, 0) for _ in range(7)] == [401] * 6 + [429]
        assert (await pair.get(0, "/up")).text == "OK"
    async with pair_of(tmp_path, place, shared=False, joined="in-process", servers=1) as pair:
        with pytest.raises(ApiError) as refused:
            await pair.backends[0].publish("news", "tide", {"n": 9}, idempotency_key="k")
        assert refused.value.status == 409
        state = await pair.backends[0].channel("cache-news", info=("cache",))
        assert '"n":2' in state["cache"]["data"].replace("\\", "").replace(" ", "")
        client = await pair.client(0)
        await client.subscribe("cache-news")
        await client.expect("tide", channel="cache-news", data={"n": 2})
        assert await wrong(pair, 0) == 401
        await until(lambda: not _exchanging(pair, 0), "the hits to be added up")
        assert await wrong(pair, 0) == 429


async def test_joined_servers_have_one_of_each(tmp_path: Path, place: Json) -> None:
    async with pair_of(tmp_path, place, shared=False, joined="carrier") as pair:
        client = await pair.client(0)
        await client.subscribe("news")
        for number in range(4):
            for server in (number % 2, 1 - number % 2):
                await pair.backends[server].publish("news", "tide", {"n": number}, idempotency_key=f"k{number}")
        for number in range(6):
            await pair.backends[number % 2].publish("cache-news", "tide", {"n": number})
        for server in (0, 1):
            fresh = await pair.client(server)
            await fresh.subscribe("cache-news")
            await fresh.expect("tide", channel="cache-news", data={"n": 5})
        assert [event.data["n"] for event in client.events if event.event == "tide"] == [0, 1, 2, 3]
        for server in (0, 1, 0, 1, 0, 1):
            assert await wrong(pair, server) == 401
        for server in (0, 1):
            await until(lambda server=server: not _exchanging(pair, server), "the hits to be added up")
        # The totals are known with the next exchange of each.
        await wrong(pair, 0)
        await until(lambda: not _exchanging(pair, 0), "the hits to be added up")
        assert await wrong(pair, 0) == 429


def _exchanging(pair: Pair, server: int) -> bool:
    windows = pair.servers[server].services.counters._windows
    return windows._timer is not None or bool(windows._exchanging)


@pytest.mark.parametrize(
    ("mode", "allowed", "statuses"),
    [("refuse", "local", {401, 429}), ("allow", "open", {401}), ("refuse", "closed", {429})],
)
async def test_an_outage_is_never_an_error(tmp_path: Path, mode: str, allowed: str, statuses: set[int]) -> None:
    with redis_server() as redis:
        limiter = {"on_failure": allowed}
        settings = over("redis", redis_place(redis), rate_limiter=limiter, idempotency={"on_failure": mode})
        async with pair_of(tmp_path, settings, shared=False, joined="in-process", servers=1) as pair:
            backend = pair.backends[0]
            client = await pair.client(0)
            await client.subscribe("news")
            newcomer = await pair.client(0)
            await wrong(pair, 0)
            await asyncio.to_thread(redis.kill)
            await wrong(pair, 0)
            await until(lambda: pair.servers[0].services.owned.hits_unanswered > 0, "the limits to notice")
            assert {await wrong(pair, 0) for _ in range(12)} == statuses
            if mode == "allow":
                await backend.publish("news", "tide", {"n": 1}, idempotency_key="k")
            else:
                with pytest.raises(ApiError) as refused:
                    await backend.publish("news", "tide", {"n": 0}, idempotency_key="k")
                assert refused.value.status == errors.SERVICE_UNAVAILABLE.status
                assert str(redis.port) not in str(refused.value)
                await backend.publish("news", "tide", {"n": 1})
            await client.expect("tide", data={"n": 1})
            up = await pair.get(0, "/up")
            assert (up.status_code, up.text) == (200, "DEGRADED")
            # What was published on a cache channel meanwhile is written when the store is back.
            await backend.publish("cache-news", "tide", {"n": 2})
            await newcomer.subscribe("cache-news")
            await newcomer.expect("tide", channel="cache-news", data={"n": 2})
            await asyncio.to_thread(redis.start)
            caches = pair.servers[0].services._caches
            await until(lambda: not caches._stored._waiting, "the event to be written")
            await backend.publish("news", "tide", {"n": 3}, idempotency_key="k3")
            assert (await pair.get(0, "/up")).text == "OK"
        async with pair_of(tmp_path, settings, shared=False, joined="in-process", servers=1) as pair:
            state = await pair.backends[0].channel("cache-news", info=("cache",))
            assert '"n":2' in state["cache"]["data"].replace("\\", "").replace(" ", "")


async def test_metrics_say_what_was_not_answered(tmp_path: Path) -> None:
    with redis_server() as redis:
        settings = over("redis", redis_place(redis)) | {"metrics": {"enabled": True, "host": "127.0.0.1", "port": 0}}
        async with pair_of(tmp_path, settings, shared=False, joined="in-process", servers=1) as pair:
            await asyncio.to_thread(redis.kill)
            with pytest.raises(ApiError):
                await pair.backends[0].publish("news", "tide", {"n": 0}, idempotency_key="k")
            async with httpx.AsyncClient() as http:
                scraped = await http.get(f"http://127.0.0.1:{pair.servers[0].metrics_port}/metrics")
    counted = [line for line in scraped.text.splitlines() if line.startswith("sockudo_node_keys_unanswered_total")]
    assert [line.rpartition(" ")[2] for line in counted] == ["1.0"]
