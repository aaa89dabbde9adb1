"""What a node knows of the reports of a place: which of two is newer, and what is in doubt."""

from __future__ import annotations

import pytest

from sockudo.publishing.recorder_items import Reported, Role, covers, whole
from sockudo.publishing.roster_items import COUNT
from sockudo.publishing.topics import Place

PLACE = Place("app", "presence-room")


def role(*users: str, occupied: bool = True, **seen: int) -> Role:
    made = Role()
    made.merge(report(*users, occupied=occupied, **seen))
    return made


def report(*users: str, occupied: bool = True, **seen: int) -> Reported:
    return Reported(*PLACE, users, (), len(users), occupied, whole=True, seen=seen)


def test_what_is_newer_replaces_what_is_known() -> None:
    known = role("ana", a=1)
    assert known.merge(report("ben", a=2, b=1))
    assert (list(known.reported), known.count, known.seen) == (["ben"], 1, {"a": 2, "b": 1})
    assert not known.doubted


@pytest.mark.parametrize("seen", [{"a": 2}, {"a": 1, "b": 1}, {}])
def test_what_is_older_changes_nothing(seen: dict[str, int]) -> None:
    known = role("ana", a=2, b=1)
    assert not known.merge(report("ben", **seen))
    assert list(known.reported) == ["ana"]


def test_where_two_have_reported_the_difference_is_doubted() -> None:
    known = role("ana", "ben", a=2)
    assert known.merge(report("ben", "cleo", a=1, b=1))
    assert known.doubted == {"ana", "cleo"}
    assert known.seen == {"a": 2, "b": 1}


def test_one_has_vacated_what_the_other_has_not() -> None:
    known = role("ana", a=1)
    known.merge(report(b=1, occupied=False))
    assert known.doubted == {"ana", COUNT}
    assert known.count not in (0, 1)


def test_a_doubt_is_passed_on_and_ends_with_the_next_report() -> None:
    known = role("ana", a=1)
    known.merge(report("ben", b=1))
    other = role("ana", a=1)
    assert other.merge(whole(PLACE, known))
    assert other.doubted == {"ana", "ben"}
    other.follow(Reported(*PLACE, ("ben",), ("ana",), 1, True, seen={"a": 2}, after=other.seen))
    assert not other.doubted
    assert (list(other.reported), other.seen) == (["ben"], {"a": 2, "b": 1})


def test_those_that_recorded_a_place_last_are_counted() -> None:
    known = Role()
    for number in range(1, 20):
        known.note(f"n{number}", number)
    known.note("n12", 20)
    assert list(known.seen) == [*(f"n{number}" for number in range(13, 20)), "n12"]
    assert covers(known.seen, {"n12": 20, "n19": 19})
    assert not covers(known.seen, {"n1": 1})
