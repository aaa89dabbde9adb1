"""What nodes tell each other of who is where: each owns the entries of its connections (spec: platform § 10.5).

A roster belongs to a topic, and has the entries of each node: the members of a presence channel, how many
subscriptions a channel has, or that a user is signed in. Versions come from one counter of the node. A change names the
version before it, so that a node which missed one notices, and asks that owner for all of its entries.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from sockudo.base.tasks import end_tasks, start_tasks
from sockudo.cluster.ports import DEADLINE, Bus, Membership, NodeChange, Received
from sockudo.cluster.router import Router
from sockudo.publishing.roster_items import COUNT, EntriesChanged, EntriesOf, OwnEntries, RosterChange, State
from sockudo.publishing.topics import Place, Topics

__all__ = ["SCRUB_SECONDS", "Reason", "Rosters"]

Reason = Literal["local", "prepared", "recorder", "meta"]
"""Why a node wants to know a roster: subscribers or signed-in users here, one that is about to come, a role, or
subscribers of the metachannel, for which other nodes count where they do not otherwise."""

# Rosters in one question.
_BATCH: Final = 1_000
# Entries in one answer, unless one roster has more.
_ENTRIES: Final = 2_000
# Changes of an owner that are kept until its entries are known.
_KEPT: Final = 256
# Seconds after which a node that gave no answer is asked again, and between two looks at everything.
_AGAIN: Final = 1.0
SCRUB_SECONDS: Final = 30.0


class _View:
    """The entries of one other node."""

    __slots__ = ("entries", "version")

    def __init__(self, version: tuple[int, int], entries: dict[str, bytes]) -> None:
        self.version = version
        self.entries = entries


class _Roster:
    __slots__ = ("asked", "kept", "reasons", "subscribed", "views", "waiting")

    def __init__(self) -> None:
        self.reasons: Counter[Reason] = Counter()
        self.views: dict[str, _View] = {}
        # Nodes whose entries were asked for, with the changes that came meanwhile.
        self.asked: set[str] = set()
        self.kept: defaultdict[str, list[Received]] = defaultdict(list)
        # Before that a change behind an answer would not arrive: questions wait.
        self.subscribed = False
        self.waiting: list[asyncio.Future[None]] = []


class Rosters:
    """Keeps what this node knows of the entries of others in step with their owners.

    ``own`` gives this node's entries of a place; `changed` is called with what became of the entries of others. Costs
    nothing before `join`.
    """

    def __init__(
        self,
        bus: Bus,
        membership: Membership,
        router: Router,
        topics: Topics,
        own: OwnEntries,
    ) -> None:
        self._bus = bus
        self._membership = membership
        self._topics = topics
        self._own = own
        # Called with what became of entries of others, and of this node's own, with whether those are its first.
        self.changed: list[Callable[[Place, RosterChange], None]] = []
        self.changed_own: list[Callable[[Place, bool, RosterChange], None]] = []
        # Called when the entries of all nodes are known, for the first time or again.
        self.completed_again: list[Callable[[Place], None]] = []
        self.entries_in_answer = _ENTRIES
        self._counter = 0
        # The version of this node's last change of each place where it has entries.
        self._versions: dict[Place, int] = {}
        self._rosters: dict[Place, _Roster] = {}
        self._to_ask: defaultdict[str, dict[Place, None]] = defaultdict(dict)
        self._asking = False
        self._tasks: set[asyncio.Task[None]] = set()
        router.on_item(EntriesChanged, self._receive)
        router.on_request(EntriesOf, self._answer)
        router.on_gap(self._gap)
        membership.watch(self._nodes_changed)

    async def close(self) -> None:
        """Ends the questions that are under way."""
        await end_tasks(self._tasks)

    def refresh(self, place: Place, node_id: str) -> None:
        """Asks one owner for its entries: until they come, those of all nodes are not known."""
        self._ask(place, [node_id])

    def scrub(self) -> None:
        """Asks all owners whether their last changes have arrived."""
        self._resync(tuple(self._rosters))

    # ---- this node's entries ----

    def change_own(
        self,
        place: Place,
        put: Mapping[str, bytes],
        removed: Mapping[str, str],
        sockets: Mapping[str, str] | None = None,
    ) -> None:
        """This node's entries changed; called when `own` says so already."""
        previous = self._versions.get(place, 0)
        self._counter += 1
        if self._own.any(place):
            self._versions[place] = self._counter
        else:
            self._versions.pop(place, None)
        topic = place.topic
        if self._bus.interested(topic):
            change = EntriesChanged(*place, previous, self._counter, dict(put), dict(removed), dict(sockets or {}))
            self._bus.publish(topic, change)
        mine = RosterChange(self._membership.me.id, put, removed, sockets or {})
        for observer in self.changed_own:
            observer(place, not previous, mine)

    def own_places(self) -> Collection[Place]:
        """Where this node has entries."""
        return self._versions.keys()

    def _answer(self, request: EntriesOf) -> tuple[State, ...]:
        incarnation = self._membership.me.incarnation
        counted = {Place._make(place) for place in request.counted}
        states, room = [], request.most or sys.maxsize
        for place, known in zip(map(Place._make, request.places), request.known, strict=True):
            if place in counted and self._own.want_count(place):
                # From now on each change is published; those who know the roster already lack this one.
                self.change_own(place, {COUNT: b"%d" % self._own.count(place)}, {})
            version = self._versions.get(place, 0)
            if version and known == (incarnation, version):
                states.append(State(incarnation, version, None))
            elif room <= 0:
                states.append(State(0, 0, None))
            else:
                entries = self._own.entries(place)
                room -= len(entries)
                states.append(State(incarnation, version or self._counter, entries))
        return tuple(states)

    # ---- interest ----

    def watch(self, place: Place, reason: Reason) -> None:
        """From now on this node knows the entries of all nodes there, once they have answered."""
        roster = self._rosters.get(place)
        if roster is not None:
            roster.reasons[reason] += 1
            if reason == "meta" and roster.reasons[reason] == 1:
                # It was asked for without the counts.
                self._ask(place, self._others())
            return
        roster = self._rosters[place] = _Roster()
        roster.reasons[reason] += 1
        # Until then it is incomplete, though nothing can be asked before the subscription is confirmed.
        roster.asked.update(self._others())
        confirmed = self._topics.want(place.topic)
        if confirmed is None:
            self._subscribed(place, roster)
        else:
            asyncio.ensure_future(confirmed).add_done_callback(lambda _: self._subscribed(place, roster))

    def _subscribed(self, place: Place, roster: _Roster) -> None:
        roster.subscribed = True
        if roster.asked:
            self._ask(place, sorted(roster.asked))

    def unwatch(self, place: Place, reason: Reason) -> None:
        """Ends what `watch` began for that reason."""
        roster = self._rosters.get(place)
        if roster is None or reason not in roster.reasons:
            return
        roster.reasons[reason] -= 1
        if not +roster.reasons:
            del self._rosters[place]
            _wake(roster)
            self._topics.unwant(place.topic)

    def knows(self, place: Place, reason: Reason | None = None) -> bool:
        """Whether the entries of every live node are known there, and are for that ``reason``, too."""
        roster = self._rosters.get(place)
        return roster is not None and not roster.asked and (reason is None or roster.reasons[reason] > 0)

    def completed(self, place: Place) -> asyncio.Future[None] | None:
        """Ends when the entries of every live node are known; None when they are."""
        roster = self._rosters.get(place)
        if roster is None or not roster.asked:
            return None
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        roster.waiting.append(waiting)
        return waiting

    def views(self, place: Place) -> Iterator[tuple[str, dict[str, bytes]]]:
        """The entries of other nodes, by node id."""
        roster = self._rosters.get(place)
        for node_id, view in (roster.views if roster is not None else {}).items():
            yield node_id, view.entries

    def count(self, place: Place) -> int:
        """Subscriptions of a channel on all nodes, of those whose entries are known."""
        return self._own.count(place) + self.count_elsewhere(place)

    def count_elsewhere(self, place: Place) -> int:
        """Subscriptions of a channel on the other nodes."""
        return sum(int(entries.get(COUNT, b"0")) for _, entries in self.views(place))

    def is_present(self, place: Place, key: str) -> bool:
        """Whether another node has an entry of this key."""
        return any(key in entries for _, entries in self.views(place))

    # ---- what arrives ----

    def _receive(self, received: Received, item: EntriesChanged) -> None:
        place = Place(item.app_id, item.name)
        roster = self._rosters.get(place)
        if roster is not None:
            self._take_change(place, roster, received, item)

    def _take_change(self, place: Place, roster: _Roster, received: Received, item: EntriesChanged) -> None:
        owner = received.sender
        if owner.id in roster.asked:
            kept = roster.kept[owner.id]
            if len(kept) < _KEPT:
                kept.append(received)
            return
        view = roster.views.get(owner.id)
        version = (owner.incarnation, item.version)
        if view is not None and version <= view.version:
            return
        if not item.previous:
            # The owner had nothing before: what is known of it is replaced.
            stale = {} if view is None else dict.fromkeys(view.entries.keys() - item.put.keys(), "disconnect")
            self._apply(place, roster, owner.id, version, item.put, stale | item.removed, item.sockets)
        elif view is not None and view.version == (owner.incarnation, item.previous):
            self._apply(place, roster, owner.id, version, item.put, item.removed, item.sockets)
        else:
            roster.kept[owner.id].append(received)
            self._ask(place, [owner.id])

    def _take_state(self, place: Place, node_id: str, state: State) -> None:
        roster = self._rosters.get(place)
        if roster is None or node_id not in roster.asked or not self._membership.is_alive(node_id):
            return
        roster.asked.discard(node_id)
        view = roster.views.get(node_id)
        version = (state.incarnation, state.version)
        if state.entries is not None and (view is None or version >= view.version):
            stale = {} if view is None else dict.fromkeys(view.entries.keys() - state.entries.keys(), "disconnect")
            put = state.entries if view is None else _different(state.entries, view.entries)
            self._apply(place, roster, node_id, version, put, stale, {})
        for received in roster.kept.pop(node_id, ()):
            item: Any = received.item
            self._take_change(place, roster, received, item)
        self._wake_if_complete(place, roster)

    def _apply(
        self,
        place: Place,
        roster: _Roster,
        node_id: str,
        version: tuple[int, int],
        put: Mapping[str, bytes],
        removed: Mapping[str, str],
        sockets: Mapping[str, str],
    ) -> None:
        view = roster.views.get(node_id)
        if view is None:
            view = roster.views[node_id] = _View(version, {})
        view.version = version
        view.entries.update(put)
        gone = {key: cause for key, cause in removed.items() if view.entries.pop(key, None) is not None}
        if not view.entries:
            # Only the version is of use.
            view.entries = {}
        self._tell(place, RosterChange(node_id, put, gone, sockets))

    def _tell(self, place: Place, change: RosterChange) -> None:
        for observer in self.changed:
            observer(place, change)

    # ---- what is asked ----

    def _others(self) -> list[str]:
        me = self._membership.me.id
        return [node.id for node in self._membership.live() if node.id != me]

    def _ask(self, place: Place, nodes: Iterable[str]) -> None:
        roster = self._rosters.get(place)
        if roster is None:
            return
        for node_id in nodes:
            if self._membership.is_alive(node_id):
                roster.asked.add(node_id)
                if roster.subscribed:
                    self._to_ask[node_id][place] = None
            else:
                roster.asked.discard(node_id)
        self._wake_if_complete(place, roster)
        if self._to_ask and not self._asking:
            self._asking = True
            asyncio.get_running_loop().call_soon(self._ask_all)

    def _ask_all(self) -> None:
        self._asking = False
        to_ask, self._to_ask = self._to_ask, defaultdict(dict)
        for node_id, wanted in to_ask.items():
            places = tuple(wanted)
            for start in range(0, len(places), _BATCH):
                [task] = start_tasks(self._read(node_id, places[start : start + _BATCH]))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _read(self, node_id: str, places: tuple[Place, ...]) -> None:
        answers = await self._bus.ask(
            EntriesOf(
                places,
                tuple(self._known(place, node_id) for place in places),
                self.entries_in_answer,
                tuple(place for place in places if self._is_counted(place)),
            ),
            deadline=DEADLINE,
            nodes=[node_id],
        )
        states: Sequence[State] | None = answers.values.get(node_id)
        if states is None:
            if self._membership.is_alive(node_id):
                await asyncio.sleep(_AGAIN)
            for place in places:
                self._ask(place, [node_id])
            return
        for place, state in zip(places, states, strict=True):
            if state.incarnation:
                self._take_state(place, node_id, state)
            else:
                self._ask(place, [node_id])

    def _is_counted(self, place: Place) -> bool:
        roster = self._rosters.get(place)
        return roster is not None and roster.reasons["meta"] > 0

    def _known(self, place: Place, node_id: str) -> tuple[int, int]:
        roster = self._rosters.get(place)
        view = roster.views.get(node_id) if roster is not None else None
        return (0, 0) if view is None else view.version

    def _resync(self, places: Sequence[Place]) -> None:
        others = self._others()
        for place in places:
            self._ask(place, others)

    def _wake_if_complete(self, place: Place, roster: _Roster) -> None:
        if not roster.asked:
            _wake(roster)
            for observer in self.completed_again:
                observer(place)

    def _gap(self, topics: Sequence[str]) -> None:
        lost = set(topics)
        self._resync([place for place in self._rosters if place.topic in lost])

    def _nodes_changed(self, change: NodeChange) -> None:
        node = change.node
        if node.id == self._membership.me.id:
            return
        for place, roster in tuple(self._rosters.items()):
            if change.what == "up":
                self._ask(place, [node.id])
                continue
            roster.asked.discard(node.id)
            roster.kept.pop(node.id, None)
            view = roster.views.pop(node.id, None)
            if view is not None and view.entries:
                self._tell(place, RosterChange(node.id, {}, dict.fromkeys(view.entries, "orphan_cleanup"), {}))
            self._wake_if_complete(place, roster)


def _different(entries: Mapping[str, bytes], known: Mapping[str, bytes]) -> dict[str, bytes]:
    return {key: value for key, value in entries.items() if known.get(key) != value}


def _wake(roster: _Roster) -> None:
    for waiting in roster.waiting:
        if not waiting.done():
            waiting.set_result(None)
    roster.waiting.clear()
