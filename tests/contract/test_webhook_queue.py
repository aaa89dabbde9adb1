"""What every webhook queue promises, whatever it is kept in: sentence by sentence of `webhooks.queue.WebhookQueue`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from contract.places import SERVERS, QueuePlace
from sockudo.webhooks.queue import KEPT_ATTEMPTS, WEBHOOK_QUEUE, Claim, WebhookQueue
from sockudo.webhooks.records import Attempt, Counts, Delivery, Outcome, State
from unit.webhooks.parts import a_delivery

NOW = 1_767_225_600_000
LATER = NOW + 30_000

Open = Callable[[], WebhookQueue]
"""A queue on the same place every time, not started."""


KINDS = ("memory", "sqlite", "postgres", "mariadb", "redis")


@pytest.fixture(params=KINDS)
def opened(request: pytest.FixtureRequest) -> Open:
    server = request.getfixturevalue(request.param) if request.param in SERVERS else None
    folder, prefix = request.getfixturevalue("tmp_path") / "data", request.getfixturevalue("unique")
    place = QueuePlace.of(request.param, folder, server, prefix, WEBHOOK_QUEUE)
    return lambda: WebhookQueue(place.make())


@pytest.fixture
async def queue(opened: Open) -> AsyncIterator[WebhookQueue]:
    queue = opened()
    await queue.start()
    yield queue
    await queue.close()


def deliveries(*names: str, **fields: Any) -> list[Delivery]:
    return [a_delivery(name, **{"created_at_ms": NOW, "due_at_ms": NOW, **fields}) for name in names]


def names(found: list[Claim] | list[Delivery]) -> list[str]:
    return [each.delivery.id if isinstance(each, Claim) else each.id for each in found]


def attempt(number: int = 1, **fields: Any) -> Attempt:
    return Attempt(**{"number": number, "at_ms": NOW, "took_ms": 5, "status": 500, **fields})


async def settle(queue: WebhookQueue, claim: Claim, state: State, now_ms: int = NOW, **fields: Any) -> bool:
    [kept] = await queue.settle([(claim, Outcome(state, **{"attempt": None, **fields}))], now_ms)
    return kept


async def finish(queue: WebhookQueue, state: State = "delivered", now_ms: int = LATER) -> list[str]:
    """Settles everything that waits, in the order in which it can be claimed."""
    done: list[str] = []
    while claims := await queue.claim(now_ms, now_ms + 60_000, 1):
        done += names(claims)
        assert await settle(queue, claims[0], state, now_ms)
    return done


# ---- opening and closing ----


async def test_starting_again_and_closing_twice_do_no_harm(opened: Open) -> None:
    queue = opened()
    await queue.start()
    await queue.append(deliveries("one"))
    await queue.start()
    assert names(await queue.page("app")) == ["one"]
    await queue.close()
    await queue.close()


async def test_closing_what_was_never_started_does_no_harm(opened: Open) -> None:
    await opened().close()


# ---- appending ----


async def test_a_delivery_comes_back_as_it_was_given(queue: WebhookQueue) -> None:
    body = bytes(range(256)) * 100
    trace = (("traceparent", "00-ä-01"), ("tracestate", ""))
    [given] = deliveries("one", body=body, events=7, channel="3", trace=trace, app_id="äpp", endpoint="e'\"")
    await queue.append([given])
    [claim] = await queue.claim(NOW, LATER, 1)
    assert claim.delivery == msgspec.structs.replace(given, sequence=claim.delivery.sequence)
    assert claim.delivery.sequence > 0
    assert await queue.get("äpp", "one") == (claim.delivery, [])


async def test_channels_keep_the_order_in_which_they_were_filled(queue: WebhookQueue) -> None:
    for number in range(10):
        await queue.append(deliveries(f"{number}-a", f"{number}-b"))
    assert await finish(queue) == [f"{number}-{letter}" for number in range(10) for letter in "ab"]


async def test_the_same_id_is_kept_once(queue: WebhookQueue) -> None:
    await queue.append(deliveries("one", "one", "two"))
    await queue.append(deliveries("two", "three", body=b"other"))
    assert await finish(queue) == ["one", "two", "three"]
    await queue.append(deliveries("one"))
    assert await queue.claim(LATER, LATER + 1, 10) == []
    found = await queue.get("app", "two")
    assert found is not None
    assert found[0].body == b"two"


async def test_appending_nothing_changes_nothing(queue: WebhookQueue) -> None:
    await queue.append([])
    assert await queue.counts() == {}
    assert await queue.next_due() is None


async def test_what_is_done_to_an_appended_delivery_does_not_reach_the_queue(queue: WebhookQueue) -> None:
    [given] = deliveries("one")
    await queue.append([given])
    given.state = "dead"
    [claim] = await queue.claim(NOW, LATER, 1)
    claim.delivery.attempts = 99
    found = await queue.get("app", "one")
    assert found is not None
    assert (found[0].state, found[0].attempts) == ("waiting", 0)


# ---- claiming ----


async def test_only_heads_can_be_claimed(queue: WebhookQueue) -> None:
    await queue.append(deliveries("a1", "a2", channel="0") + deliveries("b1", "b2", channel="1"))
    assert names(await queue.claim(NOW, LATER, 10)) == ["a1", "b1"]
    assert await queue.claim(NOW, LATER, 10) == []


async def test_channels_are_of_an_endpoint_of_an_app(queue: WebhookQueue) -> None:
    for app in ("app", "other"):
        for endpoint in ("one", "two"):
            await queue.append(deliveries(f"{app}-{endpoint}", app_id=app, endpoint=endpoint))
    assert len(await queue.claim(NOW, LATER, 10)) == 4


async def test_what_is_not_due_is_not_claimed(queue: WebhookQueue) -> None:
    await queue.append(deliveries("late", due_at_ms=NOW + 10) + deliveries("behind"))
    assert await queue.claim(NOW + 9, LATER, 10) == []
    assert names(await queue.claim(NOW + 10, LATER, 10)) == ["late"]


async def test_what_has_been_due_for_longest_comes_first(queue: WebhookQueue) -> None:
    for name, due in (("c", NOW), ("a", NOW - 20), ("d", NOW), ("b", NOW - 10)):
        await queue.append(deliveries(name, channel=name, due_at_ms=due))
    assert names(await queue.claim(NOW, LATER, 3)) == ["a", "b", "c"]
    assert names(await queue.claim(NOW, LATER, 3)) == ["d"]


async def test_at_most_so_many(queue: WebhookQueue) -> None:
    for room in range(5):
        await queue.append(deliveries(f"{room}", channel=str(room)))
    assert await queue.claim(NOW, LATER, 0) == []
    assert len(await queue.claim(NOW, LATER, 2)) == 2
    assert len(await queue.claim(NOW, LATER, 100)) == 3


async def test_endpoints_that_are_left_alone(queue: WebhookQueue) -> None:
    for app in ("app", "other"):
        for endpoint in ("one", "two"):
            await queue.append(deliveries(f"{app}-{endpoint}", app_id=app, endpoint=endpoint, due_at_ms=NOW))
    besides = {("app", "one"), ("other", "two"), ("nobody", "one")}
    assert sorted(names(await queue.claim(NOW, LATER, 10, besides=besides))) == ["app-two", "other-one"]
    assert sorted(names(await queue.claim(NOW, LATER, 10))) == ["app-one", "other-two"]


async def test_many_endpoints_may_be_left_alone(queue: WebhookQueue) -> None:
    await queue.append(deliveries("one") + deliveries("two", endpoint="two"))
    besides = {("app", f"endpoint-{number}") for number in range(3000)} | {("app", "one")}
    assert names(await queue.claim(NOW, LATER, 10, besides=besides)) == ["two"]


async def test_tokens_are_never_the_same(queue: WebhookQueue) -> None:
    await queue.append(deliveries("one"))
    tokens = set()
    for number in range(5):
        [claim] = await queue.claim(NOW + number, NOW + number + 1, 1)
        tokens.add(claim.token)
    assert len(tokens) == 5


# ---- leases ----


async def test_nothing_else_gets_a_channel_before_the_lease_ends(queue: WebhookQueue) -> None:
    await queue.append(deliveries("one", "two"))
    await queue.claim(NOW, NOW + 100, 1)
    assert await queue.claim(NOW + 99, LATER, 1) == []
    assert names(await queue.claim(NOW + 100, LATER, 1)) == ["one"]


async def test_whoever_was_taken_over_from_changes_nothing(queue: WebhookQueue) -> None:
    await queue.append(deliveries("one", "two"))
    [first] = await queue.claim(NOW, NOW + 100, 1)
    [second] = await queue.claim(NOW + 100, NOW + 200, 1)
    for state in ("delivered", "dead", "waiting"):
        assert not await settle(queue, first, state, attempt=attempt(), due_at_ms=NOW)  # type: ignore[arg-type]
    assert await queue.get("app", "one") == (second.delivery, [])
    await queue.renew([first], NOW + 1000)
    assert names(await queue.claim(NOW + 200, LATER, 1)) == ["one"]
    assert not await settle(queue, second, "delivered")


async def test_a_lease_that_ended_may_be_settled_until_another_has_the_channel(queue: WebhookQueue) -> None:
    await queue.append(deliveries("one", "two"))
    [claim] = await queue.claim(NOW, NOW + 100, 1)
    assert await settle(queue, claim, "delivered", NOW + 5000)
    assert names(await queue.claim(NOW + 5000, LATER, 1)) == ["two"]


async def test_a_lease_may_be_kept_for_longer(queue: WebhookQueue) -> None:
    await queue.append(deliveries("one"))
    [claim] = await queue.claim(NOW, NOW + 100, 1)
    await queue.renew([claim], NOW + 200)
    assert await queue.claim(NOW + 199, LATER, 1) == []
    assert await queue.next_due() == NOW + 200
    await queue.renew([claim], NOW + 50)
    assert await queue.next_due() == NOW + 200
    assert await settle(queue, claim, "delivered", NOW + 199)
    await queue.renew([claim], NOW + 500)
    assert await queue.next_due() is None


async def test_renewing_nothing_is_nothing(queue: WebhookQueue) -> None:
    await queue.renew([], NOW)


# ---- settling ----


async def test_a_delivery_that_was_delivered(queue: WebhookQueue) -> None:
    await queue.append(deliveries("one", "two"))
    [claim] = await queue.claim(NOW, LATER, 1)
    tried = attempt(status=200, snippet="ok ä")
    assert await settle(queue, claim, "delivered", NOW + 7, attempt=tried)
    found = await queue.get("app", "one")
    assert found is not None
    delivery, attempts = found
    assert attempts == [tried]
    assert (delivery.state, delivery.attempts, delivery.first_attempt_at_ms) == ("delivered", 1, NOW)
    assert (delivery.settled_at_ms, delivery.reason) == (NOW + 7, None)
    assert names(await queue.claim(NOW, LATER, 10)) == ["two"]
    assert not await settle(queue, claim, "delivered")


async def test_a_delivery_that_was_given_up(queue: WebhookQueue) -> None:
    await queue.append(deliveries("one"))
    [claim] = await queue.claim(NOW, LATER, 1)
    assert await settle(queue, claim, "dead", NOW + 7, reason="refused")
    found = await queue.get("app", "one")
    assert found is not None
    delivery, attempts = found
    assert (delivery.state, delivery.reason, delivery.settled_at_ms) == ("dead", "refused", NOW + 7)
    assert (delivery.attempts, delivery.first_attempt_at_ms, attempts) == (0, None, [])


async def test_a_delivery_that_goes_on_waiting_stays_the_head(queue: WebhookQueue) -> None:
    await queue.append(deliveries("one", "two"))
    [claim] = await queue.claim(NOW, LATER, 1)
    assert await settle(queue, claim, "waiting", attempt=attempt(), due_at_ms=NOW + 500)
    assert await queue.next_due() == NOW + 500
    assert await queue.claim(NOW + 499, LATER, 10) == []
    [claim] = await queue.claim(NOW + 500, LATER, 10)
    delivery = claim.delivery
    assert (delivery.id, delivery.attempts, delivery.first_attempt_at_ms) == ("one", 1, NOW)
    assert (delivery.due_at_ms, delivery.created_at_ms) == (NOW + 500, NOW)


async def test_several_are_settled_each_for_itself(queue: WebhookQueue) -> None:
    for room in range(4):
        await queue.append(deliveries(f"{room}", channel=str(room)))
    claims = await queue.claim(NOW, NOW + 100, 4)
    [taken] = await queue.claim(NOW + 100, LATER, 1)
    states: list[State] = ["delivered", "dead", "waiting", "delivered"]
    outcomes = [Outcome(state, None, NOW + 9, "why") for state in states]
    kept = await queue.settle(list(zip(claims, outcomes, strict=True)), NOW + 101)
    assert kept == [claim.delivery.id != taken.delivery.id for claim in claims]
    assert await queue.settle([], NOW) == []


async def test_the_newest_attempts_are_kept(queue: WebhookQueue) -> None:
    await queue.append(deliveries("one"))
    tried = [attempt(number, at_ms=NOW + number, status=None, problem="timeout") for number in range(1, 31)]
    for each in tried:
        [claim] = await queue.claim(LATER, LATER + 1, 1)
        await settle(queue, claim, "waiting", attempt=each, due_at_ms=NOW)
    found = await queue.get("app", "one")
    assert found is not None
    assert found[1] == tried[-KEPT_ATTEMPTS:]
    assert (found[0].attempts, found[0].first_attempt_at_ms) == (30, NOW + 1)


# ---- when there is something to do ----


async def test_next_due(queue: WebhookQueue) -> None:
    assert await queue.next_due() is None
    await queue.append(deliveries("one", due_at_ms=NOW + 50) + deliveries("behind", due_at_ms=NOW - 50))
    assert await queue.next_due() == NOW + 50
    await queue.append(deliveries("two", endpoint="two", due_at_ms=NOW + 20))
    assert await queue.next_due() == NOW + 20
    assert await queue.next_due(besides={("app", "two")}) == NOW + 50
    assert await queue.next_due(besides={("app", "one"), ("app", "two")}) is None
    [claim] = await queue.claim(NOW + 20, NOW + 1000, 1)
    assert await queue.next_due() == NOW + 50
    await settle(queue, claim, "delivered")
    await queue.claim(NOW + 50, NOW + 1000, 1)
    assert await queue.next_due() == NOW + 1000


# ---- looking ----


async def test_counts(queue: WebhookQueue) -> None:
    await queue.append(deliveries("1", "2", "3", "4", "5", "6"))
    await queue.append(deliveries("other", app_id="other", endpoint="two", due_at_ms=LATER + 1))
    for state in ("delivered", "delivered", "dead"):
        [claim] = await queue.claim(NOW, LATER, 1)
        await settle(queue, claim, state)  # type: ignore[arg-type]
    await queue.claim(NOW, LATER, 1)
    assert await queue.counts() == {
        ("app", "one"): Counts(waiting=3, leased=1, delivered=2, dead=1),
        ("other", "two"): Counts(waiting=1),
    }


async def test_pages_from_the_newest_on(queue: WebhookQueue) -> None:
    await queue.append(deliveries(*(str(number) for number in range(10))))
    await queue.append(deliveries("foreign", app_id="other"))
    seen: list[str] = []
    before: int | None = None
    while page := await queue.page("app", before=before, limit=3):
        assert len(page) <= 3
        seen += names(page)
        before = page[-1].sequence
    assert seen == [str(number) for number in reversed(range(10))]
    assert len(await queue.page("app")) == 10
    assert await queue.page("nobody") == []


async def test_pages_of_one_endpoint_and_one_state(queue: WebhookQueue) -> None:
    await queue.append(deliveries("a1", "a2", "a3") + deliveries("b1", "b2", endpoint="two"))
    for state in ("delivered", "dead", "delivered"):
        [claim] = await queue.claim(NOW, LATER, 1)
        await settle(queue, claim, state)  # type: ignore[arg-type]
    assert names(await queue.page("app", state="delivered")) == ["a3", "a1"]
    assert names(await queue.page("app", state="dead")) == ["a2"]
    assert names(await queue.page("app", state="waiting")) == ["b2", "b1"]
    assert names(await queue.page("app", endpoint="two")) == ["b2", "b1"]
    assert names(await queue.page("app", endpoint="one", state="delivered", limit=1)) == ["a3"]
    assert await queue.page("app", endpoint="two", state="dead") == []


async def test_a_delivery_belongs_to_its_app(queue: WebhookQueue) -> None:
    await queue.append(deliveries("one"))
    assert await queue.get("other", "one") is None
    assert await queue.get("app", "two") is None
    await finish(queue, "dead")
    assert await queue.replay("other", NOW, ids=["one"]) == 0
    assert await queue.replay("other", NOW) == 0


# ---- replaying ----


async def test_all_dead_ones_are_made_again_in_their_order(queue: WebhookQueue) -> None:
    await queue.append(deliveries("1", "2", "3", "4") + deliveries("b", endpoint="two"))
    await finish(queue, "dead")
    await queue.append(deliveries("5"))
    again = LATER + 100_000
    assert await queue.replay("app", again) == 5
    assert await queue.replay("app", again) == 0
    done = await finish(queue, now_ms=again)
    assert [name for name in done if name != "b"] == ["5", "1", "2", "3", "4"]


async def test_a_replayed_delivery_is_as_new(queue: WebhookQueue) -> None:
    await queue.append(deliveries("one", due_at_ms=NOW - 5, created_at_ms=NOW - 5))
    [claim] = await queue.claim(NOW, LATER, 1)
    await settle(queue, claim, "dead", attempt=attempt(), reason="refused")
    old = await queue.get("app", "one")
    assert await queue.replay("app", NOW + 77, ids=["one"]) == 1
    found = await queue.get("app", "one")
    assert found is not None
    assert old is not None
    delivery, attempts = found
    again = a_delivery("one", created_at_ms=NOW + 77, due_at_ms=NOW + 77, alone=True, sequence=delivery.sequence)
    assert delivery == again
    assert delivery.sequence >= old[0].sequence
    # What was tried before is still there for whoever asks.
    assert attempts == [attempt()]


async def test_chosen_ones_are_made_again_whatever_became_of_them(queue: WebhookQueue) -> None:
    await queue.append(deliveries("1", "2", "3", "4"))
    for state in ("delivered", "dead", "delivered"):
        [claim] = await queue.claim(NOW, LATER, 1)
        await settle(queue, claim, state)  # type: ignore[arg-type]
    assert await queue.replay("app", NOW, ids=["3", "2", "3", "4", "unknown"]) == 2
    assert await finish(queue) == ["4", "2", "3"]
    assert await queue.replay("app", NOW, ids=[]) == 0


async def test_all_of_one_endpoint_are_made_again(queue: WebhookQueue) -> None:
    await queue.append(deliveries("a") + deliveries("b", endpoint="two"))
    await finish(queue, "dead")
    assert await queue.replay("app", NOW, endpoint="two") == 1
    assert await finish(queue) == ["b"]


async def test_a_claim_from_before_a_replay_is_not_one_for_it(queue: WebhookQueue) -> None:
    await queue.append(deliveries("one"))
    [claim] = await queue.claim(NOW, LATER, 1)
    await settle(queue, claim, "dead")
    await queue.replay("app", NOW)
    assert not await settle(queue, claim, "delivered")
    [again] = await queue.claim(NOW, LATER, 1)
    assert not await settle(queue, claim, "delivered")
    assert await settle(queue, again, "delivered")


# ---- giving up and dropping ----


async def test_what_has_waited_for_too_long_is_given_up(queue: WebhookQueue) -> None:
    await queue.append(deliveries("old-a", "old-b", created_at_ms=NOW - 10) + deliveries("new"))
    await queue.append(deliveries("elsewhere", endpoint="two", created_at_ms=NOW - 10))
    await queue.append(deliveries("another-channel", channel="1", created_at_ms=NOW - 10))
    assert await queue.expire("app", "one", NOW, NOW + 5, "time_exhausted") == 3
    assert await queue.expire("app", "one", NOW, NOW + 5, "time_exhausted") == 0
    dead = await queue.page("app", state="dead")
    assert sorted(names(dead)) == ["another-channel", "old-a", "old-b"]
    assert {(each.reason, each.settled_at_ms) for each in dead} == {("time_exhausted", NOW + 5)}
    assert sorted(names(await queue.claim(NOW, LATER, 10))) == ["elsewhere", "new"]


async def test_what_is_leased_is_not_given_up(queue: WebhookQueue) -> None:
    await queue.append(deliveries("one", "two", created_at_ms=NOW - 10))
    [claim] = await queue.claim(NOW, NOW + 100, 1)
    assert await queue.expire("app", "one", NOW, NOW + 99, "late") == 0
    assert await settle(queue, claim, "delivered", NOW + 99)
    assert await queue.expire("app", "one", NOW, NOW + 99, "late") == 1


async def test_a_lease_that_ended_keeps_nothing(queue: WebhookQueue) -> None:
    await queue.append(deliveries("one", "two", created_at_ms=NOW - 10))
    [claim] = await queue.claim(NOW, NOW + 100, 1)
    assert await queue.expire("app", "one", NOW, NOW + 100, "late") == 2
    assert not await settle(queue, claim, "delivered", NOW + 101)
    assert await queue.next_due() is None


async def test_giving_up_is_bounded_and_goes_on(queue: WebhookQueue) -> None:
    await queue.append(deliveries(*(str(number) for number in range(2500)), created_at_ms=NOW - 10))
    counts = []
    while count := await queue.expire("app", "one", NOW, NOW, "late"):
        counts.append(count)
    assert sum(counts) == 2500
    assert max(counts) <= 1000


async def test_the_oldest_settled_are_dropped(queue: WebhookQueue) -> None:
    await queue.append(deliveries(*(str(number) for number in range(20))))
    for number in range(16):
        [claim] = await queue.claim(NOW, LATER, 1)
        await settle(queue, claim, "dead" if number % 2 else "delivered", attempt=attempt())
    dropped = 0
    while count := await queue.trim(3, 5):
        dropped += count
    assert dropped == 8
    assert names(await queue.page("app", state="delivered")) == ["14", "12", "10"]
    assert names(await queue.page("app", state="dead")) == ["15", "13", "11", "9", "7"]
    assert len(await queue.page("app", state="waiting")) == 4
    assert await queue.get("app", "0") is None
    assert await queue.trim(3, 5) == 0


async def test_dropping_goes_by_when_they_were_settled(queue: WebhookQueue) -> None:
    await queue.append(deliveries("first") + deliveries("second", channel="1"))
    first, second = await queue.claim(NOW, LATER, 2)
    await settle(queue, second, "dead")
    await settle(queue, first, "dead", NOW + 1)
    assert await queue.trim(0, 1) == 1
    assert names(await queue.page("app")) == ["first"]


async def test_an_id_that_was_dropped_may_come_again(queue: WebhookQueue) -> None:
    await queue.append(deliveries("one"))
    await finish(queue)
    await queue.trim(0, 0)
    assert await queue.counts() == {}
    await queue.append(deliveries("one"))
    found = await queue.get("app", "one")
    assert found is not None
    assert found[1] == []
    assert await finish(queue) == ["one"]


# ---- at the same time ----


async def test_calls_side_by_side(queue: WebhookQueue) -> None:
    """Whatever overlaps, each channel is delivered once and in its order."""
    done: dict[int, list[int]] = {room: [] for room in range(4)}

    async def fill(room: int) -> None:
        for number in range(25):
            await queue.append(deliveries(f"{room}-{number}", channel=str(room)))

    async def work() -> None:
        while sum(map(len, done.values())) < 100:
            for claim in await queue.claim(NOW, LATER, 2):
                room, number = map(int, claim.delivery.id.split("-"))
                done[room].append(number)
                assert await settle(queue, claim, "delivered")
            await asyncio.sleep(0)

    async with asyncio.timeout(60):
        await asyncio.gather(*(fill(room) for room in range(4)), *(work() for _ in range(4)))
    assert done == {room: list(range(25)) for room in range(4)}
    assert await queue.counts() == {("app", "one"): Counts(delivered=100)}
