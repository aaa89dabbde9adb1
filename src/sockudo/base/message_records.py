"""What a message that changes is made of: its versions, and what is asked of it (spec: messages § 2 and 3).

Times are epoch milliseconds. A field that holds JSON text of any type is a `msgspec.Raw`; it is `NOTHING` where there
is none.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

__all__ = [
    "NOTHING",
    "VERSIONS_PREFIX",
    "Action",
    "Change",
    "Data",
    "Latest",
    "Mutation",
    "Refusal",
    "Version",
    "channel_of_log",
    "is_log",
    "log_of",
]

Action = Literal["create", "update", "delete", "append"]
Change = Literal["update", "delete", "append"]
Refusal = Literal["unknown", "not_owner", "not_text", "too_long", "too_often"]
"""Why a mutation was not applied: no such message, another's message, an append to data that is no text, data that
would be too long, an append too many."""

NOTHING: Final = msgspec.Raw(b"")

VERSIONS_PREFIX: Final = "[versions]"
"""Begins the names of logs, the streams that have the versions of channels; no channel is called so."""

Data = str | msgspec.Raw | None
"""A message's data: text, JSON text of another type, or none."""


class Version(msgspec.Struct, omit_defaults=True):
    """One version of a message, as it is stored.

    In the log of versions an append has its fragment as ``text``; everywhere else a version has the whole data.
    ``owner`` is the client id that created the message, ``user_id`` what its frames carry of it, ``client_id`` the one
    that made this version. ``length`` is how many characters the whole text has, ``size`` how many bytes the whole
    data, ``appends`` how many appends the message has got. ``tags`` and ``message_id`` are those of the create.
    """

    action: Action
    message_serial: str
    version_serial: str
    timestamp_ms: int
    history_serial: int = 0
    name: str | None = None
    text: str | None = None
    value: msgspec.Raw = NOTHING
    length: int = 0
    size: int = 0
    appends: int = 0
    extras: dict[str, Any] | None = None
    owner: str | None = None
    user_id: str | None = None
    client_id: str | None = None
    description: str | None = None
    metadata: msgspec.Raw = NOTHING
    tags: dict[str, str] | None = None
    message_id: str | None = None

    @property
    def data(self) -> Data:
        """The data, in one field."""
        if self.text is not None:
            return self.text
        return self.value if bytes(self.value) else None


class Mutation(msgspec.Struct, frozen=True):
    """What changes a message. A field that is UNSET stays as it is, one that is None is removed.

    ``version_serial`` is the one that the version gets unless the message has a later one. With an ``owner`` only that
    client's own message is changed. ``whole``: the outcome is wanted with the whole text. ``most_bytes`` is how long
    the data may become, ``most_appends`` how many appends the message may have; 0 is no bound.
    """

    action: Change
    message_serial: str
    version_serial: str
    timestamp_ms: int
    name: str | UnsetType | None = UNSET
    data: str | msgspec.Raw | UnsetType | None = UNSET
    extras: dict[str, Any] | UnsetType | None = UNSET
    client_id: str | None = None
    description: str | None = None
    metadata: msgspec.Raw = NOTHING
    owner: str | UnsetType | None = UNSET
    whole: bool = False
    most_bytes: int = 0
    most_appends: int = 0


class Latest(NamedTuple):
    """A message as it reads now, and the serial of its newest version in the log of its channel.

    ``stream_id`` is that of the log, in rows of a history alone.
    """

    serial: int
    version: Version
    stream_id: str = ""


def log_of(channel: str) -> str:
    """The stream that has a channel's versions."""
    return VERSIONS_PREFIX + channel


def is_log(stream: str) -> bool:
    """Whether a stream is the log of a channel."""
    return stream.startswith(VERSIONS_PREFIX)


def channel_of_log(stream: str) -> str | None:
    """The channel whose log a stream is; None for any other stream."""
    return stream.removeprefix(VERSIONS_PREFIX) if stream.startswith(VERSIONS_PREFIX) else None
