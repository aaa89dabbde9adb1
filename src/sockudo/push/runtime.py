"""Push on a server: its store is opened for the first caller, all the rest once a provider is switched on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import structlog
from msgspec.structs import replace

from sockudo import errors
from sockudo.apps.registry import AppRegistry
from sockudo.base.clock import Clock
from sockudo.base.components import Component
from sockudo.base.private_files import kept_secret
from sockudo.base.spans import Tracer
from sockudo.base.tasks import end_tasks, start_tasks
from sockudo.config import Settings
from sockudo.config.sections.push import Push as PushSettings
from sockudo.errors import SockudoError
from sockudo.inspector import Inspector
from sockudo.jobs.ports import JobQueue
from sockudo.push.admission import QueueReadings, enabled_providers
from sockudo.push.credentials import CredentialCheck
from sockudo.push.delivery import Materials, PublishOnChannel, PushProvider, Readiness
from sockudo.push.directory import Directory
from sockudo.push.endpoints import EndpointRules
from sockudo.push.observers import AppWebhooks, ProviderRefusals, PushObservers, PushWebhooks
from sockudo.push.ports import PushStore
from sockudo.push.recipients import ROUTE_NAMES, Provider
from sockudo.push.removals import ForLivingApps, Removals
from sockudo.push.secrecy import Envelopes
from sockudo.push.service import Push
from sockudo.push.services import PushServices, Storage, push_off
from sockudo.push.telemetry import PushCounters

# The sending side takes a while to import, and most servers send no notifications: it is imported where it is used.
if TYPE_CHECKING:
    from sockudo.push.pipeline import Pipeline

__all__ = ["Providers", "PublishOnChannel", "PushDrivers", "PushRuntime", "push_envelopes"]

_EARLIER_DEV_KEY: Final = "dashboard"
"""What every development server sealed credentials with before each folder had a key: they stay readable."""

_LEAST_GRACE: Final = 0.5

_log = structlog.get_logger("sockudo.server")


class Providers(NamedTuple):
    """The providers that are switched on, and what ends the connections that they share."""

    adapters: Mapping[Provider, PushProvider]
    close: Callable[[], Awaitable[None]]


class PushDrivers(Protocol):
    """What the configuration chooses: none of it is opened by being made."""

    def store(self, settings: Settings) -> PushStore: ...

    def exists(self, settings: Settings) -> bool:
        """Whether there may be something in the store."""
        ...

    def queue(self, settings: Settings) -> JobQueue: ...

    def is_public(self, address: str) -> bool:
        """Whether requests may go to an IP address, independent of the configuration."""
        ...

    def credential_check(self, settings: Settings) -> CredentialCheck: ...

    def providers(
        self, settings: Settings, rules: EndpointRules, materials: Materials, publish: PublishOnChannel, clock: Clock
    ) -> Providers:
        """``materials`` finds stored credentials, ``publish`` is how channels of this server are reached."""
        ...


class _Sending(NamedTuple):
    """What an open `Push` stands on."""

    push: Push
    pipeline: Pipeline
    readings: QueueReadings
    providers: Providers


class PushRuntime(PushServices):
    """Opens the parts of push, drains them and closes them in order."""

    def __init__(
        self,
        apps: AppRegistry,
        clock: Clock,
        settings: Settings,
        drivers: PushDrivers,
        publish: PublishOnChannel,
        webhooks: Callable[[], AppWebhooks | None],
        inspector: Inspector,
        tracer: Tracer | None = None,
    ) -> None:
        self.counters = PushCounters()
        self._apps = apps
        self._clock = clock
        self._settings = settings
        self._drivers = drivers
        self._publish = publish
        self._webhooks = webhooks
        self._inspector = inspector
        self._tracer = tracer
        self._removing: list[asyncio.Task[None]] = []
        self._queue: Component[JobQueue] = Component("push queue", self._open_queue, _close_queue, _disabled)
        self.delivery: Component[_Sending] = Component("push", self._open_delivery, self._close_delivery, _disabled)
        super().__init__(
            Component("push store", self._open_storage, self._close_storage, _storage_closed),
            lambda: None if (sending := self.delivery.if_open) is None else sending.push,
            lambda: drivers.exists(self._settings),
        )

    @property
    def needed(self) -> bool:
        """Whether some provider is switched on."""
        return bool(enabled_providers(self._settings.push))

    @property
    def pipeline(self) -> Pipeline | None:
        """What sends, for health checks and metrics."""
        sending = self.delivery.if_open
        return None if sending is None else sending.pipeline

    # ---- opening ----

    async def _open_storage(self) -> Storage:
        settings = self._settings
        rules = _endpoint_rules(settings, self._drivers.is_public)
        store = self._drivers.store(settings)
        removals = Removals(store, self._queue, self._clock, lambda app_id: self._apps.by_id(app_id) is not None)
        await _opened(store, partial(_loaded, store, removals))
        self._removing = start_tasks(removals.run())
        envelopes = await asyncio.to_thread(push_envelopes, settings)
        check = self._drivers.credential_check(settings)
        directory = Directory(store, rules, envelopes, self._clock, check, removals=removals)
        _log.info("push store", storage=settings.push.storage_driver)
        return Storage(store, rules, directory, removals, push_off(store, self._clock, rules, self.counters))

    async def _open_queue(self) -> JobQueue:
        queue = self._drivers.queue(self._settings)
        await _opened(queue, queue.start)
        return queue

    async def _open_delivery(self) -> _Sending:
        settings, clock = self._settings, self._clock
        storage = await self.storage.open()
        from sockudo.push.pipeline import Pipeline
        from sockudo.push.pipeline.works import Works

        queue = await self._queue.open()
        materials = storage.directory.credentials.material_for
        made = self._drivers.providers(settings, storage.rules, materials, self._publish, clock)
        adapters = {provider: ForLivingApps(each, storage.removals) for provider, each in made.adapters.items()}
        webhooks = PushWebhooks(self._webhooks, enabled=settings.push.webhooks_enabled)
        probe = PushObservers(webhooks, ProviderRefusals(self._inspector, clock.monotonic))
        works = Works(storage.store, queue, clock, settings.push, self.counters, probe)
        works.tracer = self._tracer
        pipeline = Pipeline(works, adapters)
        readings = QueueReadings(queue, clock)

        async def ready(app_id: str) -> Mapping[Provider, Readiness]:
            """What each provider that is switched on can do for an app, with its credentials as they are now (D23)."""
            return {provider: await adapter.readiness(app_id) for provider, adapter in adapters.items()}

        push = Push(
            storage.store,
            queue,
            clock,
            ready,
            storage.rules,
            _as_limited(settings),
            wake=pipeline.wake,
            counters=self.counters,
            webhooks=webhooks,
            tracer=self._tracer,
            readings=readings,
            providers=adapters,
        )
        pipeline.start()
        names = sorted(ROUTE_NAMES[provider] for provider in adapters)
        _log.info("push", providers=names, queue=settings.push.queue_driver)
        return _Sending(push, pipeline, readings, Providers(adapters, made.close))

    # ---- while it runs ----

    def configure(self, settings: Settings) -> None:
        """Takes over what may change while running."""
        self._settings = settings
        if (sending := self.delivery.if_open) is not None:
            sending.pipeline.configure(settings.push)
            sending.push.options = _as_limited(settings)

    async def measure(self) -> None:
        """Reads the depths of the queue, for metrics; takes a second at most."""
        sending = self.delivery.if_open
        if sending is None:
            return
        try:
            async with asyncio.timeout(1.0):
                sending.pipeline.measure(await sending.readings.depths())
        except (SockudoError, TimeoutError):
            _log.warning("the depths of the push queue cannot be read")

    # ---- closing ----

    async def drain(self, deadline: float) -> None:
        """Lets sends that are under way end until then, in the loop's time, and releases the rest; publishes are still
        taken. A second call does no harm.
        """
        if (sending := self.delivery.if_open) is not None:
            await sending.pipeline.close(max(_LEAST_GRACE, deadline - asyncio.get_running_loop().time()))

    async def close(self) -> None:
        """What the queue holds then is sent by the next process, or another one."""
        await self.drain(0.0)
        await self.delivery.close()
        await self._queue.close()
        await self.storage.close()

    async def _close_delivery(self, sending: _Sending) -> None:
        for adapter in sending.providers.adapters.values():
            await adapter.close()
        await sending.providers.close()

    async def _close_storage(self, storage: Storage) -> None:
        await end_tasks(self._removing)
        storage.directory.close()
        await storage.store.close()


async def _close_queue(queue: JobQueue) -> None:
    await queue.close()


def _disabled() -> SockudoError:
    return errors.PUSH_DISABLED("push admission unavailable: push providers are disabled")


def _storage_closed() -> SockudoError:
    return errors.SERVICE_UNAVAILABLE("The push store is not open yet", retry_after=1)


async def _loaded(store: PushStore, removals: Removals) -> None:
    await store.start()
    await removals.load()


async def _opened(thing: PushStore | JobQueue, start: Callable[[], Awaitable[None]]) -> None:
    try:
        await start()
    except BaseException:
        await thing.close()
        raise


def _endpoint_rules(settings: Settings, is_public: Callable[[str], bool]) -> EndpointRules:
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


def _as_limited(settings: Settings) -> PushSettings:
    """Without a rate while no rates are limited."""
    push = settings.push
    if settings.rate_limiter.enabled:
        return push
    return replace(push, default_quotas=replace(push.default_quotas, acceptance_rps=0))
