"""Packets that came through PostgreSQL, in the order of each sender; some are in the table still. No IO."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Final, NamedTuple

from sockudo.cluster.carrier import CarrierObserver
from sockudo.drivers.carriers.postgres_packets import Note, items_of, note_of

__all__ = ["Found", "Inbox"]

# Beyond these, what waits for a row is given up.
_MAX_NOTES: Final = 50_000
_MAX_BYTES: Final = 16 * 1024 * 1024
# Senders that are remembered; the longest silent ones are forgotten first.
_MAX_SENDERS: Final = 10_000


class Found(NamedTuple):
    """A row of the table: whose, its number, its size, and whether it may have something for this node."""

    sender: bytes
    number: int
    size: int
    wanted: bool


class Inbox:
    """Hands over what is subscribed to, in order. ``polled`` is called for each packet of a sender that polls."""

    def __init__(self, topics: Container[str], polled: Callable[[], None]) -> None:
        self.observer: CarrierObserver | None = None
        # Of each sender the number of its last packet: nothing up to it comes again.
        self.last: dict[bytes, int] = {}
        self._topics = topics
        self._polled = polled
        self._waiting: deque[Note] = deque()
        self._bytes = 0
        # Packets are only gathered, until what was found in the table stands before them.
        self._held = False

    @property
    def waits(self) -> bool:
        """Whether rows are needed."""
        return bool(self._waiting) and not self._held

    def hold(self) -> None:
        """Forgets what waited, and has what comes wait until `release`."""
        self._waiting.clear()
        self._bytes = 0
        self._held = True

    def release(self, found: Sequence[Found]) -> None:
        """What was found in the table comes first, then what has come meanwhile."""
        waiting, self._waiting, self._held = self._waiting, deque(), False
        self.look(found)
        self._waiting.extend(waiting)
        self._hand_over({})

    def skip(self, found: Iterable[Found]) -> None:
        """Takes rows of the table for ones that came long ago."""
        for row in found:
            self._note(row.sender, row.number)

    def look(self, found: Iterable[Found]) -> None:
        """Takes rows in that were found in the table."""
        for row in found:
            if row.wanted:
                self._add(Note(row.sender, row.number, None, row.size))
            elif not self._waiting:
                self._note(row.sender, row.number)
            else:
                # In its place, with nothing in it.
                self._add(Note(row.sender, row.number, b"\x90"))

    def take(self, text: bytes) -> None:
        """Takes a notification in."""
        note = note_of(text)
        if note is None:
            return
        if note.poller:
            self._polled()
        if self._waiting or self._held or note.body is None:
            self._add(note)
        else:
            self._deliver(note, note.body)

    def _add(self, note: Note) -> None:
        if note.number <= self.last.get(note.sender, 0):
            return
        self._waiting.append(note)
        self._bytes += len(note.body or b"")
        if len(self._waiting) > _MAX_NOTES or self._bytes > _MAX_BYTES:
            self._waiting.clear()
            self._bytes = 0
            if self.observer is not None:
                self.observer.lost(None)

    def needed(self, size: int) -> list[tuple[bytes, int]]:
        """Sender and number of the first rows to be read: one, and as many more as have ``size`` bytes together."""
        needed: dict[tuple[bytes, int], None] = {}
        for note in self._waiting:
            if note.body is None and note.number > self.last.get(note.sender, 0):
                size -= note.size
                if needed and size < 0:
                    break
                needed[note.sender, note.number] = None
        return list(needed)

    def fill(self, needed: Iterable[tuple[bytes, int]], bodies: dict[tuple[bytes, int], bytes]) -> None:
        """Takes the rows in that were ``needed``; those that are gone are lost."""
        gone = [key for key in needed if key not in bodies]
        if gone and self.observer is not None:
            self.observer.lost(None)
        self._hand_over(bodies | dict.fromkeys(gone, b"\x90"))

    def _hand_over(self, bodies: dict[tuple[bytes, int], bytes]) -> None:
        while self._waiting:
            note = self._waiting[0]
            body = note.body
            if body is None and note.number > self.last.get(note.sender, 0):
                body = bodies.get((note.sender, note.number))
                if body is None:
                    return
            self._waiting.popleft()
            self._bytes -= len(note.body or b"")
            if body is not None:
                self._deliver(note, body)

    def _deliver(self, note: Note, body: bytes) -> None:
        # One row is announced on each of its channels, and found again in the table.
        if note.number <= self.last.get(note.sender, 0):
            return
        self._note(note.sender, note.number)
        for topic, payload in items_of(body):
            if topic in self._topics and self.observer is not None:
                self.observer.arrived(topic, payload)

    def _note(self, sender: bytes, number: int) -> None:
        if number <= self.last.get(sender, 0):
            return
        # In the order in which they arrived.
        self.last.pop(sender, None)
        self.last[sender] = number
        if len(self.last) > _MAX_SENDERS:
            del self.last[next(iter(self.last))]
