"""How ``sockudo tail`` shows entries and recent problems."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import typer

from sockudo.cli.moments import local_time
from sockudo.cli.tables import printable
from sockudo.errors import CATALOGUE
from sockudo.inspector.entry import Entry
from sockudo.inspector.lines import LABELS, Tone, line_of

__all__ = ["TailPrinter"]

_COLOURS: Final[dict[Tone, str | None]] = {
    "good": typer.colors.GREEN,
    "plain": None,
    "warn": typer.colors.YELLOW,
    "bad": typer.colors.RED,
}


class TailPrinter:
    """Writes to standard output: a line for people, with what to do below the first of each error; or one JSON object.

    The app is left out of the lines: it is the same in all of them.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._advised: set[str] = set()

    def entry(self, value: Mapping[str, Any]) -> None:
        """Print one entry, as the server sent it."""
        if self._as_json:
            typer.echo(json.dumps(value, ensure_ascii=False))
            return
        try:
            entry = msgspec.convert(value, Entry)
        except msgspec.ValidationError:
            # Of a server that knows more kinds than this command.
            typer.echo(printable(json.dumps(value, ensure_ascii=False)))
            return
        typer.echo(_columns(entry))
        if entry.error is not None and entry.error not in self._advised:
            self._advised.add(entry.error)
            for line in _advice(entry.error):
                typer.echo(line)

    def skipped(self, count: int) -> None:
        """Say that more happened than could be sent."""
        if self._as_json:
            typer.echo(json.dumps({"skipped": count}))
            return
        more = "entry was" if count == 1 else "entries were"
        typer.secho(f"… {count} {more} skipped: more happens than can be shown", fg=typer.colors.YELLOW)

    def groups(self, groups: Sequence[Mapping[str, Any]]) -> None:
        """Print the recent problems, the newest last, next to what is going to happen."""
        if self._as_json:
            for group in groups:
                typer.echo(json.dumps(group, ensure_ascii=False))
            return
        if not groups:
            typer.echo("Nothing was refused and nothing failed lately.")
        for group in reversed(groups):
            typer.echo("\n".join(_group(group)))
            if group.get("error"):
                self._advised.add(group["error"])


def _columns(entry: Entry) -> str:
    line = line_of(entry)
    colour = _COLOURS[line.tone]
    parts = [typer.style(local_time(entry.at)[11:], dim=True), typer.style(line.label, fg=colour, bold=True)]
    for name, value in line.subject:
        if name == "channel":
            parts.append(typer.style(printable(value), fg=typer.colors.CYAN))
        elif name != "app":
            parts.append(f"{name} {printable(value)}")
    parts.append(printable(line.text))
    parts.append(typer.style(printable(line.hint), fg=typer.colors.YELLOW) if line.hint else "")
    parts.append(typer.style(printable(" · ".join(line.marks)), dim=True) if line.marks else "")
    return "  ".join(part for part in parts if part)


def _group(group: Mapping[str, Any]) -> list[str]:
    explanation = group.get("explanation") or {}
    label = LABELS.get(group["kind"], group["kind"])
    times = "once" if group["count"] == 1 else f"{group['count']} times, first {local_time(group['first_at'])},"
    error = " ".join(str(part) for part in (group.get("code"), group.get("error")) if part is not None)
    head = typer.style(printable(f"{label}: {error}"), fg=typer.colors.RED, bold=True)
    lines = [f"{head}  {times}{' last' if group['count'] > 1 else ''} {local_time(group['last_at'])}"]
    if explanation.get("meaning"):
        lines.append(f"  {printable(explanation['meaning'])}")
    for value in group["last"][:1]:
        try:
            lines.append(f"  {_columns(msgspec.convert(value, Entry))}")
        except msgspec.ValidationError:
            continue
    if explanation.get("remedy"):
        lines.append(f"  → {printable(explanation['remedy'])}")
    return [*lines, ""]


def _advice(slug: str) -> list[str]:
    row = CATALOGUE.get(slug)
    if row is None:
        return []
    return [typer.style(f"    → {row.remedy} More: sockudo explain {slug}", dim=True)]
