"""What is remembered of where each stream is."""

from __future__ import annotations

from unittest import mock

from sockudo.base.stream_records import Position
from sockudo.history import heads as module
from sockudo.history.heads import Heads


def test_a_stream_has_fallen_back_when_it_is_the_same_and_shorter() -> None:
    heads = Heads()
    assert heads.fell_back(Position("s", 5), Position("s", 4))
    assert not heads.fell_back(Position("s", 5), Position("s", 5))
    assert not heads.fell_back(Position("s", 5), Position("s", 6))
    assert not heads.fell_back(Position("s", 5), Position("t", 4))
    assert not heads.fell_back(None, Position("s", 4))


def test_a_stream_that_had_ended_has_fallen_back_however_far_it_is() -> None:
    heads = Heads()
    heads.advance(("app", "a"), Position("s", 5))
    heads.move(("app", "a"), Position("t", 0))
    assert heads.fell_back(Position("t", 0), Position("s", 9))
    assert heads.fell_back(None, Position("s", 9))
    heads.move(("app", "a"), Position("t", 7))
    assert not heads.fell_back(Position("t", 7), Position("t", 7))


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
