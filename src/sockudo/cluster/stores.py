"""Stores outside of the nodes: what is claimed, counted and kept in one place for all of them (spec: platform § 10.4).

Times to live are counted by the store's own clock. A call ends in time, or raises ``errors.SERVICE_UNAVAILABLE``: then
it may still have been carried out, which does no harm when it is made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

__all__ = ["Added", "CacheStore", "Claiming", "Outcome", "StoreOfNodes", "StoredEvent", "WindowPlace", "WindowStore"]


class StoreOfNodes(Protocol):
    """What every such store has."""

    async def start(self) -> None:
        """Connects. Raises ``errors.SERVICE_UNAVAILABLE`` that names the setting, when it cannot be used as it says."""

    async def close(self) -> None:
        """Ends what is under way. Calling it twice does no harm."""

    async def check(self) -> bool:
        """True while it answers; raises like every call."""
        ...


Outcome = Literal["claimed", "done", "running", "conflict"]


class Claiming(NamedTuple):
    """What comes of claiming a key: ``done`` has the reply of what was done under it."""

    outcome: Outcome
    reply: bytes = b""


class StoredEvent(NamedTuple):
    """The last event of a channel as bytes, and its place in a stream; ``""`` and 0 without one."""

    value: bytes
    stream_id: str = ""
    serial: int = 0


class CacheStore(StoreOfNodes, Protocol):
    """Keys that are claimed once, and last events of channels; both are named by 16 bytes of a hash."""

    async def claim(self, key: bytes, mark: bytes, name: str, lease: float) -> Claiming:
        """Claims a key under the claim's ``name`` for ``lease`` seconds; again under the same name renews them."""
        ...

    async def end(self, key: bytes, mark: bytes, name: str, reply: bytes | None, ttl: float) -> None:
        """What was claimed is done, and answers with ``reply`` for ``ttl`` seconds; with None it failed, and is free.

        A claim whose lease has ended keeps its reply, unless the key was claimed again.
        """

    async def put(self, key: bytes, event: StoredEvent, ttl: float) -> None:
        """Keeps a channel's last event for ``ttl`` seconds; one that is earlier in the same stream is left out."""

    async def get(self, key: bytes) -> tuple[bytes, float] | None:
        """The bytes of a channel's last event, and for how many seconds it is still kept; None where there is none."""
        ...


class WindowPlace(NamedTuple):
    """A window of a counter: its name, what is counted, and how many seconds it is long."""

    name: str
    key: str
    seconds: int


class Added(NamedTuple):
    """What a node counted since the last exchange, what it knows to be counted in all, and the seconds left."""

    place: WindowPlace
    added: int
    total: int
    left: float


class WindowStore(StoreOfNodes, Protocol):
    """Windows whose hits are added up."""

    async def add(self, hits: Sequence[Added]) -> Sequence[tuple[int, float]]:
        """Adds hits; the total of each place and the seconds left of its window, in order.

        A window that the store does not have begins with what the node knows of it. No place is in ``hits`` twice.
        """
        ...
