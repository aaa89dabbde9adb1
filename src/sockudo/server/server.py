"""The server: a node's services with their listeners, and in which order all of it starts and stops."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import structlog
from starlette.types import ASGIApp

from sockudo.apps import AppRegistry
from sockudo.base.clock import Clock, SystemClock
from sockudo.base.loop_watch import LoopWatch
from sockudo.base.spans import Tracer
from sockudo.base.tasks import end_tasks, start_tasks
from sockudo.cluster.carrier import Carrier
from sockudo.cluster.in_process import Network
from sockudo.config import Settings
from sockudo.config.apps import App
from sockudo.dashboard.answers import answer_operators
from sockudo.dashboard.board import Board
from sockudo.drivers.carriers import configured_carrier
from sockudo.edge.admin import admin_app, is_dashboard
from sockudo.edge.api import api_routes
from sockudo.edge.client_files import client_routes
from sockudo.edge.context import Edge
from sockudo.edge.cors import Cors
from sockudo.edge.direct import DirectSends
from sockudo.edge.drain import end_requests, end_sessions, until_members_returned
from sockudo.edge.front import Front, MainApp
from sockudo.edge.held_replies import HeldReplies
from sockudo.edge.history import history_routes
from sockudo.edge.http_protocol import HttpProtocol
from sockudo.edge.inspector import inspector_routes
from sockudo.edge.lane import Lane
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
from sockudo.edge.publishing import publish_reply
from sockudo.edge.reach import Reach
from sockudo.edge.revocations import revocation_routes
from sockudo.edge.ring import open_ring
from sockudo.edge.traced import TracedFront, traced_publish_reply
from sockudo.history import History
from sockudo.limits.ip import IpLimits
from sockudo.monitoring import HealthChecks, HistorySources, Metrics, Tails, history_measures
from sockudo.monitoring.workers import join_metrics
from sockudo.server.listening import warn_of_no_metrics
from sockudo.server.services import Services
from sockudo.server.this_node import RunningNode, joined_claims, joined_measures, usable_carrier
from sockudo.server.worker import WorkerPlace
from sockudo.sessions.orders import end_tokens
from sockudo.sessions.sweeper import sweep
from sockudo.storage.claims import Claims, places
from sockudo.storage.occupants import Occupant
from sockudo.tracing import Tracing, start_tracing

__all__ = ["Server"]

# Seconds for traces that are not sent yet: also when the grace period is over, and not all of it for nothing.
_LEAST_FLUSH = 1.0
_LONGEST_FLUSH = 5.0
_SETTLING_SECONDS = 1.0

_log = structlog.get_logger("sockudo.server")


class Server:
    """One node. `start` returns when it listens; `stop` returns when everything is closed.

    ``port`` and ``metrics_port`` are the ports really listened on, also when 0 was configured.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        network: Network | None = None,
        carrier: Carrier | None = None,
        worker: WorkerPlace | None = None,
    ) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self._network = network
        self.worker = worker
        self._carrier = carrier or configured_carrier(settings) or (None if worker is None else worker.carrier())
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
        self._render_metrics: Callable[[], Awaitable[bytes]] = self._scrape
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
            self._carrier = await usable_carrier(self.settings, self._carrier, self.worker)
            await self._claim_places()
            self._build()
            self._joined = joined_claims(self.services, self._carrier)
            self._stack.push_async_callback(self._joined.close)
            self._stack.push_async_callback(self.services.close)
            await self._joined.check()
            await self.services.open()
            await self._joined.start()
            self._open_bulk_writer()
            await self._open_listeners()
            await self._open_metrics()
            await self._open_dashboard()
            self._start_rounds()
        except BaseException:
            await self._close()
            raise

    async def _claim_places(self) -> None:
        # Of a worker the folder is its supervisor's, and in databases it is a joined node.
        here, alone = Occupant.current(self.clock.time()), self._carrier is None
        wanted = () if self.worker is not None else places(self.settings, here, databases=alone)
        self._claims = Claims(wanted, shared=self.settings.instance.shared_stores)
        self._stack.push_async_callback(self._claims.close)
        await self._claims.start()

    def _build(self) -> None:
        settings = self.settings
        self._tracing = start_tracing(os.environ, settings.instance.process_id)
        tracer = None if self._tracing is None else self._tracing.tracer
        self.services = services = Services(settings, self.clock, tracer, self._network, self._carrier, self.worker)
        self.tails = Tails(services.gateway.inspector, lambda: services.gateway.draining, services.elsewhere)
        self._stack.push_async_callback(self.tails.close)
        self.health = self._health_checks()
        self._build_edge(tracer)
        self._build_operators()

    def _build_edge(self, tracer: Tracer | None) -> None:
        settings, services = self.settings, self.services
        self._main = main = MainApp()
        self.edge = edge = Edge(
            gateway=services.gateway,
            events=services.events,
            apps=services.apps,
            rates=services.rates,
            clock=self.clock,
            settings=settings,
            limits=IpLimits(settings.rate_limiter, services.counters),
            cors=Cors(settings),
            reach=Reach.of_clients(settings),
            uvicorn=asgi_config(main),
            replies=HeldReplies(asyncio.get_running_loop().call_soon),
            tracer=tracer,
            answer=publish_reply if tracer is None else partial(traced_publish_reply, tracer),
        )
        self.node = RunningNode(services, edge, is_worker=self.worker is not None)
        self._stack.push_async_callback(self.node.close)
        messages, presence = services.histories.messages, services.histories.presence
        routes = [
            *api_routes(edge, services.bus, services.directory),
            *history_routes(edge, messages),
            *presence_history_routes(edge, presence),
            *message_version_routes(edge, messages),
            *inspector_routes(edge, self.tails, self.node.nodes),
            *revocation_routes(edge, services.revocations, partial(end_tokens, services.bus)),
            *operations_routes(edge, self.health, services.view, messages, presence),
            *client_routes(),
            *(route for wing in services.wings for route in wing.routes(edge)),
        ]
        edge.lane = Lane({path: entry for wing in services.wings for path, entry in wing.lane(edge).items()})
        front = Front(edge, routes)
        main.front = front if tracer is None else TracedFront(edge, front, tracer)

    def _health_checks(self) -> HealthChecks:
        services, draining = self.services, lambda: self.services.gateway.draining
        seconds, grace = (lambda: self.settings.health_check_timeout_ms / 1000), lambda: self.settings.cluster.up_grace
        health = HealthChecks(services.apps, draining, seconds, grace)
        health.add("apps", services.apps.check)
        health.add("nodes", services.readiness.check, active=lambda: services.bus.networked, public=True, at_once=True)
        for name, store in services.stores.items():
            # All else goes on without it, so it is no reason to send clients elsewhere.
            health.add(name, store.check, degrading=True)
        messages = services.histories.messages
        health.add_component("history", messages, History.check, degrading=False)
        health.add_component("history_writes", messages, lambda history: history.taking.check())
        for wing in services.wings:
            wing.add_checks(health)
        return health

    def _build_operators(self) -> None:
        settings, services = self.settings, self.services
        self.watch = LoopWatch(waiting=services.hub.connection_count)
        self.board = Board(
            apps=services.apps,
            gateway=services.gateway,
            view=services.view,
            clock=self.clock,
            events=services.events,
            limits=self.edge.limits,
            health=self.health,
            history=services.histories.messages,
            presence_history=services.histories.presence,
            tails=self.tails,
            apply_changes=services.apply_edits,
            areas=[wing.area() for wing in services.wings] if settings.dashboard.enabled else (),
            loop=self.watch,
            nodes=self.node.nodes,
            readiness=services.readiness,
        )
        self.node.board = self.board
        answer_operators(services.router, services.gateway, services.view, self.clock)
        if settings.dashboard.enabled:
            # Its pages take a while to import, which servers without it should not pay for.
            from sockudo.dashboard.app import dashboard_app

            self.dashboard = dashboard_app(self.board)
            if settings.dashboard.public:
                self._main.add_pages(is_dashboard, self.dashboard)
        if settings.dev:
            from sockudo.dashboard.start import is_start_page, start_page  # as the dashboard is

            self._main.add_pages(is_start_page, start_page(self.board))
        messages, presence = services.histories.messages, services.histories.presence
        self.metrics = self.board.metrics = Metrics(
            services.view,
            refused=services.gateway.refused,
            limits=lambda: self.edge.limits if self.edge.limits.enabled else None,
            loop=self.watch,
            prefix=settings.metrics.prometheus.prefix,
            port=settings.metrics.port,
            sources=(
                partial(history_measures, HistorySources(lambda: messages.if_open, lambda: presence.if_open)),
                *(wing.measures for wing in services.wings),
                *joined_measures(services),
            ),
            refused_requests=services.gateway.refused_requests,
            descriptors_missing=lambda: self.edge.descriptors.exhausted,
        )
        if self.worker is not None:
            self._render_metrics = join_metrics(services.router, services.bus, self.worker.label, self._scrape)

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
            self.services.hub.bulk = DirectSends()
            return
        self._stack.callback(ring.close)
        self.services.hub.bulk = ring

    async def _open_listeners(self) -> None:
        settings = self.settings
        self.edge.tell_time()
        if settings.unix_socket.enabled:
            path, mode = Path(settings.unix_socket.path), int(settings.unix_socket.permission_mode, 8)
            protocol = partial(HttpProtocol, self.edge, unix=True)
            self._own(await UnixListener.open(path, mode, protocol, self._given("unix")))
            self.board.listens("Clients and HTTP API", f"unix:{path}")
            _log.info("listening", path=str(path))
            return
        self._tls = tls_context(settings)
        protocol = partial(HttpProtocol, self.edge, secure=self._tls is not None)
        main = await TcpListener.open(settings.host, settings.port, protocol, self._tls, self._given("main"))
        self._own(main)
        self.port = main.port
        self.board.listens("Clients and HTTP API", settings.host, main.port, tls=self._tls is not None)
        _log.info("listening", host=settings.host, port=main.port, tls=self._tls is not None)
        if self._tls is not None and settings.ssl.redirect_http:
            app = redirect_app(lambda: self.port)
            redirect = await serve_app(settings.host, settings.ssl.http_port, app, self._given("redirect"))
            self._own(redirect)
            self.board.listens("Redirect to https", settings.host, redirect.port)
            _log.info("redirecting to https", host=settings.host, port=redirect.port)

    async def _open_metrics(self) -> None:
        """A metrics port that is taken is no reason not to serve (spec: platform § 1.7)."""
        metrics, dashboard = self.settings.metrics, self.settings.dashboard
        given = self._given("metrics")
        if not (metrics.enabled or dashboard.enabled) or given == ():
            return
        app = admin_app(self._render_metrics if metrics.enabled else None, self.dashboard, lambda: self._operators)
        try:
            listener = await serve_app(metrics.host, metrics.port, app, given)
        except ListenError as problem:
            warn_of_no_metrics(self.settings, problem)
            return
        self._own(listener)
        self.metrics_port = self.metrics.port = listener.port
        self.board.listens("Metrics and dashboard", metrics.host, listener.port)
        _log.info("metrics", host=metrics.host, port=listener.port)

    async def _scrape(self) -> bytes:
        await self.services.histories.refresh_totals()
        for wing in self.services.wings:
            await wing.refresh()
        return self.metrics.render()

    @property
    def apps(self) -> AppRegistry:
        """Every app that is served."""
        return self.services.apps

    @property
    def first_app(self) -> App | None:
        """The app that was made at the start because there was none."""
        return self.services.first_app

    def _given(self, name: str) -> Sequence[socket.socket] | None:
        """The sockets that a worker got for a listener; None for a server that opens its own."""
        return None if self.worker is None else self.worker.sockets.get(name, ())

    def _own(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def _start_rounds(self) -> None:
        rounds = (
            sweep(self.services.gateway),
            self._sweep_edge(),
            *self.services.watches(),
            self.watch.run(),
            self._claims.watch(),
            self._joined.watch(),
            *((self.board.samples.run(),) if self.settings.dashboard.enabled else ()),
        )
        self._tasks = start_tasks(*rounds)

    async def _sweep_edge(self) -> None:
        while True:
            await asyncio.sleep(1)
            self.edge.tell_time()
            self.edge.sweep(self.clock.monotonic())

    # ---- while it runs ----

    async def reload(self, settings: Settings) -> None:
        """Takes over ``settings``, which differ only in what may change while running; a refusal changes nothing.

        The certificate is read again, also when its path stays. Raises `ListenError` for one that cannot be used, and
        ``errors.SockudoError`` for apps that cannot.
        """
        if self._tls is not None:
            load_certificate(self._tls, settings)
        await self.services.reload(settings)
        self.settings = self.edge.settings = settings
        self.edge.limits.replace(settings.rate_limiter)
        self.edge.cors = Cors(settings)
        self.edge.reach, self._operators = Reach.of_clients(settings), Reach.of_operators(settings)
        self.edge.tell_time()

    # ---- stop ----

    async def leave(self) -> None:
        """Stops where others go on: clients that come from now on are theirs, and those here go over time."""
        self._close_listeners()
        # Connections that were just accepted are served first: refused, their clients would take this for a failure.
        await asyncio.sleep(_SETTLING_SECONDS)
        await self.stop(self.settings.drain_window)

    async def stop(self, window: float | None = None) -> None:
        """Drains, in the order of spec: platform § 7.4, within the grace period; then closes everything."""
        await self.node.close()
        deadline = await end_sessions(self.edge, self.settings.shutdown_grace_period, window)
        # Its event streams would keep their connections open.
        await self.board.close()
        self._close_listeners()
        await end_requests(self.edge, deadline)
        await until_members_returned(self.services.hub, deadline)
        await self.services.push.drain(deadline)
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
