"""A message on its way to everyone who listens, and what each subscription wants of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from sockudo.protocol.delta import Algorithm, DeltaPayloads, DeltaTrack, reduced_text
from sockudo.protocol.filters import MessageView, Predicate, SharedBudget, is_filterable
from sockudo.protocol.formats import V2_JSON, Format
from sockudo.protocol.frames import Frame
from sockudo.protocol.shapes import Shape

__all__ = ["EVERYTHING", "Outgoing", "Wants", "visible"]


class Wants(NamedTuple):
    """``predicate`` selects the messages, None being all. With ``delta`` they come as differences in that format.

    ``one_base``: the library keeps one base for the whole channel, for all conflation keys. ``choices`` are the
    formats that a channel's settings may put in the place of ``delta``, where it is subscribed to by a pattern.
    ``whole``: an append to a message comes with all of its text. ``pace``: milliseconds within which appends to a
    message come as one, 0 for each by itself.
    """

    predicate: Predicate | None = None
    delta: Algorithm | None = None
    one_base: bool = False
    choices: frozenset[Algorithm] = frozenset()
    whole: bool = False
    pace: int = 0

    @property
    def key(self) -> tuple[int, Algorithm | None, bool, frozenset[Algorithm], bool, int]:
        """Equal for those who share what they get. An equal predicate that is another object stands for itself.

        It replaces one that was given up, whose subscribers keep that.
        """
        return (id(self.predicate), self.delta, self.one_base, self.choices, self.whole, self.pace)


EVERYTHING = Wants()


class Outgoing:
    """``frame`` as it was published. ``tags`` says whether V2 connections are shown the tags.

    ``compress`` is false for what must not be sent as a difference. ``on_error`` is that of `MessageView`;
    ``budget`` is asked for its work once an expression is.
    ``afterwards`` is done once it was delivered to all.
    """

    __slots__ = (
        "_budget",
        "_deltas",
        "_encoded",
        "_matches",
        "_now",
        "_on_error",
        "_payloads",
        "_reduced",
        "_view",
        "afterwards",
        "compress",
        "frame",
        "tags",
    )

    def __init__(
        self,
        frame: Frame,
        *,
        tags: bool,
        compress: bool = True,
        now: float = 0.0,
        on_error: Callable[[str, str], None] | None = None,
        budget: Callable[[Frame], SharedBudget] | None = None,
    ) -> None:
        self.frame = frame
        self.tags = tags
        self.compress = compress
        self.afterwards: list[Callable[[], None]] = []
        self._now = now
        self._on_error = on_error
        self._budget = budget
        # A tuple once it is known: a frame may have none.
        self._reduced: tuple[bytes | None] | None = None
        self._deltas: dict[DeltaTrack, DeltaPayloads] | None = None
        self._payloads: dict[Format, bytes] = {}
        self._encoded: dict[Shape, bytes] = {}
        self._view: MessageView | None = None
        self._matches: dict[Predicate, bool] | None = None

    def encoded(self, shape: Shape) -> bytes:
        """The bytes of the message in this shape: the same object each time."""
        data = self._encoded.get(shape)
        if data is None:
            data = self._encoded[shape] = shape.wrap(self.payload(shape.format))
        return data

    @property
    def text(self) -> bytes:
        """Its JSON text on V2."""
        return self.payload(V2_JSON)

    def payload(self, wire_format: Format) -> bytes:
        """Its bytes in this format: the same object each time."""
        payload = self._payloads.get(wire_format)
        if payload is None:
            payload = self._payloads[wire_format] = wire_format.encode(self.shown())
        return payload

    def delta(self, track: DeltaTrack) -> DeltaPayloads:
        """What the crowds of a track get; given to the track once."""
        if self._deltas is None:
            self._deltas = {}
        payloads = self._deltas.get(track)
        if payloads is None:
            payloads = self._deltas[track] = track.say(
                self.frame,
                self.text,
                self._now,
                compress=self.compress,
                shown=self.shown(),
                reduced=self._reduced_text() if track.reduced else None,
            )
        return payloads

    def _reduced_text(self) -> bytes | None:
        if self._reduced is None:
            self._reduced = (reduced_text(self.frame),)
        return self._reduced[0]

    def matches(self, predicate: Predicate) -> bool:
        """Whether the predicate lets the message through; frames about members always pass."""
        if self._matches is None or self._view is None:
            self._matches = {}
            budget = None if self._budget is None else self._budget(self.frame)
            self._view = MessageView(self.frame, self._on_error, budget)
        known = self._matches.get(predicate)
        if known is None:
            known = not is_filterable(self.frame) or predicate.matches(self._view)
            self._matches[predicate] = known
        return known

    def shown(self) -> Frame:
        """The frame as a connection sees it."""
        return visible(self.frame, tags=self.tags)


def visible(frame: Frame, *, tags: bool) -> Frame:
    """The frame with or without its tags, which filters see either way (spec: filters-deltas § 1.10)."""
    return frame if tags or frame.tags is None else msgspec.structs.replace(frame, tags=None)
