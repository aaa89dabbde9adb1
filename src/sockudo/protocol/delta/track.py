"""Bases and numbers of the deltas on a channel, shared by all connections that get the same frames
(spec: filters-deltas § 2).

How many connections share one state
------------------------------------

A `DeltaTrack` numbers every frame once, and makes at most one delta for it. A whole frame with its
number is right for all. A delta is right for those who have the frame before it in its group: who joined the
track before that frame was published, since then they got each frame of the group, the first of them whole. To be
sent whole twice first (spec: filters-deltas § 2.5), a connection must have joined before the last two frames of the
group were published.

So all that is to be known of a connection is its *place*, the number of frames that were published when it joined. The
connections of a track stand in two crowds. The *settled* get deltas. *Newcomers* get a delta only when even the latest
of them may have it. Once nothing stands against it newcomers are settled, the earliest first (`settle`). Who missed a
frame, or does not know a base, joins anew (`rejoin`).

Rules S1 to S9 are those of spec: filters-deltas § 2.9, and named where they are kept.
"""

from __future__ import annotations

from typing import Final

from sockudo.protocol.delta.channel import DeltaChannel
from sockudo.protocol.delta.frames import BinaryDeltaFrames, DeltaFrames, EncodeBase
from sockudo.protocol.delta.policy import is_eligible, poisons_bases
from sockudo.protocol.delta.settings import Algorithm
from sockudo.protocol.frames import Frame

__all__ = ["LAST_NUMBER", "DeltaPayloads", "DeltaTrack"]

LAST_NUMBER: Final = 2**31 - 1
"""SDKs read numbers into 32 signed bits; a group that has used them up is sent plain."""

_NEVER: Final = -1


class DeltaPayloads:
    """One frame as each crowd gets it, as payloads: ``settled`` and ``newcomers``.

    Each is either ``full``, the very object, which is the frame with its metadata or the text that was published, which
    stands for the plain frame; or else a delta.
    """

    __slots__ = ("full", "newcomers", "settled")

    def __init__(self, full: bytes, settled: bytes, newcomers: bytes) -> None:
        self.full = full
        self.settled = settled
        self.newcomers = newcomers


class _Group:
    """The series of frames of one conflation key, or of the channel. ``latest`` and ``previous`` are places."""

    __slots__ = ("base", "deltas", "event", "latest", "next_number", "number", "previous", "said_at")

    def __init__(self) -> None:
        self.base: bytes | None = None
        self.number = 0
        self.next_number = 0
        self.event = ""
        self.deltas = 0
        self.said_at = 0.0
        self.latest = _NEVER
        self.previous = _NEVER


class DeltaTrack:
    """The state of the connections with one filter and one format on a channel.

    With ``one_base`` a delta is made only to the last frame of the whole track, for libraries that keep no other.
    ``encode_base`` is that of a binary format; JSON without it.
    """

    __slots__ = (
        "_channel",
        "_floor",
        "_frames",
        "_groups",
        "_keyed",
        "_newest",
        "_one_base",
        "_place",
        "_unsettled_until",
        "algorithm",
        "members",
        "reduced",
    )

    def __init__(
        self,
        channel: DeltaChannel,
        algorithm: Algorithm,
        *,
        one_base: bool = False,
        encode_base: EncodeBase | None = None,
    ) -> None:
        self.algorithm = algorithm
        # Whether bases are reduced texts instead of the JSON frames.
        self.reduced = encode_base is not None
        self.members = 0
        self._channel = channel
        named = not channel.options.omit_delta_algorithm
        self._frames = (
            DeltaFrames(channel.name, algorithm, name_algorithm=named)
            if encode_base is None
            else BinaryDeltaFrames(channel.name, algorithm, encode_base, name_algorithm=named)
        )
        self._one_base = one_base
        # Least recently used first; the key of the unkeyed group is None.
        self._groups: dict[str | None, _Group] = {}
        self._keyed = False
        self._floor = 0
        # How many frames were published.
        self._place = 0
        self._newest = 0
        # No newcomer can be settled before this many frames were published.
        self._unsettled_until = 0

    def join(self, above: int = 0) -> int:
        """The place of a connection that receives frames from now on, as a newcomer.

        ``above`` is what `leave` returned for a connection that changes from another track of the channel.
        """
        self.members += 1
        self._channel.members += 1
        if self._channel.keyed:
            above = max(above, self._channel.first_number())
        self._floor = max(self._floor, above)
        self._newest = self._place
        return self._place

    def leave(self) -> int:
        """A connection leaves; when it was the last one, the bases are dropped. A number above all it has seen."""
        self.members -= 1
        self._channel.members -= 1
        if not self.members:
            self.forget()
        if not self._channel.members:
            self._channel.left_by_all()
        return self._channel.next_number

    def rejoin(self) -> int:
        """The new place of a connection that missed a frame or has lost its bases: a newcomer again."""
        if self.members == 1:
            self.forget()
        self._newest = self._place
        return self._place

    def forget(self) -> None:
        """Drops all bases: every group goes on with a whole frame, under numbers that were not used (S7)."""
        for key in list(self._groups):
            self._drop(key)

    def sweep(self, now: float) -> None:
        """Drops the groups without a frame for twice the age at which a base is too old
        (spec: filters-deltas § 2.8)."""
        limit = now - 2 * self._channel.options.max_state_age_secs
        for key in [key for key, group in self._groups.items() if group.said_at <= limit]:
            self._drop(key)

    def settle(self, now: float) -> int:
        """Newcomers whose place is at most the returned one are settled from now on, the caller moves them; -1: none.

        That is when they have the last two frames of each group there is. A group that goes on with a whole frame
        anyway because its base is too old holds up no other.
        """
        if self._place < self._unsettled_until:
            return _NEVER
        young = now - self._channel.options.max_state_age_secs
        until = self._place
        for group in self._groups.values():
            if group.said_at >= young:
                until = min(until, group.latest if group.previous == _NEVER else group.previous)
        # With many keys this is looked up no more often than costs one step per frame.
        self._unsettled_until = self._place + len(self._groups)
        return until

    def say(
        self,
        frame: Frame,
        text: bytes,
        now: float,
        *,
        compress: bool = True,
        shown: Frame | None = None,
        reduced: bytes | None = None,
    ) -> DeltaPayloads:
        """Publishes a frame to all that joined. ``text`` is its JSON, the same object for every track of the channel.

        ``shown`` is the frame as subscribers see it, where that differs. Binary formats need ``reduced``, the frame's
        `reduced_text`, also the same object for every track; None when the frame has none.
        ``compress`` is false for what the publisher wants plain and for what is no ordinary message
        (rule 6 of spec: filters-deltas § 2.4).
        Everything that the subscribers get live has to pass here, so that no base is wrong afterwards. ``now`` is
        monotonic seconds.
        """
        target = reduced if self.reduced else text
        if not compress or target is None or not is_eligible(frame, text, self._channel.options):
            if poisons_bases(text):
                self.forget()
            return DeltaPayloads(text, text, text)
        key = self._channel.key_of(frame)
        if key is None and self._channel.keyed:
            return DeltaPayloads(text, text, text)
        group = self._group(key)
        number = max(group.next_number, self._floor)
        if number > LAST_NUMBER:
            return DeltaPayloads(text, text, text)
        full = self._frames.full_frame(shown or frame, text, number, key)
        delta = self._delta(group, frame, target, key, number, now)
        if delta is None or len(delta) >= len(full):
            payloads = DeltaPayloads(full, full, full)
        else:
            payloads = DeltaPayloads(full, delta, delta if self._newest <= group.previous else full)
        self._advance(group, frame, target, number, now, is_delta=payloads.settled is not full)
        return payloads

    def _group(self, key: str | None) -> _Group:
        """The group of the key, most recently used from now on."""
        groups = self._groups
        group = groups.pop(key, None)
        if group is None:
            if key is not None and not self._keyed:
                self._begin_keys()
            group = _Group()
        groups[key] = group
        limit = self._channel.max_groups
        if limit is not None and len(groups) > limit:
            self._drop(next(iter(groups)))
        return group

    def _begin_keys(self) -> None:
        """The first key ends the unkeyed group (S6) and moves the numbers out of its way (S7)."""
        self._keyed = self._channel.keyed = True
        if None in self._groups:
            self._drop(None)
        self._floor = max(self._floor, self._channel.first_number())

    def _drop(self, key: str | None) -> None:
        group = self._groups.pop(key)
        self._floor = max(self._floor, group.next_number)
        self._channel.node.release(group)

    def _delta(
        self, group: _Group, frame: Frame, target: bytes, key: str | None, number: int, now: float
    ) -> bytes | None:
        """The delta frame, where the rules of spec: filters-deltas § 2.5 allow one for at least one connection."""
        options = self._channel.options
        base = group.base
        if (
            base is None
            or group.previous == _NEVER
            or group.deltas >= options.full_message_interval
            or group.event != frame.event
            or now - group.said_at > options.max_state_age_secs
            or (self._one_base and group.latest != self._place - 1)
        ):
            return None
        delta = self._channel.node.encode(self.algorithm, base, target)
        return self._frames.delta_frame(frame, delta, number, key, group.number)

    def _advance(self, group: _Group, frame: Frame, target: bytes, number: int, now: float, *, is_delta: bool) -> None:
        """The frame is the base of the next one: its exact text without metadata (S1), under its own number (S5)."""
        group.base = target
        group.number = number
        group.next_number = number + 1
        group.event = frame.event
        group.deltas = group.deltas + 1 if is_delta else 0
        group.said_at = now
        group.previous = group.latest
        group.latest = self._place
        self._place += 1
        channel = self._channel
        channel.next_number = max(channel.next_number, number + 1)
        channel.node.hold(group, len(target))
