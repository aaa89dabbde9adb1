"""Subscriptions with a ``*``: one for every public channel whose name fits (spec: websocket § 6.7)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from itertools import count

from sockudo.hub.channel import Channel
from sockudo.hub.connection import Connection
from sockudo.hub.fanout import ChannelApp, Fanout
from sockudo.hub.outgoing import Outgoing
from sockudo.hub.pattern_deltas import PatternDeltas
from sockudo.protocol.frames import Frame
from sockudo.protocol.names import channel_kind, is_meta

__all__ = ["Patterns", "may_fit"]


def may_fit(channel: str) -> bool:
    """Whether any pattern may match the channel: none matches what is protected, one user's own or a metachannel."""
    return not channel_kind(channel).protected and not channel.startswith("#") and not is_meta(channel)


class _Ends:
    """The patterns that begin alike, by what stands behind the ``*``, each with its number in the order of arrival."""

    __slots__ = ("lengths", "patterns")

    def __init__(self) -> None:
        self.patterns: dict[str, tuple[int, Channel]] = {}
        self.lengths: Counter[int] = Counter()


def _decrease(counts: Counter[int], length: int) -> None:
    counts[length] -= 1
    if not counts[length]:
        del counts[length]


def _number(found: tuple[int, Channel]) -> int:
    return found[0]


class Patterns:
    """The patterns of one app that a connection is subscribed to. Each is a `Channel` that nothing is published to.

    They are found by what stands before and behind the ``*``, so that a publish costs what its own name is long and
    what matches, however many patterns there are: for each beginning of the name that some pattern has, its ends of
    the lengths that occur there are looked up.
    """

    __slots__ = ("_app", "_by_start", "_lengths", "_numbers", "channels")

    def __init__(self, app: ChannelApp) -> None:
        self._app = app
        self.channels: dict[str, Channel] = {}
        self._by_start: dict[str, _Ends] = {}
        # How many beginnings have this length.
        self._lengths: Counter[int] = Counter()
        self._numbers = count()

    def __bool__(self) -> bool:
        return bool(self.channels)

    def get(self, name: str) -> Channel | None:
        """The pattern of this text, if a connection is subscribed to it."""
        return self.channels.get(name)

    def add(self, pattern: Channel) -> None:
        """From now on names are compared with it too."""
        self.channels[pattern.name] = pattern
        before, _, after = pattern.name.partition("*")
        ends = self._by_start.get(before)
        if ends is None:
            ends = self._by_start[before] = _Ends()
            self._lengths[len(before)] += 1
        ends.patterns[after] = next(self._numbers), pattern
        ends.lengths[len(after)] += 1

    def remove(self, name: str) -> None:
        """Forgets a pattern; one that is not there is ignored."""
        if self.channels.pop(name, None) is None:
            return
        before, _, after = name.partition("*")
        ends = self._by_start[before]
        del ends.patterns[after]
        _decrease(ends.lengths, len(after))
        if not ends.patterns:
            del self._by_start[before]
            _decrease(self._lengths, len(before))

    def matching(self, channel: str) -> list[Channel]:
        """The patterns that the name fits, in the order in which they were first subscribed to."""
        size = len(channel)
        found: list[tuple[int, Channel]] = []
        for start in self._lengths:
            ends = self._by_start.get(channel[:start]) if start <= size else None
            if ends is None:
                continue
            for length in ends.lengths:
                if start + length <= size:
                    pattern = ends.patterns.get(channel[size - length :])
                    if pattern is not None:
                        found.append(pattern)
        if not found or not may_fit(channel):
            return []
        return [pattern for _, pattern in sorted(found, key=_number)]

    def append(
        self, frame: Frame, exact: Channel | None, exclude: Collection[Connection], *, compress: bool = True
    ) -> None:
        """Delivers a channel's frame to those whose patterns match; each connection gets it once.

        ``exact`` is the channel, while there is one. A message comes by the first subscription that accepts it: the
        exact one, then the connection's oldest pattern.
        Without ``compress`` it is delivered whole.
        """
        matching = self.matching(frame.channel or "")
        if not matching:
            return
        message = self._outgoing(frame, compress=compress)
        overlap = _Overlap(exact, matching, message)
        for pattern in matching:
            for fanout in pattern.fanouts.values():
                _deliver(message, fanout, overlap, matching, exclude)
        for work in message.afterwards:
            work()

    def append_change(self, frame: Frame, exact: Channel | None, whole: Frame | None, pace: int | None) -> None:
        """The same for a version of a message, see `Channel.append_change`."""
        matching = self.matching(frame.channel or "")
        if not matching:
            return
        messages = [self._outgoing(each, compress=False) for each in (frame, whole or frame)]
        overlap = _Overlap(exact, matching, messages[0])
        for pattern in matching:
            for fanout in pattern.fanouts.values():
                if fanout.shape.v2 and pace in (None, fanout.pace):
                    _deliver(messages[fanout.wants.whole], fanout, overlap, matching, ())

    def _outgoing(self, frame: Frame, *, compress: bool) -> Outgoing:
        app, hub = self._app, self._app.hub
        tags = None if frame.tags is None else app.deltas.of(frame.channel or "").enable_tags
        return Outgoing(
            frame,
            tags=hub.options.show_tags if tags is None else tags,
            compress=compress,
            now=hub.now(),
            on_error=app.predicate_failed,
            budget=app.filter_budget,
        )


def _deliver(
    message: Outgoing,
    fanout: Fanout[Connection],
    overlap: _Overlap,
    matching: list[Channel],
    exclude: Collection[Connection],
) -> None:
    served = overlap.served(fanout, exclude)
    if served and not fanout.listeners(served):
        return
    if isinstance(fanout, PatternDeltas):
        fanout.hear(message, exclude, served, overlap.later(fanout), matching)
    else:
        fanout.say(message, served)


class _Overlap:
    """Who hears one message by more than one subscription, and by which of them it comes."""

    __slots__ = ("_exact", "_matching", "_message", "_serving", "_several")

    def __init__(self, exact: Channel | None, matching: list[Channel], message: Outgoing) -> None:
        self._exact = exact
        self._message = message
        self._matching = {pattern.name: pattern for pattern in matching}
        self._several: set[Connection] = set()
        if len(matching) > 1:
            seen: set[Connection] = set()
            for pattern in matching:
                for fanout in pattern.fanouts.values():
                    here = fanout.subscribers.keys()
                    self._several |= here & seen
                    seen |= here
        # Of those: who gets it by which fan-out.
        self._serving: dict[Fanout[Connection], set[Connection]] = {}
        names, serving = self._matching, self._serving
        for connection in self._several:
            channels = connection.channels
            for name in connection.wildcards or ():
                if name in names:
                    fanout = channels[name]
                    if fanout.predicate is None or fanout.accepts(message):
                        if fanout not in serving:
                            serving[fanout] = set()
                        serving[fanout].add(connection)
                        break

    def served(self, fanout: Fanout[Connection], exclude: Collection[Connection]) -> Collection[Connection]:
        """Those who do not get the message there: ``exclude``, and who gets it by another subscription."""
        if self._exact is None and not self._several:
            return exclude
        here = fanout.subscribers.keys()
        found = set(exclude)
        for other in () if self._exact is None else self._exact.fanouts.values():
            both = here & other.subscribers.keys()
            if both and other.accepts(self._message):
                found |= both
        if self._several:
            found |= (self._several & here) - self._serving.get(fanout, set())
        return found

    def later(self, fanout: Fanout[Connection]) -> set[Connection]:
        """Those of the fan-out who hear the channel by another subscription before this one, accept it or not."""
        here = fanout.subscribers.keys()
        found: set[Connection] = set()
        for other in () if self._exact is None else self._exact.fanouts.values():
            found |= here & other.subscribers.keys()
        for connection in self._several & here:
            first = next(name for name in connection.wildcards or () if name in self._matching)
            if connection.channels[first] is not fanout:
                found.add(connection)
        return found
