"""The expression part of a predicate, and when it is given up (spec: filters-deltas § 1.9 and 1.11)."""

from __future__ import annotations

from typing import Final

from sockudo.protocol.filters.budget import BudgetExceededError
from sockudo.protocol.filters.grammar import parse
from sockudo.protocol.filters.interpreter import Interpreter
from sockudo.protocol.filters.limits import WORK_UNITS
from sockudo.protocol.filters.message import MessageView, ProjectionError
from sockudo.protocol.filters.shared_budget import LARGE_UNITS
from sockudo.protocol.filters.values import truthy

__all__ = ["Expression"]

_MAX_OVERRUNS: Final = 3


class Expression:
    """One compiled expression. Any failure of it is no match; the third exhausted budget in a row is final.

    So is the third message in a row whose shared work ran out after this expression had taken much of it.

    Raises errors.FILTER_INVALID for a source that is no expression, or too large.
    """

    __slots__ = ("_interpreter", "_overruns", "_tree")

    def __init__(self, source: str) -> None:
        self._tree = parse(source)
        self._interpreter = Interpreter()
        self._overruns = 0

    def overran(self) -> bool:
        """It cost too much once more; whether that was once too often."""
        self._overruns += 1
        return self.tripped

    @property
    def tripped(self) -> bool:
        """Switched off: it matches nothing any more and costs nothing."""
        return self._overruns >= _MAX_OVERRUNS

    def matches(self, message: MessageView, predicate_id: str) -> bool:
        """Whether the expression is true of the message; evaluated at most once per message."""
        verdict = message.verdicts.get(self)
        if verdict is None:
            failure = None
            verdict = False
            if not self.tripped:
                verdict, failure = self._evaluate(message, predicate_id)
            message.verdicts[self] = verdict
            if failure is not None and message.on_error is not None:
                message.on_error(failure, predicate_id)
                if failure == "message_budget":
                    _hold_to_account(message)
        return verdict

    def _evaluate(self, message: MessageView, predicate_id: str) -> tuple[bool, str | None]:
        """The verdict, and why there is none."""
        shared, budget = message.budget, self._interpreter.budget
        limit = WORK_UNITS if shared is None else shared.limit()
        if not limit:
            return False, "message_budget"
        try:
            document = message.document()
        except ProjectionError as problem:
            return False, problem.reason
        verdict, failure = False, None
        try:
            verdict = truthy(self._interpreter.evaluate(self._tree, document, limit))
        except BudgetExceededError:
            failure = self._exhausted(limit)
        except Exception:  # noqa: BLE001 - what an expression makes Python raise is its own failure, and is reported
            failure = "evaluation"
        used = limit - max(budget.left, 0)
        if shared is not None:
            shared.spend(used)
        if used <= LARGE_UNITS:
            self._overruns = 0
        elif shared is not None and failure not in ("budget", "tripped"):
            shared.note_large(self, predicate_id)
        return verdict, failure

    def _exhausted(self, limit: int) -> str:
        if limit < WORK_UNITS:
            return "message_budget"
        return "tripped" if self.overran() else "budget"


def _hold_to_account(message: MessageView) -> None:
    """The message's work was used up: the evaluations that took the most of it count as exhausted budgets."""
    if message.budget is None:
        return
    for expression, predicate_id in message.budget.take_large().items():
        if expression.overran() and message.on_error is not None:
            message.on_error("tripped", predicate_id)
