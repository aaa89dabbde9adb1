"""Reports of push to the endpoints of apps: publishes that reached no recipient and devices with dead tokens
(spec: push § 9); operators, of providers that refuse what the server is set up with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec
import structlog

from sockudo.inspector import Entry, Inspector
from sockudo.push.diagnosis.advice import row_of_class, row_of_status
from sockudo.push.recipients import ROUTE_NAMES, Provider
from sockudo.push.records import OutcomeError, PublishStatus, State

__all__ = ["AppWebhooks", "ProviderRefusals", "PushObservers", "PushProbe", "PushWebhooks"]

_FAILED: Final[frozenset[State]] = frozenset({"failed", "expired", "dead_lettered", "quota_exceeded"})
"""Ends without a recipient that was reached."""

_PAUSE: Final = 60.0
_MOST: Final = 1000

_log = structlog.get_logger("sockudo.push")


class AppWebhooks(Protocol):
    """The webhooks of apps, as far as push uses them."""

    def tell(self, app_id: str, name: str, about: Mapping[str, Any]) -> None:
        """Notifies the endpoints of an app that list this event; ``about`` has its members."""
        ...


class PushProbe:
    """Receives the events of push that others may observe, and does nothing by itself. Nothing here waits or fails."""

    def completed(self, status: PublishStatus) -> None:
        """A publish has ended; it may be reported again, with another end, when a late outcome changes it."""

    def invalidated(self, app_id: str, publish_id: str, provider: Provider, device_id: str) -> None:
        """A device was deleted, as its provider reported its token as dead."""

    def misconfigured(self, app_id: str, publish_id: str, provider: Provider, error: OutcomeError) -> None:
        """A provider refused what the server is set up with, and not the device or the notification."""


class PushWebhooks:
    """``webhooks`` gives None while no app has an endpoint. Nothing here waits or fails."""

    def __init__(self, webhooks: Callable[[], AppWebhooks | None], *, enabled: bool) -> None:
        self._webhooks = webhooks
        self.enabled = enabled

    def publish_ended(self, status: PublishStatus) -> None:
        """A publish has ended; to be reported once for each."""
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
        """A device was deleted, since its provider reported its token as dead."""
        webhooks = self._webhooks() if self.enabled else None
        if webhooks is not None:
            about = {"device_id": device_id, "provider": ROUTE_NAMES[provider], "publish_id": publish_id}
            webhooks.tell(app_id, "push.device_invalidated", about)


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


class PushObservers(PushProbe):
    """Apps get events at their endpoints, operators what is set up wrongly."""

    def __init__(self, webhooks: PushWebhooks, refusals: ProviderRefusals) -> None:
        self._webhooks = webhooks
        self._refusals = refusals

    def completed(self, status: PublishStatus) -> None:
        self._webhooks.publish_ended(status)

    def invalidated(self, app_id: str, publish_id: str, provider: Provider, device_id: str) -> None:
        self._webhooks.device_invalidated(app_id, device_id, provider, publish_id)

    def misconfigured(self, app_id: str, publish_id: str, provider: Provider, error: OutcomeError) -> None:
        self._refusals.note(app_id, publish_id, provider, error)
