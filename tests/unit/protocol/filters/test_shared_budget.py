"""The work on one message is bounded whatever the number of expressions, and ordinary ones go on beside large ones."""

from __future__ import annotations

import msgspec
import pytest

from sockudo.protocol.filters.expression import Expression
from sockudo.protocol.filters.limits import MESSAGE_UNITS, WORK_UNITS
from sockudo.protocol.filters.message import MessageView
from sockudo.protocol.filters.shared_budget import SMALL_UNITS, SharedBudget
from sockudo.protocol.frames import Frame

ORDINARY = "data.price > `10`"


def large(number: int, size: int = 70) -> str:
    """An expression of about 45,000 units that is true, unlike every other number's."""
    items = "`[" + ",".join(["1"] * size) + "]`"
    return f"length({items}[?length({items}[?@!=`{number + 2}`])>`9`])>`0`"


class Node:
    """Shows messages to expressions as an app does, and counts."""

    def __init__(self, units: int = MESSAGE_UNITS) -> None:
        self.units = units
        self.budget = SharedBudget(units)
        self.reports: list[tuple[str, str]] = []
        self.spent = 0

    def say(self, *expressions: Expression) -> list[bool]:
        frame = Frame("quote", "news", msgspec.Raw(b'{"price":12}'))
        self.reports.clear()
        self.budget.begin(frame, self.units)
        view = MessageView(frame, lambda *each: self.reports.append(each), self.budget)
        verdicts = [expression.matches(view, f"p{place}") for place, expression in enumerate(expressions)]
        self.spent = self.units - self.budget._for_large - self.budget._for_small
        return verdicts

    def reasons(self) -> set[str]:
        return {reason for reason, _ in self.reports}


def cost(source: str) -> int:
    node = Node(10 * WORK_UNITS)
    node.say(Expression(source))
    return node.spent


def test_the_large_one_of_these_tests_is_just_under_its_budget() -> None:
    assert 0.7 * WORK_UNITS < cost(large(0)) < WORK_UNITS
    assert cost(ORDINARY) < SMALL_UNITS / 2


def test_six_hundred_large_expressions_cost_no_more_than_the_work_for_one_message() -> None:
    node = Node()
    expressions = [Expression(large(number)) for number in range(600)]
    verdicts = node.say(*expressions)
    assert verdicts[0] is True
    assert not any(verdicts[2:])
    assert node.spent <= MESSAGE_UNITS
    assert node.reasons() == {"message_budget"}


def test_ordinary_ones_go_on_beside_large_ones() -> None:
    node = Node()
    expressions = [Expression(large(number)) for number in range(100)]
    assert node.say(*expressions, *[Expression(ORDINARY) for _ in range(500)])[100:] == [True] * 500


def test_those_that_take_the_most_trip_when_it_happens_again_and_again() -> None:
    node = Node()
    offenders = [Expression(large(number)) for number in range(3)]
    ordinary = Expression(ORDINARY)
    for _ in range(3):
        node.say(*offenders, ordinary)
    assert offenders[0].tripped
    assert not ordinary.tripped
    assert ("tripped", "p0") in node.reports
    node.say(*offenders, ordinary)
    assert ("message_budget", "p0") not in node.reports


def test_a_large_one_alone_is_within_its_rights() -> None:
    node = Node()
    alone = Expression(large(0))
    for _ in range(10):
        assert node.say(alone, Expression(ORDINARY)) == [True, True]
    assert not alone.tripped


@pytest.mark.parametrize("units", [0, 1, SMALL_UNITS, WORK_UNITS, MESSAGE_UNITS])
def test_never_more_than_there_is(units: int) -> None:
    budget = SharedBudget(units)
    spent = 0
    while limit := budget.limit():
        assert limit <= WORK_UNITS
        budget.spend(limit)
        spent += limit
    assert spent == units


def test_a_message_that_is_begun_again_goes_on_with_what_is_left() -> None:
    budget = SharedBudget()
    frame = Frame("quote", "news")
    budget.begin(frame, 1000)
    budget.spend(budget.limit())
    left = budget.limit()
    budget.begin(frame, 1000)
    assert budget.limit() == left
    budget.begin(Frame("quote", "news"), 1000)
    assert budget.limit() > left
