"""How ``sockudo doctor`` shows what it finds: a line for each finding as it comes, or all of it as JSON."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import typer

from sockudo.cli.tables import printable

if TYPE_CHECKING:
    from sockudo.doctor import Check, Deployment, Finding

__all__ = ["Progress", "finish", "print_checks", "summary"]

_WORDS: Final = {"ok": "ok", "warning": "warning", "problem": "problem", "not_checked": "not checked"}
_COLOURS: Final = {"ok": typer.colors.GREEN, "warning": typer.colors.YELLOW, "problem": typer.colors.RED}
_STATE_WIDTH: Final = max(map(len, _WORDS.values()))
_NAME_WIDTH: Final = 11
_INDENT: Final = _STATE_WIDTH + _NAME_WIDTH + 4
_ERASE: Final = "\r\x1b[K"


def print_checks(checks: Sequence[Check]) -> None:
    """The names of the checks, in their order, and what each is about."""
    for check in checks:
        typer.echo(f"{check.name:<{_NAME_WIDTH}}  {check.about}")


class Progress:
    """Writes findings as they come; on a terminal the last line says what is being looked at."""

    def __init__(self, deployment: Deployment, *, quiet: bool) -> None:
        self._quiet = quiet
        self._left_out: dict[str, list[str]] = {}
        self._live = not quiet and sys.stdout.isatty()
        if not quiet:
            credentials = deployment.credentials
            who = f"app {credentials.app_id}" if credentials is not None else "no app: no credentials were given"
            typer.echo(f"{printable(_shown(deployment))} ({printable(who)})\n")

    def began(self, check: Check) -> None:
        """The check runs now."""
        if self._live:
            typer.echo(f"{_ERASE}… {check.name}: {check.about}", nl=False)

    def found(self, finding: Finding) -> None:
        """Shows the finding, and below it what to do."""
        if self._quiet:
            return
        if finding.state == "not_checked" and not finding.advice:
            self._left_out.setdefault(finding.seen, []).append(finding.check)
            return
        if self._live:
            typer.echo(_ERASE, nl=False)
        word = typer.style(
            f"{_WORDS[finding.state]:<{_STATE_WIDTH}}",
            fg=_COLOURS.get(finding.state),
            dim=finding.state == "not_checked" or None,
        )
        lines = _wrapped(printable(finding.seen), wrap=self._live)
        typer.echo(f"{word}  {finding.check:<{_NAME_WIDTH}}  {lines}")
        advice = list(finding.advice)
        if finding.slug is not None and finding.state in ("problem", "warning"):
            advice.append(f"More: sockudo explain {finding.slug}")
        for line in advice:
            typer.echo(f"{'':<{_INDENT}}→ {_wrapped(printable(line), wrap=self._live, deeper=2)}")

    def end(self) -> None:
        """Nothing is being looked at any more: shows what was not checked, a line for each reason."""
        if self._live:
            typer.echo(_ERASE, nl=False)
        for seen, checks in self._left_out.items():
            names = ", ".join(dict.fromkeys(checks))
            word = typer.style(f"{_WORDS['not_checked']:<{_STATE_WIDTH}}", dim=True)
            text = seen if len(names) <= _NAME_WIDTH else f"{names}: {seen}"
            name = names if len(names) <= _NAME_WIDTH else ""
            typer.echo(f"{word}  {name:<{_NAME_WIDTH}}  {_wrapped(printable(text), wrap=self._live)}")


def _wrapped(text: str, *, wrap: bool, deeper: int = 0) -> str:
    """On a terminal long texts stay in their column; elsewhere each is one line, for other programs."""
    room = shutil.get_terminal_size().columns - _INDENT - deeper
    if not wrap or room < 30:
        return text
    lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
    return f"\n{'':<{_INDENT + deeper}}".join(lines)


def finish(deployment: Deployment, findings: Sequence[Finding], *, as_json: bool) -> None:
    """The closing line, or all of it as one JSON object."""
    if not as_json:
        typer.echo(f"\n{summary(findings)}")
        return
    counts = Counter(finding.state for finding in findings)
    credentials = deployment.credentials
    report = {
        "url": _shown(deployment),
        "app_id": credentials.app_id if credentials is not None else None,
        "ok": not counts["problem"],
        "counts": {state: counts[state] for state in ("ok", "warning", "problem", "not_checked")},
        "findings": [_plain(finding) for finding in findings],
    }
    typer.echo(json.dumps(report, ensure_ascii=False))


def _shown(deployment: Deployment) -> str:
    """The URL without a user and a password that may stand in it."""
    from sockudo.config.webhooks import shown_url

    if deployment.unreached:
        return "this machine"
    return shown_url(deployment.url)


def _plain(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "state": finding.state,
        "seen": finding.seen,
        "advice": list(finding.advice),
        "slug": finding.slug,
        "facts": dict(finding.facts),
    }


def summary(findings: Sequence[Finding]) -> str:
    """How many of each kind, in words."""
    counts = Counter(finding.state for finding in findings)
    problems, warnings = counts["problem"], counts["warning"]
    parts = [
        "no problem" if not problems else f"{problems} problem{'s' if problems > 1 else ''}",
        *([f"{warnings} warning{'s' if warnings > 1 else ''}"] if warnings else []),
        f"{counts['ok']} ok",
        *([f"{counts['not_checked']} not checked"] if counts["not_checked"] else []),
    ]
    text = ", ".join(parts)
    return f"{text[0].upper()}{text[1:]}."
