"""What channels share: deltas made once, a bound on the memory of bases, numbers that only rise."""

from __future__ import annotations

import pytest

from sockudo.protocol.delta import node, settings
from sockudo.protocol.delta.node import DeltaNode
from sockudo.protocol.delta.settings import Algorithm, DeltaOptions


class Time:
    def __init__(self, unix: float = 1_000_000.0) -> None:
        self.unix = unix

    def __call__(self) -> float:
        return self.unix


class Holder:
    def __init__(self, base: bytes) -> None:
        self.base: bytes | None = base


@pytest.fixture
def encodings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Algorithm, bytes, bytes]]:
    """Every encoding that really takes place."""
    calls: list[tuple[Algorithm, bytes, bytes]] = []

    def encode(algorithm: Algorithm, base: bytes, target: bytes) -> bytes:
        calls.append((algorithm, base, target))
        return settings.encode(algorithm, base, target)

    monkeypatch.setattr(node, "encode", encode)
    return calls


def test_the_same_base_and_frame_are_encoded_once_for_each_format(encodings: list[object]) -> None:
    shared = DeltaNode(DeltaOptions(), Time())
    base, target = b"a base of some bytes" * 2, b"a frame of some bytes" * 2
    first = shared.encode(Algorithm.FOSSIL, base, target)
    assert shared.encode(Algorithm.FOSSIL, base, target) is first
    shared.encode(Algorithm.XDELTA3, base, target)
    shared.encode(Algorithm.XDELTA3, base, target)
    assert len(encodings) == 2
    other = bytes(bytearray(base))
    assert shared.encode(Algorithm.FOSSIL, other, target) == first
    assert len(encodings) == 3


def test_two_frames_are_known_and_the_next_starts_anew(encodings: list[object]) -> None:
    """A message has one text for JSON and one for the binary formats, and readers of both take turns."""
    shared = DeltaNode(DeltaOptions(), Time())
    base, target, reduced = b"a base" * 9, b"a frame" * 9, b"a reduced frame" * 9
    for _ in range(2):
        shared.encode(Algorithm.FOSSIL, base, target)
        shared.encode(Algorithm.FOSSIL, base, reduced)
    assert len(encodings) == 2
    shared.encode(Algorithm.FOSSIL, base, b"a following frame" * 9)
    shared.encode(Algorithm.FOSSIL, base, reduced)
    shared.encode(Algorithm.FOSSIL, base, target)
    assert len(encodings) == 4


def test_bases_beyond_the_bound_are_dropped_the_least_recently_used_first() -> None:
    shared = DeltaNode(DeltaOptions(), Time(), max_base_bytes=100)
    first, second, third = Holder(b"1" * 40), Holder(b"2" * 40), Holder(b"3" * 40)
    shared.hold(first, 40)
    shared.hold(second, 40)
    shared.hold(first, 30)
    assert shared.base_bytes == 70
    shared.hold(third, 40)
    assert shared.base_bytes == 70
    assert (first.base, second.base, third.base) == (b"1" * 40, None, b"3" * 40)


def test_a_base_larger_than_the_bound_is_not_kept() -> None:
    shared = DeltaNode(DeltaOptions(), Time(), max_base_bytes=100)
    small, large = Holder(b"1"), Holder(b"2" * 101)
    shared.hold(small, 1)
    shared.hold(large, 101)
    assert shared.base_bytes == 0
    assert (small.base, large.base) == (None, None)


def test_a_released_base_takes_nothing() -> None:
    shared = DeltaNode(DeltaOptions(), Time())
    holder = Holder(b"1" * 40)
    shared.hold(holder, 40)
    shared.release(holder)
    shared.release(holder)
    assert shared.base_bytes == 0


def test_first_numbers_rise_with_the_clock_and_stay_in_their_range() -> None:
    time = Time(0.0)
    shared = DeltaNode(DeltaOptions(), time)
    assert shared.first_number() == 2**16
    time.unix = 10.0
    assert shared.first_number() == 2**16 + 1280
    period = (2**30 - 2**16) / 128
    time.unix = period - 1
    assert shared.first_number() == 2**30 - 128
    time.unix = period
    assert shared.first_number() == 2**16
    assert 97 < period / 86400 < 98


def test_a_channel_that_was_ahead_of_the_clock_is_remembered_until_the_clock_has_passed_it() -> None:
    time = Time()
    shared = DeltaNode(DeltaOptions(), time)
    ahead = shared.first_number() + 500
    shared.remember("app", "fast", ahead)
    shared.remember("app", "slow", shared.first_number())
    assert shared.recall("app", "slow") == 0
    assert shared.recall("other", "fast") == 0
    assert shared.recall("app", "fast") == ahead
    assert shared.recall("app", "fast") == 0
    shared.remember("app", "fast", ahead)
    time.unix += 3
    shared.sweep()
    assert shared.recall("app", "fast") == ahead
    shared.remember("app", "fast", ahead)
    time.unix += 1
    shared.sweep()
    assert shared.recall("app", "fast") == 0


def test_only_so_many_channels_are_remembered() -> None:
    shared = DeltaNode(DeltaOptions(), Time())
    ahead = shared.first_number() + 500
    for number in range(10_001):
        shared.remember("app", f"channel-{number}", ahead)
    assert shared.recall("app", "channel-0") == 0
    assert shared.recall("app", "channel-1") == ahead
