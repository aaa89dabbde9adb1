"""``sockudo backup`` and ``sockudo restore``: everything that is kept in ``data_dir``, taken and put back at once."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sockudo.cli.outcome import ExitCode, fail, note
from sockudo.config.databases import database_of

if TYPE_CHECKING:
    from sockudo.config import Settings
    from sockudo.drivers.embedded_files import EmbeddedFile, Progress

__all__ = ["BACKUP_EXIT_CODES", "backup", "restore"]

BACKUP_EXIT_CODES: Final = (
    "Exit codes: 0 done · 1 refused: nothing to back up, a running server, a file that cannot be used · 2 wrong usage"
)

_Config = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="The server's configuration file.")
]
_DataDir = Annotated[
    Path | None, typer.Option("--data-dir", metavar="DIR", help="The server's data_dir, where its files lie.")
]
_AS_ITS_USER: Final = "Run this as the user of the server or as root, and see that the disk has room."


def backup(
    target: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder for the copies.")],
    *,
    config: _Config = None,
    data_dir: _DataDir = None,
) -> None:
    """Copy all that a server keeps in its data_dir into a new folder, while it runs.

    Secrets are among it: the folder is for its owner alone. What is kept in a database is left to its own tools.
    """
    from sockudo.drivers.embedded_files import back_up

    settings = _settings(config, data_dir)
    with _failures(), _progress() as progress:
        files = back_up(Path(settings.data_dir), target, progress)
    for file in files:
        typer.echo(f"{target / file.name}  {file.holds}")
    for elsewhere in _elsewhere(settings):
        note(f"Not in it: {elsewhere}.")


def restore(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a backup.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: _Config = None,
    data_dir: _DataDir = None,
) -> None:
    """Make data_dir what it was when a backup was taken; no server may run on it.

    What is there now is moved to a folder beside, and every stream gets a new id: clients that saw messages which the
    backup does not have get a reset, and load their state anew.
    """
    import asyncio

    settings = _settings(config, data_dir)
    folder = Path(settings.data_dir)
    if not yes and not typer.confirm(f"Put {source} in the place of what is in {folder.absolute()}?", err=True):
        fail("Nothing was changed.", ExitCode.REFUSED)
    replaced = asyncio.run(_put_back(source, settings))
    typer.echo(f"{folder.absolute()} is restored from {source}.")
    if replaced is not None:
        note(f"What was there is in {replaced}; remove it once it is not needed.")


async def _put_back(source: Path, settings: Settings) -> Path | None:
    from sockudo.drivers.embedded_files import put_back
    from sockudo.errors import SockudoError
    from sockudo.storage.folder_place import FolderPlace
    from sockudo.storage.occupants import Occupant

    folder = Path(settings.data_dir)
    place = FolderPlace(folder, Occupant.current(time.time()))
    try:
        held = await place.claim()
    except SockudoError as error:
        fail(error.text + ".", ExitCode.REFUSED, _AS_ITS_USER)
    if held is not None:
        fail(f"A server uses {place.name}: {held.who}.", ExitCode.REFUSED, "Stop it first.")
    try:
        with _failures(), _progress() as progress:
            return put_back(source, folder, settings.history.sqlite.table_prefix, time.time(), progress)
    finally:
        await place.release()


def _settings(config: Path | None, data_dir: Path | None) -> Settings:
    from sockudo.config import ConfigError, load

    overrides = {"data_dir": None if data_dir is None else str(data_dir)}
    try:
        return load(path=config, environ=os.environ, cwd=Path.cwd(), overrides=overrides).settings
    except ConfigError as error:
        fail("The configuration cannot be used.", ExitCode.REFUSED, *error.problems)


def _elsewhere(settings: Settings) -> Iterator[str]:
    drivers = {
        "apps and revoked tokens": settings.app_manager.driver,
        "history": settings.history.backend,
        "webhooks that wait": settings.queue.driver,
        "devices and publishes of push": settings.push.storage_driver,
        "notifications that wait": settings.push.queue_driver,
    }
    for what, driver in drivers.items():
        if driver in ("redis", "redis-cluster") or database_of(driver) is not None:
            yield f"{what}, which are in {driver}"


@contextmanager
def _failures() -> Iterator[None]:
    from sockudo.drivers.copies import CopyError
    from sockudo.drivers.embedded_files import BackupError

    try:
        yield
    except BackupError as error:
        fail(f"{error}.", ExitCode.REFUSED)
    except CopyError as error:
        fail(f"A file cannot be copied: {error}.", ExitCode.REFUSED, _AS_ITS_USER)
    except OSError as error:
        reason = (error.strerror or "it failed").lower()
        fail(f"{error.filename or 'A file'} cannot be used: {reason}.", ExitCode.REFUSED, _AS_ITS_USER)


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar for each file, on a terminal only: a log has no use for it."""
    if not sys.stderr.isatty():
        yield lambda _file, _done, _total: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bars

    tasks = {}
    with Bars(console=Console(stderr=True)) as bars:

        def show(file: EmbeddedFile, done: int, total: int) -> None:
            if file not in tasks:
                tasks[file] = bars.add_task(file.name)
            bars.update(tasks[file], completed=done, total=total)

        yield show
