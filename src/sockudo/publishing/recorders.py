"""Which of several nodes reports what comes and goes on the whole server (spec: platform § 10.10).

Each place (a channel, a user) has a recorder: the first of the nodes in the order in which they take it over. It knows
the roster of the place, and reports the difference between that and what was reported. The second node knows both as
well, and goes on when the first one is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal

import msgspec

from sockudo.cluster.items import Item, node_topic
from sockudo.cluster.ports import Bus, Membership, NodeChange, Received
from sockudo.cluster.router import Router
from sockudo.hub.edges import (
    ChannelCounted,
    ChannelOccupied,
    ChannelVacated,
    Edges,
    MemberReported,
    UserReported,
)
from sockudo.hub.presence import Cause, MemberEvent
from sockudo.protocol.names import USER_CHANNEL_PREFIX, channel_kind
from sockudo.publishing.roster_items import COUNT, OwnEntries, RosterChange
from sockudo.publishing.rosters import Rosters
from sockudo.publishing.topics import Place

__all__ = ["Recorders"]

# Seconds within which a node that was the recorder before tells one that has just come what it reported.
_HANDED_OVER_WITHIN: Final = 4.0
# Places in one item.
_BATCH: Final = 1_000


class Recorded(Item, frozen=True, tag="recorded"):
    """The sender has entries in these places, which the receiver is to record.

    ``known`` are places that have been recorded before: what is found there was reported.
    """

    places: tuple[Place, ...]
    known: bool


class Reported(Item, frozen=True, tag="reported"):
    """What the recorder of a place has reported since the last one; ``whole``: ``added`` are all.

    ``lead`` hands the role over.
    """

    app_id: str
    name: str
    added: tuple[str, ...]
    removed: tuple[str, ...] = ()
    count: int = 0
    occupied: bool = False
    whole: bool = False
    lead: bool = False


class Settled(Item, frozen=True, tag="settled"):
    """The sender has handed over all roles that belong to the receiver since that came up."""


class _Role:
    """What this node records, or follows, of a place."""

    __slots__ = ("causes", "count", "known", "leads", "occupied", "told", "touched")

    def __init__(self) -> None:
        self.leads = False
        # Whether what is found at the first look has been reported by a recorder that is lost.
        self.known = False
        self.told: dict[str, None] = {}
        self.occupied = False
        self.count = 0
        # Keys to look at; None stands for all.
        self.touched: set[str] | None = None
        self.causes: dict[str, tuple[str, str | None, str | None]] = {}


class Recorders:
    """The roles of this node. ``wants`` says whether anything of an app is reported; nothing is kept before a join."""

    def __init__(
        self,
        bus: Bus,
        membership: Membership,
        router: Router,
        rosters: Rosters,
        own: OwnEntries,
        edges: Edges,
        wants: Callable[[str], bool],
    ) -> None:
        self._bus = bus
        self._membership = membership
        self._rosters = rosters
        self._own = own
        self._edges = edges
        self._wants = wants
        self._roles: dict[Place, _Role] = {}
        self._due: dict[Place, None] = {}
        self._timers: set[asyncio.TimerHandle] = set()
        # Nodes that came up and may still hand over roles.
        self._unsettled: set[str] = set()
        router.on_item(Recorded, self._recorded)
        router.on_item(Reported, self._reported)
        router.on_item(Settled, self._settled)
        rosters.changed.append(self._changed_elsewhere)
        rosters.changed_own.append(self._changed_here)
        rosters.completed_again.append(self._touch)
        membership.watch(self._nodes_changed)
        self._join()

    def close(self) -> None:
        """Ends what waits for its time."""
        for timer in self._timers:
            timer.cancel()

    def is_gone(self, app_id: str, channel: str, user_id: str) -> bool:
        """Whether it is certain here that a member of the history is on no node, and for this node to take out."""
        if not self._edges.shared:
            return True
        place = Place(app_id, channel)
        role = self._roles.get(place)
        if role is None or not role.leads or not self._may_report(place):
            return False
        return not self._is_present(place, user_id)

    # ---- joining ----

    def _join(self) -> None:
        if self._edges.shared or (self._bus.alone and not self._bus.networked):
            return
        self._edges.shared = True
        self._bus.subscribe(node_topic(self._membership.me.id))
        for place in tuple(self._rosters.own_places()):
            # Until now this node reported all that it has.
            role = self._role(place)
            if role is not None:
                role.told = dict.fromkeys(self._keys(place))
                role.count, role.occupied = self._own.count(place), self._own.any(place)

    def _ranked(self, place: Place) -> tuple[str, str | None]:
        first, *rest = self._membership.ranked(f"{place.app_id}/{place.name}")[:2]
        return first.id, rest[0].id if rest else None

    def _role(self, place: Place) -> _Role | None:
        """The role of this node, made when it is missing; None where it has none."""
        role = self._roles.get(place)
        if role is not None:
            return role
        first, second = self._ranked(place)
        me = self._membership.me.id
        if me not in (first, second) or not self._wants(place.app_id):
            return None
        role = self._roles[place] = _Role()
        role.leads = first == me
        self._rosters.watch(place, "recorder")
        return role

    def _drop(self, place: Place) -> None:
        if self._roles.pop(place, None) is not None:
            self._rosters.unwatch(place, "recorder")

    def _nodes_changed(self, change: NodeChange) -> None:
        self._join()
        for place, role in tuple(self._roles.items()):
            self._reassign(place, role)
        node_id = change.node.id
        if node_id == self._membership.me.id:
            return
        if change.what == "up":
            self._unsettled.add(node_id)
            self._later(_HANDED_OVER_WITHIN, lambda: self._settle(node_id))
            self._bus.publish(node_topic(node_id), Settled())
        else:
            self._settle(node_id)
            self._announce(tuple(self._rosters.own_places()), known=True)

    def _settled(self, received: Received, _item: Settled) -> None:
        self._settle(received.sender.id)

    def _settle(self, node_id: str) -> None:
        if node_id in self._unsettled:
            self._unsettled.discard(node_id)
        if not self._unsettled:
            for place in self._roles:
                self._touch(place)

    def _reassign(self, place: Place, role: _Role) -> None:
        first, second = self._ranked(place)
        me = self._membership.me.id
        led = role.leads
        role.leads = first == me
        if led and not role.leads:
            self._hand_over(place, role, first, lead=True)
        if (led or role.leads) and second not in (None, me):
            self._hand_over(place, role, second, lead=False)
        if me not in (first, second):
            self._drop(place)
        elif role.leads and not led:
            role.touched = None
            self._touch(place)

    def _hand_over(self, place: Place, role: _Role, node_id: str | None, *, lead: bool) -> None:
        told = tuple(role.told)
        report = Reported(*place, told, (), role.count, role.occupied, whole=True, lead=lead)
        self._bus.publish(node_topic(node_id or ""), report)

    # ---- what changes ----

    def announce(self) -> None:
        """Names all places with entries of this node to their recorders again, as that may have been lost."""
        if self._edges.shared:
            self._announce(tuple(self._rosters.own_places()), known=True)

    def _announce(self, places: Iterable[Place], *, known: bool) -> None:
        by_node: dict[str, list[Place]] = {}
        for place in places:
            if not self._wants(place.app_id):
                continue
            for node_id in filter(None, self._ranked(place)):
                by_node.setdefault(node_id, []).append(place)
        for node_id, found in by_node.items():
            if node_id == self._membership.me.id:
                for place in found:
                    self._take_up(place, known=known)
                continue
            for start in range(0, len(found), _BATCH):
                self._bus.publish(node_topic(node_id), Recorded(tuple(found[start : start + _BATCH]), known))

    def _recorded(self, _received: Received, item: Recorded) -> None:
        for place in map(Place._make, item.places):
            self._take_up(place, known=item.known)

    def _take_up(self, place: Place, *, known: bool) -> None:
        if place in self._roles:
            return
        role = self._role(place)
        if role is not None:
            role.known = known
            self._touch(place)

    def _changed_here(self, place: Place, first: bool, change: RosterChange) -> None:
        if not self._edges.shared:
            return
        if first:
            self._announce([place], known=False)
        self._changed_elsewhere(place, change)

    def _changed_elsewhere(self, place: Place, change: RosterChange) -> None:
        role = self._roles.get(place)
        if role is None:
            return
        for key in change.put:
            role.causes[key] = ("join", change.sockets.get(key), change.node_id)
        for key, cause in change.removed.items():
            role.causes[key] = (cause, change.sockets.get(key), change.node_id)
        if role.touched is not None:
            role.touched.update(change.put, change.removed)
        self._touch(place)

    def _touch(self, place: Place) -> None:
        if place not in self._roles:
            return
        if not self._due:
            asyncio.get_running_loop().call_soon(self._report_due)
        self._due[place] = None

    # ---- reporting ----

    def _report_due(self) -> None:
        due, self._due = self._due, {}
        for place in due:
            role = self._roles.get(place)
            if role is not None and role.leads and self._may_report(place):
                self._report(place, role)

    def _may_report(self, place: Place) -> bool:
        members = self._membership
        return not self._unsettled and self._rosters.knows(place) and not members.deaf and not members.fenced()

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        def run() -> None:
            self._timers.discard(timer)
            call()

        timer = asyncio.get_running_loop().call_later(seconds, run)
        self._timers.add(timer)

    def _report(self, place: Place, role: _Role) -> None:
        users = place.name.startswith(USER_CHANNEL_PREFIX)
        count = self._rosters.count(place)
        keys = {*role.told, *self._keys(place)} if role.touched is None else role.touched
        role.touched = set()
        present = {key: self._is_present(place, key) for key in keys if key != COUNT}
        added = [key for key, there in present.items() if there and key not in role.told]
        removed = [key for key, there in present.items() if not there and key in role.told]
        occupied = count > 0 or bool(len(role.told) + len(added) - len(removed))
        if role.known:
            role.known = False
            role.told = dict.fromkeys(key for key, there in present.items() if there)
            role.occupied, role.count = occupied, count
            return
        if users:
            self._report_user(place, role, occupied)
        else:
            self._report_channel(place, role, count, occupied, added, removed)
        changed = bool(added or removed or occupied != role.occupied or count != role.count)
        role.told.update(dict.fromkeys(added))
        for key in removed:
            role.told.pop(key, None)
        role.occupied, role.count = occupied, count
        role.causes.clear()
        _, second = self._ranked(place)
        if changed and second is not None:
            report = Reported(*place, tuple(added), tuple(removed), count, occupied)
            self._bus.publish(node_topic(second), report)
        if not occupied:
            self._drop(place)

    def _report_user(self, place: Place, role: _Role, online: bool) -> None:
        if online != role.occupied:
            self._edges.emit(UserReported(place.app_id, place.name.removeprefix(USER_CHANNEL_PREFIX), online))

    def _report_channel(
        self, place: Place, role: _Role, count: int, occupied: bool, added: list[str], removed: list[str]
    ) -> None:
        if occupied and not role.occupied:
            self._edges.emit(ChannelOccupied(*place))
        if count != role.count and not channel_kind(place.name).presence:
            self._edges.emit(ChannelCounted(*place, count))
        for user_id in added:
            self._edges.emit(MemberReported(*place, self._event("member_added", "join", place, role, user_id)))
        for user_id in removed:
            self._edges.emit(MemberReported(*place, self._event("member_removed", "disconnect", place, role, user_id)))
        if role.occupied and not occupied:
            self._edges.emit(ChannelVacated(*place))

    def _event(
        self,
        kind: Literal["member_added", "member_removed"],
        cause: Cause,
        place: Place,
        role: _Role,
        user_id: str,
    ) -> MemberEvent:
        known, socket_id, node_id = role.causes.get(user_id, (cause, None, None))
        info = self._info(place, user_id) if kind == "member_added" else None
        return MemberEvent(kind, msgspec.convert(known, Cause), user_id, socket_id, info, node_id)

    def _reported(self, _received: Received, item: Reported) -> None:
        place = Place(item.app_id, item.name)
        role = self._role(place)
        if role is None:
            return
        if item.whole:
            role.told = dict.fromkeys(item.added)
        else:
            role.told.update(dict.fromkeys(item.added))
            for key in item.removed:
                role.told.pop(key, None)
        role.occupied, role.count, role.known = item.occupied, item.count, False
        if not item.occupied and not role.leads:
            self._drop(place)
        elif role.leads:
            role.touched = None
            self._touch(place)

    # ---- what is there ----

    def _keys(self, place: Place) -> set[str]:
        keys = set(self._own.entries(place))
        for _, entries in self._rosters.views(place):
            keys.update(entries)
        keys.discard(COUNT)
        return keys

    def _is_present(self, place: Place, key: str) -> bool:
        return self._own.info(place, key) is not None or self._rosters.is_present(place, key)

    def _info(self, place: Place, user_id: str) -> bytes | None:
        mine = self._own.info(place, user_id)
        views: Iterable[tuple[str, Mapping[str, bytes]]] = self._rosters.views(place)
        found: Any = mine if mine is not None else next((e[user_id] for _, e in views if user_id in e), None)
        return found  # type: ignore[no-any-return]  # the values of entries
