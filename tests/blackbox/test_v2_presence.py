"""Members that change what they say about themselves without leaving (spec: websocket § 15.1)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.websocket import Connect, Event, WebSocket, compact


def updated(channel: str, user_id: str, info: object) -> Event:
    """What the channel is told of a change."""
    data = compact({"user_id": user_id, "user_info": info})
    return {"event": "sockudo_internal:presence_update", "channel": channel, "data": data}


def snapshot(client: WebSocket, channel: str, user_id: str = "later") -> Event:
    """Who is there, by user id, as a newcomer gets it."""
    data = json.loads(client.subscribe(channel, user_id)["data"])
    found: Event = data["presence"]["hash"]
    return found


SHAPES = [
    ({"data": {"channel": "{}", "data": {"mood": "busy"}}}, {"mood": "busy"}),
    ({"data": {"channel": "{}", "user_info": {"mood": "busy"}}}, {"mood": "busy"}),
    ({"channel": "{}", "data": {"user_info": {"mood": "busy"}}}, {"mood": "busy"}),
    ({"channel": "{}", "data": {"mood": "busy"}}, {"mood": "busy"}),
    ({"channel": "{}", "data": "away"}, "away"),
    ({"channel": "{}", "data": [1, 2.5, None]}, [1, 2.5, None]),
    ({"data": {"channel": "{}", "data": 7}}, 7),
    ({"data": {"channel": "{}", "data": None}}, None),
]


@pytest.mark.parametrize(("message", "info"), SHAPES)
def test_every_shape_that_libraries_send(connect_v2: Connect, unique: str, message: Event, info: object) -> None:
    channel = f"presence-{unique[-60:]}"
    client = connect_v2()
    client.subscribe(channel, "ana", {"mood": "idle"})
    client.say_text(compact({"event": "sockudo:presence_update", **message}).replace("{}", channel))
    assert client.event() == updated(channel, "ana", info)
    assert snapshot(connect_v2(), channel) == {"ana": info, "later": {}}


def test_data_may_be_a_string_that_holds_json(connect_v2: Connect, unique: str) -> None:
    channel = f"presence-{unique}"
    client = connect_v2()
    client.subscribe(channel, "ana")
    client.say("pusher:presence_update", compact({"channel": channel, "data": {"mood": "busy"}}))
    assert client.event() == updated(channel, "ana", {"mood": "busy"})


def test_v2_subscribers_are_told_and_v1_is_not(connect: Connect, connect_v2: Connect, unique: str) -> None:
    channel = f"presence-{unique}"
    sender, other = connect_v2(params="echo_messages=false"), connect_v2()
    old = connect()
    for client, user_id in ((sender, "ana"), (other, "ben"), (old, "cid")):
        client.subscribe(channel, user_id)
    for client in (sender, other):
        client.until_pong()
    sender.say("sockudo:presence_update", {"channel": channel, "data": {"mood": "busy"}})
    assert sender.event() == other.event() == updated(channel, "ana", {"mood": "busy"})
    old.hears_nothing()
    old.say("pusher:unsubscribe", {"channel": channel})
    assert snapshot(old, channel, "cid")["ana"] == {"mood": "busy"}


def test_a_user_is_one_member_through_all_its_connections(connect_v2: Connect, unique: str) -> None:
    channel = f"presence-{unique}"
    one, two = connect_v2(), connect_v2()
    one.subscribe(channel, "ana", {"mood": "idle"})
    two.subscribe(channel, "ana", {"mood": "idle"})
    one.say("sockudo:presence_update", {"channel": channel, "data": {"mood": "busy"}})
    assert one.event() == two.event() == updated(channel, "ana", {"mood": "busy"})
    one.say("sockudo:unsubscribe", {"channel": channel})
    one.hears_nothing()
    two.hears_nothing()
    assert snapshot(connect_v2(), channel)["ana"] == {"mood": "busy"}


def test_what_is_said_is_kept_to_the_byte(connect_v2: Connect, unique: str) -> None:
    """1024 bytes of JSON are allowed, and one more is not."""
    channel = f"presence-{unique}"
    client = connect_v2()
    client.subscribe(channel, "ana")
    for size, allowed in ((1024, True), (1025, False)):
        client.say("sockudo:presence_update", {"channel": channel, "data": "ü" * 500 + "x" * (size - 1002)})
        if allowed:
            assert client.event()["event"] == "sockudo_internal:presence_update"
        else:
            client.refused(40009, "user_info has 1025 bytes; at most 1024 are allowed")


@pytest.mark.parametrize(
    "data", [None, {}, {"data": 1}, {"channel": 7, "data": 1}, "presence-a", [], {"user_info": {}}]
)
def test_without_a_channel_it_is_malformed(connect_v2: Connect, data: Any) -> None:
    client = connect_v2()
    client.say("sockudo:presence_update", data)
    client.refused(4000, "Invalid message format: presence_update channel is required")


def test_it_needs_a_presence_channel_and_a_member(connect_v2: Connect, unique: str) -> None:
    client = connect_v2()
    for channel in (unique, f"private-{unique}", ""):
        client.say("sockudo:presence_update", {"channel": channel, "data": 1})
        client.refused(104009, f"presence_update needs a presence channel, and '{channel}' is none")
    channel = f"presence-{unique}"
    not_there = f"presence_update needs a member of '{channel}'; subscribe first"
    client.say("sockudo:presence_update", {"channel": channel, "data": 1})
    client.refused(104009, not_there)
    client.subscribe(channel, "ana")
    client.say("sockudo:unsubscribe", {"channel": channel})
    client.say("sockudo:presence_update", {"channel": channel, "data": 1})
    client.refused(104009, not_there)


def test_a_member_may_change_ten_times_a_second(connect_v2: Connect, unique: str) -> None:
    channel = f"presence-{unique}"
    client = connect_v2()
    client.subscribe(channel, "ana")
    for number in range(11):
        client.say("sockudo:presence_update", {"channel": channel, "data": number})
    found = client.until_pong()
    due = {"code": 4301, "message": "Too many presence updates; at most 10 a second are allowed"}
    assert [each["data"] for each in found if each["event"] == "sockudo:error"] == [due]
    told = [json.loads(each["data"])["user_info"] for each in found if each["event"] != "sockudo:error"]
    assert told == list(range(10))


def test_v1_is_refused(connect: Connect, unique: str) -> None:
    client = connect()
    client.subscribe(f"presence-{unique}", "ana")
    for prefix in ("pusher", "sockudo"):
        client.say(f"{prefix}:presence_update", {"channel": f"presence-{unique}", "data": 1})
        client.refused(4000, f"Protocol error: {prefix}:presence_update requires protocol V2")


@pytest.mark.parametrize("event", ["sockudo_internal:presence_update", "pusher_internal:presence_update"])
def test_the_internal_names_are_none_of_a_clients(connect_v2: Connect, unique: str, event: str) -> None:
    channel = f"presence-{unique[-60:]}"
    client = connect_v2()
    client.subscribe(channel, "ana")
    client.say(event, {"channel": channel, "data": 1})
    client.hears_nothing()
