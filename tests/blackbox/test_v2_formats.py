"""Every frame that a server sends, in every format: the same meaning, and never a text frame on a binary connection.

The client decodes with libraries of others and refuses a frame of the wrong kind, so each test here says both.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from support.raw import Dial, assert_error
from support.server import DEFAULT_APP, STREAMS, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.tokens import TOKEN_APP, token
from support.websocket import BINARY, CLOSE, TEXT, Connect, Frame, WebSocket, compact, frame, handshake
from support.wire import JSON, MSGPACK, PROTOBUF, WIRES, Wire

TALKING_APP = Credentials("talking", "talking-key", "talking-secret")
DISABLED_APP = Credentials("disabled", "disabled-key", "disabled-secret")

Open = Callable[..., WebSocket]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    talking = {"enable_subscription_count": True, "enable_subscription_error": True}
    apps = [
        app_record(DEFAULT_APP),
        app_record(TOKEN_APP),
        app_record(TALKING_APP, features=talking),
        {**app_record(DISABLED_APP), "enabled": False},
    ]
    with start_server({**STREAMS, "app_manager": {"array": {"apps": apps}}}) as running:
        yield running


@pytest.fixture(params=WIRES, ids=str)
def connect_each(connect_v2: Connect, request: pytest.FixtureRequest) -> Open:
    """Connects on protocol V2, in each format in its turn."""
    wire: Wire = request.param

    def open_one(**fields: object) -> WebSocket:
        return connect_v2(wire=wire, **fields)

    return open_one


# ---- what is published ----


def test_a_message_with_everything(connect_each: Open, server: ServerProcess, unique: str) -> None:
    client = connect_each()
    client.subscribe(unique)
    headers = {"n": 7, "f": -0.5, "b": False, "s": "Öresund 🌊", "": ""}
    extras = {"headers": headers, "echo": True, "ephemeral": False}
    server.publish(unique, "tide", '{"m":2.40}', message_id="m-1", tags={"a": "1", "ü": ""}, extras=extras)
    found = client.event()
    stream_id = found.pop("stream_id")
    assert found == {
        "event": "tide",
        "channel": unique,
        "data": '{"m":2.40}',
        "tags": {"a": "1", "ü": ""},
        "message_id": "m-1",
        "serial": 1,
        "extras": extras,
    }
    assert len(stream_id) == 36


@pytest.mark.parametrize("data", ["", "plain", "null", '{"a":1}', "ü🌊\x00\n", "x" * 70_000])
def test_data_of_a_publish_is_a_string(connect_each: Open, server: ServerProcess, unique: str, data: str) -> None:
    client = connect_each()
    client.subscribe(unique)
    server.publish(unique, "tide", data)
    assert client.event()["data"] == data


@pytest.mark.parametrize(
    "data",
    [{"channel": "a", "channel_data": "b", "user_data": "c"}, {}, [1, None], 2**53, 1.5, True, "text", "{}"],
)
def test_data_of_a_client_event_keeps_its_type(connect_each: Open, unique: str, data: object) -> None:
    channel = f"private-{unique}"
    sender, receiver = connect_each(), connect_each()
    for client in (sender, receiver):
        client.subscribe(channel)
    sender.say("client-a", data, channel)
    found = [client.event() for client in (sender, receiver)]
    assert [(each["event"], each["channel"], each["data"]) for each in found] == [("client-a", channel, data)] * 2


def test_all_formats_hear_each_other(connect_v2: Connect, unique: str) -> None:
    channel = f"private-{unique}"
    clients = [connect_v2(wire=wire, params="echo_messages=false") for wire in WIRES]
    for client in clients:
        client.subscribe(channel)
    for sender in clients:
        sender.say("client-a", {"from": str(sender.wire)}, channel)
        heard = [client.event() for client in clients if client is not sender]
        assert heard[0] == heard[1]
        assert heard[0]["data"] == {"from": str(sender.wire)}


# ---- what the server says of itself ----


def test_the_greeting(connect_each: Open) -> None:
    greeting = connect_each(greeted=False).event()
    assert list(greeting) == ["event", "data"]
    assert json.loads(greeting["data"])["activity_timeout"] == 120


def test_pings(connect_each: Open) -> None:
    client = connect_each()
    client.say("sockudo:ping", {})
    assert client.event() == {"event": "sockudo:pong"}


def test_refusals(connect_each: Open) -> None:
    client = connect_each()
    client.say("sockudo:subscribe", {"channel": "private-a"})
    client.refused(4009, "Authentication error: Authentication signature required for this channel")
    client.say("client-a", 1, "private-a")
    text = f"Client event error: Socket {client.socket_id} is not subscribed to channel private-a"
    client.refused(4301, text)


def test_refusals_in_the_form_that_libraries_raise(connect_each: Open, unique: str) -> None:
    client = connect_each(app=TALKING_APP)
    client.say("sockudo:subscribe", {"channel": f"private-{unique}", "auth": "x"})
    error = "Authentication error: Channel requires authentication"
    assert client.event() == {
        "event": "sockudo:subscription_error",
        "channel": f"private-{unique}",
        "data": {"type": "AuthError", "error": error, "status": 401},
    }
    client.refused(4009, error)


def test_counts(connect_each: Open, unique: str) -> None:
    client = connect_each(app=TALKING_APP)
    client.subscribe(unique)
    assert client.event() == {
        "event": "sockudo_internal:subscription_count",
        "channel": unique,
        "data": '{"subscription_count":1}',
    }


def test_members_come_change_and_go(connect_each: Open, unique: str) -> None:
    channel = f"presence-{unique}"
    ana, ben = connect_each(), connect_each()
    ana.subscribe(channel, "ana", {"nick": "Ána"})
    joined = json.loads(ben.subscribe(channel, "ben")["data"])
    assert joined["presence"] == {"ids": ["ana", "ben"], "hash": {"ana": {"nick": "Ána"}, "ben": {}}, "count": 2}
    ben.say("sockudo:presence_update", {"channel": channel, "data": {"away": True}})
    assert ben.event()["event"] == "sockudo_internal:presence_update"
    ben.say("sockudo:unsubscribe", {"channel": channel})
    events = [ana.event() for _ in range(3)]
    assert {each["channel"] for each in events} == {channel}
    assert [(each["event"], each["data"]) for each in events] == [
        ("sockudo_internal:member_added", '{"user_id":"ben","user_info":{}}'),
        ("sockudo_internal:presence_update", '{"user_id":"ben","user_info":{"away":true}}'),
        ("sockudo_internal:member_removed", '{"user_id":"ben"}'),
    ]


def test_a_metachannel(connect_each: Open, unique: str) -> None:
    watcher, member = connect_each(), connect_each()
    channel = f"presence-{unique}"
    watcher.subscribe(f"[meta]{channel}")
    member.subscribe(channel, "ana")
    events = [watcher.event() for _ in range(3)]
    assert {each["channel"] for each in events} == {f"[meta]{channel}"}
    assert [(each["event"], each["data"]) for each in events] == [
        ("sockudo_internal:member_added", {"channel": channel, "user_id": "ana"}),
        ("sockudo_internal:channel_occupied", {"channel": channel, "subscription_count": 1}),
        ("sockudo_internal:subscription_count", {"channel": channel, "subscription_count": 1}),
    ]


def test_a_cache_channel(connect_each: Open, server: ServerProcess, unique: str) -> None:
    client = connect_each()
    channel = f"cache-{unique}"
    client.subscribe(channel)
    assert client.event() == {"event": "sockudo:cache_miss", "channel": channel, "data": "{}"}
    server.publish(channel, "rate", "2")
    assert client.event()["serial"] == 1
    client.say("sockudo:subscribe", {"channel": channel})
    assert client.joined(channel)["serial"] == 1
    assert client.event() == {"event": "rate", "channel": channel, "data": "2"}


def test_a_user_and_a_watchlist(connect_each: Open, server: ServerProcess, unique: str) -> None:
    client = connect_each()
    client.sign_in("ana", watchlist=[f"{unique}-1", "ana"])
    events = {"online": ["ana"], "offline": [f"{unique}-1"]}
    groups = [{"name": name, "user_ids": ids} for name, ids in events.items()]
    assert client.event() == {"event": "sockudo_internal:watchlist_events", "data": {"events": groups}}
    server.publish("#server-to-user-ana", "note", "hello")
    found = client.event()
    assert (found["event"], found["channel"], found["data"]) == ("note", "#server-to-user-ana", "hello")


def test_tokens(connect_each: Open, server: ServerProcess) -> None:
    client = connect_each(app=TOKEN_APP, params=f"token={token('ana', jti='t-1')}")
    client.say("sockudo:auth", {"token": token("ana", jti="t-2", exp=2**31, iat=2**31 - 60, without="iat")})
    client.refused(4009, "Authentication error: capability token lacks iat")
    fresh = token("ana", jti=f"t-{client.wire}")
    client.say("sockudo:auth", {"token": fresh})
    answer = client.event()
    assert answer["event"] == "sockudo:auth_success"
    assert (answer["data"]["client_id"], answer["data"]["jti"]) == ("ana", f"t-{client.wire}")
    body = {"jti": f"t-{client.wire}"}
    assert server.signed("POST", "/apps/tokens/revocations", body=body, app=TOKEN_APP).status == 200
    assert client.event() == {"event": "sockudo:token_expired", "data": {"code": 40160, "reason": "revoked"}}
    client.ended(4009, "capability token revoked")


# ---- the past ----


def test_recovery(connect_each: Open, server: ServerProcess, unique: str) -> None:
    start = connect_each().subscribe(unique)
    server.publish(unique, "tide", "1", tags={"a": "1"}, extras={"headers": {"n": 1}}, message_id="m-1")
    client = connect_each()
    position = {"stream_id": start["stream_id"], "serial": 0}
    client.say("sockudo:resume", {"channel_positions": {unique: position, f"{unique}-x": position}})
    replayed, failed, success = (client.event() for _ in range(3))
    assert replayed == {
        "event": "tide",
        "channel": unique,
        "data": "1",
        "tags": {"a": "1"},
        "message_id": "m-1",
        "stream_id": start["stream_id"],
        "serial": 1,
        "extras": {"headers": {"n": 1}},
    }
    assert (failed["event"], failed["channel"]) == ("sockudo:resume_failed", f"{unique}-x")
    assert list(success) == ["event", "data"]
    answer = json.loads(success["data"])
    assert [entry["channel"] for entry in answer["recovered"] + answer["failed"]] == [unique, f"{unique}-x"]


def test_rewind_and_history(connect_each: Open, server: ServerProcess, unique: str) -> None:
    server.publish(unique, "tide", "1", tags={"a": "1"}, extras={"headers": {"n": 1}}, message_id="m-1")
    client = connect_each()
    client.subscribe(unique, rewind=5)
    past, complete = client.event(), client.event()
    assert (past["serial"], past["tags"], past["extras"]) == (1, {"a": "1"}, {"headers": {"n": 1}})
    assert complete["event"] == "sockudo:rewind_complete"
    assert complete["data"]["historical_count"] == 1
    client.say("sockudo:channel_history", {"channel": unique})
    page = client.event()
    assert (page["event"], page["channel"]) == ("sockudo:channel_history", unique)
    assert page["data"]["items"][0]["message"] == {**past, "extras": {"headers": {"n": 1}}}


# ---- the end ----


def test_a_refused_connection_is_told_in_its_format(connect_each: Open) -> None:
    connect_each(app=Credentials("x", "nobody", "x"), greeted=False).ended(4001, "Application does not exist")
    connect_each(app=DISABLED_APP, greeted=False).ended(4003, "Application disabled")


def test_a_terminated_user(connect_each: Open, server: ServerProcess, unique: str) -> None:
    client = connect_each()
    client.sign_in(unique)
    assert server.signed("POST", f"/apps/app-id/users/{unique}/terminate_connections", body={}).status == 200
    client.ended(4009, "You got disconnected by the app.")


def test_the_end_of_the_server(connect_v2: Connect, serve: Callable[..., ServerProcess]) -> None:
    stopped = serve()
    clients = [connect_v2(server=stopped, wire=wire) for wire in WIRES]
    stopped.process.terminate()
    for client in clients:
        client.ended(4200, "Server shutting down")
    assert stopped.wait() == 0


# ---- how formats are asked for, and what comes in ----


@pytest.mark.parametrize(
    ("named", "wire"),
    [
        ("", JSON),
        ("JSON", JSON),
        ("messagepack", MSGPACK),
        ("%20MsgPack%20", MSGPACK),
        ("proto", PROTOBUF),
        ("PROTOBUF", PROTOBUF),
    ],
)
def test_names_of_formats(connect_v2: Connect, named: str, wire: Wire) -> None:
    connect_v2(wire=wire, query=f"protocol=2&format={named}")


@pytest.mark.parametrize("named", ["cbor", "json,msgpack", "msgpack5"])
def test_other_formats_are_refused_before_the_101(dial: Dial, named: str) -> None:
    client = dial()
    client.send(handshake(f"/app/app-key?protocol=2&format={named}"))
    assert_error(client.answer(), 400, "invalid_input", "Query parameter 'format' must be json, msgpack or protobuf")


def test_v1_is_json_whatever_it_asks_for(server: ServerProcess) -> None:
    with WebSocket(server, query="protocol=7&format=msgpack") as client:
        client.greeting()


def test_json_may_come_in_a_binary_frame(connect_v2: Connect, unique: str) -> None:
    client = connect_v2()
    client.send(frame(compact({"event": "sockudo:subscribe", "data": {"channel": unique}}), BINARY))
    client.joined(unique)


def test_protobuf_that_happens_to_be_text_may_come_in_a_text_frame(connect_v2: Connect, unique: str) -> None:
    client = connect_v2(wire=PROTOBUF)
    client.send(frame(PROTOBUF.encode({"event": "sockudo:subscribe", "data": {"channel": unique[:20]}}), TEXT))
    client.joined(unique[:20])


@pytest.mark.parametrize(
    ("wire", "payload"),
    [
        (MSGPACK, b""),
        (MSGPACK, b"\xc1"),
        (MSGPACK, b"\x91\xa1e"),
        (MSGPACK, MSGPACK.encode({"event": "sockudo:ping"}) + b"\xc0"),
        (PROTOBUF, b"\x0a\xff"),
        (PROTOBUF, b"\x0b\x0c"),
        (JSON, b"\x91\xa1e"[:1]),
    ],
)
def test_a_malformed_frame_costs_nothing_but_an_error(connect_v2: Connect, wire: Wire, payload: bytes) -> None:
    client = connect_v2(wire=wire)
    client.send(frame(payload, BINARY))
    found = client.event()
    assert found["event"] == "sockudo:error"
    assert found["data"]["code"] == 4000
    assert found["data"]["message"].startswith("Invalid message format: Decode failed: ")
    client.say("sockudo:ping")
    assert client.event() == {"event": "sockudo:pong"}


def test_a_frame_without_an_event(connect_v2: Connect) -> None:
    clients = {MSGPACK: b"\x9f" + b"\xc0" * 15, PROTOBUF: b"\x12\x01c", JSON: b"{}"}
    for wire, payload in clients.items():
        client = connect_v2(wire=wire)
        client.send(frame(payload, BINARY))
        client.refused(4000, "Invalid event name: Event name is required")


def test_a_close_frame_is_answered_in_kind(connect_each: Open) -> None:
    client = connect_each()
    client.send(frame((1000).to_bytes(2, "big"), CLOSE))
    assert client.frame() == Frame(CLOSE, (1000).to_bytes(2, "big"))
