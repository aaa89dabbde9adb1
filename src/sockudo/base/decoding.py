"""Why a value is not of the type that was expected, in words of our own: a decoder's differ between its versions.

Taken from a decoder's sentence are only the names of types and of fields, which it puts between backticks, and bounds.
What it says of values stays where it is, so that nothing of a text is repeated.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import msgspec

__all__ = ["Mismatch", "mismatch"]

_QUOTED: Final = re.compile(r"`([^`]*)`")
_BOUND: Final = re.compile(r"[<>]=? ?-?[0-9]+(?:\.[0-9]+)?")
_SHOWN: Final = 100
_TYPES: Final = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "array": "array",
    "object": "object",
    "null": "null",
    "bytes": "bytes",
}


class Mismatch(NamedTuple):
    """``detail`` names what was expected and what was found, ``field`` where, such as ``items[2].name``, or None."""

    detail: str
    field: str | None

    def __str__(self) -> str:
        return self.detail if self.field is None else f"field '{self.field}': {self.detail}"


def mismatch(problem: msgspec.ValidationError) -> Mismatch:
    """What is wrong with the type of a value."""
    text = str(problem)
    quoted = _QUOTED.findall(text)
    path = quoted.pop() if quoted and quoted[-1].startswith("$") else "$"
    field = path.removeprefix("$").removeprefix(".") or None
    before, _, after = text.partition("`")
    if quoted and "missing" in before:
        return Mismatch(f"the required field '{quoted[0]}' is missing", field)
    if quoted and "unknown field" in before:
        return Mismatch(f"the field '{quoted[0][:_SHOWN]}' is not known", field)
    if "out of range" in before:
        return Mismatch("number out of range", field)
    kinds = [_named(word) for word in quoted[:2]]
    if not kinds or kinds[0] is None:
        return Mismatch("the value is none that is allowed", field)
    if len(kinds) > 1 and kinds[1] is not None:
        return Mismatch(f"expected {kinds[0]}, got {kinds[1]}", field)
    bound = _BOUND.search(after.partition("`")[2].partition("`")[0])
    return Mismatch(f"expected {kinds[0]}{'' if bound is None else f' {bound[0]}'}", field)


def _named(kinds: str) -> str | None:
    names = [_TYPES.get(kind.strip()) for kind in kinds.split("|")]
    return " or ".join(name for name in names if name is not None) if all(names) else None
