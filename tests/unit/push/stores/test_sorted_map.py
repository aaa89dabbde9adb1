"""Records in order in memory, against a plain dictionary."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sockudo.push.stores.sorted_map import Shelves, SortedMap

_CHANGES = st.lists(st.tuples(st.integers(0, 12), st.none() | st.integers()))


@given(_CHANGES, st.none() | st.integers(-1, 13), st.integers(0, 15))
def test_it_is_a_dictionary_in_order(changes: list[tuple[int, int | None]], key: int | None, limit: int) -> None:
    """Whatever was put and taken away, each view is what sorting the dictionary gives."""
    model: dict[int, int] = {}
    found: SortedMap[int, int] = SortedMap()
    for place, value in changes:
        if value is None:
            assert found.pop(place) == model.pop(place, None)
        else:
            model[place] = value
            found.put(place, value)
    assert len(found) == len(model)
    assert all((place in found) is (place in model) and found.get(place) == model.get(place) for place in range(13))
    assert found.values() == [model[place] for place in sorted(model)]
    assert found.after(key, limit) == [model[each] for each in sorted(model) if key is None or each > key][:limit]
    before = [each for each in sorted(model) if key is None or each < key]
    assert list(found.backwards(key)) == [model[each] for each in reversed(before)]
    if key is not None:
        assert found.up_to(key, limit) == [model[each] for each in before][:limit]
        assert found.take(key, limit) == [model.pop(each) for each in before[:limit]]
        assert found.values() == [model[each] for each in sorted(model)]


def test_shelves_say_when_a_name_begins_and_ends() -> None:
    shelves: Shelves[str, int] = Shelves()
    assert [shelves.put("a", key, 1) for key in ("x", "x", "y")] == [True, True, False]
    assert shelves["a"].values() == [1, 1]
    assert [shelves.pop("a", key) for key in ("z", "x", "x", "y", "y")] == [False, False, False, True, False]
    assert len(shelves["a"]) == len(shelves["unknown"]) == 0
