"""Push as routes, commands, the dashboard and rules use it: publish, cancel, ask (spec: push § 2.4, 2.5, 5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

import structlog

from sockudo import errors
from sockudo.base.clock import Clock
from sockudo.base.ids import unique_id
from sockudo.base.spans import TraceHeaders, Tracer
from sockudo.config.sections.push import Push as PushSettings
from sockudo.errors import SockudoError
from sockudo.jobs.ports import Job, JobQueue
from sockudo.push.admission import (
    Acceptance,
    Keys,
    QueueReadings,
    Ready,
    check_pressure,
    check_ready,
    check_request,
    idempotency_keys,
    regime_of,
)
from sockudo.push.audience import Audience, DeviceRates, audience, exceeded
from sockudo.push.bodies import PublishRequest
from sockudo.push.delivery import PushProvider
from sockudo.push.endpoints import EndpointRules
from sockudo.push.lifecycle import is_untouched
from sockudo.push.messages import publish_message
from sockudo.push.observers import PushWebhooks
from sockudo.push.planning import DIRECT_MOST, Planning, few, plan_few
from sockudo.push.ports import PushStore
from sockudo.push.recipients import ROUTE_NAMES, Provider
from sockudo.push.records import Counters, Override, Payload, PublishIntent, PublishStatus, Regime, State
from sockudo.push.rendering import Rendering, merged, render_all
from sockudo.push.telemetry import PushCounters, audit, meta_event
from sockudo.push.validation import check_payload

__all__ = ["Accepted", "Push"]

_log = structlog.get_logger("sockudo.push")


class Accepted(NamedTuple):
    """The answer to a publish. ``status`` is that of the first one where it is a repetition."""

    status: PublishStatus
    expected: int
    regime: Regime
    renderings: Sequence[Rendering]

    @property
    def word(self) -> str:
        """``accepted`` until something has become of it, the state in snake_case after that."""
        state = self.status.state
        if state == "dispatching" and is_untouched(self.status):
            # It took the direct way, and waits to be sent.
            return "accepted"
        return _WORDS.get(state, state)


_WORDS: Final[dict[State, str]] = {"queued": "accepted", "partiallySucceeded": "partially_succeeded"}


class Push:
    """Takes publishes. Store and queue are opened and closed by their maker; ``wake`` receives which stage has
    something new.

    ``options`` is replaced when the configuration is. ``providers`` are those that are switched on, to be tried out.
    """

    def __init__(
        self,
        store: PushStore,
        queue: JobQueue,
        clock: Clock,
        ready: Ready,
        rules: EndpointRules,
        options: PushSettings,
        *,
        wake: Callable[[str], None] = lambda _: None,
        counters: PushCounters | None = None,
        webhooks: PushWebhooks | None = None,
        tracer: Tracer | None = None,
        readings: QueueReadings | None = None,
        providers: Mapping[Provider, PushProvider] = MappingProxyType({}),
    ) -> None:
        self.store = store
        self.queue = queue
        self.clock = clock
        self.ready = ready
        self.rules = rules
        self.options = options
        self.wake = wake
        self.counters = counters or PushCounters()
        self.webhooks = webhooks
        self.tracer = tracer
        self.readings = readings or QueueReadings(queue, clock)
        self.providers = providers
        self._acceptance = Acceptance()
        self._device_rates = DeviceRates()

    def now_ms(self) -> int:
        """The time of day in milliseconds."""
        return int(self.clock.time() * 1000)

    # ---- publishing ----

    async def publish(
        self,
        app_id: str,
        request: PublishRequest,
        *,
        admin: bool = True,
        over_quota: bool = False,
        limited: bool = True,
        scheduled: bool = False,
        trace: TraceHeaders | None = None,
    ) -> Accepted:
        """Accepts a publish: when this returns, status, keys and log are durable, and it will be planned.

        ``over_quota`` skips the quotas and is audited; ``limited`` is False for rules and ``extras.push``, which have
        rates of their own; ``scheduled`` is for a publish that must be for later; ``trace`` is what it is a part of,
        None for the span that is active.

        Raises errors.PUSH_CAPABILITY, errors.INVALID_INPUT, errors.PROVIDER_TOKEN_INVALID, errors.PUSH_DISABLED,
        errors.CREDENTIAL_MISSING, errors.PUSH_RATE_LIMITED, errors.PUSH_BACKPRESSURE, errors.PUSH_PAYLOAD_TOO_LARGE,
        errors.DEVICE_NOT_FOUND, errors.SCHEDULED_PUSH_INVALID and errors.SERVICE_UNAVAILABLE: nothing is kept then.
        """
        begun = self.clock.monotonic()
        if not admin and any(target.type == "recipient" for target in request.targets):
            raise errors.PUSH_CAPABILITY("push-admin capability is required to publish to a raw recipient")
        # Before anything is counted: it costs nothing, and what is counted has names.
        check_request(request, self.rules, self.now_ms())
        options = self.options
        found = await audience(self.store, app_id, request.targets)
        regime = regime_of(found.total, options)
        payload, overrides = await self._merged(app_id, request)
        await self._check_room(app_id, request, found, regime, limited=limited)
        if over_quota:
            audit("quotaOverride", app_id, publish_id=request.publish_id, recipients=found.total)
        renderings = render_all(payload, overrides)
        intent = self._intent(app_id, request, payload, overrides, regime, trace)
        keys = idempotency_keys(intent, chosen=request.publish_id is not None)
        first = None if request.publish_id is None else await self._first(intent, keys)
        if first is not None:
            return await self._repeated(first, regime, renderings)
        _check_new(found, intent, scheduled=scheduled)
        reason = None
        if not over_quota:
            reason = await exceeded(options, self._device_rates, self.store, app_id, request.targets, found, begun)
        made = None if reason is not None else await self._planned(intent, found)
        status = _status(intent, found, reason, made)
        winner = await self.store.accept(status, intent if reason is None else None, keys.names, keys.until_ms)
        if winner is not None:
            return await self._repeated(winner, regime, renderings)
        if reason is None:
            await self._enqueue(intent, made)
        elif self.webhooks is not None:
            self.webhooks.publish_ended(status)
        self._tell(intent, found, reason, begun)
        return Accepted(status, found.total, regime, renderings)

    def _tell(self, intent: PublishIntent, found: Audience, reason: str | None, begun: float) -> None:
        """Step 14: what operators hear of it."""
        app_id, counters = intent.app_id, self.counters
        if reason is None:
            meta_event("push-accepted", app_id, intent.publish_id, expectedRecipients=found.total)
            counters.count("channel_publish_total", by=sum(target.type == "channel" for target in intent.targets))
        else:
            meta_event("quota-event", app_id, intent.publish_id, reason=reason.partition(" ")[0])
        counters.count("publish_accepted_total", app_id, "accepted" if reason is None else "quota_exceeded")
        counters.set("quota_consumed_delivery", found.total, app_id)
        counters.note("publish_acceptance_duration_seconds", self.clock.monotonic() - begun, app_id)

    async def _merged(self, app_id: str, request: PublishRequest) -> tuple[Payload, list[Override]]:
        """Step 4: the payload over its template, checked once more."""
        payload, overrides = request.payload, list(request.overrides)
        if payload.template_id is None:
            return payload, overrides
        template = await self.store.template(app_id, payload.template_id)
        if template is None:
            raise errors.INVALID_INPUT(f"push template {payload.template_id} not found")
        payload, overrides = merged(payload, overrides, template)
        check_payload(payload)
        return payload, overrides

    async def _check_room(
        self, app_id: str, request: PublishRequest, found: Audience, regime: Regime, *, limited: bool
    ) -> None:
        """Steps 5 to 7: who could send it, how often the app may, and how much waits already."""
        options = self.options
        ready = await self.ready(app_id)
        check_ready(options, ready, request.targets, regime)
        rate = options.default_quotas.acceptance_rps
        if limited and rate:
            try:
                taken = self._acceptance.check(app_id, rate, self.clock.monotonic())
            except SockudoError:
                self.counters.count("quota_acceptance_rejections_total", app_id)
                raise
            self.counters.set("quota_consumed_acceptance", taken, app_id)
        await check_pressure(options, self.readings, app_id, request.targets, found.devices, ready)

    def _intent(
        self,
        app_id: str,
        request: PublishRequest,
        payload: Payload,
        overrides: list[Override],
        regime: Regime,
        trace: TraceHeaders | None,
    ) -> PublishIntent:
        if trace is None:
            trace = () if self.tracer is None else self.tracer.headers()
        return PublishIntent(
            app_id=app_id,
            publish_id=request.publish_id or unique_id(),
            targets=list(request.targets),
            payload=payload,
            overrides=overrides,
            not_before_ms=request.not_before_ms,
            expires_at_ms=request.expires_at_ms,
            regime=regime,
            accepted_at_ms=self.now_ms(),
            trace=trace,
        )

    async def _first(self, intent: PublishIntent, keys: Keys) -> PublishStatus | None:
        """The status of the publish that this one repeats. Its keys may have ended before it has; but one that is only
        queued may be an attempt that went no further, which the store takes over."""
        known = await self.store.accepted(intent.app_id, keys.names, intent.accepted_at_ms)
        if known is not None:
            return known
        status = await self.store.status(intent.app_id, intent.publish_id)
        return None if status is None or status.state == "queued" else status

    async def _repeated(self, first: PublishStatus, regime: Regime, renderings: Sequence[Rendering]) -> Accepted:
        """What became of the first. While it is queued it is produced again, in case that was all it lacked."""
        if first.state == "queued":
            await self._produce(first.app_id, first.publish_id)
        return Accepted(first, first.counters.planned, first.regime or regime, renderings)

    async def _planned(self, intent: PublishIntent, found: Audience) -> Planning | None:
        """The batches of a publish to few devices, which needs no planner; None for every other one."""
        small = 0 < found.total <= DIRECT_MOST and intent.regime == "fastPath" and intent.not_before_ms is None
        # It has no message of its own in the queue: where that loses it, repair alone can find it.
        if not small or not self.options.repairs:
            return None
        began = self.clock.monotonic()
        jobs = await few(self.store, intent.app_id, intent.targets, found.devices)
        if not jobs:
            return None
        made = plan_few(intent, jobs, intent.accepted_at_ms)
        self.counters.note("planner_duration_seconds", self.clock.monotonic() - began)
        return made

    async def _enqueue(self, intent: PublishIntent, made: Planning | None) -> None:
        app_id, publish_id = intent.app_id, intent.publish_id
        if made is None:
            await self._produce(app_id, publish_id)
            return
        if 2 * (self.now_ms() - intent.accepted_at_ms) > self.options.repair_min_age_ms:
            # Repair may have it planned by now, and these batches would be sent beside the others.
            _log.warning(
                "a publish waits for repair", app_id=app_id, publish_id=publish_id, reason="accepting took long"
            )
            return
        await self._put(app_id, publish_id, made.messages)
        for provider, count in made.counts.items():
            self.counters.count("delivery_jobs_emitted_total", ROUTE_NAMES[provider], app_id, by=count)
        self.counters.note("fanout_size", made.planned, app_id)

    async def _produce(self, app_id: str, publish_id: str) -> None:
        await self._put(app_id, publish_id, [publish_message(app_id, publish_id)])

    async def _put(self, app_id: str, publish_id: str, jobs: Sequence[Job]) -> None:
        # It is in the log, where repair finds it, so the disk need not be waited for a second time.
        repairs = self.options.repairs
        try:
            await self.queue.put(jobs, self.now_ms(), lasting=not repairs)
        except SockudoError as problem:
            if not repairs:
                raise
            # The caller must not send it twice.
            _log.warning("a publish waits for repair", app_id=app_id, publish_id=publish_id, reason=problem.text)
            return
        for job in jobs:
            self.wake(job.stage)


def _check_new(found: Audience, intent: PublishIntent, *, scheduled: bool) -> None:
    """Refusals that concern a new publish, not the repetition of an accepted one."""
    if scheduled and (intent.not_before_ms is None or intent.not_before_ms <= intent.accepted_at_ms):
        raise errors.SCHEDULED_PUSH_INVALID(
            "a scheduled push requires notBeforeMs"
            if intent.not_before_ms is None
            else f"notBeforeMs must be in the future: it is {intent.not_before_ms}, and now is {intent.accepted_at_ms}"
        )
    if found.lost is not None:
        others = len(found.missing) - 1
        more = f", and neither are the {others} others that the publish names" if others else ""
        raise errors.DEVICE_NOT_FOUND(f"device '{found.lost}' is not registered{more}")


def _status(intent: PublishIntent, found: Audience, reason: str | None, made: Planning | None) -> PublishStatus:
    state: State = "queued" if made is None else "dispatching"
    return PublishStatus(
        app_id=intent.app_id,
        publish_id=intent.publish_id,
        state=state if reason is None else "quota_exceeded",
        counters=Counters(planned=found.total if made is None else made.planned),
        regime=intent.regime,
        error_reason=reason,
        code=None if reason is None else errors.PUSH_QUOTA_EXCEEDED.code,
        missing=found.missing,
        not_before_ms=intent.not_before_ms,
        expires_at_ms=intent.expires_at_ms,
        created_at_ms=intent.accepted_at_ms,
        updated_at_ms=intent.accepted_at_ms,
    )
