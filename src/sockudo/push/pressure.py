"""Whether so much waits already that one more publish is refused for now (spec: push § 5, step 7).

What all publishes go through counts for every app. What waits for a provider, or for being sent again, counts for the
app whose it is: a provider that is slow for one app, or a flood of one app, is no reason to refuse another one's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sockudo import errors
from sockudo.base.clock import Clock
from sockudo.config.sections.push import Push as PushSettings
from sockudo.errors import SockudoError
from sockudo.jobs.ports import Depth, JobQueue
from sockudo.push.audience import named_providers
from sockudo.push.delivery import Readiness
from sockudo.push.messages import Stage, delivery_stage
from sockudo.push.recipients import PROVIDERS, Provider
from sockudo.push.records import Device, Target

__all__ = ["QueueReadings", "check_pressure"]

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
