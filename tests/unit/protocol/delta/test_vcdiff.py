"""VCDIFF: the specified example byte for byte, the subset allowed, read back by a decoder that others wrote."""

from __future__ import annotations

import base64

import pytest
import vcdiff_decoder
from hypothesis import example, given
from hypothesis import strategies as st

from sockudo.protocol.delta.vcdiff import encode

BASE = rb'{"event":"quote","channel":"fx:desk","data":"{\"pair\":\"EURUSD\",\"bid\":1.0812}","serial":41}'
TARGET = BASE.replace(b"1.0812", b"1.0815").replace(b":41}", b":42}")

WORDS = st.sampled_from([b'{"bid":1.0', b'"symbol":"EURUSD",', b"x" * 40, b"\xf0\x9f\x98\x80", b"}"])
TEXTS = st.one_of(
    st.binary(max_size=300), st.text(max_size=200).map(str.encode), st.lists(WORDS, max_size=30).map(b"".join)
)


def test_the_worked_example() -> None:
    delta = encode(BASE, TARGET)
    added = b'5}","serial":42}'
    assert delta.hex() == "d6c3c40000015e00195f00100301" + added.hex() + "134f11" + "00"
    assert base64.b64encode(delta) == b"1sPEAAABXgAZXwAQAwE1fSIsInNlcmlhbCI6NDJ9E08RAA=="
    assert vcdiff_decoder.decode(BASE, delta) == TARGET


@given(TEXTS.filter(lambda text: len(text) > 1), TEXTS)
@example(b"x" * 65_536, b"x" * 30_000 + b"y" + b"x" * 30_000)
@example(b"x" * 70_000, b"x" * 35_000 + b"y" + b"x" * 35_000)
@example(b"x" * 65_536, b"yx" * 16_000)
def test_what_is_encoded_decodes(base: bytes, target: bytes) -> None:
    for text in (target, base, base + target):
        if text:
            assert vcdiff_decoder.decode(base, encode(base, text)) == text


@given(TEXTS.filter(lambda text: len(text) > 1), TEXTS.filter(bool), st.binary(max_size=30))
def test_the_end_of_the_base_does_not_matter(base: bytes, target: bytes, ending: bytes) -> None:
    for text in (target, base, base + target):
        assert vcdiff_decoder.decode(base[:-1] + ending, encode(base, text)) == text


@pytest.mark.parametrize("size", [1, 17, 18, 127, 128, 16_383, 16_384, 50_000])
def test_lengths_of_added_bytes(size: int) -> None:
    target = bytes(range(1, 252)) * (size // 251 + 1)
    assert vcdiff_decoder.decode(b"no base", encode(b"no base", target[:size])) == target[:size]


@pytest.mark.parametrize(
    ("size", "instruction"),
    [(11, "1b"), (17, "21"), (18, "22"), (19, "1313"), (127, "137f"), (128, "138100"), (5_000, "13a708")],
)
def test_lengths_of_copies(size: int, instruction: str) -> None:
    base = b"0123456789abcdef" * 400
    target = base[:size] + b"!"
    delta = encode(base, target)
    assert vcdiff_decoder.decode(base, delta) == target
    assert vcdiff_decoder.parse_delta(delta).windows[0].instruction_section.hex() == instruction + "02"


@given(TEXTS.filter(lambda text: len(text) > 11), TEXTS.filter(bool))
def test_only_the_subset_that_every_client_reads(base: bytes, target: bytes) -> None:
    delta = encode(base, base[: len(base) // 2] + target + base)
    parsed = vcdiff_decoder.parse_delta(delta)
    assert parsed.header.indicator == 0
    assert [window.win_indicator for window in parsed.windows] == [1]
    assert parsed.windows[0].source_segment_size == len(base) - 1
    assert parsed.windows[0].delta_indicator == 0
