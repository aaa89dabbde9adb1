"""The order in which a stream's messages are delivered on this node, where others publish in it too
(spec: history § 2.1).

An authority numbers what all nodes publish: the store, or the node that holds a stream without one. What this node
published may come behind messages of others that were not delivered here yet: it waits for them, and they are read
from the authority.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, KeysView
from contextlib import contextmanager
from typing import Final, NamedTuple

import structlog

from sockudo.base.stream_records import Position
from sockudo.base.tasks import end_tasks, start_tasks
from sockudo.errors import SockudoError
from sockudo.history.authority import Authority, DeliverAt, Numbered
from sockudo.history.calls import Sleep
from sockudo.history.heads import Heads, StreamKey

__all__ = ["Sequencer"]

# Seconds for which messages of other nodes are waited for before the authority is asked, and for which it is asked
# again.
_FIRST_DELAY: Final = 0.25
_PATIENCE: Final = 5.0
# What waits in a stream, and in all together. What finds no place is read from the authority in its turn.
_MAX_WAITING: Final = 1000
_MAX_WAITING_TOGETHER: Final = 10_000
_MAX_WAITING_BYTES: Final = 64 * 1024 * 1024

_log = structlog.get_logger("sockudo.history")


class _Waiting(NamedTuple):
    """A message behind one that was not delivered here; ``size`` in bytes."""

    stream_id: str
    message_id: str | None
    size: int
    deliver: DeliverAt


class Sequencer:
    """Delivers in order: at once what comes next, later what has others before it, never what was delivered.

    ``under_way`` are the channels of the commit that is being made.
    """

    def __init__(self, authority: Authority, heads: Heads, sleep: Sleep) -> None:
        self.under_way: set[StreamKey] = set()
        self._authority = authority
        self._heads = heads
        self._sleep = sleep
        self._settled = asyncio.Event()
        self._waiting: dict[StreamKey, dict[int, _Waiting]] = {}
        self._count = self._size = 0
        # Channels that are being read on, and what is done when that has ended.
        self._reading: dict[StreamKey, asyncio.Future[None]] = {}
        self._following: dict[StreamKey, asyncio.Task[None]] = {}

    async def close(self) -> None:
        """Gives up what waits."""
        await end_tasks(list(self._following.values()))

    async def idle(self, key: StreamKey) -> None:
        """Returns once everything that was being committed to the channel has been dealt with."""
        if key in self.under_way:
            await self._settled.wait()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """A commit and all that is done about it; its channels are added to `under_way`."""
        self._settled = asyncio.Event()
        try:
            yield
        finally:
            self.under_way.clear()
            self._settled.set()

    @property
    def waiting(self) -> KeysView[StreamKey]:
        """The channels in which something waits."""
        return self._waiting.keys()

    def forget(self, key: StreamKey) -> None:
        """The channel has lost its last subscriber."""
        self._drop(key, None)

    def release(self, key: StreamKey) -> None:
        """Delivers what waits without what comes before it: to other nodes, as no subscriber here can miss that."""
        for serial, each in sorted(self._waiting.get(key, {}).items()):
            self._take(key, serial)
            _say(key, each.deliver, Position(each.stream_id, serial))
        if (following := self._following.get(key)) is not None:
            following.cancel()

    # ---- one message ----

    def offer(self, key: StreamKey, position: Position, message_id: str | None, size: int, deliver: DeliverAt) -> None:
        """Delivers a message that another node published, now or when its turn comes; see `History.offer`."""
        head = self._heads.get(key)
        if head is None and key not in self.under_way:
            head = position._replace(serial=position.serial - 1)
        if head is not None and head.stream_id == position.stream_id:
            if position.serial <= head.serial:
                return
            if position.serial == head.serial + 1:
                self._heads.advance(key, position, message_id)
                _say(key, deliver, position)
                self.drain(key)
                return
        self.hold(key, position, message_id, size, deliver)

    def hold(self, key: StreamKey, position: Position, message_id: str | None, size: int, deliver: DeliverAt) -> None:
        """Has a message wait for those before it, which come from other nodes or else from the authority."""
        waiting = self._waiting.get(key, {})
        room = len(waiting) < _MAX_WAITING and self._count < _MAX_WAITING_TOGETHER
        if room and self._size + size <= _MAX_WAITING_BYTES and position.serial not in waiting:
            self._count += 1
            self._size += size
            waiting[position.serial] = _Waiting(position.stream_id, message_id, size, deliver)
            self._waiting[key] = waiting
        if key not in self._following:
            [task] = start_tasks(self._follow(key, position))
            self._following[key] = task
            task.add_done_callback(lambda _: self._following.pop(key, None))

    def drain(self, key: StreamKey) -> None:
        """Delivers what has waited for the message that was delivered last."""
        while key in self._waiting and (head := self._heads.get(key)) is not None:
            found = self._waiting[key].get(head.serial + 1)
            if found is None or found.stream_id != head.stream_id:
                break
            position = Position(head.stream_id, head.serial + 1)
            self._heads.advance(key, position, found.message_id)
            self._take(key, position.serial)
            _say(key, found.deliver, position)

    def _take(self, key: StreamKey, serial: int) -> None:
        waiting = self._waiting[key]
        self._count -= 1
        self._size -= waiting.pop(serial).size
        if not waiting:
            del self._waiting[key]

    def _drop(self, key: StreamKey, last: int | None) -> None:
        """Lets go what waits, up to the serial ``last`` or all of it."""
        for serial in [serial for serial in self._waiting.get(key, ()) if last is None or serial <= last]:
            self._take(key, serial)

    # ---- from the authority ----

    async def catch_up(self, key: StreamKey, position: Position | None = None) -> None:
        """Delivers what the authority has beyond what was delivered here; see `History.catch_up`."""
        while (reading := self._reading.get(key)) is not None:
            await asyncio.wait({reading})
            if self._has_passed(key, position):
                return
        if self._has_passed(key, position):
            return
        reading = self._reading[key] = asyncio.get_running_loop().create_future()
        try:
            while await self._read_on(key, position):
                pass
        finally:
            del self._reading[key]
            reading.set_result(None)

    def _has_passed(self, key: StreamKey, position: Position | None) -> bool:
        head = self._heads.get(key)
        if position is None or head is None or head.stream_id != position.stream_id:
            return False
        return head.serial >= position.serial

    async def _read_on(self, key: StreamKey, position: Position | None) -> bool:
        """Delivers the next page; whether there may be more.

        What this node is storing meanwhile may be on the page: then its outcome is waited for, and it has been
        delivered, or waits here.
        """
        known, known_id = self._heads.get(key), self._heads.message_id(key)
        start = known.serial if known is not None else position.serial if position is not None else None
        reading = await self._authority.read(key, start)
        await self.idle(key)
        self._authority.check(key, reading)
        head = self._heads.get(key)
        if reading is None:
            return False
        if (known and known.stream_id) != (head and head.stream_id):
            return True
        if known is not None and self._authority.has_lost(known, known_id, reading):
            await self._go_on_renamed(key, known)
            return True
        if known is None or known.stream_id != reading.head.stream_id:
            # It begins with the message that is asked for.
            first = reading.head
            if position is not None and position.stream_id == first.stream_id:
                first = first._replace(serial=min(position.serial - 1, first.serial))
            if known is not None:
                if reading.begin is not None:
                    first = first._replace(serial=min(reading.begin, first.serial))
                self._heads.move(key, first)
                return first.serial < reading.head.serial
            self._heads.advance(key, first)
        before = self._serial(key)
        for message in reading.messages:
            self._deliver(key, message)
        if not reading.more:
            self._skip_to(key, reading.head)
        self._drop(key, self._serial(key))
        self.drain(key)
        return reading.more or (key in self._waiting and self._serial(key) > before)

    async def _go_on_renamed(self, key: StreamKey, known: Position) -> None:
        """The stream lost what was delivered here: what waits is delivered under another stream id."""
        settled = await self._authority.settle(key, known)
        head = self._heads.get(key)
        if head is None or head.stream_id != settled.stream_id:
            last = min(self._waiting.get(key, ()), default=settled.serial + 1) - 1
            self._heads.move(key, settled._replace(serial=min(last, settled.serial)))

    def _deliver(self, key: StreamKey, message: Numbered) -> None:
        place = message.place
        if place.serial <= self._serial(key):
            return
        self._skip_to(key, place._replace(serial=place.serial - 1))
        self._heads.advance(key, place, message.message_id)
        own = self._waiting.get(key, {}).get(place.serial)
        if own is not None and own.message_id == message.message_id:
            _say(key, own.deliver, place)
        elif message.deliver is not None:
            _say(key, message.deliver, place)

    def _skip_to(self, key: StreamKey, place: Position) -> None:
        """Goes on behind a place, over messages that retention took away before they were delivered here."""
        while (serial := self._serial(key)) < place.serial:
            waiting = self._waiting.get(key, {})
            first = min((each for each in waiting if serial < each <= place.serial), default=place.serial + 1)
            if first > serial + 1:
                self._heads.move(key, place._replace(serial=first - 1))
            if first <= place.serial:
                self._heads.advance(key, place._replace(serial=first), waiting[first].message_id)
                _say(key, waiting[first].deliver, place._replace(serial=first))

    def _serial(self, key: StreamKey) -> int:
        head = self._heads.get(key)
        return 0 if head is None else head.serial

    async def _follow(self, key: StreamKey, position: Position) -> None:
        """Brings what waits to its subscribers, with a hole that is announced where the authority does not answer."""
        delay, waited = _FIRST_DELAY, 0.0
        while True:
            await self._sleep(delay)
            waited += delay
            try:
                while (first := min(self._waiting.get(key, ()), default=0)) or not self._has_passed(key, position):
                    last = max(self._waiting.get(key, (position.serial,)))
                    await self.catch_up(key, position._replace(serial=last))
                    if first == min(self._waiting.get(key, ()), default=0):
                        break
            except SockudoError as problem:
                if waited < _PATIENCE:
                    delay = min(2 * delay, 1.0)
                    continue
                _log.error("messages of other nodes cannot be read", channel=key[1], reason=problem.text)
            self._give_up(key)
            return

    def _give_up(self, key: StreamKey) -> None:
        """Delivers what still waits without what comes before it."""
        while key in self._waiting and (head := self._heads.get(key)) is not None:
            waiting = self._waiting[key].items()
            first = min((s for s, each in waiting if s > head.serial and each.stream_id == head.stream_id), default=0)
            if not first:
                break
            self._heads.move(key, head._replace(serial=first - 1))
            self.drain(key)
        self._drop(key, None)


def _say(key: StreamKey, deliver: DeliverAt, position: Position) -> None:
    try:
        deliver(position)
    except Exception as defect:  # noqa: BLE001 - it is stored, and the others have to be delivered
        _log.error("a stored message could not be delivered", channel=key[1], exc_info=defect)
