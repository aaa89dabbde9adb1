"""``sockudo restart``: new workers in the place of those of a running server, without refusing a connection."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sockudo.cli.outcome import ExitCode, fail

if TYPE_CHECKING:
    from sockudo.config import Settings
    from sockudo.storage.occupants import Occupant

__all__ = ["RESTART_EXIT_CODES", "RESTART_SIGNAL", "restart"]

RESTART_EXIT_CODES: Final = (
    "Exit codes: 0 all workers were replaced · 1 they were not: no server, one without workers, a configuration that "
    "cannot be used · 2 wrong usage"
)
RESTART_SIGNAL: Final = signal.SIGUSR2
"""Asks a supervisor to replace its workers."""

_LOOK_EVERY: Final = 0.1
# The configuration is read, and the first new worker forked, long before.
_BEGINS_WITHIN: Final = 5.0
_STARTS_WITHIN: Final = 60.0


def restart(
    *,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="The server's configuration file.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", metavar="DIR", help="The server's data_dir, by which it is found.")
    ] = None,
) -> None:
    """Replace the workers of a running server, without refusing a connection.

    The server reads its configuration and starts new workers. Once all of them are ready the old ones send their
    clients away over `drain_window` seconds, to come back at the new ones; when it cannot start new ones, the old ones
    go on. It runs the version that was started: a new one needs the server stopped and started.
    """
    settings = _settings(config, data_dir)
    server = _server_of(Path(settings.data_dir))
    before = _children(server.pid)
    try:
        os.kill(server.pid, RESTART_SIGNAL)
    except OSError as error:
        fail(
            f"The server, {server}, is not known: {(error.strerror or 'it failed').lower()}.",
            ExitCode.REFUSED,
            "Run this as the user of the server or as root.",
        )
    if not _replaced(server, before, settings):
        fail(
            f"The workers of the server, {server}, were not replaced: those that there were go on.",
            ExitCode.REFUSED,
            "Its log says why.",
        )
    typer.echo(f"All workers of the server, {server}, were replaced.")


def _settings(config: Path | None, data_dir: Path | None) -> Settings:
    from sockudo.config import ConfigError, load

    overrides = {"data_dir": None if data_dir is None else str(data_dir)}
    try:
        return load(path=config, environ=os.environ, cwd=Path.cwd(), overrides=overrides).settings
    except ConfigError as error:
        fail("The configuration cannot be used.", ExitCode.REFUSED, *error.problems)


def _server_of(data_dir: Path) -> Occupant:
    from sockudo.storage.folder_place import occupant_of

    try:
        found = occupant_of(data_dir)
    except OSError as error:
        fail(f"{data_dir} cannot be looked into: {(error.strerror or 'it failed').lower()}.", ExitCode.REFUSED)
    if found is None:
        fail(f"No server uses {data_dir.absolute()}.", ExitCode.REFUSED, "Name its folder with --data-dir or --config.")
    if not found.is_here:
        fail(f"The server, {found}, runs on another machine or in another container.", ExitCode.REFUSED)
    if not found.workers:
        fail(
            f"The server, {found}, is one process, which cannot be replaced while it serves.",
            ExitCode.REFUSED,
            "Stop it and start it again; with `--workers 2` or more it could be restarted like this.",
            f"`kill -HUP {found.pid}` has it read its configuration again.",
        )
    return found


def _replaced(server: Occupant, before: set[int], settings: Settings) -> bool:
    """Waits until none of the workers from ``before`` is left; False when it is their successors that went."""
    began = time.monotonic()
    longest = _STARTS_WITHIN + settings.drain_window + settings.shutdown_grace_period
    begun = False
    while (waited := time.monotonic() - began) < longest:
        now = _children(server.pid)
        if not now or server.has_ended:
            return False
        if not now & before:
            return True
        begun = begun or bool(now - before)
        if now == before and (begun or waited > _BEGINS_WITHIN):
            return False
        time.sleep(_LOOK_EVERY)
    return False


def _children(pid: int) -> set[int]:
    try:
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except OSError:
        return set()
