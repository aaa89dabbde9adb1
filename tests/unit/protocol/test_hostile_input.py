"""Whatever arrives: a value or one of our refusals, in bounded time, and nothing of it is kept
(spec: websocket § 1.2; filters-deltas § 1.7).

Examples come from a plain random generator here: a library for property tests remembers what it has tried, which would
hide what we keep. ``SOCKUDO_EXAMPLES`` sets their number for each way in, ``SOCKUDO_SEED`` repeats a run.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable

import pytest

from hostile.messages import BOMBS, WRONG, deep_payloads, mutated, payload, raw_json, spoilt, strange_filter
from sockudo import errors
from sockudo.errors import ErrorSpec, SockudoError
from sockudo.protocol import msgpack, protobuf
from sockudo.protocol.binary import known_extras, structured_data
from sockudo.protocol.deflate import Inflater, compress
from sockudo.protocol.delta import (
    Algorithm,
    ChannelDelta,
    DeltaChannel,
    DeltaNode,
    DeltaOptions,
    DeltaTrack,
    read_algorithms,
    read_request,
)
from sockudo.protocol.filters import FilterOptions, MessageView, compile_filter
from sockudo.protocol.formats import json_text
from sockudo.protocol.frames import Frame
from sockudo.protocol.framing import FrameReader
from sockudo.protocol.handshake import parse_connect_query
from sockudo.protocol.inbound import InboundFrame, data_value, decode_frame
from support.memory import Kept
from support.websocket import BINARY, CLOSE, PING, TEXT, frame
from support.wire import JSON, MSGPACK, PROTOBUF, WIRES, Wire

EXAMPLES = int(os.environ.get("SOCKUDO_EXAMPLES", "1100"))
"""Of fewer than a thousand, one object kept of each would go unnoticed."""
SEED = int(os.environ.get("SOCKUDO_SEED", random.SystemRandom().randrange(2**32)))

LONGEST = 1.0
"""Seconds of the processor for one example."""

Example = Callable[[random.Random], Callable[[], object]]
"""Makes an example and says how to try it."""

DECODERS: dict[Wire, Callable[[bytes], InboundFrame]] = {
    JSON: decode_frame,
    MSGPACK: msgpack.decode,
    PROTOBUF: protobuf.decode,
}
ALL_FILTERS = FilterOptions(tags_enabled=True)
MESSAGE = Frame(
    "quote", "news", '{"a":[[1,"x"],{"b":2}],"n":9}', tags={"k": "1"}, extras={"headers": {"h": 1}, "other": [1]}
)


def read(wire: Wire, message: bytes) -> None:
    data_value(DECODERS[wire](message))


def in_format(wire: Wire) -> Example:
    def example(rng: random.Random) -> Callable[[], object]:
        message = payload(wire, rng)
        return lambda: read(wire, message)

    return example


def envelope(rng: random.Random) -> Callable[[], object]:
    """What binary formats have instead of JSON: structured data and extras."""
    named = {name: rng.choice(["", "x", "\x00", None]) for name in ("channel", "channel_data", "user_data")}
    extra = {rng.choice(["channel", "a", ""]): raw_json(rng.choice(WRONG), rng) for _ in range(rng.randint(0, 3))}
    whole = {"headers": {"a": 1}, "ephemeral": True, "echo": False, "idempotencyKey": "k", "ai": {"codec": {"a": "b"}}}
    extras = spoilt(whole, rng, 0.2)
    known_extras(extras if isinstance(extras, dict) else {})
    return lambda: structured_data(named, extra)


def stream(rng: random.Random) -> Callable[[], object]:
    """Bytes of a connection, cut anywhere."""
    opcodes = [TEXT, BINARY, PING, CLOSE, 0, 3]
    frames = [
        frame(
            rng.randbytes(rng.choice([0, 1, 126, 300])),
            rng.choice(opcodes),
            fin=rng.random() < 0.7,
            rsv=rng.choice([0, 0, 4]),
        )
        for _ in range(rng.randint(0, 4))
    ]
    data = b"".join(frames) + rng.randbytes(rng.randint(0, 20))
    data = mutated(data, rng) if rng.random() < 0.5 else data
    reader = FrameReader(1000, Inflater() if rng.random() < 0.5 else None)
    at = rng.randint(0, len(data))

    def attempt() -> None:
        got = [*reader.feed(data[:at]), *reader.feed(data[at:])]
        assert all(len(content) <= 1000 for _, content in got)
        assert reader.failure is None or reader.failure[0] in (1002, 1007, 1009)

    return attempt


def deflated(rng: random.Random) -> Callable[[], object]:
    data = mutated(compress(rng.randbytes(8) * rng.choice([1, 10, 10_000])), rng)
    return lambda: Inflater().inflate(data, 1000)


def query(rng: random.Random) -> Callable[[], object]:
    sound = (
        b"protocol=2&format=msgpack&token=a.b.c&append_mode=full&append_rollup_window=20&echo_messages=true&client=x"
    )
    text = mutated(sound, rng)
    return lambda: parse_connect_query(text)


def filter_of_a_subscribe(rng: random.Random) -> Callable[[], object]:
    value = spoilt(strange_filter(rng), rng, rng.choice([0, 0.02, 0.2]))

    def attempt() -> None:
        predicate = compile_filter({"filter": value}, ALL_FILTERS)
        if predicate is not None:
            assert predicate.matches(MessageView(MESSAGE)) in (True, False)

    return attempt


PIECES = ["@", "a", "n", "data", ".", "[", "]", "[]", "[*]", "[?", "*", "(", ")", "{", "}", ":", ",", "&", "|", "||"]
PIECES += ["!", "==", "<", "`1`", "`[", "'x'", '"a"', "[::-1]", "[0]", "length(", "map(&", "sort_by(", "to_string("]
PIECES += ["join('',", "merge(", "contains(", "max_by(", "9" * 400, "\\", "é", "\x00"]


def expression(rng: random.Random) -> Callable[[], object]:
    source = "".join(rng.choices(PIECES, k=rng.randint(1, 25)))
    if rng.random() < 0.02:
        source = rng.choice(BOMBS)
    elif rng.random() < 0.1:
        source = mutated(rng.choice(BOMBS).encode("utf-8", "surrogatepass"), rng).decode("utf-8", "replace")

    def attempt() -> None:
        predicate = compile_filter({"filter": {"expression": source}}, ALL_FILTERS)
        assert predicate is not None
        for _ in range(4):
            assert predicate.matches(MessageView(MESSAGE)) in (True, False)

    return attempt


def wish_for_deltas(rng: random.Random) -> Callable[[], object]:
    asked = spoilt({"enabled": True, "algorithm": "fossil"}, rng, 0.3)
    listed = spoilt({"algorithms": ["fossil", "xdelta3", "vcdiff"]}, rng, 0.3)
    return lambda: (read_request(asked), read_algorithms(listed))


WAYS_IN: dict[str, tuple[Example, tuple[ErrorSpec, ...]]] = {
    **{f"{wire} frames": (in_format(wire), (errors.MALFORMED_FRAME, errors.EVENT_NAME_INVALID)) for wire in WIRES},
    "binary envelopes": (envelope, (errors.MALFORMED_FRAME,)),
    "WebSocket frames": (stream, ()),
    "compressed messages": (deflated, (errors.PROTOCOL_VIOLATION, errors.MESSAGE_TOO_BIG)),
    "connection URLs": (query, (errors.UPGRADE_QUERY,)),
    "filters": (filter_of_a_subscribe, (errors.FILTER_INVALID,)),
    "expressions": (expression, (errors.FILTER_INVALID,)),
    "wishes for deltas": (wish_for_deltas, ()),
}


def attempt(example: Callable[[], object], refusals: tuple[ErrorSpec, ...]) -> None:
    started = time.process_time()
    try:
        example()
    except SockudoError as refusal:
        assert refusal.spec in refusals  # noqa: PT017 - nearly all are refused, and in no other way
        assert "\n" not in refusal.text  # noqa: PT017
        assert len(refusal.text) < 400  # noqa: PT017
    assert time.process_time() - started < LONGEST


@pytest.mark.parametrize("name", WAYS_IN)
def test_hostile_input_is_refused_and_forgotten(name: str) -> None:
    make, refusals = WAYS_IN[name]
    print(f"seed: SOCKUDO_SEED={SEED}")
    rng = random.Random(SEED)
    for _ in range(EXAMPLES // 4):
        attempt(make(rng), refusals)
    kept = Kept()
    for _ in range(EXAMPLES):
        attempt(make(rng), refusals)
    kept.check()


@pytest.mark.parametrize("wire", WIRES, ids=str)
def test_nesting_without_end_is_refused_and_forgotten(wire: Wire) -> None:
    payloads = deep_payloads(wire)
    refused = 0
    for message in payloads:
        with pytest.raises(SockudoError) as refusal:
            read(wire, message)
        refused += refusal.value.spec is errors.MALFORMED_FRAME
    assert refused == len(payloads)
    kept = Kept()
    # Each is more than a hundred kilobytes: what would be kept of them all is more than may be.
    for _ in range(5):
        for message in payloads:
            with pytest.raises(SockudoError):
                read(wire, message)
    kept.check()


# ---- what deltas keep of messages ----

MAX_BASES = 200_000
MAX_KEYS = 20


def channel_of_deltas(node: DeltaNode, number: int) -> tuple[DeltaTrack, DeltaTrack]:
    settings = ChannelDelta(conflation_key="k", max_conflation_keys=MAX_KEYS)
    channel = DeltaChannel(node, "app", f"c{number}", settings)
    tracks = DeltaTrack(channel, Algorithm.FOSSIL), DeltaTrack(channel, Algorithm.XDELTA3)
    for track in tracks:
        track.join()
    return tracks


def test_any_keys_and_sizes_leave_the_bases_within_their_bounds() -> None:
    """Every message has its own key, or one of a few, and any size; subscribers come, go and lose their bases."""
    print(f"seed: SOCKUDO_SEED={SEED}")
    rng = random.Random(SEED)
    now = 1000.0
    node = DeltaNode(DeltaOptions(), lambda: now, MAX_BASES)
    channels = [channel_of_deltas(node, number) for number in range(5)]
    kept: Kept | None = None
    most = 0
    for number in range(EXAMPLES + EXAMPLES // 4):
        if number == EXAMPLES // 4:
            kept = Kept()
        now += rng.random()
        tracks = rng.choice(channels)
        key = rng.choice([str(number), f"k{rng.randrange(30)}", rng.choice(WRONG)])
        data = raw_json({"k": key, "n": "z" * rng.choice([0, 200, 3000, 60_000])}, rng)
        said = Frame("quote", "c", data)
        text = json_text(said)
        for track in tracks:
            track.say(said, text, now)
            match rng.randrange(40):
                case 0:
                    track.rejoin()
                case 1:
                    track.settle(now)
                case 2:
                    track.sweep(now)
                case 3:
                    track.leave()
                    track.join()
        node.sweep()
        most = max(most, node.base_bytes)
        assert node.base_bytes <= MAX_BASES
        assert all(len(track._groups) <= MAX_KEYS for track in tracks)
    assert most > MAX_BASES // 2
    assert kept is not None
    kept.check(also=MAX_BASES)


def test_a_number_of_keys_that_a_frame_cannot_say_is_no_key() -> None:
    """Nothing of a message can make reading its key fail."""
    node = DeltaNode(DeltaOptions(min_message_size=0), lambda: 0.0)
    tracks = channel_of_deltas(node, 1)
    for value in WRONG:
        said = Frame("quote", "c1", raw_json({"k": value}, random.Random(1)))
        for track in tracks:
            assert track.say(said, json_text(said), 1.0) is not None
