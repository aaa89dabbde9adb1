"""The server: which parts there are, how they are wired, and in which order they start and stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
from collections.abc import Callable
from functools import partial

import structlog

from sockudo import errors
from sockudo.apps import AppRegistry, AppStore, Changes, Defaults
from sockudo.clock import Clock, SystemClock
from sockudo.config import Settings
from sockudo.config.apps import App
from sockudo.edge.admin import admin_app
from sockudo.edge.api import api_routes
from sockudo.edge.context import Edge
from sockudo.edge.cors import Cors
from sockudo.edge.front import Front
from sockudo.edge.http_protocol import HttpProtocol
from sockudo.edge.listeners import (
    ListenError,
    asgi_config,
    bind_tcp,
    bind_unix,
    redirect_app,
    serve_app,
    tls_context,
)
from sockudo.edge.operations import operations_routes
from sockudo.hub import Hub, HubOptions
from sockudo.limits.app_rates import AppRates
from sockudo.limits.idempotency import IdempotencyKeys
from sockudo.limits.ip import IpLimits
from sockudo.loop_watch import LoopWatch
from sockudo.metrics import Metrics
from sockudo.publishing import Publisher
from sockudo.sessions import Gateway
from sockudo.sessions.sweeper import sweep
from sockudo.stores import MemoryAppStore, SqliteAppStore

__all__ = ["Server"]

_log = structlog.get_logger("sockudo.server")

# A full collection over many connections stalls the loop; nearly everything is freed by reference counts.
_GC_THRESHOLDS = (100_000, 50, 100)


class Server:
    """One node. `start` returns when it listens; `stop` returns when everything is closed.

    ``port`` and ``metrics_port`` are the ports really listened on, also when 0 was configured.
    """

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.first_app: App | None = None
        self.port = settings.port
        self.metrics_port: int | None = None
        self._stack = contextlib.AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []

    # ---- start ----

    async def start(self) -> None:
        """Starts phase by phase; a phase that fails undoes the ones before it and raises.

        Raises `ListenError` for a listener that cannot be opened and ``errors.SockudoError`` for an app store that
        cannot be used.
        """
        try:
            raise_descriptor_limit()
            self._build()
            await self._open_apps()
            await self._open_listeners()
            await self._open_metrics()
            self._start_rounds()
        except BaseException:
            await self._stack.aclose()
            raise
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)

    def _build(self) -> None:
        settings = self.settings
        loop = asyncio.get_running_loop()
        options = HubOptions(
            cache_ttl=settings.channel_limits.cache_ttl,
            cache_capacity=settings.cache.memory.max_capacity,
            presence_grace=settings.presence.ungraceful_timeout_seconds,
        )
        self.hub = Hub(loop.call_soon, self.clock.monotonic, options)
        self.apps = AppRegistry(_app_store(settings), defaults(settings))
        self.gateway = Gateway(self.hub, self.apps, self.clock, settings, loop.call_soon)
        self.rates = AppRates()
        self.keys = IdempotencyKeys(max_key_length=settings.idempotency.max_key_length)
        publisher = Publisher(self.hub, self.keys, self.rates)
        front: Front | None = None

        async def application(scope: object, receive: object, send: object) -> None:
            if front is not None:
                await front(scope, receive, send)  # type: ignore[arg-type]  # passed through as they come

        self.edge = Edge(
            gateway=self.gateway,
            publisher=publisher,
            apps=self.apps,
            rates=self.rates,
            clock=self.clock,
            settings=settings,
            limits=IpLimits(settings.rate_limiter),
            cors=Cors(settings),
            uvicorn=asgi_config(application),  # type: ignore[arg-type]  # an ASGI application
        )
        front = Front(self.edge, [*api_routes(self.edge), *operations_routes(self.edge)])
        self.edge.checks["apps"] = self._apps_healthy
        self.watch = LoopWatch(self.clock)
        self.metrics = Metrics(
            self.hub,
            refused=self.gateway.refused,
            limits=lambda: self.edge.limits if self.edge.limits.enabled else None,
            loop=self.watch,
            prefix=settings.metrics.prometheus.prefix,
            port=settings.metrics.port,
        )

    async def _apps_healthy(self) -> bool:
        return self.apps.healthy

    async def _open_apps(self) -> None:
        self._stack.push_async_callback(self.apps.stop)
        await self.apps.start(self.settings.apps)
        if not self.settings.apps:
            self.first_app = await self.apps.ensure_first_app()
        for app in self.apps.all():
            self.gateway.state(app)

    async def _open_listeners(self) -> None:
        settings = self.settings
        self.edge.tell_time()
        if settings.unix_socket.enabled:
            self._own(await bind_unix(settings, partial(HttpProtocol, self.edge, unix=True)))
            return
        tls = tls_context(settings)
        protocol = partial(HttpProtocol, self.edge, secure=tls is not None)
        server = await bind_tcp(settings.host, settings.port, protocol, tls)
        self._own(server)
        self.port = server.sockets[0].getsockname()[1]
        if tls is not None and settings.ssl.redirect_http:
            redirect = redirect_app(lambda: self.port)
            self._own(await serve_app(settings.host, settings.ssl.http_port, redirect))

    async def _open_metrics(self) -> None:
        """A metrics port that is taken is no reason not to serve (contract 70 § 1.7)."""
        metrics = self.settings.metrics
        if not metrics.enabled:
            return
        try:
            server = await serve_app(metrics.host, metrics.port, admin_app(lambda: self.metrics.render()))
        except ListenError as problem:
            _log.warning("no metrics", reason=str(problem))
            return
        self._own(server)
        port: int = server.sockets[0].getsockname()[1]
        self.metrics_port = self.metrics.port = port

    def _own(self, server: asyncio.Server) -> None:
        self._stack.callback(server.close)

    def _start_rounds(self) -> None:
        rounds = (
            sweep(self.gateway),
            self._sweep_edge(),
            self.apps.watch(1.0, self.apply_changes),
            self.watch.run(),
        )
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(work) for work in rounds]
        for task in self._tasks:
            task.add_done_callback(_report)

    async def _sweep_edge(self) -> None:
        while True:
            await asyncio.sleep(1)
            self.edge.tell_time()
            self.edge.sweep(self.clock.monotonic())

    # ---- while it runs ----

    def apply_changes(self, changes: Changes) -> None:
        """Gives open sessions the changed apps; those of a disabled or removed app end."""
        for app_id in changes.removed:
            self.gateway.remove_app(app_id)
        for app_id in (*changes.added, *changes.updated, *changes.disabled):
            app = self.apps.by_id(app_id)
            if app is not None:
                self.gateway.apply_app(app)
        _log.info(
            "apps changed",
            added=changes.added,
            updated=changes.updated,
            disabled=changes.disabled,
            removed=changes.removed,
        )

    async def reload(self, settings: Settings) -> None:
        """Takes over a changed configuration, as far as it can change while running."""
        self.settings = self.gateway.settings = self.edge.settings = settings
        self.edge.limits.replace(settings.rate_limiter)
        self.keys.max_key_length = settings.idempotency.max_key_length
        self.edge.cors = Cors(settings)
        self.edge.tell_time()
        changes = await self.apps.replace_inline(settings.apps)
        if changes:
            self.apply_changes(changes)

    # ---- stop ----

    async def stop(self) -> None:
        """Drains (contract 70 § 7.4): upgrades get 503, every session 4200; HTTP is served until the sessions are gone."""
        self.gateway.draining = True
        grace = self.settings.shutdown_grace_period
        sessions = [session for session in self.gateway.sessions() if not session.ended]
        _log.info("draining", connections=len(sessions), grace_period=grace)
        deadline = self.clock.monotonic() + grace
        await self._end_sessions(sessions)
        while self.edge.closing and self.clock.monotonic() < deadline:
            await asyncio.sleep(0.05)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in list(self.edge.closing):
            connection.transport.abort()
        for protocol in list(self.edge.state.connections):
            protocol.shutdown()
        await self._stack.aclose()
        _log.info("stopped")

    async def _end_sessions(self, sessions: list[object]) -> None:
        """Spreads the goodbyes, so that the clients of a large node do not all come back in the same moment."""
        from sockudo.sessions import Session

        spread = min(self.settings.shutdown_grace_period / 2, len(sessions) / 1000)
        started = self.clock.monotonic()
        for place, session in enumerate(sessions):
            if place % 50 == 0 and place:
                due = started + spread * place / len(sessions)
                await asyncio.sleep(max(0.0, due - self.clock.monotonic()))
            if isinstance(session, Session):
                session.end(errors.SERVER_SHUTDOWN())


def defaults(settings: Settings) -> Defaults:
    """The global limits, which hold for every app that sets none of its own."""
    return Defaults(
        max_channel_name_length=settings.channel_limits.max_name_length,
        max_event_name_length=settings.event_limits.max_name_length,
        max_channels_at_once=settings.event_limits.max_channels_at_once,
        max_event_payload_kb=settings.event_limits.max_payload_in_kb,
        max_batch_size=settings.event_limits.max_batch_size,
        max_presence_members=settings.presence.max_members_per_channel,
        max_presence_member_kb=settings.presence.max_member_size_in_kb,
        idempotency_enabled=settings.idempotency.enabled,
        idempotency_ttl=settings.idempotency.ttl_seconds,
    )


def _app_store(settings: Settings) -> AppStore:
    stores: dict[str, Callable[[], AppStore]] = {
        "memory": MemoryAppStore,
        "sqlite": lambda: SqliteAppStore(settings.data_dir),
    }
    return stores[settings.app_manager.driver]()


def raise_descriptor_limit() -> None:
    """Every connection needs a descriptor: takes all that the system grants, and says how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    _log.info("descriptor limit", connections=hard, before=soft)


def _report(task: asyncio.Task[None]) -> None:
    """A round that ends by itself is a defect that must not stay unseen."""
    if not task.cancelled() and (problem := task.exception()) is not None:
        _log.error("a background round failed", round=task.get_coro().__qualname__, exc_info=problem)  # type: ignore[union-attr]  # coroutines have names
