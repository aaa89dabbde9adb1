"""Frames compressed for connections that want it: the same messages, and one compression for all subscribers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sockudo.edge import deflated
from sockudo.edge.deflated import deflated_frames
from sockudo.protocol.deflate import Inflater
from sockudo.protocol.framing import binary_frame, close_frame, ping_frame, text_frame


def split(data: bytes) -> list[tuple[int, bytes]]:
    """First byte and payload of each frame; lengths are read as RFC 6455 has them."""
    found = []
    while data:
        first, size, start = data[0], data[1], 2
        assert size < 128
        if size > 125:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
        found.append((first, data[start : start + size]))
        data = data[start + size :]
    return found


def inflated(data: bytes) -> list[tuple[int, bytes]]:
    return [
        (first & ~0x40, Inflater().inflate(payload, 1 << 24) if first & 0x40 else payload)
        for first, payload in split(data)
    ]


payloads = st.text(max_size=40).map(str.encode) | st.integers(0, 70_000).map(lambda size: b"ab" * (size // 2))
frames = st.one_of(
    payloads.map(text_frame),
    payloads.map(binary_frame),
    st.binary(max_size=125).map(ping_frame),
    st.just(close_frame(4100, "reason")),
)


@given(st.lists(frames, max_size=6))
def test_the_same_messages_come_out(batch: list[bytes]) -> None:
    data = b"".join(batch)
    assert inflated(deflated_frames(data)) == split(data)


def test_only_texts_that_are_worth_it_are_compressed() -> None:
    long, short = text_frame(b"a" * 64), text_frame(b"a" * 63)
    data = long + short + binary_frame(b"a" * 500) + close_frame(1000, "a" * 100)
    assert [bool(first & 0x40) for first, _ in split(deflated_frames(data))] == [True, False, False, False]
    assert len(deflated_frames(long)) < len(long)


def test_a_batch_is_compressed_once_for_all_who_get_it() -> None:
    data = text_frame(b"x" * 1000)
    first = deflated_frames(data)
    assert deflated_frames(data) is first
    equal = bytes(bytearray(data))
    assert equal is not data
    assert deflated_frames(equal) == first


def test_another_batch_in_between_changes_nothing() -> None:
    one, two = text_frame(b"x" * 1000), text_frame(b"y" * 1000)
    for _ in range(2):
        assert inflated(deflated_frames(one)) == split(one)
        assert inflated(deflated_frames(two)) == split(two)
    assert deflated._last[0] is two
