"""What base and target have in common: the pieces make up the target, never need the base's last byte, and are few."""

from __future__ import annotations

import json
import random
import time

from hypothesis import given
from hypothesis import strategies as st

from sockudo.protocol.delta.matcher import INDEXED_UP_TO, Piece, match

WORDS = st.sampled_from(
    [b'{"bid":1.0', b'"symbol":"EURUSD",', b"x" * 40, b"0123456789abcdef" * 3, b",", b"\xc3\xa9", b""]
)
TEXTS = st.lists(st.one_of(WORDS, st.binary(max_size=40)), max_size=40).map(b"".join)


def rebuilt(base: bytes, target: bytes) -> bytes:
    return b"".join((base if copied else target)[start : start + size] for copied, start, size in match(base, target))


def literals(base: bytes, target: bytes) -> int:
    return sum(piece.size for piece in match(base, target) if not piece.copied)


@given(TEXTS, TEXTS)
def test_pieces_make_up_the_target(base: bytes, target: bytes) -> None:
    assert rebuilt(base, target) == target


@given(TEXTS, st.data())
def test_pieces_of_an_edited_base_make_up_the_target(base: bytes, data: st.DataObject) -> None:
    target = base
    for _ in range(data.draw(st.integers(0, 4))):
        start = data.draw(st.integers(0, len(target)))
        end = data.draw(st.integers(start, min(len(target), start + 50)))
        target = target[:start] + data.draw(st.binary(max_size=50)) + target[end:]
    assert rebuilt(base, target) == target


@given(TEXTS, TEXTS)
def test_the_last_byte_of_the_base_is_never_copied(base: bytes, target: bytes) -> None:
    for text in (target, base, base[:-1], base + base):
        pieces = match(base, text)
        assert all(start + size <= len(base) - 1 for copied, start, size in pieces if copied)
        assert all(size > 0 for _, _, size in pieces)


def test_identical_texts_are_one_copy_and_the_last_byte() -> None:
    text = b'{"event":"quote","channel":"fx:desk","data":"1"}'
    assert match(text, text) == [Piece(True, 0, len(text) - 1), Piece(False, len(text) - 1, 1)]


def test_a_copy_is_longer_than_what_it_takes_to_say_it() -> None:
    assert match(b"0123456789-", b"0123456789+") == [Piece(False, 0, 11)]
    assert match(b"0123456789a-", b"0123456789a+") == [Piece(True, 0, 11), Piece(False, 11, 1)]


def test_a_small_base_is_no_base() -> None:
    assert match(b"", b"tick") == [Piece(False, 0, 4)]
    assert match(b"x", b"tick") == [Piece(False, 0, 4)]
    assert match(b"", b"") == []


def test_several_changed_places_are_all_that_is_not_copied() -> None:
    rows = [{"id": row, "symbol": f"SYM{row:04}", "bid": 1.5 + row / 64} for row in range(60)]
    base = json.dumps({"rows": rows, "id": "0d6a1d4b-9d0a-4d39-8e27-6a5a0a3c4f10", "serial": 1041}).encode()
    rows[7]["bid"] = 9.25
    rows[30]["symbol"] = "RENAMED"
    target = json.dumps({"rows": rows, "id": "f8f5a7c3-1b2e-4c6d-9a8b-7c6d5e4f3a2b", "serial": 1042}).encode()
    assert literals(base, target) < 70
    assert rebuilt(base, target) == target


def test_what_moved_far_is_found_in_the_whole_base() -> None:
    rows = [{"id": row, "name": f"row number {row * 7919}", "price": row * 1.25} for row in range(40)]
    base = json.dumps(rows).encode()
    rotated = json.dumps(rows[25:] + rows[:25]).encode()
    assert literals(base, rotated) < 100
    inserted = json.dumps([{"id": 99, "name": "row number 316760", "price": 48.75}, *rows]).encode()
    assert literals(base, inserted) < 100
    assert rebuilt(base, rotated) == rotated
    assert rebuilt(base, inserted) == inserted


def test_in_large_texts_changes_are_followed_but_nothing_is_looked_up() -> None:
    generator = random.Random(1)
    rows = [generator.randbytes(50).hex().encode() for _ in range(INDEXED_UP_TO // 100 + 20)]
    base = b"".join(rows)
    changed = b"".join([*rows[:9], b"a new row", *rows[9:300], rows[300].replace(b"0", b"+"), *rows[301:]])
    assert len(base) > INDEXED_UP_TO
    assert literals(base, changed) < 150
    assert rebuilt(base, changed) == changed
    moved = b"".join(rows[200:] + rows[:200])
    assert literals(base, moved) == len(moved)
    small = b"".join(rows[:300])
    assert literals(small, b"".join(rows[200:300] + rows[:200])) < 50


def test_many_changes_in_a_large_text_are_not_all_followed() -> None:
    base = bytes(range(1, 201)) * 1000
    target = bytearray(base)
    target[::100] = b"+" * (len(target) // 100)
    pieces = match(base, bytes(target))
    assert len(pieces) < 150
    assert rebuilt(base, bytes(target)) == target


def test_the_work_is_bounded_for_texts_made_to_be_slow() -> None:
    generator = random.Random(2)
    noise, other = generator.randbytes(60_000), generator.randbytes(32_000)
    nearly = (b"x" * 47 + b"y") * 1365
    pairs = [
        (noise, other),
        (b"x" * 65_536, b"y" + b"x" * 32_000 + b"z"),
        (nearly, b"q" + (b"x" * 46 + b"y") * 680 + b"q"),
        (nearly, b"q" + (b"x" * 15 + b"z") * 2_000 + b"q"),
        (b"x" * 65_536, b"q" + b"x" * 65_000 + b"q" * 500),
        (b"x" * 1_000_000, b"q" + (b"x" * 33 + b"z") * 29_000),
        (generator.randbytes(1_000_000), generator.randbytes(1_000_000)),
    ]
    for base, target in pairs:
        started = time.process_time()
        pieces = match(base, target)
        assert time.process_time() - started < 0.5
        assert b"".join((base if copied else target)[at : at + size] for copied, at, size in pieces) == target
