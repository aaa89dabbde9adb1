"""``sockudo explain``: the rows of the error catalogue that a code stands for, as a person would want to read them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from sockudo.cli.outcome import ExitCode, fail

if TYPE_CHECKING:
    from sockudo.errors import ErrorSpec

__all__ = ["explain"]


def explain(
    code: Annotated[
        str,
        typer.Argument(metavar="CODE", help="A code from an answer, a log line or a close frame; or an HTTP status."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list of the matching errors.")] = False,
) -> None:
    """Explain an error: what it means, what usually causes it and what to do."""
    import json

    from sockudo.catalogue import find_rows, nearest_names, plain_row

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
    if len(rows) > 1:
        typer.echo(f"{len(rows)} errors are sent as {code}; the text of yours tells which it is.\n")
    typer.echo("\n\n".join(_page(row) for row in rows))


def _page(row: ErrorSpec) -> str:
    from sockudo.catalogue import as_sent, can_retry

    lines = [typer.style(row.slug, bold=True), f"  {row.meaning}", ""]
    lines += _labelled("Sent as", as_sent(row))
    lines += _labelled("Usual causes", row.causes)
    lines += _labelled("What to do", [row.remedy])
    lines += _labelled("Try again", [can_retry(row)])
    return "\n".join(lines)


def _labelled(label: str, texts: Iterable[str]) -> list[str]:
    rows = list(texts)
    return [f"  {label + ':' if index == 0 else '':<14} {text}" for index, text in enumerate(rows)]
