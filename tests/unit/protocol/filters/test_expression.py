"""One expression over the life of a subscription: evaluated once per message, never raising, given up in the end."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sockudo import errors
from sockudo.protocol.filters.expression import Expression
from sockudo.protocol.filters.message import MessageView
from sockudo.protocol.frames import Frame

# Goes off where data is a list with something in it.
BOMB = "|".join(["data", *["[@,@,@,@][]"] * 12])


class Reports:
    """Collects what a view reports."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def view(self, data: Any = None, **fields: Any) -> MessageView:
        return MessageView(
            Frame("quote", "news", msgspec.Raw(msgspec.json.encode(data)), **fields),
            lambda *each: self.seen.append(each),
        )


@pytest.fixture
def reports() -> Reports:
    return Reports()


def test_a_broken_source_is_refused() -> None:
    with pytest.raises(errors.SockudoError) as refused:
        Expression("a [")
    assert refused.value.spec is errors.FILTER_INVALID


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("data.total > `5`", True),
        ("data.total > 'a'", False),
        ("!(data.total > 'a')", True),
        ("data.total == `9`", True),
        ("`0`", True),
        ("data.zero", True),
        ("''", False),
        ("`[]`", False),
        ("`{}`", False),
        ("`false`", False),
        ("`null`", False),
        ("&data", False),
        ("@", True),
        ("extras", False),
        ("event == 'quote' && channel == 'news' && !action", True),
    ],
)
def test_truth_decides(source: str, expected: bool, reports: Reports) -> None:
    view = reports.view({"total": 9, "zero": 0})
    assert Expression(source).matches(view, "p1") is expected
    assert reports.seen == []


@pytest.mark.parametrize("source", ["nofunc(@)", "length(tags, tags)", "abs('x')", "max_by(@, &x)", "min_by(data, &@)"])
def test_what_cannot_be_evaluated_does_not_match_and_is_reported(source: str, reports: Reports) -> None:
    expression = Expression(source)
    assert not expression.matches(reports.view([1, "a"]), "p1")
    assert reports.seen == [("evaluation", "p1")]
    assert not expression.tripped


def test_a_message_that_cannot_be_shown_does_not_match(reports: Reports) -> None:
    expression = Expression("event")
    assert not expression.matches(reports.view("x" * 70_000), "p1")
    assert not expression.matches(reports.view(extras={"headers": {"a": None}}), "p1")
    assert reports.seen == [("too_large", "p1"), ("unprojectable", "p1")]
    assert expression.matches(reports.view(), "p1")


def test_without_anybody_to_report_to() -> None:
    assert not Expression("nofunc(@)").matches(MessageView(Frame("quote")), "p1")


def test_a_message_is_evaluated_once(reports: Reports) -> None:
    expression, other = Expression("nofunc(@)"), Expression("nofunc(@)")
    view = reports.view()
    assert [expression.matches(view, "p1") for _ in range(1000)] == [False] * 1000
    assert reports.seen == [("evaluation", "p1")]
    assert not other.matches(view, "p2")
    assert reports.seen == [("evaluation", "p1"), ("evaluation", "p2")]


def test_the_third_exhausted_budget_in_a_row_is_final(reports: Reports) -> None:
    expression = Expression(BOMB)
    assert expression.matches(reports.view([]), "p1") is False
    for number in range(3):
        assert not expression.tripped, number
        assert not expression.matches(reports.view([1]), "p1")
    assert expression.tripped
    assert not expression.matches(reports.view([1]), "p1")
    assert not expression.matches(reports.view([]), "p1")
    assert reports.seen == [("budget", "p1"), ("budget", "p1"), ("tripped", "p1")]


def test_a_tripped_expression_matches_nothing_that_it_matched_before(reports: Reports) -> None:
    expression = Expression(f"event == 'quote' && (!data || ({BOMB}))")
    assert expression.matches(reports.view(), "p1")
    for _ in range(3):
        expression.matches(reports.view([1]), "p1")
    assert not expression.matches(reports.view(), "p1")


def test_only_a_row_counts(reports: Reports) -> None:
    expression = Expression(f"{BOMB} || abs(event)")
    for _ in range(5):
        expression.matches(reports.view([1]), "p1")
        expression.matches(reports.view([1]), "p1")
        # Nothing is doubled here, but there is no absolute value of a text.
        expression.matches(reports.view([]), "p1")
    assert not expression.tripped
    assert reports.seen == [("budget", "p1"), ("budget", "p1"), ("evaluation", "p1")] * 5


def test_one_message_counts_once_for_all_its_subscribers(reports: Reports) -> None:
    expression = Expression(BOMB)
    view = reports.view([1])
    for _ in range(10):
        expression.matches(view, "p1")
    assert not expression.tripped
