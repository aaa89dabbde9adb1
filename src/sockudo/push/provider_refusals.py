"""Providers that refuse what the server is set up with, such as credentials or a topic: operators have to act."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from sockudo.inspector import Entry, Inspector
from sockudo.push.advice import row_of_class
from sockudo.push.recipients import ROUTE_NAMES, Provider
from sockudo.push.records import OutcomeError

__all__ = ["ProviderRefusals"]

_PAUSE: Final = 60.0
_MOST: Final = 1000

_log = structlog.get_logger("sockudo.push")


class ProviderRefusals:
    """A warning in the log and an entry for the inspector, at most once a minute for each app, provider and class.

    ``monotonic`` are seconds.
    """

    def __init__(self, inspector: Inspector, monotonic: Callable[[], float]) -> None:
        self._inspector = inspector
        self._monotonic = monotonic
        # When each is reported again; all are forgotten when there are too many.
        self._quiet: dict[tuple[str, Provider, str], float] = {}

    def note(self, app_id: str, publish_id: str, provider: Provider, error: OutcomeError) -> None:
        """A send of this publish was refused so."""
        key = app_id, provider, error.kind
        now = self._monotonic()
        if now < self._quiet.get(key, 0.0):
            return
        if len(self._quiet) >= _MOST:
            self._quiet.clear()
        self._quiet[key] = now + _PAUSE
        name, row = ROUTE_NAMES[provider], row_of_class(error.kind, provider)
        _log.warning(
            "a push provider refuses what the server is set up with",
            app_id=app_id,
            provider=name,
            publish_id=publish_id,
            problem=error.kind,
            reason=error.reason,
            advice=None if row is None else row.remedy,
        )
        reason = "" if error.reason is None else f": {error.reason}"
        self._inspector.note(
            Entry(
                self._inspector.now_ms(),
                "push_refused",
                app_id,
                error=None if row is None else row.slug,
                text=f"{name} refuses notifications{reason} (publish {publish_id})",
            )
        )
