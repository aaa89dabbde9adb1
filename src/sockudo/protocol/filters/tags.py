"""The tag part of a filter: a tree of comparisons, made into one test (spec: filters-deltas § 1.2 and 1.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from sockudo.protocol.filters.limits import (
    MAX_REPEATED_VALUES,
    MAX_TAG_DEPTH,
    MAX_TAG_KEY,
    MAX_TAG_NODES,
    MAX_TAG_VALUE,
    MAX_TAG_VALUES,
    invalid,
    longer,
)
from sockudo.protocol.filters.message import MessageView
from sockudo.protocol.filters.values import decimal

__all__ = ["TagForm", "TagTest", "compile_tags"]

TagTest: TypeAlias = Callable[[MessageView], bool]

TagForm: TypeAlias = list[Any]
"""A tree in its normal form, as JSON: the same for filters that differ in nothing that matters."""

_compact = msgspec.json.Encoder().encode


def compile_tags(root: Any) -> tuple[TagForm, TagTest]:
    """The normal form and the test of a tag tree, which is decoded JSON of any shape.

    Raises errors.FILTER_INVALID for a wrong shape and for everything beyond the limits, before more than
    `MAX_TAG_NODES` nodes were looked at.
    """
    # Breadth first: the children of a node are neighbours and come after it.
    nodes: list[tuple[Any, int]] = [(root, 1)]
    children: list[range] = []
    for node, depth in nodes:
        below = _children(node)
        if below and depth == MAX_TAG_DEPTH:
            raise invalid(f"Invalid subscription filter: tag filter exceeds the depth limit of {MAX_TAG_DEPTH}")
        first = len(nodes)
        if first + len(below) > MAX_TAG_NODES:
            raise invalid(f"Invalid subscription filter: tag filter exceeds the node limit of {MAX_TAG_NODES}")
        nodes.extend((child, depth + 1) for child in below)
        children.append(range(first, len(nodes)))

    compiled: list[tuple[TagForm, TagTest]] = []
    for (node, _), places in zip(reversed(nodes), reversed(children), strict=True):
        if places:
            # Compiled from the last node to the first, so the child at place p is that many from the end.
            below = [compiled[len(nodes) - 1 - place] for place in places]
            forms = [form for form, _ in below]
            compiled.append(([node["op"], forms], _branch(node["op"], [test for _, test in below])))
        else:
            compiled.append(_leaf(node))
    return compiled[-1]


def _children(node: Any) -> list[Any]:
    """The child nodes of a branch that is well formed so far as it alone goes, and none for a leaf."""
    if not isinstance(node, dict):
        raise invalid("Invalid tags filter shape: a node must be an object")
    op: str | None = _field(node, "op", str)
    nodes: list[Any] | None = _field(node, "nodes", list)
    if op is None:
        if nodes:
            raise invalid("Invalid subscription filter: invalid tag filter: comparison node contains child nodes")
        return []
    if op not in ("and", "or", "not"):
        raise invalid("Invalid tags filter: unknown logical operator")
    if any(node.get(name) is not None for name in ("key", "cmp", "val")) or _field(node, "vals", list):
        raise invalid("Invalid subscription filter: invalid tag filter: logical node contains comparison fields")
    if not nodes:
        raise invalid(f"Invalid tags filter: {op} operation requires at least one child node")
    if op == "not" and len(nodes) != 1:
        raise invalid(f"Invalid tags filter: not operation requires exactly one child node, got {len(nodes)}")
    return nodes


def _field(node: dict[str, Any], name: str, kind: type) -> Any:
    """A known field of a node; null is as good as absent."""
    value = node.get(name)
    if value is not None and not isinstance(value, kind):
        raise invalid(f"Invalid tags filter shape: {name} must be {'an array' if kind is list else 'a string'}")
    return value


def _leaf(node: dict[str, Any]) -> tuple[TagForm, TagTest]:
    key = _field(node, "key", str)
    cmp = _field(node, "cmp", str)
    values = _field(node, "vals", list)
    if not key:
        raise invalid("Invalid tags filter: Leaf node requires a non-empty key")
    if longer(key, MAX_TAG_KEY):
        raise invalid(f"Invalid subscription filter: tag filter key exceeds the byte limit of {MAX_TAG_KEY}")
    if cmp is None:
        raise invalid("Invalid tags filter: Leaf node requires a comparison operator")
    if make_plain := _PLAIN.get(cmp):
        return [cmp, key], make_plain(key)
    if make_single := _SINGLE.get(cmp):
        value = _text(node.get("val")) if node.get("val") is not None else ""
        if not value:
            raise invalid(f"Invalid tags filter: {cmp} operation requires a non-empty val")
        return [cmp, key, value], make_single(key, value)
    if make_listed := _LISTED.get(cmp):
        different = _different(values or ())
        if not different:
            raise invalid(f"Invalid tags filter: {cmp} operation requires at least one value in vals")
        return [cmp, key, sorted(different)], make_listed(key, different)
    raise invalid("Invalid tags filter: unknown comparison operator")


def _text(value: Any) -> str:
    """A value of a filter as the text it is compared with: there is no comparison by type."""
    try:
        text = value if isinstance(value, str) else _compact(value).decode()
    except (TypeError, ValueError, OverflowError, RecursionError):
        # Not JSON at all, or nested deeper than any frame can be.
        raise invalid("Invalid tags filter shape: a value cannot be converted to text") from None
    if longer(text, MAX_TAG_VALUE):
        raise invalid(f"Invalid subscription filter: tag filter value exceeds the byte limit of {MAX_TAG_VALUE}")
    return text


def _different(values: Sequence[Any]) -> frozenset[str]:
    if len(values) <= MAX_REPEATED_VALUES:
        different = frozenset(map(_text, values))
        if len(different) <= MAX_TAG_VALUES:
            return different
    raise invalid(f"Invalid subscription filter: tag filter value list exceeds the limit of {MAX_TAG_VALUES}")


def _branch(op: str, tests: list[TagTest]) -> TagTest:
    if op == "not":
        (test,) = tests
        return lambda message: not test(message)
    if len(tests) == 1:
        return tests[0]
    wanted = op == "or"

    def first_decides(message: MessageView) -> bool:
        for test in tests:
            if test(message) is wanted:
                return wanted
        return not wanted

    return first_decides


def _equal(key: str, value: str) -> TagTest:
    return lambda message: message.tags.get(key) == value


def _not_equal(key: str, value: str) -> TagTest:
    return lambda message: message.tags.get(key) != value


def _starts_with(key: str, value: str) -> TagTest:
    return lambda message: (tag := message.tags.get(key)) is not None and tag.startswith(value)


def _ends_with(key: str, value: str) -> TagTest:
    return lambda message: (tag := message.tags.get(key)) is not None and tag.endswith(value)


def _contains(key: str, value: str) -> TagTest:
    return lambda message: (tag := message.tags.get(key)) is not None and value in tag


def _never(_: MessageView) -> bool:
    return False


def _greater(key: str, value: str) -> TagTest:
    if (bound := decimal(value)) is None:
        return _never
    return lambda message: (number := message.number(key)) is not None and number > bound


def _greater_or_equal(key: str, value: str) -> TagTest:
    if (bound := decimal(value)) is None:
        return _never
    return lambda message: (number := message.number(key)) is not None and number >= bound


def _less(key: str, value: str) -> TagTest:
    if (bound := decimal(value)) is None:
        return _never
    return lambda message: (number := message.number(key)) is not None and number < bound


def _less_or_equal(key: str, value: str) -> TagTest:
    if (bound := decimal(value)) is None:
        return _never
    return lambda message: (number := message.number(key)) is not None and number <= bound


def _in(key: str, values: frozenset[str]) -> TagTest:
    return lambda message: message.tags.get(key) in values


def _not_in(key: str, values: frozenset[str]) -> TagTest:
    return lambda message: message.tags.get(key) not in values


def _exists(key: str) -> TagTest:
    return lambda message: key in message.tags


def _missing(key: str) -> TagTest:
    return lambda message: key not in message.tags


_PLAIN: Final[dict[str, Callable[[str], TagTest]]] = {"ex": _exists, "nex": _missing}
_SINGLE: Final[dict[str, Callable[[str, str], TagTest]]] = {
    "eq": _equal,
    "neq": _not_equal,
    "sw": _starts_with,
    "ew": _ends_with,
    "ct": _contains,
    "gt": _greater,
    "gte": _greater_or_equal,
    "lt": _less,
    "lte": _less_or_equal,
}
_LISTED: Final[dict[str, Callable[[str, frozenset[str]], TagTest]]] = {"in": _in, "nin": _not_in}
