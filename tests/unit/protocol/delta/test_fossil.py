"""The Fossil format: the specified examples byte for byte, and everything that a strict reader must not take."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sockudo.protocol.delta.fossil import MAX_TARGET, MalformedDeltaError, checksum, decode, encode

BASE = rb'{"event":"quote","channel":"fx:desk","data":"{\"pair\":\"EURUSD\",\"bid\":1.0812}","serial":41}'
TARGET = BASE.replace(b"1.0812", b"1.0815").replace(b":41}", b":42}")

WORDS = st.sampled_from([b'{"bid":1.0', b'"symbol":"EURUSD",', b"x" * 40, b"\xf0\x9f\x98\x80", b"}"])
TEXTS = st.one_of(
    st.binary(max_size=300), st.text(max_size=200).map(str.encode), st.lists(WORDS, max_size=30).map(b"".join)
)


def test_the_worked_example() -> None:
    assert (len(BASE), len(TARGET)) == (95, 95)
    delta = encode(BASE, TARGET)
    assert delta == b'1V\n1F@0,G:5}","serial":42}2p3zA3;'
    assert base64.b64encode(delta) == b"MVYKMUZAMCxHOjV9Iiwic2VyaWFsIjo0Mn0ycDN6QTM7"
    assert checksum(TARGET) == 0xB40FE283
    assert decode(BASE, delta) == TARGET


def test_the_example_without_anything_in_common() -> None:
    assert encode(b"", b"tick-7") == b"6\n6:tick-72Xd6Dg;"
    assert decode(b"", b"6\n6:tick-72Xd6Dg;") == b"tick-7"


def test_an_empty_target() -> None:
    assert encode(BASE, b"") == b"0\n0;"
    assert decode(BASE, b"0\n0;") == b""


@pytest.mark.parametrize(
    ("size", "digits"), [(63, b"~"), (64, b"10"), (101, b"1a"), (4096, b"100"), (36, b"_"), (35, b"Z"), (37, b"a")]
)
def test_numbers(size: int, digits: bytes) -> None:
    delta = encode(b"", bytes(size))
    assert delta == digits + b"\n" + digits + b":" + bytes(size) + b"0;"


@given(st.binary(max_size=400))
@example(b"")
@example(b"\xff" * 200_000)
def test_the_checksum_is_a_plain_sum_of_words(target: bytes) -> None:
    padded = target + bytes(-len(target) % 4)
    words = (int.from_bytes(padded[at : at + 4], "big") for at in range(0, len(padded), 4))
    assert checksum(target) == sum(words) % 2**32


@given(TEXTS, TEXTS)
@example(b"x" * 65_536, b"x" * 65_536)
@example(b"x" * 65_536, b"x" * 30_000 + b"y" + b"x" * 30_000)
@example(b"x" * 70_000, b"x" * 35_000 + b"y" + b"x" * 35_000)
@example(b"x" * 65_536, b"yx" * 16_000)
def test_what_is_encoded_decodes(base: bytes, target: bytes) -> None:
    assert decode(base, encode(base, target)) == target


@given(TEXTS.filter(bool), TEXTS, st.binary(max_size=30))
def test_the_end_of_the_base_does_not_matter(base: bytes, target: bytes, ending: bytes) -> None:
    for text in (target, base, base + target):
        assert decode(base[:-1] + ending, encode(base, text)) == text


@pytest.mark.parametrize(
    ("delta", "problem"),
    [
        (b"", "no number at byte 0"),
        (b"\n", "no number at byte 0"),
        (b"6", "no line feed after the size, at byte 1"),
        (b"6:tick-7", "no line feed after the size, at byte 1"),
        (b"4~~~~~\n", "number over 4294967295 at byte 0"),
        (b"3~~~~~\n", f"announces 4294967295 bytes, more than {MAX_TARGET}"),
        (b"6\n", "no number at byte 2"),
        (b"6\n:tick-72Xd6Dg;", "no number at byte 2"),
        (b"6\n6?tick-72Xd6Dg;", "unknown operator at byte 3"),
        (b"6\n6", "unknown operator at byte 3"),
        (b"6\n6@;", "no number at byte 4"),
        (b"6\n6@0;2Xd6Dg;", "no comma after a copy, at byte 5"),
        (b"6\n6@0", "no comma after a copy, at byte 5"),
        (b"6\n6@A,2Xd6Dg;", "6 bytes are asked for and 5 there, before byte 6"),
        (b"6\n6@~~,2Xd6Dg;", "6 bytes are asked for and 0 there, before byte 7"),
        (b"6\n0@0,6:tick-72Xd6Dg;", "0 bytes are asked for and 0 there, before byte 6"),
        (b"6\n0:6:tick-72Xd6Dg;", "0 bytes are asked for and 0 there, before byte 4"),
        (b"6\n~:tick-72Xd6Dg;", "63 bytes are asked for and 13 there, before byte 67"),
        (b"5\n6:tick-72Xd6Dg;", "makes more than the 5 bytes it announces, at byte 10"),
        (b"7\n6:tick-72Xd6Dg;", "makes 6 bytes and announces 7"),
        (b"6\n6:tick-72Xd6Dh;", "checksum differs: made for another base"),
        (b"6\n6:tick-72Xd6Dg", "unknown operator at byte 16"),
        (b"6\n6:tick-72Xd6Dg;;", "goes on after its end, at byte 17"),
        (b"6\n6:tick-72Xd6Dg;\n", "goes on after its end, at byte 17"),
    ],
)
def test_what_is_malformed(delta: bytes, problem: str) -> None:
    with pytest.raises(MalformedDeltaError) as caught:
        decode(b"a base of 15 by", delta)
    assert str(caught.value) == problem


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_bytes_decode_or_are_malformed(base: bytes, delta: bytes) -> None:
    with contextlib.suppress(MalformedDeltaError):
        assert len(decode(base, delta)) <= MAX_TARGET


@given(TEXTS, TEXTS, st.data())
def test_a_damaged_delta_never_gives_another_length(base: bytes, target: bytes, data: st.DataObject) -> None:
    delta = bytearray(encode(base, target))
    delta[data.draw(st.integers(0, len(delta) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        made = decode(base, bytes(delta))
    except MalformedDeltaError:
        return
    assert checksum(made) == checksum(target) or len(made) != len(target)
