"""What every push store promises about publishes and what became of them; the one in memory is the definition."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from contract.places import walked
from sockudo import errors
from sockudo.push.lifecycle import planned
from sockudo.push.outcomes import change_status
from sockudo.push.paging import dead_letter_position, event_position, status_position
from sockudo.push.ports import PushStore
from sockudo.push.recipients import FcmRecipient
from sockudo.push.records import (
    TERMINAL,
    Counters,
    FailureSample,
    OutcomeError,
    Override,
    PublishStatus,
    ScheduledJob,
    Shard,
    State,
    Target,
)
from support.push_stores import (
    DAY,
    NOW,
    a_letter,
    a_status,
    a_step,
    accept,
    an_event,
    an_intent,
)

# With the store, which is open for the whole run.
pytestmark = pytest.mark.asyncio(loop_scope="session")

STATES: list[State] = ["queued", "planning", "throttled", "dispatching", *sorted(TERMINAL)]

UNTIL = NOW + 7 * DAY


async def counters_of(store: PushStore, publish_id: str = "ship") -> Counters:
    status = await store.status("app", publish_id)
    assert status is not None
    return status.counters


async def dispatching(store: PushStore, recipients: int, publish_id: str = "ship") -> PublishStatus:
    """A publish whose planning is over."""
    status = await change_status(store, "app", publish_id, lambda status: planned(status, recipients), NOW)
    assert status is not None
    return status


# ---- accepting ----


async def test_an_accepted_publish_has_status_log_and_keys(push_store: PushStore) -> None:
    intent = an_intent(
        targets=[Target(type="recipient", recipient=FcmRecipient("t")), Target(type="device", device_id="d")],
        overrides=[Override(provider="apns", payload={"aps": {"alert": "x"}})],
        not_before_ms=NOW + 5,
        expires_at_ms=NOW + 9,
        trace=(("traceparent", "00-1-2-01"),),
    )
    status = a_status(regime="fastPath", missing=["device d"], not_before_ms=NOW + 5, expires_at_ms=NOW + 9)
    assert await push_store.accept(status, intent, ["id:ship", "intent:1"], NOW + DAY) is None
    stored = await push_store.status("app", "ship")
    assert stored == replace(status, revision=1, updated_at_ms=NOW)
    assert await push_store.intent("app", "ship") == intent
    for keys in (["id:ship"], ["unknown", "intent:1"]):
        assert await push_store.accepted("app", keys, NOW + 1) == stored
    assert await push_store.accepted("app", ["unknown"], NOW) is None
    assert await push_store.accepted("other", ["id:ship"], NOW) is None
    assert await push_store.status("other", "ship") is None


async def test_a_publish_over_a_quota_has_no_log(push_store: PushStore) -> None:
    status = a_status(state="quota_exceeded", error_reason="too many", code="quota")
    assert await push_store.accept(status, None, ["id:ship"], NOW + DAY) is None
    assert await push_store.intent("app", "ship") is None
    assert await push_store.accepted("app", ["id:ship"], NOW) == replace(status, revision=1, updated_at_ms=NOW)


async def test_the_same_publish_again_changes_nothing(push_store: PushStore) -> None:
    first = await accept(push_store)
    later = a_status(at=NOW + 10, counters=Counters(planned=9))
    again = await push_store.accept(later, an_intent(at=NOW + 10), ["id:ship", "intent:2"], NOW + 2 * DAY)
    assert again == first
    assert await push_store.status("app", "ship") == first
    assert await push_store.intent("app", "ship") == an_intent()
    assert await push_store.accepted("app", ["intent:2"], NOW) is None


async def test_a_publish_with_the_key_of_another_is_that_one(push_store: PushStore) -> None:
    first = await accept(push_store, "first")
    second = await push_store.accept(a_status("second"), an_intent("second"), ["id:second", "id:first"], UNTIL)
    assert second == first
    assert await push_store.status("app", "second") is None
    assert await push_store.accepted("app", ["id:second"], NOW) is None
    # Keys are an app's own.
    other = a_status("second", "other")
    assert await push_store.accept(other, an_intent("second", "other"), ["id:first"], UNTIL) is None


async def test_a_key_that_has_ended_is_free(push_store: PushStore) -> None:
    await accept(push_store, "first")
    late = NOW + DAY
    assert await push_store.accepted("app", ["id:first"], late) is None
    second = a_status("second", at=late)
    assert await push_store.accept(second, an_intent("second", at=late), ["id:first"], late + DAY) is None
    found = await push_store.accepted("app", ["id:first"], late)
    assert found is not None
    assert found.publish_id == "second"


async def test_an_end_before_all_time_is_none(push_store: PushStore) -> None:
    """Below 10^12 an end means that there is none (spec: push § 3.1)."""
    await push_store.accept(a_status(), an_intent(), ["k"], 10**12 - 1)
    assert await push_store.accepted("app", ["k"], 10**15) is not None
    await push_store.accept(a_status("b"), an_intent("b"), ["l"], 10**12)
    assert await push_store.accepted("app", ["l"], 10**12) is None


async def test_what_an_attempt_left_that_went_no_further_is_taken_over(push_store: PushStore) -> None:
    """An identical status without live keys is a crashed attempt; it goes on, with one log event (spec: push § 5)."""
    await push_store.accept(a_status(), an_intent(), ["id:ship"], NOW - 1)
    again = a_status(at=NOW + 10)
    assert await push_store.accept(again, an_intent(at=NOW + 10), ["id:ship"], NOW + DAY) is None
    stored = await push_store.status("app", "ship")
    assert stored == replace(a_status(), revision=1, updated_at_ms=NOW)
    assert await push_store.accepted("app", ["id:ship"], NOW + 10) == stored
    assert await push_store.intents("app", "", 10) == [an_intent()]


@pytest.mark.parametrize("state", ["queued", "planning"])
async def test_what_is_not_the_same_is_not_taken_over(push_store: PushStore, state: State) -> None:
    await push_store.accept(a_status(), an_intent(), [], NOW - 1)
    stored = await push_store.status("app", "ship")
    assert stored is not None
    if state != "queued":
        stored = await push_store.swap_status(stored, replace(stored, state=state))
    other = a_status(counters=Counters(planned=3 if state != "queued" else 4))
    assert await push_store.accept(other, an_intent(), ["id:ship"], NOW + DAY) == stored
    assert await push_store.accepted("app", ["id:ship"], NOW) is None


async def test_long_keys_and_names_that_differ_little(push_store: PushStore) -> None:
    long = "publish-id:app:" + "k" * 3000
    assert await push_store.accept(a_status("Ship"), an_intent("Ship"), [f"{long}a"], UNTIL) is None
    assert await push_store.accept(a_status("ship"), an_intent("ship"), [f"{long}b"], UNTIL) is None
    assert await push_store.accept(a_status("ship "), an_intent("ship "), ["k "], UNTIL) is None
    assert await push_store.accepted("app", ["k"], NOW) is None
    for key, publish_id in ((f"{long}a", "Ship"), (f"{long}b", "ship"), ("k ", "ship ")):
        found = await push_store.accepted("app", [key], NOW)
        assert found is not None
        assert found.publish_id == publish_id


async def test_many_publishes_at_once_are_all_accepted(push_store: PushStore) -> None:
    names = [(f"app{number % 3}", f"p{number:03d}") for number in range(300)]
    await asyncio.gather(*(accept(push_store, publish_id, app_id) for app_id, publish_id in names))
    for app_id in ("app0", "app1", "app2"):
        intents = await push_store.intents(app_id, "", 1000)
        assert [intent.publish_id for intent in intents] == [each for app, each in names if app == app_id]


async def test_of_the_same_publish_many_times_at_once_one_is_accepted(push_store: PushStore) -> None:
    statuses = [a_status(counters=Counters(planned=number)) for number in range(30)]
    results = await asyncio.gather(*(push_store.accept(status, an_intent(), ["id:ship"], UNTIL) for status in statuses))
    stored = await push_store.status("app", "ship")
    assert results.count(None) == 1
    assert [result for result in results if result is not None] == [stored] * 29
    assert stored == replace(statuses[results.index(None)], revision=1, updated_at_ms=NOW)


# ---- statuses ----


@pytest.mark.parametrize("state", STATES)
async def test_every_state_comes_back(push_store: PushStore, state: State) -> None:
    await accept(push_store, "p", state=state)
    status = await push_store.status("app", "p")
    assert status is not None
    assert status.state == state
    assert await push_store.statuses("app", states=[state], after="", limit=10) == [status]
    assert await push_store.statuses("app", states=[each for each in STATES if each != state], after="", limit=9) == []
    assert await push_store.count_publishes("app") == {state: 1}


async def test_a_swap_needs_the_newest_status(push_store: PushStore) -> None:
    first = await accept(push_store)
    second = await push_store.swap_status(first, replace(first, state="planning", updated_at_ms=NOW + 5))
    assert second is not None
    assert (second.state, second.revision, second.updated_at_ms) == ("planning", 2, NOW + 5)
    assert await push_store.swap_status(first, replace(first, state="failed")) is None
    assert await push_store.swap_status(replace(second, updated_at_ms=NOW), second) is None
    assert await push_store.status("app", "ship") == second
    third = await push_store.swap_status(second, replace(second, error_reason="why", updated_at_ms=NOW - 100))
    assert third is not None
    assert (third.revision, third.updated_at_ms, third.error_reason) == (3, NOW + 6, "why")
    assert await push_store.swap_status(a_status("unknown"), a_status("unknown")) is None


async def test_of_concurrent_swaps_exactly_one_wins(push_store: PushStore) -> None:
    first = await accept(push_store)
    results = await asyncio.gather(
        *(push_store.swap_status(first, replace(first, error_reason=str(number))) for number in range(20))
    )
    [winner] = [result for result in results if result is not None]
    assert await push_store.status("app", "ship") == winner
    assert winner.revision == 2


def one_more(status: PublishStatus) -> PublishStatus:
    return replace(status, counters=replace(status.counters, planned=status.counters.planned + 1))


async def test_an_edit_is_a_change_like_others(push_store: PushStore) -> None:
    first = await accept(push_store)
    assert await push_store.edit_status("app", "ship", lambda _: None, NOW + 9) == first
    assert await push_store.edit_status("app", "ship", lambda status: status, NOW + 9) == first
    assert await push_store.edit_status("app", "unknown", one_more, NOW) is None
    second = await push_store.edit_status("app", "ship", one_more, NOW + 5)
    assert second == await push_store.status("app", "ship")
    assert second is not None
    assert (second.revision, second.updated_at_ms, second.counters.planned) == (2, NOW + 5, 4)
    assert await push_store.swap_status(first, first) is None


async def test_an_edit_that_fails_fails_alone(push_store: PushStore) -> None:
    for publish_id in ("a", "b"):
        await accept(push_store, publish_id)

    def broken(_: PublishStatus) -> PublishStatus:
        raise LookupError("a defect")

    edits = [
        push_store.edit_status("app", publish_id, edit, NOW) for publish_id, edit in (("a", broken), ("b", one_more))
    ]
    failed, changed = await asyncio.gather(*edits, return_exceptions=True)
    assert isinstance(failed, LookupError)
    assert isinstance(changed, PublishStatus)
    assert changed.counters.planned == 4
    assert await counters_of(push_store, "a") == Counters(planned=3)


async def test_changing_a_status_loses_nothing_whoever_is_faster(push_store: PushStore) -> None:
    await accept(push_store)
    conflicts: list[int] = []
    changes = [
        change_status(push_store, "app", "ship", one_more, NOW, conflict=lambda: conflicts.append(1)) for _ in range(20)
    ]
    steps = [push_store.take_steps("app", "ship", [a_step(str(number))], NOW, UNTIL) for number in range(20)]
    await asyncio.gather(*changes, *steps)
    status = await push_store.status("app", "ship")
    assert status is not None
    assert (status.counters.planned, status.counters.succeeded) == (23, 20)
    assert (status.revision, status.updated_at_ms) == (41, NOW + 40)
    assert len(conflicts) <= 20


async def test_statuses_come_newest_first(push_store: PushStore) -> None:
    times = [("a", NOW), ("b", NOW + 2), ("c", NOW + 1), ("d", NOW + 1), ("c1", NOW + 1)]
    for publish_id, at in times:
        await accept(push_store, publish_id, at=at, state="failed" if publish_id in "ab" else "queued")
    await accept(push_store, "other", "other")

    async def page(after: str, limit: int) -> list[PublishStatus]:
        return await push_store.statuses("app", states=None, after=after, limit=limit)

    async def some(after: str, limit: int) -> list[PublishStatus]:
        return await push_store.statuses("app", states=["failed", "queued", "failed"], after=after, limit=limit)

    for limit in (1, 2, 100):
        for each in (page, some):
            found = await walked(each, status_position, limit)
            assert [status.publish_id for status in found] == ["b", "d", "c1", "c", "a"]
    failed = await push_store.statuses("app", states=["failed"], after="", limit=10)
    assert [status.publish_id for status in failed] == ["b", "a"]
    assert await push_store.statuses("app", states=[], after="", limit=10) == []
    assert await push_store.count_publishes("app") == {"failed": 2, "queued": 3}


@pytest.mark.parametrize("after", ["x", "1:a", "-0000000000000000001:a", "٣" * 20 + ":a", "0" * 20])
async def test_a_position_of_another_list_is_refused(push_store: PushStore, after: str) -> None:
    with pytest.raises(errors.SockudoError) as caught:
        await push_store.statuses("app", states=None, after=after, limit=10)
    assert caught.value.spec is errors.INVALID_INPUT


# ---- the log, repair, shards and jobs ----


async def test_the_log_has_each_publish_once(push_store: PushStore) -> None:
    assert await push_store.append_log(an_intent("b")) is True
    assert await push_store.append_log(an_intent("b", at=NOW + 1)) is False
    assert await push_store.append_log(an_intent("a")) is True
    assert await push_store.append_log(an_intent("c", at=NOW - 1)) is True
    assert await push_store.append_log(an_intent("b", "other")) is True
    assert [each.publish_id for each in await push_store.intents("app", "", 10)] == ["c", "a", "b"]


async def test_stuck_publishes_are_found_oldest_first(push_store: PushStore) -> None:
    for number in range(6):
        await accept(push_store, f"p{number}", f"app{number % 2}", NOW + number)
    started = await push_store.status("app1", "p1")
    assert started is not None
    await push_store.swap_status(started, replace(started, state="planning"))
    await push_store.accept(a_status("unlogged"), None, [], NOW)

    async def stuck(before: int, limit: int = 10, after: int = -1) -> list[str]:
        found = await push_store.stuck("queued", before, limit, accepted_after_ms=after)
        return [intent.publish_id for intent in found]

    assert await stuck(NOW + 5) == ["p0", "p2", "p3", "p4"]
    assert await stuck(NOW + 5, 2) == ["p0", "p2"]
    assert await stuck(NOW + 5, 2, NOW + 2) == ["p3", "p4"]
    assert await stuck(NOW) == []
    [intent] = await push_store.stuck("planning", NOW + 9, 10)
    assert intent == an_intent("p1", "app1", NOW + 1)


async def test_shards_are_replaced(push_store: PushStore) -> None:
    target = Target(type="channel", channel="news")
    shard = Shard(app_id="app", publish_id="ship", shard_id="shard-0", target=target)
    assert await push_store.shard("app", "ship", "shard-0") is None
    await push_store.put_shard(shard)
    further = replace(shard, cursor="device-7", emitted=1000, done=True)
    await push_store.put_shard(further)
    assert await push_store.shard("app", "ship", "shard-0") == further
    assert await push_store.shard("app", "other", "shard-0") is None


async def test_jobs_are_due_in_order(push_store: PushStore) -> None:
    def a_job(publish_id: str, due: int, app_id: str = "app") -> ScheduledJob:
        return ScheduledJob(app_id=app_id, publish_id=publish_id, due_at_ms=due, intent=an_intent(publish_id, app_id))

    late, soon, other = a_job("a", NOW + 90_000), a_job("b", NOW + 5), a_job("a", NOW + 7, "other")
    for job in (a_job("a", NOW), late, soon, other):
        await push_store.put_job(job)
    assert await push_store.job("app", "a") == late
    assert await push_store.jobs("app", "", 10) == [late, soon]
    assert await push_store.jobs("app", "a", 10) == [soon]
    assert await push_store.due_jobs(NOW + 4, 10) == []
    assert await push_store.due_jobs(NOW + 90_000, 10) == [soon, other, late]
    assert await push_store.due_jobs(NOW + 90_000, 1) == [soon]
    assert await push_store.delete_job("app", "b") is True
    assert await push_store.delete_job("app", "b") is False
    assert await push_store.job("app", "b") is None
    assert await push_store.due_jobs(NOW + 90_000, 10) == [other, late]


# ---- outcomes ----


async def test_steps_are_counted_once_each(push_store: PushStore) -> None:
    await accept(push_store)
    await dispatching(push_store, 3)
    steps = [a_step("a"), a_step("b"), a_step("a"), a_step("c", "retry_scheduled", retry_after_ms=NOW + 9)]
    taken, status = await push_store.take_steps("app", "ship", steps, NOW + 1, UNTIL)
    assert taken == [steps[0], steps[1], steps[3]]
    assert status is not None
    assert status == await push_store.status("app", "ship")
    assert status.counters == Counters(planned=3, dispatched=2, succeeded=2, retry_scheduled=1)
    assert (status.state, status.retry_after_ms, status.revision) == ("dispatching", NOW + 9, 3)
    assert await push_store.take_steps("app", "ship", steps, NOW + 2, UNTIL) == ([], status)
    assert await push_store.status("app", "ship") == status
    more = [a_step("b"), a_step("d", "retry_dispatched"), a_step("e")]
    taken, status = await push_store.take_steps("app", "ship", more, NOW + 2, UNTIL)
    assert taken == more[1:]
    assert status is not None
    assert status.state == "succeeded"
    assert status.counters == Counters(planned=3, dispatched=3, succeeded=3, retry_scheduled=1, retry_attempted=1)
    ids = [event.event_id for event in await push_store.events("app", "ship", "", 100)]
    assert ids == [f"event-{key}" for key in "abcde"]


async def test_failures_are_sampled(push_store: PushStore) -> None:
    await accept(push_store)
    await dispatching(push_store, 60)
    error = OutcomeError(kind="invalid_token", failure_class="device_terminal", reason="Unregistered")
    steps = [a_step(str(number), "rejected", error=error, device_id=f"d{number}") for number in range(50)]
    _, status = await push_store.take_steps("app", "ship", steps, NOW, UNTIL)
    assert status is not None
    assert status.failures == [
        FailureSample(
            provider="fcm",
            failure_class="device_terminal",
            code="invalid_token",
            count=50,
            device_id="d0",
            reason="Unregistered",
        )
    ]
    assert (await push_store.status("app", "ship")) == status


async def test_keys_of_steps_are_those_of_a_publish(push_store: PushStore) -> None:
    for app_id, publish_id in (("app", "a"), ("app", "b"), ("other", "a")):
        await accept(push_store, publish_id, app_id)
        taken, status = await push_store.take_steps(app_id, publish_id, [a_step("k")], NOW, UNTIL)
        assert len(taken) == 1
        assert status is not None
        assert status.counters.succeeded == 1


async def test_which_steps_were_taken(push_store: PushStore) -> None:
    await accept(push_store)
    asked = ["a", "b☃", "c", *(f"other-{number}" for number in range(1200))]
    assert await push_store.steps_taken("app", "ship", asked) == set()
    await push_store.take_steps("app", "ship", [a_step("a"), a_step("b☃"), a_step("unasked")], NOW, UNTIL)
    assert await push_store.steps_taken("app", "ship", asked) == {"a", "b☃"}
    assert await push_store.steps_taken("app", "other", asked) == set()
    assert await push_store.steps_taken("other", "ship", asked) == set()
    assert await push_store.steps_taken("app", "ship", []) == set()


async def test_steps_of_a_publish_that_is_gone_are_kept(push_store: PushStore) -> None:
    assert await push_store.take_steps("app", "ship", [a_step("a")], NOW, UNTIL) == ([a_step("a")], None)
    assert await push_store.take_steps("app", "ship", [a_step("a")], NOW, UNTIL) == ([], None)
    assert await push_store.events("app", "ship", "", 10) == [an_event("event-a")]
    assert await push_store.take_steps("app", "ship", [], NOW, UNTIL) == ([], None)


async def test_no_steps_change_nothing(push_store: PushStore) -> None:
    status = await accept(push_store)
    assert await push_store.take_steps("app", "ship", [], NOW, UNTIL) == ([], status)
    assert await push_store.status("app", "ship") == status


async def test_steps_that_come_at_once_are_all_counted(push_store: PushStore) -> None:
    for publish_id in ("a", "b"):
        await accept(push_store, publish_id)
        await dispatching(push_store, 200, publish_id)

    async def take(publish_id: str, number: int) -> int:
        steps = [a_step(str(each % 200), publish_id=publish_id) for each in range(number * 20, number * 20 + 40)]
        taken, _ = await push_store.take_steps("app", publish_id, steps, NOW, UNTIL)
        return len(taken)

    taken = await asyncio.gather(*(take(publish_id, number) for number in range(10) for publish_id in ("a", "b")))
    assert sum(taken) == 400
    for publish_id in ("a", "b"):
        assert await counters_of(push_store, publish_id) == Counters(planned=200, dispatched=200, succeeded=200)
        status = await push_store.status("app", publish_id)
        assert status is not None
        assert status.state == "succeeded"


async def test_a_swap_and_steps_at_once_lose_nothing(push_store: PushStore) -> None:
    first = await accept(push_store)
    swap = push_store.swap_status(first, replace(first, error_reason="x"))
    steps = [push_store.take_steps("app", "ship", [a_step(str(number))], NOW, UNTIL) for number in range(10)]
    swapped, *_ = await asyncio.gather(swap, *steps)
    status = await push_store.status("app", "ship")
    assert status is not None
    assert status.counters.succeeded == 10
    assert status.error_reason == (None if swapped is None else "x")
    assert status.revision == 11 + (swapped is not None)


async def test_a_batch_of_five_hundred(push_store: PushStore) -> None:
    await accept(push_store)
    await dispatching(push_store, 700)
    steps = [a_step(f"{number:064x}:1") for number in range(500)]
    assert len((await push_store.take_steps("app", "ship", steps, NOW, UNTIL))[0]) == 500
    steps = [a_step(f"{number:064x}:1") for number in range(200, 700)]
    taken, status = await push_store.take_steps("app", "ship", steps, NOW, UNTIL)
    assert taken == steps[300:]
    assert status is not None
    assert (status.state, status.counters.succeeded) == ("succeeded", 700)


# ---- delivery events and dead letters ----


async def test_events_of_a_publish_by_time_and_id(push_store: PushStore) -> None:
    events = [an_event("b", NOW), an_event("a", NOW), an_event("c", NOW - 1), an_event("d", NOW + 1)]
    await push_store.append_events(events)
    await push_store.append_events([events[0], an_event("a", NOW, "other")])
    await push_store.append_events([])
    found = await walked(lambda after, limit: push_store.events("app", "ship", after, limit), event_position)
    assert [event.event_id for event in found] == ["c", "a", "b", "d"]
    assert found[1:3] == [events[1], events[0]]


async def test_events_of_a_publish_at_one_device(push_store: PushStore) -> None:
    names = ["d", "D", "d1", 'd"x', "d\\", "%", "é", None]
    events = [
        replace(each, result=replace(each.result, device_id=name, provider_message_id='"deviceId":"d1"'))
        for number, name in enumerate(names)
        for each in (an_event(f"a{number}", NOW), an_event(f"b{number}", NOW + 1))
    ]
    await push_store.append_events(events)
    for number, name in enumerate(names):
        if name is not None:
            found = await push_store.events("app", "ship", "", 10, device_id=name)
            assert [event.event_id for event in found] == [f"a{number}", f"b{number}"]
            after = event_position(found[0])
            assert await push_store.events("app", "ship", after, 10, device_id=name) == found[1:]
            assert await push_store.events("app", "ship", "", 1, device_id=name) == found[:1]
    assert await push_store.events("app", "ship", "", 10, device_id="unknown") == []


async def test_dead_letters_are_found_by_provider_and_time(push_store: PushStore) -> None:
    letters = [
        a_letter("a", NOW),
        a_letter("b", NOW, provider="apns"),
        a_letter("c", NOW - 5, provider=None, payload=None),
        a_letter("d", NOW + 5, "other", provider="webPush"),
    ]
    await push_store.append_dead_letters(letters)
    await push_store.append_dead_letters([replace(letters[0], reason="again"), a_letter("a", NOW, app_id="app2")])

    async def found(**fields: object) -> str:
        wanted = {"provider": None, "since_ms": None, "until_ms": None, "after": "", "limit": 10, **fields}
        return "".join(each.dead_letter_id for each in await push_store.dead_letters("app", **wanted))  # type: ignore[arg-type]

    assert await found() == "cabd"
    assert await found(provider="apns") == "b"
    assert await found(since_ms=NOW) == "abd"
    assert await found(until_ms=NOW) == "cab"
    assert await found(since_ms=NOW, until_ms=NOW, limit=1) == "a"
    assert await found(after=dead_letter_position(letters[0])) == "bd"
    assert await push_store.dead_letter("app", "a") == letters[0]
    assert await push_store.dead_letter("app", "c") == letters[2]
    assert await push_store.dead_letter("app2", "b") is None


async def test_events_of_one_device(push_store: PushStore) -> None:
    names = ["tablet-7", "tablet-70", 'a "quoted\\ one%', "tablet-7", "Tablet-7"]
    for number, name in enumerate(names):
        made = an_event(f"e-{number}", NOW + number)
        await push_store.append_events([replace(made, result=replace(made.result, device_id=name))])
    await push_store.append_events([an_event("raw", NOW + 9)])

    async def of(device_id: str, after: str = "", limit: int = 10) -> list[str]:
        found = await push_store.events("app", "ship", after, limit, device_id=device_id)
        return [event.event_id for event in found]

    assert await of("tablet-7") == ["e-0", "e-3"]
    assert await of("tablet-7", limit=1) == ["e-0"]
    assert await of("tablet-7", event_position(an_event("e-0", NOW))) == ["e-3"]
    assert await of(names[2]) == ["e-2"]
    assert await of("tablet") == []
