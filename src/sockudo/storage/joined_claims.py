"""Sees that the servers on one database are nodes that hear each other, from the start of a node to its end.

Nodes that share a store and are not joined lose nothing of what is stored, and clients of one do not hear what is
published at the other. When what joins them is split, the larger part stays ready, so that new clients and backends
meet there; no order is at risk, as the store numbers for all. A server with another broker is no part of a split.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

import structlog

from sockudo import errors
from sockudo.config import Settings
from sockudo.storage.claims import BEAT_SECONDS, databases_in_use
from sockudo.storage.occupants import LEASE_SECONDS, Held, Occupant

__all__ = ["JOIN_SECONDS", "JoinedClaims", "JoinedPlace", "Peers", "joined_places"]

JOIN_SECONDS = 10
"""A node that claims the same place has so long to appear among the live nodes."""

_log = structlog.get_logger("sockudo.server")


class Peers(NamedTuple):
    """What the claims of a node know of the others: who lives, and whether this node hears them at all.

    ``timeout``: a claim without a live node is a reason not to be ready after so many seconds. ``me`` is this node.
    """

    is_alive: Callable[[str], bool]
    is_well: Callable[[], bool]
    timeout: float
    me: Occupant | None = None


class JoinedPlace(Protocol):
    """Something that joined nodes share, and that no other server may use."""

    name: str

    async def claim(self) -> Sequence[Held]: ...
    async def others(self) -> Sequence[Held]: ...
    async def release(self) -> None: ...


class _Stranger(NamedTuple):
    """Who holds a place without being joined: since when that is seen, and their beats at that moment."""

    since: float
    beats: int


class JoinedClaims:
    """The places of one node. With ``shared`` it starts also beside servers that it is not joined with, and says so.

    ``apart`` is called with why the node is not fit for clients, or with nothing once it is.
    """

    def __init__(
        self,
        wanted: Sequence[JoinedPlace],
        peers: Peers,
        apart: Callable[[str], None],
        now: Callable[[], float],
        *,
        shared: bool,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._places = wanted
        self._peers = peers
        self._apart = apart
        self._now = now
        self._shared = shared
        self._sleep = sleep
        self._told = ""
        self._strangers: dict[tuple[str, Occupant | None], _Stranger] = {}

    async def check(self) -> None:
        """Raises ``errors.SERVICE_UNAVAILABLE`` when a server that is no node has a place, before it is touched."""
        for place in self._places:
            try:
                held = await place.others()
            except errors.SockudoError:
                continue
            alone = next((one for one in held if one.certain and not _is_node(one)), None)
            if alone is not None and not self._shared:
                raise _refusal(place, alone)

    async def start(self) -> None:
        """Takes every place, for after the node has joined the others.

        Raises ``errors.SERVICE_UNAVAILABLE`` when a server has one that does not appear among the live nodes, and
        names it. Where that cannot be known, because a database does not answer, the node starts.
        """
        for place in self._places:
            try:
                stranger = await self._settled(place)
            except errors.SockudoError as problem:
                self._tell(place, f"whether other servers use it is not known: {problem.text}")
                continue
            if stranger is not None and not self._shared:
                raise _refusal(place, stranger)
            if stranger is not None:
                self._tell(place, _beside(stranger))

    async def watch(self) -> None:
        """Renews the claims until cancelled, while the node hears the others, and says what is wrong with them."""
        while True:
            await self._sleep(BEAT_SECONDS)
            if self._peers.is_well():
                await self._renew()

    async def close(self) -> None:
        """Gives every place back."""
        for place in self._places:
            await place.release()

    async def _settled(self, place: JoinedPlace) -> Held | None:
        """Who has the place and is not joined, once it is clear that they live; None when there is no such server."""
        seen: dict[Occupant | None, int] = {}
        for second in range(LEASE_SECONDS + 2):
            strangers = self._not_joined(await place.claim())
            if not strangers or self._shared:
                return next(iter(strangers), None)
            for held in strangers:
                beats = seen.setdefault(held.occupant, held.beats)
                may_join = _is_node(held) and second < JOIN_SECONDS
                if (held.certain or held.beats > beats) and not may_join:
                    return held
            if second == 0:
                _log.warning("waiting for a server on the same place", place=place.name, who=strangers[0].who)
            await self._sleep(1)
        return None

    async def _renew(self) -> None:
        now, found, reason = self._now(), {}, ""
        for place in self._places:
            try:
                held = await place.claim()
            except errors.SockudoError as problem:
                self._tell(place, f"whether other servers use it is not known: {problem.text}")
                continue
            living = []
            for one in self._not_joined(held):
                key = (place.name, one.occupant)
                first = found[key] = self._strangers.get(key, _Stranger(now, one.beats))
                # A node that died leaves a claim behind, which nothing renews.
                if one.beats > first.beats:
                    living.append((one, now - first.since >= self._peers.timeout))
            apart = [one for one, for_long in living if for_long]
            if apart and self._is_larger(held, [one for one, _ in living]):
                self._tell(place, f"{_beside(apart[0])}; the nodes that this one hears are the larger part, and go on")
            elif apart:
                reason = f"{place.name}: {_beside(apart[0])}"
                self._tell(place, _beside(apart[0]))
        self._strangers = found
        self._apart("" if self._shared else reason)

    def _is_larger(self, held: Sequence[Held], strangers: Sequence[Held]) -> bool:
        """Whether this node is in the larger part of nodes that were joined; of two halves, that with the lowest id."""
        me = self._peers.me
        if me is None or any(one.occupant is None or one.occupant.joined_by != me.joined_by for one in strangers):
            return False
        missing = self._not_joined(held)
        ours = [me.node, *(_node_of(one) for one in held if one not in missing)]
        theirs = [_node_of(one) for one in strangers]
        return len(ours) > len(theirs) or (len(ours) == len(theirs) and min(ours) < min(theirs))

    def _not_joined(self, held: Sequence[Held]) -> list[Held]:
        return [one for one in held if not (_is_node(one) and self._peers.is_alive(_node_of(one)))]

    def _tell(self, place: JoinedPlace, what: str) -> None:
        if self._told != f"{place.name} {what}":
            self._told = f"{place.name} {what}"
            _log.warning("this node may not be joined with all that use its store", place=place.name, reason=what)


def joined_places(settings: Settings, occupant: Occupant) -> Sequence[JoinedPlace]:
    """Every place of this configuration that joined nodes share: its databases.

    Raises ConfigError when the driver of one is not installed.
    """
    found: list[JoinedPlace] = []
    for section, server, tables in databases_in_use(settings):
        # Takes a while to import, which nodes that need no database should not pay for.
        from sockudo.storage.joined_places import JoinedSqlPlace

        found.append(JoinedSqlPlace(server, tables, occupant, section=section))
    return found


def _node_of(held: Held) -> str:
    return "" if held.occupant is None else held.occupant.node


def _is_node(held: Held) -> bool:
    return bool(_node_of(held))


def _refusal(place: JoinedPlace, held: Held) -> errors.SockudoError:
    return errors.SERVICE_UNAVAILABLE(
        f"Same store, not joined: {held.who} uses {place.name} and is not joined with this server. "
        "Clients of one would not get what is published at the other. Give both the same settings under adapter, or "
        "this one a place of its own; --shared-stores (instance.shared_stores = true) starts this one all the same."
    )


def _beside(held: Held) -> str:
    return f"another server ({held.who}) uses it as well and is not joined with this one"
