"""Warnings of filters whose expression cannot be asked: one for each, and never a flood
(spec: filters-deltas § 1.9)."""

from __future__ import annotations

from typing import Final

import structlog

from sockudo.base.clock import Clock
from sockudo.hub.events import PredicateFailed
from sockudo.limits.windows import KeyedWindows

__all__ = ["FilterWarnings"]

# Expressions that were warned of, and warnings of one app in a second.
_REMEMBERED: Final = 1000
_PER_SECOND: Final = 5

_log = structlog.get_logger("sockudo.filters")


class FilterWarnings:
    """Observes `PredicateFailed`. Neither the expression nor the message is in the log."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._windows = KeyedWindows(1)
        self._warned: dict[tuple[str, str], None] = {}

    def note(self, failed: PredicateFailed) -> None:
        """Warns, unless that was done for this expression or the app has had its share of this second."""
        app_id, reason, predicate_id = failed
        warned, key = self._warned, (app_id, predicate_id)
        if key in warned:
            return
        window = self._windows.window(app_id, self._clock.monotonic())
        window.count += 1
        if window.count > _PER_SECOND:
            return
        warned[key] = None
        if len(warned) > _REMEMBERED:
            del warned[next(iter(warned))]
        _log.warning("a filter fails, which is no match", app_id=app_id, filter=predicate_id, reason=reason)
