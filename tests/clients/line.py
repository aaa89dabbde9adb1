"""The line between clients and a server, which a test can cut."""

from __future__ import annotations

from sockudo.testing.loop_thread import LoopThread
from sockudo.testing.proxy import FaultProxy
from support.dev_server import DevServer
from support.server import ServerProcess

__all__ = ["Line"]


class Line:
    """The line between the clients and a server, which can be cut."""

    def __init__(self, loop: LoopThread, server: ServerProcess | DevServer) -> None:
        self.loop = loop
        self.host, self.app = "127.0.0.1", server.app
        self.proxy = FaultProxy(server.url)
        loop.run(self.proxy.__aenter__())
        self.port = self.proxy.port

    def cut(self) -> None:
        """Resets every connection."""
        self.loop.call(self.proxy.cut)

    def close(self) -> None:
        self.loop.run(self.proxy.__aexit__(None, None, None))
