"""What a subscription asks for besides the channel: those who ask the same share what they get."""

from __future__ import annotations

from typing import NamedTuple

from sockudo.protocol.delta import Algorithm
from sockudo.protocol.filters import Predicate

__all__ = ["EVERYTHING", "Wants"]


class Wants(NamedTuple):
    """``predicate`` says which messages, None being all. With ``delta`` they come as differences in that format.

    ``one_base``: the library keeps one base for the whole channel, whatever the conflation key. ``choices`` are the
    formats that a channel's settings may put in the place of ``delta``, where it is heard by a pattern.
    """

    predicate: Predicate | None = None
    delta: Algorithm | None = None
    one_base: bool = False
    choices: frozenset[Algorithm] = frozenset()

    @property
    def key(self) -> tuple[int, Algorithm | None, bool, frozenset[Algorithm]]:
        """Equal for those who share what they get. An equal predicate that is another object stands for itself.

        It replaces one that was given up, whose subscribers keep that.
        """
        return (id(self.predicate), self.delta, self.one_base, self.choices)


EVERYTHING = Wants()
