"""Which of several nodes reports what comes and goes on the whole server (spec: platform § 10.10).

Each place (a channel, a user) has a recorder: the first of the nodes in the order in which they take it over. It knows
the roster of the place, and reports the difference between that and what was reported. The second node knows both as
well, and goes on when the first one is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Coroutine, Iterator, Sequence
from itertools import chain
from typing import Any, Final

from msgspec.structs import replace

from sockudo.base.tasks import end_tasks, start_tasks
from sockudo.cluster.items import node_topic
from sockudo.cluster.ports import Bus, Membership, NodeChange, Received
from sockudo.cluster.router import Router
from sockudo.hub.edges import Edges
from sockudo.publishing.agreement import Agreement
from sockudo.publishing.naming import PLACES_IN_ITEM, Naming, ranked
from sockudo.publishing.recorder_items import Behind, HandOver, Record, Reported, Role, covers, whole
from sockudo.publishing.reporter import Reporter
from sockudo.publishing.roster_items import OwnEntries, RosterChange
from sockudo.publishing.rosters import Rosters
from sockudo.publishing.topics import Place

__all__ = ["Recorders"]

# Places that were vacated, of which is remembered what was reported.
_MOST_VACATED: Final = 10_000
# Changes of a place that its recorder has not reported yet, as far as its second knows.
_MOST_CAUSES: Final = 1_000
# Seconds after which it is seen again whether this node may report.
_AGAIN: Final = 0.25


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
        # Those that were vacated, as another node may still say otherwise.
        self._vacated: OrderedDict[Place, Role] = OrderedDict()
        self._counter = 0
        self._due: dict[Place, None] = {}
        self._later: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._naming = Naming(bus, membership, rosters, wants, self._start, self._take_up)
        self._agreement = Agreement(
            bus, membership, router, self._start, self._known, self._passed_on, self._report_due
        )
        router.on_request(Record, self._record)
        router.on_item(Reported, self._reported)
        router.on_item(Behind, self._behind)
        router.on_request(HandOver, self._handed_over)
        router.on_gap(self._gap)
        rosters.changed.append(self._changed_elsewhere)
        rosters.changed_own.append(self._changed_here)
        rosters.completed_again.append(self._touch)
        membership.watch(self._nodes_changed)
        membership.watch_drains(self._owners_changed)
        self._join()

    @property
    def led(self) -> int:
        """Of how many places this node is the recorder."""
        return sum(role.leads for role in self._roles.values())

    async def close(self) -> None:
        """Ends what is under way."""
        if self._later is not None:
            self._later.cancel()
        await end_tasks(self._tasks)

    def roles(self) -> Iterator[tuple[Place, Role]]:
        """What this node knows of places: those that it records or follows, and those that were vacated."""
        return chain(self._roles.items(), self._vacated.items())

    def is_gone(self, app_id: str, channel: str, user_id: str) -> bool:
        """Whether it is certain here that a member of the history is on no node, and for this node to take out."""
        if not self._edges.shared:
            return True
        place = Place(app_id, channel)
        role = self._roles.get(place)
        if role is None or not role.leads or not self._rosters.knows(place) or not self._may_report():
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
                role.count, role.occupied = self._own.count(place), self._own.any(place)
                role.first, role.second = "", None
                self._note(role)

    def _role(self, place: Place, *, named: bool = False) -> Role | None:
        """The role of this node, made when it is missing; None where it has none.

        ``named``: the recorder holds it for the second, which may see another node live for a moment.
        """
        role = self._roles.get(place)
        if role is not None:
            return role
        first, second = ranked(self._membership, place)
        me = self._membership.me.id
        if (me not in (first, second) and not named) or not self._wants(place.app_id):
            return None
        role = self._roles[place] = self._vacated.pop(place) if place in self._vacated else Role()
        role.leads, role.touched = first == me, None
        # Who gives it to this node gives it to the other one, too.
        role.first, role.second = (first, second) if me in (first, second) else ("", None)
        role.missing.intersection_update((role.first, role.second))
        self._rosters.watch(place, "recorder")
        return role

    def _known(self, place: Place) -> Role | None:
        return self._roles.get(place) or self._vacated.get(place)

    def _drop(self, place: Place) -> None:
        role = self._roles.pop(place, None)
        if role is not None:
            self._rosters.unwatch(place, "recorder")
            if role.seen and not role.occupied:
                self._keep_vacated(place, role)

    def _keep_vacated(self, place: Place, role: Role) -> None:
        self._vacated[place] = role
        if len(self._vacated) > _MOST_VACATED:
            self._vacated.popitem(last=False)

    def _note(self, role: Role) -> None:
        """Counts what this node has reported, or knows as reported."""
        self._counter += 1
        role.note(self._membership.me.id, self._counter)

    # ---- who records ----

    def _nodes_changed(self, change: NodeChange) -> None:
        self._join()
        if change.node.id == self._membership.me.id:
            # Others held this one dead, and went on without what it knows.
            for _, role in self.roles():
                role.first, role.second = "", None
        self._owners_changed(lost=change.what == "down")

    def _owners_changed(self, *, lost: bool = False) -> None:
        if not self._edges.shared:
            return
        self._agreement.change()
        for place, role in tuple(self.roles()):
            self._reassign(place, role)
        self._agreement.settle()
        if lost:
            self._naming.name_all()
        else:
            self._naming.name_unreported()

    def _reassign(self, place: Place, role: Role) -> None:
        """Has the recorder and the second know what this node knows; ends its own role when it has none any more."""
        owners, me = ranked(self._membership, place), self._membership.me.id
        led, role.leads = role.leads, owners[0] == me
        if role.seen:
            had = {role.first, role.second} - role.missing
            lacking = {node_id for node_id in owners if node_id not in had}
            if me not in owners or (led and not role.leads):
                # It may have missed what was reported last, or be lost: what this node knows may be all there is.
                lacking.add(owners[0])
            role.missing = {node_id for node_id in lacking if node_id is not None and node_id != me}
        role.first, role.second = owners
        if role.leads != led:
            role.touched = None
        if role.leads and not led:
            self._touch(place)
        if role.missing:
            self._agreement.pass_on(place, role)
        else:
            self._passed_on(place, role)

    def _passed_on(self, place: Place, role: Role) -> None:
        if self._membership.me.id not in (role.first, role.second):
            self._drop(place)
            self._vacated.pop(place, None)

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

    def _handed_over(self, request: HandOver) -> bool:
        if not self._membership.is_alive(request.former):
            # This node does not know the others yet, and would take their members for gone.
            return False
        for report in request.reports:
            self._take(request.former, report)
        return True

    # ---- what changes ----

    def announce(self) -> None:
        """Names all places with entries of this node to their recorders again, as that may have been lost."""
        if not self._edges.shared:
            return
        self._naming.name_all()
        for place, role in tuple(self.roles()):
            if not role.first:
                self._reassign(place, role)
            elif not role.seen and self._rosters.knows(place) and self._reporter.is_empty(place):
                # What was there was gone before its recorder could report it.
                self._drop(place)
        self._catch_up()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        [task] = start_tasks(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _record(self, request: Record) -> bool:
        """Records the places; whether what is in all of them has been reported."""
        places = tuple(map(Place._make, request.places))
        for place in places:
            # What it has there may not have arrived yet, and without it the place would look empty. The roster
            # may be known for another reason than a role.
            self._rosters.refresh(place, request.node_id)
            self._take_up(place, request.known, request.again)
        return all(place in self._roles and self._roles[place].seen for place in places)

    def _take_up(self, place: Place, known: bool, again: bool) -> None:
        if place in self._roles:
            return
        role = self._role(place)
        if role is not None:
            role.known = known
            self._touch(place)
            if again and not role.leads:
                # The recorder may take this node for one that has followed it before.
                self._bus.publish(node_topic(role.first), Behind((place,), (dict(role.seen),)))

    def _changed_here(self, place: Place, first: bool, change: RosterChange) -> None:
        if not self._edges.shared:
            return
        if first:
            self._naming.name_first(place)
        self._changed_elsewhere(place, change)

    def _changed_elsewhere(self, place: Place, change: RosterChange) -> None:
        role = self._roles.get(place)
        if role is None:
            return
        for key in change.put:
            role.causes[key] = ("join", change.sockets.get(key), change.node_id)
        for key, cause in change.removed.items():
            role.causes[key] = (cause, change.sockets.get(key), change.node_id)
        while not role.leads and len(role.causes) > _MOST_CAUSES:
            del role.causes[next(iter(role.causes))]
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
        may = self._may_report()
        for place in due:
            role = self._roles.get(place)
            if role is None or not role.leads:
                continue
            if not may:
                self._due[place] = None
            elif self._rosters.knows(place):
                self._report(place, role)
        if self._due and self._later is None:
            self._later = asyncio.get_running_loop().call_later(_AGAIN, self._report_later)

    def _report_later(self) -> None:
        self._later = None
        self._report_due()

    def _may_report(self) -> bool:
        members = self._membership
        return not members.deaf and not members.fenced() and self._agreement.reached

    def _report(self, place: Place, role: Role) -> None:
        before = dict(role.seen)
        report = self._reporter.report(place, role)
        if report is not None:
            self._note(role)
            if role.second is not None:
                seen = {self._membership.me.id: self._counter}
                self._bus.publish(node_topic(role.second), replace(report, seen=seen, after=before))
        if not role.occupied:
            self._drop(place)

    def _reported(self, received: Received, item: Reported) -> None:
        if self._membership.is_alive(received.sender.id):
            self._take(received.sender.id, item)

    def _take(self, node_id: str, report: Reported) -> None:
        """Learns what another node reported, or was told of."""
        place = Place(report.app_id, report.name)
        role = self._known(place)
        if role is None and report.whole and not report.occupied and self._wants(place.app_id):
            role = Role()
            self._keep_vacated(place, role)
        role = role or self._role(place, named=True)
        if role is None:
            return
        if not report.seen:
            report = replace(report, seen=role.seen | {node_id: role.seen.get(node_id, 0) + 1}, after=role.seen)
        if report.whole:
            if not role.merge(report):
                return
        elif role.seen and covers(role.seen, report.seen):
            return
        elif role.seen != report.after:
            self._bus.publish(node_topic(node_id), Behind((place,), (dict(role.seen),)))
            return
        else:
            role.follow(report)
        if role.occupied or role.doubted:
            self._role(place, named=True)
        elif not role.leads:
            self._drop(place)
        self._touch(place)

    # ---- what was lost on the way ----

    def _gap(self, topics: Sequence[str]) -> None:
        if node_topic(self._membership.me.id) in topics:
            self._catch_up()

    def _catch_up(self) -> None:
        """Compares what this node knows of places that it follows with what their recorders know."""
        followed: defaultdict[str, list[tuple[Place, dict[str, int]]]] = defaultdict(list)
        for place, role in self._roles.items():
            if not role.leads and role.first:
                followed[role.first].append((place, dict(role.seen)))
        for node_id, places in followed.items():
            for start in range(0, len(places), PLACES_IN_ITEM):
                names, seen = zip(*places[start : start + PLACES_IN_ITEM], strict=True)
                self._bus.publish(node_topic(node_id), Behind(names, seen))

    def _behind(self, received: Received, item: Behind) -> None:
        topic = node_topic(received.sender.id)
        for place, seen in zip(map(Place._make, item.places), item.seen, strict=False):
            role = self._known(place)
            mine = {} if role is None else role.seen
            if role is not None and not covers(seen, mine):
                self._bus.publish(topic, whole(place, role))
            if not covers(mine, seen):
                self._bus.publish(topic, Behind((place,), (dict(mine),)))
