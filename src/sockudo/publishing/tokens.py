"""What nodes ask each other about channels that are recoverable without a store (spec: platform § 10.12).

The numbers of a stream are a token: its id, the next serial and the messages that are kept. One node has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Final, NamedTuple

from sockudo.base.stream_records import Position
from sockudo.cluster.items import Request
from sockudo.history.heads import StreamKey
from sockudo.hub.streams.replay import Kept, ReplayBuffer
from sockudo.protocol.frames import Frame
from sockudo.publishing.nodes import Message

__all__ = [
    "KEYS_AT_ONCE",
    "RING_BYTES",
    "Asked",
    "GiveTokens",
    "Head",
    "HeadsOf",
    "NumberIt",
    "TakeTokens",
    "Token",
    "head_of",
    "messages_of",
    "size_of",
]

KEYS_AT_ONCE: Final = 1000
"""How many channels one request is about at most."""

RING_BYTES: Final = 1024 * 1024
"""How much of the messages that are kept goes into one answer."""


class NumberIt(Request, frozen=True, tag="number"):
    """Asks the owner of a channel for a number of a message, which it publishes; None when it is not the owner.

    ``once`` names a publish that may be tried again after an answer that did not come: it has one number for so many
    seconds as ``lasts``.
    """

    reply: ClassVar = Position | None

    message: Message
    once: bytes | None = None
    lasts: float = 0.0


class Token(NamedTuple):
    """A stream as it is passed on; ``messages`` is empty where they are too large."""

    stream_id: str
    next_serial: int
    messages: tuple[Message, ...]


class GiveTokens(Request, frozen=True, tag="give"):
    """Asks for the tokens of channels, in this order; who answers with one does not number that stream any more."""

    reply: ClassVar = list[Token | None]

    keys: tuple[StreamKey, ...]


class TakeTokens(Request, frozen=True, tag="take"):
    """Passes tokens on to a node that is going to own their channels, which the sender does not number any more."""

    tokens: tuple[tuple[StreamKey, Token], ...]


class Asked(NamedTuple):
    """A place in a channel's stream, None where it is not known; ``replay``: without a hole or not at all."""

    app_id: str
    channel: str
    stream_id: str | None = None
    serial: int | None = None
    replay: bool = False


class Head(NamedTuple):
    """Where a channel's stream is, and its messages after the place that was asked about.

    ``outcome`` is that of `ReplayBuffer.lookup`, ``oldest`` the first serial that is kept; ``more``: the next messages
    have to be asked for.
    """

    stream_id: str
    serial: int
    oldest: int
    outcome: str
    messages: tuple[Message, ...] = ()
    more: bool = False

    @property
    def position(self) -> Position:
        """The place of the newest message."""
        return Position(self.stream_id, self.serial)


class HeadsOf(Request, frozen=True, tag="heads"):
    """Asks the owner of channels where their streams are, in this order; None for one of which it is not the owner."""

    reply: ClassVar = list[Head | None]

    places: tuple[Asked, ...]


def size_of(frame: Frame) -> int:
    """About how many bytes a message takes on the way to another node."""
    data = frame.data
    size = 0 if data is None else len(data) if isinstance(data, str) else memoryview(data).nbytes
    return 200 + size


def messages_of(app_id: str, kept: Iterable[Kept]) -> list[Message]:
    """Messages of a buffer as they travel."""
    return [Message(app_id, frame, exclude).packed() for _, frame, exclude in kept]


def head_of(buffer: ReplayBuffer, asked: Asked, room: int) -> Head:
    """The answer of the node that holds the stream, with at most ``room`` bytes of messages, and one at least."""
    stream_id, head = buffer.head
    oldest = next((frame.serial for _, frame, _ in buffer.after(0) if frame.serial is not None), head + 1)
    if asked.serial is None:
        return Head(stream_id, head, oldest, "recovered")
    outcome = buffer.lookup(asked.stream_id, asked.serial).outcome
    if outcome == "reset" or (asked.replay and outcome != "recovered"):
        return Head(stream_id, head, oldest, outcome)
    shown, left = _fitting(tuple(buffer.after(asked.serial)), room)
    return Head(stream_id, head, oldest, outcome, tuple(messages_of(asked.app_id, shown)), left)


def _fitting(kept: Sequence[Kept], room: int) -> tuple[Sequence[Kept], bool]:
    size = 0
    for index, (_, frame, _) in enumerate(kept):
        size += size_of(frame)
        if size > room and index:
            return kept[:index], True
    return kept, False
