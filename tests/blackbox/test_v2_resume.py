"""Recovery after a cut: what is replayed, in which order, and what the answer says of it
(spec: websocket § 12; history § 3)."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from blackbox.recovery import answer_of, place, resume
from blackbox.timed import TimedServer
from support.server import DEFAULT_APP, STREAMS, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.websocket import Connect, Event, WebSocket, compact

HOT_APP = Credentials("hot", "hot-key", "hot-secret")

BOTH = pytest.mark.parametrize("app", [DEFAULT_APP, HOT_APP], ids=["durable", "hot"])


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    apps = [app_record(DEFAULT_APP), app_record(HOT_APP, history={"enabled": False})]
    with start_server({**STREAMS, "app_manager": {"array": {"apps": apps}}}) as running:
        yield running


def publish(server: ServerProcess, channel: str, *data: str, app: Credentials = DEFAULT_APP, **fields: Any) -> None:
    for each in data:
        server.publish(channel, "tide", each, app=app, **fields)


# ---- what was missed ----


@BOTH
def test_the_very_frames_that_were_missed_then_one_answer(
    connect_v2: Connect, server: ServerProcess, unique: str, app: Credentials
) -> None:
    lost, witness = connect_v2(app=app), connect_v2(app=app)
    for client in (lost, witness):
        client.subscribe(unique)
    publish(server, unique, "1", app=app)
    seen = lost.event()
    lost.close()
    publish(server, unique, "2", app=app, tags={"a": "1"}, extras={"headers": {"n": 1}})
    publish(server, unique, "3", app=app, message_id="m-3")
    missed = [witness.event() for _ in range(3)][1:]

    client = connect_v2(app=app)
    client.say("sockudo:resume", {"channel_positions": {unique: place(seen)}})
    assert [client.event(), client.event()] == missed
    position = {"stream_id": seen["stream_id"], "serial": 3, "last_message_id": "m-3"}
    data = {"recovered": [{"channel": unique, "source": "hot", "replayed": 2, "position": position}], "failed": []}
    assert client.text() == compact({"event": "sockudo:resume_success", "data": compact(data)})


@BOTH
@pytest.mark.parametrize("subscribed", ["before", "after"])
def test_the_subscription_may_come_before_or_after(
    connect_v2: Connect, server: ServerProcess, unique: str, app: Credentials, subscribed: str
) -> None:
    start = place(connect_v2(app=app).subscribe(unique))
    publish(server, unique, "1", "2", app=app)
    client = connect_v2(app=app)
    if subscribed == "before":
        assert client.subscribe(unique)["serial"] == 2
    answer = resume(client, **{unique: start})
    assert answer.data == ["1", "2"]
    if subscribed == "after":
        client.subscribe(unique)
    publish(server, unique, "3", app=app)
    assert [each["serial"] for each in (*answer.replayed, client.event())] == [1, 2, 3]


@BOTH
def test_what_is_said_between_a_resume_and_the_subscribe_comes_with_it(
    connect_v2: Connect, server: ServerProcess, unique: str, app: Credentials
) -> None:
    start = place(connect_v2(app=app).subscribe(unique))
    publish(server, unique, "1", app=app)
    client = connect_v2(app=app)
    assert resume(client, **{unique: start}).data == ["1"]
    publish(server, unique, "2", "3", app=app)
    client.hears_nothing()
    assert client.subscribe(unique)["serial"] == 3
    assert [each["data"] for each in client.until_pong()] == ["2", "3"]
    client.subscribe(unique)
    client.hears_nothing()


@BOTH
def test_nothing_missed_is_a_recovery_with_the_place_in_it(
    connect_v2: Connect, server: ServerProcess, unique: str, app: Credentials
) -> None:
    client = connect_v2(app=app)
    start = place(client.subscribe(unique))
    publish(server, unique, "1", app=app)
    seen = place(client.event())
    again = connect_v2(app=app)
    assert resume(again, **{unique: seen}).recovered[unique] == {
        "channel": unique,
        "source": "hot",
        "replayed": 0,
        "position": seen,
    }
    empty = f"{unique}-empty"
    start = place(client.subscribe(empty))
    assert resume(again, **{empty: start}).recovered[empty]["position"] == {**start, "last_message_id": None}


@BOTH
def test_the_message_that_was_seen_last_is_not_repeated(
    connect_v2: Connect, server: ServerProcess, unique: str, app: Credentials
) -> None:
    start = place(connect_v2(app=app).subscribe(unique))
    publish(server, unique, "1", app=app, message_id="m-1")
    publish(server, unique, "2", app=app, message_id="m-2")
    client = connect_v2(app=app)
    answer = resume(client, **{unique: {**start, "last_message_id": "m-1"}})
    assert answer.data == ["2"]
    assert answer.recovered[unique]["position"]["serial"] == 2
    position = {"stream_id": start["stream_id"], "serial": 1, "last_message_id": "m-2"}
    answer = resume(client, **{unique: position})
    assert (answer.data, answer.recovered[unique]["position"]) == ([], {**position, "serial": 2})


@BOTH
def test_ephemeral_messages_leave_no_hole(
    connect_v2: Connect, server: ServerProcess, unique: str, app: Credentials
) -> None:
    start = place(connect_v2(app=app).subscribe(unique))
    publish(server, unique, "1", app=app)
    publish(server, unique, "passing", app=app, extras={"ephemeral": True})
    publish(server, unique, "2", app=app)
    assert resume(connect_v2(app=app), **{unique: start}).data == ["1", "2"]


@pytest.mark.parametrize("prefix", ["", "cache-", "private-", "private-encrypted-", "presence-", "presence-cache-"])
def test_every_kind_of_channel(connect_v2: Connect, server: ServerProcess, unique: str, prefix: str) -> None:
    channel = f"{prefix}{unique[-60:]}"
    first = connect_v2()
    start = place(first.subscribe(channel, "ana"))
    first.say("sockudo:unsubscribe", {"channel": channel})
    first.until_pong()
    publish(server, channel, "1", "2")
    client = connect_v2()
    client.subscribe(channel, "ana")
    client.until_pong()
    assert resume(client, **{channel: start}).data == ["1", "2"]


def test_client_events_are_replayed_even_to_their_sender(connect_v2: Connect, unique: str) -> None:
    channel = f"presence-{unique}"
    client = connect_v2(params="echo_messages=false")
    start = place(client.subscribe(channel, "ana"))
    other = connect_v2()
    other.subscribe(channel, "ben")
    client.event()
    client.say("client-a", {"n": 1}, channel)
    live = other.event()
    assert resume(client, **{channel: start}).replayed == [live]
    assert (live["data"], live["user_id"]) == ({"n": 1}, "ana")


def test_events_for_a_user(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    channel = f"#server-to-user-{unique}"
    client = connect_v2()
    client.sign_in(unique)
    publish(server, channel, "1", "2")
    seen = place(client.event())
    again = connect_v2()
    assert resume(again, **{channel: seen}).reasons() == {
        channel: ("continuity_unverifiable", "channel_not_authorized")
    }
    again.sign_in(unique)
    assert resume(again, **{channel: seen}).data == ["2"]


# ---- filters and patterns ----


def odd(value: str) -> Event:
    return {"tags": {"odd": "yes" if int(value) % 2 else "no"}}


@BOTH
def test_a_subscription_that_filters_is_replayed_what_it_wants(
    connect_v2: Connect, server: ServerProcess, unique: str, app: Credentials
) -> None:
    start = place(connect_v2(app=app).subscribe(unique))
    for value in ("1", "2", "3", "4"):
        publish(server, unique, value, app=app, **odd(value))
    client = connect_v2(app=app)
    client.subscribe(unique, filter={"key": "odd", "cmp": "eq", "val": "yes"})
    answer = resume(client, **{unique: start})
    assert answer.data == ["1", "3"]
    assert answer.recovered[unique]["position"]["serial"] == 4


@BOTH
def test_a_tail_that_is_hidden_whole_still_moves_the_place(
    connect_v2: Connect, server: ServerProcess, unique: str, app: Credentials
) -> None:
    start = place(connect_v2(app=app).subscribe(unique))
    publish(server, unique, "1", app=app)
    publish(server, unique, "2", app=app, message_id="m-2")
    client = connect_v2(app=app)
    client.subscribe(unique, filter={"events": ["wind"]})
    answer = resume(client, **{unique: start})
    due = {"stream_id": start["stream_id"], "serial": 2, "last_message_id": "m-2"}
    assert (answer.replayed, answer.recovered[unique]["position"]) == ([], due)
    assert resume(client, **{unique: due}).recovered[unique]["replayed"] == 0


@BOTH
def test_channels_that_are_heard_through_a_pattern(
    connect_v2: Connect, server: ServerProcess, unique: str, app: Credentials
) -> None:
    channels = [f"{unique}-{letter}" for letter in "abc"]
    first = connect_v2(app=app)
    starts = {channel: place(first.subscribe(channel)) for channel in channels}
    client = connect_v2(app=app)
    client.subscribe(f"{unique}-*", filter={"key": "odd", "cmp": "eq", "val": "yes"})
    for channel in channels:
        for value in ("1", "2"):
            publish(server, channel, value, app=app, **odd(value))
    assert [each["data"] for each in client.until_pong()] == ["1", "1", "1"]
    answer = resume(client, **starts)
    assert [(each["channel"], each["data"]) for each in answer.replayed] == [(channel, "1") for channel in channels]
    publish(server, channels[0], "3", app=app, **odd("3"))
    assert client.event()["serial"] == 3


def test_an_exact_subscription_decides_before_a_pattern(
    connect_v2: Connect, server: ServerProcess, unique: str
) -> None:
    start = place(connect_v2().subscribe(unique))
    publish(server, unique, "1")
    client = connect_v2()
    client.subscribe(f"{unique}*", filter={"events": ["wind"]})
    client.subscribe(unique)
    assert resume(client, **{unique: start}).data == ["1"]


# ---- several channels ----


def test_each_channel_has_its_own_fate(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    first = connect_v2()
    good, idle, bad = f"{unique}-good", f"{unique}-idle", f"{unique}-bad"
    starts = {channel: place(first.subscribe(channel)) for channel in (good, idle, bad)}
    publish(server, good, "1")
    publish(server, bad, "1")
    client = connect_v2()
    answer = resume(client, **{**starts, bad: {**starts[bad], "stream_id": "another"}})
    assert (answer.data, list(answer.recovered), list(answer.failed)) == (["1"], [good, idle], [bad])


def test_data_may_be_a_string_that_holds_json(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    """The JavaScript library sends one."""
    start = place(connect_v2().subscribe(unique))
    publish(server, unique, "1")
    client = connect_v2()
    for prefix in ("sockudo", "pusher", "sockudo_internal"):
        client.say(f"{prefix}:resume", compact({"channel_positions": {unique: start}}))
        assert answer_of(client).data == ["1"]


def test_a_serial_may_be_written_as_a_string(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    start = place(connect_v2().subscribe(unique))
    publish(server, unique, "1", "2")
    assert resume(connect_v2(), **{unique: {**start, "serial": "1"}}).data == ["2"]


def test_positions_of_the_old_form(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    publish(server, unique, "1", "2")
    client = connect_v2()
    client.say("sockudo:resume", {"channel_serials": {unique: 1}})
    answer = answer_of(client)
    assert (answer.data, answer.recovered[unique]["source"]) == (["2"], "hot")
    client.say("sockudo:resume", {"channel_serials": {unique: 0}, "channel_positions": {unique: place(_last(answer))}})
    assert answer_of(client).data == []


def _last(answer: Any) -> Event:
    found: Event = answer.replayed[-1]
    return found


# ---- from the store ----


def test_the_store_knows_what_the_buffer_has_forgotten() -> None:
    config = {**STREAMS, "history": {**STREAMS["history"], "max_page_size": 2}}
    with TimedServer(config) as server:
        client = server.connect()
        start = place(client.subscribe("news"))
        for number in range(5):
            server.publish("news", "tide", str(number), **odd(str(number)))
        live = [client.event() for _ in range(5)]
        server.advance(121)
        answer = resume(server.connect(), news=start)
        assert answer.replayed == live
        assert answer.recovered["news"]["source"] == "cold"
        assert answer.recovered["news"]["position"] == place(live[-1])
        picky = server.connect()
        picky.subscribe("news", filter={"key": "odd", "cmp": "eq", "val": "yes"})
        assert resume(picky, news=place(live[0])).data == ["1", "3"]
        assert resume(picky, news=place(live[2], serial=0, last_message_id=live[3]["message_id"])).data == ["1"]


def test_the_place_of_a_channel_that_was_never_said_anything_on_lasts() -> None:
    """Situation 1 of spec: history § 10.2, long after the buffer was dropped."""
    with TimedServer(STREAMS) as server:
        client = server.connect()
        start = place(client.subscribe("news"))
        client.close()
        for _ in range(20):
            server.advance(60)
        server.publish("news", "tide", "1")
        assert resume(server.connect(), news=start).data == ["1"]


# ---- while others publish ----


@BOTH
@pytest.mark.parametrize("first", ["resume", "subscribe"])
def test_whatever_is_cut_nothing_is_lost(
    connect_v2: Connect, server: ServerProcess, unique: str, app: Credentials, first: str
) -> None:
    """One publisher, and a listener that is cut off again and again.

    Whoever resumes first hears everything once and in order. Whoever subscribes first may hear something live before it
    says where it was, and is then told that again, under the same id.
    """
    client = connect_v2(app=app)
    seen = client.subscribe(unique)
    publisher = threading.Thread(target=lambda: publish(server, unique, *map(str, range(150)), app=app))
    publisher.start()
    found: list[Event] = []
    for _ in range(1000):
        client.close()
        client = connect_v2(app=app)
        steps = [
            ("sockudo:resume", {"channel_positions": {unique: place(seen)}}),
            ("sockudo:subscribe", {"channel": unique}),
        ]
        for event, data in steps if first == "resume" else reversed(steps):
            client.say(event, data)
        found += heard(client)
        seen = found[-1] if found else seen
        if seen["serial"] == 150:
            break
    publisher.join()
    if first == "subscribe":
        found = sorted({each["message_id"]: each for each in found}.values(), key=lambda each: each["serial"])
    assert [(each["serial"], each["data"]) for each in found] == [(n + 1, str(n)) for n in range(150)]


def heard(client: WebSocket) -> list[Event]:
    """The messages that a client gets until it has both its answers and a little longer."""
    frames: list[Event] = []
    due = {"sockudo:resume_success", "sockudo_internal:subscription_succeeded"}
    while due:
        frames.append(client.event())
        due.discard(frames[-1]["event"])
    frames += client.until_pong()
    (success,) = [each for each in frames if each["event"] == "sockudo:resume_success"]
    assert json.loads(success["data"])["failed"] == []
    return [each for each in frames if each["event"] == "tide"]
