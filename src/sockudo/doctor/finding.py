"""What a check found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sockudo.errors import CATALOGUE, ErrorSpec

__all__ = ["Finding", "State", "not_checked", "ok", "problem", "warning"]

State = Literal["ok", "warning", "problem", "not_checked"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``seen`` is a sentence for people, ``advice`` is what to do, line by line.

    ``slug`` is the row of the error catalogue that explains more. ``facts`` are the numbers behind the sentence, for
    programs. ``check`` is set by the runner of the check.
    """

    state: State
    seen: str
    advice: tuple[str, ...] = ()
    slug: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    check: str = ""


def ok(seen: str, **facts: Any) -> Finding:
    """All is well."""
    return Finding("ok", seen, facts=facts)


def warning(seen: str, *advice: str, row: str | ErrorSpec | None = None, **facts: Any) -> Finding:
    """It works, but should be looked at. The advice of ``row`` stands where none is given."""
    return _finding("warning", seen, advice, row, facts)


def problem(seen: str, *advice: str, row: str | ErrorSpec | None = None, **facts: Any) -> Finding:
    """It does not work, or lets in what it must not. The advice of ``row`` stands where none is given."""
    return _finding("problem", seen, advice, row, facts)


def not_checked(reason: str, *advice: str) -> Finding:
    """It could not be looked at from here, for this ``reason``."""
    return Finding("not_checked", reason, advice)


def _finding(
    state: State, seen: str, advice: tuple[str, ...], row: str | ErrorSpec | None, facts: Mapping[str, Any]
) -> Finding:
    spec = CATALOGUE.get(row) if isinstance(row, str) else row
    if spec is None:
        return Finding(state, seen, advice, facts=facts)
    return Finding(state, seen, advice or (spec.remedy,), spec.slug, facts)
