"""What only a job queue in Redis has to do; what every queue does is in test_job_queue.py."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from msgspec import convert
from structlog.testing import capture_logs

from contract.places import NOW, a_job, drain, keys
from sockudo.config import Settings
from sockudo.config.sections.redis import Redis, RedisCluster
from sockudo.errors import SockudoError
from sockudo.jobs.ports import Job, JobQueue, ListedJobQueue
from sockudo.jobs.redis import RedisJobQueue
from sockudo.jobs.selection import job_queue
from sockudo.push.messages import PUSH_QUEUE, STAGES
from sockudo.storage.redis_slots import slot_of
from sockudo.webhooks.queue import WEBHOOK_QUEUE, delivery_job
from support.certificates import write_certificate
from support.ports import free_port
from support.redis import PASSWORD, RedisProcess, redis_server
from support.redis_sets import ClusterSet, say, sentinel_set
from support.waiting import wait_until
from unit.webhooks.parts import a_delivery

LATER = NOW + 30_000


@pytest.fixture
def prefix(unique: str) -> str:
    return f"{unique}:"


def queue_in(server: RedisProcess, prefix: str) -> RedisJobQueue:
    return RedisJobQueue(PUSH_QUEUE, server.settings.access(), prefix=prefix, timeout_ms=5000)


async def fill(queue: JobQueue) -> None:
    """Something in every state."""
    for stage in STAGES:
        await queue.put([a_job(f"{n}", stage, app=f"app{n % 2}") for n in range(6)], NOW)
        await queue.put([a_job("later", stage, due=LATER)], NOW)
        one, two, three = await queue.lease(stage, 3, NOW, LATER)
        await queue.release([one], NOW + 5)
        await queue.settle([two], [], NOW)
        await queue.extend([three], LATER + 5)


async def test_all_keys_are_in_one_hash_slot_of_a_cluster(prefix: str) -> None:
    with redis_server(cluster_enabled="yes", cluster_port=str(free_port())) as server:
        with server.client() as client:
            client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
            wait_until(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok", "the cluster")
        queue = queue_in(server, prefix)
        await queue.start()
        await fill(queue)
        await queue.depths(NOW)
        await queue.lease("publish_log", 5, NOW - 1000, LATER)
        await queue.close()
        found = server.keys(prefix)
        with server.client() as client:
            slots = {client.execute_command("CLUSTER KEYSLOT", key) for key in (*found, "push")}
    assert len(found) > 60
    assert len(slots) == 1


async def test_nothing_is_left_of_what_is_finished(redis: RedisProcess, prefix: str) -> None:
    queue = queue_in(redis, prefix)
    await queue.start()
    await fill(queue)
    for stage in STAGES:
        assert len(await drain(queue, stage, LATER + 100)) == 6
    await queue.close()
    base = f"{prefix}v2:{{push}}"
    assert redis.keys(prefix) == {f"{base}:format", f"{base}:sequence"}


async def test_a_server_that_is_full_takes_nothing_of_what_it_refuses_and_goes_on_with_the_rest(prefix: str) -> None:
    with redis_server(maxmemory="6mb", maxmemory_policy="noeviction") as server:
        queue = queue_in(server, prefix)
        await queue.start()
        pairs = [[a_job(f"{number}-{half}", body=b"x" * 40_000) for half in range(2)] for number in range(100)]
        told = [await asyncio.gather(queue.put(pair, NOW), return_exceptions=True) for pair in pairs]
        accepted = [
            message.key for pair, (problem,) in zip(pairs, told, strict=True) if problem is None for message in pair
        ]
        assert {str(problem) for (problem,) in told if problem is not None} == {
            f"The push queue does not answer: Redis at 127.0.0.1:{server.port} (its memory is full)"
        }
        assert (await queue.depths(NOW))["publish_log"].ready == len(accepted) > 10
        # What is there is taken and finished, which makes room, and what follows from it is kept.
        [lease] = await queue.lease("publish_log", 1, NOW, LATER)
        assert await queue.settle([lease], [a_job("result", "delivery_results")], NOW) == [True]
        assert await drain(queue) == accepted[1:]
        assert await drain(queue, "delivery_results") == ["result"]
        await queue.put([a_job("again")], NOW)
        await queue.close()


async def test_calls_that_come_together_are_one_script(redis: RedisProcess, prefix: str) -> None:
    queue = queue_in(redis, prefix)
    await queue.start()
    await queue.put([a_job("warm", "shard_jobs")], NOW)
    with redis.client() as client:
        before = client.info("commandstats")["cmdstat_evalsha"]["calls"]
        await asyncio.gather(*(queue.put([a_job(f"{n}")], NOW) for n in range(50)))
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] - before <= 2
    leases = await queue.lease("publish_log", 100, NOW, LATER)
    assert keys(leases) == [f"{n}" for n in range(50)]
    # Each hears of its own, and of a message that two finish one.
    done = await asyncio.gather(*(queue.settle([one, leases[0]], [], NOW) for one in leases[1:4]))
    assert sorted(done) == [[True, False], [True, False], [True, True]]
    await queue.close()


async def test_two_prefixes_are_two_queues(redis: RedisProcess, prefix: str) -> None:
    one, other = queue_in(redis, prefix), queue_in(redis, f"{prefix}other:")
    await one.start()
    await other.start()
    await one.put([a_job("one")], NOW)
    assert await other.next_due(STAGES) is None
    await one.close()
    await other.close()


async def test_a_queue_of_a_newer_version_is_left_alone(redis: RedisProcess, prefix: str) -> None:
    with redis.client() as client:
        client.set(f"{prefix}v2:{{push}}:format", 7)
    queue = queue_in(redis, prefix)
    with pytest.raises(SockudoError, match="The push queue was written by a newer version of sockudo: its format is 7"):
        await queue.start()
    with pytest.raises(SockudoError, match="The push queue is not open"):
        await queue.next_due(STAGES)


async def test_a_queue_goes_with_the_master_that_sentinels_name(prefix: str) -> None:
    with sentinel_set() as servers:
        queue = RedisJobQueue(PUSH_QUEUE, servers.access, prefix=prefix, timeout_ms=5000)
        await queue.start()
        await queue.put([a_job("before")], NOW)
        say(servers.master, "WAIT", 1, 5000)
        # The old master goes on as a replica: what is put in there has to go elsewhere.
        say(servers.sentinels[0], "SENTINEL", "FAILOVER", "harbor")
        wait_until(lambda: say(servers.master, "ROLE")[0] == "slave", "the fail-over")
        await put_in_the_end(queue, a_job("after"))
        assert await drain(queue) == ["before", "after"]
        servers.replica.kill()
        with pytest.raises(SockudoError, match="The push queue does not answer"):
            await queue.put([a_job("nowhere")], NOW)
        await queue.close()


async def put_in_the_end(queue: RedisJobQueue, job: Job) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await queue.put([job], NOW)
            except SockudoError:
                await asyncio.sleep(0.1)
            else:
                return


async def test_a_queue_goes_with_its_slot_in_a_cluster(redis_cluster: ClusterSet, prefix: str) -> None:
    queue = RedisJobQueue(PUSH_QUEUE, redis_cluster.access, prefix=prefix, timeout_ms=5000)
    await queue.start()
    await queue.put([a_job("before")], NOW)
    slot = slot_of(b"push")
    source = redis_cluster.owner(slot)
    target = next(server for server in redis_cluster.servers if server is not source)
    redis_cluster.move(slot, target)
    await queue.put([a_job("after")], NOW)
    assert await drain(queue) == ["before", "after"]
    assert not source.keys(prefix)
    assert target.keys(prefix)
    await queue.close()


async def test_a_cluster_or_sentinels_that_cannot_be_reached_are_named(prefix: str) -> None:
    nowhere = Redis(sentinels=("127.0.0.1:1",), cluster=RedisCluster(nodes=("127.0.0.1:2",)))
    for access, text in (
        (nowhere.access(), "database.redis.sentinels says how to reach it"),
        (nowhere.cluster_access(), "database.redis.cluster.nodes says how to reach it"),
    ):
        queue = RedisJobQueue(PUSH_QUEUE, access, prefix=prefix, timeout_ms=5000)
        with pytest.raises(SockudoError) as caught:
            await queue.start()
        assert "connection refused" in caught.value.text
        assert text in caught.value.text


async def test_a_wrong_password_is_told_and_not_shown(redis: RedisProcess, prefix: str) -> None:
    server = Redis(port=redis.port, password="wrong-secret")
    queue = RedisJobQueue(PUSH_QUEUE, server.access(), prefix=prefix, timeout_ms=5000)
    with pytest.raises(SockudoError) as caught:
        await queue.start()
    assert caught.value.text == (
        f"The push queue does not answer: Redis at 127.0.0.1:{redis.port} (it does not accept the configured user or "
        "password). Correct database.redis.username and database.redis.password, or the user and the password in "
        "queue.redis.url_override."
    )
    assert "wrong-secret" not in repr((caught.value, server))


async def test_a_server_that_may_lose_what_was_accepted_is_told_of(prefix: str) -> None:
    with redis_server(appendonly="no", maxmemory="100mb", maxmemory_policy="allkeys-lru") as server:
        queue = queue_in(server, prefix)
        with capture_logs() as lines:
            await queue.start()
        await queue.close()
    assert [(line["log_level"], line["event"].partition(":")[0]) for line in lines] == [
        ("warning", "Redis keeps no append-only file"),
        ("warning", "Redis may drop notifications to free memory"),
    ]


async def test_a_server_that_keeps_everything_needs_no_words(redis: RedisProcess, prefix: str) -> None:
    queue = queue_in(redis, prefix)
    with capture_logs() as lines:
        await queue.start()
    await queue.close()
    assert lines == []


# ---- addresses, as the settings give them ----


def configured_queue(prefix: str, redis: dict[str, Any], url: str | None = None) -> ListedJobQueue:
    """The webhook queue of these settings of ``database.redis`` and ``queue.redis.url_override``."""
    queue = {"driver": "redis", "redis": {"prefix": prefix, "url_override": url}}
    return job_queue(WEBHOOK_QUEUE, "redis", convert({"database": {"redis": redis}, "queue": queue}, Settings), "")


async def keep_one(queue: ListedJobQueue) -> None:
    """Has it hold one delivery."""
    await queue.start()
    await queue.put([delivery_job(a_delivery("one"), ())], NOW)
    await queue.close()


@pytest.mark.parametrize("database", [0, 3])
async def test_the_settings_say_where_the_server_is(database: int, redis: RedisProcess, prefix: str) -> None:
    where = {"host": "127.0.0.1", "port": redis.port, "db": database, "username": "default", "password": PASSWORD}
    await keep_one(configured_queue(prefix, where))
    with redis.client() as client:
        client.select(database)
        assert client.exists(f"{prefix}v2:{{webhook}}:format")
        client.select(3 - database)
        assert not client.exists(f"{prefix}v2:{{webhook}}:format")


@pytest.mark.parametrize(
    "form", ["redis://:{password}@127.0.0.1:{port}", "redis://default:{password}@127.0.0.1:{port}/3"]
)
async def test_an_address_takes_the_place_of_all_of_them(form: str, redis: RedisProcess, prefix: str) -> None:
    url = form.format(password=quote(PASSWORD, safe=""), port=redis.port)
    elsewhere = {"host": "nowhere.invalid", "port": 1, "db": 5, "username": "nobody", "password": "other"}
    await keep_one(configured_queue(prefix, elsewhere, url))
    with redis.client() as client:
        client.select(3 if url.endswith("/3") else 0)
        assert client.exists(f"{prefix}v2:{{webhook}}:format")


async def test_an_address_with_a_wrong_password_is_told_and_not_shown(redis: RedisProcess, prefix: str) -> None:
    queue = configured_queue(prefix, {}, f"redis://:wrong-secret@127.0.0.1:{redis.port}")
    with pytest.raises(SockudoError, match="it does not accept the configured user") as caught:
        await queue.start()
    assert caught.value.text.startswith("The webhook queue does not answer: Redis at 127.0.0.1:")
    assert "wrong-secret" not in repr(caught.value)


async def test_tls_checks_who_answers(tmp_path: Path, prefix: str) -> None:
    certificate, key = write_certificate(tmp_path)
    with redis_server(tls=(certificate, key)) as server:
        where = {"host": "127.0.0.1", "port": server.port, "password": PASSWORD}
        url = f"rediss://:{quote(PASSWORD, safe='')}@127.0.0.1:{server.port}"
        private = {"ca_path": str(certificate)}
        await keep_one(configured_queue(prefix, {**where, "master_tls": {**private, "enabled": True}}))
        for tls in (private, {"accept_invalid_certs": True}):
            queue = configured_queue(prefix, {"master_tls": tls}, url)
            await queue.start()
            [found] = await queue.find(["one"])
            assert found is not None
            await queue.close()
        with pytest.raises(SockudoError, match="its certificate is not trusted: self-signed certificate"):
            await configured_queue(prefix, {}, url).start()


async def test_a_server_that_is_not_there_is_told(prefix: str) -> None:
    with redis_server() as server:
        queue = queue_in(server, prefix)
    with pytest.raises(SockudoError, match=r"^The push queue does not answer: Redis at .* \(connection refused\)"):
        await queue.start()
    await queue.close()
