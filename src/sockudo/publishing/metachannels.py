"""What becomes of channels on other nodes, for subscribers of their metachannels here (spec: websocket § 6.8).

A node knows the roster of a channel as long as it has subscribers of ``[meta]`` and its name, and asks the others for
their counts, which they send from then on although their app does not want them.
"""

from __future__ import annotations

from sockudo.cluster.ports import Bus, Membership, NodeChange
from sockudo.hub import AppState, Hub
from sockudo.hub.events import ChannelClosed, ChannelOpened
from sockudo.protocol.names import META, META_PREFIX, channel_kind
from sockudo.publishing.roster_items import COUNT, RosterChange
from sockudo.publishing.rosters import Rosters
from sockudo.publishing.topics import Place

__all__ = ["Metachannels", "place_about"]


def place_about(app_id: str, metachannel: str) -> Place:
    """The place of the channel that a metachannel is about."""
    return Place(app_id, metachannel.removeprefix(META_PREFIX))


class Metachannels:
    """Reports on metachannels with subscribers here, once this node is joined with any."""

    def __init__(self, bus: Bus, membership: Membership, rosters: Rosters, hub: Hub) -> None:
        self._bus = bus
        self._rosters = rosters
        self._hub = hub
        self._joined = False
        # The members that other nodes have of each presence channel, as subscribers know them.
        self._members: dict[Place, dict[str, bytes]] = {}
        rosters.changed.append(self._changed)
        membership.watch(self._nodes_changed)
        self._join()

    def _nodes_changed(self, _change: NodeChange) -> None:
        self._join()

    def _join(self) -> None:
        if self._joined or (self._bus.alone and not self._bus.networked):
            return
        self._joined = True
        self._hub.observers.add(ChannelOpened, self._opened)
        self._hub.observers.add(ChannelClosed, self._closed)
        for state in self._hub.states():
            for channel in state.everything():
                self._opened(ChannelOpened(state.app_id, channel.name, channel.kind))

    def _opened(self, event: ChannelOpened) -> None:
        if event.kind is not META:
            return
        place = place_about(event.app_id, event.channel)
        self._rosters.watch(place, "meta")
        members = self._members[place] = {}
        for _, entries in self._rosters.views(place):
            members.update((user_id, info) for user_id, info in entries.items() if user_id != COUNT)
        state = self._hub.find(event.app_id)
        metachannel = None if state is None else state.find(event.channel)
        if metachannel is not None:
            metachannel.elsewhere = self._rosters.count_elsewhere(place)

    def _closed(self, event: ChannelClosed) -> None:
        if event.kind is META:
            place = place_about(event.app_id, event.channel)
            self._members.pop(place, None)
            self._rosters.unwatch(place, "meta")

    def _changed(self, place: Place, change: RosterChange) -> None:
        members = self._members.get(place)
        state = self._hub.find(place.app_id)
        if members is None or state is None:
            return
        if COUNT in change.put or COUNT in change.removed:
            state.count_elsewhere(place.name, self._rosters.count_elsewhere(place))
        if channel_kind(place.name).presence:
            self._change_members(state, place, members, change)

    def _change_members(self, state: AppState, place: Place, members: dict[str, bytes], change: RosterChange) -> None:
        # Where the channel itself has subscribers here, it reports its members as they are known there.
        reported = state.find(place.name) is not None
        for user_id, info in change.put.items():
            if user_id == COUNT:
                continue
            known, members[user_id] = members.get(user_id), info
            if known != info and not reported:
                state.tell_meta(place.name, "member_added" if known is None else "presence_update", user_id=user_id)
        for user_id in change.removed:
            if user_id in members and not self._rosters.is_present(place, user_id):
                del members[user_id]
                if not reported:
                    state.tell_meta(place.name, "member_removed", user_id=user_id)
