"""Random histories of a whole hub against a plain model of what everyone must have heard.

The model knows no turns, no slices and no places in pending frames: it keeps sets, and appends to a list per
connection what that connection must hear, at the moment it is said.
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict

import pytest

from sockudo.hub import Connection, HubOptions
from sockudo.protocol.frames import Frame
from support.world import Peer, Sockets, World

ROOMS = ("presence-a", "presence-b")
CHANNELS = ("news", "private-x")
USERS = ("u0", "u1", "u2", "u3")
GRACE = 5.0

Heard = tuple[str, str, str]
"""Where it was said, what happened, to whom or with what data."""


class Model:
    """Who is where, and what each connection must have heard."""

    def __init__(self) -> None:
        self.connected: set[Connection] = set()
        self.subscribed: dict[str, dict[Connection, None]] = defaultdict(dict)
        # By room and user: the connections, and until when the place is held without any.
        self.members: dict[tuple[str, str], set[Connection]] = {}
        self.held: dict[tuple[str, str], float] = {}
        self.users: dict[Connection, str] = {}
        self.watching: dict[Connection, tuple[str, ...]] = {}
        self.heard: dict[Connection, list[Heard]] = defaultdict(list)
        # What comes outside of channels, in an order of its own: frames of users are written at once.
        self.told: dict[Connection, list[Heard]] = defaultdict(list)

    def say(self, channel: str, what: str, about: str, exclude: Connection | None = None) -> None:
        for listener in self.subscribed[channel]:
            if listener is not exclude:
                self.heard[listener].append((channel, what, about))

    def subscribe(self, connection: Connection, channel: str) -> None:
        self.subscribed[channel][connection] = None

    def join(self, connection: Connection, room: str, user: str) -> None:
        place = (room, user)
        if place not in self.members:
            self.say(room, "added", user)
        self.members.setdefault(place, set()).add(connection)
        self.held.pop(place, None)
        self.subscribe(connection, room)

    def user_in(self, connection: Connection, room: str) -> str | None:
        return next(
            (user for (name, user), inside in self.members.items() if name == room and connection in inside), None
        )

    def leave(self, connection: Connection, channel: str, held_until: float | None = None) -> None:
        self.subscribed[channel].pop(connection, None)
        user = self.user_in(connection, channel)
        if user is None:
            return
        place = (channel, user)
        self.members[place].discard(connection)
        if self.members[place]:
            return
        if held_until is None:
            del self.members[place]
            self.say(channel, "removed", user)
        else:
            self.held[place] = held_until

    def tick(self, now: float) -> None:
        for place, until in list(self.held.items()):
            if until <= now:
                del self.held[place], self.members[place]
                self.say(place[0], "removed", place[1])

    def online(self, user: str) -> bool:
        return user in self.users.values()

    def tell_watchers(self, user: str, what: str, besides: Connection) -> None:
        for watcher, watched in self.watching.items():
            if user in watched and watcher is not besides:
                self.told[watcher].append(("watchlist", what, user))

    def sign_in(self, connection: Connection, user: str, watchlist: tuple[str, ...]) -> None:
        if self.users.get(connection, user) != user:
            self.sign_out(connection)
        came = not self.online(user)
        self.users[connection] = user
        self.watching.pop(connection, None)
        if watchlist:
            self.watching[connection] = watchlist
        if came:
            self.tell_watchers(user, "online", connection)
        for what, there in (("online", True), ("offline", False)):
            for watched in watchlist:
                if self.online(watched) is there:
                    self.told[connection].append(("watchlist", what, watched))

    def sign_out(self, connection: Connection) -> None:
        user = self.users.pop(connection, None)
        self.watching.pop(connection, None)
        if user is not None and not self.online(user):
            self.tell_watchers(user, "offline", connection)

    def disconnect(self, connection: Connection, held_until: float | None) -> None:
        self.connected.discard(connection)
        for channel in (*CHANNELS, *ROOMS):
            if connection in self.subscribed[channel]:
                self.leave(connection, channel, held_until)
        self.sign_out(connection)


class History:
    """One world and its model, driven by one pair of dice."""

    def __init__(self, seed: int, *, at_once: bool) -> None:
        self.dice = random.Random(seed)
        self.sockets = Sockets(self.taken) if at_once else None
        self.world = World(HubOptions(presence_grace=GRACE), self.sockets)
        self.model = Model()
        self.peers: dict[Connection, Peer] = {}
        self.ever: list[Connection] = []

    def taken(self, size: int) -> int:
        """How much of so many bytes a socket takes: all, some or nothing."""
        return size if self.dice.random() < 0.8 else self.dice.randrange(size)

    def change_descriptor(self, connection: Connection) -> None:
        """The connection begins to read too slowly, or reads again and has another number by then."""
        if self.sockets is None:
            return
        self.sockets.peers.pop(connection.descriptor, None)
        slow = self.dice.random() < 0.5
        connection.use_descriptor(-1 if slow else self.sockets.open(self.peers[connection]))

    def step(self, number: int) -> None:
        what = self.dice.random()
        if what < 0.08 or not self.model.connected:
            self.connect()
            return
        connection = self.dice.choice(sorted(self.model.connected, key=lambda each: each.socket_id))
        if what < 0.2:
            self.subscribe(connection)
        elif what < 0.36:
            self.join(connection)
        elif what < 0.46:
            channel = self.dice.choice((*CHANNELS, *ROOMS))
            self.world.hub.unsubscribe(connection, channel)
            self.model.leave(connection, channel)
        elif what < 0.52:
            self.disconnect(connection)
        elif what < 0.62:
            self.sign_in(connection)
        elif what < 0.65:
            self.change_descriptor(connection)
        elif what < 0.8:
            self.publish(connection, f"e{number}")
        elif what < 0.86:
            self.world.time += self.dice.choice((0.5, 1, 3))
            self.world.hub.tick(self.world.time)
            self.model.tick(self.world.time)
        else:
            self.world.turn()

    def connect(self) -> None:
        connection, peer = self.world.connect()
        self.peers[connection] = peer
        self.model.connected.add(connection)
        self.ever.append(connection)

    def subscribe(self, connection: Connection) -> None:
        channel = self.dice.choice(CHANNELS)
        self.world.hub.subscribe(connection, channel)
        self.model.subscribe(connection, channel)

    def join(self, connection: Connection) -> None:
        room = self.dice.choice(ROOMS)
        # A connection is one user in a room: sessions refuse any other.
        user = self.model.user_in(connection, room) or self.dice.choice(USERS)
        self.world.hub.join(connection, room, user, b'{"n":1}')
        self.model.join(connection, room, user)

    def sign_in(self, connection: Connection) -> None:
        user = self.dice.choice(USERS)
        watchlist = tuple(sorted(self.dice.sample(USERS, self.dice.choice((0, 0, 1, 2)))))
        self.world.app.users.sign_in(connection, user, b"{}", watchlist)
        self.model.sign_in(connection, user, watchlist)

    def disconnect(self, connection: Connection) -> None:
        held_until = self.world.time + GRACE if self.dice.random() < 0.6 else None
        # What was said is written first, as the end of a session does.
        connection.catch_up()
        self.world.hub.disconnect(connection, held_until=held_until)
        if self.sockets is not None:
            # Nothing must be written to this number any more.
            self.sockets.peers.pop(connection.descriptor, None)
        self.model.disconnect(connection, held_until)

    def publish(self, connection: Connection, name: str) -> None:
        exclude = connection if self.dice.random() < 0.3 else None
        if self.dice.random() < 0.2:
            user = self.dice.choice(USERS)
            self.world.hub.publish_to_user(
                self.world.app, user, Frame(name, f"#server-to-user-{user}", "{}"), exclude and exclude.socket_id
            )
            for other, signed_in_as in self.model.users.items():
                if signed_in_as == user and other is not exclude:
                    self.model.told[other].append((f"#server-to-user-{user}", name, "{}"))
            return
        channel = self.dice.choice((*CHANNELS, *ROOMS))
        self.world.publish(name, channel, exclude)
        self.model.say(channel, name, "{}", exclude)

    # ---- the comparison ----

    def check(self) -> None:
        self.world.settle()
        for connection in self.ever:
            in_channels, besides = self.read(self.peers[connection])
            expected = self.model.heard[connection]
            # Order is kept within a channel; between channels it is that of their first frames in a turn.
            for channel in (*CHANNELS, *ROOMS):
                assert [each for each in in_channels if each[0] == channel] == [
                    each for each in expected if each[0] == channel
                ], connection
            assert len(in_channels) == len(expected)
            assert besides == self.model.told[connection], connection
            in_channels.clear()
        self.model.heard.clear()
        self.model.told.clear()
        self.check_state()

    def read(self, peer: Peer) -> tuple[list[Heard], list[Heard]]:
        in_channels: list[Heard] = []
        besides: list[Heard] = []
        for frame in peer.frames():
            event, channel, data = str(frame["event"]), frame.get("channel"), frame["data"]
            if event == "pusher_internal:watchlist_events":
                for group in data["events"]:  # type: ignore[index]
                    besides.extend(("watchlist", group["name"], user) for user in group["user_ids"])
            elif event.startswith("pusher_internal:member_"):
                user = json.loads(str(data))["user_id"]
                in_channels.append((str(channel), event.removeprefix("pusher_internal:member_"), user))
            elif str(channel).startswith("#"):
                besides.append((str(channel), event, str(data)))
            else:
                in_channels.append((str(channel), event, str(data)))
        return in_channels, besides

    def check_state(self) -> None:
        app, model = self.world.app, self.model
        assert set(app.connections.values()) == model.connected
        occupied = {name: set(listeners) for name, listeners in model.subscribed.items() if listeners}
        assert {name: set(channel.subscribers()) for name, channel in app.occupied().items()} == occupied
        places = {
            (name, member.user_id): set(member.connections)
            for name, channel in app.channels.items()
            for member in channel.presence or ()
        }
        assert places == model.members
        assert set(app.channels) == occupied.keys() | {room for room, _ in model.members}
        assert {connection: connection.user.user_id for connection in model.connected if connection.user} == model.users
        assert len(app.users) == len(set(model.users.values()))
        for user, count in Counter(model.users.values()).items():
            assert len(list(app.users.connections(user))) == count
        for connection in model.connected:
            assert set(connection.channels) == {name for name, inside in occupied.items() if connection in inside}


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("length", [40, 400, 4000])
def test_everyone_hears_what_the_model_says(length: int, *, at_once: bool) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    for run in range(max(1, 800 // length)):
        history = History(seed + run, at_once=at_once)
        for number in range(length):
            history.step(number)
            if history.dice.random() < 0.02:
                history.check()
        history.check()
        for connection in sorted(history.model.connected, key=lambda each: each.socket_id):
            history.disconnect(connection)
        history.world.time += GRACE
        history.world.hub.tick(history.world.time)
        history.model.tick(history.world.time)
        history.check()
        assert history.world.app.channels == {}
        assert history.world.app.users._watchers == {}
        assert not history.world.hub.holds
        assert history.sockets is None or length < 4000 or history.sockets.writes > 20
