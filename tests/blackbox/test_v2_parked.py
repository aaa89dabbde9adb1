"""Places of channels that the connection may not read yet: they wait for the subscribe
(spec: websocket § 12; history § 4.2).

Libraries resume as soon as they are connected, and only then ask their backend to sign for private channels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from blackbox.recovery import Answer, answer_of, place, resume
from blackbox.timed import TimedServer
from support.server import DEFAULT_APP, STREAMS, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.websocket import Connect, Event, WebSocket
from support.wire import WIRES, Wire

HOT_APP = Credentials("hot", "hot-key", "hot-secret")
UNAUTHORIZED = ("continuity_unverifiable", "channel_not_authorized")

BOTH = pytest.mark.parametrize("app", [DEFAULT_APP, HOT_APP], ids=["durable", "hot"])


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    apps = [app_record(DEFAULT_APP), app_record(HOT_APP, history={"enabled": False})]
    with start_server({**STREAMS, "app_manager": {"array": {"apps": apps}}}) as running:
        yield running


def left_at(client: WebSocket, channel: str) -> Event:
    """The place of a channel that the client joins and leaves."""
    found = place(client.subscribe(channel, "ana"))
    client.say("sockudo:unsubscribe", {"channel": channel})
    client.until_pong()
    return found


def ask(client: WebSocket, **positions: Event) -> None:
    client.say("sockudo:resume", {"channel_positions": positions})


@BOTH
@pytest.mark.parametrize("prefix", ["private-", "private-encrypted-", "presence-", "private-cache-"])
def test_nothing_is_shown_before_the_signature_and_nothing_is_missing_after_it(
    connect_v2: Connect, server: ServerProcess, unique: str, app: Credentials, prefix: str
) -> None:
    channel = f"{prefix}{unique[-60:]}"
    start = left_at(connect_v2(app=app), channel)
    for data in ("1", "2"):
        server.publish(channel, "tide", data, app=app)
    client = connect_v2(app=app)
    ask(client, **{channel: start})
    server.publish(channel, "tide", "3", app=app)
    client.hears_nothing()
    assert client.subscribe(channel, "ana")["serial"] == 3
    answer = answer_of(client)
    assert answer.data == ["1", "2", "3"]
    assert answer.recovered[channel]["position"]["serial"] == 3
    if prefix == "private-cache-":
        assert client.event() == {"event": "tide", "channel": channel, "data": "3"}
    server.publish(channel, "tide", "4", app=app)
    assert client.event()["serial"] == 4


@pytest.mark.parametrize("wire", WIRES, ids=str)
def test_in_every_format(connect_v2: Connect, server: ServerProcess, unique: str, wire: Wire) -> None:
    channel = f"private-{unique}"
    start = left_at(connect_v2(wire=wire), channel)
    server.publish(channel, "tide", "1", tags={"a": "1"})
    client = connect_v2(wire=wire)
    ask(client, **{channel: start})
    client.subscribe(channel)
    answer = answer_of(client)
    assert [(each["data"], each["tags"]) for each in answer.replayed] == [("1", {"a": "1"})]


@BOTH
def test_the_answer_waits_for_the_last_of_them(
    connect_v2: Connect, server: ServerProcess, unique: str, app: Credentials
) -> None:
    first = connect_v2(app=app)
    names = [f"{unique}-a", f"private-{unique}-b", f"private-{unique}-c", f"{unique}-d"]
    starts = {name: left_at(first, name) for name in names}
    for name in names:
        server.publish(name, "tide", name, app=app)
    client = connect_v2(app=app)
    ask(client, **{**starts, names[3]: {**starts[names[3]], "stream_id": "another"}})
    before = [client.event(), client.event()]
    client.hears_nothing()
    assert [(each["event"], each["channel"]) for each in before] == [
        ("tide", names[0]),
        ("sockudo:resume_failed", names[3]),
    ]
    client.subscribe(names[2])
    between = client.event()
    assert between["channel"] == names[2]
    client.hears_nothing()
    client.subscribe(names[1])
    answer = Answer([*before, between, client.event(), client.event()])
    assert list(answer.recovered) == [names[0], names[2], names[1]]
    assert list(answer.failed) == [names[3]]


def test_a_refused_subscribe_leaves_the_place_waiting(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    channel = f"private-{unique}"
    start = left_at(connect_v2(), channel)
    server.publish(channel, "tide", "1")
    client = connect_v2()
    ask(client, **{channel: start})
    client.say("sockudo:subscribe", {"channel": channel, "auth": "app-key:wrong"})
    client.refused(4009, "Authentication error: Channel requires authentication")
    client.hears_nothing()
    client.subscribe(channel)
    assert answer_of(client).data == ["1"]


def test_the_filter_of_the_subscribe_holds_for_the_past(
    connect_v2: Connect, server: ServerProcess, unique: str
) -> None:
    channel = f"private-{unique}"
    start = left_at(connect_v2(), channel)
    for name in ("tide", "wind", "tide"):
        server.publish(channel, name, "1")
    client = connect_v2()
    ask(client, **{channel: start})
    client.subscribe(channel, filter={"events": ["wind"]})
    answer = answer_of(client)
    assert [each["event"] for each in answer.replayed] == ["wind"]
    assert answer.recovered[channel]["position"]["serial"] == 3


def test_a_place_that_cannot_be_recovered_is_refused_once_it_may_be_known(
    connect_v2: Connect, server: ServerProcess, unique: str
) -> None:
    channel = f"private-{unique}"
    server.publish(channel, "tide", "1")
    client = connect_v2()
    ask(client, **{channel: {"serial": 0, "stream_id": "another"}})
    client.hears_nothing()
    client.subscribe(channel)
    assert answer_of(client).reasons() == {channel: ("stream_reset", "durable_stream_id_mismatch")}
    server.publish(channel, "tide", "2")
    assert client.event()["data"] == "2"


def test_a_channel_that_is_joined_already_does_not_wait(
    connect_v2: Connect, server: ServerProcess, unique: str
) -> None:
    channel = f"private-{unique}"
    start = left_at(connect_v2(), channel)
    server.publish(channel, "tide", "1")
    client = connect_v2()
    client.subscribe(channel)
    assert resume(client, **{channel: start}).data == ["1"]


def test_the_next_resume_ends_the_one_that_waits(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    first = connect_v2()
    waiting, public = f"private-{unique}", unique
    starts = {name: left_at(first, name) for name in (waiting, public)}
    client = connect_v2()
    ask(client, **{waiting: starts[waiting]})
    ask(client, **{public: starts[public]})
    assert answer_of(client).reasons() == {waiting: UNAUTHORIZED}
    assert list(answer_of(client).recovered) == [public]
    server.publish(waiting, "tide", "1")
    client.subscribe(waiting)
    client.hears_nothing()


# ---- how long ----


@pytest.mark.parametrize("history", [True, False])
def test_after_ten_seconds_it_has_failed(history: bool) -> None:
    with TimedServer({**STREAMS, "history": {"enabled": history, "backend": "memory"}}) as server:
        start = left_at(server.connect(), "private-news")
        server.publish("private-news", "tide", "1")
        client = server.connect()
        ask(client, **{"private-news": start, "news": start})
        assert client.event()["channel"] == "news"
        client.hears_nothing()
        server.advance(9)
        client.hears_nothing()
        server.advance(1)
        failed, success = client.event(), client.event()
        assert (failed["event"], failed["channel"]) == ("sockudo:resume_failed", "private-news")
        entries = json.loads(success["data"])["failed"]
        assert [entry["channel"] for entry in entries] == ["news", "private-news"]
        assert (entries[1]["code"], entries[1]["reason"]) == UNAUTHORIZED
        assert client.subscribe("private-news")["serial"] == 1
        client.hears_nothing()


def test_one_that_comes_in_time_does_not_save_the_others() -> None:
    with TimedServer(STREAMS) as server:
        first = server.connect()
        starts = {name: left_at(first, name) for name in ("private-a", "private-b")}
        for name in starts:
            server.publish(name, "tide", name)
        client = server.connect()
        ask(client, **starts)
        client.hears_nothing()
        server.advance(5)
        client.subscribe("private-b")
        replayed = client.event()
        client.hears_nothing()
        server.advance(5)
        answer = Answer([replayed, client.event(), client.event()])
        assert answer.data == ["private-b"]
        assert answer.reasons() == {"private-a": UNAUTHORIZED}


@pytest.mark.parametrize("history", [True, False])
def test_a_public_channel_is_gone_on_with_however_late_the_subscribe(history: bool) -> None:
    """Its acknowledgement moves the client to the head: what was said since the replay has to come with it."""
    with TimedServer({**STREAMS, "history": {"enabled": history, "backend": "memory"}}) as server:
        start = left_at(server.connect(), "news")
        server.publish("news", "tide", "1")
        client = server.connect()
        assert resume(client, news=start).data == ["1"]
        server.publish("news", "tide", "2")
        for _ in range(3):
            server.advance(10)
        assert client.subscribe("news")["serial"] == 2
        assert client.event()["data"] == "2"
        client.hears_nothing()


def test_a_rewind_of_the_subscribe_ends_though_the_resume_was_enough(
    connect_v2: Connect, server: ServerProcess, unique: str
) -> None:
    start = left_at(connect_v2(), unique)
    for data in ("1", "2"):
        server.publish(unique, "tide", data)
    client = connect_v2()
    assert resume(client, **{unique: start}).data == ["1", "2"]
    client.subscribe(unique, rewind=10)
    ended = client.event()
    assert (ended["event"], ended["channel"]) == ("sockudo:rewind_complete", unique)
    assert ended["data"] == {
        "historical_count": 0,
        "live_count": 0,
        "complete": True,
        "truncated_by_retention": False,
        "truncated_by_limit": False,
    }
    client.hears_nothing()


def test_a_rewind_of_the_subscribe_is_done_when_the_resume_failed(
    connect_v2: Connect, server: ServerProcess, unique: str
) -> None:
    channel = f"private-{unique}"
    for data in ("1", "2"):
        server.publish(channel, "tide", data)
    client = connect_v2()
    ask(client, **{channel: {"stream_id": "other", "serial": 1}})
    client.subscribe(channel, rewind=10)
    said = [client.event() for _ in range(5)]
    assert [frame["event"] for frame in said if frame["event"] == "tide"] == ["tide", "tide"]
    assert {frame["event"] for frame in said} == {
        "sockudo:resume_failed",
        "sockudo:resume_success",
        "tide",
        "sockudo:rewind_complete",
    }
    ended = next(frame for frame in said if frame["event"] == "sockudo:rewind_complete")
    assert ended["data"]["historical_count"] == 2
    client.hears_nothing()
