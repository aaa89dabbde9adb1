"""The names of the formats, and that each one is what its name says."""

from __future__ import annotations

import vcdiff_decoder

from sockudo.protocol.delta import fossil
from sockudo.protocol.delta.settings import Algorithm, encode

BASE = b'{"event":"quote","channel":"fx:desk","data":"1"}'
TARGET = b'{"event":"quote","channel":"fx:desk","data":"2"}'


def test_the_names_are_those_of_the_protocol() -> None:
    assert [algorithm.value for algorithm in Algorithm] == ["fossil", "xdelta3"]


def test_each_format_is_decoded_by_its_decoder() -> None:
    assert fossil.decode(BASE, encode(Algorithm.FOSSIL, BASE, TARGET)) == TARGET
    assert vcdiff_decoder.decode(BASE, encode(Algorithm.XDELTA3, BASE, TARGET)) == TARGET
