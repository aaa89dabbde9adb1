"""Whether a publish is taken, so much as waits already, and what is kept of it when it is (spec: push § 3 and 5).

The steps are taken in that order. That a device does not exist, or that a scheduled publish
is late, is the answer to a new publish alone. The repetition of an accepted one is answered with its result, also
when its device has gone since.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

from sockudo import errors
from sockudo.base.clock import Clock
from sockudo.base.windows import FixedWindows
from sockudo.config.sections.push import Push as PushSettings
from sockudo.errors import SockudoError
from sockudo.jobs.ports import Depth, JobQueue
from sockudo.push.audience import named_providers
from sockudo.push.bodies import PublishRequest
from sockudo.push.delivery import Readiness
from sockudo.push.endpoints import EndpointRules
from sockudo.push.messages import Stage, delivery_stage
from sockudo.push.recipients import PROVIDERS, ROUTE_NAMES, Provider
from sockudo.push.records import Device, PublishIntent, Regime, Target
from sockudo.push.validation import check_id, check_override, check_payload, check_targets

__all__ = [
    "Acceptance",
    "Keys",
    "QueueReadings",
    "Ready",
    "check_pressure",
    "check_ready",
    "check_request",
    "enabled_providers",
    "idempotency_keys",
    "regime_of",
]


_SECONDS: Final = 0.25
_SHARES_SECONDS: Final = 1.0

_SHARED: Final[tuple[Stage, ...]] = ("publish_log", "shard_jobs", "delivery_results", "dead_letters")


class QueueReadings:
    """The depths of every stage, at most a quarter of a second old; those who ask at once share one question."""

    def __init__(self, queue: JobQueue, clock: Clock) -> None:
        self._queue = queue
        self._clock = clock
        self._read_at = float("-inf")
        self._depths: Mapping[str, Depth] = {}
        self._shares: dict[Stage, tuple[float, Mapping[str, Depth]]] = {}
        self._lock = asyncio.Lock()

    async def depths(self) -> Mapping[str, Depth]:
        """Raises errors.SERVICE_UNAVAILABLE when the queue does not answer."""
        if self._fresh():
            return self._depths
        async with self._lock:
            if not self._fresh():
                self._depths = await self._queue.depths(int(self._clock.time() * 1000))
                self._read_at = self._clock.monotonic()
        return self._depths

    async def shares(self, stage: Stage) -> Mapping[str, Depth]:
        """Of each app in a stage, at most a second old. Raises errors.SERVICE_UNAVAILABLE when the queue does not
        answer.
        """
        async with self._lock:
            read_at, shares = self._shares.get(stage, (float("-inf"), {}))
            if self._clock.monotonic() - read_at >= _SHARES_SECONDS:
                shares = await self._queue.shares(stage, int(self._clock.time() * 1000))
                self._shares[stage] = self._clock.monotonic(), shares
        return shares

    def _fresh(self) -> bool:
        return self._clock.monotonic() - self._read_at < _SECONDS


async def check_pressure(
    options: PushSettings,
    readings: QueueReadings,
    app_id: str,
    targets: Sequence[Target],
    devices: Sequence[Device],
    ready: Mapping[Provider, Readiness],
) -> None:
    """Raises errors.PUSH_BACKPRESSURE for the first stage that holds too much, or for too long.

    A stage that holds too much is closed to the apps that have more than an equal part of it, so it has about twice the
    limit at most. One that is too slow is closed to the app whose messages are too old, for publishes that lead to no
    other provider. ``devices`` are those that the targets name. Raises errors.SERVICE_UNAVAILABLE when the queue does
    not answer.
    """
    if options.backpressure.always:
        raise _refusal(options, "push backpressure is switched on (PUSH_BACKPRESSURE)")
    active = [provider for provider in PROVIDERS if (found := ready.get(provider)) is not None and found.ready]
    try:
        depths = await readings.depths()
        stages: tuple[Stage, ...] = (*_SHARED, "retry_schedule", *map(delivery_stage, active))
        beyond = [stage for stage in stages if stage in depths and _is_beyond(options, stage, depths[stage])]
        if not beyond:
            return
        for stage in beyond:
            if stage in _SHARED:
                full = _waits(depths[stage]) >= _most(options, stage)
                raise (_too_many if full else _too_old)(options, stage, depths[stage], "")
        shares = {stage: await readings.shares(stage) for stage in beyond}
    except SockudoError as problem:
        if problem.spec is errors.PUSH_BACKPRESSURE:
            raise
        text = "push admission unavailable: the push queue does not answer"
        raise errors.SERVICE_UNAVAILABLE(text, likely_cause=problem.text) from None
    possible = _possible(targets, devices, active)
    _check_own(options, app_id, depths, shares, [delivery_stage(each) for each in active if each in possible])


def _check_own(
    options: PushSettings,
    app_id: str,
    depths: Mapping[str, Depth],
    shares: Mapping[Stage, Mapping[str, Depth]],
    leads_to: Sequence[Stage],
) -> None:
    late: list[Stage] = []
    for stage, of in shares.items():
        own = of.get(app_id)
        if own is None or stage not in ("retry_schedule", *leads_to):
            continue
        if _waits(depths[stage]) >= _most(options, stage) <= _waits(own) * len(of):
            raise _too_many(options, stage, own, " of this app")
        if _is_late(options, stage, own):
            late.append(stage)
    if late and ("retry_schedule" in late or set(late).issuperset(leads_to)):
        raise _too_old(options, late[0], shares[late[0]][app_id], " of this app")


def _possible(targets: Sequence[Target], devices: Sequence[Device], active: Iterable[Provider]) -> set[Provider]:
    """The providers that a publish may go to, as far as that is known before it is planned."""
    if any(target.type in ("client", "channel") for target in targets):
        return set(active)
    return {*named_providers(targets), *(device.recipient.provider for device in devices)}


def _is_beyond(options: PushSettings, stage: Stage, depth: Depth) -> bool:
    return _waits(depth) >= _most(options, stage) or _is_late(options, stage, depth)


def _most(options: PushSettings, stage: Stage) -> int:
    return (
        options.backpressure.publish_log_max_lag
        if stage == "publish_log"
        else options.backpressure.critical_queue_max_lag
    )


def _waits(depth: Depth) -> int:
    return depth.ready + depth.delayed


def _is_late(options: PushSettings, stage: Stage, depth: Depth) -> bool:
    """Dead letters are not consumed: their age is no sign of pressure."""
    return 0 < options.backpressure_lag_threshold_secs * 1000 <= _age(depth) and stage != "dead_letters"


def _age(depth: Depth) -> int:
    return max(depth.oldest_ready_ms, depth.oldest_inflight_ms)


def _too_many(options: PushSettings, stage: Stage, depth: Depth, whose: str) -> SockudoError:
    return _refusal(options, f"push {stage} lag exceeded: {_waits(depth)} messages{whose} wait")


def _too_old(options: PushSettings, stage: Stage, depth: Depth, whose: str) -> SockudoError:
    return _refusal(options, f"push {stage} lag exceeded: the oldest message{whose} is {_age(depth) // 1000} s old")


def _refusal(options: PushSettings, text: str) -> SockudoError:
    return errors.PUSH_BACKPRESSURE(text, retry_after=options.backpressure.retry_after_seconds)


# ---- admission ----


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
        parts = (intent.publish_id, intent.targets, intent.payload, intent.overrides, intent.not_before_ms)
        mark = sha256(_encode((*parts, intent.expires_at_ms))).hexdigest()
        names.append(f"intent:{intent.app_id}:{mark}")
    start = max(intent.accepted_at_ms, intent.not_before_ms or 0)
    return Keys(names, intent.expires_at_ms or start + _DAY_MS)
