"""Envelopes: what goes in comes out, and what cannot be read costs nothing else."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo.cluster.items import Item
from sockudo.cluster.wire import (
    ENVELOPE_BYTES,
    OLDEST_VERSION,
    VERSION,
    Beat,
    Bye,
    Envelope,
    ItemReader,
    Ping,
    encode,
    envelopes,
)

NODE = bytes(range(16))


class Note(Item, frozen=True, tag="a note"):
    text: str


class Newer(Item, frozen=True, tag="of a newer version"):
    text: str


@given(st.lists(st.text(max_size=50), min_size=1, max_size=50), st.integers(1, 1 << 40))
def test_items_come_out_in_their_order_with_their_numbers(texts: list[str], first: int) -> None:
    [payload] = envelopes(NODE, 3, first, [encode(Note(text)) for text in texts])
    opened = ItemReader([Note]).open(payload)
    assert opened == (NODE.hex(), 3, first, [Note(text) for text in texts], False)


def test_many_items_take_several_envelopes_and_a_long_one_has_its_own() -> None:
    long = encode(Note("x" * ENVELOPE_BYTES))
    small = [encode(Note("y" * 1_000)) for _ in range(100)]
    payloads = list(envelopes(NODE, 1, 11, [*small, long, *small]))
    reader = ItemReader([Note])
    opened = [reader.open(payload) for payload in payloads]
    assert all(len(payload) < ENVELOPE_BYTES + 2_000 for payload in payloads)
    numbers = []
    for each in opened:
        assert each is not None
        numbers += range(each.first, each.first + len(each.items))
    assert numbers == list(range(11, 11 + 201))


def test_a_kind_that_is_not_known_is_left_out_alone() -> None:
    [payload] = envelopes(NODE, 1, 1, [encode(Note("a")), encode(Newer("b")), encode(Ping(1.5))])
    reader = ItemReader([Note])
    opened = reader.open(payload)
    assert opened is not None
    assert opened.items == [Note("a"), None, Ping(1.5)]
    assert reader.unreadable == 1


@pytest.mark.parametrize("version", [OLDEST_VERSION - 1, (VERSION // 100 + 1) * 100])
def test_of_an_envelope_in_another_hundred_of_versions_beats_and_goodbyes_are_read_alone(version: int) -> None:
    reader = ItemReader([Note])
    beat, bye = Beat(1.0, "n", 2.0), Bye()
    items = tuple(msgspec.Raw(encode(item)) for item in (Note("a"), beat, Ping(1.0), bye))
    opened = reader.open(encode(Envelope(version, NODE, 1, 1, items)))
    assert opened == (NODE.hex(), 1, 1, [None, beat, None, bye], True)
    assert reader.unreadable == 2


def test_an_envelope_of_the_same_hundred_of_versions_is_read() -> None:
    opened = ItemReader([Note]).open(encode(Envelope(VERSION + 1, NODE, 1, 1, (msgspec.Raw(encode(Note("a"))),))))
    assert opened == (NODE.hex(), 1, 1, [Note("a")], False)


@given(st.binary(max_size=300))
def test_bytes_of_strangers_are_counted_and_never_raise(payload: bytes) -> None:
    reader = ItemReader([Note])
    opened = reader.open(payload)
    assert opened is not None or reader.unreadable == 1


def test_fields_of_a_newer_version_are_ignored() -> None:
    beat = encode({"type": "beat", "sent": 1.0, "name": "n", "interval": 2.0, "colour": "green"})
    [payload] = envelopes(NODE, 1, 1, [beat])
    opened = ItemReader([]).open(payload)
    assert opened is not None
    assert opened.items == [Beat(1.0, "n", 2.0)]
