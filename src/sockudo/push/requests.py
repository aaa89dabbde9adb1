"""Whether what a publish says can be true: its targets, texts, overrides and times (spec: push § 3 and 5)."""

from __future__ import annotations

from typing import Final

from sockudo import errors
from sockudo.push.bodies import PublishRequest
from sockudo.push.endpoints import EndpointRules
from sockudo.push.overrides import check_override
from sockudo.push.validation import check_id, check_payload, check_targets

__all__ = ["check_request"]

_FIRST_MS: Final = 10**12
"""September 2001: what is less is in seconds."""


def check_request(request: PublishRequest, rules: EndpointRules, now_ms: int) -> None:
    """Raises errors.INVALID_INPUT, errors.PROVIDER_TOKEN_INVALID and errors.SCHEDULED_PUSH_INVALID."""
    check_targets(request.targets, rules)
    if request.publish_id is not None:
        check_id(request.publish_id, "publishId")
    check_payload(request.payload)
    for override in request.overrides:
        check_override(override, rules.check)
    _check_times(request, now_ms)


def _check_times(request: PublishRequest, now_ms: int) -> None:
    not_before, expires = request.not_before_ms, request.expires_at_ms
    if expires is None:
        return
    if expires <= now_ms:
        hint = "; it looks like seconds" if expires < _FIRST_MS else ""
        raise errors.SCHEDULED_PUSH_INVALID(f"expiresAtMs is in the past: {expires}, and now is {now_ms}{hint}")
    if not_before is not None and expires <= not_before:
        raise errors.SCHEDULED_PUSH_INVALID(f"expiresAtMs ({expires}) must be after notBeforeMs ({not_before})")
