"""Evaluation of a JMESPath tree over decoded JSON, with an end to it (spec: filters-deltas § 1.5 and 1.11)."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec
from jmespath.functions import Functions, signature  # type: ignore[import-untyped]
from jmespath.visitor import Options, TreeInterpreter  # type: ignore[import-untyped]

from sockudo.protocol.filters.budget import Budget, BudgetExceededError
from sockudo.protocol.filters.grammar import Node
from sockudo.protocol.filters.limits import WORK_UNITS
from sockudo.protocol.filters.values import equal, is_number, truthy

__all__ = ["Interpreter"]

_ORDERINGS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}
_JSON_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*+)(\.[0-9]++)?(e[+-]?[0-9]++)?", re.ASCII | re.IGNORECASE)
_MAX_INTEGER: Final = 4300
"""Digits that Python reads."""

_compact = msgspec.json.Encoder().encode


class _BoundedFunctions(Functions):  # type: ignore[misc]
    """The functions of the language. Arguments and results are paid for; five are put right."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def call_function(self, function_name: str, resolved_args: list[Any]) -> Any:
        for argument in resolved_args:
            self._budget.charge(argument)
        result = super().call_function(function_name, resolved_args)
        self._budget.charge(result)
        return result

    @signature({"types": ["array", "string"]}, {"types": []})  # type: ignore[untyped-decorator]
    def _func_contains(self, subject: list[Any] | str, search: Any) -> bool:
        if isinstance(subject, list):
            return any(equal(element, search) for element in subject)
        if not isinstance(search, str):
            return False
        # Python looks for short texts in quadratic time.
        self._budget.spend(len(subject) * min(len(search), 100) >> 10)
        return search in subject

    @signature({"types": ["string"]}, {"types": ["array-string"]})  # type: ignore[untyped-decorator]
    def _func_join(self, separator: str, array: list[str]) -> str:
        self._budget.spend(len(separator) * len(array) >> 6)
        return separator.join(array)

    @signature({"types": ["object"], "variadic": True})  # type: ignore[untyped-decorator]
    def _func_merge(self, *arguments: Any) -> dict[str, Any]:
        # The library looks at the first one only, and Python makes an object of a list of pairs.
        for argument in arguments[1:]:
            self._type_check_single(argument, ["object"], "merge")
        merged: dict[str, Any] = super()._func_merge(*arguments)
        return merged

    @signature({"types": []})  # type: ignore[untyped-decorator]
    def _func_to_string(self, arg: Any) -> str:
        return arg if isinstance(arg, str) else _compact(arg).decode()

    @signature({"types": []})  # type: ignore[untyped-decorator]
    def _func_to_number(self, arg: Any) -> int | float | None:
        if is_number(arg):
            number: int | float = arg
            return number
        if not isinstance(arg, str) or not (parts := _JSON_NUMBER.fullmatch(arg)):
            return None
        if parts[1] is None and parts[2] is None and len(arg) <= _MAX_INTEGER:
            return int(arg)
        return None if math.isinf(number := float(arg)) else number


class Interpreter(TreeInterpreter):  # type: ignore[misc]
    """Evaluates one tree at a time, each evaluation within `WORK_UNITS`; not to be entered twice at once."""

    def __init__(self) -> None:
        self.budget = Budget()
        super().__init__(Options(custom_functions=_BoundedFunctions(self.budget)))

    def evaluate(self, tree: Node, document: Any, limit: int = WORK_UNITS) -> Any:
        """The value of the expression, which may share parts with the document, for at most ``limit`` units of work.

        Raises BudgetExceededError, and what Python and the library raise for wrong types, unknown functions and
        wrong numbers of arguments.
        """
        self.budget.refill(limit)
        return self.visit(tree, document)

    def visit(self, node: Node, value: Any) -> Any:
        budget = self.budget
        budget.left -= 1
        if budget.left < 0:
            raise BudgetExceededError
        return _VISITS[node["type"]](self, node, value)

    def visit_comparator(self, node: Node, value: Any) -> bool | None:
        kind, children = node["value"], node["children"]
        left = self.visit(children[0], value)
        right = self.visit(children[1], value)
        if ordering := _ORDERINGS.get(kind):
            return ordering(left, right) if is_number(left) and is_number(right) else None
        self.budget.charge(left)
        self.budget.charge(right)
        return equal(left, right) is (kind == "eq")

    def visit_not_expression(self, node: Node, value: Any) -> bool:
        return not truthy(self.visit(node["children"][0], value))

    def visit_flatten(self, node: Node, value: Any) -> list[Any] | None:
        base = self.visit(node["children"][0], value)
        if not isinstance(base, list):
            return None
        self.budget.charge(base)
        merged: list[Any] = []
        for element in base:
            if isinstance(element, list):
                merged.extend(element)
            else:
                merged.append(element)
        return merged

    def visit_multi_select_list(self, node: Node, value: Any) -> Any:
        return self._paid(super().visit_multi_select_list(node, value))

    def visit_multi_select_dict(self, node: Node, value: Any) -> Any:
        return self._paid(super().visit_multi_select_dict(node, value))

    def visit_projection(self, node: Node, value: Any) -> Any:
        return self._paid(super().visit_projection(node, value))

    def visit_filter_projection(self, node: Node, value: Any) -> Any:
        return self._paid(super().visit_filter_projection(node, value))

    def visit_value_projection(self, node: Node, value: Any) -> Any:
        return self._paid(super().visit_value_projection(node, value))

    def _paid(self, value: Any) -> Any:
        self.budget.charge(value)
        return value

    def _is_false(self, value: Any) -> bool:
        return not truthy(value)


# Looked up once for all: the library keeps bound methods per interpreter, which only the garbage collector can free.
_VISITS: Final[dict[str, Callable[[Interpreter, Node, Any], Any]]] = {
    name.removeprefix("visit_"): getattr(Interpreter, name) for name in dir(Interpreter) if name.startswith("visit_")
}
