"""Which of several nodes reports what comes and goes on the whole server (spec: platform § 10.10).

Each place (a channel, a user) has a recorder: the first of the nodes in the order in which they take it over. It knows
the roster of the place, and reports the difference between that and what was reported. The second node knows both as
well, and goes on when the first one is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable
from itertools import islice
from typing import Any, Final

from sockudo.base.tasks import end_tasks, start_tasks
from sockudo.cluster.items import node_topic
from sockudo.cluster.ports import DEADLINE, Bus, Membership, NodeChange, Received
from sockudo.cluster.router import Router
from sockudo.hub.edges import Edges
from sockudo.publishing.recorder_items import HandOver, Record, Reported, Role, Settled, whole
from sockudo.publishing.reporter import Reporter
from sockudo.publishing.roster_items import OwnEntries, RosterChange
from sockudo.publishing.rosters import Rosters
from sockudo.publishing.topics import Place

__all__ = ["Recorders"]

# Seconds within which a node that was the recorder before tells one that has just come what it reported.
_HANDED_OVER_WITHIN: Final = 4.0
# Places in one item.
_BATCH: Final = 1_000


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
        self._reporter = Reporter(rosters, own, edges)
        self._wants = wants
        self._roles: dict[Place, Role] = {}
        self._due: dict[Place, None] = {}
        self._timers: set[asyncio.TimerHandle] = set()
        # Places whose role another node has to take over, by its id.
        self._handing: dict[str, dict[Place, None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # Nodes that came up and may still hand over roles, and those that had none before they were seen.
        self._early: set[str] = set()
        # Places with entries of this node that their recorder has taken up.
        self._taken_up: set[Place] = set()
        self._unsettled: set[str] = set()
        router.on_request(Record, self._record)
        router.on_item(Reported, self._reported)
        router.on_item(Settled, self._settled)
        router.on_request(HandOver, self._handed_over)
        rosters.changed.append(self._changed_elsewhere)
        rosters.changed_own.append(self._changed_here)
        rosters.completed_again.append(self._touch)
        membership.watch(self._nodes_changed)
        membership.watch_drains(self._reassign_all)
        self._join()

    @property
    def led(self) -> int:
        """Of how many places this node is the recorder."""
        return sum(role.leads for role in self._roles.values())

    async def close(self) -> None:
        """Ends what is under way."""
        for timer in self._timers:
            timer.cancel()
        await end_tasks(self._tasks)

    def is_gone(self, app_id: str, channel: str, user_id: str) -> bool:
        """Whether it is certain here that a member of the history is on no node, and for this node to take out."""
        if not self._edges.shared:
            return True
        place = Place(app_id, channel)
        role = self._roles.get(place)
        if role is None or not role.leads or not self._may_report(place):
            return False
        return not self._reporter.is_present(place, user_id)

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
                role.reported = dict.fromkeys(self._reporter.keys(place))
                role.count, role.occupied, role.fresh = self._own.count(place), self._own.any(place), False

    def _ranked(self, place: Place) -> tuple[str, str | None]:
        first, *rest = self._membership.ranked(f"{place.app_id}/{place.name}")[:2]
        return first.id, rest[0].id if rest else None

    def _role(self, place: Place, *, named: bool = False) -> Role | None:
        """The role of this node, made when it is missing; None where it has none.

        ``named``: the recorder holds it for the second, which may see another node live for a moment.
        """
        role = self._roles.get(place)
        if role is not None:
            return role
        first, second = self._ranked(place)
        me = self._membership.me.id
        if (me not in (first, second) and not named) or not self._wants(place.app_id):
            return None
        role = self._roles[place] = Role()
        role.leads = first == me
        role.leader = first
        self._rosters.watch(place, "recorder")
        return role

    def _drop(self, place: Place) -> None:
        if self._roles.pop(place, None) is not None:
            self._rosters.unwatch(place, "recorder")

    def _nodes_changed(self, change: NodeChange) -> None:
        self._join()
        self._reassign_all()
        node_id = change.node.id
        if node_id == self._membership.me.id:
            return
        if change.what == "up":
            if not self._bus.networked:
                # Inside a process a node comes up with what it has handed over already.
                return
            if node_id in self._early:
                self._early.discard(node_id)
            else:
                self._unsettled.add(node_id)
                self._later(_HANDED_OVER_WITHIN, lambda: self._settle(node_id))
            if node_id not in self._handing:
                self._bus.publish(node_topic(node_id), Settled())
        else:
            self._early.discard(node_id)
            self._settle(node_id)
            self._announce(tuple(self._rosters.own_places()))

    def _reassign_all(self) -> None:
        for place, role in tuple(self._roles.items()):
            self._reassign(place, role)

    async def hand_over(self, seconds: float) -> None:
        """Drains the node; returns when others have taken over what it recorded, or after so long."""
        self._report_due()
        self._membership.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*self._tasks)
                # An answer shows that all that was sent to the node before has arrived.
                others = [node.id for node in self._membership.live() if node.id != self._membership.me.id]
                if others and self._edges.shared:
                    await self._bus.ask(Record(self._membership.me.id, (), known=True), deadline=seconds, nodes=others)

    def _settled(self, received: Received, _item: Settled) -> None:
        node_id = received.sender.id
        if not self._membership.is_alive(node_id):
            self._early.add(node_id)
        self._settle(node_id)

    def _settle(self, node_id: str) -> None:
        if node_id in self._unsettled:
            self._unsettled.discard(node_id)
        if not self._unsettled:
            for place in self._roles:
                self._touch(place)

    def _reassign(self, place: Place, role: Role) -> None:
        first, second = self._ranked(place)
        me = self._membership.me.id
        led, leader = role.leads, role.leader
        role.leads, role.leader = first == me, first
        if role.leads and not led and leader != me and self._membership.is_alive(leader):
            # It drains, and hands over.
            role.former = leader
            self._later(_HANDED_OVER_WITHIN, lambda: self._take_over(place, role))
        elif role.former and not self._membership.is_alive(role.former):
            self._take_over(place, role)
        if led and not role.leads and not role.fresh:
            self._hand_over(place, first)
        elif role.leads and second is not None and not role.fresh:
            self._bus.publish(node_topic(second), whole(place, role))
        elif me not in (first, second) and not self._is_handing(place):
            self._drop(place)
        if role.leads and not led:
            role.touched = None
            self._touch(place)

    def _take_over(self, place: Place, role: Role) -> None:
        role.former = ""
        self._touch(place)

    def _is_handing(self, place: Place) -> bool:
        return any(place in places for places in self._handing.values())

    def _hand_over(self, place: Place, node_id: str) -> None:
        handing = self._handing.get(node_id)
        if handing is not None:
            handing[place] = None
            return
        self._handing[node_id] = {place: None}
        self._start(self._hand_all_over(node_id))

    async def _hand_all_over(self, node_id: str) -> None:
        """Goes on until the other node has all of them, or is lost itself."""
        places = self._handing[node_id]
        while places and self._membership.is_alive(node_id):
            some = list(islice(places, _BATCH))
            reports = tuple(whole(place, self._roles[place]) for place in some if place in self._roles)
            answers = await self._bus.ask(HandOver(self._membership.me.id, reports), deadline=DEADLINE, nodes=[node_id])
            if not answers.values.get(node_id):
                await asyncio.sleep(DEADLINE)
                continue
            for place in some:
                places.pop(place, None)
                if self._membership.me.id not in self._ranked(place):
                    self._drop(place)
        del self._handing[node_id]
        self._bus.publish(node_topic(node_id), Settled())
        for place in places:
            role = self._roles.get(place)
            if role is not None:
                self._reassign(place, role)

    # ---- what changes ----

    def announce(self) -> None:
        """Names all places with entries of this node to their recorders again, as that may have been lost."""
        if self._edges.shared:
            own = self._rosters.own_places()
            self._taken_up.intersection_update(own)
            self._announce(tuple(own))

    def _announce(self, places: Iterable[Place]) -> None:
        by_node: dict[tuple[str, bool], list[Place]] = {}
        for place in places:
            if not self._wants(place.app_id):
                continue
            for node_id in filter(None, self._ranked(place)):
                by_node.setdefault((node_id, place in self._taken_up), []).append(place)
        for (node_id, known), found in by_node.items():
            if node_id == self._membership.me.id:
                for place in found:
                    self._take_up(place, known=known)
                self._taken_up.update(found)
                continue
            for start in range(0, len(found), _BATCH):
                self._start(self._name(node_id, tuple(found[start : start + _BATCH]), known))

    async def _name(self, node_id: str, places: tuple[Place, ...], known: bool) -> None:
        answers = await self._bus.ask(Record(self._membership.me.id, places, known), deadline=DEADLINE, nodes=[node_id])
        if answers.values.get(node_id):
            self._taken_up.update(places)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        [task] = start_tasks(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _record(self, request: Record) -> bool:
        for place in map(Place._make, request.places):
            # What it has there may not have arrived yet, and without it the place would look empty. The roster
            # may be known for another reason than a role.
            self._rosters.refresh(place, request.node_id)
            self._take_up(place, known=request.known)
        return True

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
            self._taken_up.discard(place)
            self._announce([place])
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
            if role is not None and role.leads and not role.former and self._may_report(place):
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

    def _report(self, place: Place, role: Role) -> None:
        report = self._reporter.report(place, role)
        _, second = self._ranked(place)
        if report is not None and second is not None:
            self._bus.publish(node_topic(second), report)
        if not role.occupied:
            self._drop(place)

    def _reported(self, received: Received, item: Reported) -> None:
        place = Place(item.app_id, item.name)
        role = self._role(place, named=True)
        if role is None or (role.leads and role.former != received.sender.id):
            # Two nodes may hold themselves for the recorder for a moment: one of them will hand over.
            return
        if item.whole:
            role.reported = dict.fromkeys(item.added)
        else:
            role.reported.update(dict.fromkeys(item.added))
            for key in item.removed:
                role.reported.pop(key, None)
        role.occupied, role.count, role.known, role.fresh = item.occupied, item.count, False, False
        if not item.occupied:
            self._drop(place)

    def _handed_over(self, request: HandOver) -> bool:
        if not self._membership.is_alive(request.former):
            # This node does not know the others yet, and would take their members for gone.
            return False
        for report in request.reports:
            place = Place(report.app_id, report.name)
            role = self._role(place, named=True)
            if role is None:
                continue
            reported = dict.fromkeys(report.added)
            if role.leads and not role.former and not role.fresh:
                # Both have reported, in two halves of a split: where they differ the truth is reported once more.
                role.doubted.update(role.reported.keys() ^ reported.keys())
            else:
                role.reported, role.occupied, role.count = reported, report.occupied, report.count
            # Perhaps before this node sees that it is the recorder now.
            role.leads, role.leader = True, self._membership.me.id
            role.known, role.touched, role.fresh, role.former = False, None, False, ""
            self._touch(place)
        return True
