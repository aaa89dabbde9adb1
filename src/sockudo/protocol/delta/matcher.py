"""What two byte strings have in common: the part of delta encoding that both wire formats share
(spec: filters-deltas § 3.1).

A frame mostly differs from its base in a few short places. So the common start and the common end are found first, then
for each of some differences the place shortly after it where both go on alike. Only what has changed more than that is
looked up in an index of the base, unless it is large. The work is linear in the lengths, for any bytes.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["INDEXED_UP_TO", "Piece", "match"]

INDEXED_UP_TO: Final = 64 * 1024
"""Bytes of either side above which nothing is looked up in the base."""

_BLOCK: Final = 16
_SHORT: Final = 32
_LOOKED_UP: Final = 32 * 1024
_OFFSETS_PER_BLOCK: Final = 8

# The dearest reference to the base takes ten bytes in either format, so a longer copy always pays.
_WORTH_COPYING: Final = 11

# How far behind a difference both sides are compared: a number, a time, a UUID, a sentence.
_AHEAD: Final = (8, 20, 40, 80)
_SHIFT: Final = 64
_MOST_DIFFERENCES: Final = 64


class Piece(NamedTuple):
    """``size`` bytes of the target: found at ``start`` of the base if ``copied``, else at ``start`` of the target."""

    copied: bool
    start: int
    size: int


def match(base: bytes, target: bytes) -> list[Piece]:
    """The pieces that make up ``target``, in order and without a gap.

    None touches the last byte of ``base``: some clients hold a base that ends in another way
    (spec: filters-deltas § 2.9, S3).
    """
    usable = len(base) - 1
    if usable < _WORTH_COPYING:
        return [Piece(False, 0, len(target))] if target else []
    prefix = _common_start(base, 0, target, 0, min(usable, len(target)))
    if prefix < _WORTH_COPYING:
        prefix = 0
    last = len(target) - 1
    suffix = _common_end(base, usable, target, last, min(usable, last) - prefix)
    if suffix < _WORTH_COPYING:
        suffix, end = 0, len(target)
    else:
        end = last - suffix
    pieces = [Piece(True, 0, prefix)] if prefix else []
    _match_middle(base, usable, target, prefix, end, pieces)
    if suffix:
        pieces.append(Piece(True, usable - suffix, suffix))
        pieces.append(Piece(False, last, 1))
    return pieces


def _add_literal(pieces: list[Piece], start: int, end: int) -> None:
    if end > start:
        pieces.append(Piece(False, start, end - start))


def _match_middle(base: bytes, usable: int, target: bytes, start: int, end: int, pieces: list[Piece]) -> None:
    """Appends the pieces of ``target[start:end]``, which differs from the base at its start."""
    at = offset = start
    for _ in range(_MOST_DIFFERENCES):
        if end - at < _SHORT:
            break
        resumed = _resume(base, usable, offset, target, at, end)
        if resumed is None:
            break
        changed, offset, count = resumed
        _add_literal(pieces, at, at + changed)
        pieces.append(Piece(True, offset, count))
        at += changed + count
        offset += count
    if _SHORT <= end - at <= _LOOKED_UP and len(base) <= INDEXED_UP_TO and len(target) <= INDEXED_UP_TO:
        _match_by_index(base, usable, target, at, end, pieces)
    else:
        _add_literal(pieces, at, end)


def _resume(base: bytes, usable: int, offset: int, target: bytes, at: int, end: int) -> tuple[int, int, int] | None:
    """Where base and target are alike again after they differ at ``offset`` and ``at``.

    How many bytes of the target are skipped, where in the base it goes on, and for how many bytes.
    """
    for ahead in _AHEAD:
        place = at + ahead
        if place + _BLOCK > end:
            return None
        block = target[place : place + _BLOCK]
        found = offset + ahead
        if base[found : found + _BLOCK] != block or found + _BLOCK > usable:
            found = base.find(block, offset, min(found + _SHIFT, usable))
            if found < 0:
                continue
        back = _common_end(base, found, target, place, min(ahead, found))
        count = back + _common_start(base, found, target, place, min(usable - found, end - place))
        if count >= _SHORT:
            return ahead - back, found - back, count
    return None


def _match_by_index(base: bytes, usable: int, target: bytes, start: int, end: int, pieces: list[Piece]) -> None:
    """Appends the pieces of ``target[start:end]``, found anywhere in the base."""
    find = _index(base, usable).get
    at = literal = start
    last = end - _BLOCK
    while at <= last:
        offsets = find(target[at : at + _BLOCK])
        if offsets is None:
            at += 1
            continue
        offset, count = _longest(base, usable, target, at, end, offsets)
        back = _common_end(base, offset, target, at, min(offset, at - literal))
        _add_literal(pieces, literal, at - back)
        pieces.append(Piece(True, offset - back, count + back))
        at = literal = at + count
    _add_literal(pieces, literal, end)


def _index(base: bytes, usable: int) -> dict[bytes, list[int]]:
    """Where each aligned block of the base occurs, the first few places only."""
    index: dict[bytes, list[int]] = {}
    for offset in range(0, usable - _BLOCK + 1, _BLOCK):
        offsets = index.setdefault(base[offset : offset + _BLOCK], [])
        if len(offsets) < _OFFSETS_PER_BLOCK:
            offsets.append(offset)
    return index


def _longest(base: bytes, usable: int, target: bytes, at: int, end: int, offsets: list[int]) -> tuple[int, int]:
    """Of the places in the base that have the block at ``at``, the one that goes on longest, and for how long."""
    best = longest = 0
    for offset in offsets:
        count = _common_start(base, offset, target, at, min(usable - offset, end - at))
        if count > longest:
            best, longest = offset, count
    return best, longest


def _common_start(a: bytes, a_start: int, b: bytes, b_start: int, most: int) -> int:
    """How many bytes from both starts on are equal, at most ``most``.

    Compares ever longer parts until one differs, then halves that one: the interpreter does the comparing.
    """
    low, high, step = 0, 0, 64
    while low < most:
        high = min(low + step, most)
        if a[a_start + low : a_start + high] != b[b_start + low : b_start + high]:
            break
        low, step = high, step * 4
    else:
        return low
    while high - low > 1:
        middle = (low + high) // 2
        if a[a_start + low : a_start + middle] == b[b_start + low : b_start + middle]:
            low = middle
        else:
            high = middle
    return low


def _common_end(a: bytes, a_end: int, b: bytes, b_end: int, most: int) -> int:
    """How many bytes before both ends are equal, at most ``most``."""
    low, high, step = 0, 0, 64
    while low < most:
        high = min(low + step, most)
        if a[a_end - high : a_end - low] != b[b_end - high : b_end - low]:
            break
        low, step = high, step * 4
    else:
        return low
    while high - low > 1:
        middle = (low + high) // 2
        if a[a_end - middle : a_end - low] == b[b_end - middle : b_end - low]:
            low = middle
        else:
            high = middle
    return low
