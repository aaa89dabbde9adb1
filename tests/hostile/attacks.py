"""Connections as nobody should make them, by the thousand: each attack is made from a random generator.

An attack is what to send, in pieces, and how to end. What the server answers does not matter here; it only must not
stumble, leak or forget to count.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

from hostile.messages import (
    BRACKETS,
    WRONG,
    bad_cursor,
    bad_token,
    deep_payloads,
    false_lengths,
    mutated,
    raw_json,
    spoilt,
)
from hostile.messages import payload as hostile_payload
from support.raw import request_bytes, signed_target
from support.signing import Credentials
from support.websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, compact, frame, handshake
from support.wire import JSON as JSON_FORMAT
from support.wire import WIRES

__all__ = ["ATTACKS", "Attack", "attacks"]

End = Literal["close", "reset", "half-close", "answer"]


class Attack(NamedTuple):
    """``pieces`` go out one after the other, with a pause between them where ``slow``; then comes the ``end``.

    `answer` waits a moment for whatever the server says, the others do not.
    """

    name: str
    pieces: list[bytes]
    end: End
    slow: bool = False


Make = Callable[[random.Random, Credentials], list[bytes]]

JSON = {"Content-Type": "application/json"}
UPGRADE = handshake("/app/app-key?protocol=7")
V2 = {wire: handshake(f"/app/app-key?protocol=2&format={wire}&client=x") for wire in WIRES}


# ---- HTTP ----


def random_bytes(rng: random.Random, _: Credentials) -> list[bytes]:
    return [rng.randbytes(rng.randint(1, 2000))]


def publish(app: Credentials, body: bytes) -> bytes:
    target = signed_target(app, "POST", f"/apps/{app.id}/{'batch_events' if b'batch' in body else 'events'}", body)
    return request_bytes("POST", target, JSON, body)


def good_publish(app: Credentials) -> bytes:
    return publish(app, compact({"name": "e", "channel": "news", "data": "x"}).encode())


def broken_http(rng: random.Random, app: Credentials) -> list[bytes]:
    good = [
        good_publish(app),
        request_bytes("GET", signed_target(app, "GET", f"/apps/{app.id}/channels")),
        UPGRADE,
        request_bytes("POST", "/apps/x/events", {**JSON, "Transfer-Encoding": "chunked"}) + b"5\r\nabcde\r\n0\r\n\r\n",
        request_bytes("OPTIONS", "/up", {"Expect": "100-continue"}),
    ]
    return [mutated(rng.choice(good), rng) for _ in range(rng.randint(1, 3))]


def smuggled(rng: random.Random, app: Credentials) -> list[bytes]:
    hidden = good_publish(app)
    head = rng.choice(
        [
            f"Content-Length: {len(hidden)}\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 4",
            "Content-Length: 4\r\nContent-Length: 40",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            "Transfer-Encoding : chunked",
            "Transfer-Encoding:\tchunked",
            "X: y\rTransfer-Encoding: chunked",
            "X: y\nContent-Length: 4",
            "Content-Length: 4\r\nHost: other",
            "Content-Length: 99999999999999999999",
            "Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 4",
        ]
    )
    target = rng.choice(["/live", "/apps/app-id/events?a=1", "http://x/live", "*", "//", "/%2e%2e/live"])
    method = rng.choice(["POST", "GET", "PUT", "CONNECT", "OPTIONS"])
    return [f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n0\r\n\r\n".encode() + hidden + hidden]


EVENT_FIELDS = ["name", "channel", "channels", "data", "socket_id", "info", "tags", "delta", "extras", "batch", "more"]
EVENT_FIELDS += ["idempotency_key", "message_id"]


def wrong_event(rng: random.Random) -> dict[str, Any]:
    event: dict[str, Any] = {"name": "e", "channel": "news", "data": "x"}
    for name in rng.sample(EVENT_FIELDS, rng.randint(1, 4)):
        event[name] = rng.choice(WRONG)
    return event


def wrong_body(rng: random.Random, app: Credentials) -> list[bytes]:
    body: Any = wrong_event(rng)
    if rng.random() < 0.3:
        body = {"batch": [wrong_event(rng) for _ in range(rng.randint(0, 4))]}
    return [publish(app, raw_json(body, rng).encode()) for _ in range(rng.randint(1, 3))]


def brackets(rng: random.Random, app: Credentials) -> list[bytes]:
    text = rng.choice([BRACKETS, BRACKETS + "]" * 20_000, '{"a":' * 20_000, '{"name":"e","data":' + BRACKETS])
    if rng.random() < 0.5:
        return [publish(app, text.encode())]
    inside = compact(
        {"event": "pusher:subscribe", "data": {"channel": "presence-x", "auth": "a:b", "channel_data": text}}
    )
    return [UPGRADE, frame(rng.choice([text, inside]))]


def unread(rng: random.Random, app: Credentials) -> list[bytes]:
    return [request_bytes("POST", f"/apps/{app.id}/events?x", JSON, b"{}") * rng.randint(10, 200)]


# ---- handshakes ----


def aborted_handshake(rng: random.Random, _: Credentials) -> list[bytes]:
    return [UPGRADE[: rng.randint(1, len(UPGRADE))]]


def refused_handshake(rng: random.Random, _: Credentials) -> list[bytes]:
    target = rng.choice(
        [
            "/app/nobody",
            "/app/app-key?protocol=2",
            "/app/",
            "/app/%00",
            "/app/app-key?protocol=x",
            "/app/%ff?protocol=7",
            "/app/app-key?token=x",
            "/app/" + "k" * 5000,
        ]
    )
    names = ["Connection", "Upgrade", "Sec-WebSocket-Version", "Sec-WebSocket-Key", "Origin", "Sec-WebSocket-Protocol"]
    headers = {rng.choice(names): rng.choice([None, "", "x", "é", "websocket", "a,b", "=" * 24])}
    return [handshake(target, headers if rng.random() < 0.5 else None), frame('{"event":"pusher:ping"}')]


# ---- frames ----


def broken_frames(rng: random.Random, _: Credentials) -> list[bytes]:
    pieces = [UPGRADE]
    for _number in range(rng.randint(1, 4)):
        opcode = rng.choice([TEXT, BINARY, CONTINUATION, PING, PONG, CLOSE, 3, 11, 15])
        payload = rng.choice([b"", b"x", b"\xff\xfe", b'{"event":"pusher:ping"}', rng.randbytes(200), b"\x03\xe8bye"])
        built = frame(
            payload,
            opcode,
            fin=rng.random() < 0.7,
            rsv=rng.choice([0, 0, 0, 1, 2, 4, 7]),
            masked=rng.random() < 0.9,
        )
        pieces.append(mutated(built, rng) if rng.random() < 0.4 else built)
    return pieces


def huge_frames(rng: random.Random, _: Credentials) -> list[bytes]:
    length = rng.choice([126, 65_536, 65_537, 1 << 20, 1 << 32, (1 << 63) - 1, 1 << 63])
    kind = rng.choice([TEXT, BINARY, CONTINUATION, PING])
    return [UPGRADE, bytes([0x80 | kind, 0xFF]) + length.to_bytes(8, "big") + b"mask" + rng.randbytes(500)]


def frame_garbage(rng: random.Random, _: Credentials) -> list[bytes]:
    return [UPGRADE, rng.randbytes(rng.randint(1, 3000))]


ACTIONS = ["subscribe", "unsubscribe", "signin", "ping", "pong", "auth", "resume", "channel_history", "error", ""]


def wrong_frames(rng: random.Random, _: Credentials) -> list[bytes]:
    pieces = [UPGRADE]
    for _number in range(rng.randint(1, 6)):
        name = rng.choice(ACTIONS)
        event: Any = rng.choice([f"pusher:{name}", f"sockudo:{name}", f"client-{name}", name, rng.choice(WRONG)])
        data: Any = rng.choice(WRONG)
        if rng.random() < 0.7:
            data = {
                "channel": rng.choice(["news", "private-x", "presence-x", "cache-x", rng.choice(WRONG)]),
                "auth": rng.choice(["app-key:x", rng.choice(WRONG)]),
                "channel_data": rng.choice(['{"user_id":"u"}', rng.choice(WRONG)]),
                "user_data": rng.choice(['{"id":"u"}', rng.choice(WRONG)]),
            }
        message: Any = {"event": event, "channel": rng.choice(["news", rng.choice(WRONG)]), "data": data}
        if rng.random() < 0.3:
            message[rng.choice(["tags", "user_id", "serial", "extras", "name", "zz"])] = rng.choice(WRONG)
        text = raw_json(rng.choice([message, message, message, rng.choice(WRONG)]), rng)
        pieces.append(frame(text, rng.choice([TEXT, BINARY])))
    return pieces


def vanishing_subscribers(rng: random.Random, _: Credentials) -> list[bytes]:
    """Sound frames from a peer that is gone before it has read the answers."""
    names = [f"news-{rng.randrange(20)}" for _ in range(rng.randint(1, 10))]
    frames = [frame(compact({"event": "pusher:subscribe", "data": {"channel": name}})) for name in names]
    return [UPGRADE, b"".join(frames), frame(b"", CLOSE) if rng.random() < 0.3 else frame(b"ping", PING)]


# ---- protocol V2 ----


def v2_frames(rng: random.Random, _: Credentials) -> list[bytes]:
    wire = rng.choice(WIRES)
    opcodes = [wire.opcode, wire.opcode, wire.opcode, TEXT, BINARY]
    return [V2[wire], *(frame(hostile_payload(wire, rng), rng.choice(opcodes)) for _ in range(rng.randint(1, 6)))]


def v2_noise(rng: random.Random, _: Credentials) -> list[bytes]:
    wire = rng.choice(WIRES)
    noise = [rng.randbytes(rng.randint(0, 300)) for _ in range(rng.randint(1, 4))]
    return [V2[wire], *(frame(each, BINARY, fin=rng.random() < 0.8) for each in noise)]


def v2_false_lengths(rng: random.Random, _: Credentials) -> list[bytes]:
    wire = rng.choice(WIRES)
    return [V2[wire], *(frame(false_lengths(wire, rng), wire.opcode) for _ in range(rng.randint(1, 4)))]


DEEP_FRAMES = {wire: [frame(deep, wire.opcode) for deep in deep_payloads(wire)] for wire in WIRES}


def v2_nesting(rng: random.Random, _: Credentials) -> list[bytes]:
    wire = rng.choice(WIRES)
    return [V2[wire], rng.choice(DEEP_FRAMES[wire])]


def v2_tokens(rng: random.Random, _: Credentials) -> list[bytes]:
    refresh = compact({"event": "sockudo:auth", "data": {"token": bad_token(rng)}})
    if rng.random() < 0.5:
        return [V2[JSON_FORMAT], frame(refresh)]
    text = quote(bad_token(rng)[:9000])
    return [handshake(f"/app/app-key?protocol={rng.choice([2, 2, 7])}&token={text}"), frame(refresh)]


def v2_vanishing(rng: random.Random, _: Credentials) -> list[bytes]:
    """Asks for what takes the server time, and is gone before it is there."""
    channel = f"news-{rng.randrange(20)}"
    position = {"serial": rng.randrange(100), "stream_id": "s"}
    asked = [
        ("subscribe", {"channel": channel, "rewind": 100, "filter": {"key": "k", "cmp": "ex"}, "delta": True}),
        ("resume", {"channel_positions": {channel: position, "private-x": position, "presence-x": position}}),
        ("channel_history", {"channel": channel}),
        ("subscribe", {"channel": "new*", "delta": "fossil"}),
    ]
    rng.shuffle(asked)
    frames = [frame(compact({"event": f"sockudo:{name}", "data": data})) for name, data in asked]
    return [V2[JSON_FORMAT], b"".join(frames), frame(b"", CLOSE) if rng.random() < 0.3 else frame(b"ping", PING)]


def history_queries(rng: random.Random, app: Credentials) -> list[bytes]:
    numbers = ["0", "-1", "1", str(2**63), "9" * 5000, "1e9", "x", "", "٣", "1" + "0" * 18, "%00"]
    names = ["limit", "start_serial", "end_serial", "start_time_ms", "end_time_ms", "start", "end", "attach_serial"]
    query = {name: rng.choice(numbers) for name in names if rng.random() < 0.3}
    query |= {"cursor": bad_cursor(rng)} if rng.random() < 0.5 else {}
    query |= {"direction": rng.choice(["newest_first", "x" * 3000, ""])} if rng.random() < 0.3 else {}
    query |= {"until_attach": rng.choice(["true", "1", "yes"])} if rng.random() < 0.3 else {}
    channel = quote(
        rng.choice(["news", "news", "private-x", "new*", "a b", "x" * 300, "[meta]news", "é", "presence-x"]), ""
    )
    path = f"/apps/{app.id}/channels/{channel}/{rng.choice(['history', 'history', 'presence/history'])}"
    if rng.random() < 0.3:
        sound = {
            "confirm_channel": "news",
            "confirm_operation": "purge",
            "reason": "x",
            "mode": "all",
            "before_serial": 1,
        }
        body = raw_json(spoilt(sound, rng), rng).encode()
        path += rng.choice(["/reset", "/purge"])
        return [request_bytes("POST", signed_target(app, "POST", path, body), JSON, body)]
    path += rng.choice(["", "", "", "/state", "/snapshot"])
    return [request_bytes("GET", signed_target(app, "GET", path, params=query))]


ATTACKS: dict[str, Make] = {
    make.__name__: make
    for make in (
        random_bytes,
        broken_http,
        smuggled,
        wrong_body,
        brackets,
        unread,
        aborted_handshake,
        refused_handshake,
        broken_frames,
        huge_frames,
        frame_garbage,
        wrong_frames,
        vanishing_subscribers,
        v2_frames,
        v2_noise,
        v2_false_lengths,
        v2_nesting,
        v2_tokens,
        v2_vanishing,
        history_queries,
    )
}


def attacks(count: int, seed: int, app: Credentials) -> Iterator[Attack]:
    """The same attacks for the same seed."""
    rng = random.Random(seed)
    names = list(ATTACKS)
    ends: list[End] = ["close", "reset", "half-close", "answer"]
    for number in range(count):
        name = names[number % len(names)]
        pieces = ATTACKS[name](rng, app)
        if rng.random() < 0.3:
            pieces = [b"".join(pieces)]
        slow = rng.random() < 0.05
        if slow:
            whole = b"".join(pieces)
            cut = rng.randint(1, max(1, min(len(whole) - 1, 200)))
            pieces = [whole[:cut], whole[cut : cut + 1], whole[cut + 1 :]]
        yield Attack(name, pieces, rng.choice(ends), slow)
