"""``sockudo explain``: the rows of the error catalogue that a code stands for, as a person would want to read them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sockudo.cli.outcome import ExitCode, fail

if TYPE_CHECKING:
    from sockudo.errors import ErrorSpec

__all__ = ["explain"]

# So many pages still fit a screen.
_FEW: Final = 3


def explain(
    code: Annotated[
        str,
        typer.Argument(metavar="CODE", help="A code from an answer, a log line or a close frame; or an HTTP status."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list of the matching errors.")] = False,
) -> None:
    """Explain an error: what it means, what usually causes it and what to do."""
    import json

    from sockudo.errors.catalogue import find_rows, nearest_names, plain_row

    rows = find_rows(code)
    if not rows:
        near = nearest_names(code)
        fail(
            f"No error is called '{code}'.",
            ExitCode.USAGE,
            *([f"Did you mean: {', '.join(near)}?"] if near else []),
        )
    if as_json:
        typer.echo(json.dumps([plain_row(row) for row in rows], ensure_ascii=False))
        return
    if len(rows) == 1:
        typer.echo(_page(rows[0]))
        return
    typer.echo(f"{len(rows)} errors are sent as {code}; the text of yours tells which it is.\n")
    if len(rows) <= _FEW:
        typer.echo("\n\n".join(_page(row) for row in rows))
        return
    # One that is called so itself is what was asked for, most likely.
    exact = [row for row in rows if row.slug == code]
    for row in exact:
        typer.echo(f"{_page(row)}\n\nThe others:\n")
    others = [row for row in rows if row not in exact]
    width = max(len(row.slug) for row in others)
    for row in others:
        typer.echo(f"  {typer.style(f'{row.slug:<{width}}', bold=True)}  {row.meaning}")
    typer.echo("\nMore of one: sockudo explain NAME")


def _page(row: ErrorSpec) -> str:
    from sockudo.errors.catalogue import as_sent, can_retry

    lines = [typer.style(row.slug, bold=True), f"  {row.meaning}", ""]
    lines += _labelled("Sent as", as_sent(row))
    lines += _labelled("Usual causes", row.causes)
    lines += _labelled("What to do", [row.remedy])
    lines += _labelled("Seen in", [row.seen_in] if row.seen_in else [])
    lines += _labelled("Try again", [can_retry(row)])
    return "\n".join(lines)


def _labelled(label: str, texts: Iterable[str]) -> list[str]:
    rows = list(texts)
    return [f"  {label + ':' if index == 0 else '':<14} {text}" for index, text in enumerate(rows)]
