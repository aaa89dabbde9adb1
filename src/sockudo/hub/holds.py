"""Members whose last connection is gone and who may still come back: until when, and who has not."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from math import inf
from typing import NamedTuple

from sockudo.hub.app_state import AppState
from sockudo.hub.channel import Channel
from sockudo.hub.presence import Hold, MemberEvent

__all__ = ["Held", "Holds"]


class Held(NamedTuple):
    """One member in its grace period, and what is reported when that ends without it."""

    hold: Hold
    app: AppState
    channel: Channel
    event: MemberEvent


class Holds:
    """The grace periods of a hub, the one that ends first on top of a heap."""

    def __init__(self) -> None:
        self._heap: list[Held] = []
        self._next = 0

    def __len__(self) -> int:
        return len(self._heap)

    def next(self, until: float) -> Hold:
        """A grace period that ends at ``until``, in monotonic seconds; it counts once it was added."""
        return Hold(until, self._next)

    def add(self, hold: Hold, app: AppState, channel: Channel, event: MemberEvent) -> None:
        """The member has this grace period."""
        self._next += 1
        heappush(self._heap, Held(hold, app, channel, event))

    def end(self, until: float = inf) -> Iterator[Held]:
        """Ends those that end at ``until`` at the latest; those whose member has not come back."""
        while self._heap and self._heap[0].hold.until <= until:
            held = heappop(self._heap)
            presence = held.channel.presence
            # A member that came back and was lost again has a later entry, which is the one that counts.
            if presence is not None and presence.release(held.event.user_id, held.hold):
                yield held

    def any_missing(self) -> bool:
        """Whether a member is in its grace period who is on no other node."""
        for held in self._heap:
            presence, user_id = held.channel.presence, held.event.user_id
            if presence is None or presence.is_elsewhere(user_id):
                continue
            member = presence.get(user_id)
            if member is not None and member.hold == held.hold:
                return True
        return False
