"""What nodes send each other, as bytes: envelopes of items, and the items that the nodes themselves need
(spec: platform § 10.7).

An envelope is a MessagePack array with the items of one sender on one topic. A node reads the kinds of items that it
knows and leaves out the others, so that a newer node may send what an older one does not understand. Of an envelope in
a version that it cannot read it takes what is the same in all of them: beats and goodbyes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from operator import or_
from typing import Any, Final, NamedTuple

import msgspec

from sockudo.cluster.items import Item

__all__ = [
    "ENVELOPE_BYTES",
    "OLDEST_VERSION",
    "VERSION",
    "Answer",
    "Ask",
    "Beat",
    "Bye",
    "Dead",
    "Envelope",
    "ItemReader",
    "Opened",
    "Ping",
    "Quiet",
    "QuietAnswer",
    "QuietAsk",
    "QuietEnd",
    "QuietEnded",
    "encode",
    "envelopes",
]

VERSION: Final = 101
"""Of the protocol between nodes: a hundred for each change of meaning, one for each addition of a kind or a field."""

OLDEST_VERSION: Final = 100
"""The oldest one that this version understands, and so the one in which it sends until it knows the others."""

ENVELOPE_BYTES: Final = 64 * 1024
"""An envelope takes further items until it is so long; a longer item has one of its own."""

encode: Final = msgspec.msgpack.Encoder().encode


class Beat(Item, frozen=True, tag="beat"):
    """A node lives. ``sent`` is in seconds of its own clock, ``interval`` the seconds until the next one.

    ``versions`` are the oldest and the newest protocol that it understands. ``role`` is ``full``, ``draining``: then it
    owns nothing, or ``api`` and ``joining``: then it is no live node either. ``connections`` counts those of each app
    whose number is limited, of the largest apps only. ``nodes`` is how many live nodes it sees.
    """

    sent: float
    name: str
    interval: float
    versions: tuple[int, int] = (OLDEST_VERSION, VERSION)
    role: str = "full"
    connections: dict[str, int] = msgspec.field(default_factory=dict)
    nodes: int = 0


class Ping(Item, frozen=True, tag="ping"):
    """A node sends it to itself, and so learns whether its own topic still reaches it."""

    sent: float


class Dead(Item, frozen=True, tag="dead"):
    """The receiver's ``incarnation`` was held dead by the sender, and has to be given up."""

    incarnation: int


class Bye(Item, frozen=True, tag="bye"):
    """The sender goes for good."""


class Ask(Item, frozen=True, tag="ask"):
    """A request of the sender; the answer goes to its own topic. ``deadline`` in seconds from now."""

    number: int
    request: msgspec.Raw
    deadline: float


class Answer(Item, frozen=True, tag="answer"):
    """Part ``part`` of ``of`` of the encoded answer to request ``number``; ``failed`` when there is none."""

    number: int
    part: int
    of: int
    value: bytes
    failed: bool = False


class Quiet(Item, frozen=True):
    """What nodes send each other about topics that one of them does not want."""


class QuietAsk(Quiet, frozen=True, tag="quiet_ask"):
    """The sender publishes on topics: which other node does not want them, for so many seconds from now?"""

    number: int
    topics: tuple[str, ...]
    seconds: float


class QuietAnswer(Quiet, frozen=True, tag="quiet_answer"):
    """The promise for question ``number``, but for the topics with the indexes ``wanted``."""

    number: int
    wanted: tuple[int, ...] = ()


class QuietEnd(Quiet, frozen=True, tag="quiet_end"):
    """The sender wants the topic, whatever it promised; it goes on when this is answered.

    Only a node answers that has the sender among its live ones, and so will ask it.
    """

    number: int
    topic: str


class QuietEnded(Quiet, frozen=True, tag="quiet_ended"):
    """From now on the sender publishes on the topic of `QuietEnd` ``number``."""

    number: int


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """Items of one sender on one topic; ``first`` is the number of the first one, counted from 1 per topic."""

    version: int
    node: bytes
    incarnation: int
    first: int
    items: tuple[msgspec.Raw, ...]


_SYSTEM: Final = (Beat, Ping, Dead, Bye, Ask, Answer, QuietAsk, QuietAnswer, QuietEnd, QuietEnded)


class Opened(NamedTuple):
    """An envelope with its items decoded; None stands for one of a kind that is not known.

    Of a ``foreign`` one, in a version that cannot be read, there are beats and goodbyes alone.
    """

    node_id: str
    incarnation: int
    first: int
    items: Sequence[Item | None]
    foreign: bool = False


class ItemReader:
    """Reads envelopes whose items are of ``kinds``, or of those that nodes themselves need."""

    def __init__(self, kinds: Iterable[type[Item]]) -> None:
        union: Any = reduce(or_, dict.fromkeys((*_SYSTEM, *kinds)))
        self._item = msgspec.msgpack.Decoder(union)
        self._common = msgspec.msgpack.Decoder(Beat | Bye)
        self._envelope = msgspec.msgpack.Decoder(Envelope)
        self.unreadable = 0

    def open(self, payload: bytes) -> Opened | None:
        """The items of an envelope; None for one that cannot be read, which is counted in ``unreadable``."""
        try:
            envelope = self._envelope.decode(payload)
        except (msgspec.DecodeError, ValueError):
            self.unreadable += 1
            return None
        if len(envelope.node) != 16:
            self.unreadable += 1
            return None
        sender = (envelope.node.hex(), envelope.incarnation, envelope.first)
        if OLDEST_VERSION <= envelope.version < (VERSION // 100 + 1) * 100:
            return Opened(*sender, [self._read(item, self._item) for item in envelope.items])
        common = [self._read(item, self._common) for item in envelope.items]
        return Opened(*sender, common, foreign=True)

    def _read(self, item: msgspec.Raw, decoder: msgspec.msgpack.Decoder[Any]) -> Item | None:
        try:
            read: Item = decoder.decode(item)
        except (msgspec.DecodeError, ValueError):
            self.unreadable += 1
            return None
        return read


def envelopes(node: bytes, incarnation: int, first: int, items: Sequence[bytes]) -> Iterator[bytes]:
    """Encoded items in as few envelopes as their size allows; the number of the first one is ``first``."""
    start, size = 0, 0
    for index, item in enumerate(items):
        if size and size + len(item) > ENVELOPE_BYTES:
            yield _envelope(node, incarnation, first + start, items[start:index])
            start, size = index, 0
        size += len(item)
    yield _envelope(node, incarnation, first + start, items[start:])


def _envelope(node: bytes, incarnation: int, first: int, items: Sequence[bytes]) -> bytes:
    return encode(Envelope(VERSION, node, incarnation, first, tuple(map(msgspec.Raw, items))))
