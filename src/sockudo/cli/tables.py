"""Tables for people, JSON for programs, and texts from elsewhere made fit for a terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import typer

__all__ = ["print_json", "print_table", "printable"]


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
    """Write the rows under their headings, or the sentence ``empty`` when there are none."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        typer.echo(empty)
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    Console().print(table)


def print_json(value: Any) -> None:
    """One JSON text on one line."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def printable(text: str) -> str:
    """The text on one line and without control characters, which could command the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
