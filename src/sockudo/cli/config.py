"""``sockudo config``: is the configuration good, and what does it come to?"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sockudo.cli.groups import command_group
from sockudo.cli.outcome import EXIT_CODES, ExitCode, note
from sockudo.cli.tables import print_json

if TYPE_CHECKING:
    from sockudo.config import Loaded

__all__ = ["app"]

app = command_group(
    "Check the configuration, or show what it comes to.",
)

_Config = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="Configuration file, TOML or JSON.")
]
_Dev = Annotated[bool, typer.Option("--dev", help="As `sockudo serve --dev` would read it.")]


@app.command(epilog=f"Example: [bold]sockudo config check --config sockudo.toml[/bold]\n\n{EXIT_CODES}")
def check(
    *,
    config: _Config = None,
    dev: _Dev = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object: ok, problems, warnings, sources.")] = False,
) -> None:
    """Read the configuration as the server would, and say everything that is wrong with it."""
    loaded, problems = _load(config, dev=dev)
    if loaded is not None:
        from sockudo.config.installed import missing_drivers

        problems = tuple(missing_drivers(loaded.settings))
    warnings = () if loaded is None else loaded.warnings
    sources = () if loaded is None else loaded.sources
    if as_json:
        print_json({"ok": not problems, "problems": problems, "warnings": warnings, "sources": sources})
    else:
        for source in sources:
            typer.echo(source)
        for warning in warnings:
            typer.secho(f"warning: {warning}", fg=typer.colors.YELLOW)
        _tell(problems)
        if not problems:
            typer.secho("The configuration is good.", fg=typer.colors.GREEN)
    raise typer.Exit(ExitCode.REFUSED if problems else ExitCode.DONE)


@app.command(epilog=f"Example: [bold]sockudo config show --toml[/bold]\n\n{EXIT_CODES}")
def show(
    *,
    config: _Config = None,
    dev: _Dev = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object: settings, origins, sources, warnings.")
    ] = False,
    as_toml: Annotated[bool, typer.Option("--toml", help="A TOML file, with origins as comments.")] = False,
) -> None:
    """Show every value in force and where it came from. Secrets are masked."""
    loaded, problems = _load(config, dev=dev)
    if loaded is None:
        if as_json:
            print_json({"problems": problems})
        _tell(problems)
        raise typer.Exit(ExitCode.REFUSED)
    from sockudo.config import show as shown

    if as_json:
        origins = {path: origin for path, _, origin in shown.rows(loaded)}
        tree = shown.as_tree(loaded)
        print_json({"settings": tree, "origins": origins, "sources": loaded.sources, "warnings": loaded.warnings})
    elif as_toml:
        typer.echo(shown.as_toml(loaded), nl=False)
    else:
        _print_table(shown.rows(loaded))


def _load(config: Path | None, *, dev: bool) -> tuple[Loaded | None, tuple[str, ...]]:
    from sockudo.config import ConfigError, load

    try:
        return load(path=config, environ=os.environ, cwd=Path.cwd(), dev=dev), ()
    except ConfigError as error:
        return None, error.located


def _tell(problems: tuple[str, ...]) -> None:
    if problems:
        typer.secho("The configuration cannot be used:", fg=typer.colors.RED, err=True)
    for problem in problems:
        note(f"  • {problem}")


def _print_table(rows: Any) -> None:
    cells = [(path, json.dumps(value, ensure_ascii=False), origin) for path, value, origin in rows]
    width = max(len(path) for path, _, _ in cells)
    column = max(len(value) for _, value, origin in cells if origin != "default" or len(value) < 40)
    for path, value, origin in cells:
        line = f"{path:<{width}}  {value:<{min(column, 40)}}  {origin}"
        typer.secho(line, dim=origin == "default" or None)
