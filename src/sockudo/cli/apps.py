"""``sockudo apps``: the apps of the configured store, which running servers follow within seconds."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from sockudo.cli.app_options import with_policy_options
from sockudo.cli.groups import command_group, command_wings, examples_with
from sockudo.cli.outcome import ExitCode, fail, note

if TYPE_CHECKING:
    from sockudo.cli.app_access import Place
    from sockudo.config.apps import App

__all__ = ["app"]

_EXIT_CODES: Final = (
    "Exit codes: 0 done · 1 refused: an id or key that is taken, a store that cannot be used, apps that are kept "
    "elsewhere · 2 wrong usage · 3 no such app"
)

app = command_group(
    "List and change the apps of this machine's server. A running server follows within a second. "
    "One that was started with --dev keeps its apps in memory and knows nothing of these: its dashboard changes them.",
    _EXIT_CODES,
)

# How a message about a value begins.
_WHERE: Final = "command line"

_Id = Annotated[str, typer.Argument(metavar="ID", help="The app's id.")]
_Config = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="The server's configuration file.")
]
_DataDir = Annotated[
    Path | None, typer.Option("--data-dir", metavar="DIR", help="The server's data_dir, where the store lies.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
_example = examples_with(_EXIT_CODES)


@app.command("list", epilog=_example("sockudo apps list --json"))
def list_apps(*, as_json: _Json = False, config: _Config = None, data_dir: _DataDir = None) -> None:
    """List every app, without its secret."""
    place = _place(config, data_dir)
    records = place.read()
    if as_json:
        _print_json([_public(record) for record in records])
    elif records:
        _print_rows([("ID", "KEY", "STATE"), *((record.id, record.key, _state(record)) for record in records)])
    else:
        note(f"There are no apps in {place.where}. `sockudo apps add` makes one.")


@app.command(epilog=_example("sockudo apps show shop --reveal-secret"))
def show(
    app_id: _Id,
    *,
    reveal_secret: Annotated[bool, typer.Option("--reveal-secret", help="Print the secret as well.")] = False,
    as_json: _Json = False,
    config: _Config = None,
    data_dir: _DataDir = None,
) -> None:
    """Show one app and which of its fields are not at their default."""
    from sockudo.apps.edits import settled

    record = _place(config, data_dir).app(app_id)
    if as_json:
        _print_json(_plain(record) if reveal_secret else _public(record))
        return
    secret = record.secret if reveal_secret else "hidden; --reveal-secret prints it"
    rows = [("id", record.id), ("key", record.key), ("secret", secret), ("state", _state(record))]
    if record.previous_secret is not None:
        rows.insert(3, ("previous secret", _until(record.previous_secret.until)))
    _print_rows([*rows, *((name, _cell(value)) for name, value in settled(record).items())])


@app.command(epilog=_example("sockudo apps add --id shop --client-messages --allowed-origin https://shop.test"))
@with_policy_options
def add(
    *,
    app_id: Annotated[str | None, typer.Option("--id", help="Stands in API paths. Made up when left out.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="The public key. Made up when left out.")] = None,
    secret: Annotated[
        str | None,
        typer.Option(
            "--secret",
            help="Made up when left out; - reads it from standard input. An argument is visible to other users.",
        ),
    ] = None,
    enabled: Annotated[bool, typer.Option("--enabled/--disabled", help="Whether it may be used at once.")] = True,
    as_json: _Json = False,
    config: _Config = None,
    data_dir: _DataDir = None,
    wanted: dict[str, Any],
) -> None:
    """Add an app and print its credentials."""
    place = _place(config, data_dir)
    if secret == "-":  # noqa: S105 - the word for standard input
        secret = sys.stdin.readline().rstrip("\r\n")
    given = {"id": app_id, "key": key, "secret": secret, "enabled": enabled}
    record = place.administer(lambda admin: admin.add(given, _WHERE, fields=wanted))
    place.warn_configured(record.id)
    _warn_of_origins(record)
    _print_credentials(record, as_json=as_json)


@app.command("set", epilog=_example("sockudo apps set shop --max-connections 500 --set max_event_batch_size=20"))
@with_policy_options
def set_fields(
    app_id: _Id,
    *,
    as_json: _Json = False,
    config: _Config = None,
    data_dir: _DataDir = None,
    wanted: dict[str, Any],
) -> None:
    """Change what an app may do; fields that are not named stay as they are."""
    from sockudo.apps.edits import FLAT_NAMES, with_values

    if not wanted:
        fail("Nothing to change.", ExitCode.USAGE, f"Example: sockudo apps set {app_id} --max-connections 500")
    values = {FLAT_NAMES[name]: value for name, value in wanted.items()}
    record = _place(config, data_dir).change(
        app_id, lambda admin: admin.edit(app_id, lambda current: with_values(current, values, _WHERE))
    )
    _warn_of_origins(record)
    _print_done(record, f"App '{app_id}' is changed.", as_json=as_json)


@app.command(epilog=_example("sockudo apps rotate shop --keep 24h"))
def rotate(
    app_id: _Id,
    *,
    key: Annotated[bool, typer.Option("--key", help="Make a new key as well; clients need it to connect.")] = False,
    keep: Annotated[
        str | None,
        typer.Option(metavar="SPAN", help="Accept the old secret for so long as well: 90s, 30m, 24h or 7d."),
    ] = None,
    as_json: _Json = False,
    config: _Config = None,
    data_dir: _DataDir = None,
) -> None:
    """Give an app a new secret and print it. The old one is refused as soon as the server follows, or after --keep.

    While both are accepted, what the server signs itself, webhooks, has the new one.
    """
    until = _end_of(keep, key=key)
    record = _place(config, data_dir).change(app_id, lambda admin: admin.rotate(app_id, key=key, until=until))
    _print_credentials(record, as_json=as_json)
    if until is not None:
        note(f"The previous secret is {_until(until)}.")


def _end_of(keep: str | None, *, key: bool) -> int | None:
    """When an old secret ends, in Unix seconds; ends the command for what is no time to keep it."""
    from sockudo.apps.edits import LONGEST_KEPT
    from sockudo.cli.moments import read_seconds

    if keep is None:
        return None
    if key:
        fail("--keep and --key exclude each other: what is signed names the key.", ExitCode.USAGE)
    seconds = read_seconds(keep)
    if not seconds or seconds > LONGEST_KEPT:
        fail(f"--keep: '{keep}' is not a span of time up to 30d.", ExitCode.USAGE, "Use 90s, 30m, 24h or 7d.")
    return int(time.time()) + seconds


def _until(seconds: int) -> str:
    from sockudo.cli.moments import local_time

    return f"accepted until {local_time(seconds * 1000)[:19]}"


@app.command(epilog=_example("sockudo apps disable shop"))
def disable(app_id: _Id, *, as_json: _Json = False, config: _Config = None, data_dir: _DataDir = None) -> None:
    """Refuse an app's requests and close its connections, keeping its record."""
    record = _place(config, data_dir).change(app_id, lambda admin: admin.switch(app_id, enabled=False))
    _print_done(record, f"App '{app_id}' is disabled; a running server closes its connections.", as_json=as_json)


@app.command(epilog=_example("sockudo apps enable shop"))
def enable(app_id: _Id, *, as_json: _Json = False, config: _Config = None, data_dir: _DataDir = None) -> None:
    """Let a disabled app be used again."""
    record = _place(config, data_dir).change(app_id, lambda admin: admin.switch(app_id, enabled=True))
    _print_done(record, f"App '{app_id}' is enabled.", as_json=as_json)


@app.command(epilog=_example("sockudo apps remove shop --yes"))
def remove(
    context: typer.Context,
    app_id: _Id,
    *,
    with_history: Annotated[
        bool, typer.Option("--with-history", help="Delete what its channels keep too: messages, presence, keys.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: _Json = False,
    config: _Config = None,
    data_dir: _DataDir = None,
) -> None:
    """Remove an app for good: its credentials are lost and its connections are closed.

    What its channels keep stays until its retention ends, unless --with-history deletes it at once. What it keeps for
    push (devices, credentials, notifications) is deleted by the running servers.
    """
    place = _place(config, data_dir)
    record = place.app(app_id)
    what = f"app '{record.id}' with key '{record.key}'{' and its history' if with_history else ''}"
    if not yes and not typer.confirm(f"Remove {what} for good?", err=True):
        fail("Nothing was removed.", ExitCode.REFUSED)
    place.note_removal(app_id, command_wings(context))
    place.administer(lambda admin: admin.remove(app_id))
    if with_history:
        place.delete_history(app_id)
    place.warn_configured(app_id)
    if as_json:
        _print_json({"id": app_id, "removed": True})
    else:
        typer.echo(f"App '{app_id}' is removed.")


def _place(config: Path | None, data_dir: Path | None) -> Place:
    from sockudo.cli.app_access import find_place

    return find_place(config, data_dir)


def _warn_of_origins(record: App) -> None:
    from sockudo.config.app_reader import origin_warnings

    for warning in origin_warnings(record):
        note(f"Note: {warning}.")


def _plain(record: App) -> dict[str, Any]:
    from sockudo.config.app_reader import app_to_builtins

    return app_to_builtins(record)


def _public(record: App) -> dict[str, Any]:
    plain = _plain(record)
    del plain["secret"]
    if record.previous_secret is not None:
        plain["previous_secret"] = {"until": record.previous_secret.until}
    return plain


def _state(record: App) -> str:
    return "enabled" if record.enabled else "disabled"


def _cell(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return json.dumps(value, ensure_ascii=False)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False))


def _print_rows(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_credentials(record: App, *, as_json: bool) -> None:
    if as_json:
        _print_json({"id": record.id, "key": record.key, "secret": record.secret, "enabled": record.enabled})
    else:
        _print_rows([("app id", record.id), ("key", record.key), ("secret", record.secret)])


def _print_done(record: App, text: str, *, as_json: bool) -> None:
    if as_json:
        _print_json(_public(record))
    else:
        typer.echo(text)
