"""What every page of the dashboard looks at and acts on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from sockudo.apps import Changes
from sockudo.dashboard.attempts import Attempts
from sockudo.dashboard.passwords import Credentials
from sockudo.dashboard.sessions import Sessions
from sockudo.edge.context import Edge

__all__ = ["Board"]


@dataclass(slots=True)
class Board:
    """The running server as the dashboard sees it. ``started_at`` is in Unix seconds.

    ``edge`` leads to the apps, the gateway and its hub, the histories, the webhooks, the settings and the clock.
    ``apply_changes`` gives changed apps to the running server.
    """

    edge: Edge
    apply_changes: Callable[[Changes], None]
    credentials: Credentials
    sessions: Sessions
    started_at: float
    attempts: Attempts = field(default_factory=Attempts)
    # Event streams that are open; each ends soon after `closing` is set.
    streams: int = 0
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def of(cls, edge: Edge, apply_changes: Callable[[Changes], None]) -> Board:
        """The board of a server that is being built."""
        clock = edge.clock
        credentials = Credentials(lambda: edge.settings, clock.monotonic)
        return cls(edge, apply_changes, credentials, Sessions(clock.monotonic), clock.time())

    def close(self) -> None:
        """Ends all sessions and event streams: the server stops."""
        self.closing.set()
        self.sessions.close_all()
