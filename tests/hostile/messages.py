"""Messages as no client should send them, in every format, made from a random generator: the same ones for a seed.

Most begin as something sound, since what is nothing but noise is refused at the door.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from typing import Any

import msgpack

from support.wire import JSON, MSGPACK, PROTOBUF, Event, Wire, compact

__all__ = [
    "BOMBS",
    "BRACKETS",
    "DEEP",
    "WRONG",
    "bad_cursor",
    "bad_token",
    "deep_payloads",
    "false_lengths",
    "mutated",
    "payload",
    "raw_json",
    "spoilt",
    "strange_action",
    "strange_filter",
]

DEEP = 20_000
BRACKETS = "[" * DEEP
OBJECTS = '{"a":' * DEEP
NODES = '{"op":"not","nodes":[' * DEEP

# What stands in place of a value of another type, or of the right type and the wrong kind.
WRONG: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    1e308,
    2**63,
    2**64 - 1,
    2**64,
    -(2**63),
    10**30,
    10**400,
    "",
    " ",
    "0",
    "18446744073709551616",
    "x" * 300,
    "\x00",
    "é\u202e😀",
    "٣",
    "*",
    "[meta]x",
    "[meta][meta]x",
    "private-",
    "presence-x",
    "#server-to-user-x",
    "room#a,b",
    "{}",
    "[]",
    "{",
    '{"user_id":{}}',
    [],
    {},
    [[[]]],
    {"": ""},
    {"a": {"b": [None]}},
    ["x"] * 200,
    BRACKETS,
    '{"a":' * 3000,
]

CHANNELS = [
    "news",
    "news",
    "cache-x",
    "private-x",
    "presence-x",
    "private-encrypted-x",
    "[meta]news",
    "new*",
    "*",
    "a#b",
]

BOMBS = [
    "|".join(["@", *["[@,@]"] * 28, "to_string(@)"]),
    "|".join(["@", *["[@,@,@,@][]"] * 25]),
    "|".join(["@", *["{a:@,b:@}"] * 28, "@==@"]),
    "|".join(["'xxxxxxxxxxxxxxxx'", *["join('',[@,@])"] * 28]),
    "|".join(["'\"'", *["to_string([@])"] * 28]),
    "map(&map(&map(&map(&@,data),data),data),data)",
    "sort_by(data, &length(sort_by(data, &@)))",
    "max_by(data, &max_by(data, &@))",
    f"`{'9' * 4000}`",
    f"`[{','.join(['9' * 300] * 12)}]`|sum(@)",
    "a" * 5000,
    "(" * 4000,
    "!" * 4000 + "a",
    "[" * 2000,
    "a." * 2000 + "a",
    "*" * 4000,
    "&" * 100,
    f"`{'[' * 4000}`",
    "nofunc(@)",
    "length()",
    "to_number(@)||abs('x')",
    "'" + "é" * 2100,
    "\ud7ff\x00`",
]


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The same with a few bytes changed, left out, doubled or cut off."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 5)):
        if not changed:
            break
        at = rng.randrange(len(changed))
        match rng.randrange(5):
            case 0:
                changed[at] = rng.randrange(256)
            case 1:
                del changed[at : at + rng.randint(1, 8)]
            case 2:
                changed[at:at] = rng.randbytes(rng.randint(1, 8))
            case 3:
                changed[at:at] = changed[at : at + 40]
            case 4:
                del changed[at:]
    return bytes(changed)


def raw_json(value: Any, rng: random.Random) -> str:
    """JSON text, sometimes with one character that makes it something else."""
    text = compact(value)
    if rng.random() < 0.3 and text:
        at = rng.randrange(len(text))
        text = (
            text[:at] + rng.choice(['"', "\\", "{", "}", "]", ",", ":", "\ud7ff", "\x01", "1e999", ""]) + text[at + 1 :]
        )
    return text


def spoilt(value: Any, rng: random.Random, chance: float = 0.15) -> Any:
    """The same with some parts, at any depth, replaced or left out."""
    if rng.random() < chance:
        return rng.choice(WRONG)
    if isinstance(value, dict):
        return {name: spoilt(part, rng, chance) for name, part in value.items() if rng.random() > 0.05}
    if isinstance(value, list):
        return [spoilt(part, rng, chance) for part in value]
    return value


# ---- what clients of protocol V2 can ask for ----


def strange_filter(rng: random.Random, depth: int = 0) -> Any:
    """A filter in one of its forms, to be spoilt."""
    node: Any = {
        "key": "k",
        "cmp": rng.choice(["eq", "in", "ex", "gt", "sw", "zz"]),
        "val": "1",
        "vals": ["1", 2, True],
    }
    if depth or rng.random() < 0.5:
        if depth < 18 and rng.random() < 0.6:
            below = [strange_filter(rng, depth + 1) for _ in range(rng.randint(0, 2))]
            return {"op": rng.choice(["and", "or", "not", "xor"]), "nodes": below}
        return node
    whole: Event = {"events": ["e"] * rng.choice([1, 50, 51]), "tags": strange_filter(rng, 1)}
    source = rng.choice(BOMBS)
    whole["expression"] = rng.choice([source, {"language": rng.choice(["jmespath", "sql"]), "source": source}])
    return {name: part for name, part in whole.items() if rng.random() < 0.5}


def _part(value: Any) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def bad_token(rng: random.Random, key: str = "app-key") -> str:
    """Something that would like to be a capability token."""
    header: Event = {
        "alg": rng.choice(["HS256", "none", "None", "HS512", "RS256", "", None, []]),
        "kid": key,
        "typ": "JWT",
    }
    claims = {
        "x-sockudo-client-id": "ana",
        "x-sockudo-capability": {"*": ["subscribe", "history"]},
        "iat": 0,
        "exp": rng.choice([2**31, 2**63, 10**400, 1.5, "9", None]),
        "jti": "t",
    }
    kind = rng.randrange(7)
    if kind == 0:
        return rng.choice(["", ".", "..", "...", "a.b", "é.é.é", "\x00", "=" * 9, "a" * 8193, "a" * 100_000, "%00"])
    if kind == 1:
        return ".".join(rng.choice(["", "!", "e30", "bnVsbA", "W10", "MQ", "_w"]) for _ in range(3))
    if kind == 2:
        return f"{_part(header)}.{_part((rng.choice(['[', OBJECTS[:5]]) * 1500).encode())}.x"
    if kind == 3:
        return f"{_part(rng.choice([BRACKETS, OBJECTS])[:5000].encode())}.{_part(claims)}.x"
    signature = rng.choice(["", "x", _part(rng.randbytes(32)), "é"])
    return f"{_part(spoilt(header, rng))}.{_part(spoilt(claims, rng))}.{signature}"


def bad_cursor(rng: random.Random) -> str:
    """Something that would like to be the cursor of a page."""
    bounds = dict.fromkeys(("start_serial", "end_serial", "start_time_ms", "end_time_ms"))
    sound = {
        "version": 1,
        "app_id": "app-id",
        "channel": "news",
        "stream_id": "s",
        "serial": 2,
        "direction": "newest_first",
    }
    kinds = ["", "!", "e30", "é", _part(b"\xff"), _part(BRACKETS[:5000].encode()), "A" * 20_000]
    return rng.choice([*kinds, _part(spoilt({**sound, "bounds": bounds}, rng))])


def _subscribe(rng: random.Random) -> Event:
    data: Event = {
        "channel": rng.choice(CHANNELS),
        "auth": "app-key:" + "0" * 64,
        "channel_data": '{"user_id":"u"}',
        rng.choice(["filter", "tags_filter"]): strange_filter(rng),
        "delta": rng.choice([True, "fossil", {"enabled": True, "algorithm": "xdelta3"}]),
        "rewind": rng.choice([1, "1", {"count": 1}, {"seconds": 1}, {"duration_seconds": 2**60}, 10**18]),
        "modes": ["SUBSCRIBE", "ANNOTATION_SUBSCRIBE"],
    }
    return {name: part for name, part in data.items() if name == "channel" or rng.random() < 0.3}


def _resume(rng: random.Random) -> Event:
    position = {"serial": rng.choice([0, 1, 2**64 - 1, "7", "-1"]), "stream_id": "s-1", "last_message_id": "m-1"}
    names = [*CHANNELS, "x" * 250, "bad name", ""]
    if rng.random() < 0.02:
        return {"channel_positions": {f"c{number}": position for number in range(1001)}}
    found: Event = {"channel_positions": {rng.choice(names): dict(position) for _ in range(rng.randint(0, 3))}}
    if rng.random() < 0.2:
        return {"channel_serials": {rng.choice(names): rng.choice([0, 41, "41"])}}
    return found


def _history(rng: random.Random) -> Event:
    numbers = [0, 1, -1, 2**63 - 1, 2**63, 2**64, 10**400, "1", "-1", "٣", "9" * 25, 1.5, True]
    names = ("limit", "start_serial", "start", "end_serial", "end", "start_time_ms", "end_time_ms")
    query: Event = {name: rng.choice(numbers) for name in names if rng.random() < 0.3}
    if rng.random() < 0.3:
        query["cursor"] = bad_cursor(rng)
    if rng.random() < 0.3:
        query[rng.choice(["until_attach", "untilAttach"])] = rng.choice([True, False, "true", 1])
    if rng.random() < 0.3:
        query["direction"] = rng.choice(["backwards", "forwards", "NEWEST_FIRST", "", [], "x" * 5000])
    if rng.random() < 0.5:
        return {"channel": rng.choice(CHANNELS), "params": query}
    return {"channel": rng.choice(CHANNELS), **query}


_DATA: dict[str, Callable[[random.Random], Any]] = {
    "subscribe": _subscribe,
    "unsubscribe": lambda rng: {"channel": rng.choice(CHANNELS)},
    "signin": lambda _: {"auth": "app-key:x", "user_data": '{"id":"u","watchlist":["v"]}'},
    "auth": lambda rng: {"token": bad_token(rng)},
    "resume": _resume,
    "channel_history": _history,
    "presence_update": lambda rng: {"channel": rng.choice(CHANNELS), "data": {"n": 10**30}},
    "enable_delta_compression": lambda _: {"algorithms": ["fossil", "xdelta3"]},
    "delta_sync_error": lambda rng: {"channel": rng.choice(CHANNELS)},
    "ping": lambda _: {},
    "pong": lambda _: {},
    "error": lambda _: {},
}


def strange_action(rng: random.Random) -> Event:
    """A frame that asks for something, most often with something wrong about it."""
    name = rng.choice([*_DATA, "subscribe", "resume", "channel_history"])
    data = spoilt(_DATA[name](rng), rng, rng.choice([0, 0.03, 0.1, 0.3]))
    if rng.random() < 0.2:
        data = compact(data)
    event: Any = rng.choice(["sockudo:", "sockudo:", "pusher:", "sockudo_internal:", "client-", ""]) + name
    found: Event = {"event": event, "data": data}
    if rng.random() < 0.3:
        found["channel"] = rng.choice([*CHANNELS, *WRONG])
    if rng.random() < 0.1:
        found["event"] = rng.choice(WRONG)
    if rng.random() < 0.2:
        others = ["tags", "user_id", "serial", "sequence", "extras", "name", "message_id", "__delta_seq", "zz"]
        found[rng.choice(others)] = rng.choice([*WRONG, {"headers": rng.choice(WRONG), "ai": rng.choice(WRONG)}])
    return found


# ---- the same in each format ----

_FIELDS = [
    *("event", "channel", "data", "name", "user_id", "tags", "sequence", "conflation_key", "message_id", "stream_id"),
    *("serial", "idempotency_key", "extras", "__delta_seq", "__conflation_key"),
]


def _packable(value: Any) -> Any:
    """The same without the integers that MessagePack has no form for."""
    if isinstance(value, dict):
        return {name: _packable(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_packable(part) for part in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value)
    return value


def _in_msgpack(event: Event, rng: random.Random) -> bytes:
    values = {name: _packable(value) for name, value in event.items()}
    if event.get("data") is not None:
        text = raw_json(event["data"], rng)
        structured = [text, "news", text, {"channel": text, "filter": text}]
        forms: list[Any] = [["json", text]] * 6
        forms += [["string", text], ["binary", text.encode()], ["structured", structured], ["structured", text]]
        forms += [values["data"], [values["data"]], ["json"], ["zz", text], [1, 2, 3], ["binary", text], text]
        values["data"] = rng.choice(forms)
    listed = rng.random() < 0.6
    whole = [values.get(name) for name in _FIELDS][: rng.choice([15, 15, 15, 14])] if listed else values
    return bytes(msgpack.packb(whole))


def _varint(value: int) -> bytes:
    value %= 2**64
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, content: bytes | int, wire_type: int | None = None) -> bytes:
    if isinstance(content, int):
        return _varint(number << 3 | (wire_type or 0)) + _varint(content)
    return _varint(number << 3 | (2 if wire_type is None else wire_type)) + _varint(len(content)) + content


def _in_protobuf(event: Event, rng: random.Random) -> bytes:
    parts = []
    for number, name in enumerate(_FIELDS, 1):
        value = event.get(name)
        if value is None:
            continue
        content: bytes | int
        if name == "data":
            text = raw_json(value, rng).encode()
            kind = rng.choice([3, 3, 3, 3, 3, 1, 2, 4, 5])
            content = _field(kind, _field(2, b"news") + _field(4, _field(1, b"channel") + _field(2, text)))
            content = content if kind == 2 else _field(kind, text)
        elif isinstance(value, int):
            content = value
        else:
            content = (value if isinstance(value, str) else compact(value)).encode()
        parts.append(_field(number, content, rng.choice([None] * 30 + [0, 1, 3, 4, 5, 7])))
    if rng.random() < 0.1:
        rng.shuffle(parts)
    return b"".join(parts)


def _in_json(event: Event, rng: random.Random) -> bytes:
    return raw_json(event, rng).encode()


_ENCODERS: dict[Wire, Callable[[Event, random.Random], bytes]] = {
    JSON: _in_json,
    MSGPACK: _in_msgpack,
    PROTOBUF: _in_protobuf,
}


def false_lengths(wire: Wire, rng: random.Random) -> bytes:
    """A part that claims to be up to 4 GB long and is not there."""
    claim = rng.choice([2**16, 2**31 - 1, 2**31, 2**32 - 1])
    if wire is MSGPACK:
        head = rng.choice([b"\xc6", b"\xc9", b"\xdb", b"\xdd", b"\xdf"]) + claim.to_bytes(4, "big")
        start = rng.choice(
            [b"", b"\x9f\xa1e\xc0", b"\x82\xa5event\xa1e\xa4data", b"\x82\xa5event\xa1e\xa4data\x92\xa4json"]
        )
        return start + head + rng.randbytes(rng.randint(0, 40))
    if wire is PROTOBUF:
        number = rng.choice([1, 2, 3, 6, 13, 15, 99])
        inside = b"" if rng.random() < 0.5 else _varint(rng.randint(1, 5) << 3 | 2)
        return b"\x0a\x01e" + _varint(number << 3 | 2) + inside + _varint(claim * rng.choice([1, 2**20])) + b"x"
    return b'{"event":"e","data":[' + b"1e" + b"9" * rng.randint(1, 4000)


def deep_payloads(wire: Wire) -> list[bytes]:
    """Nested twenty thousand levels deep: the frame, its data, and a filter in it."""
    filters = [NODES, '{"tags":' + NODES, '{"expression":"' + "(" * DEEP, '{"expression":' + BRACKETS]
    subscribes = [f'{{"channel":"news","filter":{text}' for text in filters]
    texts = [BRACKETS, BRACKETS + "]" * DEEP, OBJECTS + "1" + "}" * DEEP, *subscribes]
    if wire is JSON:
        return [*(text.encode() for text in texts), *(f'{{"event":"e","data":{text}'.encode() for text in texts)]
    if wire is MSGPACK:
        data = [msgpack.packb(["sockudo:subscribe", None, ["json", text], *[None] * 12]) for text in texts]
        structures = [b"\x91" * DEEP + b"\xc0", b"\x81\xa1a" * DEEP + b"\xc0", b"\x9fe\xc0" + b"\x92\xa4json" * DEEP]
        return [*data, *structures, b"\x82\xa5event\xa1e\xa1x" + b"\x91" * DEEP + b"\xc0"]
    nested = b""
    for _ in range(2000):
        nested = _field(3, _field(2, nested))
    groups = [b"\x0a\x01e" + b"\x1b" * DEEP, b"\x0a\x01e" + b"\x1b" * DEEP + b"\x1c" * DEEP, b"\x0a\x01e" + nested]
    return [*(_field(1, b"sockudo:subscribe") + _field(3, _field(3, text.encode())) for text in texts), *groups]


def payload(wire: Wire, rng: random.Random) -> bytes:
    """One message in the format: noise, a piece of something, or an action with something wrong about it."""
    match rng.randrange(20):
        case 0:
            return rng.randbytes(rng.randint(0, 60))
        case 1:
            return false_lengths(wire, rng)
        case 2:
            sound = _ENCODERS[wire](strange_action(rng), rng)
            return sound[: rng.randint(0, len(sound))]
        case 3 | 4:
            return mutated(_ENCODERS[wire](strange_action(rng), rng), rng)
        case 5:
            # In another format than was agreed on.
            return _ENCODERS[rng.choice([JSON, MSGPACK, PROTOBUF])](strange_action(rng), rng)
    return _ENCODERS[wire](strange_action(rng), rng)
