"""Numbers in tags, truth and equality: what Python would do differently."""

from __future__ import annotations

import math
from typing import Any

import pytest

from sockudo.protocol.filters.values import decimal, equal, is_number, truthy


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("10", 10.0),
        ("+5", 5.0),
        ("-5", -5.0),
        ("1e3", 1000.0),
        ("1E-2", 0.01),
        ("1.5e+2", 150.0),
        ("5.", 5.0),
        (".5", 0.5),
        ("5.e1", 50.0),
        ("007", 7.0),
        ("inf", math.inf),
        ("-Infinity", -math.inf),
        ("+INF", math.inf),
        ("1e999", math.inf),
    ],
)
def test_what_is_a_number(text: str, number: float) -> None:
    assert decimal(text) == number


def test_not_a_number_is_one_too() -> None:
    assert math.isnan(decimal("nan") or 0.0)
    assert math.isnan(decimal("-NaN") or 0.0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 5",
        "5 ",
        "5\n",
        "1_000",
        "٣",
        "５",
        ".",
        "+",
        "e5",
        "1e",
        "1e+",
        "0x10",
        "1.2.3",
        "--1",
        "ınf",
        "nan1",
        "+.e1",
        "1e5.0",
    ],
)
def test_what_is_none(text: str) -> None:
    assert decimal(text) is None


def test_a_long_text_is_read_in_linear_time() -> None:
    assert decimal("1" * 100_000 + "x") is None
    assert decimal("1" * 100_000) == math.inf


@pytest.mark.parametrize("value", [None, False, "", [], {}, object()])
def test_what_is_false(value: Any) -> None:
    assert truthy(value) is False


@pytest.mark.parametrize("value", [True, 0, 0.0, -0.0, 1, " ", "false", [0], [None], {"a": None}])
def test_what_is_true(value: Any) -> None:
    assert truthy(value) is True


def test_true_and_false_are_no_numbers() -> None:
    assert [is_number(value) for value in (0, 1.5, True, False, "1", None)] == [True, True, False, False, False, False]


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (1, 1.0, True),
        (1, True, False),
        (0, False, False),
        (True, True, True),
        ([1], [True], False),
        ([0, [1]], [0, [1.0]], True),
        ({"a": [0]}, {"a": [False]}, False),
        ({"a": 1, "b": None}, {"b": None, "a": 1}, True),
        ({"a": None}, {}, False),
        ([1, 2], [2, 1], False),
        ("1", 1, False),
        (None, False, False),
        ([], {}, False),
    ],
)
def test_equality_of_json(left: Any, right: Any, same: bool) -> None:
    assert equal(left, right) is same
    assert equal(right, left) is same


def test_equality_of_something_shared_with_itself() -> None:
    shared: list[Any] = [True]
    for _ in range(50):
        shared = [shared, shared]
    assert equal(shared, shared)
