"""Options that mean the same wherever they stand."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["Everything", "Json", "JsonLines", "Limit", "Yes"]

Json = Annotated[bool, typer.Option("--json", help="Print the server's reply as JSON.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]
Limit = Annotated[int, typer.Option(min=1, metavar="N", help="Show so many, the newest.")]
Everything = Annotated[bool, typer.Option("--all", help="Show all, page by page.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]
