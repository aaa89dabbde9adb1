"""Who is connected to what, on this node; the one way in which anything is said to anyone.

Plain synchronous code: every method leaves the state right before it returns, and what is to be written goes to the
connections' transports. Time comes from a clock that is passed in, in monotonic seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from sockudo.hub.app_state import AppState
from sockudo.hub.channel import Channel
from sockudo.hub.connection import Connection
from sockudo.hub.ports import Schedule
from sockudo.names import USER_CHANNEL_PREFIX
from sockudo.protocol import v1

__all__ = ["Hub", "HubOptions"]

# Writes in one turn of the loop: 5 to 10 ms, so that pings, publishes and small channels get their turn in between.
SLICE = 1024
# Above so many subscribers the count is told once a second instead of once a turn.
_COUNT_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class HubOptions:
    """``cache_ttl`` in seconds; ``cache_capacity`` in events per app; ``presence_grace`` in seconds, 0 for none."""

    cache_ttl: float = 3600
    cache_capacity: int = 10_000
    presence_grace: float = 0


class Hub:
    """All apps' live state, and the queue of channels that have something to deliver."""

    def __init__(self, schedule: Schedule, now: Callable[[], float], options: HubOptions = HubOptions()) -> None:
        self.options = options
        self.now = now
        self.apps: dict[str, AppState] = {}
        # How many frames the write being made holds: what a slow connection's queue counts.
        self.frames_in_write = 1
        self._schedule = schedule
        self._scheduled = False
        self._queue: deque[Channel] = deque()
        # Channels whose round takes several turns, each in its turn.
        self._rounds: deque[Channel] = deque()
        # Members whose last connection was lost without a goodbye, in the order in which their time runs out.
        self._held: deque[tuple[float, Channel, str]] = deque()
        self._counts_due: set[Channel] = set()

    def app(self, app_id: str) -> AppState:
        """The state of an app, made when it is missing."""
        state = self.apps.get(app_id)
        if state is None:
            state = self.apps[app_id] = AppState(app_id, self)
        return state

    def connection_count(self) -> int:
        """Connections of all apps on this node."""
        return sum(len(state.connections) for state in self.apps.values())

    # ---- saying ----

    def publish(self, app: AppState, channel_name: str, name: str, data: str, exclude: Connection | None) -> None:
        """Says an event of the backend to a channel's subscribers."""
        channel = app.channels.get(channel_name)
        if channel is not None and channel.subscribers:
            channel.append(v1.event(name, channel_name, data), exclude)

    def publish_to_user(self, app: AppState, user_id: str, name: str, data: str, exclude: Connection | None) -> None:
        """Says an event to every connection signed in as the user, whatever it is subscribed to (contract 10 § 8.3)."""
        connections = app.users.connections(user_id)
        if not connections:
            return
        frame = v1.event(name, f"{USER_CHANNEL_PREFIX}{user_id}", data)
        for connection in connections:
            if connection is not exclude:
                connection.write(frame)
                app.traffic.messages_sent += 1
                app.traffic.bytes_sent += len(frame)

    def enqueue(self, channel: Channel) -> None:
        """Has the channel deliver at the end of this turn."""
        channel.queued = True
        self._queue.append(channel)
        if not self._scheduled:
            self._scheduled = True
            self._schedule(self.deliver)

    def deliver(self) -> None:
        """One turn's worth of writing: what is new first, then a slice of the long rounds that are under way."""
        self._scheduled = False
        budget = SLICE
        waiting = bool(self._rounds)
        queue = self._queue
        while queue and budget > 0:
            channel = queue.popleft()
            if channel.count_due and len(channel.subscribers) <= _COUNT_AT_ONCE:
                self._say_count(channel)
            budget -= channel.deliver(budget)
            self._requeue(channel)
        if waiting:
            # However much is new, a long round goes on.
            channel = self._rounds.popleft()
            channel.deliver(max(budget, SLICE // 4))
            self._requeue(channel)
        self.frames_in_write = 1
        if queue or self._rounds:
            self._scheduled = True
            self._schedule(self.deliver)

    def _requeue(self, channel: Channel) -> None:
        if channel.unfinished:
            self._rounds.append(channel)
        else:
            channel.queued = False

    # ---- coming and going ----

    def connect(self, connection: Connection) -> None:
        """Registers a connection that was admitted."""
        app = connection.app
        app.connections[connection.socket_id] = connection
        app.traffic.connections_opened += 1

    def subscribe(self, connection: Connection, name: str) -> Channel:
        """Joins a channel that is not a presence channel; joining twice changes nothing."""
        app = connection.app
        channel = app.channel(name)
        if name not in connection.channels:
            channel.add(connection)
            connection.channels[name] = channel
            app.traffic.subscribed[channel.kind.label] += 1
            self._count_changed(channel)
        return channel

    def join(self, connection: Connection, name: str, user_id: str, user_info: bytes) -> Channel:
        """Joins a presence channel as ``user_id``; the others learn of a user's first connection before it is in."""
        channel = connection.app.channel(name)
        presence = channel.presence
        if presence is None:
            raise ValueError(f"not a presence channel: {name}")
        if presence.join(connection, user_id, user_info):
            channel.append(v1.member_added(name, user_id, user_info))
        if connection.members is None:
            connection.members = {}
        connection.members[name] = user_id
        return self.subscribe(connection, name)

    def unsubscribe(self, connection: Connection, name: str) -> None:
        """Leaves a channel; one that was not joined is ignored."""
        channel = connection.channels.get(name)
        if channel is not None:
            channel.catch_up(connection)
            self._leave(connection, channel, held_until=None)

    def disconnect(self, connection: Connection, *, held_until: float | None = None) -> None:
        """Forgets a connection everywhere. With ``held_until`` its presence members may come back until then."""
        app = connection.app
        if app.connections.pop(connection.socket_id, None) is None:
            return
        app.traffic.connections_closed += 1
        for channel in tuple(connection.channels.values()):
            self._leave(connection, channel, held_until)
        app.users.sign_out(connection)

    def _leave(self, connection: Connection, channel: Channel, held_until: float | None) -> None:
        app = connection.app
        channel.remove(connection)
        connection.channels.pop(channel.name, None)
        app.traffic.unsubscribed[channel.kind.label] += 1
        if channel.presence is not None and connection.members is not None:
            user_id = connection.members.pop(channel.name)
            if channel.presence.leave(connection, user_id, held_until):
                channel.append(v1.member_removed(channel.name, user_id))
            elif held_until is not None and user_id in channel.presence:
                self._held.append((held_until, channel, user_id))
        self._count_changed(channel)
        app.drop_if_empty(channel)

    # ---- what time brings ----

    def tick(self, now: float) -> None:
        """Once a second: ends grace periods that have run out, tells the counts of large channels."""
        while self._held and self._held[0][0] <= now:
            until, channel, user_id = self._held.popleft()
            # Whoever came back and was lost again has a later entry, which is the one that counts.
            if channel.presence is not None and channel.presence.release(user_id, until):
                channel.append(v1.member_removed(channel.name, user_id))
                channel.app.drop_if_empty(channel)
        for channel in tuple(self._counts_due):
            self._say_count(channel)

    def _count_changed(self, channel: Channel) -> None:
        if not channel.app.subscription_counts:
            return
        channel.count_due = True
        self._counts_due.add(channel)
        if not channel.queued and len(channel.subscribers) <= _COUNT_AT_ONCE:
            self.enqueue(channel)

    def _say_count(self, channel: Channel) -> None:
        channel.count_due = False
        self._counts_due.discard(channel)
        if channel.subscribers:
            channel.append(v1.subscription_count(channel.name, len(channel.subscribers)))
