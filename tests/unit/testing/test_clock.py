from __future__ import annotations

import time

import pytest

from sockudo.testing import FakeClock


def test_stands_still_until_moved() -> None:
    clock = FakeClock(time=1_767_225_600.0)
    assert (clock.monotonic(), clock.time()) == (0.0, 1_767_225_600.0)
    assert (clock.monotonic(), clock.time()) == (0.0, 1_767_225_600.0)
    clock.advance(2.5)
    assert (clock.monotonic(), clock.time()) == (2.5, 1_767_225_602.5)


def test_begins_now() -> None:
    assert abs(FakeClock().time() - time.time()) < 5


def test_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="back"):
        FakeClock().advance(-1)
