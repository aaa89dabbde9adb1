"""A connection of a side listener (metrics, dashboard, redirect): bounded in number, size and time.

Operators look here when something is wrong, so one address can neither use up the connections nor keep one for longer
than a request may take: what is half sent is cut, and makes room for others first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from uvicorn.config import Config
from uvicorn.server import ServerState

from sockudo import errors
from sockudo.edge.http_connection import HttpConnection
from sockudo.edge.http_head import MAX_TARGET, has_path, target_too_long

__all__ = ["MOST_CONNECTIONS", "MOST_PER_ADDRESS", "AppConnection", "WhileOpen"]


class WhileOpen:
    """The transport as a request under way sees it: what is written once it closes is dropped.

    The loop reports a lost connection a turn after it has closed the transport. A write in between would raise, from
    the depths of the request and into the log, as if the server had made a mistake.
    """

    __slots__ = ("_transport",)

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()


MOST_CONNECTIONS: Final = 512
MOST_PER_ADDRESS: Final = 128

_REQUEST_SECONDS: Final = 30.0
_LINGER_SECONDS: Final = 5.0


class AppConnection(HttpConnection):
    """One connection; its requests can cut it off, see `sockudo.monitoring.event_stream`."""

    __slots__ = ("_overdue",)

    def __init__(self, config: Config, state: ServerState) -> None:
        super().__init__(config, state)
        self._overdue: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self.app_state = {"abort": transport.abort}
        self._end_within(_REQUEST_SECONDS)
        if self._is_one_too_many():
            transport.abort()

    def _is_one_too_many(self) -> bool:
        """Whether there is no room for this one; beyond the bound, the oldest half-sent request makes room."""
        others = [other for other in self.connections if isinstance(other, AppConnection) and other is not self]
        mine = None if self.client is None else self.client[0]
        if sum(other.client is not None and other.client[0] == mine for other in others) >= MOST_PER_ADDRESS:
            return True
        if len(others) < MOST_CONNECTIONS:
            return False
        waited_for = [(timer.when(), other) for other in others if (timer := other._overdue) is not None]
        if not waited_for:
            return True
        min(waited_for, key=lambda pair: pair[0])[1].transport.abort()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._has_arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._take(data)

    def _begin(self) -> None:
        super()._begin()
        self._end_within(_REQUEST_SECONDS)

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MAX_TARGET:
            self._stop(target_too_long())

    def on_headers_complete(self) -> None:
        self._in_head = False
        if not has_path(self.url):
            self._stop(errors.MALFORMED_REQUEST("The request target is neither a path nor a URL with a path"))
        if not self.parser.should_upgrade():
            super().on_headers_complete()
            self.cycle.transport = WhileOpen(self.transport)  # type: ignore[assignment]  # all that a cycle uses of it
        elif not any(name == b"upgrade" for name, _ in self.headers):
            self._stop(errors.METHOD_NOT_ALLOWED("CONNECT is not served"))

    def on_message_complete(self) -> None:
        self._has_arrived()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        answered_early = self._arriving and not self._in_head and self._free
        if answered_early and not self._over and not self.transport.is_closing():
            # It was answered before its body had come, which nothing is going to read.
            self._end_our_side()

    def _end_our_side(self) -> None:
        super()._end_our_side()
        self._end_within(_LINGER_SECONDS)

    def _end_within(self, seconds: float) -> None:
        self._has_arrived()
        abort: Callable[[], None] = self.transport.abort
        self._overdue = self.loop.call_later(seconds, abort)

    def _has_arrived(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None
