"""What nodes send to each other through PostgreSQL, as texts of notifications and bodies of rows. No IO
(spec: platform § 10.11).

A packet is a list of topics with their payloads. Short ones are in the notification itself, in base64; longer ones are
a row, and the notification names it: ``sender.number.kind.rest``. Packets of one sender are numbered in the order in
which they are committed, so nothing of it that has a lower number than the last one comes later.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from binascii import crc32
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

__all__ = ["Item", "Note", "Packed", "Packer", "Row", "channel_of", "items_of", "note_of"]

Item = tuple[str, bytes]
"""A topic and a payload."""

_SLOTS: Final = 64
_NODE: Final = re.compile(r"n:([0-9a-f]{1,32})")
# A notification has less than 8,000 bytes; this is what they hold in base64 beside the rest.
_SHORT: Final = 5_900
# What an item takes beside its topic and its payload, at most.
_EACH: Final = 16
_MOST: Final = 32
_INLINE: Final = "i"
_ROW: Final = "r"
_POLLER: Final = "p"

_decoder: Final = msgspec.msgpack.Decoder(list[Item])


class Row(NamedTuple):
    """A packet that is a row: its number, the channels that it concerns, and the packet."""

    number: int
    channels: list[str]
    body: bytes


class Packed(NamedTuple):
    """What is sent in one transaction: notifications, channel by channel, and their row, if there is one."""

    channels: list[str]
    texts: list[str]
    row: Row | None


class Note(NamedTuple):
    """A packet that came: ``body`` is None while it is only known to be a row of ``size`` bytes.

    ``poller``: its sender hears no notifications.
    """

    sender: bytes
    number: int
    body: bytes | None
    size: int = 0
    poller: bool = False


def channel_of(prefix: str, topic: str) -> str:
    """The channel of a topic: there are 64 for all but those that every node hears, or one alone."""
    if topic == "all":
        return f"{prefix}_all"
    node = _NODE.fullmatch(topic)
    return f"{prefix}_n_{node[1]}" if node else f"{prefix}_{crc32(topic.encode()) % _SLOTS}"


class Packer:
    """Makes packets of one sender. ``polls``: the sender hears no notifications, which its own tell the others."""

    def __init__(self, prefix: str, sender: bytes) -> None:
        self.polls = False
        self.number = 0
        self._prefix = prefix
        self._name = b64encode(sender).rstrip(b"=").decode()

    def pack(self, items: Sequence[Item], *, as_row: bool) -> Packed:
        """Packs items in their order: into few notifications, or else, or where it has to be, into one row."""
        channels: dict[str, list[Item]] = {}
        for topic, payload in items:
            channels.setdefault(channel_of(self._prefix, topic), []).append((topic, payload))
        if not as_row:
            cut = [(channel, part) for channel, some in channels.items() for part in _cut(some)]
            bodies = [(channel, msgspec.msgpack.encode(part)) for channel, part in cut]
            if len(bodies) <= _MOST and all(len(body) <= _SHORT for _, body in bodies):
                texts = [self._text(_INLINE, b64encode(body).decode()) for _, body in bodies]
                return Packed([channel for channel, _ in bodies], texts, None)
        body = msgspec.msgpack.encode(items)
        text = self._text(_POLLER if self.polls else _ROW, str(len(body)))
        return Packed(list(channels), [text] * len(channels), Row(self.number, list(channels), body))

    def _text(self, kind: str, rest: str) -> str:
        self.number += 1
        return f"{self._name}.{self.number}.{kind}.{rest}"


def _cut(items: Iterable[Item]) -> Iterable[list[Item]]:
    """As many together as fit into a notification."""
    part: list[Item] = []
    size = 0
    for topic, payload in items:
        length = len(topic.encode()) + len(payload) + _EACH
        if part and size + length > _SHORT:
            yield part
            part, size = [], 0
        part.append((topic, payload))
        size += length
    yield part


def note_of(text: bytes) -> Note | None:
    """What a notification says; None for one that is not ours."""
    try:
        name, number, kind, rest = text.decode("ascii").split(".")
        sender = b64decode(name + "==", validate=True)
        if kind == _INLINE:
            return Note(sender, int(number), b64decode(rest, validate=True))
        return Note(sender, int(number), None, int(rest), kind == _POLLER)
    except (ValueError, binascii.Error):
        return None


def items_of(body: bytes) -> list[Item]:
    """What is in a packet; nothing in one that is not ours."""
    try:
        return _decoder.decode(body)
    except msgspec.DecodeError:
        return []
