"""Options that mean the same wherever they stand."""

from __future__ import annotations

from typing import Annotated

import typer

from sockudo.cli.outcome import ExitCode, fail

__all__ = ["Everything", "Json", "JsonLines", "Limit", "Yes", "check_origin"]

Json = Annotated[bool, typer.Option("--json", help="Print the server's reply as JSON.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]
Limit = Annotated[int, typer.Option(min=1, metavar="N", help="Show so many, the newest.")]
Everything = Annotated[bool, typer.Option("--all", help="Show all, page by page.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]


def check_origin(origin: str | None) -> None:
    """Refuses what no browser sends; where every origin may connect, the server would not notice."""
    if origin is None or origin == "null":
        return
    scheme, _, rest = origin.partition("://")
    if not scheme.isalnum() or not set(rest).isdisjoint("/?#@ ") or (not rest and scheme != "file"):
        fail(f"'{origin}' is not an origin.", ExitCode.USAGE, "It has no path: use the form https://shop.example.com.")
