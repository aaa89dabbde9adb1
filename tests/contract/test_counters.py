"""What all counters promise: sentence by sentence of `sockudo.cluster.ports.Counters`."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo.cluster.counters import InProcessCounters
from sockudo.cluster.ports import Claim, Claimed, Counters
from support.clusters import COUNTERS

OK = b'{"ok":true}'
KEY = ("shop", "event", "k")


@pytest.fixture(params=COUNTERS)
async def counters(request: pytest.FixtureRequest) -> Counters:
    return COUNTERS[request.param]()


async def claim(
    counters: Counters, key: tuple[str, ...] = KEY, now: float = 0.0, *, mark: bytes = b"content", ttl: float = 120
) -> Claimed:
    claimed = counters.claim(key, mark, ttl, now)
    if inspect.isawaitable(claimed):
        assert not counters.immediate
        return await claimed
    return claimed


async def claimed(counters: Counters, key: tuple[str, ...] = KEY, now: float = 0.0, *, ttl: float = 120) -> Claim:
    outcome = await claim(counters, key, now, ttl=ttl)
    assert not isinstance(outcome, (str, bytes)), outcome
    return outcome


# ---- claims ----


async def test_what_was_done_under_a_key_is_answered_with_its_reply(counters: Counters) -> None:
    (await claimed(counters)).complete(OK, 0.0)
    assert await claim(counters, now=1.0) == OK


async def test_while_it_is_under_way_the_key_is_running_however_long_that_takes(counters: Counters) -> None:
    first = await claimed(counters, ttl=1)
    assert await claim(counters, now=1e9) == "running"
    first.complete(OK, 1e9)
    assert await claim(counters, now=1e9) == OK


async def test_a_key_that_belongs_to_something_else_is_a_conflict(counters: Counters) -> None:
    first = await claimed(counters)
    assert await claim(counters, mark=b"other") == "conflict"
    first.complete(OK, 0.0)
    assert await claim(counters, mark=b"other") == "conflict"


async def test_what_failed_frees_its_key(counters: Counters) -> None:
    (await claimed(counters)).release()
    again = await claim(counters, mark=b"other")
    assert not isinstance(again, (str, bytes))


async def test_keys_are_apart_by_every_part(counters: Counters) -> None:
    for key in (KEY, ("other", "event", "k"), ("shop", "batch", "k"), ("shop", "event", "l")):
        assert (await claimed(counters, key)).key == key


async def test_what_comes_after_the_end_of_a_claim_does_nothing(counters: Counters) -> None:
    first = await claimed(counters)
    first.complete(OK, 0.0)
    first.release()
    first.complete(b"{}", 0.0)
    assert await claim(counters) == OK

    failed = await claimed(counters, ("second",))
    failed.release()
    second = await claimed(counters, ("second",))
    failed.release()
    failed.complete(b"{}", 0.0)
    assert await claim(counters, ("second",)) == "running"
    second.complete(OK, 0.0)
    assert await claim(counters, ("second",)) == OK


async def test_a_reply_is_kept_for_the_time_to_live_and_no_longer(counters: Counters) -> None:
    (await claimed(counters, ttl=10)).complete(OK, 5.0)
    assert await claim(counters, now=14.9) == OK
    assert not isinstance(await claim(counters, now=15.0, mark=b"other"), (str, bytes))


STEPS = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["complete", "release"]), st.floats(0, 8)))


@given(STEPS)
def test_keys_agree_with_a_model_that_forgets_nothing(steps: list[tuple[str, str, float]]) -> None:
    """A key's reply is given back exactly while less than its time to live has passed since it was stored."""
    counters, model, now = InProcessCounters(), dict[str, tuple[float, bytes]](), 0.0
    for number, (key, end, passed) in enumerate(steps):
        now += passed
        ttl = 10 if key in "ab" else 20
        expires_at, reply = model.get(key, (0.0, b""))
        answer = counters.claim((key,), b"content", ttl, now)
        if now < expires_at:
            assert answer == reply
            continue
        assert not isinstance(answer, (str, bytes))
        if end == "release":
            answer.release()
            model.pop(key, None)
        else:
            answer.complete(b"%d" % number, now)
            model[key] = (now + ttl, b"%d" % number)
    assert len(counters) <= 4


# ---- windows ----


async def test_hits_up_to_the_limit_are_allowed_until_the_window_ends(counters: Counters) -> None:
    verdicts = [counters.hit("reads", "shop", 2, 10, now) for now in (5.0, 6.0, 7.0, 15.0)]
    assert [verdict.allowed for verdict in verdicts] == [True, True, False, True]
    assert [verdict.remaining for verdict in verdicts] == [1, 0, 0, 1]
    assert [verdict.reset for verdict in verdicts] == [10, 9, 8, 10]
    assert {(verdict.limit, verdict.window) for verdict in verdicts} == {(2, 10)}


async def test_names_and_keys_are_counted_apart(counters: Counters) -> None:
    for name, key in (("reads", "shop"), ("reads", "other"), ("writes", "shop")):
        assert counters.hit(name, key, 1, 10, 0.0).allowed
        assert not counters.hit(name, key, 1, 10, 0.0).allowed


async def test_a_hit_that_does_not_fit_counts_only_where_it_is_to(counters: Counters) -> None:
    assert counters.hit("a", "k", 5, 10, 0.0, cost=3, count_refused=False).allowed
    assert not counters.hit("a", "k", 5, 10, 0.0, cost=3, count_refused=False).allowed
    assert counters.hit("a", "k", 5, 10, 0.0, cost=2, count_refused=False).allowed
    assert counters.hit("b", "k", 5, 10, 0.0, cost=3).allowed
    assert not counters.hit("b", "k", 5, 10, 0.0, cost=3).allowed
    assert not counters.hit("b", "k", 5, 10, 0.0, cost=2).allowed


async def test_a_counter_that_is_forgotten_begins_afresh(counters: Counters) -> None:
    assert counters.hit("reads", "shop", 1, 10, 0.0).allowed
    counters.forget("reads")
    counters.forget("never")
    assert counters.hit("reads", "shop", 1, 10, 0.0).allowed


async def test_a_window_of_another_length_begins_afresh(counters: Counters) -> None:
    assert counters.hit("reads", "shop", 1, 10, 0.0).allowed
    assert counters.hit("reads", "shop", 1, 60, 0.0).reset == 60
