from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo.client.event_stream import EventReader, StreamEvent

STREAM = (
    b": hello\n\nevent: entries\ndata: {}\n\n: still here\n\nid: 7\ndata: a\ndata:b\n\n"
    b"event: end\r\ndata: Nacht\xc3\xa9\r\n\r\nevent: cut"
)
EVENTS = [StreamEvent("entries", "{}"), StreamEvent("message", "a\nb"), StreamEvent("end", "Nachté")]


def test_comments_other_fields_and_what_is_not_whole_are_left_out() -> None:
    assert EventReader().feed(STREAM) == EVENTS


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_pieces_may_be_of_any_size(cuts: list[int]) -> None:
    """Also cut within a character, and between a carriage return and its line feed."""
    reader = EventReader()
    places = sorted({0, *cuts, len(STREAM)})
    found = [event for start, end in pairwise(places) for event in reader.feed(STREAM[start:end])]
    assert found == EVENTS


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
def test_an_event_without_data_is_one_too(end: bytes) -> None:
    assert EventReader().feed(b"event: x" + end) == [StreamEvent("x", "")]
