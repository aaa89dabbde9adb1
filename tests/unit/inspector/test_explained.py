from __future__ import annotations

import msgspec
import pytest

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.inspector import Entry, Group, Problems, Selection
from sockudo.inspector.explained import explained, fits, read_kinds, read_selection


def _refused(at: int, **fields: object) -> Entry:
    entry = Entry(at, "subscribe_refused", "a", "private-harbor", "1.2", "ana", error="channel_auth_invalid", code=4009)
    return msgspec.structs.replace(entry, **fields)


def _group(*entries: Entry) -> Group:
    problems = Problems()
    for entry in entries:
        problems.add(entry)
    [group] = problems.groups()
    return group


def test_a_selection_is_read_from_parameters() -> None:
    given = {"channel": "harbor", "user_id": "", "socket_id": "1.2", "kinds": " closed, connected ,"}
    assert read_selection("a", given) == Selection("a", "harbor", None, "1.2", frozenset({"closed", "connected"}))
    assert read_selection(None, {}) == Selection()


@pytest.mark.parametrize(
    ("app_id", "given", "said"),
    [
        ("a", {"kinds": "closed,close"}, "There is no kind 'close'. Kinds are: connected, "),
        (None, {"user_id": "ana"}, "add app_id"),
        (None, {"socket_id": "1.2"}, "add app_id"),
        ("a", {"channel": "x" * 513}, "channel has over 512 characters"),
    ],
)
def test_what_cannot_be_selected(app_id: str | None, given: dict[str, str], said: str) -> None:
    with pytest.raises(SockudoError, match=said) as refused:
        read_selection(app_id, given)
    assert refused.value.spec is errors.INVALID_INPUT


@pytest.mark.parametrize(
    ("kinds", "text", "found"),
    [
        (None, "", True),
        ("subscribe_refused,closed", "", True),
        ("closed", "", False),
        (None, "4009", True),
        (None, "channel_auth_invalid", True),
        (None, "PRIVATE-harbor ana", True),
        (None, "subscribe refused", True),
        (None, "signed for another", True),
        (None, "requires authentication", True),
        (None, "private-pier", False),
    ],
)
def test_groups_are_found_by_what_is_shown_of_them(kinds: str | None, text: str, found: bool) -> None:
    group = _group(_refused(5, cause="signed for another connection: socket_id 3.4"))
    assert fits(group, read_kinds(kinds), text.lower().split()) is found


def test_a_group_is_explained_by_the_catalogue() -> None:
    group = _group(*(_refused(at, cause="signed with another secret") for at in (5, 6, 7)))
    value = msgspec.to_builtins(explained(group, 2))
    assert [entry["at"] for entry in value.pop("last")] == [7, 6]
    row = value.pop("explanation")
    assert row["slug"] == "channel_auth_invalid"
    assert row["meaning"] == errors.CHANNEL_AUTH_INVALID.meaning
    assert row["remedy"] == errors.CHANNEL_AUTH_INVALID.remedy
    assert value == {
        "app_id": "a",
        "kind": "subscribe_refused",
        "error": "channel_auth_invalid",
        "code": 4009,
        "cause": "signed with another secret",
        "count": 3,
        "first_at": 5,
        "last_at": 7,
    }


def test_an_error_that_the_catalogue_does_not_know_has_no_explanation() -> None:
    assert explained(_group(_refused(5, error="of another version")), 2)["explanation"] is None
