"""Values as operators and expressions take them: numbers in tags, truth and equality of JSON."""

from __future__ import annotations

import re
from typing import Any, Final

__all__ = ["decimal", "equal", "is_number", "truthy"]

_DECIMAL: Final = re.compile(
    r"[+-]?(?:(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:e[+-]?[0-9]++)?|inf(?:inity)?|nan)", re.ASCII | re.IGNORECASE
)


def decimal(text: str) -> float | None:
    """The number that a tag stands for, None where it stands for none (spec: filters-deltas § 1.3)."""
    return float(text) if _DECIMAL.fullmatch(text) else None


def is_number(value: Any) -> bool:
    """Whether a decoded JSON value is a number: to Python, true and false are numbers too."""
    return value.__class__ is int or value.__class__ is float


def truthy(value: Any) -> bool:
    """JMESPath's truth: null, false and what is empty are false, 0 is true.

    So is everything that is not a JSON value: an expression reference is no answer.
    """
    kind = value.__class__
    if kind is str or kind is list or kind is dict:
        return bool(value)
    return value is True or kind is int or kind is float


def equal(left: Any, right: Any) -> bool:
    """Equality of decoded JSON values. Unlike Python's, it never takes true for 1."""
    if left != right:
        return False
    pairs = [(left, right)]
    for one, other in pairs:
        if one is other:
            continue
        if isinstance(one, bool) is not isinstance(other, bool):
            return False
        if isinstance(one, list):
            pairs.extend(zip(one, other, strict=True))
        elif isinstance(one, dict):
            pairs.extend((value, other[key]) for key, value in one.items())
    return True
