"""The states of a resume, as a table: where each of its channels is, and what moves it on (spec: history § 4.2).

A resume names several channels, and each goes its own way: it is looked up at once, waits for its subscribe, or is
looked up a second time when that comes. All ways are in `TRANSITIONS`, which docs/design.md draws; what is sent on a
step is in `sockudo.sessions.resume`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from sockudo.base.stream_records import Position

__all__ = ["TRANSITIONS", "Event", "PendingResume", "Place", "RequestedPosition", "State"]


class State(StrEnum):
    """Where one channel of a resume is."""

    ASKED = "asked"
    """The client named it; nothing was done yet."""
    LOOKING = "looking"
    """What the subscription missed is looked up."""
    LOOKING_AHEAD = "looking ahead"
    """The same for a channel that is not subscribed to, which anyone may read."""
    AWAITED = "awaited"
    """It needs a signature, so its subscribe has to come first."""
    KEPT = "kept"
    """It was replayed ahead; its subscribe goes on from there."""
    CATCHING_UP = "catching up"
    """What came between the replay and the subscribe is looked up."""
    DONE = "done"
    """Nothing more is known or kept of it."""


class Event(StrEnum):
    """What happens to one channel of a resume."""

    LISTENING = "listening"
    """The connection is subscribed to it, by its name or by a pattern."""
    OPEN = "open"
    """It is not, and may read the channel without a signature."""
    PROTECTED = "protected"
    """It is not, and needs a signature."""
    DENIED = "denied"
    """It may not read the channel."""
    SUBSCRIBED = "subscribed"
    """Its subscribe came and was allowed."""
    RECOVERED = "recovered"
    """All that was missed was found and sent."""
    FAILED = "failed"
    """Something of it is gone, or nothing can be proven."""
    LEFT = "left"
    """The subscription went while it was being looked up."""
    TIMED_OUT = "timed out"
    """No subscribe came in ten seconds."""
    REPLACED = "replaced"
    """The client sent another resume."""


_GIVEN_UP: Final = {Event.TIMED_OUT: State.DONE, Event.REPLACED: State.DONE}

TRANSITIONS: Final[Mapping[State, Mapping[Event, State]]] = {
    State.ASKED: {
        Event.LISTENING: State.LOOKING,
        Event.OPEN: State.LOOKING_AHEAD,
        Event.PROTECTED: State.AWAITED,
        Event.DENIED: State.DONE,
        **_GIVEN_UP,
    },
    State.LOOKING: {
        Event.RECOVERED: State.DONE,
        Event.FAILED: State.DONE,
        Event.LEFT: State.DONE,
        **_GIVEN_UP,
    },
    State.LOOKING_AHEAD: {Event.RECOVERED: State.KEPT, Event.FAILED: State.DONE, **_GIVEN_UP},
    State.AWAITED: {Event.SUBSCRIBED: State.LOOKING, **_GIVEN_UP},
    # An acknowledgement moves the client past what it has missed: the place is good until the next resume.
    State.KEPT: {Event.SUBSCRIBED: State.CATCHING_UP, Event.TIMED_OUT: State.KEPT, Event.REPLACED: State.DONE},
    State.CATCHING_UP: {
        Event.RECOVERED: State.DONE,
        Event.FAILED: State.DONE,
        Event.LEFT: State.DONE,
        **_GIVEN_UP,
    },
    State.DONE: {},
}
"""State → event → the state after it. What is not listed cannot happen: there it is a defect, and a KeyError."""

_DUE: Final = frozenset({State.ASKED, State.LOOKING, State.LOOKING_AHEAD, State.AWAITED})


class RequestedPosition(NamedTuple):
    """Where a client was on one channel. ``legacy``: it sent no stream id, which the replay buffer alone can answer."""

    serial: int
    stream_id: str | None = None
    last_message_id: str | None = None
    legacy: bool = False


class Place(NamedTuple):
    """One channel of a resume at one moment: the state that it is in, and the position from which it goes on."""

    state: State
    position: RequestedPosition

    @property
    def due(self) -> bool:
        """Whether the aggregate waits for the channel, and has an entry of what becomes of it next."""
        return self.state in _DUE


class PendingResume:
    """One resume from its frame on until nothing of it is kept: at most as many places as the frame named channels.

    ``deadline`` (monotonic seconds) ends the wait for subscribes. ``recovered`` and ``failed`` are the entries of the
    aggregate, in the order in which they were settled; ``answered`` once it was sent.
    """

    __slots__ = ("_due", "answered", "deadline", "failed", "places", "recovered")

    def __init__(self, positions: Mapping[str, RequestedPosition], deadline: float) -> None:
        self.places = {name: Place(State.ASKED, position) for name, position in positions.items()}
        self.deadline = deadline
        self.recovered: list[dict[str, Any]] = []
        self.failed: list[dict[str, Any]] = []
        self.answered = False
        self._due = len(self.places)

    @property
    def settled(self) -> bool:
        """Whether the aggregate is complete."""
        return self._due == 0

    def waits(self, channel: str) -> bool:
        """Whether the subscribe of this channel goes on from a place of this resume."""
        place = self.places.get(channel)
        return place is not None and Event.SUBSCRIBED in TRANSITIONS[place.state]

    def advance(
        self,
        channel: str,
        event: Event,
        entry: dict[str, Any] | None = None,
        *,
        head: Position | None = None,
    ) -> State:
        """Moves the channel one step on and returns its new state.

        ``entry`` is its part of the aggregate, if it was waiting for the channel. The channel goes on from ``head``
        if there is one.
        """
        state, position = self.places[channel]
        after = TRANSITIONS[state][event]
        if after is State.DONE:
            del self.places[channel]
        else:
            self.places[channel] = Place(
                after, position if head is None else RequestedPosition(head.serial, head.stream_id)
            )
        if state in _DUE:
            self._due -= after not in _DUE
            if entry is not None:
                (self.recovered if event is Event.RECOVERED else self.failed).append(entry)
        return after
