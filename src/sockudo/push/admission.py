"""Whether a publish is taken, and what is kept of it when it is (spec: push § 3 and 5).

The steps are taken in that order. That a device does not exist, or that a scheduled publish
is late, is the answer to a new publish alone. The repetition of an accepted one is answered with its result, also
when its device has gone since.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

from sockudo import errors
from sockudo.base.windows import FixedWindows
from sockudo.config.sections.push import Push as PushSettings
from sockudo.push.audience import named_providers
from sockudo.push.bodies import PublishRequest
from sockudo.push.delivery import Readiness
from sockudo.push.endpoints import EndpointRules
from sockudo.push.recipients import PROVIDERS, ROUTE_NAMES, Provider
from sockudo.push.records import PublishIntent, Regime, Target
from sockudo.push.validation import check_id, check_override, check_payload, check_targets

__all__ = [
    "Acceptance",
    "Keys",
    "Ready",
    "check_ready",
    "check_request",
    "enabled_providers",
    "idempotency_keys",
    "regime_of",
]

_FIRST_MS: Final = 10**12
"""September 2001: what is less is in seconds."""

Ready = Callable[[str], Awaitable[Mapping[Provider, Readiness]]]
"""What each provider can do for an app; one that is switched off is not ready, or not there."""

_UNAVAILABLE: Final = "push admission unavailable: "
_encode: Final = msgspec.json.Encoder(order="deterministic").encode


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


def enabled_providers(options: PushSettings) -> frozenset[Provider]:
    """The ones that are switched on; channels of this server need no switch."""
    return frozenset(each for each in PROVIDERS if getattr(options, f"{ROUTE_NAMES[each]}_enabled", False))


def regime_of(count: int, options: PushSettings) -> Regime:
    """How a publish with so many recipients is planned."""
    return "fastPath" if count < options.fanout_fast_threshold else "shardPath"


# ---- step 5 ----


def check_ready(
    options: PushSettings, ready: Mapping[Provider, Readiness], targets: Sequence[Target], regime: Regime
) -> None:
    """Raises errors.PUSH_DISABLED, or errors.CREDENTIAL_MISSING with what to set."""
    for name in ("planner_worker_count", "feedback_worker_count"):
        if not getattr(options, name):
            raise errors.PUSH_DISABLED(f"{_UNAVAILABLE}push.{name} is 0")
    if regime == "shardPath" and not options.shard_worker_count:
        raise errors.PUSH_DISABLED(f"{_UNAVAILABLE}push.shard_worker_count is 0, and the publish is a large one")
    named = dict.fromkeys(named_providers(targets))
    if named:
        lacking = [provider for provider in named if not _is_ready(ready, provider)]
        if lacking:
            raise _missing(options, ready, lacking)
        return
    enabled = enabled_providers(options)
    if not enabled:
        raise errors.PUSH_DISABLED(f"{_UNAVAILABLE}push providers are disabled")
    if not options.dispatch_worker_count:
        raise errors.PUSH_DISABLED(f"{_UNAVAILABLE}no provider delivery worker is active")
    if not any(_is_ready(ready, provider) for provider in enabled):
        raise _missing(options, ready, [provider for provider in PROVIDERS if provider in enabled])


def _is_ready(ready: Mapping[Provider, Readiness], provider: Provider) -> bool:
    found = ready.get(provider)
    return found is not None and found.ready


def _missing(
    options: PushSettings, ready: Mapping[Provider, Readiness], lacking: Sequence[Provider]
) -> errors.SockudoError:
    wanted = []
    for provider in lacking:
        name, found = ROUTE_NAMES[provider], ready.get(provider)
        if found is not None and found.missing:
            wanted.append(f"{name}: {found.missing}")
        elif provider not in enabled_providers(options) and provider != "realtime":
            wanted.append(f"{name}: push.{name}_enabled is off")
        else:
            wanted.append(f"{name}: POST /apps/ID/push/credentials/{name}")
    return errors.CREDENTIAL_MISSING(f"{_UNAVAILABLE}provider credentials are not ready ({'; '.join(wanted)})")


# ---- step 6 ----


class Acceptance:
    """How many publishes an app may have accepted in a second; refused ones count, too."""

    def __init__(self) -> None:
        self._windows = FixedWindows(0, 1)

    def check(self, app_id: str, limit: int, now: float) -> int:
        """How many there were in this second. Raises errors.PUSH_RATE_LIMITED. ``now`` is monotonic."""
        self._windows.max_requests = limit
        verdict = self._windows.hit(app_id, now)
        if not verdict.allowed:
            raise errors.PUSH_RATE_LIMITED(
                f"push.acceptance_rate_limit exceeded: more than {limit} publishes in one second",
                retry_after=max(verdict.reset, 1),
            )
        return limit - verdict.remaining


# ---- steps 10 and 13 ----


class Keys(NamedTuple):
    """Under which a publish is found again."""

    names: list[str]
    until_ms: int


_DAY_MS: Final = 86_400_000


def idempotency_keys(intent: PublishIntent, *, chosen: bool) -> Keys:
    """By its id and its content; an id that was made here is known to no other caller, so it is enough.

    A publish that waits is remembered for a day after its time.
    """
    names = [f"publish-id:{intent.app_id}:{intent.publish_id}"]
    if chosen:
        said = (intent.publish_id, intent.targets, intent.payload, intent.overrides, intent.not_before_ms)
        mark = sha256(_encode((*said, intent.expires_at_ms))).hexdigest()
        names.append(f"intent:{intent.app_id}:{mark}")
    start = max(intent.accepted_at_ms, intent.not_before_ms or 0)
    return Keys(names, intent.expires_at_ms or start + _DAY_MS)
