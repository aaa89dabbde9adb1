"""``sockudo dashboard``: its password."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sockudo.cli.groups import command_group, examples_with
from sockudo.cli.outcome import ExitCode, fail, note

if TYPE_CHECKING:
    from sockudo.config import Settings

__all__ = ["app"]

_EXIT_CODES: Final = (
    "Exit codes: 0 done · 1 refused: the configuration sets the password or cannot be used, a file that cannot be "
    "written · 2 wrong usage"
)

app = command_group("The dashboard of this machine's server.", _EXIT_CODES)

_example = examples_with(_EXIT_CODES)


# Without a callback, a group of one command would be that command.
@app.callback()
def _group() -> None:
    pass


@app.command(epilog=_example("sockudo dashboard password --config sockudo.toml"))
def password(
    *,
    stdin: Annotated[
        bool, typer.Option("--stdin", help="Take the password from standard input, instead of making one.")
    ] = False,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="The server's configuration file.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", metavar="DIR", help="The server's data_dir, where the hash is kept.")
    ] = None,
) -> None:
    """Give the dashboard a new password, and print it if it was made. Operators that are logged in are logged out.

    A running server takes it over at once; only a salted hash of it is kept.
    """
    from sockudo.auth.passwords import MIN_LENGTH, hash_password, made_password, password_file
    from sockudo.base.private_files import write_private_file

    settings = _settings(config, data_dir)
    if settings.dashboard.password is not None:
        fail(
            "The configuration sets the password of the dashboard.",
            ExitCode.REFUSED,
            "Change dashboard.password (SOCKUDO_DASHBOARD_PASSWORD) there and send the server SIGHUP.",
        )
    chosen = sys.stdin.readline().rstrip("\r\n") if stdin else None
    if chosen is not None and len(chosen) < MIN_LENGTH:
        fail(f"The password is shorter than {MIN_LENGTH} characters.", ExitCode.USAGE)
    path = password_file(settings)
    new = made_password() if chosen is None else chosen
    try:
        write_private_file(path, hash_password(new, made=chosen is None))
    except OSError as problem:
        fail(
            f"{path} cannot be written: {problem.strerror}.",
            ExitCode.REFUSED,
            "Run this as the user of the server, or name its folder with --data-dir.",
        )
    _keep_owner(path)
    note(f"The password is set; its hash is in {path}. Sessions that were open have ended.")
    if chosen is None:
        typer.echo(new)


def _settings(config: Path | None, data_dir: Path | None) -> Settings:
    from sockudo.config import ConfigError, load

    overrides = {"data_dir": None if data_dir is None else str(data_dir)}
    try:
        return load(path=config, environ=os.environ, cwd=Path.cwd(), overrides=overrides).settings
    except ConfigError as error:
        fail("The configuration cannot be used.", ExitCode.REFUSED, *error.problems)


def _keep_owner(path: Path) -> None:
    """Given by root, the file still has to be readable by the user of the server, who owns the folder."""
    folder = path.parent.stat()
    if os.geteuid() == 0 and folder.st_uid != 0:
        os.chown(path, folder.st_uid, folder.st_gid)
