"""Which servers use the databases and the data folder, and whether one of them is alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sockudo.config import ConfigError, Settings
from sockudo.config.sections.databases import SqlDatabase
from sockudo.doctor.finding import Finding, ok, warning
from sockudo.errors import SockudoError
from sockudo.storage.claims import databases_in_use
from sockudo.storage.folder_place import occupant_of
from sockudo.storage.occupants import Occupant

__all__ = ["judge_folder", "judge_occupants", "occupied"]

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
