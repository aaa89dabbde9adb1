"""What endpoints of apps are told of push: publishes that reached nobody, devices with dead tokens (spec: push § 9).

Off unless the configuration switches it on; then an endpoint gets what its ``event_types`` list.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from sockudo.push.advice import row_of_status
from sockudo.push.recipients import ROUTE_NAMES, Provider
from sockudo.push.records import PublishStatus, State
from sockudo.webhooks import Webhooks
from sockudo.webhooks.events import device_invalidated, publish_failed

__all__ = ["PushWebhooks"]

_FAILED: Final[frozenset[State]] = frozenset({"failed", "expired", "dead_lettered", "quota_exceeded"})
"""Ends in which nobody was reached."""


class PushWebhooks:
    """``webhooks`` gives None while no app has an endpoint. Nothing here waits or fails."""

    def __init__(self, webhooks: Callable[[], Webhooks | None], *, enabled: bool) -> None:
        self._webhooks = webhooks
        self.enabled = enabled

    def publish_ended(self, status: PublishStatus) -> None:
        """A publish has come to its end; to be told once for each."""
        webhooks = self._webhooks() if self.enabled and status.state in _FAILED else None
        if webhooks is None:
            return
        row = row_of_status(status.state, status.code, status.error_reason)
        event = publish_failed(
            status.publish_id,
            status.state,
            status.code if row is None else row.code,
            status.error_reason,
            msgspec.to_builtins(status.counters, str_keys=True),
            webhooks.now_ms(),
        )
        webhooks.say(status.app_id, event)

    def device_invalidated(self, app_id: str, device_id: str, provider: Provider, publish_id: str | None) -> None:
        """A device was deleted, since its provider said that its token is dead."""
        webhooks = self._webhooks() if self.enabled else None
        if webhooks is not None:
            event = device_invalidated(device_id, ROUTE_NAMES[provider], publish_id, webhooks.now_ms())
            webhooks.say(app_id, event)
