"""Who is connected to what, on this node; the one way of a message to a connection.

Plain synchronous code: every method leaves the state right before it returns, and what is to be written goes to the
connections' transports. Time comes from a clock that is passed in, in monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import inf
from types import MappingProxyType
from typing import Final

from sockudo.base.stream_records import Position
from sockudo.hub.app_state import AppState
from sockudo.hub.channel import Channel
from sockudo.hub.connection import Connection
from sockudo.hub.delivery import Deliveries, HubOptions
from sockudo.hub.events import ChannelForgotten, EntryChanged, MemberChanged, Observers, Subscribed, Unsubscribed
from sockudo.hub.fanout import Fanout
from sockudo.hub.gate import Gate, GateLimits
from sockudo.hub.holds import Holds
from sockudo.hub.outgoing import EVERYTHING, Outgoing, Wants
from sockudo.hub.ports import Schedule
from sockudo.hub.presence import Cause, MemberEvent
from sockudo.hub.rollup import Rollups, settle
from sockudo.protocol import frames
from sockudo.protocol.delta import DeltaNode, DeltaOptions
from sockudo.protocol.frames import Frame
from sockudo.protocol.names import META, WILDCARD

__all__ = ["Hub", "HubOptions"]

# Above so many subscribers the count is sent once a second instead of once a turn.
_COUNT_AT_ONCE = 100
# Seconds between two looks for delta bases that were not used for long.
_TRACK_SWEEP = 60.0

_DEFAULTS: Final = HubOptions()
_NOBODY: Final[tuple[Connection, ...]] = ()


class Hub(Deliveries):
    """All apps' live state, and the queue of what is to be delivered."""

    def __init__(
        self,
        schedule: Schedule,
        now: Callable[[], float],
        options: HubOptions = _DEFAULTS,
        delta_node: DeltaNode | None = None,
        observers: Observers | None = None,
    ) -> None:
        super().__init__(schedule, now, options, delta_node or DeltaNode(DeltaOptions(), now))
        self.observers = observers = Observers() if observers is None else observers
        self._on_subscribed = observers.of(Subscribed)
        self._on_unsubscribed = observers.of(Unsubscribed)
        self._on_member = observers.of(MemberChanged)
        self._on_entry = observers.of(EntryChanged)
        self._sweep_tracks_at = 0.0
        self.rollups = Rollups(self)
        self.apps: dict[str, AppState] = {}
        # Members whose last connection was lost without a goodbye.
        self.holds = Holds()
        # Seconds for which members are kept whose connections this node ends as it drains: they come back elsewhere.
        self.kept_over_drain = 0.0
        # Channels whose count is sent at the end of this turn, and those large enough to wait for the next second.
        self._counts_now: dict[Channel, None] = {}
        self._counts_due: set[Channel] = set()

    def app(self, app_id: str) -> AppState:
        """The state of an app, made when it is missing."""
        state = self.apps.get(app_id)
        if state is None:
            state = self.apps[app_id] = AppState(app_id, self, self.observers)
        return state

    def find(self, app_id: str) -> AppState | None:
        """The state of an app that has one."""
        return self.apps.get(app_id)

    def forget(self, app_id: str) -> None:
        """Drops the state of an app whose connections have ended."""
        self.apps.pop(app_id, None)

    def states(self) -> Iterable[AppState]:
        """The state of every app; the set must not change while it is walked."""
        return self.apps.values()

    def connection_count(self) -> int:
        """Connections of all apps on this node."""
        return sum(len(state.connections) for state in self.apps.values())

    # ---- saying ----

    def publish(self, app: AppState, frame: Frame, exclude: str | None = None, *, compress: bool = True) -> None:
        """Delivers a frame to its channel's subscribers and to those whose pattern fits, but not to one socket."""
        if app.rolling and frame.serial is not None:
            settle(app, frame.channel or "")
        excluded = _NOBODY if exclude is None else _excluded(app, exclude)
        channel = app.channels.get(frame.channel or "")
        if channel is not None and channel.fanouts:
            channel.append(frame, excluded, compress=compress)
        if app.patterns:
            app.patterns.append(frame, channel, excluded, compress=compress)

    def publish_change(self, app: AppState, frame: Frame, whole: Frame | None) -> None:
        """Delivers a version of a message, to everyone in its pace; ``whole`` is it with all of its text."""
        self.rollups.publish(app, frame, whole)

    def publish_to_user(self, app: AppState, user_id: str, frame: Frame, exclude: str | None = None) -> None:
        """Delivers a frame to every connection signed in as the user, with any subscriptions
        (spec: websocket § 8.3)."""
        connections = app.users.connections(user_id)
        if not connections:
            return
        message = Outgoing(frame, tags=self.options.show_tags)
        for connection in connections:
            if connection.socket_id != exclude:
                data = message.encoded(connection.shape)
                connection.write(data)
                app.traffic.messages_sent += 1
                app.traffic.bytes_sent += len(data)

    # ---- coming and going ----

    def connect(self, connection: Connection) -> None:
        """Registers a connection that was admitted."""
        app = self.apps[connection.app_id]
        app.connections[connection.socket_id] = connection
        app.traffic.connections_opened += 1

    def subscribe(
        self, connection: Connection, name: str, wants: Wants = EVERYTHING, limits: GateLimits | None = None
    ) -> Fanout[Connection]:
        """Joins a channel that is not a presence channel; joining again replaces what it wants.

        With ``limits`` what is published from now on is held back until `open`.
        """
        app = self.apps[connection.app_id]
        channel = app.channel(name)
        joined = connection.channels.get(name)
        if joined is not None:
            return self._move(connection, joined, channel.shared(wants), limits)
        app.settle(channel)
        fanout = self._place(channel, connection, channel.shared(wants), limits)
        app.traffic.subscribed[channel.kind.label] += 1
        if channel.kind is WILDCARD:
            connection.wildcards = [*(connection.wildcards or ()), name]
        self._count_changed(app, channel)
        app.tell_meta_of_join(channel)
        if self._on_subscribed:
            self.observers.emit(Subscribed(connection, channel))
        return fanout

    def join(
        self,
        connection: Connection,
        name: str,
        user_id: str,
        user_info: bytes,
        wants: Wants = EVERYTHING,
        limits: GateLimits | None = None,
    ) -> Fanout[Connection]:
        """Joins a presence channel as ``user_id``; the others learn of a user's first connection before it is in."""
        app = self.apps[connection.app_id]
        channel = app.channel(name)
        presence = channel.presence
        if presence is None:
            raise ValueError(f"not a presence channel: {name}")
        entered = user_id not in presence
        appeared = presence.join(connection, user_id, user_info)
        if entered:
            self._entry_changed(channel, user_id, user_info, "join", connection.socket_id)
        if appeared:
            channel.append(frames.member_added(name, user_id, user_info))
            app.tell_meta(name, "member_added", user_id=user_id)
        if connection.members is None:
            connection.members = {}
        connection.members[name] = user_id
        fanout = self.subscribe(connection, name, wants, limits)
        if appeared:
            # After the channel itself: backends learn of a channel before they learn of its members.
            self._tell_member(channel, MemberEvent("member_added", "join", user_id, connection.socket_id, user_info))
        return fanout

    def change(self, connection: Connection, name: str, wants: Wants) -> None:
        """From now on a subscriber wants something else of a channel; one behind a gate gets it when that opens."""
        joined = connection.channels.get(name)
        if isinstance(joined, Gate):
            connection.count(joined.channel.kind, joined.wants, -1)
            joined.wants = wants
            connection.count(joined.channel.kind, wants, 1)
        elif joined is not None:
            self._move(connection, joined, wants, None)

    def missed(self, connection: Connection) -> None:
        """A frame was not written to this connection: it has no base for differences any more."""
        for name in tuple(connection.channels):
            connection.lost_base(name)

    def hold(self, connection: Connection, name: str, limits: GateLimits) -> Gate | None:
        """Holds back what is published for a subscriber from now on, until `open`; None when it is not subscribed."""
        joined = connection.channels.get(name)
        if joined is None:
            return None
        fanout = self._move(connection, joined, joined.wants, limits)
        return fanout if isinstance(fanout, Gate) else None

    def open(self, gate: Gate, after: Mapping[str, Position] = MappingProxyType({})) -> int:
        """Delivers what was held back, in the order of serials; returns how many messages.

        Left out is what was sent of a channel already, up to its place in ``after``, and what came before the channel
        went on as that stream. From here on the subscriber shares what it gets with the others. A gate that is no
        longer in place is ignored.
        """
        connection, channel = gate.connection, gate.channel
        if connection.channels.get(channel.name) is not gate:
            return 0
        held = gate.news(after, self.apps[connection.app_id].replay)
        for frame in held:
            connection.send(frame)
        gate.held.clear()
        self._move(connection, gate, gate.wants, None)
        return len(held)

    def _place(
        self, channel: Channel, connection: Connection, wants: Wants, limits: GateLimits | None
    ) -> Fanout[Connection]:
        if connection.wildcards and channel.kind is not WILDCARD:
            connection.end_chain(channel.name)
        if limits is None:
            fanout = channel.add(connection, wants)
        else:
            fanout = channel.put(Gate(channel, connection, wants, *limits))
        connection.channels[channel.name] = fanout
        connection.count(channel.kind, wants, 1)
        if connection.chains is not None:
            connection.chains.make_room(connection, self.delta_node.options.max_channel_states_per_socket)
        return fanout

    def _move(
        self, connection: Connection, fanout: Fanout[Connection], wants: Wants, limits: GateLimits | None
    ) -> Fanout[Connection]:
        """Moves a subscriber to where it gets what it wants now; what was delivered before has been written by then."""
        app = self.apps[connection.app_id]
        app.settle(fanout.channel)
        fanout.catch_up(connection)
        if limits is None and fanout.wants.key == wants.key and not isinstance(fanout, Gate):
            return fanout
        channel = app.channel(fanout.channel.name)
        channel.remove(connection, fanout)
        connection.count(channel.kind, fanout.wants, -1)
        return self._place(channel, connection, wants, limits)

    def update_member(self, connection: Connection, channel: Channel, user_info: bytes) -> None:
        """Replaces the ``user_info`` of the connection's member; V2 subscribers are notified, the sender too."""
        presence = channel.presence
        user_id = connection.members.get(channel.name) if connection.members is not None else None
        if presence is None or user_id is None:
            raise ValueError(f"not a member of {channel.name}")
        presence.update(user_id, user_info)
        self._entry_changed(channel, user_id, user_info, "join", connection.socket_id)
        channel.append(frames.presence_update(channel.name, user_id, user_info), v2_only=True)
        self.apps[connection.app_id].tell_meta(channel.name, "presence_update", user_id=user_id)
        self._tell_member(channel, MemberEvent("member_updated", "join", user_id, connection.socket_id, user_info))

    def unsubscribe(self, connection: Connection, name: str) -> None:
        """Leaves a channel; one that was not joined is ignored."""
        fanout = connection.channels.get(name)
        if fanout is not None:
            app = self.apps[connection.app_id]
            app.settle(fanout.channel)
            fanout.catch_up(connection)
            self._leave(app, connection, fanout, None, asked=True)

    def disconnect(self, connection: Connection, *, held_until: float | None = None, forced: bool = False) -> None:
        """Forgets a connection everywhere. With ``held_until`` its presence members may come back until then.

        ``forced``: the app's backend wanted it to end.
        """
        app = self.apps.get(connection.app_id)
        if app is None or app.connections.pop(connection.socket_id, None) is None:
            return
        app.traffic.connections_closed += 1
        app.departed.append(connection.socket_id)
        for fanout in tuple(connection.channels.values()):
            self._leave(app, connection, fanout, held_until, forced=forced)
        app.users.sign_out(connection)

    def _leave(
        self,
        app: AppState,
        connection: Connection,
        fanout: Fanout[Connection],
        held_until: float | None,
        *,
        forced: bool = False,
        asked: bool = False,
    ) -> None:
        channel = app.channel(fanout.channel.name)
        if channel.kind is WILDCARD:
            connection.wildcards = [name for name in connection.wildcards or () if name != channel.name] or None
        elif connection.chains is not None and fanout.wants.delta is not None:
            connection.chains.note(channel)
        user_id = connection.user_of(channel.name) if self._on_unsubscribed else None
        channel.remove(connection, fanout)
        connection.channels.pop(channel.name, None)
        connection.count(channel.kind, fanout.wants, -1)
        app.traffic.unsubscribed[channel.kind.label] += 1
        if channel.presence is not None and connection.members is not None:
            user_id = connection.members.pop(channel.name)
            hold = None if held_until is None else self.holds.next(held_until)
            if channel.presence.leave(connection, user_id, hold):
                cause: Cause = "forced_disconnect" if forced else "disconnect"
                self._say_removed(app, channel, MemberEvent("member_removed", cause, user_id, connection.socket_id))
            elif hold is not None and (member := channel.presence.get(user_id)) is not None and member.hold is hold:
                event = MemberEvent("member_removed", "forced_disconnect" if forced else "timeout", user_id)
                self.holds.add(hold, app, channel, event)
        self._count_changed(app, channel)
        app.tell_meta_of_leave(channel)
        if self._on_unsubscribed:
            self.observers.emit(Unsubscribed(connection, channel, user_id, asked))
        app.drop_if_empty(channel)

    def change_elsewhere(
        self, channel: Channel, node_id: str, put: Mapping[str, bytes], removed: Iterable[str]
    ) -> None:
        """Takes over another node's entries of a presence channel and notifies the subscribers here of the changes."""
        if channel.presence is None:
            return
        app = self.apps[channel.app.app_id]
        known = channel.presence.of_node(node_id, put)
        appeared, gone = channel.presence.change_elsewhere(node_id, put, removed)
        for user_id, user_info in put.items():
            if user_id not in channel.presence and known.get(user_id, user_info) != user_info:
                channel.append(frames.presence_update(channel.name, user_id, user_info), v2_only=True)
                app.tell_meta(channel.name, "presence_update", user_id=user_id)
        for user_id, user_info in appeared.items():
            channel.append(frames.member_added(channel.name, user_id, user_info))
            app.tell_meta(channel.name, "member_added", user_id=user_id)
        for user_id in gone:
            channel.append(frames.member_removed(channel.name, user_id))
            app.tell_meta(channel.name, "member_removed", user_id=user_id)

    def fill_elsewhere(self, channel: Channel, node_id: str, entries: Mapping[str, bytes]) -> None:
        """Takes over what is known of another node when the channel has just been opened; notifies no subscriber."""
        if channel.presence is not None:
            channel.presence.change_elsewhere(node_id, entries, ())

    def count_elsewhere(self, channel: Channel, count: int) -> None:
        """Takes over how many subscriptions the channel has on other nodes."""
        if channel.elsewhere != count:
            channel.elsewhere = count
            self._count_changed(self.apps[channel.app.app_id], channel)

    def _entry_changed(
        self, channel: Channel, user_id: str, user_info: bytes | None, cause: Cause, socket_id: str | None
    ) -> None:
        if self._on_entry:
            self.observers.emit(EntryChanged(channel, user_id, user_info, cause, socket_id))

    def _say_removed(self, app: AppState, channel: Channel, event: MemberEvent) -> None:
        self._entry_changed(channel, event.user_id, None, event.cause, event.socket_id)
        if channel.presence is not None and channel.presence.is_present(event.user_id):
            # On another node: nothing has changed for anyone.
            return
        channel.append(frames.member_removed(channel.name, event.user_id))
        app.tell_meta(channel.name, "member_removed", user_id=event.user_id)
        self._tell_member(channel, event)

    def _tell_member(self, channel: Channel, event: MemberEvent) -> None:
        if self._on_member:
            self.observers.emit(MemberChanged(channel, event))

    # ---- what time brings ----

    def tick(self, now: float) -> None:
        """Once a second: ends grace periods that have run out, sends the counts of large channels."""
        self.end_holds(now)
        for channel in tuple(self._counts_due):
            self._say_count(channel)
        if self.tracks and now >= self._sweep_tracks_at:
            self._sweep_tracks_at = now + _TRACK_SWEEP
            self.delta_node.sweep()
            for track in self.tracks:
                track.sweep(now)
        for app in self.apps.values():
            for name in app.replay.sweep(now, app.channels):
                self.observers.emit(ChannelForgotten(app.app_id, name))

    def end_holds(self, until: float = inf) -> None:
        """Ends the grace periods that end at ``until`` at the latest: who has not come back is gone."""
        for _, app, channel, event in self.holds.end(until):
            self._say_removed(app, channel, event)
            app.drop_if_empty(channel)

    def _count_changed(self, app: AppState, channel: Channel) -> None:
        if not app.subscription_counts or channel.kind in (META, WILDCARD):
            return
        if channel.subscription_count <= _COUNT_AT_ONCE:
            self._counts_now[channel] = None
            self.deliver_after(self._say_counts)
        else:
            self._counts_due.add(channel)

    def _say_counts(self) -> None:
        for channel in tuple(self._counts_now):
            self._say_count(channel)

    def _say_count(self, channel: Channel) -> None:
        self._counts_now.pop(channel, None)
        self._counts_due.discard(channel)
        if channel.occupied:
            count = channel.subscription_count + channel.elsewhere
            channel.append(frames.subscription_count(channel.name, count))


def _excluded(app: AppState, socket_id: str) -> tuple[Connection, ...]:
    connection = app.connections.get(socket_id)
    return _NOBODY if connection is None else (connection,)
