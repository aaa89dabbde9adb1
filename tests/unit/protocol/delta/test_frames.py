"""The exact bytes of frames with delta metadata (spec: filters-deltas § 2.6 and 2.13)."""

from __future__ import annotations

import base64
import json

import pytest
import vcdiff_decoder
from msgspec import Raw, structs

from sockudo.client.binary import from_msgpack, from_protobuf
from sockudo.protocol import msgpack, protobuf
from sockudo.protocol.delta import fossil, vcdiff
from sockudo.protocol.delta.frames import BinaryDeltaFrames, DeltaFrames, reduced_text
from sockudo.protocol.delta.settings import Algorithm
from sockudo.protocol.frames import Frame

TEXT = b'{"event":"quote","channel":"fx:desk","data":"{}","serial":41}'


def test_a_full_frame_ends_with_its_metadata() -> None:
    plain = b'{"event":"quote","channel":"fx:desk","data":"{}","serial":41'

    def full_frame(text: bytes, number: int, key: str | None) -> bytes:
        return DeltaFrames("fx:desk", Algorithm.FOSSIL, name_algorithm=True).full_frame(
            Frame("quote", "fx:desk", "{}", serial=41), text, number, key
        )

    assert full_frame(TEXT, 7, None) == plain + b',"__delta_seq":7}'
    assert full_frame(TEXT, 70_000, "EURUSD") == plain + b',"__delta_seq":70000,"__conflation_key":"EURUSD"}'
    assert full_frame(TEXT, 0, 'a"b\\\n é').endswith(',"__delta_seq":0,"__conflation_key":"a\\"b\\\\\\n é"}'.encode())


def test_a_delta_frame_of_an_unkeyed_channel() -> None:
    frames = DeltaFrames("fx:desk", Algorithm.FOSSIL, name_algorithm=True)
    made = frames.delta_frame(Frame("quote", "fx:desk", "{}"), b'1V\n1F@0,G:5}","serial":42}2p3zA3;', 8, None, 7)
    assert made == (
        b'{"event":"sockudo:delta","channel":"fx:desk","data":{"event":"quote",'
        b'"delta":"MVYKMUZAMCxHOjV9Iiwic2VyaWFsIjo0Mn0ycDN6QTM7","seq":8,"algorithm":"fossil","base_index":7}}'
    )


def test_a_delta_frame_with_everything() -> None:
    frames = DeltaFrames("fx:desk", Algorithm.XDELTA3, name_algorithm=True)
    frame = Frame(
        'qu"ote', "fx:desk", "{}", user_id="ana", tags={"a": "b"}, message_id="m-1", stream_id="s-1", serial=42
    )
    assert frames.delta_frame(frame, b"\xfb\xff", 70_001, 'a"b', 70_000) == (
        b'{"event":"sockudo:delta","channel":"fx:desk","data":{"event":"qu\\"ote","delta":"+/8=","seq":70001,'
        b'"algorithm":"xdelta3","conflation_key":"a\\"b","base_index":70000},'
        b'"message_id":"m-1","stream_id":"s-1","serial":42}'
    )


def test_the_format_can_be_left_out() -> None:
    frames = DeltaFrames("fx:desk", Algorithm.FOSSIL, name_algorithm=False)
    made = json.loads(frames.delta_frame(Frame("quote", "fx:desk", "{}"), b"x", 8, None, 7))
    assert made["data"] == {"event": "quote", "delta": "eA==", "seq": 8, "base_index": 7}


# ---- binary formats: the vectors of spec: filters-deltas § 2.13 ----


def hexed(text: str) -> bytes:
    return bytes.fromhex(text.replace(" ", ""))


def bid(price: str) -> Frame:
    return Frame("quote", "fx-desk", f'{{"pair":"EURUSD","bid":{price}}}')


ENCODERS = {"msgpack": msgpack.encode, "protobuf": protobuf.encode}
BASE = rb"""{"event":"quote","channel":"fx-desk","data":"{\"pair\":\"EURUSD\",\"bid\":1.0815}"}"""

FULL = {
    "msgpack": hexed(
        "9f a571756f7465 a766782d6465736b"
        "92a6737472696e67be7b2270616972223a22455552555344222c22626964223a312e303831357d c0c0c0c0c0c0c0c0c0c0 01 c0"
    ),
    "protobuf": hexed(
        "0a0571756f7465 120766782d6465736b 1a200a1e7b2270616972223a22455552555344222c22626964223a312e303831357d 7001"
    ),
}
KEYED = {
    "msgpack": hexed(
        "9f a571756f7465 a766782d6465736b 92a6737472696e67bd7b2270616972223a22455552555344222c22626964223a312e3038317d"
        "c0c0c0c0c0c0c0c0c0c0 01 a6455552555344"
    ),
    "protobuf": hexed(
        "0a0571756f7465 120766782d6465736b 1a1f0a1d7b2270616972223a22455552555344222c22626964223a312e3038317d"
        "7001 7a06455552555344"
    ),
}
DELTA = {
    "msgpack": hexed(
        "9f ad736f636b75646f3a64656c7461 a766782d6465736b 92a46a736f6ed968"
        "7b226576656e74223a2271756f7465222c2264656c7461223a224d556f4b4d5556414d4377314f6a497866534a394d6d637a4d5531324f77"
        "3d3d222c22736571223a322c22616c676f726974686d223a22666f7373696c222c22626173655f696e646578223a317d"
        "c0c0c0c0c0c0c0c0c0c0c0c0"
    ),
    # The recorded frame but for the order of the members of its data, which is ours in every format.
    "protobuf": hexed(
        "0a0d736f636b75646f3a64656c7461 120766782d6465736b 1a6a1a68"
        "7b226576656e74223a2271756f7465222c2264656c7461223a224d556f4b4d5556414d4377314f6a497866534a394d6d637a4d5531324f77"
        "3d3d222c22736571223a322c22616c676f726974686d223a22666f7373696c222c22626173655f696e646578223a317d"
    ),
}


@pytest.mark.parametrize("wire", list(ENCODERS))
def test_the_frames_of_binary_formats(wire: str) -> None:
    frames = BinaryDeltaFrames("fx-desk", Algorithm.FOSSIL, ENCODERS[wire], name_algorithm=True)
    assert reduced_text(bid("1.0815")) == BASE
    assert frames.full_frame(bid("1.0815"), b"", 1, None) == FULL[wire]
    assert frames.full_frame(bid("1.081"), b"", 1, "EURUSD") == KEYED[wire]
    target = reduced_text(bid("1.0821"))
    assert target is not None
    delta = fossil.encode(BASE, target)
    assert delta == b'1J\n1E@0,5:21}"}2g31Mv;'
    assert frames.delta_frame(bid("1.0821"), delta, 2, None, 1) == DELTA[wire]


def test_vcdiff_of_reduced_texts() -> None:
    """The recorded delta has the whole base for its source; ours leaves out the last byte and decodes the same."""
    target = reduced_text(bid("1.0821"))
    assert target is not None
    recorded = base64.b64decode("1sPEAAABUwAOUwAFAwEyMX0ifRNOBgA=")
    assert vcdiff_decoder.decode(BASE, recorded) == target
    assert vcdiff_decoder.decode(BASE[:-1] + b"?", vcdiff.encode(BASE, target)) == target


@pytest.mark.parametrize("wire", list(ENCODERS))
def test_ids_and_tags_are_in_the_frames_and_not_in_the_reduced_text(wire: str) -> None:
    frame = structs.replace(bid("1.0815"), tags={"10": "a", "9": "b"}, message_id="m", stream_id="s", serial=7)
    assert reduced_text(frame) == BASE
    decode = {"msgpack": from_msgpack, "protobuf": from_protobuf}[wire]
    frames = BinaryDeltaFrames("fx-desk", Algorithm.FOSSIL, ENCODERS[wire], name_algorithm=True)
    full = decode(frames.full_frame(frame, b"", 1, None))
    assert full["tags"] == {"10": "a", "9": "b"}
    for shown in (full, decode(frames.delta_frame(frame, b"x", 2, None, 1))):
        assert [shown[name] for name in ("message_id", "stream_id", "serial")] == ["m", "s", 7]


@pytest.mark.parametrize(
    "frame",
    [
        Frame("quote", "fx-desk"),
        Frame("quote", None, "text"),
        Frame("quote", "fx-desk", Raw(b'{"a":1}')),
        Frame("quote", "fx-desk", Raw(b"1")),
        Frame("quote", "fx-desk", "text", name="n"),
        Frame("quote", "fx-desk", "text", user_id="ana"),
        Frame("quote", "fx-desk", "text", extras={"headers": {"a": "b"}}),
        Frame("quote", "fx-desk", "text", extras={}),
        Frame("\ufeffquote", "fx-desk", "text"),
        Frame("quote", "\ufefffx-desk", "text"),
        Frame("quote", "fx-desk", "\ufefftext"),
    ],
)
def test_frames_that_clients_do_not_rebuild_alike_have_no_reduced_text(frame: Frame) -> None:
    assert reduced_text(frame) is None


def test_reduced_texts_are_escaped_as_json_frames_are() -> None:
    everything = "".join(map(chr, range(0x80))) + "\x80\u2028\u2029 ö🌊 \ufeff/"
    text = reduced_text(Frame("e", "c", everything))
    assert text is not None
    short = {"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}
    escaped = "".join(short.get(c, f"\\u{ord(c):04x}" if c < " " else c) for c in everything)
    assert text.decode() == f'{{"event":"e","channel":"c","data":"{escaped}"}}'
    assert reduced_text(Frame("e", "c", Raw(b'"\\u00f6\\/"'))) == '{"event":"e","channel":"c","data":"ö/"}'.encode()
