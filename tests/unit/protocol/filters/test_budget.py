"""What a value costs: every part of it as often as it occurs."""

from __future__ import annotations

from typing import Any

import pytest

from sockudo.protocol.filters.budget import Budget, BudgetExceededError
from sockudo.protocol.filters.limits import WORK_UNITS


def cost(value: Any) -> int:
    budget = Budget()
    budget.charge(value)
    return WORK_UNITS - budget.left


@pytest.mark.parametrize(
    ("value", "units"),
    [
        (None, 1),
        (5, 1),
        (1.5, 1),
        ("", 1),
        ("x" * 63, 1),
        ("x" * 640, 11),
        (2**2560, 11),
        (True, 1),
        ([], 1),
        ([1, 2, 3], 4),
        ([[1], [2, 3]], 6),
        ({"a": 1, "b": [2]}, 4),
        ({"k" * 640: 1}, 12),
    ],
)
def test_the_cost_of_a_value(value: Any, units: int) -> None:
    assert cost(value) == units


def test_shared_parts_count_each_time() -> None:
    part = ["x" * 64] * 10
    assert cost(part) == 1 + 10 + 10
    assert cost([part, part, {"a": part}]) == 1 + 3 + 3 * 20 + 1


def test_the_walk_ends_with_the_budget() -> None:
    value: Any = "x"
    for _ in range(200):
        value = [value, value]
    budget = Budget()
    with pytest.raises(BudgetExceededError):
        budget.charge(value)
    assert -3 < budget.left < 0


def test_spending() -> None:
    budget = Budget()
    budget.spend(WORK_UNITS)
    assert budget.left == 0
    with pytest.raises(BudgetExceededError):
        budget.spend(1)
    budget.refill()
    assert budget.left == WORK_UNITS
