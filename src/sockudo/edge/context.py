"""What every part of the edge shares."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import partial
from typing import Protocol

from uvicorn.config import Config
from uvicorn.server import ServerState

from sockudo.apps.registry import AppRegistry
from sockudo.base.clock import Clock
from sockudo.base.spans import Tracer
from sockudo.base.windows import KeyedWindows
from sockudo.config import Settings
from sockudo.edge.cors import Cors
from sockudo.edge.descriptors import DescriptorWatch
from sockudo.edge.held_replies import HeldReplies
from sockudo.edge.lane import Lane
from sockudo.edge.reach import Reach
from sockudo.edge.refusal_log import RefusalLog
from sockudo.edge.replies import PLAIN_OK, Reply, render
from sockudo.edge.unfinished import UnfinishedBodies
from sockudo.limits.app_rates import AppRates
from sockudo.limits.ip import IpLimits
from sockudo.publishing import EventApi
from sockudo.sessions import Gateway

__all__ = ["AnswerPublish", "Edge"]

AnswerPublish = Callable[..., Reply | asyncio.Future[bytes]]
"""Takes and gives what `sockudo.edge.publishing.publish_reply` does."""


# Looking for one takes up to a quarter of a millisecond.
_EXPLAINED_PER_SECOND = 50


class Closing(Protocol):
    """A connection that was sent a close frame."""

    def cut_if_overdue(self, now: float) -> None:
        """Ends it when its peer has not answered in time."""
        ...

    @property
    def transport(self) -> asyncio.Transport: ...


@dataclass(slots=True)
class Edge:
    """What HTTP connections and routes share, and the connections that belong to no session any more.

    ``settings``, ``limits``, ``cors`` and ``reach`` are replaced when the configuration is reloaded.
    """

    gateway: Gateway
    events: EventApi
    apps: AppRegistry
    rates: AppRates
    clock: Clock
    settings: Settings
    limits: IpLimits
    cors: Cors
    reach: Reach
    uvicorn: Config
    replies: HeldReplies
    # How a publish on the express lane is answered; where something is traced, it leaves spans.
    answer: AnswerPublish
    tracer: Tracer | None = None
    # What is answered without the web framework.
    lane: Lane = field(default_factory=Lane)
    state: ServerState = field(default_factory=ServerState)
    # Connections that were sent a close frame and have not answered it; a dict for its order.
    closing: dict[Closing, None] = field(default_factory=dict)
    # Headers of every reply, as bytes for the express lane; they change with the second.
    common_head: bytes = b""
    # The whole reply to a publish that asked for nothing; None while it depends on the request.
    plain_ok: bytes | None = None
    # Log lines of refusals, and of descriptors that are missing.
    refusal_log: RefusalLog = field(default_factory=RefusalLog)
    descriptors: DescriptorWatch = field(default_factory=DescriptorWatch)
    # Request bodies that have not arrived whole.
    bodies: UnfinishedBodies = field(init=False)
    _explained: KeyedWindows = field(default_factory=partial(KeyedWindows, 1))

    def __post_init__(self) -> None:
        self.bodies = UnfinishedBodies(self.settings.http_api.unfinished_bodies_in_mb << 20)

    def may_explain(self) -> bool:
        """Whether the likely cause of one more refused authentication may be looked for: of some a second, in all."""
        window = self._explained.window("", self.clock.monotonic())
        window.count += 1
        return window.count <= _EXPLAINED_PER_SECOND

    def tell_time(self) -> None:
        """Renews the Date header of all replies; called once a second."""
        date = formatdate(self.clock.time(), usegmt=True).encode()
        self.state.default_headers = [(b"date", date)]
        self.common_head = b"date: %b\r\n" % date
        cors = self.cors.constant
        plain = cors is not None and not self.limits.counts_requests
        self.plain_ok = render(PLAIN_OK._replace(headers=cors or ()), self.common_head) if plain else None

    def sweep(self, now: float) -> None:
        """Once a second: cuts connections that do not finish closing, closes idle HTTP connections, and looks about."""
        self.refusal_log.sweep(now)
        self.descriptors.look(now)
        for connection in list(self.closing):
            connection.cut_if_overdue(now)
        for protocol in list(self.state.connections):
            protocol.close_if_idle(now)  # type: ignore[union-attr]  # ours are all HttpProtocol
