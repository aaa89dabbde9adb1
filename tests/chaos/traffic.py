"""What goes on at a fleet while something happens to it: publishers, followers on V2, members on V1, guests."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Coroutine
from typing import Any, Final, Protocol

from chaos.fleet import BUFFERED, DURABLE, PLAIN, Fleet, client_of, signing
from promises.followers import Backend, Follower
from sockudo.base.stream_records import RETRACTED
from sockudo.client.events import Event
from sockudo.client.failures import ClientError
from sockudo.client.socket import Socket
from support.signing import Credentials as App
from support.waiting import until

__all__ = ["MARK", "ROOM", "TIDES", "Member", "Publisher", "Traffic", "in_order"]

TIDES: Final = "tides"
"""The channel that is published on, in each app."""
ROOM: Final = "presence-harbor"
MARK: Final = "the last one"

_PATIENCE: Final = 3.0
_APART: Final = 0.02


class Place(Protocol):
    """Where connections are taken: a balancer, or one server."""

    host: str
    port: int


class Publisher:
    """A backend that publishes its numbers in order, each with a key, and tries again until it is accepted.

    ``accepted`` are the data of what was answered with 200; ``tries`` counts answers by status, 0 for none.
    """

    def __init__(self, at: Place, app: App, name: str) -> None:
        self.app = app
        self.name = name
        self.accepted: list[str] = []
        self.tries: Counter[int] = Counter()
        self.longest = 0.0
        self._backend = Backend(at.host, at.port, app)

    async def publish(self, data: str) -> None:
        now = asyncio.get_running_loop().time
        began = now()
        while (status := await self._try(data)) != 200:
            assert status == 0 or status >= 500, f"{data} was answered {status}"
            # Another connection may reach another server.
            self._backend.close()
            await asyncio.sleep(_APART)
        self.accepted.append(data)
        self.longest = max(self.longest, now() - began)

    async def _try(self, data: str) -> int:
        try:
            async with asyncio.timeout(_PATIENCE):
                status, _ = await self._backend.publish(TIDES, data, idempotency_key=data)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            status = 0
            self._backend.close()
        self.tries[status] += 1
        return status

    async def run(self, ended: asyncio.Event) -> None:
        while not ended.is_set():
            await self.publish(f"{self.name}:{len(self.accepted) + 1}")
            await asyncio.sleep(_APART)

    def close(self) -> None:
        self._backend.close()


class Member:
    """A user on V1 who comes back whenever the connection ends, unless ``stays_away``; ``gives_up``: stays away then.

    It is in the room with all others, hears the plain channel, and has a channel of its own. ``users`` is the list of
    the room as a client keeps it, empty while it is away; ``added`` and ``removed`` count what it heard of each user.
    """

    def __init__(self, url: str, name: str, user: str) -> None:
        self.url = url
        self.name = name
        self.user = user
        self.own = f"own-{name}"
        self.users: set[str] = set()
        self.heard: list[list[str]] = []
        self.added: Counter[str] = Counter()
        self.removed: Counter[str] = Counter()
        self.broken: list[str] = []
        self.stays_away = False
        self.gives_up = False
        self.closes: list[tuple[float, int | None]] = []
        self._socket: Socket | None = None
        self._awaited: set[str] = set()

    @property
    def here(self) -> bool:
        """Everything that it subscribed to is acknowledged, and the connection stands."""
        return self._socket is not None and not self._awaited

    async def run(self) -> None:
        while True:
            if not self.stays_away:
                try:
                    await self._visit()
                except ClientError:
                    pass
                finally:
                    self.stays_away |= self.gives_up and self._socket is not None
                    self._socket = None
                    self.users = set()
            await asyncio.sleep(0.05)

    async def _visit(self) -> None:
        async with await Socket.connect(self.url, PLAIN.key, keepalive=None, open_timeout=_PATIENCE) as socket:
            self._awaited = {ROOM, TIDES, self.own}
            self._socket = socket
            self.heard.append([])
            for channel in (ROOM, TIDES, self.own):
                await socket.subscribe(channel, signing(PLAIN), user_id=self.user if channel == ROOM else None)
            async for event in socket:
                self._take(event)
            self.closes.append((asyncio.get_running_loop().time(), socket.close_code))

    async def leave(self) -> None:
        """Goes, in order, and does not come back while it ``stays_away``."""
        self.stays_away = True
        if self._socket is not None:
            await self._socket.close()

    def break_off(self) -> None:
        """The connection is gone without a word, and so is the user."""
        self.stays_away = True
        if self._socket is not None:
            self._socket.abort()

    def _take(self, event: Event) -> None:
        match event.event:
            case "pusher_internal:subscription_succeeded":
                assert event.channel is not None
                self._awaited.discard(event.channel)
                if event.channel == ROOM:
                    self.users = set(event.data["presence"]["ids"])
            case "pusher_internal:member_added":
                self._change(event.data["user_id"], self.users.add, self.added, here=False)
            case "pusher_internal:member_removed":
                self._change(event.data["user_id"], self.users.discard, self.removed, here=True)
            case "e":
                self.heard[-1].append(event.data)
            case "pusher:error" if event.data["code"] != 4200:
                self.broken.append(f"{self.name}: {event.data}")

    def _change(self, user: str, change: Any, counts: Counter[str], *, here: bool) -> None:
        if (user in self.users) is not here:
            self.broken.append(f"{self.name} heard that {user} {'left' if here else 'came'} a second time")
        change(user)
        counts[user] += 1


class Traffic:
    """All of them; ``members`` may stay away for a while, guests come and go all the time."""

    def __init__(self, fleet: Fleet, *, publishers: int = 2, followers: int = 4, members: int = 9) -> None:
        self.fleet = fleet
        self.rng = random.Random(fleet.rng.randrange(1 << 32))
        at = fleet.balancer
        self.publishers = [
            Publisher(at, app, f"{app.id}-{number}")
            for app in (DURABLE, BUFFERED, PLAIN)
            for number in range(publishers)
        ]
        self.followers = {
            app.id: [Follower(at.host, at.port, app, TIDES, resume_first=True) for _ in range(followers)]
            for app in (DURABLE, BUFFERED)
        }
        # Some users are there twice.
        self.members = [Member(at.url, f"member-{n}", f"user-{n % (members * 3 // 4)}") for n in range(members)]
        self.guests = [Member(at.url, f"guest-{number}", f"guest-{number}") for number in range(2)]
        self._extra: list[Publisher] = []
        self._ended = asyncio.Event()
        self._moving = asyncio.Event()
        self._moving.set()
        self._publishing: list[asyncio.Task[None]] = []
        self._others: list[asyncio.Task[None]] = []

    # ---- life ----

    async def __aenter__(self) -> Traffic:
        for followers in self.followers.values():
            for follower in followers:
                await follower.connect()
                await follower.ready()
                self._start(self._follow(follower), self._others)
        for member in [*self.members, *self.guests]:
            self._start(member.run(), self._others)
        await until(lambda: all(member.here for member in self.members), "every member to be there")
        for publisher in self.publishers:
            self._start(publisher.run(self._ended), self._publishing)
        for guest in self.guests:
            self._start(self._come_and_go(guest), self._publishing)
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [*self._publishing, *self._others]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for followers in self.followers.values():
            for follower in followers:
                follower.cut()
        for publisher in [*self.publishers, *self._extra]:
            publisher.close()
        # Transports end in the next turn.
        await asyncio.sleep(0)

    def _start(self, work: Coroutine[Any, Any, None], kept: list[asyncio.Task[None]]) -> None:
        kept.append(asyncio.get_running_loop().create_task(work))

    async def _follow(self, follower: Follower) -> None:
        while True:
            if not follower.subscribed.is_set():
                follower.cut()
                try:
                    await follower.connect()
                    await follower.ready()
                except (OSError, asyncio.IncompleteReadError):
                    continue
            await asyncio.sleep(0.02)

    async def _come_and_go(self, guest: Member) -> None:
        while not self._ended.is_set():
            await self._moving.wait()
            await asyncio.sleep(self.rng.uniform(0.1, 0.6))
            await (guest.leave() if self.rng.random() < 0.5 else self._drop(guest))
            await asyncio.sleep(self.rng.uniform(0.1, 0.6))
            guest.stays_away = False

    async def _drop(self, guest: Member) -> None:
        guest.break_off()

    def add_publisher(self, at: Place, app: App, name: str) -> Publisher:
        """One more, which is not part of `goes_on`."""
        publisher = Publisher(at, app, name)
        self._extra.append(publisher)
        self._start(publisher.run(self._ended), self._publishing)
        return publisher

    def add_member(self, url: str, name: str) -> Member:
        """One more, who is a user of that name."""
        member = Member(url, name, name)
        self.members.append(member)
        self._start(member.run(), self._others)
        return member

    async def goes_on(self, count: int = 30, seconds: float = 30.0) -> None:
        """Returns once each publisher has been answered so often again."""
        goals = [(publisher, len(publisher.accepted) + count) for publisher in self.publishers]
        await until(
            lambda: all(len(each.accepted) >= goal for each, goal in goals), "publishes to be taken", seconds=seconds
        )

    async def end(self) -> None:
        """Ends what is published, and returns once each follower has heard the last message."""
        self._ended.set()
        self._moving.set()
        await asyncio.gather(*self._publishing)
        for app in (DURABLE, BUFFERED):
            publisher = Publisher(self.fleet.balancer, app, "last")
            await publisher.publish(MARK)
            publisher.close()
            await until(
                lambda of=self.followers[app.id]: all(each.heard and each.heard[-1][1] == MARK for each in of),
                f"every follower of {app.id} to hear the last message",
            )

    # ---- what must be true ----

    def accepted(self, app: App) -> list[str]:
        publishers = [publisher for publisher in [*self.publishers, *self._extra] if publisher.app is app]
        return [data for publisher in publishers for data in publisher.accepted]

    async def check_durable(self) -> None:
        """History has each publish once and in its publisher's order, and each follower has heard exactly that."""
        stored = await everything_stored(self.fleet.servers[0].url)
        serials = [serial for serial, _ in stored]
        kinds = await asyncio.to_thread(self.fleet.stored_kinds, DURABLE, TIDES)
        assert list(kinds) == list(range(1, len(kinds) + 1)), kinds
        # What was refused after its commit is taken back: where others went on behind it, its serial stays without it.
        assert serials == [serial for serial, kind in kinds.items() if kind != RETRACTED]
        data = [text for _, text in stored]
        same(data, [*self.accepted(DURABLE), MARK])
        in_order(data)
        for follower in self.followers[DURABLE.id]:
            check_unbroken(follower)
            assert follower.rebuilt == [], follower.rebuilt
            assert follower.heard == stored

    def check_buffered(self, *, whole: bool) -> None:
        """Followers had one order, and were told of each gap; ``whole``: there was none, and each publish came once."""
        for follower in self.followers[BUFFERED.id]:
            check_unbroken(follower)
            data = [text for _, text in follower.heard]
            if whole:
                assert follower.rebuilt == [], follower.rebuilt
                same(data, [*self.accepted(BUFFERED), MARK])
                in_order(data)

    def check_members(self, *, ordered: bool = True) -> None:
        """No list had a user come or go twice; ``ordered``: no connection heard a message twice or out of order."""
        for member in [*self.members, *self.guests]:
            assert member.broken == [], member.broken
            for heard in member.heard if ordered else ():
                in_order(heard)

    async def is_true(self, seconds: float = 10.0) -> float:
        """Waits until every list, count and name is that of the open sockets; answers how long that took.

        Guests stay where they are meanwhile.
        """
        now = asyncio.get_running_loop().time
        began = now()
        self._moving.clear()
        try:
            return await self._is_true(began, seconds)
        finally:
            self._moving.set()

    async def _is_true(self, began: float, seconds: float) -> float:
        now = asyncio.get_running_loop().time
        await until(lambda: all(m.here is not m.stays_away for m in [*self.members, *self.guests]), "clients to settle")
        wrong: object = None
        while (waited := now() - began) < seconds + 1:
            wrong = await self._what_is_wrong()
            if wrong is None:
                return waited
            await asyncio.sleep(0.05)
        raise AssertionError(f"after {seconds:g} s: {wrong}")

    async def _what_is_wrong(self) -> object:
        present = [member for member in [*self.members, *self.guests] if not member.stays_away]
        users = {member.user for member in present}
        counts = Counter({ROOM: len(present), TIDES: len(present)} | {member.own: 1 for member in present})
        for member in present:
            if member.users != users:
                return f"{member.name} has {sorted(member.users ^ users)} wrong"
        for server in self.fleet.servers:
            async with client_of(server.url, PLAIN) as api:
                listed = await api.channels(info=("subscription_count",))
                seen = {name: about["subscription_count"] for name, about in listed.items()}
                room = await api.channel(ROOM, info=("user_count",))
                ids = set(await api.users(ROOM))
                if seen != counts or ids != users or room["user_count"] != len(users):
                    more, fewer = Counter(seen) - counts, counts - Counter(seen)
                    odd = sorted(ids ^ users)
                    return f"{server.port} has {more} too many, {fewer} too few, the users {odd} wrong, {room}"
        return None


def check_unbroken(follower: Follower) -> None:
    # A server that stops says so.
    broken = [what for what in follower.broken if "'code': 4200" not in what]
    assert broken == [], broken


def same(data: list[str], accepted: list[str]) -> None:
    """Each publish that was accepted is there once."""
    found, wanted = Counter(data), Counter(accepted)
    assert found == wanted, f"{sorted(found - wanted)} too often, {sorted(wanted - found)} missing"


def in_order(data: list[str]) -> None:
    """What each publisher published is there once and in its order; some of it may be missing."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for text in data:
        if text != MARK:
            name, _, number = text.rpartition(":")
            numbers[name].append(int(number))
    for name, found in numbers.items():
        assert found == sorted(set(found)), f"{name} came as {found}"


async def everything_stored(url: str) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    cursor: str | None = None
    async with client_of(url, DURABLE) as api:
        while True:
            page = await api.history(TIDES, limit=1000, oldest_first=True, cursor=cursor)
            found += [(item["serial"], item["message"]["data"]) for item in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                return found
