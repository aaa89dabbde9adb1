"""What only the webhook queue in Redis has to do; what every queue does is in test_webhook_queue.py."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from sockudo.config.sections import Redis, RedisTls
from sockudo.errors import SockudoError
from sockudo.webhooks.ports import Claim, Outcome, WebhookQueue
from sockudo.webhooks.queues import MemoryWebhookQueue
from sockudo.webhooks.queues.redis import RedisWebhookQueue
from sockudo.webhooks.records import Attempt, Delivery
from support.certificates import write_certificate
from support.forked import ForkedProcess
from support.ports import free_port
from support.redis import PASSWORD, RedisProcess, redis_server
from support.waiting import wait_until

WORKER = Path(__file__).parent.parent / "support" / "redis_worker.py"
SECONDS = 20.0


def delivery(name: str, *, app: str = "app", endpoint: str = "ep", lane: int = 0, at: int = 0) -> Delivery:
    body = f'{{"name":"{name}"}}'.encode() + b"\x00\xff"
    return Delivery(name, app, endpoint, lane, body, 1, at, at, trace=(("traceparent", f"00-{name}"),))


@pytest.fixture
def prefix(unique: str) -> str:
    return f"{unique}:"


@pytest.fixture
async def queue(redis: RedisProcess, prefix: str) -> AsyncIterator[RedisWebhookQueue]:
    queue = redis.queue(prefix)
    await queue.start()
    yield queue
    await queue.close()


@pytest.fixture
def own() -> Iterator[RedisProcess]:
    """A server that the test may end."""
    with redis_server() as server:
        yield server


# ---- the same as the queue in memory, whatever is done ----


class Pair:
    """Does the same to both and compares what they say; tokens differ, so claims are held in pairs."""

    def __init__(self, seed: int, one: WebhookQueue, other: WebhookQueue) -> None:
        self.random = random.Random(seed)
        self.one, self.other = one, other
        self.now = 1_700_000_000_000
        self.made = 0
        self.claims: list[tuple[Claim, Claim]] = []

    def some_endpoint(self) -> tuple[str, str]:
        return self.random.choice(["a", 'b",["', "ü:"]), self.random.choice(["x", "y]"])

    async def append(self) -> None:
        new = []
        for _ in range(self.random.randint(1, 4)):
            self.made += self.random.random() < 0.9
            app, endpoint = self.some_endpoint()
            due = self.now + self.random.randint(-50, 50)
            new.append(delivery(f"d{self.made}", app=app, endpoint=endpoint, lane=self.random.randint(0, 1), at=due))
        for queue in (self.one, self.other):
            await queue.append(new)

    async def claim(self) -> None:
        limit, until = self.random.randint(0, 3), self.now + self.random.choice([5, 500])
        besides = {self.some_endpoint() for _ in range(self.random.randint(0, 2))}
        ones = await self.one.claim(self.now, until, limit, besides=besides)
        others = await self.other.claim(self.now, until, limit, besides=besides)
        assert [claim.delivery for claim in ones] == [claim.delivery for claim in others]
        self.claims.extend(zip(ones, others, strict=True))

    def some_claims(self) -> list[tuple[Claim, Claim]]:
        return self.random.sample(self.claims, min(len(self.claims), self.random.randint(1, 3)))

    async def renew(self) -> None:
        some, until = self.some_claims(), self.now + self.random.randint(0, 300)
        await self.one.renew([claim for claim, _ in some], until)
        await self.other.renew([claim for _, claim in some], until)

    async def settle(self) -> None:
        some = self.some_claims()
        outcomes = []
        for number in range(len(some)):
            state = self.random.choice(["waiting", "delivered", "dead"])
            attempt = Attempt(number, self.now, 7, self.random.choice([None, 500]), "é", "text")
            reason = "refused" if state == "dead" else None
            due = self.now + self.random.randint(-20, 100)
            outcomes.append(Outcome(state, self.random.choice([None, attempt]), due, reason))  # type: ignore[arg-type]
        ones = [(claim, outcome) for (claim, _), outcome in zip(some, outcomes, strict=True)]
        others = [(claim, outcome) for (_, claim), outcome in zip(some, outcomes, strict=True)]
        assert await self.one.settle(ones, self.now) == await self.other.settle(others, self.now)

    async def replay(self) -> None:
        app, endpoint = self.some_endpoint()
        ids = [f"d{self.random.randint(0, self.made + 1)}" for _ in range(self.random.randint(0, 4))]
        which: list[dict[str, Any]] = [{"ids": ids}, {"ids": ids}, {"endpoint": endpoint}, {}]
        how = self.random.choice(which)
        assert await self.one.replay(app, self.now, **how) == await self.other.replay(app, self.now, **how)

    async def expire(self) -> None:
        what = (*self.some_endpoint(), self.now - 40, self.now, "too late")
        assert await self.one.expire(*what) == await self.other.expire(*what)

    async def trim(self) -> None:
        # Lanes that expire in one call do so in any order, so which dead ones are the oldest may differ.
        keep = self.random.randint(0, 10), 1000
        assert await self.one.trim(*keep) == await self.other.trim(*keep)

    async def step(self) -> None:
        steps: list[Any] = [self.append, self.claim, self.renew, self.settle, self.replay, self.expire, self.trim]
        await self.random.choices(steps, [5, 6, 1, 6, 1, 1, 0.5])[0]()
        self.now += self.random.choice([0, 1, 10])

    async def look(self) -> None:
        besides = {self.some_endpoint()}
        assert await self.one.next_due() == await self.other.next_due()
        assert await self.one.next_due(besides=besides) == await self.other.next_due(besides=besides)
        assert await self.one.counts() == await self.other.counts()
        app, endpoint = self.some_endpoint()
        how: dict[str, Any] = {
            "endpoint": self.random.choice([None, endpoint]),
            "state": self.random.choice([None, "waiting", "delivered", "dead"]),
            "before": self.random.choice([None, self.made // 2]),
            "limit": self.random.choice([1, 50]),
        }
        assert await self.one.page(app, **how) == await self.other.page(app, **how)
        which = f"d{self.random.randint(0, self.made + 1)}"
        assert await self.one.get(app, which) == await self.other.get(app, which)


@pytest.mark.parametrize("seed", range(int(os.environ.get("SOCKUDO_EXAMPLES", "6"))))
async def test_it_does_what_the_queue_in_memory_does(
    seed: int, queue: RedisWebhookQueue, redis: RedisProcess, prefix: str
) -> None:
    memory = MemoryWebhookQueue()
    pair = Pair(seed, memory, queue)
    for _ in range(150):
        await pair.step()
        await pair.look()
    pair.now += 10_000
    while pair.claims:
        await pair.look()
        pair.claims = []
        await pair.claim()
    assert pair.made > 50
    await drain(queue, pair.now + 10_000)
    while await queue.trim(0, 0):
        pass
    base = f"{prefix}v2:{{webhooks}}"
    assert redis.keys(prefix) == {f"{base}:format", f"{base}:sequence", f"{base}:settled-sequence"}


async def drain(queue: WebhookQueue, now: int) -> list[str]:
    """Delivers everything that is due; ids in that order."""
    order = []
    while claims := await queue.claim(now, now + 1, 100):
        order += [claim.delivery.id for claim in claims]
        await queue.settle([(claim, Outcome("delivered", None)) for claim in claims], now)
    return order


# ---- names, formats, addresses ----


async def test_all_keys_are_in_one_hash_slot_of_a_cluster(prefix: str) -> None:
    with redis_server(cluster_enabled="yes", cluster_port=str(free_port())) as server:
        with server.client() as client:
            client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
            wait_until(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok", "the cluster")
        queue = server.queue(prefix)
        await queue.start()
        memory = MemoryWebhookQueue()
        pair = Pair(99, memory, queue)
        for _ in range(100):
            await pair.step()
            await pair.look()
        await queue.close()
        keys = server.keys(prefix)
        with server.client() as client:
            slots = {client.execute_command("CLUSTER KEYSLOT", key) for key in (*keys, "webhooks")}
    assert len(keys) > 30
    assert len(slots) == 1


async def test_a_server_that_is_full_takes_nothing_of_what_it_refuses(prefix: str) -> None:
    with redis_server(maxmemory="4mb", maxmemory_policy="noeviction") as server:
        queue = server.queue(prefix)
        await queue.start()
        told = [await asyncio.gather(queue.append(big(number)), return_exceptions=True) for number in range(60)]
        refused = [problem.text for (problem,) in told if isinstance(problem, SockudoError)]
        accepted = 2 * (len(told) - len(refused))
        assert accepted > 0
        assert set(refused) == {
            f"The webhook queue does not answer: Redis at 127.0.0.1:{server.port} (its memory is full)"
        }
        assert (await queue.counts())["app", "ep"].waiting == accepted
        # What frees memory goes on.
        with server.client() as client:
            client.config_set("maxmemory", "0")
        assert len(await drain(queue, 10)) == accepted
        await queue.close()


def big(number: int) -> list[Delivery]:
    both = [delivery(f"{number}-{half}") for half in range(2)]
    for each in both:
        each.body = b"x" * 50_000
    return both


async def test_a_server_that_may_lose_what_was_accepted_is_told_of(prefix: str) -> None:
    with redis_server(appendonly="no", maxmemory="100mb", maxmemory_policy="allkeys-lru") as server:
        queue = server.queue(prefix)
        with capture_logs() as lines:
            await queue.start()
        await queue.close()
    assert [(line["log_level"], line["event"].partition(":")[0]) for line in lines] == [
        ("warning", "Redis keeps no append-only file"),
        ("warning", "Redis may drop webhooks to free memory"),
    ]


async def test_a_server_that_keeps_everything_needs_no_words(redis: RedisProcess, prefix: str) -> None:
    queue = redis.queue(prefix)
    with capture_logs() as lines:
        await queue.start()
    await queue.close()
    assert lines == []


async def test_two_prefixes_are_two_queues(redis: RedisProcess, queue: RedisWebhookQueue, prefix: str) -> None:
    other = redis.queue(f"{prefix}other:")
    await other.start()
    await queue.append([delivery("one")])
    assert await other.next_due() is None
    assert await other.get("app", "one") is None
    await other.close()


async def test_a_queue_of_a_newer_version_is_left_alone(redis: RedisProcess, prefix: str) -> None:
    with redis.client() as client:
        client.set(f"{prefix}v2:{{webhooks}}:format", 7)
    queue = redis.queue(prefix)
    with pytest.raises(SockudoError, match="format is 7, this version knows 1"):
        await queue.start()
    with pytest.raises(SockudoError, match="not open"):
        await queue.next_due()


@pytest.mark.parametrize(
    "form", ["redis://:{password}@127.0.0.1:{port}", "redis://default:{password}@127.0.0.1:{port}/3"]
)
async def test_an_address_stands_for_everything(form: str, redis: RedisProcess, prefix: str) -> None:
    url = form.format(password="p%40ss%2Fw%3Ard%20%2541", port=redis.port)
    queue = RedisWebhookQueue(Redis(host="nowhere.invalid").server(url), RedisTls(), prefix=prefix, timeout_ms=5000)
    await queue.start()
    await queue.append([delivery("one")])
    await queue.close()
    with redis.client() as client:
        client.select(3 if url.endswith("/3") else 0)
        assert client.exists(f"{prefix}v2:{{webhooks}}:delivery:one")


async def test_a_wrong_password_is_told_and_not_shown(redis: RedisProcess, prefix: str) -> None:
    server = Redis(port=redis.port, password="wrong-secret").server()
    queue = RedisWebhookQueue(server, RedisTls(), prefix=prefix, timeout_ms=5000)
    with pytest.raises(SockudoError) as caught:
        await queue.start()
    assert caught.value.text == (
        f"The webhook queue does not answer: Redis at 127.0.0.1:{redis.port} (it does not accept the configured "
        "user or password). Correct database.redis.username and database.redis.password, or the user and the password "
        "in queue.redis.url_override."
    )
    assert "wrong-secret" not in repr((caught.value, server, Redis(password="wrong-secret")))


async def test_tls_checks_who_answers(tmp_path: Path, prefix: str) -> None:
    certificate, key = write_certificate(tmp_path)
    with redis_server(tls=(certificate, key)) as server:
        address = Redis(
            host="127.0.0.1", port=server.port, password=PASSWORD, master_tls=RedisTls(enabled=True)
        ).server()
        trusting = RedisWebhookQueue(address, RedisTls(ca_path=str(certificate)), prefix=prefix, timeout_ms=5000)
        await trusting.start()
        await trusting.append([delivery("one")])
        await trusting.close()
        careless = RedisWebhookQueue(address, RedisTls(accept_invalid_certs=True), prefix=prefix, timeout_ms=5000)
        await careless.start()
        assert await careless.get("app", "one") is not None
        await careless.close()
        with pytest.raises(SockudoError, match="its certificate is not trusted: self-signed certificate"):
            await RedisWebhookQueue(address, RedisTls(), prefix=prefix, timeout_ms=5000).start()


# ---- several processes ----


def worker(server: RedisProcess, prefix: str, *how: str) -> ForkedProcess:
    """A process of its own that claims and settles, or holds on to what it has."""
    return ForkedProcess([str(server.port), prefix, *how], program=WORKER, stdout=subprocess.PIPE)


async def test_two_processes_share_the_work(queue: RedisWebhookQueue, redis: RedisProcess, prefix: str) -> None:
    lanes, each = 8, 40
    wanted = [delivery(f"{lane}-{number}", lane=lane) for number in range(each) for lane in range(lanes)]
    await queue.append(wanted)
    with worker(redis, prefix, "work") as one, worker(redis, prefix, "work") as other:
        done = [(await asyncio.to_thread(each.rest, SECONDS)).split() for each in (one, other)]
        assert (one.returncode, other.returncode) == (0, 0)
    assert sorted(done[0] + done[1]) == sorted(each.id for each in wanted)
    counts = await queue.counts()
    assert counts["app", "ep"].delivered == lanes * each
    # In each lane one after the other, whoever did it.
    settled = sorted(await queue.page("app", limit=1000), key=lambda one: one.sequence)
    for lane in range(lanes):
        times = [one.settled_at_ms for one in settled if one.lane == lane]
        assert times == sorted(times)  # type: ignore[type-var]


async def test_what_a_killed_process_held_is_taken_over(
    queue: RedisWebhookQueue, redis: RedisProcess, prefix: str
) -> None:
    await queue.append([delivery(f"{lane}-{number}", lane=lane) for number in range(2) for lane in range(3)])
    with worker(redis, prefix, "hold", "1500") as holding:
        assert holding.stdout is not None
        async with asyncio.timeout(SECONDS):
            held = (await asyncio.to_thread(holding.stdout.readline)).split()
    assert sorted(held) == ["0-0", "1-0", "2-0"]
    lease_until = await queue.next_due()
    assert lease_until is not None
    assert await queue.claim(lease_until - 1, lease_until + 500, 10) == []
    taken: list[Claim] = []
    deadline = time.monotonic() + SECONDS
    while not taken and time.monotonic() < deadline:
        now = int(time.time() * 1000)
        taken = await queue.claim(now, now + 60_000, 10)
        await asyncio.sleep(0.02)
    assert time.time() * 1000 >= lease_until
    assert [claim.delivery.id for claim in taken] == ["0-0", "1-0", "2-0"]
    assert await queue.settle([(claim, Outcome("delivered", None)) for claim in taken], now) == [True] * 3
    assert await drain(queue, now) == ["0-1", "1-1", "2-1"]


# ---- a server that goes away ----


async def test_what_was_accepted_survives_the_server(own: RedisProcess, prefix: str) -> None:
    queue = own.queue(prefix, timeout_ms=2000)
    await queue.start()
    await queue.append([delivery("one"), delivery("two"), delivery("three", lane=1)])
    claims = await queue.claim(10, 20, 10)
    await queue.settle([(claims[0], Outcome("waiting", Attempt(1, 10, 5, 500), due_at_ms=15))], 11)
    before = await queue.page("app")
    own.kill()
    with pytest.raises(SockudoError, match=r"does not answer: Redis at 127\.0\.0\.1:\d+ \([\w ]+\)"):
        await queue.append([delivery("lost")])
    own.start()
    assert await queue.page("app") == before
    assert await queue.settle([(claims[1], Outcome("delivered", None))], 12) == [True]
    await queue.append([delivery("four", lane=1)])
    assert await drain(queue, 30) == ["four", "one", "two"]
    assert (found := await queue.get("app", "one")) is not None
    assert [attempt.status for attempt in found[1]] == [500]
    await queue.close()


async def test_a_server_that_says_nothing_is_waited_for_no_longer_than_set(own: RedisProcess, prefix: str) -> None:
    queue = own.queue(prefix, timeout_ms=300)
    await queue.start()
    await queue.append([delivery("before")])
    with own.frozen():
        began = time.monotonic()
        calls = [queue.claim(1, 2, 1), queue.next_due(), *(queue.append([delivery("during")]) for _ in range(20))]
        told = await asyncio.gather(*calls, return_exceptions=True)
        assert time.monotonic() - began < 3
        texts = {problem.text for problem in told if isinstance(problem, SockudoError)}
        assert texts == {
            f"The webhook queue does not answer: nothing came from Redis at 127.0.0.1:{own.port} within 300 ms"
        }
        assert len(told) == sum(isinstance(problem, SockudoError) for problem in told)
    # Whether it was carried out is not known, so it is done again, and done once.
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                await queue.append([delivery("during"), delivery("after")])
                break
            except SockudoError:
                continue
    assert [one.id for one in await queue.page("app")] == ["after", "during", "before"]
    assert await drain(queue, 10) == ["before", "during", "after"]
    await queue.close()


async def test_a_server_that_is_not_there_is_told(prefix: str) -> None:
    with redis_server() as server:
        queue = server.queue(prefix, timeout_ms=1000)
    with pytest.raises(SockudoError, match=r"\(connection refused\)"):
        await queue.start()
    await queue.close()
    with pytest.raises(SockudoError, match="not open"):
        await queue.counts()
    await queue.close()
