"""The expression part of a predicate, and when it is given up (contract 60 § 1.9 and 1.11)."""

from __future__ import annotations

from typing import Final

from sockudo.protocol.filters.budget import BudgetExceededError
from sockudo.protocol.filters.grammar import parse
from sockudo.protocol.filters.interpreter import Interpreter
from sockudo.protocol.filters.message import MessageView, ProjectionError
from sockudo.protocol.filters.values import truthy

__all__ = ["Expression"]

_MAX_OVERRUNS: Final = 3


class Expression:
    """One compiled expression. Whatever goes wrong with it is no match; the third exhausted budget in a row is final.

    Raises errors.FILTER_INVALID for a source that is no expression, or too large.
    """

    __slots__ = ("_interpreter", "_overruns", "_tree")

    def __init__(self, source: str) -> None:
        self._tree = parse(source)
        self._interpreter = Interpreter()
        self._overruns = 0

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
                verdict, failure = self._evaluate(message)
            message.verdicts[self] = verdict
            if failure is not None and message.on_error is not None:
                message.on_error(failure, predicate_id)
        return verdict

    def _evaluate(self, message: MessageView) -> tuple[bool, str | None]:
        """The verdict, and why there is none."""
        try:
            result = self._interpreter.evaluate(self._tree, message.document())
        except ProjectionError as problem:
            return False, problem.reason
        except BudgetExceededError:
            self._overruns += 1
            return False, "tripped" if self.tripped else "budget"
        except Exception:  # noqa: BLE001 - what an expression makes Python raise is its own failure, and is reported
            self._overruns = 0
            return False, "evaluation"
        self._overruns = 0
        return truthy(result), None
