"""What recorders of a place tell each other, and what each knows of it (spec: platform § 10.10)."""

from __future__ import annotations

from typing import ClassVar

from sockudo.cluster.items import Item, Request
from sockudo.publishing.topics import Place

__all__ = ["HandOver", "Record", "Reported", "Role", "Settled", "whole"]


class Record(Request, frozen=True, tag="record"):
    """The node has entries in these places, which the receiver is to record.

    ``known`` are places that have been recorded before: what is found there was reported.
    """

    reply: ClassVar = bool

    node_id: str
    places: tuple[Place, ...]
    known: bool


class Reported(Item, frozen=True, tag="reported"):
    """What the recorder of a place has reported since the last one; ``whole``: ``added`` are all."""

    app_id: str
    name: str
    added: tuple[str, ...]
    removed: tuple[str, ...] = ()
    count: int = 0
    occupied: bool = False
    whole: bool = False


class HandOver(Request, frozen=True, tag="hand_over"):
    """The receiver is the recorder of these places now, after the node ``former``; each has all that was reported."""

    reply: ClassVar = bool

    former: str
    reports: tuple[Reported, ...]


class Settled(Item, frozen=True, tag="settled"):
    """The sender has handed over all roles that belong to the receiver since that came up."""


class Role:
    """What this node records, or follows, of a place."""

    __slots__ = (
        "causes",
        "count",
        "doubted",
        "former",
        "fresh",
        "known",
        "leader",
        "leads",
        "occupied",
        "reported",
        "touched",
    )

    def __init__(self) -> None:
        self.leads = False
        # The recorder as this node knows it, and the one that lives and has not handed over to this node yet.
        self.leader = ""
        self.former = ""
        # Whether nothing has been reported yet, here or before it was handed over.
        self.fresh = True
        # Whether what is found at the first look has been reported by a recorder that is lost.
        self.known = False
        self.reported: dict[str, None] = {}
        # Of these nodes have reported different things.
        self.doubted: set[str] = set()
        self.occupied = False
        self.count = 0
        # Keys to look at; None stands for all.
        self.touched: set[str] | None = None
        self.causes: dict[str, tuple[str, str | None, str | None]] = {}


def whole(place: Place, role: Role) -> Reported:
    """All that was reported of a place."""
    return Reported(*place, tuple(role.reported), (), role.count, role.occupied, whole=True)
