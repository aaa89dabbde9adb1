"""What every page of the dashboard looks at and acts on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
from starlette.routing import Route

from sockudo.apps import AppRegistry, Changes
from sockudo.auth.passwords import Credentials
from sockudo.base.clock import Clock
from sockudo.base.components import Component
from sockudo.base.loop_watch import LoopWatch
from sockudo.cluster.nodes import Nodes
from sockudo.cluster.readiness import Readiness
from sockudo.config import Settings
from sockudo.dashboard.attempts import Attempts
from sockudo.dashboard.plots import Figures
from sockudo.dashboard.samples import NodeReader, Samples
from sockudo.dashboard.sessions import Sessions
from sockudo.history import History, PresenceHistory
from sockudo.hub.view import HubView
from sockudo.limits.ip import IpLimits
from sockudo.monitoring import Metrics
from sockudo.monitoring.event_stream import OpenStreams, Source
from sockudo.monitoring.health import HealthChecks
from sockudo.monitoring.tails import Tails
from sockudo.publishing import EventApi
from sockudo.sessions import Gateway

__all__ = ["Area", "Board", "Concern", "Removal"]

Removal = Callable[[], Awaitable[None]]
"""Notes that what an app keeps is to be deleted; it is done in the background."""


class Concern(msgspec.Struct):
    """One thing, and the path of the page with details. ``bad`` means that something is refused or lost."""

    level: Literal["bad", "warn"]
    text: str
    link: str | None = None

    @property
    def page(self) -> str:
        """What that page is called."""
        return (self.link or "").rpartition("/")[2].capitalize()


def _no_concerns() -> Iterable[Concern]:
    return ()


async def _nothing_kept(_: str) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Area:
    """One part of the dashboard: ``title`` and ``path`` stand in the menu, its templates in the folder ``templates``.

    ``concerns`` and ``figures`` are shown on the overview, ``app_tabs`` on the page of an app, as titles by the part of
    the path that is behind the app's. ``removing`` is called with the id of an app that is to be
    removed, and gives what has to be done then, None where nothing is kept of it; a store that cannot be reached does
    not keep an app from being removed.
    """

    title: str
    path: str
    templates: Path
    routes: Callable[[Board], Sequence[Route]]
    concerns: Callable[[], Iterable[Concern]] = _no_concerns
    figures: Figures | None = None
    app_tabs: Mapping[str, str] = field(default_factory=dict)
    removing: Callable[[str], Awaitable[Removal | None]] = _nothing_kept


@dataclass(slots=True)
class Board:
    """The running server as the dashboard sees it. ``started_at`` is in Unix seconds.

    ``apply_changes`` gives changed apps to the running server. ``areas`` are those of wings. ``loop`` is what watches
    its event loop. ``metrics`` and ``listeners``, as (for what, where), are the server's to fill in.
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
    tails: Tails
    apply_changes: Callable[[Changes], None]
    nodes: Nodes
    readiness: Readiness
    areas: Sequence[Area] = ()
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
        figures = self.figures
        reader = NodeReader(self.gateway, self.view, self.limits, figures, self.loop)
        self.samples = Samples(reader.read, clock, [name for each in figures for name in each.series])
        self.started_at = clock.time()

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.gateway.settings

    @property
    def figures(self) -> tuple[Figures, ...]:
        """The numbers of wings."""
        return tuple(area.figures for area in self.areas if area.figures is not None)

    @property
    def templates(self) -> tuple[Path, ...]:
        """The folders of the templates of wings."""
        return tuple(area.templates for area in self.areas)

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
