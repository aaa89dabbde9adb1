"""Pages, states and snapshots of presence histories as they are answered (spec: history § 8.2 and 8.3)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sockudo import errors
from sockudo.base.stream_records import KEEP_ALL, SEED_PLACE, Append, Bounds, Retention
from sockudo.errors import SockudoError
from sockudo.history import HistoryQuery
from sockudo.hub import MemberEvent
from support.durable import lose, refuse
from support.inside import live_app
from support.waiting import settle
from unit.history.presence import ROOM, Observed, added, observed_app, removed, updated

STREAM = f"[presence-history]{ROOM}"


@pytest.fixture(params=[True, False], ids=["durable", "memory"])
async def observed(request: pytest.FixtureRequest) -> AsyncIterator[Observed]:
    async with Observed(durable=request.param) as running:
        yield running


@pytest.fixture
async def durable() -> AsyncIterator[Observed]:
    async with Observed() as running:
        yield running


@pytest.fixture
async def memory() -> AsyncIterator[Observed]:
    async with Observed(durable=False) as running:
        yield running


async def refusal(call: Any) -> SockudoError:
    with pytest.raises(SockudoError) as problem:
        await call
    return problem.value


# ---- pages ----


async def test_a_page_is_what_the_specification_shows(observed: Observed) -> None:
    await observed.happen(added(info=b'{"rank":"mate"}', socket_id="311.902"))
    at_ms = int(observed.time.time() * 1000)
    [row] = observed.rows()
    page = await observed.page(limit=5)
    event = {
        "stream_id": row.stream_id,
        "serial": 1,
        "published_at_ms": at_ms,
        "event": "member_added",
        "cause": "join",
        "user_id": "ana",
        "connection_id": "311.902",
        "dead_node_id": None,
    }
    [item] = page.pop("items")
    told = item.pop("presence_event")
    assert json.loads(bytes(told["user_info"])) == {"rank": "mate"}
    assert told | {"user_info": None} == event | {"user_info": None}
    assert item == event | {"payload_size_bytes": len(row.message)}
    source = "durable_store" if observed.durable else "in_memory"
    assert page == {
        "direction": "newest_first",
        "limit": 3,
        "has_more": False,
        "next_cursor": None,
        "bounds": {"start_serial": None, "end_serial": None, "start_time_ms": None, "end_time_ms": None},
        "continuity": {
            "stream_id": row.stream_id,
            "oldest_available_serial": 1,
            "newest_available_serial": 1,
            "oldest_available_published_at_ms": at_ms,
            "newest_available_published_at_ms": at_ms,
            "retained_events": 1,
            "retained_bytes": len(row.message),
            "degraded": False,
            "complete": True,
            "truncated_by_retention": False,
        },
        "stream_state": {
            "stream_id": row.stream_id,
            "durable_state": "healthy",
            "continuity_proven": True,
            "reset_required": False,
            "reason": None,
            "node_id": None,
            "last_transition_at_ms": None,
            "authoritative_source": source,
            "observed_source": source,
        },
    }


async def test_a_channel_on_which_nothing_happened_has_an_empty_page_and_gets_no_stream(observed: Observed) -> None:
    page = await observed.page()
    assert page["items"] == []
    assert page["continuity"]["stream_id"] is None
    assert page["continuity"]["complete"] is True
    assert (await observed.presence.state("app", ROOM))["stream"]["next_serial"] is None
    assert observed.store.inner._streams.keys() <= {SEED_PLACE}


async def test_what_happened_before_the_request_is_in_the_page(observed: Observed) -> None:
    observed.note(added(), removed(), added())
    assert [item["event"] for item in (await observed.page())["items"]] == [
        "member_added",
        "member_removed",
        "member_added",
    ]


@pytest.mark.parametrize("direction", ["oldest_first", "newest_first"])
async def test_pages_follow_each_other_by_cursor_while_more_happens(observed: Observed, direction: Any) -> None:
    await observed.happen(*[added(f"user-{number}") for number in range(7)])
    found: list[int] = []
    cursor = None
    while True:
        page = await observed.page(direction=direction, cursor=cursor)
        found += [item["serial"] for item in page["items"]]
        assert page["has_more"] is (page["next_cursor"] is not None)
        assert page["continuity"]["complete"] is not page["has_more"]
        if not page["has_more"]:
            break
        cursor = page["next_cursor"]
        if direction == "newest_first":
            await observed.happen(removed(f"user-{len(found)}"))
    expected = list(range(1, 8))
    assert found == (expected if direction == "oldest_first" else expected[::-1])


async def test_bounds_in_serial_and_time(observed: Observed) -> None:
    for number in range(5):
        await observed.happen(added(f"user-{number}"))
        await observed.time.elapse(1)
    serials = [item["serial"] for item in (await observed.page(bounds=Bounds(2, 3)))["items"]]
    assert serials == [3, 2]
    times = [row.published_at_ms for row in observed.rows()]
    page = await observed.page(bounds=Bounds(start_time_ms=times[3], end_time_ms=times[4]))
    assert [item["serial"] for item in page["items"]] == [5, 4]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"limit": 0}, "Presence history limit must be greater than 0"),
        ({"bounds": Bounds(3, 2)}, "start_serial must be less than or equal to end_serial"),
        ({"bounds": Bounds(None, None, 3, 2)}, "start_time_ms must be less than or equal to end_time_ms"),
        ({"cursor": "é"}, "Invalid presence history cursor: it is not base64url"),
        ({"cursor": "x" * 17_000}, "Presence history cursor exceeds 16 KiB"),
    ],
)
async def test_queries_that_cannot_be_meant(observed: Observed, query: dict[str, Any], text: str) -> None:
    problem = await refusal(observed.page(**query))
    assert (problem.spec, problem.text) == (errors.HISTORY_QUERY, text)


async def test_a_cursor_belongs_to_its_request(observed: Observed) -> None:
    await observed.happen(*[added(f"user-{number}") for number in range(7)])
    await observed.happen(added(), channel="presence-other")
    cursor = (await observed.page())["next_cursor"]
    assert (await observed.page(cursor=cursor, limit=1))["items"][0]["serial"] == 4

    async def text(channel: str = ROOM, **query: Any) -> str:
        return (await refusal(observed.page(channel, cursor=cursor, **query))).text

    assert await text("presence-other") == "Presence history cursor channel does not match the request"
    assert await text(direction="oldest_first") == "Presence history cursor direction does not match the request"
    assert await text(bounds=Bounds(1)) == "Presence history cursor bounds do not match the request"
    await observed.reset()
    assert await text() == "Expired presence history cursor: channel stream changed"


async def test_a_cursor_of_the_messages_history_is_of_another_kind(durable: Observed) -> None:
    await durable.happen(*[added(f"user-{number}") for number in range(7)])
    appends = [Append("app", ROOM, b'{"event":"said"}', None, "said", 1) for _ in range(3)]
    for append in appends:
        await durable.kept.submit(append, lambda _: None)
    cursor = (await durable.kept.page("app", ROOM, HistoryQuery(1)))["next_cursor"]
    assert (await refusal(durable.page(cursor=cursor))).text == (
        "Presence history cursor channel does not match the request"
    )


async def test_retention_truncates_and_says_so(observed: Observed) -> None:
    observed.app = observed_app(durable=observed.durable, max_events_per_channel=2)
    for number in range(5):
        await observed.happen(added(f"user-{number}"))
    page = await observed.page()
    assert [item["serial"] for item in page["items"]] == [5, 4]
    assert page["continuity"]["truncated_by_retention"] is True
    assert page["continuity"]["complete"] is False
    assert (await observed.page(bounds=Bounds(4)))["continuity"]["complete"] is True


# ---- streams that are not whole ----


async def test_in_memory_what_is_degraded_is_shown_and_never_called_complete(memory: Observed) -> None:
    await memory.happen(added())
    memory.store.plan("commit", refuse())
    await memory.happen(removed())
    page = await memory.page()
    assert [item["event"] for item in page["items"]] == ["member_added"]
    assert (page["continuity"]["degraded"], page["continuity"]["complete"]) == (True, False)
    state = page["stream_state"]
    assert state["durable_state"] == "degraded"
    assert state["reason"] == "presence_history_write_failed"
    assert (state["continuity_proven"], state["reset_required"]) == (False, False)
    assert (state["node_id"], state["observed_source"]) == ("this-node", "local_memory_hint")
    assert state["last_transition_at_ms"] == int(memory.time.time() * 1000)
    assert (await memory.durable_state()) == state
    snapshot = await memory.presence.snapshot("app", ROOM)
    assert (snapshot["continuity"]["degraded"], snapshot["continuity"]["complete"]) == (True, False)
    assert [member["user_id"] for member in snapshot["members"]] == ["ana"]
    await memory.time.elapse(1)
    assert (await memory.page())["continuity"]["complete"] is True


async def test_a_durable_one_that_is_degraded_is_not_read(durable: Observed) -> None:
    await durable.happen(added())
    durable.store.plan("commit", refuse())
    await durable.happen(removed())
    for call in (durable.page(), durable.members()):
        problem = await refusal(call)
        assert (problem.spec, problem.retry_after) == (errors.HISTORY_DEGRADED, 1)
        assert problem.text == (
            f"The presence history of channel '{ROOM}' is degraded: it heals once the store answers, or by a reset"
        )
    assert (await durable.durable_state())["durable_state"] == "degraded"
    await durable.time.elapse(1)
    assert len((await durable.page())["items"]) == 2


async def test_what_another_process_lost_is_not_read_either(durable: Observed) -> None:
    await durable.happen(added())
    await durable.kept.require_reset("app", STREAM, "lost it")
    problem = await refusal(durable.page())
    assert problem.text == f"The presence history of channel '{ROOM}' is reset_required: only a reset heals it"
    assert (await durable.durable_state())["reason"] == "lost it"
    await durable.reset()
    assert (await durable.page())["continuity"]["complete"] is True


async def test_while_it_is_not_known_what_was_stored_nothing_is_read(durable: Observed) -> None:
    durable.store.plan("commit", lose(done=True))
    durable.store.plan("info", refuse())
    await durable.happen(added())
    assert (await refusal(durable.page())).spec is errors.HISTORY_DEGRADED


async def test_a_stored_event_that_is_none_is_named_in_the_log_alone(durable: Observed) -> None:
    await durable.happen(added())
    await durable.kept.submit(Append("app", STREAM, b'{"event":"zzz"}', None, None, 1), lambda _: None)
    for call in (durable.page(), durable.members()):
        problem = await refusal(call)
        assert problem.spec is errors.INTERNAL_ERROR
        assert "zzz" not in problem.text


async def test_a_channel_without_a_presence_history_is_refused(observed: Observed) -> None:
    observed.app = live_app()
    for call in (observed.page(), observed.members(), observed.durable_state(), observed.reset()):
        problem = await refusal(call)
        assert problem.spec is errors.FEATURE_DISABLED
        assert problem.text == f"Presence history is disabled by policy for channel '{ROOM}'"


# ---- resets ----


async def test_a_reset_begins_anew(observed: Observed) -> None:
    await observed.happen(added(), removed())
    size = sum(len(row.message) for row in observed.rows())
    before = observed.rows()[0].stream_id
    reply = await observed.reset()
    after = reply["stream"].pop("stream_id")
    assert after != before
    stream = reply.pop("stream")
    assert reply == {
        "ok": True,
        "operation": "reset",
        "channel": ROOM,
        "reason": "test",
        "requested_by": None,
        "previous_stream_id": before,
        "new_stream_id": after,
        "purged_events": 2,
        "purged_bytes": size,
    }
    assert stream["next_serial"] == 1
    assert stream["retained"]["retained_events"] == 0
    assert stream["state"]["continuity_proven"] is True
    assert ("app", STREAM) in observed.changes


# ---- snapshots ----


async def test_a_snapshot_is_what_the_specification_shows(observed: Observed) -> None:
    await observed.happen(added("cid"), added("ana"), added("ben"), updated("ben", b"8"), removed("cid"))
    rows = observed.rows()
    snapshot = await observed.presence.snapshot("app", ROOM)
    assert snapshot == {
        "channel": ROOM,
        "members": [
            {
                "user_id": "ana",
                "last_event": "member_added",
                "last_event_serial": 2,
                "last_event_at_ms": rows[1].published_at_ms,
            },
            {
                "user_id": "ben",
                "last_event": "member_updated",
                "last_event_serial": 4,
                "last_event_at_ms": rows[3].published_at_ms,
            },
        ],
        "member_count": 2,
        "events_replayed": 5,
        "snapshot_serial": 5,
        "snapshot_time_ms": rows[4].published_at_ms,
        "continuity": {
            "stream_id": rows[0].stream_id,
            "oldest_available_serial": 1,
            "newest_available_serial": 5,
            "oldest_available_published_at_ms": rows[0].published_at_ms,
            "newest_available_published_at_ms": rows[4].published_at_ms,
            "retained_events": 5,
            "retained_bytes": sum(len(row.message) for row in rows),
            "degraded": False,
            "complete": True,
            "truncated_by_retention": False,
        },
    }


async def test_a_snapshot_of_nothing(observed: Observed) -> None:
    snapshot = await observed.presence.snapshot("app", ROOM)
    assert (snapshot["members"], snapshot["events_replayed"]) == ([], 0)
    assert (snapshot["snapshot_serial"], snapshot["snapshot_time_ms"]) == (None, None)
    assert snapshot["continuity"]["complete"] is True


async def test_a_moment_may_be_told_by_serial_time_or_both(observed: Observed) -> None:
    for event in (added("ana"), added("ben"), removed("ana"), added("cid")):
        await observed.happen(event)
        await observed.time.elapse(1)
    times = [row.published_at_ms for row in observed.rows()]
    assert await observed.members(at_serial=0) == []
    assert await observed.members(at_serial=2) == ["ana", "ben"]
    assert await observed.members(at_serial=99) == ["ben", "cid"]
    assert await observed.members(at_time_ms=times[2]) == ["ben"]
    assert await observed.members(at_time_ms=times[2] - 1) == ["ana", "ben"]
    assert await observed.members(at_time_ms=times[3], at_serial=1) == ["ana"]
    assert await observed.members(at_time_ms=times[0] - 1) == []


async def test_a_long_history_is_read_in_pages_and_what_happens_meanwhile_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sockudo.history.presence_snapshot._PAGE", 3)
    async with Observed() as observed:
        await observed.happen(*[added(f"user-{number}") for number in range(10)])
        inner = observed.store.inner.read
        reads = 0

        async def busy(*args: Any, **options: Any) -> Any:
            nonlocal reads
            reads += 1
            page = await inner(*args, **options)
            await observed.happen(removed(f"user-{reads}"))
            return page

        observed.store.inner.read = busy  # type: ignore[method-assign]
        snapshot = await observed.presence.snapshot("app", ROOM)
        assert (snapshot["member_count"], snapshot["snapshot_serial"], reads) == (10, 10, 4)


async def test_a_reset_while_a_snapshot_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sockudo.history.presence_snapshot._PAGE", 3)
    async with Observed() as observed:
        await observed.happen(*[added(f"user-{number}") for number in range(5)])
        inner = observed.store.inner.read

        async def reset_first(*args: Any, **options: Any) -> Any:
            page = await inner(*args, **options)
            observed.store.inner.read = inner  # type: ignore[method-assign]
            await observed.reset()
            return page

        observed.store.inner.read = reset_first  # type: ignore[method-assign]
        problem = await refusal(observed.presence.snapshot("app", ROOM))
        assert problem.text == "The presence history was reset while it was read; ask again"


async def write(observed: Observed, *events: MemberEvent, retention: Retention = KEEP_ALL) -> None:
    """Stores events whatever the history says of their users, as other software may have."""
    for event in events:
        owner = f"this-node:{observed.node_id}"
        fields = {"event": event.kind, "cause": event.cause, "user_id": event.user_id, "node_id": owner}
        text = json.dumps(fields).encode()
        at_ms = int(observed.time.time() * 1000)
        append = Append("app", STREAM, text, None, None, at_ms, retention)
        await observed.kept.submit(append, lambda _: None)
        await observed.time.elapse(1)


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ((added("ana"), added("ana")), "duplicate_member_added at serial 2"),
        ((updated("ana"),), "member_updated_without_join at serial 1"),
        ((added("ana"), removed("ben")), "member_removed_without_join at serial 2"),
    ],
)
async def test_what_cannot_have_happened(durable: Observed, events: tuple[MemberEvent, ...], text: str) -> None:
    await write(durable, *events)
    problem = await refusal(durable.members())
    assert (problem.spec, problem.text) == (
        errors.HISTORY_QUERY,
        f"The presence history contradicts itself: {text}",
    )
    # By time, and on what retention has cut, it is the best that can be said.
    await durable.members(at_time_ms=int(durable.time.time() * 1000))
    await write(durable, added("cid"), retention=Retention(max_messages=1 + len(events) - 1))
    found = await durable.presence.snapshot("app", ROOM)
    assert found["continuity"]["truncated_by_retention"] is True
    assert "cid" in [member["user_id"] for member in found["members"]]


@pytest.mark.parametrize(("gone", "text"), [(1, "serial 3 comes after 1"), (0, "serial 2 comes after 0")])
async def test_rows_that_are_missing(durable: Observed, gone: int, text: str) -> None:
    await write(durable, added("ana"), added("ben"), added("cid"))
    inner = durable.store.inner.read

    async def with_a_hole(*args: Any, **options: Any) -> Any:
        page = await inner(*args, **options)
        return page._replace(rows=page.rows[:gone] + page.rows[gone + 1 :])

    durable.store.inner.read = with_a_hole  # type: ignore[method-assign]
    problem = await refusal(durable.members())
    assert problem.text == f"The presence history contradicts itself: {text}"
    assert len(await durable.members(at_time_ms=int(durable.time.time() * 1000))) == 2


async def test_serials_that_run_backwards(durable: Observed) -> None:
    await write(durable, added("ana"), added("ben"))
    inner = durable.store.inner.read

    async def backwards(*args: Any, **options: Any) -> Any:
        page = await inner(*args, **options)
        return page._replace(rows=page.rows[::-1])

    durable.store.inner.read = backwards  # type: ignore[method-assign]
    for at in ({}, {"at_time_ms": int(durable.time.time() * 1000)}):
        assert "contradicts itself" in (await refusal(durable.members(**at))).text


async def test_rows_that_were_taken_back_hold_their_serial_and_are_not_shown(durable: Observed) -> None:
    await durable.happen(added("ana"), added("ben"))
    stream = durable.store.inner._streams["app", STREAM]
    stream.retract({1})
    assert await durable.members() == ["ben"]
    assert [item["user_id"] for item in (await durable.page())["items"]] == ["ben"]
    await settle()
