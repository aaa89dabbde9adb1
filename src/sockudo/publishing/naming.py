"""Places with entries of this node, as it names them to the nodes that record them (spec: platform § 10.10)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from sockudo.cluster.ports import DEADLINE, Bus, Membership
from sockudo.publishing.recorder_items import Record
from sockudo.publishing.rosters import Rosters
from sockudo.publishing.topics import Place

__all__ = ["PLACES_IN_ITEM", "Naming", "ranked"]

PLACES_IN_ITEM: Final = 1_000
"""Places in one item or request between nodes."""


def ranked(membership: Membership, place: Place) -> tuple[str, str | None]:
    """The node that records a place and the one that follows it, by id."""
    first, *rest = membership.ranked(f"{place.app_id}/{place.name}")[:2]
    return first.id, rest[0].id if rest else None


class Naming:
    """Names places of apps of which ``wants`` says that something is reported to both nodes of each.

    ``start`` runs what waits for an answer; ``take_up`` records a place here, and is given whether what is there has
    been reported before, and whether the place was named before.
    """

    def __init__(
        self,
        bus: Bus,
        membership: Membership,
        rosters: Rosters,
        wants: Callable[[str], bool],
        start: Callable[[Coroutine[Any, Any, None]], None],
        take_up: Callable[[Place, bool, bool], None],
    ) -> None:
        self._bus = bus
        self._membership = membership
        self._rosters = rosters
        self._wants = wants
        self._start = start
        self._take_up = take_up
        # Those of which another node has reported what was there.
        self._reported: set[Place] = set()

    def name_first(self, place: Place) -> None:
        """This node has an entry there, and had none."""
        self._reported.discard(place)
        self._name([place], again=False)

    def name_unreported(self) -> None:
        """Names those of which no other node has reported anything, as they may have other recorders now."""
        self._name([place for place in self._rosters.own_places() if place not in self._reported])

    def name_all(self) -> None:
        """Names all of them: what was said of them may be lost."""
        own = self._rosters.own_places()
        self._reported.intersection_update(own)
        self._name(tuple(own))

    def _name(self, places: Iterable[Place], *, again: bool = True) -> None:
        by_node: defaultdict[tuple[str, bool], list[Place]] = defaultdict(list)
        for place in places:
            if not self._wants(place.app_id):
                continue
            for node_id in filter(None, ranked(self._membership, place)):
                by_node[node_id, place in self._reported].append(place)
        for (node_id, reported), found in by_node.items():
            if node_id == self._membership.me.id:
                for place in found:
                    self._take_up(place, reported, again)
                continue
            for start in range(0, len(found), PLACES_IN_ITEM):
                some = tuple(found[start : start + PLACES_IN_ITEM])
                self._start(self._name_to(node_id, Record(self._membership.me.id, some, reported, again)))

    async def _name_to(self, node_id: str, request: Record) -> None:
        answers = await self._bus.ask(request, deadline=DEADLINE, nodes=[node_id])
        if answers.values.get(node_id):
            self._reported.update(request.places)
