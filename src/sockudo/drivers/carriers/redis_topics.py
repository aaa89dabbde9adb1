"""What is subscribed to on one connection to Redis, and what arrives through it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from sockudo.storage.redis_slots import slot_of
from sockudo.storage.redis_wire import RedisWire, pack

__all__ = ["RedisTopics", "RedisWaiters"]

_BATCH: Final = 1_000
_PING: Final = pack(("PING",))
_MOVED: Final = re.compile(r"MOVED ([0-9]+) ")


class RedisTopics:
    """Keeps the subscriptions of one connection after the other, sharded ones (SSUBSCRIBE) or plain.

    ``arrived`` takes each payload; ``confirmed`` topics from which all that is published arrives from now on;
    ``astray`` those which the server does not have, or no longer; ``failed`` an answer after which the connection is of
    no use.
    """

    def __init__(
        self,
        prefix: str,
        *,
        sharded: bool,
        arrived: Callable[[str, bytes], None],
        confirmed: Callable[[list[str]], None],
        astray: Callable[[list[str]], None],
        failed: Callable[[str], None],
    ) -> None:
        self._prefix = prefix
        self._sharded = sharded
        self._arrived = arrived
        self._confirmed = confirmed
        self._astray = astray
        self._failed = failed
        words = ("subscribe", "unsubscribe", "message")
        self._subscribe, self._unsubscribe, self._message = (
            f"{'s' if sharded else ''}{word}".encode() for word in words
        )
        self._wire: RedisWire | None = None
        # Channel on the server → topic, of what is wanted.
        self._wanted: dict[bytes, str] = {}
        self._changed: dict[bytes, None] = {}
        # Of this connection: what was subscribed to, and the answers that are still to come.
        self._sent: set[bytes] = set()
        self._asked: dict[bytes, int] = {}
        self._leaving: dict[bytes, int] = {}
        self._in_force: list[str] = []
        self._pong: asyncio.Future[None] | None = None
        self._scheduled = False

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._wanted.values()))

    def add(self, topic: str) -> bool:
        """Subscribes at the end of this turn; True when the topic is subscribed to and confirmed already."""
        channel = (self._prefix + topic).encode()
        if channel in self._wanted and channel in self._sent and channel not in self._asked:
            return True
        self._wanted[channel] = topic
        self._change(channel)
        return False

    def discard(self, topic: str) -> None:
        """Ends a subscription at the end of this turn."""
        channel = (self._prefix + topic).encode()
        if self._wanted.pop(channel, None) is not None:
            self._change(channel)

    def begin(self, wire: RedisWire) -> None:
        """Subscribes to everything on this connection."""
        self._wire = wire
        wire.take = self._take
        self._changed = dict.fromkeys(self._wanted)
        self._flush()

    def end(self) -> None:
        """The connection is gone."""
        self._wire = None
        self._sent.clear()
        self._asked.clear()
        self._leaving.clear()
        if self._pong is not None:
            self._pong.cancel()
            self._pong = None

    def ping(self) -> asyncio.Future[None]:
        """Done when the server answers on this connection."""
        if self._pong is None or self._pong.done():
            self._pong = asyncio.get_running_loop().create_future()
        if self._wire is not None:
            self._wire.write(_PING)
        return self._pong

    def _change(self, channel: bytes) -> None:
        # Without a connection there is nothing to do: the next one begins with all that is wanted.
        if self._wire is not None:
            self._changed[channel] = None
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._scheduled = False
        self._flush()
        if self._in_force:
            topics, self._in_force = self._in_force, []
            self._confirmed(topics)

    def _flush(self) -> None:
        if self._wire is None:
            return
        changed, self._changed = self._changed, {}
        new, old = [], []
        for channel in changed:
            if channel in self._wanted:
                if channel not in self._sent:
                    self._sent.add(channel)
                    self._asked[channel] = self._asked.get(channel, 0) + 1
                    new.append(channel)
                elif channel not in self._asked:
                    # It was left and wanted again within this turn.
                    self._tell(channel)
            elif channel in self._sent:
                self._sent.discard(channel)
                self._leaving[channel] = self._leaving.get(channel, 0) + 1
                old.append(channel)
        parts = [pack((self._unsubscribe, *batch)) for batch in self._batches(old)]
        parts += [pack((self._subscribe, *batch)) for batch in self._batches(new)]
        if parts:
            self._wire.write(b"".join(parts))

    def _batches(self, channels: list[bytes]) -> Iterator[list[bytes]]:
        groups: Iterable[list[bytes]] = (channels,)
        if self._sharded:
            # Several slots in one call are refused as a whole.
            by_slot: dict[int, list[bytes]] = {}
            for channel in channels:
                by_slot.setdefault(slot_of(channel), []).append(channel)
            groups = by_slot.values()
        for group in groups:
            for start in range(0, len(group), _BATCH):
                yield group[start : start + _BATCH]

    def _tell(self, channel: bytes) -> None:
        self._in_force.append(self._wanted[channel])
        self._schedule()

    # ---- what comes ----

    def _take(self, reply: Any) -> None:
        if type(reply) is not list:
            self._odd(reply)
            return
        kind, channel = reply[0], reply[1]
        if kind == self._message:
            # None for what comes after the end of a subscription.
            topic = self._wanted.get(channel)
            if topic is not None:
                self._arrived(topic, reply[2])
        elif kind == self._subscribe:
            left = self._asked.get(channel, 0) - 1
            if left > 0:
                self._asked[channel] = left
                return
            self._asked.pop(channel, None)
            if channel in self._wanted and channel in self._sent:
                self._tell(channel)
        elif kind == self._unsubscribe:
            left = self._leaving.pop(channel, 0) - 1
            if left > 0:
                self._leaving[channel] = left
            elif left < 0 and channel in self._sent:
                # Not asked for: the slot of the channel has gone to another server.
                self._lose([channel])
        elif kind == b"pong":
            self._ponged()

    def _odd(self, reply: Any) -> None:
        """An error, or the answer to PING of a connection without subscriptions."""
        if not isinstance(reply, Exception):
            self._ponged()
            return
        moved = _MOVED.match(str(reply))
        if moved is None:
            self._failed(str(reply))
            return
        slot = int(moved[1])
        self._lose([channel for channel in self._sent if slot_of(channel) == slot])

    def _ponged(self) -> None:
        if self._pong is not None and not self._pong.done():
            self._pong.set_result(None)

    def _lose(self, channels: list[bytes]) -> None:
        topics = [self._wanted[channel] for channel in channels if channel in self._wanted]
        for channel in channels:
            self._sent.discard(channel)
            self._asked.pop(channel, None)
        if topics:
            self._astray(topics)


class RedisWaiters:
    """Who waits for the confirmation of which subscription."""

    def __init__(self) -> None:
        self._waiters: dict[str, asyncio.Future[None]] = {}

    def wait(self, topic: str, *, confirmed: bool) -> Awaitable[None]:
        """Ends with the next confirmation of the topic, or at once."""
        waiter = self._waiters.get(topic)
        if confirmed:
            waiter = asyncio.get_running_loop().create_future()
            waiter.set_result(None)
            return waiter
        if waiter is None:
            waiter = self._waiters[topic] = asyncio.get_running_loop().create_future()
        # One of many waits may be given up.
        return asyncio.shield(waiter)

    def confirmed(self, topics: Sequence[str]) -> None:
        """Ends the waits for these topics."""
        for topic in topics:
            waiter = self._waiters.pop(topic, None)
            if waiter is not None:
                waiter.set_result(None)

    def forget(self, topic: str) -> None:
        """Nothing is confirmed any more for this topic."""
        self._waiters.pop(topic, None)
