"""From a request to change a message to its answer (spec: messages § 4)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sockudo.publishing.changes import ChangeRequest, operation_of
from sockudo.publishing.versioned import data_of

REQUEST = ChangeRequest("append", "m", data="x", op_id="op")


def operation(**changes: Any) -> tuple[str, bytes]:
    return operation_of("app", "room", msgspec.structs.replace(REQUEST, **changes))


def test_an_operation_belongs_to_its_message_and_action() -> None:
    key, mark = operation()
    assert key.startswith("idempotency:mutation:v1:")
    assert operation() == (key, mark)
    assert operation_of("app", "other", REQUEST)[0] != key
    assert operation_of("else", "room", REQUEST)[0] != key
    for changes in ({"action": "update"}, {"message_serial": "n"}, {"op_id": "other"}):
        assert operation(**changes)[0] != key


@pytest.mark.parametrize(
    "changes",
    [
        {"data": "y"},
        {"data": None},
        {"data": msgspec.Raw(b'"x"')},
        {"name": "n"},
        {"extras": {"a": 1}},
        {"client_id": "u"},
        {"actor": "u"},
        {"description": "d"},
        {"metadata": msgspec.Raw(b"1")},
    ],
)
def test_everything_that_is_asked_for_counts(changes: dict[str, Any]) -> None:
    key, mark = operation()
    assert operation(**changes) == (key, operation(**changes)[1])
    assert operation(**changes)[1] != mark


def test_the_order_of_members_does_not_count() -> None:
    assert operation(extras={"a": 1, "b": 2}) == operation(extras={"b": 2, "a": 1})


def test_data_are_text_json_or_none() -> None:
    assert data_of("x") == "x"
    assert data_of(msgspec.Raw(b'"\\u00e9"')) == "é"
    assert data_of(msgspec.Raw(b"null")) is None
    assert data_of(None) is None
    assert data_of(msgspec.Raw(b'{"a":1}')) == msgspec.Raw(b'{"a":1}')
