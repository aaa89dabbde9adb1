"""What the tracks of one channel have in common: settings, the conflation key of a frame, and the numbers in use."""

from __future__ import annotations

from sockudo.protocol.delta.conflation import key_reader
from sockudo.protocol.delta.node import DeltaNode
from sockudo.protocol.delta.settings import ChannelDelta
from sockudo.protocol.frames import Frame

__all__ = ["DeltaChannel"]


class DeltaChannel:
    """A channel of an app with subscribers of deltas; dropped with the last of them.

    Once ``keyed``, messages without a conflation key are plain for good: clients look for bases by key from then on
    (spec: filters-deltas § 2.9, S6). A channel whose own settings name a path is keyed from the start, as clients may
    remember it from an earlier connection. ``next_number`` is above all numbers that any track has used.
    """

    __slots__ = (
        "_app_id",
        "_key",
        "_keyed_frame",
        "_read_key",
        "keyed",
        "max_groups",
        "members",
        "name",
        "next_number",
        "node",
        "options",
    )

    def __init__(self, node: DeltaNode, app_id: str, name: str, settings: ChannelDelta) -> None:
        options = node.options
        self.node = node
        self.options = options
        self.name = name
        self.members = 0
        self.keyed = settings.conflation_key is not None
        most = settings.max_conflation_keys
        most = options.max_conflation_states_per_channel if most is None else most
        self.max_groups = None if most is None else max(most, 1)
        self.next_number = node.recall(app_id, name)
        self._app_id = app_id
        self._read_key = key_reader(settings.conflation_key or options.conflation_key_path)
        self._keyed_frame: Frame | None = None
        self._key: str | None = None

    def key_of(self, frame: Frame) -> str | None:
        """The conflation key of a frame; looked for once, however many tracks say it."""
        if self._keyed_frame is not frame:
            self._keyed_frame = frame
            self._key = self._read_key(frame)
        return self._key

    def first_number(self) -> int:
        """The first number of keyed groups that begin now, or are sent to a newcomer: none was used before."""
        return max(self.node.first_number(), self.next_number)

    def left_by_all(self) -> None:
        """All tracks are empty: the numbers reached are kept for those who come back."""
        if self.keyed:
            self.node.remember(self._app_id, self.name, self.next_number)
