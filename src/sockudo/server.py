"""The server: which parts there are, how they are wired, and in which order they start and stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from functools import partial
from pathlib import Path

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from sockudo import errors
from sockudo.apps import AppRegistry, Changes, Defaults
from sockudo.auth.revocations import Revocations
from sockudo.claiming import Claims, places
from sockudo.clock import Clock, SystemClock
from sockudo.config import Settings
from sockudo.config.app_choice import aliases
from sockudo.config.app_reader import origin_warnings
from sockudo.config.apps import App
from sockudo.dashboard.board import Board
from sockudo.edge.admin import admin_app, is_dashboard
from sockudo.edge.api import api_routes
from sockudo.edge.context import Edge
from sockudo.edge.cors import Cors
from sockudo.edge.direct import DirectSends
from sockudo.edge.drain import end_requests, end_sessions
from sockudo.edge.front import Front
from sockudo.edge.held_replies import HeldReplies
from sockudo.edge.history import history_routes
from sockudo.edge.http_protocol import HttpProtocol
from sockudo.edge.inspector import inspector_routes
from sockudo.edge.listeners import (
    Listener,
    ListenError,
    TcpListener,
    UnixListener,
    asgi_config,
    load_certificate,
    redirect_app,
    serve_app,
    tls_context,
)
from sockudo.edge.message_versions import message_version_routes
from sockudo.edge.operations import operations_routes
from sockudo.edge.presence_history import presence_history_routes
from sockudo.edge.push.routes import push_routes
from sockudo.edge.reach import Reach
from sockudo.edge.revocations import revocation_routes
from sockudo.edge.ring import open_ring
from sockudo.edge.traced import TracedFront, trace_calls
from sockudo.edge.webhooks import webhook_routes
from sockudo.histories import Histories
from sockudo.hub import Hub
from sockudo.inspector import Inspector
from sockudo.limits.app_rates import AppRates
from sockudo.limits.idempotency import IdempotencyKeys
from sockudo.limits.ip import IpLimits
from sockudo.loop_watch import LoopWatch
from sockudo.metrics import HistorySources, Metrics
from sockudo.occupants import Occupant
from sockudo.protocol.delta import DeltaNode
from sockudo.publishing import Publisher
from sockudo.publishing.pipeline import Pipeline
from sockudo.push.counters import PushCounters
from sockudo.push.refused import note_refused
from sockudo.push.rules import EventRules
from sockudo.pushing import Pushing
from sockudo.server_options import delta_options, hub_options, publish_options
from sockudo.sessions import Gateway
from sockudo.sessions.sweeper import sweep
from sockudo.sessions.tokens import revoke
from sockudo.stores.selection import app_store
from sockudo.stores.sqlite_revocations import SqliteRevocationStore
from sockudo.tasks import end_tasks
from sockudo.telling import Telling
from sockudo.tracing import Tracing, start_tracing
from sockudo.webhooks import Webhooks

__all__ = ["Server"]

# Seconds for traces that are not sent yet: also when the grace period is over, and not all of it for nothing.
_LEAST_FLUSH = 1.0
_LONGEST_FLUSH = 5.0

_log = structlog.get_logger("sockudo.server")


class Server:
    """One node. `start` returns when it listens; `stop` returns when everything is closed.

    ``port`` and ``metrics_port`` are the ports really listened on, also when 0 was configured.
    """

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.first_app: App | None = None
        # Known only when it was made just now.
        self.dashboard_password: str | None = None
        self.dashboard: ASGIApp | None = None
        self._operators = Reach.of_operators(settings)
        self.port = settings.port
        self.metrics_port: int | None = None
        self._tracing: Tracing | None = None
        self._stack = contextlib.AsyncExitStack()
        self._listeners: list[Listener] = []
        self._tls: ssl.SSLContext | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def serves_dashboard(self) -> bool:
        """Whether a listener that is open has the dashboard."""
        dashboard = self.settings.dashboard
        return dashboard.enabled and (self.metrics_port is not None or dashboard.public)

    # ---- start ----

    async def start(self) -> None:
        """Starts phase by phase; a phase that fails undoes the ones before it and raises.

        Raises `ListenError` for a listener that cannot be opened and ``errors.SockudoError`` for an app store that
        cannot be used and for a folder or a database that another server uses.
        """
        try:
            await self._claim_places()
            self._build()
            await self._open_apps()
            await self._open_histories()
            await self._open_webhooks()
            await self._open_push()
            # Opened after push, so that it is closed before.
            self._stack.push_async_callback(self.event_rules.close)
            self._open_bulk_writer()
            await self._open_listeners()
            await self._open_metrics()
            await self._open_dashboard()
            self._start_rounds()
        except BaseException:
            await self._close()
            raise

    async def _claim_places(self) -> None:
        wanted = places(self.settings, Occupant.current(self.clock.time()))
        self._claims = Claims(wanted, shared=self.settings.instance.shared_stores)
        self._stack.push_async_callback(self._claims.close)
        await self._claims.start()

    def _build(self) -> None:
        settings = self.settings
        loop = asyncio.get_running_loop()
        deltas = DeltaNode(delta_options(settings), self.clock.time)
        inspector = Inspector(self.clock.time)
        self.hub = Hub(loop.call_soon, self.clock.monotonic, hub_options(settings), deltas, inspector)
        self.apps = AppRegistry(
            app_store(settings, serving=True),
            Defaults.from_settings(settings),
            aliases=aliases(settings.apps, dev=settings.dev),
        )
        self.rates = AppRates()
        self.keys = IdempotencyKeys(max_key_length=settings.idempotency.max_key_length)
        self.revocations = Revocations(SqliteRevocationStore(settings.data_dir))
        self.pipeline = pipeline = Pipeline(self.hub, self.keys, self.clock, None)
        self.gateway = Gateway(self.hub, self.apps, self.clock, settings, loop.call_soon, pipeline, self.revocations)
        self.publisher = Publisher(pipeline, self.keys, self.rates, self.clock)
        self.publisher.options = publish_options(settings)
        front: Front | TracedFront | None = None

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            if settings.dashboard.public and self.dashboard is not None and is_dashboard(scope["raw_path"]):
                await self.dashboard(scope, receive, send)
            elif front is not None:
                await front(scope, receive, send)

        self.edge = Edge(
            gateway=self.gateway,
            publisher=self.publisher,
            apps=self.apps,
            rates=self.rates,
            clock=self.clock,
            settings=settings,
            limits=IpLimits(settings.rate_limiter),
            cors=Cors(settings),
            reach=Reach.of_clients(settings),
            uvicorn=asgi_config(application),
            replies=HeldReplies(loop.call_soon),
        )
        self.publisher.pushes = self.event_rules = EventRules(
            lambda: self.edge.push, settings.push_rules, self.clock, partial(note_refused, self.gateway.inspector)
        )
        self._stack.push_async_callback(self.edge.tails.close)
        front = Front(
            self.edge,
            [
                *api_routes(self.edge),
                *history_routes(self.edge),
                *presence_history_routes(self.edge),
                *message_version_routes(self.edge),
                *webhook_routes(self.edge),
                *push_routes(self.edge),
                *inspector_routes(self.edge),
                *revocation_routes(self.edge, self.revocations, partial(revoke, self.gateway)),
                *operations_routes(self.edge),
            ],
        )
        self._tracing = start_tracing(os.environ, settings.instance.process_id)
        if self._tracing is not None:
            front = trace_calls(self.edge, front, self._tracing.tracer)
        self.watch = LoopWatch(waiting=self.hub.connection_count)
        self.board = Board.of(self.edge, self.apply_changes, self.watch)
        if settings.dashboard.enabled:
            # Its pages take a while to import, which servers without it should not pay for.
            from sockudo.dashboard.app import dashboard_app

            self.dashboard = dashboard_app(self.board)
        self.histories = Histories(self.edge, pipeline, self.hub, settings)
        self.telling = Telling(self.edge, self.hub, settings)
        self.pushing = Pushing(self.edge, pipeline, settings)
        self.edge.checks["apps"] = self._apps_healthy
        self.metrics = self.board.metrics = Metrics(
            self.hub,
            refused=self.gateway.refused,
            limits=lambda: self.edge.limits if self.edge.limits.enabled else None,
            loop=self.watch,
            prefix=settings.metrics.prometheus.prefix,
            port=settings.metrics.port,
            histories=HistorySources(lambda: self.edge.history, lambda: self.edge.presence_history),
            webhooks=self._webhooks,
            push=self._pushed,
            refused_requests=self.gateway.refused_requests,
            descriptors_missing=lambda: self.edge.descriptors.exhausted,
        )

    def _webhooks(self) -> tuple[Webhooks, str] | None:
        webhooks = self.edge.webhooks
        return None if webhooks is None else (webhooks, self.settings.queue.driver)

    def _pushed(self) -> PushCounters | None:
        return None if self.pushing.pipeline is None else self.pushing.counters

    async def _apps_healthy(self) -> bool:
        if self.apps.problem is not None:
            raise errors.SERVICE_UNAVAILABLE(self.apps.problem)
        return self.apps.healthy

    async def _open_apps(self) -> None:
        self._stack.push_async_callback(self.apps.stop)
        await self.apps.start(self.settings.apps)
        if not self.settings.apps:
            self.first_app = await self.apps.ensure_first_app()
        for app in self.apps.all():
            self.gateway.state(app)
            _log.info("app", app_id=app.id, enabled=app.enabled)
            # Of configured ones the configuration has said it already.
            for warning in () if app.id in self.apps.configured else origin_warnings(app.record):
                _log.warning("app", app_id=app.id, warning=warning)

    async def _open_histories(self) -> None:
        await self.revocations.start(self.clock.time())
        self._stack.push_async_callback(self.histories.close)
        await self.histories.start_wanted()

    async def _open_webhooks(self) -> None:
        self._stack.push_async_callback(self.telling.close)
        await self.telling.start_wanted()

    async def _open_push(self) -> None:
        """Without its database there is no push for now, which is no reason not to serve."""
        self._stack.push_async_callback(self.pushing.close)
        await self._start_push()

    async def _start_push(self) -> None:
        try:
            await self.pushing.start_wanted()
        except errors.SockudoError as problem:
            _log.error("no push", reason=problem.text)

    async def _open_dashboard(self) -> None:
        """A password is shown once: none is made for a dashboard that cannot be reached. Until then no login passes."""
        if self.serves_dashboard:
            self.dashboard_password = await self.board.credentials.prepare()

    def _open_bulk_writer(self) -> None:
        """With TLS each connection has bytes of its own."""
        if self.settings.ssl.enabled:
            return
        ring = open_ring() if self.settings.websocket.io_uring else None
        if ring is None:
            self.hub.bulk = DirectSends()
            return
        self._stack.callback(ring.close)
        self.hub.bulk = ring

    async def _open_listeners(self) -> None:
        settings = self.settings
        self.edge.tell_time()
        if settings.unix_socket.enabled:
            path, mode = Path(settings.unix_socket.path), int(settings.unix_socket.permission_mode, 8)
            self._own(await UnixListener.open(path, mode, partial(HttpProtocol, self.edge, unix=True)))
            self.board.listens("Clients and HTTP API", f"unix:{path}")
            _log.info("listening", path=str(path))
            return
        self._tls = tls_context(settings)
        protocol = partial(HttpProtocol, self.edge, secure=self._tls is not None)
        main = await TcpListener.open(settings.host, settings.port, protocol, self._tls)
        self._own(main)
        self.port = main.port
        self.board.listens("Clients and HTTP API", settings.host, main.port, tls=self._tls is not None)
        _log.info("listening", host=settings.host, port=main.port, tls=self._tls is not None)
        if self._tls is not None and settings.ssl.redirect_http:
            redirect = await serve_app(settings.host, settings.ssl.http_port, redirect_app(lambda: self.port))
            self._own(redirect)
            self.board.listens("Redirect to https", settings.host, redirect.port)
            _log.info("redirecting to https", host=settings.host, port=redirect.port)

    async def _open_metrics(self) -> None:
        """A metrics port that is taken is no reason not to serve (contract 70 § 1.7)."""
        metrics, dashboard = self.settings.metrics, self.settings.dashboard
        if not (metrics.enabled or dashboard.enabled):
            return
        app = admin_app(self._scrape if metrics.enabled else None, self.dashboard, lambda: self._operators)
        try:
            listener = await serve_app(metrics.host, metrics.port, app)
        except ListenError as problem:
            missing = [name for name, on in (("metrics", metrics.enabled), ("dashboard", dashboard.enabled)) if on]
            from sockudo.doctor.machine import who_has  # takes a while, and is only needed here

            known = who_has(problem.taken, "--metrics-port or METRICS_PORT")
            _log.warning(" and ".join(f"no {name}" for name in missing), reason=str(problem), **known)
            return
        self._own(listener)
        self.metrics_port = self.metrics.port = listener.port
        self.board.listens("Metrics and dashboard", metrics.host, listener.port)
        _log.info("metrics", host=metrics.host, port=listener.port)

    async def _scrape(self) -> bytes:
        await self.histories.refresh_totals()
        await self.pushing.measure()
        return self.metrics.render()

    def _own(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def _start_rounds(self) -> None:
        rounds = (
            sweep(self.gateway),
            self._sweep_edge(),
            self.apps.watch(1.0, self.apply_changes),
            self.watch.run(),
            self._claims.watch(),
            *((self.board.samples.run(),) if self.settings.dashboard.enabled else ()),
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
            try:
                await self.histories.start_wanted()
            except errors.SockudoError as problem:
                # An app that was changed while the server runs: its publishes are refused until the store is there.
                _log.error("no history", reason=problem.text)
            try:
                await self.telling.start_wanted()
            except errors.SockudoError as problem:
                _log.error("no webhooks", reason=problem.text)
            await self._start_push()

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
        """Takes over ``settings``, which differ only in what may change while running; a refusal changes nothing.

        The certificate is read again, also when its path stays. Raises `ListenError` for one that cannot be used, and
        ``errors.SockudoError`` for apps that cannot.
        """
        if self._tls is not None:
            load_certificate(self._tls, settings)
        changes = await self.apps.replace_inline(settings.apps, Defaults.from_settings(settings))
        self.settings = self.gateway.settings = self.edge.settings = settings
        self.edge.limits.replace(settings.rate_limiter)
        self.edge.cors = Cors(settings)
        self.edge.reach, self._operators = Reach.of_clients(settings), Reach.of_operators(settings)
        self.edge.tell_time()
        self.keys.max_key_length = settings.idempotency.max_key_length
        self.hub.options = hub_options(settings)
        self.publisher.options = publish_options(settings)
        self.histories.configure(settings)
        self.pushing.configure(settings)
        self.event_rules.configure(settings.push_rules)
        for state in self.hub.apps.values():
            state.cache.ttl = settings.channel_limits.cache_ttl
        if changes:
            self.apply_changes(changes)

    # ---- stop ----

    async def stop(self) -> None:
        """Drains, in the order of contract 70 § 7.4, within the grace period; then closes everything."""
        deadline = await end_sessions(self.edge, self.settings.shutdown_grace_period)
        # Its event streams would keep their connections open.
        await self.board.close()
        self._close_listeners()
        await end_requests(self.edge, deadline)
        await self.pushing.drain(deadline)
        await self._close(deadline)
        _log.info("stopped")

    def _close_listeners(self) -> None:
        while self._listeners:
            self._listeners.pop().close()

    async def _close(self, deadline: float = 0.0) -> None:
        self._close_listeners()
        await end_tasks(self._tasks)
        await self._stack.aclose()
        if self._tracing is not None:
            # Last, since what was closed before has left spans.
            left = deadline - asyncio.get_running_loop().time()
            await self._tracing.close(min(max(left, _LEAST_FLUSH), _LONGEST_FLUSH))


def _report(task: asyncio.Task[None]) -> None:
    """A round that ends by itself is a defect that must not stay unseen."""
    if not task.cancelled() and (problem := task.exception()) is not None:
        _log.error("a background round failed", round=task.get_coro().__qualname__, exc_info=problem)  # type: ignore[union-attr]  # coroutines have names
