"""A server whose clock stands still until a test moves it: what takes a minute is tested in a moment."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from blackbox.api import Api
from sockudo.testing import FakeClock, serve
from support.server import DEFAULT_APP, app_record
from support.signing import Credentials
from support.tokens import TOKEN_APP
from support.websocket import WebSocket

__all__ = ["TimedServer"]

_APPS = {"app_manager": {"array": {"apps": [app_record(DEFAULT_APP), app_record(TOKEN_APP)]}}}


class TimedServer:
    """For ``with``: a whole server with its sockets, in a thread of this process, with the apps of other test servers.

    ``config`` is laid over a configuration with every feature on. Connections are closed with the server.
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self.clock = FakeClock()
        self._server = serve({**_APPS, **(config or {})}, clock=self.clock)
        self._opened = ExitStack()

    @property
    def host(self) -> str:
        return self._server.host

    @property
    def port(self) -> int:
        return self._server.port

    def __enter__(self) -> Self:
        self._opened.enter_context(self._server)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def connect(self, *, protocol: int = 2, **fields: Any) -> WebSocket:
        """A connection that has been greeted, on protocol V2 unless the test says otherwise."""
        return self._opened.enter_context(WebSocket(self, protocol=protocol, **fields)).greeting()

    def advance(self, seconds: float) -> None:
        """Lets time pass, and the server do what is due by then."""
        self._server.advance(seconds)

    def publish(self, channel: str, event: str, data: str, *, app: Credentials = DEFAULT_APP, **fields: Any) -> None:
        """Publishes one event and insists that it was accepted."""
        body = {"name": event, "channel": channel, "data": data, **fields}
        answer = Api(self, app=app).post("events", body, timestamp=int(self.clock.time()))
        assert answer.status == 200, answer
