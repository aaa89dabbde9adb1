"""Appends to messages that come once in an interval to those who want them so (spec: messages § 11).

The first append of a channel is delivered at once. What is appended to its messages within the interval behind it
waits, and is delivered when that ends: one frame for each message, with all of its fragments. The order of serials is
kept, since everything else that has a place in the channel, and everyone who comes or goes, has what waits delivered
first. Stores, replay buffers and other nodes get every append by itself.

All of a node waits for one timer for each length of interval, however many messages there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final, Protocol

from msgspec.structs import replace

from sockudo.hub.delivery import Deliveries
from sockudo.hub.traffic import Traffic
from sockudo.protocol.frames import Frame

__all__ = ["APPEND", "FIRST_SERIAL", "Group", "Rollups", "message_of", "settle"]

APPEND: Final = "sockudo:message.append"
FIRST_SERIAL: Final = "sockudo_first_serial"
"""The header of a frame that stands for several: the first serial that is in it or in those before it without one."""

# What waits of one channel is delivered early when it comes to so many bytes, or to so many appends.
_MOST_BYTES: Final = 64 * 1024
_MOST_APPENDS: Final = 1000
# Seconds between two looks, and the channels that are delivered to in one turn of the loop.
_TICK: Final = 0.005
_AT_ONCE: Final = 200


class RollupApp(Protocol):
    """What a rollup asks of an app."""

    rolling: dict[str, dict[int, Group]]
    traffic: Traffic

    def deliver_change(self, frame: Frame, whole: Frame | None, pace: int | None) -> None:
        """See `AppState.deliver_change`."""

    def paces(self, channel: str) -> set[int]:
        """See `AppState.paces`."""
        ...


class _Pieces:
    """Appends to one message that wait: the newest one, with all of the text if that is known, and all fragments."""

    __slots__ = ("fragments", "frame", "whole")

    def __init__(self) -> None:
        self.fragments: list[str] = []
        self.frame = Frame("")
        self.whole: Frame | None = None

    def joined(self, first: int | None) -> tuple[Frame, Frame | None]:
        """One frame in their place, from the serial ``first`` on; without a place where that is None."""
        frame = replace(self.frame, data="".join(self.fragments))
        return _placed(frame, first), None if self.whole is None else _placed(self.whole, first)


def _placed(frame: Frame, first: int | None) -> Frame:
    if first is None:
        return replace(frame, stream_id=None, serial=None)
    if first == frame.serial:
        return frame
    extras = frame.extras or {}
    return replace(frame, extras={**extras, "headers": {**extras.get("headers", {}), FIRST_SERIAL: first}})


class Group:
    """What waits of one channel for the subscribers of one pace, in milliseconds."""

    __slots__ = ("_app", "_appends", "_first", "_messages", "_size", "channel", "due", "pace")

    def __init__(self, app: RollupApp, channel: str, pace: int) -> None:
        self.channel = channel
        self.pace = pace
        # Monotonic seconds at which what waits then is delivered.
        self.due = 0.0
        self._app = app
        # By serial of the message; the one that was appended to last is the last.
        self._messages: dict[str, _Pieces] = {}
        self._first = self._appends = self._size = 0

    def __bool__(self) -> bool:
        return bool(self._messages)

    def close(self) -> None:
        """Nothing came within the interval: the next append is delivered at once."""
        rolling = self._app.rolling
        del rolling[self.channel][self.pace]
        if not rolling[self.channel]:
            del rolling[self.channel]

    def add(self, frame: Frame, whole: Frame | None) -> None:
        """Has an append wait."""
        if not self._messages:
            self._first = frame.serial or 0
        serial = message_of(frame) or ""
        pieces = self._messages.pop(serial, None) or _Pieces()
        pieces.frame, pieces.whole = frame, whole
        fragment = frame.data if isinstance(frame.data, str) else ""
        pieces.fragments.append(fragment)
        self._messages[serial] = pieces
        self._appends += 1
        self._size += len(fragment)
        if self._size > _MOST_BYTES or self._appends >= _MOST_APPENDS:
            self.send()

    def send(self) -> None:
        """Delivers what waits.

        The last frame alone has a place: who gets only some of them goes on from the place before all of them.
        """
        messages, self._messages = list(self._messages.values()), {}
        traffic = self._app.traffic
        traffic.appends_held += self._appends
        traffic.appends_joined += len(messages)
        self._appends = self._size = 0
        for number, pieces in enumerate(messages, 1):
            self._app.deliver_change(*pieces.joined(self._first if number == len(messages) else None), self.pace)


class Rollups:
    """Delivers versions of messages on a node, appends no more often than each subscriber wants them."""

    def __init__(self, hub: Deliveries) -> None:
        self._hub = hub
        # By pace, in the order of their ends.
        self._groups: dict[int, deque[Group]] = {}

    def publish(self, app: RollupApp, frame: Frame, whole: Frame | None) -> None:
        """Delivers a version, now or within the interval of a subscriber; ``whole`` is it with all of its text."""
        name = frame.channel or ""
        if frame.event != APPEND or self._hub.later is None:
            settle(app, name)
            app.deliver_change(frame, whole, None)
            return
        paces = app.paces(name)
        if not paces - {0}:
            app.deliver_change(frame, whole, None)
            return
        for pace in sorted(paces):
            if not pace or not self._waits(app, name, pace, frame, whole):
                app.deliver_change(frame, whole, pace)

    def _waits(self, app: RollupApp, name: str, pace: int, frame: Frame, whole: Frame | None) -> bool:
        """Has an append wait; False for the first one of an interval."""
        group = app.rolling.get(name, {}).get(pace)
        if group is not None:
            group.add(frame, whole)
            return True
        group = Group(app, name, pace)
        app.rolling.setdefault(name, {})[pace] = group
        self._begin(group)
        return False

    def _begin(self, group: Group) -> None:
        """An interval begins now."""
        group.due = self._hub.now() + group.pace / 1000
        groups = self._groups.get(group.pace)
        if groups is None:
            groups = self._groups[group.pace] = deque()
            self._look_at(group.pace, group.pace / 1000)
        groups.append(group)

    def _look_at(self, pace: int, seconds: float) -> None:
        if self._hub.later is not None:
            self._hub.later(seconds, lambda: self._look(pace))

    def _look(self, pace: int) -> None:
        """Ends the intervals that have run out: another one follows where something waited."""
        groups, now = self._groups[pace], self._hub.now()
        for group in _due(groups, now):
            if group:
                group.send()
                self._begin(group)
            else:
                group.close()
        if groups:
            self._look_at(pace, 0 if groups[0].due <= now else max(groups[0].due - now, _TICK))
        else:
            del self._groups[pace]


def _due(groups: deque[Group], now: float) -> Iterator[Group]:
    for _ in range(min(len(groups), _AT_ONCE)):
        if groups[0].due > now:
            return
        yield groups.popleft()


def settle(app: RollupApp, channel: str) -> None:
    """Delivers what waits of a channel."""
    for group in app.rolling.get(channel, {}).values():
        if group:
            group.send()


def message_of(frame: Frame) -> str | None:
    """The serial of the message that a frame is a version of; None for any other frame."""
    headers = None if frame.extras is None else frame.extras.get("headers")
    serial = headers.get("sockudo_message_serial") if isinstance(headers, dict) else None
    return serial if isinstance(serial, str) else None
