"""Deliveries channel by channel: order, retries, giving up, endpoints that fail, and a queue that fails."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import itertools
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import structlog

from sockudo.inspector import Inspector
from sockudo.webhooks.deliverer import Deliverer, DeliveryOptions
from sockudo.webhooks.endpoints import Retry
from sockudo.webhooks.records import Answer, Attempt, Counts, Delivery, Outcome
from support.virtual_time import START, LoopClock, in_virtual_time
from unit.webhooks.parts import FailingQueue, Reaction, ScriptedSender, a_delivery, endpoints_of, resolver

CLOCK = LoopClock()


class Delivering:
    """A deliverer with endpoints by the last letter of their URL, in their order."""

    def __init__(
        self,
        *urls: str,
        options: DeliveryOptions | None = None,
        queue: FailingQueue | None = None,
        retry: Retry | None = None,
        **entry: Any,
    ) -> None:
        self.queue = queue or FailingQueue()
        self.sender = ScriptedSender()
        self.urls = urls or ("http://hooks.test/a",)
        made = endpoints_of(*({"url": url, **entry} for url in self.urls), retry=retry)
        self.endpoints = {endpoint.url[-1]: endpoint for endpoint in made.endpoints}
        self.deliverer = Deliverer(
            self.queue,
            self.sender,
            resolver(*made.endpoints),
            CLOCK.monotonic,
            CLOCK.time,
            options or DeliveryOptions(),
            Inspector(CLOCK.time),
        )

    async def append(self, *names: str, to: str = "a", **fields: Any) -> None:
        endpoint = self.endpoints[to].id if to in self.endpoints else to
        now_ms = CLOCK.ms()
        about = {"endpoint": endpoint, "created_at_ms": now_ms, "due_at_ms": now_ms, **fields}
        await self.queue.append([a_delivery(name, **about) for name in names])
        self.deliverer.wake()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self.deliverer.run()), asyncio.create_task(self.deliverer.keep_house())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.deliverer.drain()

    async def get(self, name: str) -> tuple[Delivery, list[Attempt]]:
        found = await self.queue.get("app", name)
        assert found is not None
        return found

    async def states(self) -> dict[str, tuple[str, str | None]]:
        return {each.id: (each.state, each.reason) for each in await self.queue.page("app", limit=1000)}


def statuses(*codes: int, after: float = 0.0) -> Reaction:
    """These one after the other for each delivery, the last one for ever."""
    seen: dict[str, int] = {}

    async def react(name: str, _: int) -> Answer:
        number = seen[name] = seen.get(name, -1) + 1
        if after:
            await asyncio.sleep(after)
        return Answer(codes[min(number, len(codes) - 1)], took_ms=int(after * 1000))

    return react


def problem(word: str) -> Reaction:
    async def react(name: str, _: int) -> Answer:
        return Answer(None, word)

    return react


# ---- the request ----


@in_virtual_time
async def test_a_request_is_signed_and_numbered() -> None:
    delivering = Delivering(headers={"X-Own": "own"}, request_timeout_ms=1500)
    async with delivering.running():
        await delivering.append("body")
        await delivering.deliverer.idle()
    [sent] = delivering.sender.sent
    assert sent.target.headers == (
        ("Content-Type", "application/json"),
        ("X-Pusher-Key", "the-key"),
        ("X-Pusher-Signature", hmac.digest(b"the-secret", b"body", "sha256").hex()),
        ("X-Sockudo-Delivery", "body"),
        ("X-Sockudo-Attempt", "1"),
        ("X-Own", "own"),
    )
    assert (sent.target.url, sent.target.timeout, sent.body) == ("http://hooks.test/a", 1.5, b"body")


@in_virtual_time
async def test_what_caused_it_is_passed_on() -> None:
    delivering = Delivering()
    async with delivering.running():
        await delivering.append("one", trace=(("traceparent", "00-aa-bb-01"),))
        await delivering.deliverer.idle()
    assert delivering.sender.sent[0].headers["traceparent"] == "00-aa-bb-01"


@in_virtual_time
async def test_every_attempt_has_the_same_id_and_bytes_and_its_own_number() -> None:
    delivering = Delivering()
    delivering.sender.behaviour = statuses(503, 500, 200)
    async with delivering.running():
        await delivering.append("one")
        await asyncio.sleep(10)
    headers = [each.headers for each in delivering.sender.sent]
    assert [each["X-Sockudo-Attempt"] for each in headers] == ["1", "2", "3"]
    assert {each["X-Sockudo-Delivery"] for each in headers} == {"one"}
    assert len({(each.body, each.headers["X-Pusher-Signature"]) for each in delivering.sender.sent}) == 1


# ---- outcomes ----


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_taken(status: int) -> None:
    @in_virtual_time
    async def run() -> None:
        delivering = Delivering()
        delivering.sender.behaviour = statuses(status)
        async with delivering.running():
            await delivering.append("one")
            await asyncio.sleep(400)
        delivery, attempts = await delivering.get("one")
        assert (delivery.state, delivery.reason, delivery.attempts) == ("delivered", None, 1)
        assert attempts == [Attempt(1, int(START * 1000), 0, status)]

    run()


@pytest.mark.parametrize("status", [300, 301, 302, 307, 308, 400, 401, 403, 404, 405, 410, 422, 101])
def test_refused_for_good(status: int) -> None:
    @in_virtual_time
    async def run() -> None:
        delivering = Delivering()
        delivering.sender.behaviour = statuses(status)
        async with delivering.running():
            await delivering.append("one", "two")
            await asyncio.sleep(400)
        assert await delivering.states() == {"one": ("dead", "refused"), "two": ("dead", "refused")}
        assert delivering.sender.bodies() == ["one", "two"]

    run()


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 599])
def test_tried_again(status: int) -> None:
    @in_virtual_time
    async def run() -> None:
        delivering = Delivering()
        delivering.sender.behaviour = statuses(status, 200)
        async with delivering.running():
            await delivering.append("one")
            await asyncio.sleep(2)
        assert await delivering.states() == {"one": ("delivered", None)}
        assert len(delivering.sender.sent) == 2

    run()


@pytest.mark.parametrize(
    ("word", "final"),
    [
        ("timeout", False),
        ("connection_refused", False),
        ("dns_failed", False),
        ("tls_failed", False),
        ("address_refused", True),
        ("url_invalid", True),
    ],
)
def test_problems(word: str, final: bool) -> None:
    @in_virtual_time
    async def run() -> None:
        delivering = Delivering()
        delivering.sender.behaviour = problem(word)
        async with delivering.running():
            await delivering.append("one")
            await asyncio.sleep(2)
        delivery, attempts = await delivering.get("one")
        assert (delivery.state, delivery.reason) == (("dead", "refused") if final else ("waiting", None))
        assert attempts[0].problem == word

    run()


@in_virtual_time
async def test_pauses_grow_until_five_minutes_are_over() -> None:
    delivering = Delivering()
    delivering.sender.behaviour = statuses(503)
    async with delivering.running():
        await delivering.append("one")
        await asyncio.sleep(1000)
    times = [each.at for each in delivering.sender.sent]
    pauses = [round(later - earlier) for earlier, later in itertools.pairwise(times)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert times[-1] <= 300
    delivery, attempts = await delivering.get("one")
    assert (delivery.state, delivery.reason, delivery.attempts) == ("dead", "time_exhausted", 10)
    assert [attempt.number for attempt in attempts] == list(range(1, 11))
    assert {attempt.status for attempt in attempts} == {503}


@in_virtual_time
async def test_attempts_may_be_limited() -> None:
    delivering = Delivering(retry=Retry(max_attempts=3))
    delivering.sender.behaviour = statuses(500)
    async with delivering.running():
        await delivering.append("one")
        await asyncio.sleep(60)
    assert await delivering.states() == {"one": ("dead", "attempts_exhausted")}
    assert len(delivering.sender.sent) == 3


@in_virtual_time
async def test_retries_may_be_off() -> None:
    delivering = Delivering(retry=Retry(enabled=False))
    delivering.sender.behaviour = statuses(500)
    async with delivering.running():
        await delivering.append("one")
        await asyncio.sleep(60)
    assert await delivering.states() == {"one": ("dead", "retry_disabled")}
    assert len(delivering.sender.sent) == 1


def retry_after(seconds: int) -> Reaction:
    async def react(_: str, before: int) -> Answer:
        return Answer(503, retry_after=seconds) if before == 0 else Answer(200)

    return react


@pytest.mark.parametrize(("asked", "waited"), [(0, 1), (20, 20), (3600, 60)])
def test_an_endpoint_may_ask_for_a_longer_pause_within_limits(asked: int, waited: int) -> None:
    @in_virtual_time
    async def run() -> None:
        delivering = Delivering()
        delivering.sender.behaviour = retry_after(asked)
        async with delivering.running():
            await delivering.append("one")
            await asyncio.sleep(100)
        first, second = (each.at for each in delivering.sender.sent)
        assert second - first == pytest.approx(waited, abs=0.1)

    run()


@in_virtual_time
async def test_deliveries_for_endpoints_that_are_gone_are_given_up() -> None:
    delivering = Delivering()
    async with delivering.running():
        await delivering.append("one", to="nobody")
        await delivering.deliverer.idle()
    delivery, attempts = await delivering.get("one")
    assert (delivery.state, delivery.reason, delivery.attempts, attempts) == ("dead", "endpoint_removed", 0, [])
    assert delivering.sender.sent == []


# ---- order and independence ----


@in_virtual_time
async def test_a_channel_keeps_its_order_whatever_fails() -> None:
    delivering = Delivering()
    failures = {"3": 3, "5": 1, "6": 2}

    async def react(name: str, _: int) -> Answer:
        await asyncio.sleep(0.05)
        if failures.get(name, 0):
            failures[name] -= 1
            return Answer(500)
        return Answer(200)

    delivering.sender.behaviour = react
    names = [str(number) for number in range(10)]
    async with delivering.running():
        for name in names:
            await delivering.append(name)
            await asyncio.sleep(0.03)
        await asyncio.sleep(60)
    got = delivering.sender.bodies()
    assert [name for name, later in zip(got, [*got[1:], None], strict=True) if name != later] == names
    assert (got.count("3"), got.count("5"), got.count("6")) == (4, 2, 3)
    assert delivering.sender.most_under_way == 1


@in_virtual_time
async def test_channels_are_delivered_side_by_side() -> None:
    delivering = Delivering()
    delivering.sender.behaviour = statuses(200, after=1)
    async with delivering.running():
        for lane in range(4):
            await delivering.append(f"{lane}-a", f"{lane}-b", channel=str(lane))
        await asyncio.sleep(2.1)
        assert len(delivering.sender.sent) == 8
    assert delivering.sender.most_under_way == 4


@in_virtual_time
async def test_a_failing_channel_does_not_stop_the_others_of_its_endpoint() -> None:
    delivering = Delivering()

    async def react(name: str, _: int) -> Answer:
        return Answer(500) if name == "bad" else Answer(200)

    delivering.sender.behaviour = react
    async with delivering.running():
        await delivering.append("bad", "behind it", channel="0")
        for number in range(100):
            await delivering.append(f"good-{number}", channel="1")
        await asyncio.sleep(30)
        assert sum(name.startswith("good") for name in delivering.sender.bodies()) == 100
        assert "behind it" not in delivering.sender.bodies()
        await asyncio.sleep(300)
    assert "behind it" in delivering.sender.bodies()
    assert (await delivering.states())["bad"] == ("dead", "time_exhausted")


@in_virtual_time
async def test_endpoints_that_hang_and_fail_delay_no_other() -> None:
    delivering = Delivering("http://hooks.test/a", "http://slow.test/b", "http://dead.test/c")

    async def hang(_: str, __: int) -> Answer:
        await asyncio.sleep(10)
        return Answer(None, "timeout", 10_000)

    delivering.sender.behaviours = {"http://slow.test/b": hang, "http://dead.test/c": problem("connection_refused")}
    async with delivering.running():
        for number in range(200):
            for letter in "abc":
                await delivering.append(f"{letter}-{number}", to=letter, channel=str(number % 4))
            await asyncio.sleep(0.01)
        good = [each for each in delivering.sender.sent if each.target.url.endswith("a")]
        assert len(good) >= 199
        assert all(each.at - int(each.text[2:]) * 0.01 < 0.02 for each in good)
    # Four channels of the one that hangs, and the other one left alone by the breaker.
    assert len(delivering.sender.bodies("http://slow.test/b")) == 4
    assert len(delivering.sender.bodies("http://dead.test/c")) < 10


@in_virtual_time
async def test_requests_of_the_process_are_bounded() -> None:
    delivering = Delivering(
        *(f"http://h{n}.test/{chr(97 + n)}" for n in range(10)), options=DeliveryOptions(concurrency=7)
    )
    delivering.sender.behaviour = statuses(200, after=1)
    async with delivering.running():
        for letter in delivering.endpoints:
            for lane in range(4):
                await delivering.append(f"{letter}-{lane}", to=letter, channel=str(lane))
        await asyncio.sleep(0.5)
        assert delivering.deliverer.under_way == 7
        await delivering.deliverer.idle()
    assert delivering.sender.most_under_way == 7
    assert len(delivering.sender.sent) == 40


# ---- the breaker ----


@in_virtual_time
async def test_an_endpoint_that_fails_is_asked_now_and_then() -> None:
    delivering = Delivering(retry=Retry(max_elapsed_time_ms=10_000_000))
    delivering.sender.behaviour = problem("connection_refused")
    async with delivering.running():
        for lane in range(4):
            await delivering.append(*(f"{lane}-{number}" for number in range(50)), channel=str(lane))
        await asyncio.sleep(1000)
        asked = len(delivering.sender.sent)
        # Half a minute apart once it has failed for long, whichever channel asks.
        assert 1000 / 30 <= asked <= 1000 / 30 + 15
        assert delivering.sender.most_under_way <= 4
        delivering.sender.behaviour = None
        await asyncio.sleep(70)
    assert (await delivering.queue.counts())["app", delivering.endpoints["a"].id] == Counts(delivered=200)
    for lane in range(4):
        got = [name for name in delivering.sender.bodies()[asked:] if name.startswith(f"{lane}-")]
        assert got == [f"{lane}-{number}" for number in range(50)]


@in_virtual_time
async def test_refusals_are_no_reason_to_leave_an_endpoint_alone() -> None:
    delivering = Delivering()
    delivering.sender.behaviour = statuses(404)
    async with delivering.running():
        await delivering.append(*(str(number) for number in range(100)))
        await asyncio.sleep(1)
    assert len(delivering.sender.sent) == 100


@in_virtual_time
async def test_what_waits_for_a_failing_endpoint_is_given_up_in_time() -> None:
    delivering = Delivering()
    delivering.sender.behaviour = problem("timeout")
    async with delivering.running():
        await delivering.append(*(str(number) for number in range(500)), channel="0")
        await asyncio.sleep(200)
        await delivering.append("late", channel="1")
        await asyncio.sleep(115)
        states = await delivering.states()
        assert states.pop("late") == ("waiting", None)
        assert set(states.values()) == {("dead", "time_exhausted")}
        await asyncio.sleep(200)
        assert (await delivering.states())["late"] == ("dead", "time_exhausted")
    assert delivering.deliverer.deaths() == {"app": 501}


# ---- the queue fails, the lease is lost ----


@in_virtual_time
async def test_while_the_queue_cannot_be_asked_it_is_asked_again() -> None:
    queue = FailingQueue()
    delivering = Delivering(queue=queue)
    async with delivering.running():
        await asyncio.sleep(1)
        queue.broken = {"claim"}
        await delivering.append("one")
        await asyncio.sleep(30)
        assert delivering.deliverer.failing
        assert delivering.sender.sent == []
        assert queue.calls.count("claim") < 50
        queue.broken = set()
        await asyncio.sleep(2)
        assert not delivering.deliverer.failing
        assert delivering.sender.bodies() == ["one"]


@in_virtual_time
async def test_an_outcome_that_the_queue_does_not_take_is_told_again() -> None:
    queue = FailingQueue()
    delivering = Delivering(queue=queue)
    queue.broken = {"settle"}
    async with delivering.running():
        await delivering.append("one", "two")
        await asyncio.sleep(20)
        assert delivering.sender.bodies() == ["one"]
        assert delivering.deliverer.failing
        queue.broken = set()
        await asyncio.sleep(10)
        assert not delivering.deliverer.failing
        assert await delivering.states() == {"one": ("delivered", None), "two": ("delivered", None)}
        assert delivering.sender.bodies() == ["one", "two"]


@in_virtual_time
async def test_a_lease_is_kept_while_the_request_takes_long() -> None:
    delivering = Delivering(request_timeout_ms=600_000)
    delivering.sender.behaviour = statuses(200, after=120)
    async with delivering.running():
        await delivering.append("one", "two")
        for _ in range(110):
            await asyncio.sleep(1)
            assert await delivering.queue.claim(CLOCK.ms(), CLOCK.ms() + 1000, 10) == []
        await asyncio.sleep(200)
    assert delivering.sender.bodies() == ["one", "two"]


@in_virtual_time
async def test_a_lease_that_was_lost_changes_nothing_any_more() -> None:
    delivering = Delivering()
    delivering.sender.behaviour = statuses(404, after=1)
    async with delivering.running():
        await delivering.append("one")
        await asyncio.sleep(0.5)
        [other] = await delivering.queue.claim(CLOCK.ms() + 60_000, CLOCK.ms() + 120_000, 1)
        await asyncio.sleep(5)
        delivery, attempts = await delivering.get("one")
        assert (delivery.state, delivery.attempts, attempts) == ("waiting", 0, [])
        assert await delivering.queue.settle([(other, Outcome("delivered", None))], CLOCK.ms()) == [True]


@in_virtual_time
async def test_two_processes_share_the_work_and_keep_the_order() -> None:
    one = Delivering()
    two = Delivering(queue=one.queue)
    for each in (one, two):
        each.sender.behaviour = statuses(200, after=0.1)
    async with one.running(), two.running():
        for number in range(40):
            await one.append(f"{number % 4}-{number}", channel=str(number % 4))
            two.deliverer.wake()
        await asyncio.sleep(60)
    sent = sorted([*one.sender.sent, *two.sender.sent], key=lambda each: each.at)
    for lane in range(4):
        got = [int(each.text[2:]) for each in sent if each.text.startswith(f"{lane}-")]
        assert got == list(range(lane, 40, 4))


# ---- the end ----


@in_virtual_time
async def test_idle_sees_what_was_appended_just_before() -> None:
    class Late(FailingQueue):
        async def next_due(self, **fields: Any) -> int | None:
            due = await super().next_due(**fields)
            await asyncio.sleep(0.5)
            return due

    delivering = Delivering(queue=Late())
    async with delivering.running():
        await asyncio.sleep(0.1)
        # A round is under way, and has claimed already.
        await delivering.append("one")
        await delivering.deliverer.idle()
        assert delivering.sender.bodies() == ["one"]


@in_virtual_time
async def test_idle_waits_for_requests_and_what_is_behind_them() -> None:
    delivering = Delivering(options=DeliveryOptions(concurrency=1))
    delivering.sender.behaviour = statuses(200, after=1)
    async with delivering.running():
        await delivering.append("one", "two", "three")
        await delivering.deliverer.idle()
        assert delivering.sender.bodies() == ["one", "two", "three"]
        assert delivering.deliverer.under_way == 0


@in_virtual_time
async def test_idle_does_not_wait_for_what_is_due_later() -> None:
    delivering = Delivering()
    delivering.sender.behaviour = statuses(503)
    async with delivering.running():
        await delivering.append("one")
        started = CLOCK.monotonic()
        await delivering.deliverer.idle()
        assert CLOCK.monotonic() - started < 1


@in_virtual_time
async def test_what_is_under_way_at_the_end_is_there_for_the_next_process_at_once() -> None:
    delivering = Delivering()
    delivering.sender.behaviour = statuses(200, after=9)
    async with delivering.running():
        await delivering.append("one", "two")
        await asyncio.sleep(1)
    assert delivering.sender.under_way == 0
    [claim] = await delivering.queue.claim(CLOCK.ms(), CLOCK.ms() + 1000, 10)
    assert (claim.delivery.id, claim.delivery.attempts) == ("one", 0)


@in_virtual_time
async def test_what_was_kept_long_enough_is_dropped() -> None:
    delivering = Delivering(options=DeliveryOptions(keep_delivered=10, keep_dead=5))

    async def react(name: str, _: int) -> Answer:
        return Answer(404 if name.startswith("bad") else 200)

    delivering.sender.behaviour = react
    async with delivering.running():
        for number in range(30):
            await delivering.append(f"good-{number}", f"bad-{number}")
        await asyncio.sleep(20)
    counts = (await delivering.queue.counts())["app", delivering.endpoints["a"].id]
    assert counts == Counts(delivered=10, dead=5)
    assert set(await delivering.states()) == {f"good-{n}" for n in range(20, 30)} | {f"bad-{n}" for n in range(25, 30)}


@in_virtual_time
async def test_what_became_of_the_requests_is_counted() -> None:
    delivering = Delivering()
    delivering.sender.behaviour = statuses(500, 200, after=0.5)
    async with delivering.running():
        await delivering.append("one")
        await asyncio.sleep(10)
        delivering.sender.behaviour = statuses(410)
        await delivering.append("two")
        await asyncio.sleep(1)
    counters = delivering.deliverer.counters["app", delivering.endpoints["a"].id]
    assert (counters.attempts, counters.delivered, counters.failed, counters.dead) == (3, 1, 2, 1)
    assert counters.seconds == 1.0
    assert counters.last == Answer(410)
    assert delivering.deliverer.deaths() == {"app": 1}


@in_virtual_time
async def test_nothing_to_do_costs_next_to_nothing() -> None:
    queue = FailingQueue()
    delivering = Delivering(queue=queue)
    async with delivering.running():
        await asyncio.sleep(3600)
    assert queue.calls.count("claim") <= 3600 / 5 + 1


@in_virtual_time
async def test_what_another_process_appends_is_found() -> None:
    delivering = Delivering()
    async with delivering.running():
        await asyncio.sleep(1)
        about: Mapping[str, Any] = {"endpoint": delivering.endpoints["a"].id}
        await delivering.queue.append([a_delivery("one", **about)])
        await asyncio.sleep(5)
    assert delivering.sender.bodies() == ["one"]


@in_virtual_time
async def test_what_is_replayed_is_made_again_as_for_the_first_time() -> None:
    delivering = Delivering()
    delivering.sender.behaviour = statuses(404, 503, 200)
    async with delivering.running():
        await delivering.append("one")
        await asyncio.sleep(1)
        await delivering.queue.replay("app", CLOCK.ms())
        delivering.deliverer.wake()
        await asyncio.sleep(5)
    assert [each.headers["X-Sockudo-Attempt"] for each in delivering.sender.sent] == ["1", "1", "2"]
    assert await delivering.states() == {"one": ("delivered", None)}


@in_virtual_time
async def test_a_log_line_of_a_failure_has_the_address_and_what_to_do() -> None:
    addresses = "http://ana:planted@hooks.test/shop?token=planted&a", "http://hooks.test/blog/b"
    delivering = Delivering(*addresses)

    async def moved(_body: str, _before: int) -> Answer:
        return Answer(404)

    async def expired(_body: str, _before: int) -> Answer:
        return Answer(None, "tls_expired")

    delivering.sender.behaviours = dict(zip(addresses, (moved, expired), strict=True))
    with structlog.testing.capture_logs() as lines:
        async with delivering.running():
            await delivering.append("one")
            await asyncio.sleep(0.1)
            await delivering.append("two", to="b")
            await asyncio.sleep(0.1)
    given_up, again = lines
    assert (given_up["event"], given_up["url"]) == ("webhook given up", "http://hooks.test/shop?token=…&a=…")
    assert "Nothing is at this path" in given_up["advice"]
    assert (again["problem"], again["url"]) == ("tls_expired", "http://hooks.test/blog/b")
    assert "Renew the endpoint's certificate" in again["advice"]
    assert "planted" not in str(lines)


@in_virtual_time
async def test_claims_are_counted_and_attempts_timed() -> None:
    delivering = Delivering(retry=Retry(initial_backoff_ms=1000, max_backoff_ms=1000))
    delivering.sender.behaviour = statuses(503, 200, after=0.3)
    async with delivering.running():
        await delivering.append("first", to="a")
        await delivering.append("gone", to="no-such-endpoint")
        await asyncio.sleep(5)
    deliverer = delivering.deliverer
    assert deliverer.claimed == 3, "the second attempt of the first is one, and so is what has no endpoint"
    assert sum(deliverer.attempt_times.counts) == 2, "without a request there is no attempt"
    assert deliverer.attempt_times.sum_ms == pytest.approx(600)
