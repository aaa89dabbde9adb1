"""JMESPath text to a syntax tree, within the limits (spec: filters-deltas § 1.5, 1.6 and 1.11)."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import msgspec
from jmespath.exceptions import JMESPathError, LexerError  # type: ignore[import-untyped]
from jmespath.lexer import Lexer  # type: ignore[import-untyped]
from jmespath.parser import ParsedResult, Parser  # type: ignore[import-untyped]

from sockudo.protocol.filters.limits import MAX_AST_DEPTH, MAX_AST_NODES, MAX_EXPRESSION, invalid, longer
from sockudo.protocol.json_text import too_deep

__all__ = ["Node", "parse"]

Node: TypeAlias = dict[str, Any]
"""One node of the library's syntax tree: type, children, and a value where the type has one."""

_MAX_NESTING: Final = 128

_decode = msgspec.json.Decoder().decode


def parse(source: str) -> Node:
    """The syntax tree of an expression. Raises errors.FILTER_INVALID for everything that is not one, or too large."""
    if longer(source, MAX_EXPRESSION):
        raise invalid(f"Invalid subscription filter: JMESPath expression exceeds the byte limit of {MAX_EXPRESSION}")
    try:
        tree: Node = _BoundedParser().tree(source)
    except _NestedTooDeepError:
        raise invalid(
            f"Invalid subscription filter: JMESPath expression is nested more than {_MAX_NESTING} levels deep"
        ) from None
    except RecursionError:
        raise invalid("Invalid subscription filter: JMESPath expression is nested too deep") from None
    except JMESPathError as error:
        at = getattr(error, "lex_position", 0)
        raise invalid(f"Invalid subscription filter: invalid JMESPath expression at character {at}") from None
    _check_size(tree)
    return tree


class _NestedTooDeepError(Exception):
    """The parser would need more of Python's stack than it gets."""


class _StrictLexer(Lexer):  # type: ignore[misc]
    """Reads literals as JSON and nothing else: no bare words, no NaN."""

    def _consume_literal(self) -> dict[str, Any]:
        start = self._position
        text = self._consume_until("`").replace("\\`", "`")
        try:
            encoded = text.encode()
            value = None if too_deep(encoded) is not None else (_decode(encoded),)
        except (msgspec.DecodeError, UnicodeEncodeError):
            value = None
        if value is None:
            raise LexerError(lexer_position=start, lexer_value=text, message="Bad literal")
        return {"type": "literal", "value": value[0], "start": start, "end": self._position}


class _BoundedParser(Parser):  # type: ignore[misc]
    """The library's parser without its cache, which clients could fill, and with an end to its recursion."""

    def tree(self, source: str) -> Node:
        self._depth = 0
        parsed: Node = self._do_parse(source).parsed
        return parsed

    def _parse(self, expression: str) -> Any:
        self._tokens = list(_StrictLexer().tokenize(expression))
        self._index = 0
        parsed = self._expression(binding_power=0)
        if self._current_token() != "eof":
            self._raise_parse_error_for_token(self._lookahead_token(0), "unexpected token")
        return ParsedResult(expression, parsed)

    def _expression(self, binding_power: int = 0) -> Node:
        # Every way down leads through here: brackets of all kinds, prefixes, chains of projections.
        if self._depth > _MAX_NESTING:
            raise _NestedTooDeepError
        self._depth += 1
        node: Node = super()._expression(binding_power)
        self._depth -= 1
        return node


def _check_size(tree: Node) -> None:
    """Counts nodes as the specification does, which has others for some things than the library
    (spec: filters-deltas § 1.6)."""
    nodes = deepest = 0
    pending = [(tree, 1)]
    while pending:
        node, depth = pending.pop()
        deepest = max(deepest, depth)
        kind, children = node["type"], node["children"]
        if kind in ("subexpression", "index_expression"):
            # One node with many children here, nested pairs there; an index alone has no left side there.
            links = children[1:] if children[0]["type"] == "identity" else children
            nodes += len(links) - 1
            pending.append((links[0], depth + len(links) - 1))
            pending.extend((link, depth + len(links) - at) for at, link in enumerate(links[1:], 1))
        elif kind == "value_projection":
            nodes += 2
            pending += [(children[0], depth + 2), (children[1], depth + 1)]
        elif kind == "filter_projection":
            nodes += 2
            pending += [(children[0], depth + 1), (children[1], depth + 2), (children[2], depth + 2)]
        elif kind == "key_val_pair":
            pending.append((children[0], depth))
        else:
            nodes += 1
            if kind != "slice":
                pending.extend((child, depth + 1) for child in children)
    if nodes > MAX_AST_NODES:
        raise invalid(f"Invalid subscription filter: JMESPath expression exceeds the AST node limit of {MAX_AST_NODES}")
    if deepest > MAX_AST_DEPTH:
        raise invalid(
            f"Invalid subscription filter: JMESPath expression exceeds the AST depth limit of {MAX_AST_DEPTH}"
        )
