"""Why a channel cannot be recovered, and what is no resume at all (spec: websocket § 12; history § 3.4 and 4.1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from blackbox.recovery import answer_of, place, resume
from blackbox.timed import TimedServer
from support.server import DEFAULT_APP, STREAMS, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.websocket import Connect, Event, compact

HOT_APP = Credentials("hot", "hot-key", "hot-secret")
SMALL_APP = Credentials("small", "small-key", "small-secret")
FEW_APP = Credentials("few", "few-key", "few-secret")
SMALL_HOT_APP = Credentials("small-hot", "small-hot-key", "small-hot-secret")
OFF_APP = Credentials("off", "off-key", "off-secret")

UNAUTHORIZED = ("continuity_unverifiable", "channel_not_authorized")
GONE = ("position_expired", "hot_replay_expired_and_durable_history_disabled")


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    no_history, small = {"enabled": False}, {"max_buffer_size": 3}
    apps = [
        app_record(
            DEFAULT_APP, channels={"channel_namespaces": [{"name": "room", "allow_user_limited_channels": True}]}
        ),
        app_record(HOT_APP, history=no_history),
        app_record(SMALL_APP, connection_recovery=small),
        app_record(SMALL_HOT_APP, connection_recovery=small, history=no_history),
        app_record(FEW_APP, connection_recovery={"max_buffer_size": 1}, history={"max_messages_per_channel": 3}),
        app_record(OFF_APP, connection_recovery={"enabled": False}),
    ]
    with start_server({**STREAMS, "app_manager": {"array": {"apps": apps}}}) as running:
        yield running


def purge(server: ServerProcess, channel: str, mode: str = "all", **bounds: int) -> None:
    body = {"confirm_channel": channel, "confirm_operation": "purge", "reason": "test", "mode": mode, **bounds}
    reply = server.signed("POST", f"/apps/app-id/channels/{channel}/history/purge", body=body)
    assert reply.status == 200, reply


def begun(
    connect_v2: Connect, server: ServerProcess, channel: str, count: int, app: Credentials = DEFAULT_APP
) -> Event:
    """The place before the first of ``count`` messages."""
    start = place(connect_v2(app=app).subscribe(channel))
    for number in range(count):
        server.publish(channel, "tide", str(number), app=app)
    return start


def entry(channel: str, code: str, reason: str, **known: Any) -> Event:
    """What the answer says of a channel that failed; what is not given is null."""
    fields = ("expected_stream_id", "current_stream_id", "oldest_available_serial", "newest_available_serial")
    return {"channel": channel, "code": code, "reason": reason, **{name: known.get(name) for name in fields}}


# ---- another stream ----


def test_the_frames_of_a_refusal(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    start = begun(connect_v2, server, unique, 2)
    client = connect_v2()
    client.say("sockudo:resume", {"channel_positions": {unique: {"serial": 1, "stream_id": "another"}}})
    due = entry(
        unique,
        "stream_reset",
        "durable_stream_id_mismatch",
        expected_stream_id="another",
        current_stream_id=start["stream_id"],
        oldest_available_serial=1,
        newest_available_serial=2,
    )
    assert client.text() == compact({"event": "sockudo:resume_failed", "channel": unique, "data": compact(due)})
    answer = compact({"recovered": [], "failed": [due]})
    assert client.text() == compact({"event": "sockudo:resume_success", "data": answer})
    client.hears_nothing()


def test_another_stream_of_a_buffer(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    start = begun(connect_v2, server, unique, 2, HOT_APP)
    answer = resume(connect_v2(app=HOT_APP), **{unique: {**start, "stream_id": "another"}})
    assert answer.reasons() == {unique: ("stream_reset", "stream_id_mismatch")}
    assert answer.failed[unique]["current_stream_id"] == start["stream_id"]


def test_a_reset_while_away(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    start = begun(connect_v2, server, unique, 2)
    body = {"confirm_channel": unique, "confirm_operation": "reset", "reason": "test"}
    reply = server.signed("POST", f"/apps/app-id/channels/{unique}/history/reset", body=body).json()
    client = connect_v2()
    for position in (start, {**start, "serial": 2}):
        found = resume(client, **{unique: position}).failed[unique]
        assert found == entry(
            unique,
            "stream_reset",
            "durable_stream_id_mismatch",
            expected_stream_id=start["stream_id"],
            current_stream_id=reply["new_stream_id"],
        )


def test_a_place_without_a_stream(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    """The buffer can serve it; the store cannot tell which stream it is from (spec: history § 4.1)."""
    begun(connect_v2, server, unique, 5, SMALL_APP)
    client = connect_v2(app=SMALL_APP)
    assert resume(client, **{unique: {"serial": 3}}).data == ["3", "4"]
    assert resume(client, **{unique: {"serial": 1}}).reasons() == {
        unique: ("stream_reset", "durable_stream_id_mismatch")
    }


def test_a_channel_that_never_was(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    client = connect_v2()
    found = resume(client, **{unique: {"serial": 4, "stream_id": "s"}}).failed[unique]
    assert found == entry(unique, "stream_reset", "durable_stream_id_mismatch", expected_stream_id="s")
    stream = server.signed("GET", f"/apps/app-id/channels/{unique}/history/state").json()["stream"]
    assert stream["stream_id"] is None
    hot = connect_v2(app=HOT_APP)
    assert resume(hot, **{unique: {"serial": 4, "stream_id": "s"}}).reasons() == {unique: GONE}


# ---- too late ----


@pytest.mark.parametrize("app", [SMALL_APP, SMALL_HOT_APP], ids=lambda app: app.id)
def test_as_many_as_the_buffer_holds_and_no_more(
    connect_v2: Connect, server: ServerProcess, unique: str, app: Credentials
) -> None:
    start = begun(connect_v2, server, unique, 3, app)
    client = connect_v2(app=app)
    assert resume(client, **{unique: start}).data == ["0", "1", "2"]
    server.publish(unique, "tide", "3", app=app)
    reason = "recovery_window_exceeded" if app is SMALL_APP else GONE[1]
    assert resume(client, **{unique: start}).reasons() == {unique: ("position_expired", reason)}
    assert resume(client, **{unique: {**start, "serial": 1}}).data == ["1", "2", "3"]


def test_retention_has_passed_the_place(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    start = begun(connect_v2, server, unique, 5, FEW_APP)
    found = resume(connect_v2(app=FEW_APP), **{unique: {**start, "serial": 1}}).failed[unique]
    assert found == entry(
        unique,
        "position_expired",
        "retained_history_floor_is_ahead_of_requested_serial",
        expected_stream_id=start["stream_id"],
        current_stream_id=start["stream_id"],
        oldest_available_serial=3,
        newest_available_serial=5,
    )


def test_a_purge_while_away(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    start = begun(connect_v2, server, unique, 4)
    client = connect_v2()
    purge(server, unique, "before_serial", before_serial=3)
    floor = ("position_expired", "retained_history_floor_is_ahead_of_requested_serial")
    assert resume(client, **{unique: start}).reasons() == {unique: floor}
    assert resume(client, **{unique: {**start, "serial": 2}}).data == ["2", "3"]
    purge(server, unique)
    emptied = ("position_expired", "durable_history_empty_after_prior_writes")
    assert resume(client, **{unique: {**start, "serial": 2}}).reasons() == {unique: emptied}
    answer = resume(client, **{unique: {**start, "serial": 4}})
    assert answer.recovered[unique]["position"] == {**start, "serial": 4, "last_message_id": None}


def test_the_buffer_alone_has_forgotten() -> None:
    recovery = {"enabled": True, "buffer_ttl_seconds": 20}
    with TimedServer({"connection_recovery": recovery, "history": {"enabled": False}}) as server:
        client = server.connect()
        start = place(client.subscribe("news"))
        server.publish("news", "tide", "1")
        server.advance(19)
        server.publish("news", "tide", "2")
        server.advance(2)
        again = server.connect()
        assert resume(again, news=start).reasons() == {"news": GONE}
        assert resume(again, news={**start, "serial": 1}).data == ["2"]


# ---- what cannot be proven ----


@pytest.mark.parametrize(
    ("app", "code", "reason"),
    [(DEFAULT_APP, "continuity_unverifiable", "position_ahead_of_durable_stream"), (HOT_APP, *GONE)],
    ids=["durable", "hot"],
)
def test_a_place_from_the_future(
    connect_v2: Connect, server: ServerProcess, unique: str, app: Credentials, code: str, reason: str
) -> None:
    start = begun(connect_v2, server, unique, 2, app)
    answer = resume(connect_v2(app=app), **{unique: {**start, "serial": 3}})
    assert answer.reasons() == {unique: (code, reason)}
    assert answer.failed[unique]["newest_available_serial"] == 2


def test_the_old_form_is_for_the_buffer_alone(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    begun(connect_v2, server, unique, 5, SMALL_APP)
    client = connect_v2(app=SMALL_APP)
    client.say("sockudo:resume", {"channel_serials": {unique: 1}})
    reason = "legacy_serial_only_position_cannot_use_cold_recovery"
    assert answer_of(client).reasons() == {unique: ("continuity_unverifiable", reason)}


# ---- what the connection may not read ----


@pytest.mark.parametrize(
    "channel",
    ["#server-to-user-eve", "[meta]news", "news*", "*", "room:a#eve", "nowhere:a", "bad name!", "", "private-", "ü"],
)
def test_a_channel_that_is_not_for_this_connection(connect_v2: Connect, server: ServerProcess, channel: str) -> None:
    client = connect_v2()
    client.sign_in("ana")
    answer = resume(client, **{channel: {"serial": 0, "stream_id": "s"}})
    assert answer.failed == {channel: entry(channel, *UNAUTHORIZED)}


def test_a_user_limited_channel_is_for_its_users(connect_v2: Connect, server: ServerProcess) -> None:
    channel = "room:b#ana,ben"
    first = connect_v2()
    first.sign_in("ana")
    start = place(first.subscribe(channel))
    server.publish(channel, "tide", "1")
    client = connect_v2()
    assert resume(client, **{channel: start}).reasons() == {channel: UNAUTHORIZED}
    client.sign_in("ben")
    assert resume(client, **{channel: start}).data == ["1"]


# ---- no resume at all ----


@pytest.mark.parametrize(
    "data",
    [
        None,
        "not json",
        "[]",
        [],
        7,
        {},
        {"channel_positions": None},
        {"channel_positions": []},
        {"channel_positions": {"a": None}},
        {"channel_positions": {"a": 1}},
        {"channel_positions": {"a": {}}},
        {"channel_positions": {"a": {"stream_id": "s"}}},
        {"channel_positions": {"a": {"serial": None}}},
        {"channel_positions": {"a": {"serial": -1}}},
        {"channel_positions": {"a": {"serial": 1.5}}},
        {"channel_positions": {"a": {"serial": True}}},
        {"channel_positions": {"a": {"serial": 2**64}}},
        {"channel_positions": {"a": {"serial": "1x"}}},
        {"channel_positions": {"a": {"serial": "-1"}}},
        {"channel_positions": {"a": {"serial": "١"}}},
        {"channel_positions": {"a": {"serial": "9" * 5000}}},
        {"channel_positions": {"a": {"serial": 1, "stream_id": 7}}},
        {"channel_positions": {"a": {"serial": 1, "last_message_id": []}}},
        {"channel_positions": {"a": {"serial": 1}, "b": {"serial": []}}},
        {"channel_serials": {"a": None}},
        {"channel_serials": {"a": {"serial": 1}}},
        {"channel_serials": 5},
        {"channel_positions": {"a": {"serial": 1}}, "channel_serials": {"a": -1.5}},
    ],
)
def test_a_malformed_frame_recovers_nothing(connect_v2: Connect, data: object) -> None:
    client = connect_v2()
    client.say("sockudo:resume", data)
    error = client.event()
    assert (error["event"], error["data"]["code"]) == ("sockudo:error", 4000)
    message = error["data"]["message"]
    assert message.startswith("Invalid message format: ")
    assert "\n" not in message
    assert len(message) < 200
    client.hears_nothing()


@pytest.mark.parametrize("data", [{"channel_positions": {}}, {"channel_serials": {}}])
def test_no_place_at_all(connect_v2: Connect, data: Event) -> None:
    client = connect_v2()
    client.say("sockudo:resume", data)
    client.refused(4302, "No channel recovery positions provided")


def test_a_thousand_places_are_enough(connect_v2: Connect) -> None:
    client = connect_v2()
    positions = {f"c{number}": {"serial": 0, "stream_id": "s"} for number in range(1000)}
    assert len(resume(client, **positions).failed) == 1000
    client.say("sockudo:resume", {"channel_positions": {**positions, "one-more": {"serial": 0}}})
    assert client.event()["data"]["code"] == 4000
    client.hears_nothing()


def test_where_recovery_is_off(connect_v2: Connect) -> None:
    client = connect_v2(app=OFF_APP)
    for data in ({"channel_positions": {"a": {"serial": 1}}}, "not json"):
        client.say("sockudo:resume", data)
        client.refused(4301, "Connection recovery is not enabled")


def test_v1_is_refused(connect: Connect) -> None:
    client = connect()
    client.say("pusher:resume", {"channel_positions": {"a": {"serial": 1}}})
    client.refused(4000, "Protocol error: pusher:resume requires protocol V2")
