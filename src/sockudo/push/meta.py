"""What push tells operators: meta events and the audit trail, as structured log lines (spec: push § 9).

Nobody passes in a recipient, a payload, an override, an endpoint or a token.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import structlog

from sockudo.push.recipients import Provider

__all__ = ["AuditAction", "MetaEvent", "audit", "meta_event"]

MetaEvent = Literal[
    "push-accepted",
    "publish-completed",
    "device-state-changed",
    "provider-rejected",
    "token-invalidated",
    "token-invalidation-guard",
    "quota-event",
    "scheduler-event",
    "circuit-breaker-event",
    "dead-letter",
    "cleanup-event",
]
_ROUTINE: Final[frozenset[MetaEvent]] = frozenset(
    {"push-accepted", "publish-completed", "device-state-changed", "provider-rejected", "scheduler-event"}
)
"""What happens with every publish or delivery: in the log at level ``debug``, since there may be thousands a second."""

AuditAction = Literal["credentialWrite", "removeWhere", "quotaOverride", "deadLetterReplay"]

_meta: Final = structlog.get_logger("[meta]log:push")
_audit: Final = structlog.get_logger("sockudo_push_audit")


def meta_event(
    event: MetaEvent, app_id: str, publish_id: str | None = None, provider: Provider | None = None, **detail: Any
) -> None:
    """One line; ``app_id`` is ``_system`` for what is about no app. ``detail`` holds counts and words alone.

    ``log_level = "info,[meta]log:push=debug"`` shows all of them.
    """
    log = _meta.debug if event in _ROUTINE else _meta.info
    log(event, app_id=app_id, publish_id=publish_id, provider=provider, detail=detail)


def audit(action: AuditAction, app_id: str, **about: Any) -> None:
    """One line for what somebody with the app's key has done; ``about`` holds ids and counts alone."""
    _audit.info("push audit", action=action, app_id=app_id, **about)
