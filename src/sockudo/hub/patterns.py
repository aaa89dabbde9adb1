"""Subscriptions with a ``*``: one for every public channel whose name fits (contract 10 § 6.7)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from sockudo.hub.channel import Channel
from sockudo.hub.outgoing import Outgoing
from sockudo.names import channel_kind, is_meta
from sockudo.protocol.frame import Frame

if TYPE_CHECKING:
    from sockudo.hub.app_state import AppState
    from sockudo.hub.connection import Connection

__all__ = ["Patterns", "fits"]


def fits(pattern: str, channel: str) -> bool:
    """Whether a pattern with exactly one ``*`` matches the name of a channel."""
    before, _, after = pattern.partition("*")
    return (
        len(channel) >= len(before) + len(after)
        and channel.startswith(before)
        and channel.endswith(after)
        and not channel_kind(channel).protected
        and not channel.startswith("#")
        and not is_meta(channel)
    )


class Patterns:
    """The patterns of one app that somebody is subscribed to. Each is a `Channel` that nothing is published to."""

    __slots__ = ("_app", "channels")

    def __init__(self, app: AppState) -> None:
        self._app = app
        self.channels: dict[str, Channel] = {}

    def __bool__(self) -> bool:
        return bool(self.channels)

    def matching(self, channel: str) -> Iterator[Channel]:
        """The patterns that the name fits, in the order in which they were first subscribed to."""
        return (pattern for pattern in self.channels.values() if fits(pattern.name, channel))

    def append(self, frame: Frame, exclude: Collection[Connection]) -> None:
        """Says a channel's frame to those whose patterns match; each connection gets it once.

        The exact subscription comes first, then the oldest pattern: the others are left out where one has accepted.
        """
        name = frame.channel or ""
        served: set[Connection] = set(exclude)
        exact = self._app.channels.get(name)
        message = Outgoing(frame, tags=self._app.hub.options.show_tags, on_error=self._app.predicate_failed)
        for pattern in self.matching(name):
            if exact is not None:
                served.update(_served(exact, pattern, message))
            for fanout in pattern.fanouts.values():
                fanout.say(message, served)
            served.update(_served(pattern, pattern, message))


def _served(channel: Channel, among: Channel, message: Outgoing) -> Iterator[Connection]:
    """Those of ``among`` whose own subscription to the channel lets the message through."""
    for connection in among.subscribers():
        fanout = connection.channels.get(channel.name)
        if fanout is not None and fanout.accepts(message):
            yield connection
