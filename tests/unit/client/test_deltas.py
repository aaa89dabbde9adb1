"""Differences on a connection, put together as the server took them apart."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from sockudo.client.deltas import Deltas, LostBaseError
from sockudo.client.events import Event, read_event
from sockudo.client.wire import Wire
from sockudo.protocol import msgpack, protobuf
from sockudo.protocol.delta import Algorithm, reduced_text
from sockudo.protocol.delta.frames import BinaryDeltaFrames, DeltaFrames
from sockudo.protocol.delta.settings import encode
from sockudo.protocol.frames import Frame

CHANNEL = "fx:desk"


def _text(number: int, data: str = "bid") -> bytes:
    frame = {"event": "quote", "channel": CHANNEL, "data": f"{data} {number} — é", "serial": number}
    return json.dumps(frame, ensure_ascii=False, separators=(",", ":")).encode()


def _full(text: bytes, number: int, key: str | None = None) -> Event:
    frames = DeltaFrames(CHANNEL, Algorithm.FOSSIL, name_algorithm=True)
    return read_event(frames.full_frame(Frame("quote", CHANNEL), text, number, key).decode())


def _delta(
    base: bytes,
    text: bytes,
    number: int,
    base_number: int,
    key: str | None = None,
    algorithm: Algorithm = Algorithm.FOSSIL,
    *,
    name_algorithm: bool = True,
) -> Event:
    frames = DeltaFrames(CHANNEL, algorithm, name_algorithm=name_algorithm)
    delta = encode(algorithm, base, text)
    return read_event(frames.delta_frame(Frame("quote"), delta, number, key, base_number).decode())


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_a_chain(algorithm: Algorithm) -> None:
    deltas = Deltas()
    texts = [_text(number) for number in range(5)]
    first = _full(texts[0], 0)
    assert deltas.read(first) is first
    for number in range(1, 5):
        event = _delta(texts[number - 1], texts[number], number, number - 1, algorithm=algorithm)
        assert deltas.read(event) == read_event(texts[number].decode())


def test_each_key_has_a_chain_of_its_own() -> None:
    deltas = Deltas()
    keys = ["EUR", 'odd "key" \\ é\n']
    texts = {key: _text(1, key) for key in keys}
    for key in keys:
        deltas.read(_full(texts[key], 7, key))
    for key in keys:
        event = _delta(texts[key], _text(2, key), 8, 7, key)
        assert deltas.read(event).data == f"{key} 2 — é"


def test_the_format_that_was_confirmed_counts_where_frames_do_not_name_it() -> None:
    deltas = Deltas()
    confirmed = '{"event":"sockudo:delta_compression_enabled","data":{"enabled":true,"algorithm":"xdelta3"}}'
    deltas.read(read_event(confirmed))
    deltas.read(_full(_text(1), 0))
    event = _delta(_text(1), _text(2), 1, 0, algorithm=Algorithm.XDELTA3, name_algorithm=False)
    assert deltas.read(event).serial == 2


def test_plain_frames_change_nothing() -> None:
    deltas = Deltas()
    deltas.read(_full(_text(1), 0))
    plain = read_event(_text(9).decode())
    nested = '{"event":"x","channel":"fx:desk","extras":{"a":1,"__delta_seq":5}}'
    assert deltas.read(plain) is plain
    deltas.read(read_event(nested))
    assert deltas.read(_delta(_text(1), _text(2), 1, 0)).serial == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"base_index": 3}, "is not here"),
        ({"conflation_key": "EUR"}, "is not here"),
        ({"seq": None}, "is not here"),
        ({"algorithm": "bsdiff"}, "'bsdiff' is not known"),
        ({"delta": "!"}, "announces|no number|Incorrect"),
        ({"delta": base64.b64encode(b"6\n6:tick-70;").decode()}, "checksum differs"),
    ],
)
def test_what_cannot_be_put_together(change: dict[str, Any], said: str) -> None:
    deltas = Deltas()
    deltas.read(_full(_text(1), 0))
    frame = json.loads(_delta(_text(1), _text(2), 1, 0).raw)
    frame["data"] |= change
    with pytest.raises(LostBaseError, match=said) as caught:
        deltas.read(read_event(json.dumps(frame)))
    assert caught.value.channel == CHANNEL
    # The base is as it was: what follows from it can still be read.
    assert deltas.read(_delta(_text(1), _text(2), 1, 0)).serial == 2


def test_bases_are_not_kept_without_bound() -> None:
    deltas = Deltas()
    for number in range(1100):
        deltas.read(_full(_text(number), number, f"key-{number}"))
    assert deltas.read(_delta(_text(1099), _text(1), 1100, 1099, "key-1099")).serial == 1
    with pytest.raises(LostBaseError):
        deltas.read(_delta(_text(0), _text(1), 1100, 0, "key-0"))


@pytest.mark.parametrize("wire", [Wire(2, "msgpack"), Wire(2, "protobuf")], ids=lambda wire: wire.format)
@pytest.mark.parametrize("algorithm", list(Algorithm))
@pytest.mark.parametrize("key", [None, 'odd "key" \n'])
def test_binary_formats_have_differences_of_the_reduced_text(wire: Wire, algorithm: Algorithm, key: str | None) -> None:
    encode_base = {"msgpack": msgpack.encode, "protobuf": protobuf.encode}[wire.format]
    frames = BinaryDeltaFrames(CHANNEL, algorithm, encode_base, name_algorithm=True)
    deltas = Deltas(reduced=True)
    base, ids = b"", {"message_id": "m", "stream_id": "s"}
    for number in range(4):
        frame = Frame("quote", CHANNEL, f'bid "{number}" — é\x01', tags={"9": "a"}, serial=number, **ids)
        text = reduced_text(frame)
        assert text is not None
        if number == 0:
            payload = frames.full_frame(frame, b"", 7, key)
        else:
            payload = frames.delta_frame(frame, encode(algorithm, base, text), number + 7, key, number + 6)
        event = deltas.read(wire.decode(payload))
        assert (event.event, event.channel, event.data) == ("quote", CHANNEL, frame.data)
        assert (event.message_id, event.stream_id, event.serial) == ("m", "s", number)
        base = text
