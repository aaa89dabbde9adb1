"""Connections on protocol V1 that can be recovered, on an app that lets them: two more fields and one more action, and
nothing else of V2 (docs/recovery.md)."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from blackbox.recovery import place
from blackbox.timed import TimedServer
from support.server import DEFAULT_APP, STREAMS, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.websocket import Connect, Event, WebSocket, compact

HOT_APP = Credentials("hot", "hot-key", "hot-secret")
PLAIN_APP = Credentials("plain", "plain-key", "plain-secret")
STORED_APP = Credentials("stored", "stored-key", "stored-secret")

BOTH = pytest.mark.parametrize("app", [DEFAULT_APP, HOT_APP], ids=["durable", "hot"])
RECOVERABLE: Event = {"v1_recovery": True}


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    apps = [
        app_record(DEFAULT_APP, channels=RECOVERABLE),
        app_record(HOT_APP, channels=RECOVERABLE, history={"enabled": False}),
        app_record(STORED_APP, channels=RECOVERABLE, connection_recovery={"enabled": False}),
        app_record(PLAIN_APP),
    ]
    with start_server({**STREAMS, "app_manager": {"array": {"apps": apps}}}) as running:
        yield running


def publish(server: ServerProcess, channel: str, *data: str, app: Credentials = DEFAULT_APP, **fields: Any) -> None:
    for each in data:
        server.publish(channel, "tide", each, app=app, **fields)


def resume(client: WebSocket, **positions: Event) -> tuple[list[Event], Event]:
    """What came before the answer, and its data."""
    client.say(f"{client.prefix}:resume", {"channel_positions": positions})
    found: list[Event] = []
    while (frame := client.event())["event"] != f"{client.prefix}:resume_success":
        found.append(frame)
    assert list(frame) == ["event", "data"]
    data: Event = json.loads(frame["data"])
    return found, data


# ---- two more fields ----


@BOTH
def test_messages_and_acknowledgements_have_a_place(
    connect: Connect, server: ServerProcess, unique: str, app: Credentials
) -> None:
    client, witness = connect(app=app), connect(app=app, protocol=2)
    client.say("pusher:subscribe", {"channel": unique})
    stream_id = witness.subscribe(unique)["stream_id"]
    ack = {"event": "pusher_internal:subscription_succeeded", "channel": unique, "data": "{}"}
    assert client.text() == compact({**ack, "stream_id": stream_id, "serial": 0})
    publish(server, unique, "1", app=app, tags={"a": "1"}, extras={"headers": {"n": 1}}, message_id="m-1")
    assert witness.event()["serial"] == 1
    message = {"event": "tide", "channel": unique, "data": "1", "stream_id": stream_id, "serial": 1}
    assert client.text() == compact(message)


def test_all_else_is_as_ever(connect: Connect, unique: str) -> None:
    """The same steps on an app that lets V1 be recovered and on one that does not, but for the two fields."""
    channel = f"presence-{unique}"
    heard = []
    for app in (DEFAULT_APP, PLAIN_APP):
        one, other = connect(app=app), connect(app=app)
        frames = [one.subscribe(channel, "ana", {"n": 1})]
        other.subscribe(channel, "ben")
        other.say("client-a", {"x": 1}, channel)
        other.say("pusher:ping")
        frames += [one.event(), one.event(), other.event()]
        one.say("pusher:subscribe", {"channel": "private-x"})
        other.say("pusher:unsubscribe", {"channel": channel})
        frames += [one.event(), one.event()]
        heard.append([{k: v for k, v in each.items() if k not in ("stream_id", "serial")} for each in frames])
        numbered = [each["event"] for each in frames if "serial" in each]
        assert numbered == ([] if app is PLAIN_APP else ["pusher_internal:subscription_succeeded", "client-a"])
    assert heard[0] == heard[1]


def test_ephemeral_messages_have_no_place(connect: Connect, server: ServerProcess, unique: str) -> None:
    client = connect()
    client.subscribe(unique)
    publish(server, unique, "1", extras={"ephemeral": True})
    assert client.event() == {"event": "tide", "channel": unique, "data": "1"}


def test_where_only_history_is_on_acknowledgements_have_none(
    connect: Connect, server: ServerProcess, unique: str
) -> None:
    client = connect(app=STORED_APP)
    assert list(client.subscribe(unique)) == ["event", "channel", "data"]
    client.say("pusher:resume", {"channel_positions": {unique: {"serial": 0}}})
    client.refused(4301, "Connection recovery is not enabled")


# ---- one more action ----


@BOTH
@pytest.mark.parametrize("first", ["resume", "subscribe"])
@pytest.mark.parametrize("prefix", ["", "private-", "presence-", "private-encrypted-"])
def test_what_was_missed(
    connect: Connect, server: ServerProcess, unique: str, app: Credentials, first: str, prefix: str
) -> None:
    channel = f"{prefix}{unique[-60:]}"
    lost, witness = connect(app=app), connect(app=app)
    start = place(lost.subscribe(channel, "ana"))
    witness.subscribe(channel, "ana")
    lost.close()
    publish(server, channel, "1", "2", "3", app=app)
    due = [witness.event() for _ in range(3)]
    client = connect(app=app)
    if first == "subscribe":
        client.subscribe(channel, "ana")
        found, data = resume(client, **{channel: start})
    else:
        client.say("pusher:resume", {"channel_positions": {channel: start}})
        client.say("pusher:subscribe", client.subscription(channel, "ana"))
        frames = [client.event() for _ in range(5)]
        (success,) = [each for each in frames if each["event"] == "pusher:resume_success"]
        data = json.loads(success["data"])
        found = [each for each in frames if each["event"] == "tide"]
    assert found == due
    position = {"stream_id": start["stream_id"], "serial": 3}
    (entry,) = data["recovered"]
    assert (entry["channel"], entry["replayed"], data["failed"]) == (channel, 3, [])
    assert {name: entry["position"][name] for name in position} == position
    publish(server, channel, "4", app=app)
    assert client.event()["serial"] == 4


def test_why_it_cannot_be(connect: Connect, server: ServerProcess, unique: str) -> None:
    client = connect()
    stream_id = client.subscribe(unique)["stream_id"]
    publish(server, unique, "1")
    client.event()
    found, data = resume(client, **{unique: {"stream_id": "other", "serial": 1}})
    failure = {
        "channel": unique,
        "code": "stream_reset",
        "reason": "durable_stream_id_mismatch",
        "expected_stream_id": "other",
        "current_stream_id": stream_id,
        "oldest_available_serial": 1,
        "newest_available_serial": 1,
    }
    assert [(each["event"], each["channel"], json.loads(each["data"])) for each in found] == [
        ("pusher:resume_failed", unique, failure)
    ]
    assert data == {"recovered": [], "failed": [failure]}


@BOTH
@pytest.mark.parametrize("ways", [(7, 2), (2, 7)])
def test_a_place_is_the_same_on_both_versions(
    connect: Connect, server: ServerProcess, unique: str, app: Credentials, ways: tuple[int, int]
) -> None:
    before, after = (connect(app=app, protocol=protocol) for protocol in ways)
    start = place(before.subscribe(unique))
    publish(server, unique, "1", "2", app=app)
    found, _ = resume(after, **{unique: start})
    assert [each["data"] for each in found] == ["1", "2"]


def test_a_client_hears_its_own_events_only_when_it_was_away(connect: Connect, unique: str) -> None:
    channel = f"private-{unique}"
    client, other = connect(), connect()
    start = place(client.subscribe(channel))
    other.subscribe(channel)
    client.say("client-a", 1, channel)
    assert other.event()["data"] == 1
    client.hears_nothing()
    found, _ = resume(client, **{channel: start})
    assert [each["data"] for each in found] == [1]


def test_after_the_buffer_has_forgotten() -> None:
    apps = {"app_manager": {"array": {"apps": [app_record(DEFAULT_APP, channels=RECOVERABLE)]}}}
    with TimedServer({**STREAMS, **apps}) as server:
        client = server.connect(protocol=7)
        start = place(client.subscribe("news"))
        for number in range(3):
            server.publish("news", "tide", str(number))
        server.advance(121)
        again = server.connect(protocol=7)
        found, data = resume(again, news=start)
        assert [each["data"] for each in found] == ["0", "1", "2"]
        assert data["recovered"][0]["source"] == "cold"
        assert not any("message_id" in each for each in found)


@BOTH
def test_whatever_is_cut_nothing_is_lost(
    connect: Connect, server: ServerProcess, unique: str, app: Credentials
) -> None:
    client = connect(app=app)
    seen = place(client.subscribe(unique))
    publisher = threading.Thread(target=lambda: publish(server, unique, *map(str, range(100)), app=app))
    publisher.start()
    heard: list[tuple[int, str]] = []
    for _ in range(1000):
        client.close()
        client = connect(app=app)
        client.say("pusher:resume", {"channel_positions": {unique: seen}})
        client.say("pusher:subscribe", {"channel": unique})
        due = {"pusher:resume_success", "pusher_internal:subscription_succeeded"}
        frames: list[Event] = []
        while due:
            frames.append(client.event())
            due.discard(frames[-1]["event"])
        for each in [*frames, *client.until_pong()]:
            if each["event"] == "tide":
                heard.append((each["serial"], each["data"]))
                seen = place(each)
        if seen["serial"] == 100:
            break
    publisher.join()
    assert heard == [(number + 1, str(number)) for number in range(100)]


# ---- and nothing else ----


@pytest.mark.parametrize(
    ("event", "data", "code"),
    [
        ("pusher:subscribe", {"channel": "news", "rewind": 1}, 4300),
        ("pusher:channel_history", {"channel": "news"}, 4000),
        ("pusher:subscribe", {"channel": "news*"}, 4300),
        ("pusher:subscribe", {"channel": "[meta]news"}, 4300),
        ("pusher:auth", {"token": "x"}, 4000),
        ("pusher:presence_update", {"channel": "presence-news", "data": 1}, None),
    ],
)
def test_what_v2_alone_has(connect: Connect, event: str, data: Event, code: int | None) -> None:
    client = connect()
    client.subscribe("news")
    client.say(event, data)
    error = client.event()
    assert error["event"] == "pusher:error"
    assert code is None or error["data"]["code"] == code


def test_filters_are_not_looked_at(connect: Connect, server: ServerProcess, unique: str) -> None:
    client = connect()
    start = place(client.subscribe(unique, filter={"events": ["nothing"]}, delta=True))
    publish(server, unique, "1")
    assert client.event()["data"] == "1"
    found, _ = resume(client, **{unique: start})
    assert [each["data"] for each in found] == ["1"]


def test_on_other_apps_nothing_has_changed(connect: Connect, server: ServerProcess, unique: str) -> None:
    client = connect(app=PLAIN_APP)
    assert list(client.subscribe(unique)) == ["event", "channel", "data"]
    publish(server, unique, "1", app=PLAIN_APP)
    assert client.event() == {"event": "tide", "channel": unique, "data": "1"}
    client.say("pusher:resume", {"channel_positions": {unique: {"serial": 0}}})
    assert client.event()["data"]["code"] == 4000
