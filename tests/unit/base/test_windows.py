"""Fixed windows: what is counted, when it starts afresh, and that memory is bounded without a timer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo.base.windows import FixedWindows, KeyedWindows, SocketWindow, Verdict


def test_hits_are_allowed_up_to_the_limit_and_then_refused() -> None:
    windows = FixedWindows(3, 60)
    verdicts = [windows.hit("a", 10.0) for _ in range(5)]
    assert [verdict.allowed for verdict in verdicts] == [True, True, True, False, False]
    assert [verdict.remaining for verdict in verdicts] == [2, 1, 0, 0, 0]
    assert verdicts[0] == Verdict(True, 3, 2, 60, 60)


def test_the_window_runs_from_the_first_hit_and_then_starts_afresh() -> None:
    windows = FixedWindows(1, 60)
    assert windows.hit("a", 1000.0).allowed
    assert not windows.hit("a", 1059.9).allowed
    assert windows.hit("a", 1060.0).allowed
    assert not windows.hit("a", 1119.9).allowed


def test_refused_hits_do_not_lengthen_the_window() -> None:
    windows = FixedWindows(1, 10)
    assert [windows.hit("a", float(now)).allowed for now in range(21)] == [now % 10 == 0 for now in range(21)]


@pytest.mark.parametrize(("at", "reset"), [(0.0, 60), (0.5, 60), (1.0, 59), (59.0, 1), (59.999, 1)])
def test_reset_is_in_whole_seconds_rounded_up(at: float, reset: int) -> None:
    windows = FixedWindows(5, 60)
    windows.hit("a", 0.0)
    assert windows.hit("a", at).reset == reset


@given(st.floats(0, 1e9), st.integers(1, 100_000))
def test_reset_of_the_first_hit_is_the_window_whatever_the_clock_reads(now: float, seconds: int) -> None:
    assert FixedWindows(1, seconds).hit("a", now).reset == seconds


def test_keys_do_not_share_a_window() -> None:
    windows = FixedWindows(1, 60)
    assert windows.hit("a", 0.0).allowed
    assert windows.hit("b", 0.0).allowed
    assert not windows.hit("a", 0.0).allowed


def test_a_cost_is_allowed_or_refused_as_a_whole_and_counts_either_way() -> None:
    windows = FixedWindows(10, 60)
    assert windows.hit("a", 0.0, 6) == Verdict(True, 10, 4, 60, 60)
    assert windows.hit("a", 0.0, 5) == Verdict(False, 10, 0, 60, 60)
    assert not windows.hit("a", 0.0).allowed


def test_ended_windows_go_as_others_open() -> None:
    windows = KeyedWindows(10)
    for number in range(1000):
        windows.window(f"old-{number}", 0.0)
    for number in range(500):
        windows.window(f"new-{number}", 10.0)
    assert len(windows) == 500
    assert windows.evicted == 0


def test_open_windows_are_never_swept() -> None:
    windows = FixedWindows(1, 10)
    windows.hit("a", 0.0)
    for number in range(100):
        windows.hit(f"k-{number}", 9.9)
    assert not windows.hit("a", 9.9).allowed


def test_past_the_bound_the_oldest_window_gives_way() -> None:
    windows = FixedWindows(1, 60, max_keys=3)
    for key in "abcd":
        assert windows.hit(key, 0.0).allowed
    assert len(windows.windows) == 3
    assert windows.windows.evicted == 1
    assert not windows.hit("b", 1.0).allowed
    assert windows.hit("a", 1.0).allowed


def test_a_window_that_opens_again_counts_as_the_youngest() -> None:
    windows = KeyedWindows(10, max_keys=2)
    windows.window("a", 0.0)
    windows.window("b", 5.0)
    reopened = windows.window("a", 10.0)
    windows.window("c", 11.0)
    assert windows.window("a", 12.0) is reopened


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0, 5)), max_size=60), st.integers(1, 3))
def test_windows_agree_with_a_model_that_forgets_nothing(steps: list[tuple[str, float]], limit: int) -> None:
    windows = FixedWindows(limit, 7)
    model: dict[str, tuple[float, int]] = {}
    now = 0.0
    for key, passed in steps:
        now += passed
        ends, count = model.get(key, (0.0, 0))
        if now >= ends:
            ends, count = now + 7, 0
        model[key] = (ends, count + 1)
        assert windows.hit(key, now).allowed is (count + 1 <= limit)
        assert len(windows.windows) <= 6


def test_a_socket_window_counts_refused_hits_and_starts_afresh() -> None:
    window = SocketWindow()
    assert [window.allow(100.0, 2, 1) for _ in range(4)] == [True, True, False, False]
    # Raised in the middle of the window: the refused hits were counted.
    assert not window.allow(100.9, 4, 1)
    assert window.allow(101.0, 2, 1)


def test_a_socket_window_takes_a_limit_of_nothing_at_its_word() -> None:
    assert not SocketWindow().allow(1.0, 0, 1)


def test_a_socket_window_works_from_the_first_moment_of_the_clock() -> None:
    window = SocketWindow()
    assert [window.allow(0.0, 1, 1) for _ in range(2)] == [True, False]
