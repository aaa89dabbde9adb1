"""What every page of the dashboard looks at and acts on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from sockudo.apps import AppRegistry, Changes
from sockudo.auth.passwords import Credentials
from sockudo.base.clock import Clock
from sockudo.base.components import Component
from sockudo.base.loop_watch import LoopWatch
from sockudo.config import Settings
from sockudo.dashboard.attempts import Attempts
from sockudo.dashboard.readings import NodeReader
from sockudo.dashboard.samples import Samples
from sockudo.dashboard.sessions import Sessions
from sockudo.edge.event_stream import OpenStreams, Source
from sockudo.edge.health import HealthChecks
from sockudo.edge.tails import Tails
from sockudo.history import History, PresenceHistory
from sockudo.hub.view import HubView
from sockudo.limits.ip import IpLimits
from sockudo.metrics import Metrics
from sockudo.publishing import EventApi
from sockudo.push.services import PushServices
from sockudo.sessions import Gateway
from sockudo.webhooks.service import Webhooks

__all__ = ["Board"]


@dataclass(slots=True)
class Board:
    """The running server as the dashboard sees it. ``started_at`` is in Unix seconds.

    ``apply_changes`` gives changed apps to the running server. ``loop`` is what watches its event loop. ``metrics`` and
    ``listeners``, as (for what, where), are the server's to fill in.
    """

    apps: AppRegistry
    gateway: Gateway
    view: HubView
    clock: Clock
    events: EventApi
    limits: IpLimits
    health: HealthChecks
    history: Component[History]
    presence_history: Component[PresenceHistory]
    webhooks: Component[Webhooks]
    push: PushServices
    tails: Tails
    apply_changes: Callable[[Changes], None]
    loop: LoopWatch = field(default_factory=LoopWatch)
    metrics: Metrics | None = None
    listeners: list[tuple[str, str]] = field(default_factory=list)
    attempts: Attempts = field(default_factory=Attempts)
    streams: OpenStreams[Source] = field(default_factory=OpenStreams)
    credentials: Credentials = field(init=False)
    sessions: Sessions = field(init=False)
    # Of the last hour.
    samples: Samples = field(init=False)
    started_at: float = field(init=False)
    _preparing: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        clock = self.clock
        self.credentials = Credentials(lambda: self.settings, clock.monotonic)
        self.sessions = Sessions(clock.monotonic)
        reader = NodeReader(self.gateway, self.view, self.limits, self.webhooks, self.loop)
        self.samples = Samples(reader.read, clock)
        self.started_at = clock.time()

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.gateway.settings

    def listens(self, what: str, host: str, port: int | None = None, *, tls: bool = False) -> None:
        """Notes a listener; without a ``port``, ``host`` says all."""
        scheme, name = "https" if tls else "http", f"[{host}]" if ":" in host else host
        self.listeners.append((what, host if port is None else f"{scheme}://{name}:{port}"))

    def prepare_pages(self, prepare: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        """Begins, once, what pages take long for at their first visit; not before the first visitor."""
        if self._preparing is None:
            self._preparing = asyncio.create_task(prepare())
        return self._preparing

    async def close(self) -> None:
        """Ends all sessions and event streams, when the server stops; returns when the streams have ended."""
        if self._preparing is not None:
            self._preparing.cancel()
        self.sessions.close_all()
        await self.streams.close()
