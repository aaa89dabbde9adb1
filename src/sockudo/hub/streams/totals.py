"""What streams hold and have lost, summed up by app: for who watches a server (spec: history § 9)."""

from __future__ import annotations

from collections import Counter
from typing import Final, NamedTuple

from sockudo.base.message_records import channel_of_log, is_log

__all__ = ["PRESENCE_PREFIX", "Evicted", "Group", "Total", "group_of", "group_of_channel"]

PRESENCE_PREFIX: Final = "[presence-history]"
"""Begins the names of streams of presence histories; no channel is called so."""


class Group(NamedTuple):
    """All streams of one kind of an app: ``presence`` those of presence histories, ``versions`` logs of versions."""

    app_id: str
    presence: bool = False
    versions: bool = False

    @property
    def of_messages(self) -> bool:
        """Whether the streams are those of channels."""
        return not self.presence and not self.versions


def group_of(app_id: str, stream: str) -> Group:
    """The group that a stream belongs to, by its name."""
    return Group(app_id, stream.startswith(PRESENCE_PREFIX), is_log(stream))


def group_of_channel(app_id: str, stream: str) -> Group:
    """The same, where a log belongs to the group of its channel."""
    return group_of(app_id, channel_of_log(stream) or stream)


class Total(NamedTuple):
    """What the streams of a group hold now: messages and their bytes, and how many only a reset heals."""

    messages: int = 0
    size: int = 0
    reset_required: int = 0


class Evicted:
    """What retention has taken away since this process began, here: messages and their bytes."""

    __slots__ = ("messages", "size")

    def __init__(self) -> None:
        self.messages: Counter[Group] = Counter()
        self.size: Counter[Group] = Counter()

    def note(self, group: Group, messages: int, size: int) -> None:
        """So many are gone for good."""
        if messages:
            self.messages[group] += messages
            self.size[group] += size
