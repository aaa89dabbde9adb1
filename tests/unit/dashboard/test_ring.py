"""The ring of samples: rows in order, oldest first out, words counted beside them."""

from __future__ import annotations

from math import isnan, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo.dashboard.ring import Ring


def filled(rows: int, capacity: int = 5) -> Ring:
    """Row n is at 1000 * (n + 1) and holds n and -n; every third counts a word."""
    ring = Ring(("up", "down"), capacity)
    for number in range(rows):
        ring.append(1000 * (number + 1), (number, -number), {"odd_one": number} if number % 3 == 0 else {})
    return ring


def test_an_empty_ring_has_no_rows() -> None:
    ring = Ring(("up",), 5)
    assert (len(ring), ring.count, ring.last_at) == (0, 0, None)
    assert ring.rows().at == []
    assert ring.rows().series == {"up": []}
    assert ring.number_after(0) == 0


@pytest.mark.parametrize("rows", [1, 4, 5, 6, 10, 13])
def test_the_newest_rows_are_kept_in_their_order(rows: int) -> None:
    ring = filled(rows)
    kept = range(max(0, rows - 5), rows)
    found = ring.rows()
    assert found.at == [1000 * (number + 1) for number in kept]
    assert found.series == {"up": list(kept), "down": [-number for number in kept]}
    assert (len(ring), ring.count, ring.last_at) == (len(kept), rows, rows * 1000)
    assert ring.column("up", 2) == list(kept)[-2:]


@given(rows=st.integers(0, 30), capacity=st.integers(1, 12), after=st.integers(0, 40_000))
def test_what_is_later_than_a_moment(rows: int, capacity: int, after: int) -> None:
    ring = filled(rows, capacity)
    found = ring.rows(ring.number_after(after))
    assert found.at == [at for at in ring.rows().at if at > after]
    assert found.series["up"] == [at // 1000 - 1 for at in found.at]


def test_a_watcher_that_was_overtaken_gets_what_is_left() -> None:
    assert filled(20).rows(3).series["up"] == [15, 16, 17, 18, 19]


def test_words_have_a_count_for_each_row_and_are_left_out_where_they_have_none() -> None:
    ring = filled(8)  # rows 3 to 7 are left; 3 and 6 counted the word
    assert ring.rows().counts == {"odd_one": [3, 0, 0, 6, 0]}
    assert ring.rows(7).counts == {}
    ring.append(9000, (0, 0), {"late": 2})
    assert ring.rows().counts == {"odd_one": [0, 0, 6, 0, 0], "late": [0, 0, 0, 0, 2]}


def test_a_count_beyond_what_fits_stays_at_the_top() -> None:
    ring = Ring(("up",), 3)
    ring.append(1, (0,), {"flood": 2**40})
    assert ring.rows().counts == {"flood": [2**32 - 1]}


def test_what_is_not_known_stays_unknown() -> None:
    ring = Ring(("up",), 3)
    ring.append(1, (nan,))
    assert isnan(ring.rows().series["up"][0])


def test_a_row_has_to_be_later_than_the_last_one() -> None:
    ring = filled(3)
    with pytest.raises(ValueError, match="row at 3000 after one at 3000"):
        ring.append(3000, (0, 0))
    assert ring.count == 3


def test_all_rows_move_when_the_clock_was_set() -> None:
    ring = filled(7)
    ring.shift(-2500)
    assert ring.rows().at == [500, 1500, 2500, 3500, 4500]
    ring.append(4600, (7, -7))
    assert ring.rows().series["up"] == [3, 4, 5, 6, 7]
