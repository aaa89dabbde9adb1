"""Whether so much waits already that one more publish is refused for now (contract 50 § 5, step 7).

What all publishes go through counts for every app. What waits for a provider, or for being sent again, counts for the
app whose it is: a provider that is slow for one app, or a flood of one app, is no reason to refuse another one's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.push.admission import AdmissionOptions
from sockudo.push.audience import named_providers
from sockudo.push.delivery import Readiness
from sockudo.push.messages import delivery_stage
from sockudo.push.queue import Depth, Stage
from sockudo.push.readings import QueueReadings
from sockudo.push.recipients import PROVIDERS, Provider
from sockudo.push.records import Device, Target

__all__ = ["check_pressure"]

_SHARED: Final[tuple[Stage, ...]] = ("publish_log", "shard_jobs", "delivery_results", "dead_letters")
_NOTHING: Final = Depth()


async def check_pressure(
    options: AdmissionOptions,
    readings: QueueReadings,
    app_id: str,
    targets: Sequence[Target],
    devices: Sequence[Device],
    ready: Mapping[Provider, Readiness],
) -> None:
    """Raises errors.PUSH_BACKPRESSURE for the first stage that holds too much, or for too long (D6).

    A stage that holds too much is closed to the apps that have more than an equal part of it, so it has about twice the
    limit at most. One that is too slow is closed to the app whose messages are too old, for publishes that lead to no
    other provider. ``devices`` are those that the targets name. Raises errors.SERVICE_UNAVAILABLE when the queue does
    not answer.
    """
    if options.pressure:
        raise _refusal(options, "push backpressure is switched on (PUSH_BACKPRESSURE)")
    try:
        depths = await readings.depths()
        for stage in _SHARED:
            _check_shared(options, stage, depths.get(stage, _NOTHING))
        active = [provider for provider in PROVIDERS if (found := ready.get(provider)) is not None and found.ready]
        single: list[Stage] = ["retry_schedule", *map(delivery_stage, active)]
        beyond = [stage for stage in single if _is_full(options, stage, depths) or _is_late(options, depths.get(stage))]
        shares = {stage: await readings.shares(stage) for stage in beyond}
    except SockudoError as problem:
        if problem.spec is errors.PUSH_BACKPRESSURE:
            raise
        text = "push admission unavailable: the push queue does not answer"
        raise errors.SERVICE_UNAVAILABLE(text, likely_cause=problem.text) from None
    if beyond:
        possible = _possible(targets, devices, active)
        _check_own(options, app_id, depths, shares, [delivery_stage(each) for each in active if each in possible])


def _check_shared(options: AdmissionOptions, stage: Stage, depth: Depth) -> None:
    if depth.ready + depth.delayed >= _most(options, stage):
        raise _refusal(options, f"push {stage} lag exceeded: {depth.ready + depth.delayed} messages wait")
    if stage != "dead_letters" and _is_late(options, depth):
        raise _refusal(options, f"push {stage} lag exceeded: the oldest message is {_age(depth) // 1000} s old")


def _check_own(
    options: AdmissionOptions,
    app_id: str,
    depths: Mapping[Stage, Depth],
    shares: Mapping[Stage, Mapping[str, Depth]],
    leads_to: Sequence[Stage],
) -> None:
    late: list[Stage] = []
    for stage, of in shares.items():
        own = of.get(app_id)
        if own is None or stage not in ("retry_schedule", *leads_to):
            continue
        waits = own.ready + own.delayed
        if _is_full(options, stage, depths) and waits * len(of) >= _most(options, stage):
            raise _refusal(options, f"push {stage} lag exceeded: {waits} messages of this app wait")
        if _is_late(options, own):
            late.append(stage)
    if late and ("retry_schedule" in late or set(late).issuperset(leads_to)):
        age = _age(shares[late[0]][app_id])
        raise _refusal(options, f"push {late[0]} lag exceeded: the oldest message of this app is {age // 1000} s old")


def _possible(targets: Sequence[Target], devices: Sequence[Device], active: Iterable[Provider]) -> set[Provider]:
    """The providers that a publish may go to, as far as that is known before it is planned."""
    if any(target.type in ("client", "channel") for target in targets):
        return set(active)
    return {*named_providers(targets), *(device.recipient.provider for device in devices)}


def _most(options: AdmissionOptions, stage: Stage) -> int:
    return options.publish_log_max_lag if stage == "publish_log" else options.critical_queue_max_lag


def _is_full(options: AdmissionOptions, stage: Stage, depths: Mapping[Stage, Depth]) -> bool:
    depth = depths.get(stage, _NOTHING)
    return depth.ready + depth.delayed >= _most(options, stage)


def _is_late(options: AdmissionOptions, depth: Depth | None) -> bool:
    return depth is not None and 0 < options.lag_threshold_secs * 1000 <= _age(depth)


def _age(depth: Depth) -> int:
    return max(depth.oldest_ready_ms, depth.oldest_inflight_ms)


def _refusal(options: AdmissionOptions, text: str) -> SockudoError:
    return errors.PUSH_BACKPRESSURE(text, retry_after=options.pressure_retry_after)
