"""The routes of a presence channel's past to the last field, and what they refuse
(spec: http-api § 12; history § 8.3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from blackbox.api import Api
from support.raw import Answer, assert_error
from support.server import DEFAULT_APP, STREAMS, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.websocket import Connect, Event

OFF_APP = Credentials("off", "off-key", "off-secret")
NAMED_APP = Credentials("named", "named-key", "named-secret")
FEW_APP = Credentials("few", "few-key", "few-secret")

ROUTES = [("GET", ""), ("GET", "/state"), ("GET", "/snapshot"), ("POST", "/reset")]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    namespaces = [
        {"name": "quiet", "presence_history": {"enabled": False}},
        {"name": "loud", "presence_history": {"enabled": True}},
    ]
    apps = [
        app_record(DEFAULT_APP),
        app_record(OFF_APP, presence_history={"enabled": False}, channels={"channel_namespaces": namespaces}),
        app_record(NAMED_APP, channels={"channel_namespaces": namespaces}),
        app_record(FEW_APP, presence_history={"max_events_per_channel": 2}),
    ]
    config = {**STREAMS, "presence_history": {"enabled": True}, "app_manager": {"array": {"apps": apps}}}
    with start_server(config) as running:
        yield running


@pytest.fixture
def api(server: ServerProcess) -> Api:
    return Api(server)


@pytest.fixture
def room(unique: str) -> str:
    return f"presence-{unique[-60:]}"


def ask(api: Api, channel: str, route: str = "", method: str = "GET", **params: object) -> Answer:
    path = f"channels/{quote(channel, safe='')}/presence/history{route}"
    if method == "POST":
        return api.post(path, params)
    return api.get(path, {name: str(value) for name, value in params.items()})


def found(answer: Answer) -> Event:
    assert answer.status == 200, answer
    body: Event = answer.json()
    return body


def reset(api: Api, channel: str, **fields: object) -> Answer:
    body = {"confirm_channel": channel, "confirm_operation": "reset", "reason": "test", **fields}
    return ask(api, channel, "/reset", "POST", **body)


# ---- the answers ----


def test_a_page(connect_v2: Connect, api: Api, room: str) -> None:
    client = connect_v2()
    client.subscribe(room, "ana", {"rank": "mate"})
    page = found(ask(api, room, limit=1))
    order = ["items", "direction", "limit", "has_more", "next_cursor", "bounds", "continuity", "stream_state"]
    assert list(page) == order
    (item,) = page.pop("items")
    at_ms, stream_id = item["published_at_ms"], item["stream_id"]
    assert item.pop("payload_size_bytes") > 0
    event = {
        "stream_id": stream_id,
        "serial": 1,
        "published_at_ms": at_ms,
        "event": "member_added",
        "cause": "join",
        "user_id": "ana",
        "connection_id": client.socket_id,
        "dead_node_id": None,
    }
    assert item.pop("presence_event") == {**event, "user_info": {"rank": "mate"}}
    assert item == event
    assert page["continuity"].pop("retained_bytes") > 0
    assert page == {
        "direction": "newest_first",
        "limit": 1,
        "has_more": False,
        "next_cursor": None,
        "bounds": {"start_serial": None, "end_serial": None, "start_time_ms": None, "end_time_ms": None},
        "continuity": {
            "stream_id": stream_id,
            "oldest_available_serial": 1,
            "newest_available_serial": 1,
            "oldest_available_published_at_ms": at_ms,
            "newest_available_published_at_ms": at_ms,
            "retained_events": 1,
            "degraded": False,
            "complete": True,
            "truncated_by_retention": False,
        },
        "stream_state": {
            "stream_id": stream_id,
            "durable_state": "healthy",
            "continuity_proven": True,
            "reset_required": False,
            "reason": None,
            "node_id": None,
            "last_transition_at_ms": None,
            "authoritative_source": "in_memory",
            "observed_source": "in_memory",
        },
    }


def test_a_snapshot(connect_v2: Connect, api: Api, room: str) -> None:
    clients = {user: connect_v2() for user in ("ben", "ana", "eve")}
    for user, client in clients.items():
        client.subscribe(room, user)
    clients["eve"].say("sockudo:unsubscribe", {"channel": room})
    clients["eve"].until_pong()
    times = {item["serial"]: item["published_at_ms"] for item in found(ask(api, room))["items"]}
    body = found(ask(api, room, "/snapshot"))
    continuity = body.pop("continuity")
    assert continuity.pop("retained_bytes") > 0
    assert continuity.pop("stream_id")
    assert body == {
        "channel": room,
        "members": [
            {"user_id": user, "last_event": "member_added", "last_event_serial": n, "last_event_at_ms": times[n]}
            for user, n in (("ana", 2), ("ben", 1))
        ],
        "member_count": 2,
        "events_replayed": 4,
        "snapshot_serial": 4,
        "snapshot_time_ms": times[4],
    }
    assert continuity == {
        "oldest_available_serial": 1,
        "newest_available_serial": 4,
        "oldest_available_published_at_ms": times[1],
        "newest_available_published_at_ms": times[4],
        "retained_events": 4,
        "degraded": False,
        "complete": True,
        "truncated_by_retention": False,
    }
    for params, members in (
        ({"at_serial": 3}, ["ana", "ben", "eve"]),
        ({"at_serial": 1}, ["ben"]),
        ({"at_serial": 0}, []),
        ({"at_serial": 99}, ["ana", "ben"]),
        ({"at_time_ms": times[1] - 1}, []),
        ({"at": times[4]}, ["ana", "ben"]),
        ({"at": 0, "at_time_ms": times[4]}, ["ana", "ben"]),
        ({"at": times[4], "at_serial": 2}, ["ana", "ben"]),
    ):
        then = found(ask(api, room, "/snapshot", **params))
        assert [member["user_id"] for member in then["members"]] == members


def test_of_a_channel_that_never_was(api: Api, room: str) -> None:
    page = found(ask(api, room))
    assert (page["items"], page["limit"], page["continuity"]["complete"]) == ([], 100, True)
    snapshot = found(ask(api, room, "/snapshot"))
    assert [snapshot[name] for name in ("members", "member_count", "events_replayed")] == [[], 0, 0]
    assert (snapshot["snapshot_serial"], snapshot["snapshot_time_ms"]) == (None, None)
    state = found(ask(api, room, "/state"))
    assert (list(state), state["channel"]) == (["channel", "stream"], room)
    assert state["stream"]["retained"]["retained_events"] == 0


def test_the_state_and_a_reset(connect_v2: Connect, api: Api, room: str) -> None:
    client = connect_v2()
    client.subscribe(room, "ana")
    before = found(ask(api, room, "/state"))["stream"]
    assert (before["next_serial"], before["retained"]["retained_events"]) == (2, 1)
    assert before["state"] == found(ask(api, room))["stream_state"]
    body = found(reset(api, room, requested_by="ops@pier"))
    after = body.pop("stream")
    assert body.pop("purged_bytes") == before["retained"]["retained_bytes"]
    assert body == {
        "ok": True,
        "operation": "reset",
        "channel": room,
        "reason": "test",
        "requested_by": "ops@pier",
        "previous_stream_id": before["stream_id"],
        "new_stream_id": after["stream_id"],
        "purged_events": 1,
    }
    assert after["stream_id"] != before["stream_id"]
    assert found(ask(api, room, "/state"))["stream"]["stream_id"] == after["stream_id"]
    # The members themselves are not touched.
    assert api.get(f"channels/{room}/users").json() == {"users": [{"id": "ana"}]}


def test_few_are_kept(connect_v2: Connect, server: ServerProcess, room: str) -> None:
    api = Api(server, app=FEW_APP)
    for user in ("ana", "ben", "eve"):
        connect_v2(app=FEW_APP).subscribe(room, user)
    page = found(ask(api, room))
    assert [item["serial"] for item in page["items"]] == [3, 2]
    assert (page["continuity"]["complete"], page["continuity"]["truncated_by_retention"]) == (False, True)
    snapshot = found(ask(api, room, "/snapshot"))
    assert [member["user_id"] for member in snapshot["members"]] == ["ben", "eve"]
    assert snapshot["continuity"]["truncated_by_retention"]


# ---- refusals ----


@pytest.mark.parametrize(("method", "route"), ROUTES)
def test_only_presence_channels_have_one(api: Api, method: str, route: str) -> None:
    for channel in ("news", "private-news", "cache-presence-news"):
        answer = ask(api, channel, route, method)
        assert_error(answer, 400, "invalid_input", "Only presence channels support this endpoint")
    for channel in ("presence-a b", "presence-*", "presence-"):
        answer = ask(api, channel, route, method)
        assert (answer.status, answer.json()["code"]) == (400, "invalid_input")
        assert answer.json()["error"] != "Only presence channels support this endpoint"


@pytest.mark.parametrize(("method", "route"), ROUTES)
@pytest.mark.parametrize(
    ("app", "channel", "kept"),
    [
        (OFF_APP, "presence-a", False),
        (OFF_APP, "presence-loud:a", True),
        (NAMED_APP, "presence-a", True),
        (NAMED_APP, "presence-quiet:a", False),
    ],
)
def test_where_nothing_is_kept(
    server: ServerProcess, app: Credentials, channel: str, kept: bool, method: str, route: str
) -> None:
    """A namespace decides before its app does."""
    body: dict[str, Any] = {}
    if method == "POST":
        body = {"confirm_channel": channel, "confirm_operation": "reset", "reason": "test"}
    answer = ask(Api(server, app=app), channel, route, method, **body)
    if kept:
        found(answer)
    else:
        text = f"Presence history is disabled by policy for channel '{channel}'"
        assert_error(answer, 403, "feature_disabled", text)


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"limit": "0"}, "Presence history limit must be greater than 0"),
        ({"limit": "x"}, "limit must be a whole number of 0 or more"),
        ({"start_serial": "2", "end_serial": "1"}, "start_serial must be less than or equal to end_serial"),
        ({"start": "2", "end": "1"}, "start_time_ms must be less than or equal to end_time_ms"),
        (
            {"direction": "up"},
            "Invalid direction 'up'. Accepted values: newest_first, oldest_first, backwards, forwards",
        ),
        ({"cursor": "%"}, "Invalid presence history cursor: it is not base64url"),
        ({"cursor": "x" * 16_385}, "Presence history cursor exceeds 16 KiB"),
    ],
)
def test_questions_that_cannot_be_meant(api: Api, room: str, params: dict[str, str], text: str) -> None:
    assert_error(ask(api, room, **params), 400, "invalid_input", text)


@pytest.mark.parametrize("params", [{"at_serial": "-1"}, {"at_serial": "x"}, {"at": "x"}, {"at_time_ms": ""}])
def test_moments_that_are_none(api: Api, room: str, params: dict[str, str]) -> None:
    answer = ask(api, room, "/snapshot", **params)
    assert (answer.status, answer.json()["code"]) == (400, "invalid_input")


def test_cursors_belong_to_their_question(connect_v2: Connect, api: Api, room: str) -> None:
    for user in ("ana", "ben"):
        for channel in (room, f"{room}-2"):
            connect_v2().subscribe(channel, user)
    cursor = found(ask(api, room, limit=1))["next_cursor"]
    assert [item["serial"] for item in found(ask(api, room, cursor=cursor))["items"]] == [1]
    for channel, params, what in (
        (f"{room}-2", {}, "cursor channel does not match the request"),
        (room, {"direction": "forward"}, "cursor direction does not match the request"),
        (room, {"start": "1"}, "cursor bounds do not match the request"),
    ):
        answer = ask(api, channel, cursor=cursor, **params)
        assert_error(answer, 400, "invalid_input", f"Presence history {what}")
    # A cursor of messages is none of members.
    messages = f"channels/{room}/history"
    for _ in range(2):
        assert api.events({"name": "tide", "channel": room, "data": "x"}).status == 200
    other = api.get(messages, {"limit": "1"}).json()["next_cursor"]
    assert ask(api, room, cursor=other).status == 400
    assert api.get(messages, {"cursor": cursor}).status == 400
    assert reset(api, room).status == 200
    answer = ask(api, room, cursor=cursor)
    assert_error(answer, 400, "invalid_input", "Expired presence history cursor: channel stream changed")


@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [
        ({"confirm_channel": "presence-x"}, 400, "confirm_channel must exactly match the channel path"),
        ({"confirm_operation": "purge"}, 400, "confirm_operation must be 'reset'"),
        ({"reason": " "}, 400, "reason must not be empty"),
        ({"reason": None}, 422, None),
        ({"confirm_channel": 5}, 422, None),
    ],
)
def test_resets_that_are_refused(api: Api, room: str, fields: Event, status: int, text: str | None) -> None:
    answer = reset(api, room, **fields)
    assert (answer.status, answer.json()["code"]) == (status, "invalid_input")
    assert text is None or answer.json()["error"] == text


def test_there_is_no_purge(api: Api, room: str) -> None:
    assert ask(api, room, "/purge", "POST").status == 404


@pytest.mark.parametrize(("method", "route"), ROUTES)
def test_whoever_does_not_hold_the_secret(server: ServerProcess, room: str, method: str, route: str) -> None:
    answer = ask(Api(server, app=Credentials("app-id", "app-key", "wrong")), room, route, method)
    assert (answer.status, answer.json()["code"]) == (401, "auth_failed")
