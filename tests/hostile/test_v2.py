"""What a hostile client of protocol V2 is told, in every format; the connection stays, and so does the server.

The answers are those of spec: websocket § 5 to 16; http-api § 11; filters-deltas § 1.6 to 1.11.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from hostile.attacks import V2
from hostile.messages import BOMBS, bad_token, deep_payloads, false_lengths, strange_action
from support.raw import RawConnection
from support.server import DEFAULT_APP, STREAMS, ServerProcess, app_record, start_server
from support.tokens import TOKEN_APP, token
from support.waiting import wait_until
from support.websocket import BINARY, WebSocket, frame
from support.wire import JSON, MSGPACK, PROTOBUF, WIRES, Event, Wire

SEED = 20_261_126

MALFORMED = "Invalid message format: Decode failed: "
IN_EVERY_FORMAT = pytest.mark.parametrize("wire", WIRES, ids=str)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    config = {
        **STREAMS,
        "history": {"enabled": True, "backend": "sqlite"},
        "app_manager": {"array": {"apps": [app_record(DEFAULT_APP), app_record(TOKEN_APP)]}},
        # Room for nesting that a filter could have, if it were let.
        "websocket_max_payload_kb": 1024,
    }
    with start_server(config) as running:
        yield running
        wait_until(lambda: connected(running) == 0, "no connection to be left")
        for line in running.log.splitlines():
            assert not line.startswith("{") or json.loads(line)["level"] not in {"ERROR", "CRITICAL"}, line


def connected(server: ServerProcess) -> float:
    lines = [line for line in server.metrics().splitlines() if line.startswith("sockudo_connected{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def told(client: WebSocket) -> tuple[int, str]:
    """Code and text of the next frame, which is an error."""
    found = client.event()
    assert found["event"] == f"{client.prefix}:error", found
    return found["data"]["code"], found["data"]["message"]


# ---- what cannot be read ----


def unreadable(wire: Wire) -> list[bytes]:
    """Noise, pieces of sound messages, and parts that claim to be four gigabytes long."""
    rng = random.Random(SEED)
    noise = [b"\xc1" + rng.randbytes(rng.randint(0, 80)) for _ in range(20)]
    lengths = [false_lengths(wire, rng) for _ in range(20)]
    sound = [wire.encode({"event": "sockudo:subscribe", "channel": "c", "data": strange_action(rng)}) for _ in range(5)]
    return [*noise, *lengths, *(each[:at] for each in sound for at in (1, len(each) // 2, len(each) - 1))]


@IN_EVERY_FORMAT
def test_what_cannot_be_read_is_one_error_frame(server: ServerProcess, wire: Wire) -> None:
    with WebSocket(server, protocol=2, wire=wire) as client:
        client.greeting()
        for message in [*unreadable(wire), *deep_payloads(wire)]:
            client.send(frame(message, BINARY))
            code, text = told(client)
            assert (code, "\n" in text) == (4000, False)
            assert text.startswith(MALFORMED), (message[:60], text)
        client.subscribe("news")
        client.hears_nothing()


@IN_EVERY_FORMAT
def test_another_format_than_was_agreed_on_is_one_error_frame(server: ServerProcess, wire: Wire) -> None:
    with WebSocket(server, protocol=2, wire=wire) as client:
        client.greeting()
        for other in (JSON, MSGPACK, PROTOBUF):
            message = other.encode({"event": "sockudo:ping", "data": {"a": 1}})
            client.send(frame(message, other.opcode))
            if other is wire:
                assert client.event() == {"event": "sockudo:pong"}
            else:
                code, text = told(client)
                assert code == 4000
                assert text.startswith(MALFORMED)


# ---- what asks for something, with something wrong about it ----

FORMAT = "Invalid message format: "
BAD_REWIND = f"{FORMAT}Invalid rewind option in subscription data"
BAD_RESUME = f"{FORMAT}Invalid resume data"
LIMIT = "limit must be a whole number of 0 or more"
SIGNED = "Authentication error: Authentication signature required for this channel"


def subscribe(**fields: Any) -> tuple[str, Event]:
    return "subscribe", {"channel": "news", **fields}


def history(**fields: Any) -> tuple[str, Event]:
    return "channel_history", {"channel": "news", **fields}


def position(**fields: Any) -> tuple[str, Event]:
    return "resume", {"channel_positions": {"news": fields}}


REFUSED: list[tuple[tuple[str, Any], int, str]] = [
    *((("subscribe", data), 4000, f"{FORMAT}Invalid subscription data") for data in (None, 5, "x", [], [{}], True)),
    *((("subscribe", {"channel": name}), 4000, f"{FORMAT}Missing channel in") for name in (None, 5, [], {})),
    *((subscribe(channel=name), 4300, "Channel error: Channel name ") for name in ("", "a b", "x" * 201, "é")),
    (subscribe(channel="[meta][meta]x"), 4300, "Channel error: Channel name "),
    *((subscribe(channel=name), 4300, "Channel error: Wildcard subscription") for name in ("a**", "private-*", "a*#b")),
    *((subscribe(channel="private-x", auth=auth), 4009, SIGNED) for auth in (None, 5, [], {})),
    *(
        (subscribe(channel="private-x", auth=auth), 4009, "Authentication error: Channel requires authentication")
        for auth in ("", ":", "x", "app-key:", "app-key:" + "0" * 64, "é:\x00", "x" * 10_000)
    ),
    *(
        (subscribe(channel="presence-x", auth="a:b", channel_data=data), 4000, f"{FORMAT}Missing channel_data")
        for data in (None, 5, {}, {"user_id": "u"})
    ),
    *((subscribe(filter=value), 4000, f"{FORMAT}Invalid tags filter shape") for value in (5, "x", [], True)),
    *(
        (subscribe(tags_filter=value), 4000, FORMAT)
        for value in (
            {},
            {"key": 5, "cmp": "eq", "val": "x"},
            {"key": "k", "cmp": "zz", "val": "x"},
            {"key": "k" * 257, "cmp": "ex"},
            {"op": "and", "nodes": 5},
            {"op": "not", "nodes": [{"key": "k", "cmp": "ex"}] * 2},
            {"op": "or", "nodes": [{"key": "k", "cmp": "ex"}] * 200},
            {"events": 5},
            {"events": [5]},
            {"events": ["e"] * 51},
            {"expression": 5},
            {"expression": "x" * 5000},
            {"expression": "(" * 4000},
            {"expression": {"language": "sql", "source": "a"}},
            {"expression": {"source": []}},
        )
    ),
    *(
        (subscribe(rewind=value), 4000, BAD_REWIND)
        for value in (0, -1, 1.5, True, [], {}, "x", "", "9" * 400, -(10**30))
    ),
    *((subscribe(rewind={name: "x"}), 4000, BAD_REWIND) for name in ("count", "seconds", "duration_seconds")),
    *((subscribe(modes=value), 4000, f"{FORMAT}Invalid modes") for value in (5, "x", {}, [5], [["SUBSCRIBE"]])),
    (("unsubscribe", None), 4000, f"{FORMAT}Missing data in unsubscribe message"),
    *((("unsubscribe", data), 4000, f"{FORMAT}Missing channel in unsubscribe") for data in (5, {}, [], {"channel": 5})),
    (("signin", None), 4000, f"{FORMAT}Invalid signin data format"),
    *(
        (("signin", {"auth": "x", "user_data": data}), 4009, "Authentication error: Missing 'user_data'")
        for data in (None, 5, {}, [])
    ),
    (("signin", {"auth": "x", "user_data": "{"}), 4009, "Authentication error: Invalid user_data JSON: "),
    *(
        (("signin", {"auth": auth, "user_data": "{}"}), 4009, "Authentication error: Missing 'auth'")
        for auth in (5, [])
    ),
    *((("auth", data), 4000, f"{FORMAT}Invalid auth data") for data in (None, 5, [])),
    *((("auth", {"token": value}), 4000, f"{FORMAT}Missing token") for value in (None, 5, {})),
    *((("resume", data), 4000, BAD_RESUME) for data in (None, 5, [], {"channel_positions": 5})),
    (("resume", {"channel_positions": {}}), 4302, "No channel recovery positions provided"),
    *(
        (position(serial=value), 4000, BAD_RESUME)
        for value in (None, -1, 1.5, True, 2**64, 10**400, "x", "-1", "٣", "9" * 30, [])
    ),
    *((position(serial=1, stream_id=value), 4000, BAD_RESUME) for value in (5, [], {})),
    *((position(serial=1, last_message_id=value), 4000, BAD_RESUME) for value in (5, [], {})),
    (("resume", {"channel_positions": {f"c{number}": {"serial": 1} for number in range(1001)}}), 4000, BAD_RESUME),
    (("resume", {"channel_serials": {"news": []}}), 4000, BAD_RESUME),
    *((("channel_history", data), 4000, f"{FORMAT}Missing data") for data in (None, 5, [])),
    *((history(channel=name), 4000, f"{FORMAT}Missing channel") for name in (None, 5, [])),
    (history(channel="other"), 4301, "Client event error: Not subscribed to channel 'other'"),
    *((history(limit=value), 4000, LIMIT) for value in (-1, "x", 1.5, True, 2**63, 10**400, "9" * 25, "٣", [])),
    (history(limit=0), 4000, "History limit must be greater than 0"),
    *((history(cursor=value), 4000, "cursor must be a string") for value in (5, [], {})),
    *((history(cursor=value), 4000, "Invalid history cursor: ") for value in ("", "!", "AAAA", "é", "W10", "_w")),
    (history(cursor="e30"), 4000, "Unsupported history cursor version: null"),
    (history(cursor="A" * 20_000), 4000, "History cursor exceeds 16 KiB"),
    *((history(direction=value), 4000, "Unsupported history direction: ") for value in (5, [], "up", "x" * 9000)),
    *(
        (history(**{name: -1}), 4000, f"{name} must be a whole number")
        for name in ("start_serial", "end_serial", "end")
    ),
    *((history(**{name: 2**63}), 4000, f"{name} must be a whole number") for name in ("start_time_ms", "end_time_ms")),
    (history(params={"start": 5, "end": 1}), 4000, "start_serial must be less than or equal to end_serial"),
    (history(start_time_ms=5, end_time_ms=1), 4000, "start_time_ms must be less than or equal to end_time_ms"),
    *((history(until_attach=value), 4000, "until_attach must be true or false") for value in (1, "true", [])),
    *((("presence_update", data), 4000, f"{FORMAT}presence_update channel") for data in (None, 5, {}, {"channel": 5})),
    (("presence_update", {"channel": "news", "data": 1}), 104009, "presence_update needs a presence channel"),
    (("presence_update", {"channel": "presence-x", "data": 10**30}), 104009, "presence_update needs a member"),
]

IGNORED: list[tuple[str, Any]] = [
    *(("delta_sync_error", data) for data in (None, 5, [], {}, {"channel": 5}, {"channel": "other"})),
    *(("unsubscribe", {"channel": name}) for name in ("other", "", "a b", "x" * 500)),
    ("pong", {"a": [1]}),
    ("error", {"code": 4001}),
    ("subscription_succeeded", {"channel": "news"}),
    ("", None),
]


@IN_EVERY_FORMAT
def test_every_action_with_every_wrong_field_is_one_error_frame(server: ServerProcess, wire: Wire) -> None:
    with WebSocket(server, protocol=2, wire=wire) as client:
        client.greeting()
        client.subscribe("news")
        for (name, data), code, text in REFUSED:
            client.say(f"sockudo:{name}", data)
            found = told(client)
            assert (found[0], found[1].startswith(text), "\n" in found[1]) == (code, True, False), (name, data, found)
        for name, data in IGNORED:
            client.say(f"sockudo:{name}", data)
        client.hears_nothing()
        server.publish("news", "event", "the first subscription is still there")
        assert client.event()["event"] == "event"


def test_wrong_types_in_the_fields_of_the_frame_itself(server: ServerProcess) -> None:
    """Also where the event would not look at them (spec: websocket § 1.2)."""
    strings = ["event", "channel", "name", "user_id", "message_id", "stream_id", "conflation_key", "idempotency_key"]
    wrong: dict[str, list[Any]] = {name: [5, True, [], {}] for name in strings}
    wrong |= {name: ["1", -1, 1.5, 2**64, []] for name in ("serial", "sequence", "__delta_seq")}
    wrong |= {"tags": [5, [], {"a": 1}], "extras": [5, "x", []]}
    with WebSocket(server, protocol=2) as client:
        client.greeting()
        for name, values in wrong.items():
            for value in values:
                client.say_text(json.dumps({"event": "sockudo:ping", name: value}))
                code, text = told(client)
                assert code == 4000
                assert text.startswith(f"{MALFORMED}field '{name}'"), text
        client.hears_nothing()


@IN_EVERY_FORMAT
def test_absurd_positions_and_rewinds_are_answered(server: ServerProcess, wire: Wire) -> None:
    """Larger than any store's numbers: a place that does not exist, or all there is."""
    with WebSocket(server, protocol=2, wire=wire) as client:
        client.greeting()
        channel = f"depth-{wire}"
        server.publish(channel, "event", "1")
        for value in (
            10**18,
            {"seconds": 10**400},
            {"seconds": 2**63},
            {"count": 10**400},
            {"duration_seconds": 2**31},
        ):
            client.subscribe(channel, rewind=value)
            assert client.event()["data"] == "1"
            assert client.event()["event"] == "sockudo:rewind_complete"
        for serial in (2**63, 2**64 - 1, "18446744073709551615"):
            for stream_id in (None, "\x00", "é" * 5000):
                place = {"serial": serial, "stream_id": stream_id, "last_message_id": "\x00"}
                client.say("sockudo:resume", {"channel_positions": {channel: place, "a b": place, "x" * 300: place}})
                found = [client.event()["event"] for _ in range(4)]
                assert found == ["sockudo:resume_failed"] * 3 + ["sockudo:resume_success"]
        client.hears_nothing()


# ---- expressions ----


def test_bombs_in_filters_do_not_delay_anybody(server: ServerProcess) -> None:
    """Every bomb is refused, or evaluated within its budget a few times and then no more
    (spec: filters-deltas § 1.11)."""
    with WebSocket(server, protocol=2) as bomber, WebSocket(server) as client:
        bomber.greeting()
        client.greeting()
        armed = []
        for number, source in enumerate(BOMBS):
            channel = f"bomb-{number}"
            bomber.say(
                "sockudo:subscribe", {"channel": channel, "filter": {"expression": source.replace("\ud7ff", "")}}
            )
            answer = bomber.event()
            if answer["event"] == "sockudo:error":
                assert answer["data"]["code"] == 4000
            else:
                assert answer["event"] == "sockudo_internal:subscription_succeeded"
                armed.append(channel)
        assert len(armed) > 5
        for channel in armed:
            client.subscribe(channel)
        data = json.dumps({"n": list(range(2000)), "s": ["a" * 20] * 500})
        took = []
        for channel in armed:
            for _ in range(4):
                before = server.cpu_seconds
                server.publish(channel, "event", data)
                assert client.event()["channel"] == channel
                took.append(server.cpu_seconds - before)
        assert max(took) < 5
        assert sorted(took)[len(took) // 2] < 0.5


# ---- tokens ----


def test_hostile_tokens_end_a_connection_that_begins_with_them(server: ServerProcess) -> None:
    rng = random.Random(SEED)
    for _ in range(60):
        text = bad_token(rng, TOKEN_APP.key)
        if len(text) > 10_000:
            continue
        with WebSocket(server, app=TOKEN_APP, protocol=2, params=f"token={quote(text)}") as client:
            code, message = told(client)
            assert code == 4009
            assert message.startswith("Authentication error: ")
            client.closed(4009, message)


@IN_EVERY_FORMAT
def test_hostile_tokens_do_not_refresh_one(server: ServerProcess, wire: Wire) -> None:
    rng = random.Random(SEED)
    with WebSocket(server, app=TOKEN_APP, protocol=2, wire=wire, params=f"token={token('ana')}") as client:
        client.greeting()
        for _ in range(60):
            client.say("sockudo:auth", {"token": bad_token(rng, TOKEN_APP.key)})
            code, message = told(client)
            assert code == 4009
            assert message.startswith("Authentication error: ")
        for spoilt in (
            token("ben"),
            token("ana", header={"kid": "app-key"}),
            token("ana", exp=0),
            token("ana", without="jti"),
        ):
            client.say("sockudo:auth", {"token": spoilt})
            assert told(client)[0] == 4009
        client.say("sockudo:auth", {"token": token("ana")})
        assert client.event()["event"] == "sockudo:auth_success"


# ---- histories over HTTP ----


def cursor_of(server: ServerProcess, channel: str) -> str:
    for number in range(3):
        server.publish(channel, "event", str(number))
    reply = server.signed("GET", f"/apps/{server.app.id}/channels/{channel}/history", params={"limit": "1"})
    found: str = reply.json()["next_cursor"]
    return found


QUERIES: list[dict[str, str]] = [
    *({"limit": value} for value in ("0", "-1", "x", "1.5", "", "9" * 5000, "٣", "1e3", str(2**63))),
    *({name: value} for name in ("start_serial", "end_serial") for value in ("-1", "x", str(2**63), "9" * 4400)),
    *({name: value} for name in ("start_time_ms", "end_time_ms") for value in ("x", str(2**63), "1.5", "NaN")),
    {"start_serial": "5", "end_serial": "1"},
    {"start_time_ms": "5", "end_time_ms": "1"},
    *({"direction": value} for value in ("", "up", "x" * 3000, "\x00")),
    *({"cursor": value} for value in ("", "!", "e30", "AAAA", "A" * 20_000, "é", "W10", "bnVsbA", "\x00")),
    {"until_attach": "yes"},
    {"until_attach": "true"},
]


def test_hostile_questions_to_a_history_are_400(server: ServerProcess) -> None:
    path = f"/apps/{server.app.id}/channels/asked/history"
    sound = cursor_of(server, "asked")
    other = cursor_of(server, "asked-too")
    turned = [{"cursor": sound, "direction": "oldest_first"}, {"cursor": sound, "start_serial": "1"}, {"cursor": other}]
    forged = [{"cursor": sound[:at] + "A" + sound[at + 1 :]} for at in range(0, len(sound), 7)]
    for query in [*QUERIES, *turned]:
        reply = server.signed("GET", path, params=query)
        assert reply.status == 400, (query, reply.text)
        assert reply.json()["status"] == 400
        assert len(reply.text) < 500
    for query in forged:
        assert server.signed("GET", path, params=query).status in (200, 400)
    assert server.signed("GET", path, params={"cursor": sound}).status == 200


# ---- and after all that ----


def test_declared_lengths_of_a_frame_end_the_connection_at_once(server: ServerProcess) -> None:
    """4 GB in the head of a frame: 1009 before any of it has come (spec: websocket § 2.4)."""
    for wire in WIRES:
        for length in (2**32, 2**63 - 1):
            with WebSocket(server, protocol=2, wire=wire) as client:
                client.greeting()
                client.send(bytes([0x80 | wire.opcode, 0xFF]) + length.to_bytes(8, "big") + b"mask")
                found = client.frame()
                assert found.payload[:2] == (1009).to_bytes(2, "big")


def test_nothing_is_left(server: ServerProcess) -> None:
    """Connections that were there are forgotten, and the server still serves."""
    with RawConnection(server) as cut:
        cut.send(V2[JSON] + frame(b'{"event":"sockudo:subscribe"')[:20])
    wait_until(lambda: connected(server) == 0, "no connection to be left")
    with WebSocket(server, protocol=2, wire=MSGPACK) as client:
        client.greeting()
        client.subscribe("after")
        server.publish("after", "event", "still here")
        assert client.event()["data"] == "still here"
    server.check_log()
