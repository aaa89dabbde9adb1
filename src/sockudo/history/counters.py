"""What the history has done so far, as plain numbers (spec: history § 9)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from sockudo.hub.latency import Latency

__all__ = ["HistoryCounters"]


@dataclass(slots=True, eq=False)
class HistoryCounters:
    """Everything is by app and only grows. Messages are counted in ``writes`` and ``write_failures``.

    ``latency`` has the time of each commit for each app of which it stored something. ``refused_busy`` are publishes
    that found the queue full, ``degradations`` and ``healings`` changes of a stream's state.
    """

    writes: Counter[str] = field(default_factory=Counter)
    write_failures: Counter[str] = field(default_factory=Counter)
    refused_busy: Counter[str] = field(default_factory=Counter)
    degradations: Counter[str] = field(default_factory=Counter)
    healings: Counter[str] = field(default_factory=Counter)
    latency: dict[str, Latency] = field(default_factory=dict)

    def note_commit(self, app_id: str, seconds: float) -> None:
        """A transaction with something of an app was confirmed."""
        latency = self.latency.get(app_id)
        if latency is None:
            latency = self.latency[app_id] = Latency()
        latency.note(seconds)
