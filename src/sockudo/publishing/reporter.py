"""The difference between the roster of a place and what was reported of it, as events (spec: platform § 10.10)."""

from __future__ import annotations

from typing import Literal

import msgspec

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
from sockudo.publishing.recorder_items import Reported, Role
from sockudo.publishing.roster_items import COUNT, OwnEntries
from sockudo.publishing.rosters import Rosters
from sockudo.publishing.topics import Place

__all__ = ["Reporter"]


class Reporter:
    """Reports to ``edges`` what has changed in a place since its last report."""

    def __init__(self, rosters: Rosters, own: OwnEntries, edges: Edges) -> None:
        self._rosters = rosters
        self._own = own
        self._edges = edges

    def report(self, place: Place, role: Role) -> Reported | None:
        """Reports the changes; what the second node has to know, None where that is nothing new.

        What a lost recorder has reported is not reported again.
        """
        count = self._rosters.count(place)
        keys = {*role.reported, *role.doubted, *self.keys(place)} if role.touched is None else role.touched
        present = {key: self.is_present(place, key) for key in keys if key != COUNT}
        added = [key for key, there in present.items() if there and (key not in role.reported or key in role.doubted)]
        removed = [key for key, there in present.items() if not there and (key in role.reported or key in role.doubted)]
        silent, role.known = role.known and not role.seen, False
        was_occupied, had = role.occupied, role.count
        role.touched, role.count = set(), count
        role.reported.update(dict.fromkeys(added))
        for key in removed:
            role.reported.pop(key, None)
        role.occupied = count > 0 or bool(role.reported)
        if COUNT in role.doubted:
            # Reported as occupied by one, and as vacated by another.
            was_occupied = not role.occupied
        role.doubted.clear()
        report = Reported(*place, tuple(added), tuple(removed), count, role.occupied)
        if silent:
            role.causes.clear()
            return report
        if place.name.startswith(USER_CHANNEL_PREFIX):
            if role.occupied != was_occupied:
                user_id = place.name.removeprefix(USER_CHANNEL_PREFIX)
                self._edges.emit(UserReported(place.app_id, user_id, role.occupied))
        else:
            self._report_channel(place, role, was_occupied, count != had, added, removed)
        role.causes.clear()
        if not added and not removed and role.occupied == was_occupied and count == had:
            return None
        return report

    def keys(self, place: Place) -> set[str]:
        """The users who are in a place on any node."""
        keys = set(self._own.entries(place))
        for _, entries in self._rosters.views(place):
            keys.update(entries)
        keys.discard(COUNT)
        return keys

    def is_empty(self, place: Place) -> bool:
        """Whether no node has an entry there."""
        return not self._own.any(place) and not any(entries for _, entries in self._rosters.views(place))

    def is_present(self, place: Place, key: str) -> bool:
        """Whether any node has the entry."""
        return self._own.info(place, key) is not None or self._rosters.is_present(place, key)

    def _report_channel(
        self,
        place: Place,
        role: Role,
        was_occupied: bool,
        counted: bool,
        added: list[str],
        removed: list[str],
    ) -> None:
        if role.occupied and not was_occupied:
            self._edges.emit(ChannelOccupied(*place))
        if counted and not channel_kind(place.name).presence:
            self._edges.emit(ChannelCounted(*place, role.count))
        for user_id in added:
            self._edges.emit(MemberReported(*place, self._event("member_added", "join", place, role, user_id)))
        for user_id in removed:
            self._edges.emit(MemberReported(*place, self._event("member_removed", "disconnect", place, role, user_id)))
        if was_occupied and not role.occupied:
            self._edges.emit(ChannelVacated(*place))

    def _event(
        self,
        kind: Literal["member_added", "member_removed"],
        cause: Cause,
        place: Place,
        role: Role,
        user_id: str,
    ) -> MemberEvent:
        known, socket_id, node_id = role.causes.get(user_id, (cause, None, None))
        info = self._info(place, user_id) if kind == "member_added" else None
        return MemberEvent(kind, msgspec.convert(known, Cause), user_id, socket_id, info, node_id)

    def _info(self, place: Place, user_id: str) -> bytes | None:
        mine = self._own.info(place, user_id)
        if mine is not None:
            return mine
        return next((entries[user_id] for _, entries in self._rosters.views(place) if user_id in entries), None)
