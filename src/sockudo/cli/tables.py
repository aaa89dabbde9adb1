"""Tables for people, JSON for programs, and texts from elsewhere made fit for a terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import typer

__all__ = ["print_json", "print_table", "printable"]


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
    """Write the rows under their headings, or the sentence ``empty`` when there are none.

    Columns are two spaces apart and a row is one line, on a terminal and for other programs alike.
    """
    if not rows:
        typer.echo(empty)
        return
    cells = [[printable(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for number, row in enumerate(cells):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        typer.echo(typer.style(line, bold=True) if number == 0 else line)


def print_json(value: Any) -> None:
    """One JSON text on one line."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def printable(text: str) -> str:
    """The text on one line and without control characters, which could command the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
