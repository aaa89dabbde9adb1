"""``sockudo explain``: the rows of the error catalogue that a code stands for, as a person would want to read them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from sockudo.cli.outcome import ExitCode, fail

if TYPE_CHECKING:
    from sockudo.errors import ErrorSpec

__all__ = ["explain"]

_REACTIONS: Final = (
    (1000, 1001, "clients come back after a moment"),
    (1002, 1015, "clients come back after a while"),
    (4000, 4099, "clients stop: connecting again would end the same way"),
    (4100, 4199, "clients come back after a while"),
    (4200, 4299, "clients come back at once"),
    (4300, 4399, "clients stop: connecting again would end the same way"),
)


def explain(
    code: Annotated[
        str,
        typer.Argument(metavar="CODE", help="A code from an answer, a log line or a close frame; or an HTTP status."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list of the matching errors.")] = False,
) -> None:
    """Explain an error: what it means, what usually causes it and what to do."""
    import json

    rows = _matching(code)
    if not rows:
        near = _nearest(code)
        fail(
            f"No error is called '{code}'.",
            ExitCode.USAGE,
            *([f"Did you mean: {', '.join(near)}?"] if near else []),
        )
    if as_json:
        typer.echo(json.dumps([_plain(row) for row in rows], ensure_ascii=False))
        return
    if len(rows) > 1:
        typer.echo(f"{len(rows)} errors are sent as {code}; the text of yours tells which it is.\n")
    typer.echo("\n\n".join(_page(row) for row in rows))


def _asked(code: str) -> str:
    """The code as the catalogue spells it; a link from an answer's ``docs`` counts as its anchor."""
    return code.strip().rpartition("#")[2].lower().replace("-", "_")


def _matching(code: str) -> list[ErrorSpec]:
    from sockudo.errors import CATALOGUE

    asked = _asked(code)
    rows = CATALOGUE.values()
    if asked.isdecimal():
        return [row for row in rows if int(asked) in (row.status, row.ws)]
    exact = CATALOGUE.get(asked)
    others = [row for row in rows if row.code == asked and row is not exact]
    return [*([exact] if exact else []), *others]


def _nearest(code: str) -> list[str]:
    from difflib import get_close_matches

    from sockudo.errors import CATALOGUE

    asked = _asked(code)
    rows = CATALOGUE.values()
    if asked.isdecimal():
        known = {number for row in rows for number in (row.status, row.ws) if number is not None}
        near = sorted(known, key=lambda number: (abs(number - int(asked)), number))[:3]
        return [str(number) for number in sorted(near)]
    names = {name for row in rows for name in (row.slug, row.code)}
    return get_close_matches(asked, sorted(names), n=3) or sorted(name for name in names if asked and asked in name)[:3]


def _plain(row: ErrorSpec) -> dict[str, Any]:
    return {
        "slug": row.slug,
        "code": row.code,
        "status": row.status,
        "ws": row.ws,
        "retry": row.retry,
        "closes": row.closes,
        "meaning": row.meaning,
        "causes": list(row.causes),
        "remedy": row.remedy,
    }


def _page(row: ErrorSpec) -> str:
    lines = [typer.style(row.slug, bold=True), f"  {row.meaning}", ""]
    lines += _labelled("Sent as", _forms(row))
    lines += _labelled("Usual causes", row.causes)
    lines += _labelled("What to do", [row.remedy])
    lines += _labelled("Try again", ["can help" if row.retry else "does not help: the same request fails again"])
    return "\n".join(lines)


def _forms(row: ErrorSpec) -> list[str]:
    forms = []
    if row.status is not None:
        forms.append(f"HTTP {row.status} with code {row.code}")
    if row.ws is not None and row.ws < 4000:
        forms.append(f"WebSocket close {row.ws}, without an error frame")
    elif row.ws is not None and row.closes:
        forms.append(f"WebSocket error frame and close {row.ws}: {_reaction(row.ws)}")
    elif row.ws is not None:
        forms.append(f"WebSocket error frame {row.ws}; the connection stays open")
    return forms or [f"{row.code}, in replies, events or the log"]


def _reaction(close_code: int) -> str:
    return next((text for first, last, text in _REACTIONS if first <= close_code <= last), "clients stop")


def _labelled(label: str, texts: Iterable[str]) -> list[str]:
    rows = list(texts)
    return [f"  {label + ':' if index == 0 else '':<14} {text}" for index, text in enumerate(rows)]
