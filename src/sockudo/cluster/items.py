"""What nodes send each other, as values, and the topics that items travel on (spec: platform § 10.2).

Items go to the nodes that subscribed to their topic; requests are answered by every node that is asked. Both are
plain data, declared by the rooms that send them: a bus between processes encodes them, the one inside a process passes
them on as they are.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec

__all__ = ["ALL", "Item", "Request", "channel_topic", "node_topic", "patterns_topic", "user_topic"]

ALL: Final = "all"
"""The topic that every node hears."""


class Item(msgspec.Struct, frozen=True, tag=True):
    """One item on a topic."""


class Request(msgspec.Struct, frozen=True, tag=True):
    """A question or an order that each asked node answers once, with a value of the type ``reply`` or None."""

    reply: ClassVar[Any] = Any


def channel_topic(app_id: str, channel: str) -> str:
    """The topic of a channel, for nodes with subscribers in it."""
    return f"c:{app_id}:{channel}"


def user_topic(app_id: str, user_id: str) -> str:
    """The topic of a signed-in user, for nodes with a connection of it."""
    return f"u:{app_id}:{user_id}"


def patterns_topic(app_id: str) -> str:
    """The topic of all public channels of an app, for nodes with pattern subscribers."""
    return f"w:{app_id}"


def node_topic(node_id: str) -> str:
    """The topic of one node, which hears what is for it alone."""
    return f"n:{node_id}"
