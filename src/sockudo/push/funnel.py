"""How far a publish has come, in numbers that add up for people (spec: push § 6)."""

from __future__ import annotations

from typing import NamedTuple

from sockudo.push.records import Counters

__all__ = ["Funnel", "funnel"]


class Funnel(NamedTuple):
    """Recipients of a publish: ``planned`` is the sum of those that wait, are retried, and of the four ends.

    ``sent`` counts those of whom a provider was asked, with an answer that settled it.
    """

    planned: int
    sent: int
    succeeded: int
    failed: int
    expired: int
    dead_lettered: int
    retrying: int
    waiting: int

    @property
    def settled(self) -> int:
        """Recipients for whom nothing more will happen."""
        return self.succeeded + self.failed + self.expired + self.dead_lettered


def funnel(counters: Counters) -> Funnel:
    """Reads the counters of a status. A retry that has been given up is among the ends, not among the retries."""
    left = max(0, counters.planned - counters.settled)
    retrying = max(0, min(counters.retry_scheduled - counters.retry_attempted, left))
    return Funnel(
        planned=counters.planned,
        sent=counters.dispatched,
        succeeded=counters.succeeded,
        failed=counters.failed,
        expired=counters.expired,
        dead_lettered=counters.dead_lettered,
        retrying=retrying,
        waiting=left - retrying,
    )
