"""What every page of the dashboard looks at and acts on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from sockudo.apps import Changes
from sockudo.dashboard.attempts import Attempts
from sockudo.dashboard.passwords import Credentials
from sockudo.dashboard.readings import NodeReader
from sockudo.dashboard.samples import Samples
from sockudo.dashboard.sessions import Sessions
from sockudo.dashboard.streams import Told
from sockudo.edge.context import Edge
from sockudo.edge.event_stream import OpenStreams
from sockudo.loop_watch import LoopWatch
from sockudo.metrics import Metrics

__all__ = ["Board"]


@dataclass(slots=True)
class Board:
    """The running server as the dashboard sees it. ``started_at`` is in Unix seconds.

    ``edge`` leads to the apps, the gateway and its hub, the histories, the webhooks, the settings and the clock.
    ``apply_changes`` gives changed apps to the running server. ``samples`` are the last hour. ``metrics`` and
    ``listeners``, as (for what, where), are the server's to fill in.
    """

    edge: Edge
    apply_changes: Callable[[Changes], None]
    credentials: Credentials
    sessions: Sessions
    samples: Samples
    started_at: float
    metrics: Metrics | None = None
    listeners: list[tuple[str, str]] = field(default_factory=list)
    attempts: Attempts = field(default_factory=Attempts)
    streams: OpenStreams[Told] = field(default_factory=OpenStreams)
    _preparing: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, edge: Edge, apply_changes: Callable[[Changes], None], loop: LoopWatch | None = None) -> Board:
        """The board of a server that is being built; ``loop`` is what watches its event loop."""
        clock = edge.clock
        credentials = Credentials(lambda: edge.settings, clock.monotonic)
        samples = Samples(NodeReader(edge, loop or LoopWatch()).read, clock)
        return cls(edge, apply_changes, credentials, Sessions(clock.monotonic), samples, clock.time())

    def listens(self, what: str, host: str, port: int | None = None, *, tls: bool = False) -> None:
        """Notes a listener; without a ``port``, ``host`` says all."""
        scheme, name = "https" if tls else "http", f"[{host}]" if ":" in host else host
        self.listeners.append((what, host if port is None else f"{scheme}://{name}:{port}"))

    def prepare_pages(self) -> asyncio.Task[None]:
        """Begins, once, what pages take long for at their first visit; not before somebody comes to look at them."""
        if self._preparing is None:
            # There are no templates where the dashboard is off.
            from sockudo.dashboard.replies import prepare_templates

            self._preparing = asyncio.create_task(prepare_templates())
        return self._preparing

    async def close(self) -> None:
        """Ends all sessions and event streams, when the server stops; returns when the streams have ended."""
        if self._preparing is not None:
            self._preparing.cancel()
        self.sessions.close_all()
        await self.streams.close()
