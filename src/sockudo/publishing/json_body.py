"""JSON bodies of requests: decoded into a type, or refused with what is wrong and where (spec: http-api § 5.1).

Nothing of a body is repeated in a refusal.
"""

from __future__ import annotations

import json
from collections.abc import Set as AbstractSet
from typing import Any, TypeVar

import msgspec

from sockudo import errors
from sockudo.base.decoding import mismatch
from sockudo.errors import SockudoError
from sockudo.protocol.json_text import MAX_NESTING, not_utf8, syntax_problem, too_deep

__all__ = ["Members", "check_text", "decode", "members", "refuse_repeats", "wrong_shape"]

Body = TypeVar("Body")
Members = list[tuple[str, Any]]
"""Names and values of an object in the order of the text, repeated names included."""

# Looks at the syntax alone.
_raw_decoder = msgspec.json.Decoder(msgspec.Raw)


def decode(decoder: msgspec.json.Decoder[Body], body: bytes) -> Body:
    """Raises errors.MALFORMED_JSON for bad syntax and errors.WRONG_SHAPE for JSON of another shape; nothing else.

    Of a repeated field it keeps the last without a word: see `refuse_repeats`.
    """
    check_text(body)
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as problem:
        # The first wrong type may come before the first wrong byte, which is the graver mistake.
        raise _syntax_error(body) or wrong_shape(str(mismatch(problem))) from None
    except msgspec.DecodeError as problem:
        raise _not_json(problem, body) from None


def check_text(body: bytes) -> None:
    """Refuses what the decoder passes over in parts that it does not return."""
    if (at := not_utf8(body)) is not None:
        raise _malformed(f"not UTF-8 at byte {at}")
    if (at := too_deep(body)) is not None:
        raise _malformed(f"nested more than {MAX_NESTING} levels deep at byte {at}")


def members(body: bytes) -> Members:
    """The members of a body that has been decoded before; objects within it are lists of members, too."""
    found: Members = json.loads(body, object_pairs_hook=list, parse_int=_any_number, parse_float=_any_number)
    return found


def refuse_repeats(given: Members, fields: AbstractSet[str], where: str = "") -> None:
    """Raises errors.WRONG_SHAPE when one of ``fields`` is there twice; ``where`` is added to its text."""
    seen: set[str] = set()
    for name, _ in given:
        if name in seen:
            raise wrong_shape(f"the field '{name}' is repeated{where}")
        if name in fields:
            seen.add(name)


def wrong_shape(detail: str) -> SockudoError:
    """The refusal for JSON that is sound but not what was expected."""
    return errors.WRONG_SHAPE(f"Wrong shape of the JSON body: {detail}")


def _syntax_error(body: bytes) -> SockudoError | None:
    try:
        _raw_decoder.decode(body)
    except msgspec.DecodeError as problem:
        return _not_json(problem, body)
    return None


def _not_json(problem: msgspec.DecodeError, body: bytes) -> SockudoError:
    detail, at = syntax_problem(problem, body)
    return _malformed(f"{detail} at byte {at}")


def _malformed(detail: str) -> SockudoError:
    return errors.MALFORMED_JSON(f"The body is not valid JSON: {detail}")


def _any_number(_: str) -> int:
    # Values do not matter here, and Python does not read integers of more than 4300 digits.
    return 0
