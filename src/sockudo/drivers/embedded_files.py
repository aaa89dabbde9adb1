"""Everything that a server keeps in its ``data_dir``, and how all of it is taken and put back at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sockudo.drivers.copies import copy_database, copy_file, damage_of, renew_stream_ids

__all__ = ["EMBEDDED_FILES", "BackupError", "EmbeddedFile", "Progress", "back_up", "put_back"]


@dataclass(frozen=True, slots=True)
class EmbeddedFile:
    """One file of ``data_dir``; ``holds`` says for people what is in it."""

    name: str
    holds: str

    @property
    def is_database(self) -> bool:
        """Whether it is an SQLite file."""
        return self.name.endswith(".sqlite3")


EMBEDDED_FILES: Final = (
    EmbeddedFile("apps.sqlite3", "apps and their secrets"),
    EmbeddedFile("history.sqlite3", "messages, presence history and idempotency keys"),
    EmbeddedFile("revocations.sqlite3", "capability tokens that were revoked"),
    EmbeddedFile("webhooks.sqlite3", "webhook deliveries that wait, and dead letters"),
    # Before its store: of what the store knows and the queue does not, the server queues what is missing.
    EmbeddedFile("push-queue.sqlite3", "notifications that wait"),
    EmbeddedFile("push.sqlite3", "devices, credentials and publishes of push"),
    EmbeddedFile("dashboard-password", "the hash of the dashboard's password"),
    EmbeddedFile("dev-dashboard-password", "the dashboard's password under --dev"),
    EmbeddedFile("dev-push-key", "the key that encrypts credentials of push under --dev"),
)
"""In the order in which they are copied. `server.lock` is none: it means nothing without its server."""

Progress = Callable[[EmbeddedFile, int, int], None]
"""Takes the progress of each file: bytes done, and bytes in all."""


class BackupError(Exception):
    """A backup that cannot be made or put back, as a sentence; nothing was changed."""


def back_up(data_dir: Path, target: Path, progress: Progress) -> Sequence[EmbeddedFile]:
    """Copies what is in ``data_dir`` to the new folder ``target``, and says what that is.

    The folder appears when it is complete. The server may run: each file is as it was at one moment. Raises
    `BackupError`, `sockudo.drivers.copies.CopyError` and `OSError`.
    """
    found = _present(data_dir)
    if not found:
        raise BackupError(f"There is nothing to back up in {data_dir}")
    if target.exists():
        raise BackupError(f"{target} exists already: a backup goes into a folder of its own")
    unfinished = target.with_name(f".{target.name}.unfinished")
    _copy_all(found, data_dir, _emptied(unfinished), progress)
    unfinished.rename(target)
    return found


def put_back(backup: Path, data_dir: Path, history_prefix: str, now: float, progress: Progress) -> Path | None:
    """Makes ``data_dir`` what it was when ``backup`` was taken, but for the ids of its streams, which are new.

    No server may run on it. What was there is moved to a folder in it, which is returned, None when there was nothing.
    Raises `BackupError`, `sockudo.drivers.copies.CopyError` and `OSError`.
    """
    found = _present(backup)
    if not found:
        raise BackupError(f"{backup} holds no file of a backup")
    for file in found:
        damage = damage_of(backup / file.name) if file.is_database else None
        if damage is not None:
            raise BackupError(f"{backup / file.name} cannot be used: {damage}")
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = _emptied(data_dir / ".restore.unfinished")
    _copy_all(found, backup, fresh, progress)
    if (fresh / "history.sqlite3").exists():
        renew_stream_ids(fresh / "history.sqlite3", history_prefix)
    owner = data_dir.stat()
    replaced = _moved_away(data_dir, now)
    for file in found:
        if os.geteuid() == 0:
            # Restored by root, the files still have to be those of the server's user, who owns the folder.
            os.chown(fresh / file.name, owner.st_uid, owner.st_gid)
        (fresh / file.name).rename(data_dir / file.name)
    fresh.rmdir()
    return replaced


def _present(folder: Path) -> Sequence[EmbeddedFile]:
    return [file for file in EMBEDDED_FILES if (folder / file.name).is_file()]


def _emptied(folder: Path) -> Path:
    """A folder that is there and holds nothing, also when an earlier run ended half-way."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in folder.iterdir():
        left.unlink()
    return folder


def _copy_all(files: Sequence[EmbeddedFile], source: Path, target: Path, progress: Progress) -> None:
    for file in files:
        copy = copy_database if file.is_database else copy_file
        copy(source / file.name, target / file.name, lambda done, total, file=file: progress(file, done, total))  # type: ignore[misc]  # mypy does not see the default


def _moved_away(data_dir: Path, now: float) -> Path | None:
    names = (f"{file.name}{end}" for file in EMBEDDED_FILES for end in ("", "-wal", "-shm", "-journal"))
    there = [data_dir / name for name in names if (data_dir / name).exists()]
    if not there:
        return None
    folder = data_dir / f"replaced-{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}"
    folder.mkdir(mode=0o700)
    for path in there:
        path.rename(folder / path.name)
    return folder
