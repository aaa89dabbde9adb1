"""What is remembered of where each stream is."""

from __future__ import annotations

from unittest import mock

from sockudo.history import heads as module
from sockudo.history.heads import Heads, fell_back
from sockudo.streams.records import Position


def test_a_stream_has_fallen_back_when_it_is_the_same_and_shorter() -> None:
    assert fell_back(Position("s", 5), Position("s", 4))
    assert not fell_back(Position("s", 5), Position("s", 5))
    assert not fell_back(Position("s", 5), Position("s", 6))
    assert not fell_back(Position("s", 5), Position("t", 4))
    assert not fell_back(None, Position("s", 4))


def test_the_channels_that_were_used_last_are_remembered() -> None:
    heads = Heads()
    with mock.patch.object(module, "_MAX_HEADS", 2):
        heads.advance(("app", "a"), Position("s", 1))
        heads.advance(("app", "b"), Position("s", 1))
        heads.advance(("app", "a"), Position("s", 2))
        heads.advance(("app", "c"), Position("s", 1))
    assert heads.get(("app", "a")) == Position("s", 2)
    assert heads.get(("app", "b")) is None
    assert heads.get(("app", "c")) == Position("s", 1)
