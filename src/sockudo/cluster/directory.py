"""What spans nodes, asked in one place: occupied channels, counts and members, merged from what each node has
(spec: platform § 10.6)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, NamedTuple, Protocol

from sockudo.cluster.items import Request
from sockudo.cluster.ports import DEADLINE, Answers, Bus
from sockudo.cluster.router import Router

__all__ = [
    "NOTHING",
    "ChannelCounts",
    "ChannelList",
    "ChannelNames",
    "Counted",
    "Directory",
    "LocalDirectory",
    "Members",
]


class ChannelCounts(NamedTuple):
    """How many subscriptions a channel has, and how many distinct users as members; 0 users without presence."""

    subscriptions: int
    users: int


NOTHING = ChannelCounts(0, 0)


class ChannelNames(NamedTuple):
    """Occupied channels, each once. ``complete`` is False when a live node did not answer."""

    names: Sequence[str]
    complete: bool


class Counted(NamedTuple):
    """The counts of one channel, with the same ``complete``."""

    counts: ChannelCounts
    complete: bool


class ChannelList(NamedTuple):
    """Occupied channels by name, with the same ``complete``."""

    channels: dict[str, ChannelCounts]
    complete: bool


class Members(NamedTuple):
    """The distinct users of a presence channel, with the same ``complete``."""

    users: Sequence[str]
    complete: bool


class LocalDirectory(Protocol):
    """The half of one node: what its own connections make of an app. An app without any has nothing.

    Subscriptions are this node's; users are all that it knows of, which with a subscriber here are those of every node.
    """

    def names(self, app_id: str, prefix: str) -> Sequence[str]:
        """Names of occupied channels that start with ``prefix``."""

    def channels(self, app_id: str, prefix: str) -> dict[str, ChannelCounts]:
        """Occupied channels whose name starts with ``prefix``."""

    def channel(self, app_id: str, name: str) -> ChannelCounts:
        """The counts of one channel, `NOTHING` where it is not occupied."""

    def members(self, app_id: str, name: str) -> Sequence[str]:
        """The users of a presence channel, in the order in which they came."""


class ListNames(Request, frozen=True, tag="names"):
    """The names of the channels of a node."""

    reply: ClassVar = tuple[str, ...]

    app_id: str
    prefix: str


class ListChannels(Request, frozen=True, tag="channels"):
    """The channels of a node."""

    reply: ClassVar = dict[str, ChannelCounts]

    app_id: str
    prefix: str


class CountChannel(Request, frozen=True, tag="channel"):
    """The counts of a channel on a node."""

    reply: ClassVar = ChannelCounts

    app_id: str
    name: str


class ListMembers(Request, frozen=True, tag="members"):
    """The members of a channel that a node knows."""

    reply: ClassVar = tuple[str, ...]

    app_id: str
    name: str


class Directory:
    """The answers of all nodes. While this one is alone it answers at once, and nothing is made or waited for."""

    def __init__(self, bus: Bus, router: Router, local: LocalDirectory) -> None:
        self._bus = bus
        self._local = local
        router.on_request(ListNames, lambda asked: tuple(local.names(asked.app_id, asked.prefix)))
        router.on_request(ListChannels, lambda asked: local.channels(asked.app_id, asked.prefix))
        router.on_request(CountChannel, lambda asked: local.channel(asked.app_id, asked.name))
        router.on_request(ListMembers, lambda asked: tuple(local.members(asked.app_id, asked.name)))

    @property
    def alone(self) -> bool:
        """Whether every answer comes at once."""
        return self._bus.alone

    async def names(self, app_id: str, prefix: str = "") -> ChannelNames:
        """The names of an app's occupied channels that start with ``prefix``."""
        if self._bus.alone:
            return ChannelNames(self._local.names(app_id, prefix), complete=True)
        answers = await self._ask(ListNames(app_id, prefix))
        return ChannelNames(_distinct(answers), answers.complete)

    async def channels(self, app_id: str, prefix: str = "") -> ChannelList:
        """The occupied channels of an app whose name starts with ``prefix``."""
        if self._bus.alone:
            return ChannelList(self._local.channels(app_id, prefix), complete=True)
        answers = await self._ask(ListChannels(app_id, prefix))
        found: dict[str, list[ChannelCounts]] = {}
        for channels in answers.values.values():
            for name, counts in channels.items():
                found.setdefault(name, []).append(ChannelCounts(*counts))
        return ChannelList({name: _merged(parts) for name, parts in found.items()}, answers.complete)

    async def channel(self, app_id: str, name: str) -> Counted:
        """The counts of one channel."""
        if self._bus.alone:
            return Counted(self._local.channel(app_id, name), complete=True)
        answers = await self._ask(CountChannel(app_id, name))
        return Counted(_merged(ChannelCounts(*counts) for counts in answers.values.values()), answers.complete)

    async def members(self, app_id: str, name: str) -> Members:
        """The distinct users of a presence channel."""
        if self._bus.alone:
            return Members(self._local.members(app_id, name), complete=True)
        answers = await self._ask(ListMembers(app_id, name))
        return Members(_distinct(answers), answers.complete)

    async def _ask(self, request: Request) -> Answers:
        answers = await self._bus.ask(request, deadline=DEADLINE)
        known = {node_id: value for node_id, value in answers.values.items() if value is not None}
        return Answers(known, answers.complete and len(known) == len(answers.values))


def _distinct(answers: Answers) -> Sequence[str]:
    return tuple(dict.fromkeys(one for part in answers.values.values() for one in part))


def _merged(parts: Iterable[ChannelCounts]) -> ChannelCounts:
    """Subscriptions are summed. Users are not: each node that has one knows those of the others, too."""
    subscriptions, users = 0, 0
    for part in parts:
        subscriptions += part.subscriptions
        users = max(users, part.users)
    return ChannelCounts(subscriptions, users)
