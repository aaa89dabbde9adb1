"""What recorders of a place tell each other, and what each knows of it (spec: platform § 10.10)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import msgspec

from sockudo.cluster.items import Item, Request
from sockudo.publishing.roster_items import COUNT
from sockudo.publishing.topics import Place

__all__ = ["Behind", "HandOver", "Record", "Reported", "Role", "Settled", "covers", "whole"]

# Nodes whose reports are counted for a place: those that recorded it last.
_MOST_SEEN: Final = 8
# A count of which nodes have reported different numbers.
_DOUBTED: Final = -1


class Record(Request, frozen=True, tag="record"):
    """The node has entries in these places, which the receiver is to record.

    ``known`` are places that have been recorded before: what is found there was reported. ``again`` are those that were
    named to some node before.
    """

    reply: ClassVar = bool

    node_id: str
    places: tuple[Place, ...]
    known: bool
    again: bool = False


class Reported(Item, frozen=True, tag="reported"):
    """What the recorder of a place has reported since the last one; ``whole``: ``added`` are all.

    ``seen`` says of each node how many of its reports are in it; a change goes ``after`` those of other reports. Of
    keys that are ``doubted`` nodes have reported different things. A node of an older version counts nothing.
    """

    app_id: str
    name: str
    added: tuple[str, ...]
    removed: tuple[str, ...] = ()
    count: int = 0
    occupied: bool = False
    whole: bool = False
    seen: dict[str, int] = msgspec.field(default_factory=dict)
    after: dict[str, int] = msgspec.field(default_factory=dict)
    doubted: tuple[str, ...] = ()


class Behind(Item, frozen=True, tag="behind"):
    """The sender may lack reports of these places, beyond those that it has ``seen``."""

    places: tuple[Place, ...]
    seen: tuple[dict[str, int], ...]


class HandOver(Request, frozen=True, tag="hand_over"):
    """The receiver is the recorder of these places now, after the node ``former``; each has all that was reported."""

    reply: ClassVar = bool

    former: str
    reports: tuple[Reported, ...]


class Settled(Item, frozen=True, tag="settled"):
    """The sender has passed on what belongs to others among the nodes that it sees; ``view`` stands for those."""

    view: bytes = b""


class Role:
    """What this node records, or follows, of a place. Reports are counted by one counter of each node."""

    __slots__ = (
        "causes",
        "count",
        "doubted",
        "first",
        "known",
        "leads",
        "missing",
        "occupied",
        "reported",
        "second",
        "seen",
        "touched",
    )

    def __init__(self) -> None:
        self.leads = False
        # The recorder and the second, as long as this node is one of them or has to give them what it knows; and those
        # of them that lack it.
        self.first = ""
        self.second: str | None = None
        self.missing: set[str] = set()
        # How many reports of each node are in what is known here; none, when nothing has been reported yet.
        self.seen: dict[str, int] = {}
        # Whether what is found at the first look has been reported by a recorder that is lost.
        self.known = False
        self.reported: dict[str, None] = {}
        # Keys of which nodes have reported different things.
        self.doubted: set[str] = set()
        self.occupied = False
        self.count = 0
        # Keys to look at; None stands for all.
        self.touched: set[str] | None = None
        self.causes: dict[str, tuple[str, str | None, str | None]] = {}

    def note(self, node_id: str, number: int) -> None:
        """Counts one more report of a node."""
        self.seen.pop(node_id, None)
        self.seen[node_id] = number
        while len(self.seen) > _MOST_SEEN:
            del self.seen[next(iter(self.seen))]

    def follow(self, change: Reported) -> None:
        """Takes what the recorder has reported after what is known."""
        self.reported.update(dict.fromkeys(change.added))
        for key in change.removed:
            self.reported.pop(key, None)
        for key in (*change.added, *change.removed):
            self.causes.pop(key, None)
        self.count, self.occupied, self.known, self.touched = change.count, change.occupied, False, None
        self.doubted.clear()
        for node_id, number in change.seen.items():
            self.note(node_id, number)

    def merge(self, report: Reported) -> bool:
        """Takes all that another node knows; whether something of that was new here.

        Where both know of reports that the other one does not, as after a split, the difference is doubted.
        """
        if self.seen and covers(self.seen, report.seen):
            return False
        if covers(report.seen, self.seen):
            self.reported, self.seen = dict.fromkeys(report.added), dict(report.seen)
            self.count, self.occupied = report.count, report.occupied
            self.doubted = set(report.doubted)
        else:
            self.doubted.update(report.doubted, self.reported.keys() ^ set(report.added))
            if self.occupied != report.occupied:
                self.doubted.add(COUNT)
            if self.count != report.count:
                self.count = _DOUBTED
            for node_id, number in report.seen.items():
                self.note(node_id, max(self.seen.get(node_id, 0), number))
        self.known, self.touched = False, None
        return True


def covers(seen: Mapping[str, int], others: Mapping[str, int]) -> bool:
    """Whether what was seen has all that the others saw."""
    return all(seen.get(node_id, 0) >= number for node_id, number in others.items())


def whole(place: Place, role: Role) -> Reported:
    """All that was reported of a place."""
    return Reported(
        *place,
        tuple(role.reported),
        (),
        role.count,
        role.occupied,
        whole=True,
        seen=dict(role.seen),
        doubted=tuple(role.doubted),
    )
