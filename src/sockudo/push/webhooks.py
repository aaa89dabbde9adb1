"""What endpoints of apps are told of push: publishes that reached nobody, devices with dead tokens (spec: push § 9).

Off unless the configuration switches it on; then an endpoint gets what its ``event_types`` list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec

from sockudo.push.advice import row_of_status
from sockudo.push.recipients import ROUTE_NAMES, Provider
from sockudo.push.records import PublishStatus, State

__all__ = ["AppWebhooks", "PushWebhooks"]

_FAILED: Final[frozenset[State]] = frozenset({"failed", "expired", "dead_lettered", "quota_exceeded"})
"""Ends in which nobody was reached."""


class AppWebhooks(Protocol):
    """The webhooks of apps, as far as push uses them."""

    def tell(self, app_id: str, name: str, about: Mapping[str, Any]) -> None:
        """Tells the endpoints of an app that list this event; ``about`` has its members."""
        ...


class PushWebhooks:
    """``webhooks`` gives None while no app has an endpoint. Nothing here waits or fails."""

    def __init__(self, webhooks: Callable[[], AppWebhooks | None], *, enabled: bool) -> None:
        self._webhooks = webhooks
        self.enabled = enabled

    def publish_ended(self, status: PublishStatus) -> None:
        """A publish has come to its end; to be told once for each."""
        webhooks = self._webhooks() if self.enabled and status.state in _FAILED else None
        if webhooks is None:
            return
        row = row_of_status(status.state, status.code, status.error_reason)
        about = {
            "publish_id": status.publish_id,
            "state": status.state,
            "code": status.code if row is None else row.code,
            "error_reason": status.error_reason,
            "counters": msgspec.to_builtins(status.counters, str_keys=True),
        }
        webhooks.tell(status.app_id, "push.publish_failed", about)

    def device_invalidated(self, app_id: str, device_id: str, provider: Provider, publish_id: str | None) -> None:
        """A device was deleted, since its provider said that its token is dead."""
        webhooks = self._webhooks() if self.enabled else None
        if webhooks is not None:
            about = {"device_id": device_id, "provider": ROUTE_NAMES[provider], "publish_id": publish_id}
            webhooks.tell(app_id, "push.device_invalidated", about)
