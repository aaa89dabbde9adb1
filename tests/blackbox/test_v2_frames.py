"""What a frame carries on V2, and what of it a V1 connection on the same channel sees (spec: websocket § 10 and 11)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from support.server import DEFAULT_APP, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.websocket import Connect, Event, WebSocket, compact

PLAIN_APP = Credentials("plain", "plain-key", "plain-secret")
HOT_APP = Credentials("hot", "hot-key", "hot-secret")
STORED_APP = Credentials("stored", "stored-key", "stored-secret")

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    recovery, history = {"enabled": True}, {"enabled": True}
    apps = [
        app_record(PLAIN_APP),
        app_record(HOT_APP, connection_recovery=recovery),
        app_record(STORED_APP, history=history),
        app_record(DEFAULT_APP, connection_recovery=recovery, history=history),
    ]
    with start_server({"app_manager": {"array": {"apps": apps}}, "history": {"backend": "memory"}}) as running:
        yield running


@pytest.fixture(scope="module")
def reticent() -> Iterator[ServerProcess]:
    """A server that shows no tags, and that sends nobody its own events unless it wants them."""
    tags, echo = {"enabled": True, "enable_tags": False}, {"default_echo_messages": False}
    with start_server({"tag_filtering": tags, "echo_control": echo}) as running:
        yield running


@pytest.fixture(scope="module")
def featureless() -> Iterator[ServerProcess]:
    """A server on which neither messages nor connections have a choice."""
    off = {"ephemeral": {"enabled": False}, "echo_control": {"enabled": False, "default_echo_messages": False}}
    with start_server({**off, "connection_recovery": {"enabled": True}}) as running:
        yield running


def published(server: ServerProcess, client: WebSocket, channel: str, **fields: Any) -> Event:
    """What the client hears of an event with these fields."""
    server.publish(channel, "tide", "high", app=client.app, **fields)
    found = client.event()
    assert (found["event"], found["channel"], found["data"]) == ("tide", channel, "high")
    return found


# ---- which fields there are ----


def test_a_plain_channel_adds_nothing(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    client = connect_v2(app=PLAIN_APP)
    assert client.subscribe(unique) == {
        "event": "sockudo_internal:subscription_succeeded",
        "channel": unique,
        "data": "{}",
    }
    server.publish(unique, "tide", "high", app=PLAIN_APP)
    assert client.text() == compact({"event": "tide", "channel": unique, "data": "high"})


def test_a_message_id_of_the_publisher_is_kept(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    client = connect_v2(app=PLAIN_APP)
    client.subscribe(unique)
    assert published(server, client, unique, message_id="m-1")["message_id"] == "m-1"


@pytest.mark.parametrize("app", [HOT_APP, STORED_APP, DEFAULT_APP], ids=lambda app: app.id)
def test_a_numbered_channel_counts_from_one(
    connect_v2: Connect, server: ServerProcess, unique: str, app: Credentials
) -> None:
    client = connect_v2(app=app)
    client.subscribe(unique)
    first, second = (published(server, client, unique) for _ in range(2))
    assert list(first) == ["event", "channel", "data", "message_id", "stream_id", "serial"]
    assert (first["serial"], second["serial"]) == (1, 2)
    assert first["stream_id"] == second["stream_id"]
    assert UUID.fullmatch(first["stream_id"])
    assert UUID.fullmatch(first["message_id"])
    assert first["message_id"] != second["message_id"]
    assert published(server, client, unique, message_id="m-3")["message_id"] == "m-3"


@pytest.mark.parametrize(
    ("app", "fields", "data"),
    [
        (HOT_APP, ["event", "channel", "data", "stream_id", "serial"], "{}"),
        (STORED_APP, ["event", "channel", "data"], '{"attach_serial":2}'),
        (DEFAULT_APP, ["event", "channel", "data", "stream_id", "serial"], '{"attach_serial":2}'),
    ],
    ids=lambda value: value.id if isinstance(value, Credentials) else None,
)
def test_the_acknowledgement_says_where_the_channel_is(
    connect_v2: Connect, server: ServerProcess, unique: str, app: Credentials, fields: list[str], data: str
) -> None:
    early = connect_v2(app=app)
    early.subscribe(unique)
    stream_id = [published(server, early, unique) for _ in range(2)][1]["stream_id"]
    acknowledgement = connect_v2(app=app).subscribe(unique)
    assert list(acknowledgement) == fields
    assert acknowledgement["data"] == data
    if "serial" in fields:
        assert (acknowledgement["stream_id"], acknowledgement["serial"]) == (stream_id, 2)


def test_an_empty_channel_has_a_place_that_its_first_message_continues(
    connect_v2: Connect, server: ServerProcess, unique: str
) -> None:
    client = connect_v2()
    acknowledgement = client.subscribe(unique)
    assert (acknowledgement["serial"], acknowledgement["data"]) == (0, '{"attach_serial":0}')
    first = published(server, client, unique)
    assert (first["stream_id"], first["serial"]) == (acknowledgement["stream_id"], 1)


def test_only_the_acknowledgement_and_messages_carry_a_serial(connect_v2: Connect, unique: str) -> None:
    """Clients take the newest frame with a serial for their place (spec: history § 4.4)."""
    client, other = connect_v2(), connect_v2()
    channel = f"presence-cache-{unique[-60:]}"
    client.subscribe(channel, "ana")
    assert client.event() == {"event": "sockudo:cache_miss", "channel": channel, "data": "{}"}
    other.subscribe(channel, "ben")
    assert list(client.event()) == ["event", "channel", "data"]
    other.say("sockudo:unsubscribe", {"channel": channel})
    assert list(client.event()) == ["event", "channel", "data"]


def test_every_field_in_its_order(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    client = connect_v2()
    client.subscribe(unique)
    found = published(
        server, client, unique, message_id="m-1", tags={"b": "2", "a": "1"}, extras={"headers": {"n": 7}, "echo": True}
    )
    assert list(found) == ["event", "channel", "data", "tags", "message_id", "stream_id", "serial", "extras"]
    assert found["tags"] == {"a": "1", "b": "2"}
    assert found["extras"] == {"headers": {"n": 7}, "echo": True}


def test_a_message_of_a_member_names_it_before_its_place(connect_v2: Connect, unique: str) -> None:
    ana, ben = connect_v2(), connect_v2()
    channel = f"presence-{unique}"
    ana.subscribe(channel, "ana")
    ben.subscribe(channel, "ben")
    ana.event()
    ben.say("client-wave", {"hand": "left"}, channel)
    found = ana.event()
    assert list(found) == ["event", "channel", "data", "user_id", "message_id", "stream_id", "serial"]
    assert (found["data"], found["user_id"], found["serial"]) == ({"hand": "left"}, "ben", 1)


# ---- V1 beside V2 ----


def test_v1_sees_none_of_it(connect: Connect, connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    old, new = connect(), connect_v2()
    for channel in (unique, f"private-{unique}"):
        assert old.subscribe(channel)["data"] == "{}"
        new.subscribe(channel)
    fields = {"tags": {"a": "1"}, "message_id": "m-1", "extras": {"headers": {"n": 7}, "ephemeral": True}}
    server.publish(unique, "tide", "high", **fields)
    server.publish(unique, "tide", "low")
    new.say("client-wave", 1, f"private-{unique}")
    assert [old.text() for _ in range(3)] == [
        compact({"event": "tide", "channel": unique, "data": "high"}),
        compact({"event": "tide", "channel": unique, "data": "low"}),
        compact({"event": "client-wave", "channel": f"private-{unique}", "data": 1}),
    ]
    assert [new.event()["event"] for _ in range(3)] == ["tide", "tide", "client-wave"]


def test_prefixes_follow_the_connection(connect: Connect, connect_v2: Connect, unique: str) -> None:
    channel = f"presence-{unique}"
    old, new = connect(), connect_v2()
    old.subscribe(channel, "old")
    new.subscribe(channel, "new")
    assert old.event()["event"] == "pusher_internal:member_added"
    newest = connect_v2()
    newest.subscribe(channel, "newest")
    assert (old.event()["event"], new.event()["event"]) == (
        "pusher_internal:member_added",
        "sockudo_internal:member_added",
    )


@pytest.mark.parametrize("prefix", ["pusher", "pusher_internal", "sockudo", "sockudo_internal"])
@pytest.mark.parametrize("protocol", [7, 2])
def test_every_prefix_is_understood_everywhere(connect: Connect, unique: str, prefix: str, protocol: int) -> None:
    client = connect(protocol=protocol)
    client.say(f"{prefix}:subscribe", {"channel": unique})
    client.joined(unique)
    client.say(f"{prefix}:ping")
    assert client.text() == compact({"event": f"{client.prefix}:pong"})
    client.say(f"{prefix}:unsubscribe", {"channel": unique})
    client.hears_nothing()


@pytest.mark.parametrize("event", ["pusher-like", "sockudo", "sockudo-like", "pusherx:thing", "any:pusher:thing"])
def test_other_names_are_never_changed(
    connect: Connect, connect_v2: Connect, server: ServerProcess, unique: str, event: str
) -> None:
    clients = [connect(), connect_v2()]
    for client in clients:
        client.subscribe(unique)
    server.publish(unique, event, "1")
    assert [client.event()["event"] for client in clients] == [event, event]


def test_a_refusal_carries_the_prefix_of_the_connection(connect_v2: Connect) -> None:
    client = connect_v2()
    client.say("pusher:subscribe", {})
    assert client.text() == compact(
        {
            "event": "sockudo:error",
            "data": {"code": 4000, "message": "Invalid message format: Missing channel in subscription data"},
        }
    )


# ---- extras ----


@pytest.mark.parametrize(
    ("extras", "delivered"),
    [
        ({}, None),
        ({"push": None}, None),
        ({"idempotencyKey": "{key}-a"}, None),
        ({"idempotency_key": "{key}-b", "headers": {"a": "1"}}, {"headers": {"a": "1"}}),
        ({"headers": {"sockudo_action": "message.create"}}, None),
        ({"headers": {"sockudo_x": 1, "b": True, "f": 0.5, "s": "ü"}}, {"headers": {"b": True, "f": 0.5, "s": "ü"}}),
        ({"ephemeral": False, "own": [{"deep": None}]}, {"ephemeral": False, "own": [{"deep": None}]}),
        ({"echo": None, "own": None}, None),
    ],
)
def test_extras(
    connect_v2: Connect, server: ServerProcess, unique: str, extras: dict[str, Any], delivered: dict[str, Any] | None
) -> None:
    client = connect_v2()
    client.subscribe(unique)
    named = {name: value.format(key=unique) if isinstance(value, str) else value for name, value in extras.items()}
    assert published(server, client, unique, extras=named).get("extras") == delivered


@pytest.mark.parametrize("header", [{"a": {"b": 1}}, {"a": [1]}, {"a": None}])
def test_headers_are_flat(server: ServerProcess, unique: str, header: dict[str, Any]) -> None:
    body = {"name": "tide", "channel": unique, "data": "high", "extras": {"headers": header}}
    reply = server.signed("POST", "/apps/app-id/events", body=body)
    assert (reply.status, reply.json()["code"]) == (422, "invalid_input")


def test_an_ephemeral_message_has_no_place(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    client = connect_v2()
    client.subscribe(unique)
    assert published(server, client, unique)["serial"] == 1
    passing = published(server, client, unique, extras={"ephemeral": True})
    assert passing == {"event": "tide", "channel": unique, "data": "high", "extras": {"ephemeral": True}}
    assert published(server, client, unique)["serial"] == 2


def test_where_a_feature_is_off_its_flag_is_taken_off(
    connect_v2: Connect, featureless: ServerProcess, unique: str
) -> None:
    client = connect_v2(server=featureless)
    client.subscribe(unique)
    found = published(featureless, client, unique, extras={"ephemeral": True, "echo": False, "headers": {"a": 1}})
    assert (found["serial"], found["extras"]) == (1, {"headers": {"a": 1}})


def test_what_a_client_adds_to_its_event_is_dropped(connect_v2: Connect, unique: str) -> None:
    channel = f"private-{unique}"
    sender, receiver = connect_v2(app=PLAIN_APP), connect_v2(app=PLAIN_APP)
    for client in (sender, receiver):
        client.subscribe(channel)
    said = {"event": "client-a", "channel": channel, "data": 1, "name": "n", "user_id": "u", "tags": {"a": "1"}}
    sender.say_text(compact({**said, "extras": {"headers": {"a": 1}}, "message_id": "m", "serial": 9}))
    assert receiver.text() == compact({"event": "client-a", "channel": channel, "data": 1})


# ---- tags ----


def test_filters_see_tags_that_are_not_shown(connect_v2: Connect, reticent: ServerProcess, unique: str) -> None:
    client = connect_v2(server=reticent)
    client.subscribe(unique, filter={"key": "a", "cmp": "eq", "val": "1"})
    reticent.publish(unique, "tide", "no", tags={"a": "2"})
    found = published(reticent, client, unique, tags={"a": "1"})
    assert found == {"event": "tide", "channel": unique, "data": "high"}


def test_a_message_without_tags_has_none(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    client = connect_v2(app=PLAIN_APP)
    client.subscribe(unique)
    assert "tags" not in published(server, client, unique, tags={})


# ---- echo ----


@pytest.mark.parametrize(
    ("kind", "params", "echoes"),
    [
        ("server", "client=a", True),
        ("server", "echo_messages=true", True),
        ("server", "echo_messages=false", False),
        ("reticent", "client=a", False),
        ("reticent", "echo_messages=true", True),
        ("featureless", "client=a", True),
        ("featureless", "echo_messages=false", True),
    ],
)
def test_a_sender_hears_itself_unless_it_is_told_otherwise(
    request: pytest.FixtureRequest, connect: Connect, unique: str, kind: str, params: str, echoes: bool
) -> None:
    server: ServerProcess = request.getfixturevalue(kind)
    channel = f"private-{unique}"
    sender = connect(server=server, protocol=2, params=params)
    other = connect(server=server, protocol=2, params="echo_messages=false")
    old = connect(server=server, params=params)
    for client in (sender, other, old):
        client.subscribe(channel)
    sender.say("client-a", 1, channel)
    assert other.event()["event"] == "client-a"
    assert [each["event"] for each in sender.until_pong()] == (["client-a"] if echoes else [])
    assert old.event() == {"event": "client-a", "channel": channel, "data": 1}
    old.say("client-b", 2, channel)
    assert other.event()["event"] == "client-b"
    old.hears_nothing()
