"""What is wrong with a record, field by field: beside the fields of a form, and in a reply."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from sockudo import errors
from sockudo.config.problems import ConfigError
from sockudo.errors import SockudoError

__all__ = ["WHERE", "FieldProblem", "body_of", "failure_text", "problems_of"]

WHERE = "request"
"""How problems with a record begin that the dashboard was given."""

_LABEL = re.compile(rf"{WHERE}(?: \(app .*?\))?: ", re.DOTALL)
_FIELD = re.compile(r"(policy(?:\.[\w-]+|\[[^\]]*\])*|id|key|secret|enabled) (?=\S)")
_OF_SPEC = {errors.APP_EXISTS: "id", errors.APP_KEY_TAKEN: "key"}


class FieldProblem(NamedTuple):
    """``field`` is the dotted path in the record, None for what is about no single one."""

    field: str | None
    text: str


def problems_of(error: ConfigError | SockudoError) -> list[FieldProblem]:
    """One for each thing that is wrong."""
    if isinstance(error, SockudoError):
        return [FieldProblem(_OF_SPEC.get(error.spec), error.text)]
    return [_problem(text) for text in error.problems]


def failure_text(refusal: SockudoError) -> str:
    """Why a form was not carried out, above that form as it was filled in."""
    return f"{refusal.text.rstrip('.')}. What you filled in is still here. {refusal.spec.remedy}"


def _problem(text: str) -> FieldProblem:
    label = _LABEL.match(text)
    said = text[label.end() :] if label is not None else text
    field = _FIELD.match(said)
    return FieldProblem(None, said) if field is None else FieldProblem(field[1], said[field.end() :])


def body_of(problems: Iterable[FieldProblem]) -> dict[str, object]:
    """The envelope of errors for a record that is not allowed, with ``problems`` field by field."""
    found = list(problems)
    text = "; ".join(f"{field} {text}" if field else text for field, text in found)
    return {**errors.INVALID_INPUT(text).body(), "problems": [problem._asdict() for problem in found]}
