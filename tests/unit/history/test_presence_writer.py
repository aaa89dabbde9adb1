"""Writing what happens on presence channels: what counts as an event, in which order, and what failures do to it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sockudo import errors
from sockudo.base.stream_records import Append, Bounds, Committed
from sockudo.hub import MemberEvent
from support.durable import NOW_MS, Held, lose, refuse
from support.waiting import settle
from unit.history.presence import ROOM, Observed, added, observed_app, removed, updated

LOST = "presence_history_reset_required_after_write_failure"


@pytest.fixture(params=[True, False], ids=["durable", "memory"])
async def observed(request: pytest.FixtureRequest) -> AsyncIterator[Observed]:
    async with Observed(durable=request.param) as running:
        yield running


@pytest.fixture
async def durable() -> AsyncIterator[Observed]:
    async with Observed() as running:
        yield running


def told(observed: Observed) -> list[tuple[str, str]]:
    """Kind and user of what the store holds, in order."""
    events = [json.loads(row.message) for row in observed.rows()]
    return [(event["event"].removeprefix("member_"), event["user_id"]) for event in events]


# ---- what is an event ----


async def test_leaving_and_coming_back_on_one_socket_is_kept_as_it_was(observed: Observed) -> None:
    """Who leaves and comes back on one connection has both events (spec: history § 8.1)."""
    await observed.happen(added(), removed(), added())
    assert told(observed) == [("added", "ana"), ("removed", "ana"), ("added", "ana")]


async def test_an_update_counts_when_it_says_something_else(observed: Observed) -> None:
    await observed.happen(added(info=b"1"), updated(info=b"1"), updated(info=b"2"), updated(info=b"2"))
    await observed.happen(updated(info=b"3"), updated(info=b"2"))
    infos = [json.loads(row.message)["user_info"] for row in observed.rows()]
    assert infos == [1, 2, 3, 2]


async def test_what_the_history_says_already_or_knows_nothing_of_is_no_event(observed: Observed) -> None:
    await observed.happen(removed(), updated(), added(), added("ana", b'{"n":9}', "1.2"), removed(), removed())
    assert told(observed) == [("added", "ana"), ("removed", "ana")]


async def test_users_and_channels_do_not_mix(observed: Observed) -> None:
    observed.note(added("ana"), added("ben"))
    observed.note(added("ana"), channel="presence-other")
    await settle()
    observed.note(removed("ben"))
    await settle()
    assert told(observed) == [("added", "ana"), ("added", "ben"), ("removed", "ben")]
    assert observed.kinds("presence-other") == ["presence:member_added"]


async def test_a_row_carries_what_a_reader_needs(observed: Observed) -> None:
    await observed.happen(added(info=b'{"name":"Ana"}', socket_id="7.8"))
    [row] = observed.rows()
    assert row.event_name == "presence:member_added"
    assert row.published_at_ms == int(observed.time.time() * 1000)
    stored = json.loads(row.message)
    assert stored.pop("node_id").startswith("this-node:")
    assert stored == {
        "event": "member_added",
        "cause": "join",
        "user_id": "ana",
        "connection_id": "7.8",
        "user_info": {"name": "Ana"},
        "dead_node_id": None,
    }


async def test_channels_without_a_presence_history_cost_nothing() -> None:
    async with Observed() as observed:
        observed.app = observed_app("another")
        await observed.happen(added())
        assert observed.rows() == []
        assert observed.store.names() == ["start", "info", "ensure"]


async def test_a_burst_on_many_channels_is_written_in_the_order_of_each(observed: Observed) -> None:
    names = [f"presence-{number}" for number in range(200)]
    for user_id in ("ana", "ben", "cid"):
        for name in names:
            observed.note(added(user_id), channel=name)
    for name in names:
        observed.note(removed("ben"), channel=name)
    for _ in range(40):
        await settle()
    for name in names:
        assert [json.loads(row.message)["user_id"] for row in observed.rows(name)] == ["ana", "ben", "cid", "ben"]
    assert observed.presence.runtime_status()["queue_depth"] == 0
    assert observed.presence.counters.writes == {"app": 800}


async def test_what_a_process_before_this_one_wrote_is_gone_on_with() -> None:
    async with Observed() as first:
        await first.happen(added(), added("ben", b"5"), removed("ben"))
    async with Observed(store=first.store) as second:
        await second.happen(added(), updated(info=b'{"n":7}'), removed(), added("ben", b"5"))
        assert told(second)[3:] == [("updated", "ana"), ("removed", "ana"), ("added", "ben")]


async def test_one_departure_that_two_nodes_report_is_written_once() -> None:
    """Situation 32 of spec: history § 10.2: whoever is second finds the key of the departure."""
    async with Observed() as one, Observed(store=one.store) as other:
        await one.happen(added())
        other.note(added())
        await settle()
        one.note(MemberEvent("member_removed", "orphan_cleanup", "ana"))
        other.note(MemberEvent("member_removed", "orphan_cleanup", "ana"))
        await settle()
        assert told(one) == [("added", "ana"), ("removed", "ana")]


# ---- members of a process that did not live to see them go ----


async def test_whoever_comes_next_takes_out_who_was_left_in() -> None:
    async with Observed() as ended:
        await ended.happen(added("ana"), added("ben", socket_id="1.2"), added("cid"), removed("cid"))
        dead = json.loads(ended.rows()[0].message)["node_id"]
    async with Observed(store=ended.store, alone=True) as observed:
        await observed.happen(added("ana", socket_id="2.1"))
        page = await observed.page(direction="oldest_first", bounds=Bounds(5))
        shown = [(i["event"], i["cause"], i["user_id"], i["connection_id"], i["dead_node_id"]) for i in page["items"]]
        assert shown == [
            ("member_removed", "orphan_cleanup", "ana", None, dead),
            ("member_removed", "orphan_cleanup", "ben", None, dead),
            ("member_added", "join", "ana", "2.1", None),
        ]
        assert await observed.members() == ["ana"]


@pytest.mark.parametrize("owner", ["this-node:1a2b3c4d", "this-node", None])
async def test_members_of_the_version_before_belong_to_a_node_that_is_gone(owner: str | None) -> None:
    """Its rows name a process, or nothing."""
    async with Observed() as before:
        event = {"event": "member_added", "cause": "join", "user_id": "ana", "connection_id": "1.1", "user_info": {}}
        text = json.dumps(event | ({} if owner is None else {"node_id": owner})).encode()
        await before.store.inner.commit([Append("app", f"[presence-history]{ROOM}", text, "e1", None, NOW_MS)])
    async with Observed(store=before.store, alone=True) as observed:
        await observed.happen(added("ben", socket_id="2.1"))
        assert told(observed) == [("added", "ana"), ("removed", "ana"), ("added", "ben")]
        [removal] = [json.loads(row.message) for row in observed.rows()[1:2]]
        assert (removal["cause"], removal["dead_node_id"]) == ("orphan_cleanup", owner)


async def test_members_of_this_node_stay_in_while_it_leaves_the_others() -> None:
    async with Observed(alone=True) as observed:
        await observed.happen(added("ana"))
        observed.node_id = "another"
        observed.presence.stream_changed("app", f"[presence-history]{ROOM}")
        assert await observed.members() == ["ana"]


@pytest.mark.parametrize("ask", ["page", "members"])
async def test_nobody_has_to_come_for_that_who_asks_is_enough(ask: str) -> None:
    async with Observed() as ended:
        await ended.happen(added("ana"))
    async with Observed(store=ended.store, alone=True) as observed:
        await getattr(observed, ask)()
        assert told(observed) == [("added", "ana"), ("removed", "ana")]
        await observed.page()
        assert len(observed.rows()) == 2


async def test_who_asks_while_the_store_is_away_leaves_nothing_behind() -> None:
    async with Observed() as ended:
        await ended.happen(added("ana"))
    async with Observed(store=ended.store, alone=True) as observed:
        observed.store.plan("read", refuse())
        with pytest.raises(errors.SockudoError) as problem:
            await observed.page()
        assert problem.value.spec is errors.HISTORY_UNAVAILABLE
        assert observed.presence.runtime_status()["degraded_channels"] == 0
        observed.store.plan("commit", refuse())
        with pytest.raises(errors.SockudoError) as problem:
            await observed.page()
        assert problem.value.spec is errors.HISTORY_DEGRADED
        await observed.time.elapse(1)
        assert len((await observed.page())["items"]) == 2
        assert observed.presence.runtime_status()["degraded_channels"] == 0


async def test_who_asks_does_not_change_for_how_long_a_stream_is_kept() -> None:
    async with Observed() as ended:
        ended.app = observed_app(max_events_per_channel=7)
        await ended.happen(added("ana"))
    async with Observed(store=ended.store, alone=True) as observed:
        observed.app = observed_app(max_events_per_channel=7)
        await observed.page()
        retention = observed.store.inner._streams["app", f"[presence-history]{ROOM}"].retention
        assert (len(observed.rows()), retention.max_messages) == (2, 7)


async def test_members_of_this_process_stay_when_its_log_is_read_again() -> None:
    async with Observed(alone=True) as observed:
        await observed.happen(added("ana"))
        observed.presence.stream_changed("app", f"[presence-history]{ROOM}")
        assert await observed.members() == ["ana"]


# ---- failures that pass ----


async def test_what_cannot_be_written_now_is_written_later_and_presence_never_waits(observed: Observed) -> None:
    observed.store.plan("commit", refuse(), refuse())
    await observed.happen(added(), updated())
    assert observed.rows() == []
    assert observed.presence.runtime_status() | {"backend": "", "state_authority": ""} == {
        "enabled": True,
        "backend": "",
        "state_authority": "",
        "degraded_channels": 1,
        "reset_required_channels": 0,
        "queue_depth": 2,
    }
    await observed.time.elapse(0.1)
    assert observed.rows() == []
    await observed.time.elapse(0.2)
    assert told(observed) == [("added", "ana"), ("updated", "ana")]
    status = observed.presence.runtime_status()
    assert (status["degraded_channels"], status["queue_depth"]) == (0, 0)
    counters = observed.presence.counters
    assert (counters.writes, counters.write_failures, counters.lost) == ({"app": 2}, {"app": 2}, {})
    assert (counters.degradations, counters.healings) == ({"app": 1}, {"app": 1})
    assert counters.latency["app"].counts[0] == 2


async def test_an_event_has_the_time_at_which_it_happened(durable: Observed) -> None:
    durable.store.plan("commit", refuse())
    happened_at = int(durable.time.time() * 1000)
    await durable.happen(added())
    await durable.time.elapse(60)
    [row] = durable.rows()
    assert row.published_at_ms == happened_at


@pytest.mark.parametrize("done", [True, False])
async def test_a_commit_of_unknown_outcome_leaves_one_event(durable: Observed, done: bool) -> None:
    durable.store.plan("commit", None, lose(done=done))
    await durable.happen(added())
    await durable.happen(removed())
    await durable.time.elapse(0.5)
    assert told(durable) == [("added", "ana"), ("removed", "ana")]
    assert durable.presence.runtime_status()["degraded_channels"] == 0


async def test_a_log_that_cannot_be_read_first_is_not_written_blindly(durable: Observed) -> None:
    durable.store.plan("read", refuse())
    await durable.happen(added())
    assert durable.rows() == []
    await durable.time.elapse(0.2)
    assert told(durable) == [("added", "ana")]


async def test_retries_become_rare_and_end_with_the_outage(durable: Observed) -> None:
    durable.store.down = True
    await durable.happen(added())
    for _ in range(12):
        await durable.time.elapse(5.0)
    durable.store.names()
    for _ in range(10):
        await durable.time.elapse(1.0)
    assert durable.store.names().count("read") == 2
    durable.store.down = False
    await durable.time.elapse(5.0)
    assert told(durable) == [("added", "ana")]


async def test_a_history_that_is_not_open_yet_gets_what_happened_before() -> None:
    async with Observed() as observed:
        observed.durable_history.put(None)
        await observed.happen(added())
        with pytest.raises(errors.SockudoError) as problem:
            await observed.page()
        assert problem.value.spec is errors.HISTORY_UNAVAILABLE
        observed.durable_history.put(observed.kept)
        await observed.time.elapse(0.2)
        assert told(observed) == [("added", "ana")]


# ---- events that are lost ----


def refusing(user_id: str, observed: Observed) -> None:
    """The store can never take the events of one user."""
    inner = observed.store.inner.commit

    async def picky(appends: list[Append]) -> list[Committed]:
        if any(json.loads(append.message)["user_id"] == user_id for append in appends):
            raise errors.INVALID_INPUT("no NUL, please")
        return await inner(appends)

    observed.store.inner.commit = picky  # type: ignore[method-assign, assignment]


async def test_an_event_that_can_never_be_written_is_lost_alone_and_marks_the_stream(durable: Observed) -> None:
    refusing("ben", durable)
    durable.note(added("ana"), added("ben"), removed("ben"), added("cid"))
    await settle()
    await durable.time.elapse(10)
    assert told(durable) == [("added", "ana"), ("added", "cid")]
    assert durable.presence.counters.lost == {"app": 1}
    assert durable.presence.runtime_status()["reset_required_channels"] == 1
    info = await durable.store.inner.info("app", f"[presence-history]{ROOM}")
    assert info is not None
    assert (info.state, info.reason, info.node_id) == ("reset_required", LOST, "this-node")


async def test_the_mark_is_in_the_store_once_that_can_be_written(durable: Observed) -> None:
    await durable.happen(added())
    refusing("ben", durable)
    durable.store.plan("mark", refuse(), refuse())
    await durable.happen(added("ben"))
    info = await durable.store.inner.info("app", f"[presence-history]{ROOM}")
    assert info is not None
    assert info.state == "healthy"
    for _ in range(4):
        await durable.time.elapse(1)
    info = await durable.store.inner.info("app", f"[presence-history]{ROOM}")
    assert info is not None
    assert info.state == "reset_required"


async def test_a_reset_heals_and_who_is_in_is_not_in_by_the_new_stream(durable: Observed) -> None:
    refusing("ben", durable)
    await durable.happen(added("ana"), added("ben"))
    reply = await durable.reset()
    assert reply["purged_events"] == 1
    assert reply["stream"]["state"]["durable_state"] == "healthy"
    assert durable.presence.runtime_status()["reset_required_channels"] == 0
    await durable.happen(updated("ana"), removed("ana"), added("ana"))
    assert told(durable) == [("added", "ana")]
    assert (await durable.page())["continuity"]["complete"]


async def test_more_than_may_wait_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sockudo.history.presence_writer._MAX_WAITING", 5)
    async with Observed() as observed:
        observed.store.down = True
        await observed.happen(*[added(f"user-{number}") for number in range(7)])
        assert observed.presence.counters.lost == {"app": 2}
        assert observed.presence.runtime_status()["queue_depth"] == 5
        observed.store.down = False
        await observed.time.elapse(10)
        assert [user_id for _, user_id in told(observed)] == [f"user-{number}" for number in range(5)]
        assert observed.presence.runtime_status()["reset_required_channels"] == 1


async def test_logs_beyond_the_limit_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sockudo.history.presence_writer._MAX_LOGS", 3)
    async with Observed() as observed:
        for number in range(6):
            await observed.happen(added(), channel=f"presence-{number}")
        observed.store.names()
        await observed.happen(removed(), channel="presence-0")
        assert "read" in observed.store.names()
        assert observed.kinds("presence-0") == ["presence:member_added", "presence:member_removed"]


# ---- a channel that is kept elsewhere from now on ----


async def test_a_channel_that_becomes_durable_has_two_histories_one_of_them_to_be_asked() -> None:
    async with Observed(durable=False) as observed:
        await observed.happen(added("ana"))
        assert await observed.members() == ["ana"]
        observed.app = observed_app(durable=True)
        await observed.happen(added("ben"))
        assert await observed.members() == ["ben"]
        observed.app = observed_app(durable=False)
        assert await observed.members() == ["ana"]


async def test_a_mark_stays_with_the_history_it_is_of(durable: Observed) -> None:
    durable.store.down = True
    await durable.happen(added("ana"))
    durable.app = observed_app(durable=False)
    await durable.happen(added("ben"))
    assert not (await durable.page())["continuity"]["degraded"]
    durable.store.down = False
    await durable.time.elapse(10)
    assert durable.presence.runtime_status()["degraded_channels"] == 0
    assert told(durable) == [("added", "ana")]


# ---- the end ----


async def test_what_waits_is_written_at_the_end(durable: Observed) -> None:
    durable.note(*[added(f"user-{number}") for number in range(70)])
    await durable.ended(durable.presence.close())
    assert len(durable.rows()) == 70


async def test_nothing_is_taken_after_the_end(durable: Observed) -> None:
    await durable.ended(durable.presence.close())
    await durable.happen(added())
    assert durable.rows() == []
    assert durable.presence.runtime_status()["queue_depth"] == 0


async def test_the_end_does_not_wait_for_a_store_that_is_away(durable: Observed) -> None:
    durable.store.down = True
    await durable.happen(added())
    await durable.ended(durable.presence.close())
    assert durable.presence.runtime_status()["queue_depth"] == 1


async def test_the_end_waits_for_a_store_that_hangs_a_few_seconds_for_all_channels_together(
    durable: Observed,
) -> None:
    hanging: list[Any] = [Held() for _ in range(200)]
    durable.store.plan("read", *hanging)
    for number in range(200):
        durable.note(added(), channel=f"presence-{number}")
    await settle()
    began = durable.time.monotonic()
    await durable.ended(durable.presence.close())
    assert durable.time.monotonic() - began <= 10
    assert durable.presence.runtime_status()["queue_depth"] == 200
