"""What a stream is made of: positions, stored messages and what is known about a stream (spec: history § 1).

A stream is one unbroken numbering of one channel of one app: serials 1, 2, 3 … under one ``stream_id``. Times are
epoch milliseconds.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import msgspec

from sockudo.base.message_records import Latest, Mutation, Refusal, Version

__all__ = [
    "CREATE",
    "KEEP_ALL",
    "RETRACTED",
    "SEED_PLACE",
    "WHOLE_STREAM",
    "Append",
    "Bounds",
    "Committed",
    "Create",
    "Direction",
    "DurableState",
    "Page",
    "Position",
    "Purged",
    "Retained",
    "Retention",
    "Row",
    "StreamInfo",
]

DurableState = Literal["healthy", "degraded", "reset_required"]
Direction = Literal["newest_first", "oldest_first"]

CREATE: Final = "create"
"""The operation kind of a row of the history that is the first version of a message."""

RETRACTED: Final = "retracted"
"""The operation kind of a row that only holds its serial: what it was is taken back, and no reader shows it."""

SEED_PLACE: Final = ("", "")
"""App and channel of the stream whose id is the seed of others'; nothing is ever written to it."""


class Position(NamedTuple):
    """A place in a stream: everything up to and including ``serial``; 0 is the place before the first message."""

    stream_id: str
    serial: int


class Retention(NamedTuple):
    """How long and how much a channel keeps; None means unlimited."""

    window_ms: int | None = None
    max_messages: int | None = None
    max_bytes: int | None = None


KEEP_ALL: Final = Retention()


class Create(msgspec.Struct, frozen=True):
    """What makes an append the first version of a message, and where its row of the history goes.

    ``history_stream_id`` is the id of the history's stream where this is the first message of its channel.
    """

    version: Version
    channel: str
    retention: Retention = KEEP_ALL
    history_stream_id: str | None = None


class Append(msgspec.Struct, frozen=True, gc=False):
    """A message to be stored. ``message`` is the JSON text of its V2 frame, without a position.

    ``key`` makes it idempotent within its channel: the same key is stored once for at least ``key_ttl_ms``, and
    ``fingerprint`` tells a repeated publish from another one under the same key. ``stream_id`` is the id of the stream
    where the message is the first of its channel; None leaves it to the store.

    With ``change`` the stream is a log of versions (`sockudo.hub.streams.versions`). In the same transaction a create
    also writes ``message`` as a row of the history, and every change the message as it reads then; the store makes the
    row of the log.
    """

    app_id: str
    channel: str
    message: bytes
    message_id: str | None
    event_name: str | None
    published_at_ms: int
    retention: Retention = KEEP_ALL
    operation_kind: str = "append"
    key: str | None = None
    fingerprint: bytes = b""
    key_ttl_ms: int = 120_000
    stream_id: str | None = None
    change: Create | Mutation | None = None


class Committed(NamedTuple):
    """The outcome of one append. ``repeated``: its key was stored before, at ``position``, and nothing was stored now.

    ``conflict``: it was stored with another fingerprint. A conflict is always repeated too. ``version`` is the row of
    the log that was stored, ``whole`` its text where that was wanted. ``refused``: nothing was stored, for this reason.
    """

    position: Position
    repeated: bool = False
    conflict: bool = False
    version: Version | None = None
    whole: str | None = None
    refused: Refusal | None = None

    @property
    def is_new(self) -> bool:
        """Whether something was stored now."""
        return not self.repeated and self.refused is None


class Row(NamedTuple):
    """A stored message; the parts are those of `Append`.

    Times never run backwards within a stream: a message of a node whose clock is behind has the time of the one before.
    ``latest`` is a message that can change as it reads now, where it was asked for and is still kept.
    """

    stream_id: str
    serial: int
    published_at_ms: int
    message_id: str | None
    event_name: str | None
    operation_kind: str
    message: bytes
    latest: Latest | None = None


class Retained(NamedTuple):
    """What a stream still holds; serials and times are None while it holds nothing."""

    messages: int = 0
    size: int = 0
    oldest_serial: int | None = None
    newest_serial: int | None = None
    oldest_at_ms: int | None = None
    newest_at_ms: int | None = None


class StreamInfo(NamedTuple):
    """A stream as its store has it. ``next_serial`` is the one that the next message gets."""

    stream_id: str
    next_serial: int
    retained: Retained
    state: DurableState = "healthy"
    reason: str | None = None
    node_id: str | None = None
    changed_at_ms: int | None = None

    @property
    def head(self) -> Position:
        """The place of the last message that was committed."""
        return Position(self.stream_id, self.next_serial - 1)


class Bounds(NamedTuple):
    """Which part of a stream to read; both ends belong to it, None is open."""

    start_serial: int | None = None
    end_serial: int | None = None
    start_time_ms: int | None = None
    end_time_ms: int | None = None


WHOLE_STREAM: Final = Bounds()


class Page(NamedTuple):
    """Some rows of one stream, read in one consistent view together with its ``info``.

    ``info`` is None for a channel that has no stream; ``has_more`` says that rows inside the bounds are left over.
    """

    info: StreamInfo | None
    rows: tuple[Row, ...] = ()
    has_more: bool = False


class Purged(NamedTuple):
    """What an operator removed; ``info`` is the stream afterwards, ``previous`` its id before a reset.

    ``info`` is None when the channel has no stream that could be purged.
    """

    messages: int
    size: int
    info: StreamInfo | None
    previous: str | None = None
