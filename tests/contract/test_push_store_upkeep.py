"""What every push store promises about locks, keys, notes and cleaning; the one in memory is the definition."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from sockudo.push.paging import time_position
from sockudo.push.ports import Cleaned, PushStore
from sockudo.push.records import ScheduledJob, Shard, State, Target, Template
from support.push_stores import (
    DAY,
    NOW,
    a_device,
    a_letter,
    a_status,
    a_step,
    a_subscription,
    accept,
    an_event,
    an_intent,
)

# With the store, which is open for the whole run.
pytestmark = pytest.mark.asyncio(loop_scope="session")

EVERYTHING = {"publish_status": NOW, "delivery_events": NOW, "dead_letters": NOW, "operator_invalidations": NOW}


async def clean(store: PushStore, before: dict[str, int], now_ms: int = NOW, limit: int = 1000) -> dict[str, int]:
    """How many rows of each category went."""
    cleaned: list[Cleaned] = await store.clean(before, now_ms, limit)  # type: ignore[arg-type]
    return {each.category: each.deleted for each in cleaned}


# ---- locks and keys ----


async def test_a_lock_has_one_owner(push_store: PushStore) -> None:
    assert await push_store.lock("app", "planner", "one", NOW, NOW + 10)
    assert not await push_store.lock("app", "planner", "two", NOW + 9, NOW + 20)
    assert await push_store.lock("app", "planner", "one", NOW + 9, NOW + 20)
    assert not await push_store.lock("app", "planner", "two", NOW + 19, NOW + 30)
    assert await push_store.lock("app", "other", "two", NOW, NOW + 10)
    assert await push_store.lock("app2", "planner", "two", NOW, NOW + 10)
    assert await push_store.lock("app", "planner", "two", NOW + 20, NOW + 30)
    assert not await push_store.lock("app", "planner", "one", NOW + 20, NOW + 40)


async def test_only_the_owner_gives_a_lock_back(push_store: PushStore) -> None:
    await push_store.lock("app", "planner", "one", NOW, NOW + 10)
    await push_store.unlock("app", "planner", "two")
    assert not await push_store.lock("app", "planner", "two", NOW, NOW + 10)
    await push_store.unlock("app", "planner", "one")
    await push_store.unlock("app", "planner", "one")
    assert await push_store.lock("app", "planner", "two", NOW, NOW + 10)


async def test_of_many_that_want_a_lock_one_gets_it(push_store: PushStore) -> None:
    names = ["a" * 400, "b"]
    wanted = [(name, f"owner-{number}") for number in range(20) for name in names]
    granted = await asyncio.gather(*(push_store.lock("app", *each, NOW, NOW + 10) for each in wanted))
    assert [name for (name, _), got in zip(wanted, granted, strict=True) if got] == names


async def test_a_key_is_recorded_once_until_it_ends(push_store: PushStore) -> None:
    assert await push_store.recorded("app", "k", NOW) is False
    assert await push_store.record_once("app", "k", NOW, NOW + 10) is True
    assert await push_store.record_once("app", "k", NOW + 9, NOW + 99) is False
    assert await push_store.recorded("app", "k", NOW + 9) is True
    assert await push_store.recorded("app", "k", NOW + 10) is False
    assert await push_store.record_once("other", "k", NOW, NOW + 10) is True
    assert await push_store.record_once("app", "k", NOW + 10, NOW + 20) is True
    assert await push_store.record_once("app", "k", NOW + 19, NOW + 20) is False


async def test_of_many_that_record_a_key_one_is_first(push_store: PushStore) -> None:
    keys = [f"{'long' * 100}{number % 4}" for number in range(40)]
    first = await asyncio.gather(*(push_store.record_once("app", key, NOW, NOW + 10) for key in keys))
    assert sorted(key for key, got in zip(keys, first, strict=True) if got) == sorted(set(keys))


# ---- notes ----


async def test_notes_come_oldest_first(push_store: PushStore) -> None:
    for number in (3, 1, 2):
        await push_store.note_operator("app", f"credential:fcm:main:{number}", NOW + number)
    await push_store.note_operator("other", "x", NOW)
    notes = await push_store.operator_notes("app", "", 10)
    assert [(note.occurred_at_ms - NOW, note.subject[-1]) for note in notes] == [(1, "1"), (2, "2"), (3, "3")]
    assert len({note.event_id for note in notes}) == 3
    after = time_position(notes[0].occurred_at_ms, notes[0].event_id)
    assert await push_store.operator_notes("app", after, 1) == notes[1:2]


# ---- cleaning ----


async def test_publishes_go_when_they_have_ended_for_long_enough(push_store: PushStore) -> None:
    ended: list[State] = ["succeeded", "partiallySucceeded", "quota_exceeded", "dead_lettered", "expired"]
    going: list[State] = ["queued", "planning", "dispatching"]
    target = Target(type="channel", channel="news")
    for number, state in enumerate([*ended, *going]):
        await accept(push_store, f"old{number}", at=NOW - 10, state=state)
        shard = Shard(app_id="app", publish_id=f"old{number}", shard_id="shard-0", target=target)
        await push_store.put_shard(shard)
    await accept(push_store, "new", at=NOW, state="failed")
    # It was accepted long ago, and ended just now.
    late = await accept(push_store, "late", at=NOW - 10)
    await push_store.swap_status(late, replace(late, state="failed", updated_at_ms=NOW))
    assert await clean(push_store, {"publish_status": NOW}) == {"publish_status": 5, "idempotency": 0, "locks": 0}
    left = {status.publish_id for status in await push_store.statuses("app", states=None, after="", limit=100)}
    assert left == {"old5", "old6", "old7", "new", "late"}
    assert {intent.publish_id for intent in await push_store.intents("app", "", 100)} == left
    assert await push_store.shard("app", "old0", "shard-0") is None
    assert await push_store.shard("app", "old5", "shard-0") is not None
    assert await push_store.count_publishes("app") == {"queued": 1, "planning": 1, "dispatching": 1, "failed": 2}


async def test_a_publish_whose_status_is_gone_can_be_accepted_anew(push_store: PushStore) -> None:
    await accept(push_store, state="failed", at=NOW - 10)
    await clean(push_store, {"publish_status": NOW})
    assert await push_store.accepted("app", ["id:ship"], NOW) is None
    await accept(push_store)


async def test_each_category_goes_by_its_own_time_in_bounded_steps(push_store: PushStore) -> None:
    for number in range(5):
        await accept(push_store, f"p{number}", at=NOW - 5 + number, state="failed")
        await push_store.append_events([an_event(str(number), NOW - 5 + number)])
        await push_store.append_dead_letters([a_letter(str(number), NOW - 5 + number)])
        await push_store.note_operator("app", str(number), NOW - 5 + number)
    await push_store.append_events([an_event("new", NOW)])
    await push_store.append_dead_letters([a_letter("new", NOW)])
    await push_store.note_operator("app", "new", NOW)
    passes = [await clean(push_store, EVERYTHING, limit=2) for _ in range(4)]
    for category in EVERYTHING:
        assert [each[category] for each in passes] == [2, 2, 1, 0]
    assert [event.event_id for event in await push_store.events("app", "ship", "", 10)] == ["new"]
    assert [note.subject for note in await push_store.operator_notes("app", "", 10)] == ["new"]
    assert await push_store.dead_letter("app", "4") is None
    assert await push_store.dead_letter("app", "new") is not None


async def test_what_has_no_time_stays(push_store: PushStore) -> None:
    await accept(push_store, at=NOW - 10, state="failed")
    await push_store.append_events([an_event("a", NOW - 10)])
    await push_store.append_dead_letters([a_letter("a", NOW - 10)])
    await push_store.note_operator("app", "a", NOW - 10)
    assert await clean(push_store, {}) == {"idempotency": 0, "locks": 0}
    assert await push_store.status("app", "ship") is not None
    assert len(await push_store.events("app", "ship", "", 10)) == 1
    assert await push_store.dead_letter("app", "a") is not None
    assert len(await push_store.operator_notes("app", "", 10)) == 1


async def test_keys_and_locks_go_when_they_have_ended(push_store: PushStore) -> None:
    await push_store.accept(a_status(), an_intent(), ["ended", "ended too"], NOW)
    await push_store.accept(a_status("b"), an_intent("b"), ["live"], NOW + 1)
    await push_store.accept(a_status("c"), an_intent("c"), ["for ever"], 5)
    await push_store.take_steps("app", "ship", [a_step("x"), a_step("y")], NOW - DAY, NOW)
    await push_store.take_steps("app", "ship", [a_step("z")], NOW - DAY, NOW + 1)
    await push_store.lock("app", "ended", "one", NOW - 10, NOW)
    await push_store.lock("app", "held", "one", NOW - 10, NOW + 1)
    assert await clean(push_store, {}, limit=3) == {"idempotency": 3, "locks": 1}
    assert await clean(push_store, {}, limit=3) == {"idempotency": 1, "locks": 0}
    assert await clean(push_store, {}, limit=3) == {"idempotency": 0, "locks": 0}
    for key, found in (("ended", False), ("live", True), ("for ever", True)):
        assert (await push_store.accepted("app", [key], NOW) is not None) is found
    taken, _ = await push_store.take_steps("app", "ship", [a_step("x"), a_step("z")], NOW, NOW + DAY)
    assert [step.key for step in taken] == ["x"]
    assert not await push_store.lock("app", "held", "two", NOW, NOW + 10)


async def test_what_is_no_record_of_the_past_is_never_cleaned(push_store: PushStore) -> None:
    await push_store.put_device(a_device())
    await push_store.put_subscription(a_subscription())
    template = Template(app_id="app", template_id="t", default_locale="en", locales={})
    await push_store.put_template(template)
    await push_store.put_job(ScheduledJob(app_id="app", publish_id="j", due_at_ms=0, intent=an_intent("j")))
    await clean(push_store, dict.fromkeys(EVERYTHING, 2**60), 2**60)
    assert await push_store.device("app", "phone") is not None
    assert await push_store.count_subscriptions("app", "news") == 1
    assert await push_store.template("app", "t") == template
    assert await push_store.job("app", "j") is not None


async def test_a_store_says_that_it_answers(push_store: PushStore) -> None:
    assert await push_store.check() is True
