"""Push on this server: what it is kept in, who takes it and who sends it. Opened once it is needed, closed in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from sockudo import errors
from sockudo.config import Settings
from sockudo.edge.context import Edge
from sockudo.errors import SockudoError
from sockudo.names import check_channel_name
from sockudo.outbound.addresses import is_public
from sockudo.private_files import kept_secret
from sockudo.protocol.frame import Frame
from sockudo.publishing.pipeline import Message, committed
from sockudo.publishing.pipeline import Pipeline as Publishing
from sockudo.push.admission import AdmissionOptions
from sockudo.push.counters import PushCounters
from sockudo.push.delivery import PushProvider, Readiness
from sockudo.push.directory import Directory
from sockudo.push.endpoints import EndpointRules
from sockudo.push.envelopes import Envelopes
from sockudo.push.off import push_off
from sockudo.push.ports import PushStore
from sockudo.push.provider_refusals import ProviderRefusals
from sockudo.push.queue import PushQueue
from sockudo.push.quotas import Quotas
from sockudo.push.readings import QueueReadings
from sockudo.push.recipients import ROUTE_NAMES, Provider
from sockudo.push.records import OutcomeError, PublishStatus
from sockudo.push.removals import ForLivingApps, Removals
from sockudo.push.service import Push
from sockudo.push.webhooks import PushWebhooks
from sockudo.push_queues import push_queue
from sockudo.stores.push.selection import push_store
from sockudo.tasks import end_tasks

# What sends takes a while to import, and most servers send no notifications: where it is used, it is imported.
if TYPE_CHECKING:
    from sockudo.outbound.exchange import Exchange
    from sockudo.push.pipeline import Pipeline, PipelineOptions

__all__ = ["Pushing", "push_envelopes"]

EVENT: Final = "push"
"""The event by which a notification comes to a channel of this server."""

_EARLIER_DEV_KEY: Final = "dashboard"
"""What every development server sealed credentials with before each folder had a key: they stay readable."""

_DAY_MS: Final = 86_400_000
_LEAST_GRACE: Final = 0.5

_log = structlog.get_logger("sockudo.server")


class Pushing:
    """Opens the store once somebody uses it, and all the rest when a provider is switched on; nothing before: no file,
    no thread, no task.
    """

    def __init__(self, edge: Edge, publishing: Publishing, settings: Settings) -> None:
        self.counters = PushCounters()
        self._edge = edge
        self._publishing = publishing
        self._settings = settings
        self._opening = asyncio.Lock()
        self._rules: EndpointRules | None = None
        self._store: PushStore | None = None
        self._queue: PushQueue | None = None
        self._exchange: Exchange | None = None
        self._readings: QueueReadings | None = None
        self._removals: Removals | None = None
        self._removing: asyncio.Task[None] | None = None
        self._providers: Mapping[Provider, PushProvider] = {}
        self.pipeline: Pipeline | None = None
        edge.open_push = self.open_directory

    @property
    def wanted(self) -> bool:
        """Whether some provider is switched on."""
        return bool(_enabled(self._settings))

    # ---- opening ----

    async def start_wanted(self) -> None:
        """Opens everything if a provider is switched on. Raises errors.SERVICE_UNAVAILABLE; call it again then."""
        if self.pipeline is not None or not self.wanted:
            return
        await self.open_directory()
        async with self._opening:
            if self.pipeline is None:
                await self._open_pipeline()

    async def open_directory(self) -> None:
        """Opens the store, once for all who ask. Raises errors.SERVICE_UNAVAILABLE; call it again then."""
        if self._store is not None:
            return
        async with self._opening:
            await self._open_directory()

    async def _open_directory(self) -> None:
        # Somebody else may have been faster.
        if self._store is None:
            from sockudo.providers import check_credential

            settings, edge = self._settings, self._edge
            rules = self._rules = _endpoint_rules(settings)
            store = push_store(settings)
            removals = Removals(store, edge.clock, lambda app_id: edge.apps.by_id(app_id) is not None)
            await _opened(store, partial(_loaded, store, removals))
            self._store, self._removals = store, removals
            self._removing = asyncio.create_task(removals.run(), name="push-removals")
            self._removing.add_done_callback(_report)
            envelopes = await asyncio.to_thread(push_envelopes, settings)
            check = partial(check_credential, allow_local=settings.push.webpush.allow_local_endpoints)
            edge.push_directory = Directory(store, rules, envelopes, edge.clock, check, removals=removals)
            edge.push_off = push_off(store, edge.clock, rules, self.counters)
            edge.degrading["push_store"] = store.check
            _log.info("push store", storage=settings.push.storage_driver)

    async def _open_pipeline(self) -> None:
        settings, edge = self._settings, self._edge
        store, rules, directory, removals = self._store, self._rules, edge.push_directory, self._removals
        if store is None or rules is None or directory is None or removals is None:
            return
        from sockudo.outbound.exchange import Exchange
        from sockudo.providers import Surroundings, push_providers
        from sockudo.push.pipeline import Pipeline
        from sockudo.push.pipeline.works import Works

        queue = push_queue(settings)
        await _opened(queue, queue.start)
        self._queue = removals.queue = queue
        self._exchange = Exchange(allow_local=settings.push.webpush.allow_local_endpoints)
        around = Surroundings(self._exchange, edge.clock.time, edge.clock.monotonic)
        materials = directory.credentials.material_for
        providers = push_providers(settings.push, rules, materials, self._say, around)
        self._providers = {provider: ForLivingApps(adapter, removals) for provider, adapter in providers.items()}
        webhooks = PushWebhooks(lambda: edge.webhooks, enabled=settings.push.webhooks_enabled)
        probe = _Webhooks(webhooks, ProviderRefusals(edge.gateway.inspector, edge.clock.monotonic))
        works = Works(store, queue, edge.clock, _pipeline_options(settings), self.counters, probe)
        works.tracer = edge.tracer
        self.pipeline = Pipeline(works, self._providers)
        self._readings = QueueReadings(queue, edge.clock)
        edge.push = Push(
            store,
            queue,
            edge.clock,
            self.ready,
            rules,
            _admission_options(settings),
            wake=self.pipeline.wake,
            counters=self.counters,
            webhooks=webhooks,
            tracer=edge.tracer,
            readings=self._readings,
            providers=self._providers,
        )
        self.pipeline.start()
        edge.degrading["push"] = self.pipeline.check
        names = sorted(ROUTE_NAMES[provider] for provider in self._providers)
        _log.info("push", providers=names, queue=settings.push.queue_driver)

    async def ready(self, app_id: str) -> Mapping[Provider, Readiness]:
        """What each provider that is switched on can do for an app, as its credentials are now (D23)."""
        return {provider: await adapter.readiness(app_id) for provider, adapter in self._providers.items()}

    # ---- while it runs ----

    def configure(self, settings: Settings) -> None:
        """Takes over what may change while running."""
        self._settings = settings
        if self.pipeline is not None:
            self.pipeline.configure(_pipeline_options(settings))
        if self._edge.push is not None:
            self._edge.push.options = _admission_options(settings)

    async def measure(self) -> None:
        """Looks how full the queue is, for metrics; takes a moment at most."""
        if self.pipeline is None or self._readings is None:
            return
        try:
            async with asyncio.timeout(1.0):
                self.pipeline.measure(await self._readings.depths())
        except (SockudoError, TimeoutError):
            _log.warning("how full the push queue is cannot be found out")

    async def _say(self, app_id: str, channel: str, payload: Mapping[str, Any]) -> str | None:
        """Publishes a notification on a channel, for subscribers of this server."""
        edge = self._edge
        app = edge.apps.by_id(app_id)
        if app is None:
            raise errors.INVALID_INPUT(f"there is no app {app_id}")
        check_channel_name(channel, max_length=app.limits.max_channel_name_length, namespaces=app.namespaces)
        frame = Frame(EVENT, channel, msgspec.json.encode(payload).decode())
        now = edge.clock.monotonic()
        waits = self._publishing.say(app, edge.gateway.state(app), Message(frame), now=now)
        if waits is not None:
            await committed(waits)
        return frame.message_id

    # ---- closing ----

    async def drain(self, deadline: float) -> None:
        """Lets what is under way end until then, in the loop's time; the rest is given back. Publishes are taken still.

        Calling it twice does no harm.
        """
        if self.pipeline is not None:
            await self.pipeline.close(max(_LEAST_GRACE, deadline - asyncio.get_running_loop().time()))

    async def close(self) -> None:
        """What the queue holds then is sent by the next process, or another one."""
        edge = self._edge
        await self.drain(0.0)
        edge.push = edge.push_off = None
        if self._removing is not None:
            await end_tasks([self._removing])
            self._removals = self._removing = None
        for adapter in self._providers.values():
            await adapter.close()
        if self._exchange is not None:
            await self._exchange.close()
        if edge.push_directory is not None:
            edge.push_directory.close()
            edge.push_directory = None
        if self._queue is not None:
            await self._queue.close()
        if self._store is not None:
            await self._store.close()
        self._providers, self._exchange, self._queue, self._store, self.pipeline = {}, None, None, None, None


class _Webhooks:
    """The pipeline's probe: apps get events at their endpoints, and operators what is set up wrongly."""

    def __init__(self, webhooks: PushWebhooks, refusals: ProviderRefusals) -> None:
        self._webhooks = webhooks
        self._refusals = refusals

    def completed(self, status: PublishStatus) -> None:
        self._webhooks.publish_ended(status)

    def invalidated(self, app_id: str, publish_id: str, provider: Provider, device_id: str) -> None:
        self._webhooks.device_invalidated(app_id, device_id, provider, publish_id)

    def misconfigured(self, app_id: str, publish_id: str, provider: Provider, error: OutcomeError) -> None:
        self._refusals.note(app_id, publish_id, provider, error)


async def _loaded(store: PushStore, removals: Removals) -> None:
    await store.start()
    await removals.load()


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (problem := task.exception()) is not None:
        _log.error("deleting data of removed apps has stopped", exc_info=problem)


async def _opened(thing: PushStore | PushQueue, start: Callable[[], Any]) -> None:
    try:
        await start()
    except BaseException:
        await thing.close()
        raise


def _enabled(settings: Settings) -> frozenset[Provider]:
    push = settings.push
    switches: dict[Provider, bool] = {
        "fcm": push.fcm_enabled,
        "apns": push.apns_enabled,
        "webPush": push.webpush_enabled,
        "hms": push.hms_enabled,
        "wns": push.wns_enabled,
    }
    return frozenset(provider for provider, on in switches.items() if on)


def _endpoint_rules(settings: Settings) -> EndpointRules:
    web = settings.push.webpush
    return EndpointRules(
        is_public, allowed=web.allowed_hosts, denied=web.denied_hosts, allow_local=web.allow_local_endpoints
    )


def push_envelopes(settings: Settings) -> Envelopes:
    """With the configured key, or under ``--dev`` with the one of the data folder. Reads and writes a file then."""
    key = settings.push.credential_encryption_key
    if key is not None or not settings.dev:
        return Envelopes(key)
    if settings.push.storage_driver == "memory":
        # What is encrypted ends with this process, and so may the key.
        return Envelopes(token_urlsafe())
    path = Path(settings.data_dir) / "dev-push-key"
    kept = kept_secret(path, token_urlsafe)
    if kept.problem is not None:
        _log.warning(
            "the key of push credentials could not be kept: after a restart they have to be uploaded again",
            path=str(path),
            reason=kept.problem.strerror,
        )
    return Envelopes(kept.text, earlier=[_EARLIER_DEV_KEY])


def _admission_options(settings: Settings) -> AdmissionOptions:
    push = settings.push
    quotas, pressure = push.quotas, push.backpressure
    ceilings: dict[Provider, int | None] = {
        "fcm": quotas.fcm,
        "apns": quotas.apns,
        "webPush": quotas.webpush,
        "hms": quotas.hms,
        "wns": quotas.wns,
        "realtime": quotas.realtime,
    }
    set_ones = {provider: most for provider, most in ceilings.items() if most is not None}
    return AdmissionOptions(
        providers=_enabled(settings),
        planner_workers=push.planner_worker_count,
        shard_workers=push.shard_worker_count,
        feedback_workers=push.feedback_worker_count,
        dispatch_workers=push.dispatch_worker_count,
        fast_threshold=push.fanout_fast_threshold,
        acceptance_rps=push.default_quotas.acceptance_rps if settings.rate_limiter.enabled else 0,
        quotas=Quotas(fanout_max=push.fanout_max, delivery_daily=push.delivery_quota_daily, ceilings=set_ones),
        pressure=pressure.always,
        publish_log_max_lag=pressure.publish_log_max_lag,
        critical_queue_max_lag=pressure.critical_queue_max_lag,
        lag_threshold_secs=push.backpressure_lag_threshold_secs,
        pressure_retry_after=pressure.retry_after_seconds,
        repairs=push.repair_interval_secs > 0,
    )


def _pipeline_options(settings: Settings) -> PipelineOptions:
    from sockudo.push.pipeline import BreakerOptions, PipelineOptions, RetryOptions

    push, retry, breaker = settings.push, settings.push.retry, settings.push.circuit_breaker
    return PipelineOptions(
        planners=push.planner_worker_count,
        shard_workers=push.shard_worker_count,
        senders=push.dispatch_worker_count,
        feedback_workers=push.feedback_worker_count,
        retry_workers=push.retry_worker_count,
        requests=push.dispatch_max_outbound_requests,
        fast_threshold=push.fanout_fast_threshold,
        shard_size=push.fanout_shard_size,
        repair_interval=push.repair_interval_secs,
        repair_min_age_ms=push.repair_min_age_secs * 1000,
        repair_batch=push.repair_batch_size,
        cleanup_interval=push.cleanup_interval_secs,
        cleanup_batch=push.cleanup_batch_size,
        cleanup_most=push.cleanup_max_deleted_per_tick,
        statuses_kept_ms=push.publish_status_ttl_days * _DAY_MS,
        events_kept_ms=push.analytics_retention_days * _DAY_MS,
        retry=RetryOptions(
            max_attempts=retry.max_attempts,
            initial_backoff_ms=retry.initial_backoff_ms,
            max_backoff_ms=retry.max_backoff_ms,
            max_elapsed_ms=retry.max_elapsed_secs * 1000,
            jitter_percent=retry.jitter_ratio_percent if retry.jitter else 0,
            respect_retry_after=retry.respect_retry_after,
        ),
        breaker=BreakerOptions(
            failure_threshold=breaker.failure_threshold,
            cooldown_ms=breaker.cooldown_secs * 1000,
            half_open_requests=breaker.half_open_max_inflight,
        ),
    )
