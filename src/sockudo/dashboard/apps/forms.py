"""A form for fields of a policy: how it is filled in, what was changed in it, and what is wrong with that.

Each field also sends what it held when the page was made. So only what the operator changed is changed, and after
a conflict the form can show both: what they wanted, and what it is by now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

import msgspec

from sockudo.config import Settings
from sockudo.config.app_reader import app_to_builtins
from sockudo.config.app_shape import field_default
from sockudo.config.apps import App, Policy
from sockudo.config.origins import why_unmatched
from sockudo.config.problems import ConfigError
from sockudo.dashboard.apps.desk import WHERE, FieldProblem
from sockudo.dashboard.apps.fields import TABS, Field, Tab, fields_of
from sockudo.dashboard.asked import Form
from sockudo.protocol.json_text import syntax_problem

__all__ = ["FieldView", "GroupView", "PolicyForm"]

# Beside each field of a form, what it held.
_WAS = "was."


@dataclass(frozen=True, slots=True)
class FieldView:
    """A field as a template shows it. ``now`` is what the record holds, where another operator has changed it.

    ``warnings`` are about what is allowed and may surprise.
    """

    field: Field
    value: str
    was: str
    default: str
    problem: str | None = None
    now: str | None = None
    warnings: list[str] = dataclass_field(default_factory=list)

    @property
    def name(self) -> str:
        """Of the input, and its id."""
        return self.field.path

    @property
    def was_name(self) -> str:
        """Of the input that is not seen."""
        return f"{_WAS}{self.field.path}"


@dataclass(frozen=True, slots=True)
class GroupView:
    """Fields under a heading."""

    title: str
    text: str
    fields: list[FieldView]


class PolicyForm:
    """The form of one tab: fresh from a record, or as it was sent."""

    def __init__(self, tab: Tab, record: App, sent: Form | None = None) -> None:
        self._tab = tab
        self._now = {field.path: _shown(field, record) for field in fields_of(tab)}
        self._typed = dict(self._now) if sent is None else {f.path: _clean(f, sent.get(f.path)) for f in fields_of(tab)}
        self._was = (
            dict(self._now)
            if sent is None
            else {field.path: _clean(field, sent.get(_WAS + field.path)) for field in fields_of(tab)}
        )

    def values(self) -> dict[str, Any]:
        """What was changed, by path below ``policy``, for `sockudo.apps.edits.with_values`.

        Raises ConfigError for JSON that is none.
        """
        found: dict[str, Any] = {}
        problems: list[str] = []
        for field in fields_of(self._tab):
            typed = self._typed[field.path]
            if typed == self._was[field.path]:
                continue
            try:
                found[field.path] = _value(field, typed)
            except msgspec.DecodeError as error:
                detail, at = syntax_problem(error, typed.encode())
                problems.append(f"{WHERE}: policy.{field.path} is no JSON: {detail} at byte {at}")
        if problems:
            raise ConfigError(problems)
        return found

    def view(self, settings: Settings, problems: Iterable[FieldProblem] = ()) -> list[GroupView]:
        """The groups of the tab; untouched fields show what the record holds now."""
        texts = _by_field(self._tab, problems)
        return [
            GroupView(group.title, group.text, [self._view(field, settings, texts) for field in group.fields])
            for group in TABS[self._tab]
        ]

    def _view(self, field: Field, settings: Settings, texts: Mapping[str, str]) -> FieldView:
        path = field.path
        now, was, typed = self._now[path], self._was[path], self._typed[path]
        touched = typed != was
        value = typed if touched else now
        return FieldView(
            field,
            value,
            now,
            field.default(settings) if field.kind in ("number", "choice") else "",
            texts.get(path),
            now or "nothing" if touched and now not in (was, typed) else None,
            _unmatched(value) if path == "channels.allowed_origins" else [],
        )


def _unmatched(lines: str) -> list[str]:
    """The warnings about origins that no page has."""
    reasons = ((pattern, why_unmatched(pattern)) for pattern in lines.split("\n"))
    return [f"No page can match {pattern}: it {why}." for pattern, why in reasons if why]


def _by_field(tab: Tab, problems: Iterable[FieldProblem]) -> dict[str, str]:
    """Problems by the field that they are shown beside: a part of one counts for the whole."""
    texts: dict[str, str] = {}
    for path, text in problems:
        if path is None:
            continue
        below = path.removeprefix("policy.")
        for field in fields_of(tab):
            if below == field.path or below.startswith((f"{field.path}.", f"{field.path}[")):
                rest = below[len(field.path) :]
                texts[field.path] = "; ".join(filter(None, (texts.get(field.path), f"{rest} {text}".strip())))
    return texts


def _shown(field: Field, record: App) -> str:
    """What a record holds, as the form has it; empty for the default."""
    value: Any = app_to_builtins(record)["policy"]
    for name in field.path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    match field.kind:
        case "switch":
            return "on" if value else ""
        case "choice":
            return "" if value is None else "on" if value else "off"
        case "lines":
            return "\n".join(value or ())
        case "json":
            return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() if value else ""
    # What no one has set is the default, and stands where the form says what that is.
    unset = value is None or (field.server is None and value == field_default(Policy, field.path))
    return "" if unset else str(value)


def _clean(field: Field, text: str) -> str:
    """What was sent, with line ends and outer spaces as `_shown` has them."""
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").strip().split("\n")]
    return "\n".join(filter(None, lines)) if field.kind == "lines" else "\n".join(lines)


def _value(field: Field, text: str) -> Any:
    match field.kind:
        case "switch":
            return text == "on"
        case "choice":
            return text or None
        case "lines":
            return [line.strip() for line in text.split("\n")] if text else []
        case "json":
            return msgspec.json.decode(text) if text else None
    return text or None
