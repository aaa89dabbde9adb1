"""What the server keeps on its own machine: files, and room on the disk; and which servers use its databases and its
folder."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sockudo.config import ConfigError, Settings
from sockudo.config.sections.databases import SqlDatabase
from sockudo.doctor.deployment import Deployment
from sockudo.doctor.finding import Finding, not_checked, ok, problem, warning
from sockudo.errors import SockudoError
from sockudo.storage.claims import databases_in_use
from sockudo.storage.folder_place import occupant_of
from sockudo.storage.occupants import Occupant

__all__ = [
    "SqliteFile",
    "check_disk",
    "check_files",
    "judge_disk",
    "judge_file",
    "judge_folder",
    "judge_occupants",
    "occupied",
]


_APART: Final = (
    "Clients of one server do not get what is published at the other. Give each a folder or a database of its own, "
    "unless this is meant."
)


async def occupied(settings: Settings) -> Sequence[Finding]:
    """A finding for each database that servers have claimed tables of. One that does not answer has another finding."""
    found: list[Finding] = []
    for section, server, _ in databases_in_use(settings):
        occupants = await asyncio.to_thread(_occupants, server)
        if occupants:
            found.append(judge_occupants(section, occupants, shared=settings.instance.shared_stores))
    return found


def judge_occupants(section: str, occupants: Sequence[Occupant], *, shared: bool) -> Finding:
    """The servers that have claimed tables; with ``shared`` there may be more that have claimed none."""
    names = "; ".join(map(str, occupants))
    if len(occupants) > 1 and all(each.node for each in occupants) and len({each.joined_by for each in occupants}) == 1:
        return ok(f"{len(occupants)} joined nodes use {section}: {names}")
    if len(occupants) > 1:
        return warning(f"{len(occupants)} servers use {section}: {names}", _APART)
    if shared:
        return warning(f"{section} is used by {names}, and other servers may use it: instance.shared_stores", _APART)
    return ok(f"{section} is used by one server: {names}")


def judge_folder(folder: Path, *, shared: bool) -> Sequence[Finding]:
    """The server that has claimed the data folder; nothing when it is free, or when this user cannot read its file."""
    try:
        occupant = occupant_of(folder)
    except OSError:
        return ()
    if occupant is None:
        return ()
    if shared:
        return [warning(f"{folder} is used by {occupant}, and others may use it: instance.shared_stores", _APART)]
    return [ok(f"{folder} is used by one server: {occupant}")]


def _occupants(server: SqlDatabase) -> Sequence[Occupant]:
    try:
        from sockudo.storage.places import occupants_in
    except ImportError:
        return ()
    try:
        return occupants_in(server)
    except (SockudoError, ConfigError):
        return ()


# ---- files and room ----


_MEGABYTE: Final = 1024 * 1024
_LITTLE: Final = 1024 * _MEGABYTE
_NEARLY_NONE: Final = 100 * _MEGABYTE
_FORM: Final = b"SQLite format 3\0"
_NO_CONFIG: Final = "no --config: where the stores are is not known"


# ---- files ----


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """A file of an embedded store. ``head`` are its first bytes, None when they could not be read."""

    path: Path
    owner: int
    mode: int
    size: int
    head: bytes | None


async def check_files(deployment: Deployment) -> Sequence[Finding]:
    """Owner, mode and form of every SQLite file in ``data_dir``."""
    folder = deployment.data_dir()
    if folder is None:
        return [not_checked(_NO_CONFIG)]
    process = deployment.process()
    try:
        paths = sorted(folder.glob("*.sqlite3"))
        files = [_file(path) for path in paths]
        mode = folder.stat().st_mode
    except FileNotFoundError:
        return [not_checked(f"{folder} is not on this machine, or nothing was kept yet")]
    except PermissionError:
        return [not_checked(f"{folder} cannot be looked into by this user: run it as the server's user or root")]
    found: list[Finding] = []
    if mode & stat.S_IWOTH:
        found.append(problem(f"everybody may write to {folder}", f"chmod 700 {folder}"))
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        found.append(problem(f"{folder} is on a file system that is mounted read-only", "Mount it for writing."))
    shared = deployment.settings is not None and deployment.settings.instance.shared_stores
    found += judge_folder(folder, shared=shared)
    user = None if process is None else process.user
    found += [judge_file(file, user) for file in files]
    return found or [ok(f"{folder} holds no SQLite files")]


def _file(path: Path) -> SqliteFile:
    status = path.stat()
    try:
        with path.open("rb") as content:
            head: bytes | None = content.read(len(_FORM))
    except OSError:
        head = None
    return SqliteFile(path, status.st_uid, stat.S_IMODE(status.st_mode), status.st_size, head)


def judge_file(file: SqliteFile, user: int | None) -> Finding:
    """``user`` is who the server runs as, None when that is not known."""
    facts: dict[str, Any] = {"path": str(file.path), "mode": f"{file.mode:o}", "bytes": file.size}
    if file.size and file.head is not None and file.head != _FORM:
        return problem(
            f"{file.path} is no SQLite file any more",
            "Put a backup in its place (docs/operations.md, backups), with the server stopped.",
            **facts,
        )
    if user is not None and not _may_write(file, user):
        return problem(
            f"{file.path} cannot be written by the server's user ({user})",
            f"chown {user} {file.path}; chmod 600 {file.path}: a command run by another user may have made it.",
            **facts,
        )
    if file.mode & 0o077:
        return warning(f"{file.path} can be read by others (mode {file.mode:o})", f"chmod 600 {file.path}", **facts)
    return ok(f"{file.path}: mode {file.mode:o}, {_size(file.size)}", **facts)


def _size(count: int) -> str:
    return f"{count // 1024} KB" if count < _MEGABYTE else f"{count / _MEGABYTE:,.1f} MB"


def _may_write(file: SqliteFile, user: int) -> bool:
    """As far as owner and mode tell: groups are left out."""
    if user == 0:
        return True
    if file.owner == user:
        return bool(file.mode & stat.S_IWUSR)
    return bool(file.mode & (stat.S_IWOTH | stat.S_IWGRP))


# ---- room ----


async def check_disk(deployment: Deployment) -> Sequence[Finding]:
    """Room on the disk of ``data_dir``."""
    folder = deployment.data_dir()
    if folder is None:
        return [not_checked(_NO_CONFIG)]
    there = next((each for each in (folder, *folder.absolute().parents) if each.exists()), None)
    if there is None:
        return [not_checked(f"{folder} is not on this machine")]
    usage = shutil.disk_usage(there)
    return [judge_disk(str(folder), usage.free, usage.total)]


def judge_disk(folder: str, free: int, total: int) -> Finding:
    """Bytes that are free, of how many."""
    facts: dict[str, Any] = {"free_bytes": free, "total_bytes": total}
    text = f"{free / 1024 / _MEGABYTE:.1f} GB free for {folder}"
    advice = (
        "Make room, or lower the retention of the history and of delivered webhooks: a full disk refuses publishes."
    )
    if free < _NEARLY_NONE:
        return problem(text, advice, **facts)
    if free < _LITTLE or free < total / 20:
        return warning(f"{text}, of {total / 1024 / _MEGABYTE:.1f} GB", advice, **facts)
    return ok(text, **facts)
