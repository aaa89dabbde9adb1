"""What nodes send each other about rosters (spec: platform § 10.5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, NamedTuple, Protocol

import msgspec

from sockudo.cluster.items import Item, Request
from sockudo.publishing.topics import Place

__all__ = ["COUNT", "EntriesChanged", "EntriesOf", "OwnEntries", "RosterChange", "State"]

COUNT: Final = ""
"""The key of the entry that says how many subscriptions of a channel a node has, in digits; no user id is empty."""


class EntriesChanged(Item, frozen=True, tag="entries"):
    """A node's entries of a roster changed: ``put`` by key, ``removed`` with the causes.

    ``version`` is the node's newest, ``previous`` the one of its last change here, 0 where it had no entry. ``sockets``
    says which connection did it, where one did.
    """

    app_id: str
    name: str
    previous: int
    version: int
    put: dict[str, bytes]
    removed: dict[str, str] = msgspec.field(default_factory=dict)
    sockets: dict[str, str] = msgspec.field(default_factory=dict)


class State(NamedTuple):
    """All entries of a node at a version; without ``entries`` they are as the asking node knows them.

    Incarnation 0 stands for those that did not fit into the answer.
    """

    incarnation: int
    version: int
    entries: dict[str, bytes] | None


class EntriesOf(Request, frozen=True, tag="entries_of"):
    """Asks a node for its entries of rosters; ``known`` is the incarnation and version that is known of each.

    The answer has about ``most`` entries, but the whole of one roster; 0, as older nodes ask, for all. Of the places
    that are ``counted`` it has the number of subscriptions, too, of which the node hears from then on for a while.
    """

    reply: ClassVar = tuple[State, ...]

    places: tuple[Place, ...]
    known: tuple[tuple[int, int], ...]
    most: int = 0
    counted: tuple[Place, ...] = ()


class RosterChange(NamedTuple):
    """What another node's entries have become: ``put`` by key, ``removed`` with causes."""

    node_id: str
    put: Mapping[str, bytes]
    removed: Mapping[str, str]
    sockets: Mapping[str, str]


class OwnEntries(Protocol):
    """This node's own entries, from what lives on it."""

    def entries(self, place: Place) -> dict[str, bytes]:
        """All entries there."""
        ...

    def info(self, place: Place, user_id: str) -> bytes | None:
        """The entry of one member; None where there is none."""
        ...

    def any(self, place: Place) -> bool:
        """Whether there are any; costs the same for many as for one."""
        ...

    def count(self, place: Place) -> int:
        """The subscriptions of a channel on this node, where they are counted."""
        ...

    def want_count(self, place: Place) -> bool:
        """Counts the subscriptions of a channel for some time; whether that makes an entry that there was not."""
        ...
