"""HTTP servers beside a test, in threads: what servers under test, pages and commands ask of others."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from support.server import Reply

__all__ = ["Asked", "HttpServer", "file_reply"]


class Asked(NamedTuple):
    """A request. Header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class HttpServer:
    """For ``with``: replies with what ``answer`` makes of each request; any other method than ``methods`` is a 501.

    With ``tls`` it speaks that, as localhost. A reply gets its Content-Length, and no other header by itself.
    """

    def __init__(
        self,
        answer: Callable[[Asked], Reply],
        *,
        methods: Sequence[str] = ("GET", "POST"),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        handler = type("Handler", (_Handler,), {f"do_{method}": _Handler.reply for method in methods})
        handler.answer = staticmethod(answer)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.port: int = self._server.server_address[1]
        self.origin = f"http://127.0.0.1:{self.port}"
        if tls is not None:
            # A peer that ends in the middle of its handshake ends its own thread only.
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
            self.origin = f"https://localhost:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    answer: Callable[[Asked], Reply]

    def reply(self) -> None:
        due = int(self.headers.get("Content-Length", "0"))
        body = self.rfile.read(due)
        if len(body) < due:
            # The process that was sending has ended meanwhile.
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.answer(Asked(self.command, self.path, headers, body))
        self.send_response_only(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def file_reply(files: Mapping[str, Path], asked: Asked) -> Reply:
    """The script or page that is at this path, as a web server of an application sends it."""
    found = files.get(asked.path.partition("?")[0])
    if found is None:
        return Reply(404, {}, b"")
    return Reply(200, {"Content-Type": "text/javascript" if found.suffix == ".js" else "text/html"}, found.read_bytes())
