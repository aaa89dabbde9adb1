"""Group commit, and what becomes of publishes when the store fails in every way it can."""

from __future__ import annotations

import asyncio
import copy
from itertools import pairwise

import pytest

from sockudo import errors
from sockudo.base.stream_records import Append, Committed, Position
from sockudo.errors import SockudoError
from sockudo.history import History, HistoryOptions, Reset
from sockudo.history.writer import Regrouping
from support.durable import APP, Durable, HandTime, Held, failure, lose, refuse
from support.waiting import settle


def committed(durable: Durable) -> list[int]:
    """How many messages each commit was asked to store."""
    return [len(arguments[0]) for name, arguments in durable.store.calls if name == "commit"]


# ---- order and groups ----


async def test_messages_are_numbered_and_delivered_in_the_order_in_which_they_were_submitted(durable: Durable) -> None:
    futures = [durable.submit(channel) for channel in ("news", "sport", "news", "news", "sport")]
    positions = [(await future).position for future in futures]

    assert [position.serial for position in positions] == [1, 1, 2, 3, 2]
    assert [name for name, _ in durable.delivered] == ["m1", "m2", "m3", "m4", "m5"]
    assert [position for _, position in durable.delivered] == positions


async def test_nothing_is_delivered_or_answered_before_its_commit(durable: Durable) -> None:
    held = Held()
    durable.store.plan("commit", held)
    future = durable.submit()
    await settle()
    assert not future.done()
    assert durable.delivered == []

    await held.release()
    assert (await future).position.serial == 1
    assert durable.delivered == [("m1", (await future).position)]


async def test_a_message_is_delivered_before_its_publisher_is_answered(durable: Durable) -> None:
    order: list[str] = []
    future = durable.history.submit(durable.append(), lambda _: order.append("delivered"))
    future.add_done_callback(lambda _: order.append("answered"))
    await future
    await settle()
    assert order == ["delivered", "answered"]


async def test_whatever_waits_when_a_commit_ends_goes_into_the_next_one(durable: Durable) -> None:
    held = Held()
    durable.store.plan("commit", held)
    durable.submit()
    await settle()
    futures = [durable.submit() for _ in range(7)]
    await held.release()
    await asyncio.gather(*futures)
    assert committed(durable) == [1, 7]


async def test_what_is_published_in_one_turn_is_one_commit(durable: Durable) -> None:
    await durable.say(count=20)
    assert committed(durable) == [20]


async def test_a_commit_takes_at_most_a_thousand_messages() -> None:
    async with Durable() as durable:
        await durable.say(count=2500)
        assert committed(durable) == [1000, 1000, 500]
        assert durable.serials() == list(range(1, 2501))


async def test_a_commit_takes_no_more_once_it_has_four_megabytes(durable: Durable) -> None:
    big = "x" * 1024 * 1024
    futures = [durable.submit(data=big) for _ in range(6)]
    await asyncio.gather(*futures)
    assert committed(durable) == [4, 2]


async def test_publishers_who_come_back_soon_are_brought_together(durable: Durable) -> None:
    """They would take turns otherwise, each waiting for the commit of the other."""
    held = [Held(), Held(), Held()]
    durable.store.plan("commit", *held)
    first = durable.submit()
    await settle()
    second = durable.submit()
    for commit, publisher in ((held[0], first), (held[1], second)):
        await durable.time.elapse(1)
        await commit.release()
        assert publisher.done()
        await durable.time.elapse(0.01)
        durable.submit()
        await settle()
    assert committed(durable) == [1, 1, 2]
    await held[2].release()


async def test_a_repeated_message_is_answered_with_the_first_position_and_not_delivered_again(durable: Durable) -> None:
    first = await durable.submit(message_id="once")
    repeated = await durable.submit(message_id="once")
    assert repeated == Committed(first.position, repeated=True)
    assert [name for name, _ in durable.delivered] == ["once"]


async def test_a_message_in_conflict_with_its_key_is_not_delivered(durable: Durable) -> None:
    first = await durable.submit(message_id="once", fingerprint=b"one")
    other = await durable.submit(message_id="once", fingerprint=b"two")
    assert other == Committed(first.position, repeated=True, conflict=True)
    assert [name for name, _ in durable.delivered] == ["once"]


async def test_a_delivery_that_fails_stops_no_other(durable: Durable) -> None:
    def broken(_: Committed) -> None:
        raise RuntimeError("a defect")

    first = durable.history.submit(durable.append(), broken)
    second = durable.submit()
    assert (await first).position.serial == 1
    assert (await second).position.serial == 2
    assert [name for name, _ in durable.delivered] == ["m2"]


async def test_a_publisher_that_is_gone_keeps_nobody_from_hearing_its_message(durable: Durable) -> None:
    held = Held()
    durable.store.plan("commit", held)
    gone, stays = durable.submit(), durable.submit()
    await settle()
    gone.cancel()
    await held.release()
    assert (await stays).position.serial == 2
    assert [name for name, _ in durable.delivered] == ["m1", "m2"]


async def test_a_turn_delivers_some_of_a_large_commit_at_most() -> None:
    async with Durable() as durable:
        at_each_turn: list[int] = []
        futures = [durable.submit() for _ in range(1000)]
        while not futures[-1].done():
            at_each_turn.append(len(durable.delivered))
            await asyncio.sleep(0)
        steps = [later - earlier for earlier, later in pairwise(at_each_turn)]
        assert max(steps) == 250


# ---- the queue ----


async def test_a_full_queue_refuses_before_anything_is_allocated() -> None:
    async with Durable(queue_capacity=2) as durable:
        held = Held()
        durable.store.plan("commit", held)
        accepted = [durable.submit(), durable.submit()]
        await settle()
        with pytest.raises(SockudoError) as refused:
            durable.submit()
        assert refused.value.spec is errors.HISTORY_BUSY
        assert refused.value.retry_after == 1
        assert durable.history.runtime_status()["queue_depth"] == 2
        assert durable.history.counters.refused_busy == {APP: 1}

        await held.release()
        await asyncio.gather(*accepted)
        assert (await durable.submit()).position.serial == 3
        assert durable.history.runtime_status()["queue_depth"] == 0


async def test_the_queue_is_bounded_in_bytes_too(durable: Durable) -> None:
    durable.store.plan("commit", held := Held())
    accepted = [durable.submit(data="x" * 16 * 1024 * 1024) for _ in range(3)]
    with pytest.raises(SockudoError) as refused:
        durable.submit(data="x" * 17 * 1024 * 1024)
    assert refused.value.spec is errors.HISTORY_BUSY
    await settle()
    await held.release()
    await asyncio.gather(*accepted)


# ---- definite failures ----


async def test_a_store_that_refuses_fails_the_publishes_and_changes_nothing(durable: Durable) -> None:
    await durable.say()
    durable.store.plan("commit", refuse())
    failed = [await failure(future) for future in [durable.submit(), durable.submit("sport")]]

    assert [(problem.spec, problem.retry_after) for problem in failed] == [(errors.HISTORY_UNAVAILABLE, None)] * 2
    assert failed[0] is not failed[1]
    assert [name for name, _ in durable.delivered] == ["m1"]
    assert (await durable.durable_state())["durable_state"] == "healthy"
    assert [position.serial for position in await durable.say("news", "sport")] == [2, 1]
    assert durable.history.counters.write_failures == {APP: 2}


async def test_a_message_that_cannot_be_stored_fails_alone(durable: Durable) -> None:
    """The store says so of a whole commit; the others are stored all the same, in their order."""
    inner = durable.store.inner.commit

    async def picky(appends: list[Append]) -> list[Committed]:
        if any(append.message_id == "m4" for append in appends):
            raise errors.INVALID_INPUT("no NUL, please")
        return await inner(appends)

    durable.store.inner.commit = picky  # type: ignore[method-assign, assignment]
    futures = [durable.submit() for _ in range(9)]
    assert (await failure(futures[3])).spec is errors.INVALID_INPUT
    assert [(await future).position.serial for future in futures if future is not futures[3]] == list(range(1, 9))
    assert durable.ids() == ["m1", "m2", "m3", "m5", "m6", "m7", "m8", "m9"]
    assert [name for name, _ in durable.delivered] == durable.ids()


async def test_a_failure_that_nobody_asks_about_is_no_defect(durable: Durable) -> None:
    durable.store.plan("commit", refuse())
    durable.submit()
    await settle()


# ---- unknown outcomes ----


@pytest.mark.parametrize("done", [True, False])
async def test_a_connection_lost_during_commit_is_resolved_and_nobody_hears_what_was_said_to_have_failed(
    durable: Durable, done: bool
) -> None:
    await durable.say(count=2)
    durable.store.plan("commit", lose(done=done))
    problem = await failure(durable.submit())
    assert (problem.spec, problem.retry_after) == (errors.HISTORY_UNAVAILABLE, 1)

    await settle()
    assert (await durable.durable_state())["durable_state"] == "healthy"
    assert durable.ids() == ["m1", "m2"]
    assert [position.serial for position in await durable.say()] == [3]
    assert durable.serials() == [1, 2, 3]
    assert durable.changes == []
    counters = durable.history.counters
    assert (counters.degradations, counters.healings) == ({APP: 1}, {APP: 1})


async def test_what_was_taken_back_may_be_published_again_under_its_key(durable: Durable) -> None:
    durable.store.plan("commit", lose(done=True))
    await failure(durable.submit(message_id="order-7"))
    await settle()
    outcome = await durable.submit(message_id="order-7")
    assert outcome == Committed(Position(durable.rows()[0].stream_id, 1))
    assert durable.ids() == ["order-7"]
    assert [name for name, _ in durable.delivered] == ["order-7"]


async def test_an_earlier_publish_under_the_same_key_is_not_taken_back(durable: Durable) -> None:
    """The repeat is in a commit of unknown outcome, in the very same millisecond."""
    await durable.submit(message_id="order-7")
    durable.store.plan("commit", lose(done=True))
    await failure(durable.submit(message_id="order-7"))
    await settle()
    assert durable.ids() == ["order-7"]
    assert (await durable.durable_state())["durable_state"] == "healthy"


async def test_a_degraded_stream_refuses_at_once_while_others_go_on(durable: Durable) -> None:
    await durable.say("news", "sport")
    durable.store.plan("commit", lose(done=True))
    durable.store.plan("info", refuse(), refuse())
    await failure(durable.submit("news"))
    await settle()

    with pytest.raises(SockudoError) as refused:
        durable.submit("news")
    assert refused.value.spec is errors.HISTORY_DEGRADED
    assert refused.value.retry_after == 1
    assert [position.serial for position in await durable.say("sport")] == [2]


async def test_what_waits_for_a_stream_that_becomes_degraded_is_refused_and_the_rest_is_stored(
    durable: Durable,
) -> None:
    held = Held()
    durable.store.plan("commit", held)
    durable.store.plan("info", refuse())
    first = durable.submit("news")
    await settle()
    waiting = [durable.submit("news"), durable.submit("sport")]
    await held.release(lose(done=True))
    assert (await failure(first)).spec is errors.HISTORY_UNAVAILABLE
    assert (await failure(waiting[0])).spec is errors.HISTORY_DEGRADED
    assert (await waiting[1]).position.serial == 1


async def test_an_exception_that_no_adapter_should_let_through_leaves_the_outcome_unknown(durable: Durable) -> None:
    async def broken(_: object) -> object:
        raise RuntimeError("a defect of the adapter")

    durable.store.plan("commit", broken)
    assert (await failure(durable.submit())).spec is errors.HISTORY_UNAVAILABLE
    await settle()
    assert [position.serial for position in await durable.say()] == [1]


# ---- a store that hangs ----


async def test_a_hanging_store_is_given_up_after_the_write_timeout(durable: Durable) -> None:
    durable.store.plan("commit", Held())
    first = durable.submit("news")
    await durable.time.elapse(3)
    waiting = durable.submit("sport")
    await durable.time.elapse(1.9)
    assert not first.done()

    await durable.time.elapse(0.1)
    for future in (first, waiting):
        problem = await failure(future)
        assert (problem.spec, problem.retry_after) == (errors.HISTORY_UNAVAILABLE, 1)
    assert durable.delivered == []


async def test_while_a_store_hangs_publishes_fail_at_once(durable: Durable) -> None:
    held = Held()
    durable.store.plan("commit", held)
    durable.submit("news")
    await durable.time.elapse(5)
    with pytest.raises(SockudoError) as degraded:
        durable.submit("news")
    assert degraded.value.spec is errors.HISTORY_DEGRADED
    with pytest.raises(SockudoError) as other:
        durable.submit("sport")
    assert other.value.spec is errors.HISTORY_UNAVAILABLE
    with pytest.raises(SockudoError, match="hangs"):
        await durable.history.check()

    await held.release()
    assert await durable.history.check()
    assert [position.serial for position in await durable.say("news", "sport")] == [1, 1]


async def test_what_a_hanging_commit_did_store_in_the_end_is_taken_back(durable: Durable) -> None:
    await durable.say()
    held = Held()
    durable.store.plan("commit", held)
    await_failure = durable.submit()
    await durable.time.elapse(5)
    await failure(await_failure)
    state = await durable.durable_state()
    assert state == {
        "stream_id": durable.rows()[0].stream_id,
        "durable_state": "degraded",
        "recovery_allowed": False,
        "reset_required": False,
        "reason": "durable_history_write_failed",
        "node_id": "local",
        "last_transition_at_ms": int(durable.time.time() * 1000),
        "authoritative_source": "in_memory",
        "observed_source": "local_memory_hint",
    }

    await held.release()
    assert durable.ids() == ["m1"]
    assert (await durable.durable_state())["durable_state"] == "healthy"
    assert [position.serial for position in await durable.say()] == [2]
    assert durable.serials() == [1, 2]


async def test_a_repeat_in_a_hanging_commit_takes_nothing_back(durable: Durable) -> None:
    await durable.submit(message_id="once")
    held = Held()
    durable.store.plan("commit", held)
    durable.submit(message_id="once")
    await durable.time.elapse(5)
    durable.store.names()
    await held.release()
    assert durable.store.names() == ["info"]
    assert durable.ids() == ["once"]


@pytest.mark.parametrize("end", [refuse(), lose(done=True), lose(done=False)])
async def test_however_a_hanging_commit_ends_the_stream_is_as_it_was(durable: Durable, end: object) -> None:
    await durable.say()
    held = Held()
    durable.store.plan("commit", held)
    durable.submit()
    await durable.time.elapse(5)
    await held.release(end)  # type: ignore[arg-type]  # one of the steps
    assert durable.ids() == ["m1"]
    assert [position.serial for position in await durable.say()] == [2]


async def test_the_way_back_is_tried_again_and_again_and_the_state_is_written_down(durable: Durable) -> None:
    await durable.say()
    durable.store.plan("commit", lose(done=True))
    durable.store.plan("retract", refuse(), refuse(), refuse())
    await failure(durable.submit())
    durable.store.names()
    await settle()
    assert durable.store.names() == ["info", "read", "retract", "mark"]
    assert durable.store.inner._streams[APP, "news"].state == "degraded"

    await durable.time.elapse(0.05)
    assert durable.store.names() == []
    await durable.time.elapse(0.05)
    assert durable.store.names() == ["info", "read", "retract"]
    await durable.time.elapse(0.2)
    assert durable.store.names() == ["info", "read", "retract"]
    await durable.time.elapse(0.4)
    assert durable.store.names() == ["info", "read", "retract", "mark"]
    assert durable.store.inner._streams[APP, "news"].state == "healthy"
    assert durable.ids() == ["m1"]
    assert [position.serial for position in await durable.say()] == [2]


async def test_a_store_that_is_down_for_long_is_asked_every_five_seconds(durable: Durable) -> None:
    durable.store.plan("commit", lose(done=False))
    await failure(durable.submit())
    durable.store.down = True
    for _ in range(8):
        await durable.time.elapse(10)
    durable.store.names()
    await durable.time.elapse(4.9)
    assert durable.store.names() == []
    await durable.time.elapse(0.1)
    assert durable.store.names() == ["info"]
    durable.store.down = False
    await durable.time.elapse(5)
    assert (await durable.durable_state())["durable_state"] == "healthy"


async def test_a_cure_that_hangs_is_waited_for_and_tried_again(durable: Durable) -> None:
    durable.store.plan("commit", lose(done=True))
    held = Held()
    durable.store.plan("retract", held)
    await failure(durable.submit())
    await settle()
    await durable.time.elapse(5)
    with pytest.raises(SockudoError) as refused:
        durable.submit("sport")
    assert refused.value.spec is errors.HISTORY_UNAVAILABLE
    await held.release()
    await durable.time.elapse(0.1)
    assert durable.ids() == []
    assert [position.serial for position in await durable.say("news", "sport")] == [1, 1]


# ---- a store that was wiped or restored under the running server ----


async def test_a_stream_that_fell_back_gets_another_id_before_anything_is_said_on_it(durable: Durable) -> None:
    """A backup has the same stream id and earlier serials: what comes next must not repeat the serials in between."""
    positions = await durable.say(count=3)
    backup = durable.store.inner._streams[APP, "news"]
    old = positions[0].stream_id
    backup.retract({2, 3})

    [position] = await durable.say()
    assert position.stream_id != old
    assert position.serial == 2
    assert durable.changes == [("news", Position(position.stream_id, 1))]
    assert durable.delivered[-1] == ("m4", position)
    assert [(row.stream_id, row.serial) for row in durable.rows()] == [
        (position.stream_id, 1),
        (position.stream_id, 2),
    ]
    assert await durable.say() == [Position(position.stream_id, 3)]
    assert len(durable.changes) == 1


async def test_several_messages_of_one_commit_go_into_the_new_stream_together(durable: Durable) -> None:
    await durable.say(count=3)
    durable.store.inner._streams[APP, "news"].retract({3})
    positions = await durable.say(count=4)
    assert [position.serial for position in positions] == [3, 4, 5, 6]
    assert len({position.stream_id for position in positions}) == 1
    assert [position for _, position in durable.delivered[3:]] == positions


async def test_a_stream_that_fell_back_and_cannot_be_given_another_id_is_degraded(durable: Durable) -> None:
    [first, _] = await durable.say(count=2)
    durable.store.inner._streams[APP, "news"].retract({2})
    durable.store.plan("rotate", refuse(), refuse())
    futures = [durable.submit(), durable.submit("sport")]
    assert (await failure(futures[0])).spec is errors.HISTORY_UNAVAILABLE
    assert (await futures[1]).position.serial == 1
    await settle()
    with pytest.raises(SockudoError) as refused:
        durable.submit()
    assert refused.value.spec is errors.HISTORY_DEGRADED

    await durable.time.elapse(0.1)
    assert durable.ids() == ["m1"]
    [position] = await durable.say()
    assert position.serial == 2
    assert position.stream_id != first.stream_id
    assert durable.changes == [("news", Position(position.stream_id, 1))]


async def test_a_stream_that_had_ended_does_not_come_back(durable: Durable) -> None:
    """A backup from before a reset: its stream is another one than the newest, and yet not a new one."""
    [first] = await durable.say()
    backup = copy.deepcopy(durable.store.inner._streams)
    await durable.say()
    await durable.history.reset(APP, "news", Reset("news", "reset", "x"))
    durable.store.inner._streams = backup
    [position] = await durable.say()
    assert position.serial == 2
    assert position.stream_id not in {first.stream_id, durable.changes[0][1].stream_id}
    assert durable.changes[1:] == [("news", Position(position.stream_id, 1))]


async def test_a_wiped_store_is_noticed_with_the_next_message(durable: Durable) -> None:
    [old, _] = await durable.say(count=2)
    await durable.store.inner.delete_app(APP)
    [position] = await durable.say()
    assert position.stream_id != old.stream_id
    assert position.serial == 1
    assert durable.changes == [("news", Position(position.stream_id, 0))]


async def test_messages_that_another_process_stored_in_between_come_before_those_of_this_one(durable: Durable) -> None:
    [first] = await durable.say()
    await durable.store.inner.commit([durable.append()])
    [position] = await durable.say()
    assert position == Position(first.stream_id, 3)
    assert [name for name, _ in durable.delivered] == ["m1"]
    await durable.time.elapse(0.25)
    assert [name for name, _ in durable.delivered] == ["m1", "m2", "m3"]
    assert durable.changes == []


async def test_an_announcement_that_fails_stops_nothing(durable: Durable) -> None:
    def broken(_app_id: str, _channel: str, _position: Position) -> None:
        raise RuntimeError("a defect")

    history = History(
        durable.store,  # type: ignore[arg-type]
        durable.time,
        HistoryOptions(),
        broken,
        sleep=durable.time.sleep,
    )
    await history.start()
    await history.submit(durable.append(), lambda _: None)
    await durable.store.inner.delete_app(APP)
    assert (await history.submit(durable.append(), lambda _: None)).position.serial == 1
    await history.close()


async def test_a_stream_that_fell_back_while_a_commit_was_lost_gets_another_id_too(durable: Durable) -> None:
    [first, *_] = await durable.say(count=5)
    durable.store.inner._streams[APP, "news"].retract({3, 4, 5})
    durable.store.plan("commit", lose(done=True))
    await failure(durable.submit())
    await settle()
    assert durable.ids() == ["m1", "m2"]
    [position] = await durable.say()
    assert position.serial == 3
    assert position.stream_id != first.stream_id
    assert durable.changes == [("news", Position(position.stream_id, 2))]


# ---- the end ----


async def test_closing_answers_those_who_wait_and_takes_no_more(durable: Durable) -> None:
    futures = [durable.submit() for _ in range(3)]
    await durable.history.close()
    assert [future.result().position.serial for future in futures] == [1, 2, 3]
    with pytest.raises(SockudoError) as refused:
        durable.submit()
    assert refused.value.spec is errors.HISTORY_UNAVAILABLE


async def test_closing_takes_back_what_nobody_heard() -> None:
    durable = Durable()
    await durable.history.start()
    durable.store.plan("commit", lose(done=True))
    durable.store.plan("info", refuse())
    await failure(durable.submit())
    await settle()
    assert durable.ids() == ["m1"]
    await durable.history.close()
    assert durable.ids() == []


async def test_closing_does_not_wait_for_a_store_that_hangs() -> None:
    durable = Durable()
    await durable.history.start()
    durable.store.plan("commit", Held())
    future = durable.submit()
    await durable.time.elapse(5)
    await durable.history.close()
    assert future.done()


async def test_commits_are_counted_with_the_time_they_took(durable: Durable) -> None:
    held = Held()
    durable.store.plan("commit", held)
    futures = [durable.submit(), durable.submit()]
    await durable.time.elapse(0.02)
    await held.release()
    await asyncio.gather(*futures)
    counters = durable.history.counters
    assert counters.writes == {APP: 2}
    latency = counters.latency[APP]
    assert sum(latency.counts) == 1
    assert latency.counts[5] == 1
    assert round(latency.sum_ms, 6) == 20


class Queue:
    """Publishers that all come back so many seconds after they were answered."""

    def __init__(self) -> None:
        self.time = HandTime()
        self.regrouping = Regrouping(self.time, self.time.sleep)

    def come_back(self, publishers: int, after: float = 0.0) -> None:
        self.time.advance(after)
        for _ in range(publishers):
            self.regrouping.arrived()

    def commit(self, publishers: int, took: float) -> None:
        self.time.advance(took)
        self.regrouping.answered(publishers, took)

    async def waits(self) -> bool:
        """Whether the next commit waits now."""
        waiting = asyncio.ensure_future(self.regrouping.wait())
        await settle()
        waits = not waiting.done()
        waiting.cancel()
        return waits


@pytest.fixture
def queue() -> Queue:
    """Four publishers that come back in a tenth of the time of a commit, as has been seen once."""
    queue = Queue()
    queue.come_back(4)
    queue.commit(4, took=1.0)
    queue.come_back(4, after=0.1)
    queue.commit(4, took=1.0)
    return queue


async def test_who_comes_back_soon_is_waited_for(queue: Queue) -> None:
    waiting = asyncio.ensure_future(queue.regrouping.wait())
    queue.come_back(3)
    await settle()
    assert not waiting.done()
    queue.come_back(1)
    await asyncio.wait_for(waiting, 1)


async def test_once_all_are_back_there_is_no_wait(queue: Queue) -> None:
    queue.come_back(4)
    assert not await queue.waits()


async def test_the_first_commits_do_not_wait() -> None:
    queue = Queue()
    assert not await queue.waits()
    queue.come_back(4)
    assert not await queue.waits()
    queue.commit(4, took=1.0)
    assert not await queue.waits()


async def test_who_takes_half_the_time_of_a_commit_is_not_waited_for(queue: Queue) -> None:
    queue.come_back(4, after=0.5)
    queue.commit(4, took=1.0)
    assert not await queue.waits()


async def test_who_did_not_come_back_in_a_whole_commit_is_not_waited_for_again(queue: Queue) -> None:
    queue.come_back(3)
    queue.commit(3, took=1.0)
    assert not await queue.waits()
    queue.come_back(3, after=0.1)
    queue.commit(3, took=1.0)
    assert await queue.waits()


async def test_what_comes_after_a_pause_does_not_wait(queue: Queue) -> None:
    queue.come_back(1, after=0.3)
    assert not await queue.waits()


async def test_a_wait_in_vain_is_short(queue: Queue) -> None:
    waiting = asyncio.ensure_future(queue.regrouping.wait())
    await queue.time.elapse(0.04)
    assert not waiting.done()
    await queue.time.elapse(0.02)
    assert waiting.done()


async def test_a_wait_in_vain_takes_at_most_half_as_long_as_a_commit() -> None:
    queue = Queue()
    for _ in range(2):
        queue.come_back(4, after=0.001)
        queue.commit(4, took=0.02)
    waiting = asyncio.ensure_future(queue.regrouping.wait())
    await queue.time.elapse(0.009)
    assert not waiting.done()
    await queue.time.elapse(0.002)
    assert waiting.done()


async def test_a_single_publisher_never_waits() -> None:
    queue = Queue()
    for _ in range(5):
        queue.come_back(1, after=0.1)
        assert not await queue.waits()
        queue.commit(1, took=1.0)
