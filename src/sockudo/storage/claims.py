"""Sees that a server is alone where it keeps its things, from its start to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

import structlog

from sockudo import errors
from sockudo.config import Settings
from sockudo.config.databases import DATABASES
from sockudo.config.sections.databases import SqlDatabase
from sockudo.storage.folder_place import FolderPlace
from sockudo.storage.occupants import LEASE_SECONDS, Held, Occupant, Place

__all__ = ["BEAT_SECONDS", "Claims", "databases_in_use", "places"]

BEAT_SECONDS = 5.0
"""How often claims are renewed: a few that fail do not end one."""

_log = structlog.get_logger("sockudo.server")


class Claims:
    """The places of one server. With ``shared`` it starts also where another server is, and says so."""

    def __init__(
        self,
        wanted: Sequence[Place],
        *,
        shared: bool,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._places = wanted
        self._shared = shared
        self._sleep = sleep
        self._told: dict[str, str] = {}

    async def start(self) -> None:
        """Takes every place. Raises ``errors.SERVICE_UNAVAILABLE`` when one is another server's, and names it.

        Where that cannot be known, because a database does not answer, the server starts, and `watch` looks again.
        """
        for place in self._places:
            try:
                held = await self._settled(place)
            except errors.SockudoError as problem:
                self._tell(place, f"whether another server uses it is not known: {problem.text}")
                continue
            if held is not None and not self._shared:
                raise errors.SERVICE_UNAVAILABLE(
                    f"Another server uses {place.name}: {held.who}. Clients of one would not get what is published at "
                    f"the other. {_way_out(held)}, or give this server a place of its own; --shared-stores "
                    "(instance.shared_stores = true) starts this one all the same."
                )
            if held is not None:
                self._tell(place, _shared_with(held))

    async def watch(self) -> None:
        """Renews the claims until cancelled, and says once what changes: a place lost, taken after all, not known."""
        while True:
            await self._sleep(BEAT_SECONDS)
            for place in self._places:
                try:
                    held = await place.claim()
                except errors.SockudoError as problem:
                    self._tell(place, f"whether another server uses it is not known: {problem.text}")
                    continue
                if held is None:
                    self._told.pop(place.name, None)
                else:
                    self._tell(place, _shared_with(held))

    async def close(self) -> None:
        """Gives every place back."""
        for place in self._places:
            await place.release()

    async def _settled(self, place: Place) -> Held | None:
        """Who has the place, once it is clear that they live: one elsewhere is given the time of a lease to show it."""
        first = await place.claim()
        if first is None or first.certain or self._shared:
            return first
        _log.warning("waiting whether the server that used this still runs", place=place.name, who=first.who)
        now: Held | None = first
        for _ in range(LEASE_SECONDS + 1):
            await self._sleep(1)
            now = await place.claim()
            if now is None or now.beats != first.beats:
                break
        return now

    def _tell(self, place: Place, what: str) -> None:
        if self._told.get(place.name) != what:
            self._told[place.name] = what
            _log.warning("this server may not be alone", place=place.name, reason=what)


def places(settings: Settings, occupant: Occupant, *, databases: bool = True) -> Sequence[Place]:
    """Every place that this configuration uses, or those that are no ``databases``: joined nodes share these.

    Raises ConfigError when the driver of a database is not installed.
    """
    found: list[Place] = [FolderPlace(settings.data_dir, occupant)]
    if not databases:
        return found
    for section, server, tables in databases_in_use(settings):
        # Takes a while to import, which those that need no database should not pay for.
        from sockudo.storage.places import SqlPlace

        found.append(SqlPlace(server, tables, occupant, section=section))
    return found


def databases_in_use(settings: Settings) -> Iterator[tuple[str, SqlDatabase, Sequence[str]]]:
    """The section, the server and the groups of tables of each database that this configuration uses."""
    push = settings.push
    for database in DATABASES:
        server = database.server(settings)
        groups = (
            (settings.app_manager.driver, f"apps {server.table_name}"),
            # An app may have history on where the server's setting is off.
            (settings.history.backend, f"history {database.history(settings).table_prefix}"),
            (push.storage_driver, "push"),
            (push.queue_driver, "push queue"),
            (settings.queue.driver, "webhook queue"),
        )
        tables = [group for driver, group in groups if driver in database.drivers]
        if tables:
            yield database.section, server, tables


def _way_out(held: Held) -> str:
    joined = held.occupant is not None and held.occupant.node
    return "Join this one with it, by the same settings under adapter" if joined else "Stop it"


def _shared_with(held: Held) -> str:
    return f"another server ({held.who}) uses it as well: clients of one do not get what is published at the other"
