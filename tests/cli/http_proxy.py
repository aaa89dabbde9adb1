"""An HTTP proxy in front of a server, well or badly configured, in threads beside a test."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Self

__all__ = ["HttpProxy", "Ways"]

_PIECE = 65_536
_HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True)
class Ways:
    """What the proxy does. It names itself in ``Server``, as nginx does.

    ``upgrades``: Upgrade and Connection are passed on. ``forwards``: the client's address is added to X-Forwarded-For;
    else the header passes as it is. ``largest`` bytes of a body are taken. ``idle`` seconds of silence end a
    connection. ``date`` is its own Date, in place of the server's.
    """

    upgrades: bool = True
    forwards: bool = True
    largest: int = 1_000_000
    idle: float = 60.0
    date: str | None = None


class HttpProxy:
    """For ``with``; clients connect to ``url``. One request per connection, or one upgrade."""

    def __init__(self, port: int, ways: Ways = Ways()) -> None:
        self._target = ("127.0.0.1", port)
        self._ways = ways
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while not self._stopping.is_set():
                client, address = self._listener.accept()
                threading.Thread(target=self._serve, args=(client, address[0]), daemon=True).start()

    def _serve(self, client: socket.socket, address: str) -> None:
        with client, contextlib.suppress(OSError):
            head, rest = _head(client)
            if head is None:
                return
            lines = head.split(b"\r\n")
            headers = [tuple(line.split(b": ", 1)) for line in lines[1:]]
            length = next((int(value) for name, value in headers if name.lower() == b"content-length"), 0)
            if length > self._ways.largest:
                client.sendall(b"HTTP/1.1 413 Too Large\r\nServer: nginx\r\nContent-Length: 3\r\n\r\nno!")
                return
            upgrade = any(name.lower() == b"upgrade" for name, _ in headers)
            kept = self._rewritten(headers, address, upgrade=upgrade)  # type: ignore[arg-type]  # split into two
            with socket.create_connection(self._target) as server:
                server.sendall(b"\r\n".join([lines[0], *kept]) + _HEAD_END + rest)
                self._answer(client, server)
                self._pass(client, server)

    def _rewritten(self, headers: list[tuple[bytes, bytes]], address: str, *, upgrade: bool) -> list[bytes]:
        passed = upgrade and self._ways.upgrades
        dropped = {b"x-forwarded-for"} if self._ways.forwards else set()
        if not passed:
            dropped |= {b"upgrade", b"connection"}
        kept = [b"%b: %b" % each for each in headers if each[0].lower() not in dropped]
        if not passed:
            kept.append(b"Connection: close")
        if self._ways.forwards:
            before = [value for name, value in headers if name.lower() == b"x-forwarded-for"]
            kept.append(b"X-Forwarded-For: " + b", ".join([*before, address.encode()]))
        return kept

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        head, rest = _head(server)
        if head is None:
            return
        lines = head.split(b"\r\n")
        if self._ways.date is not None:
            lines = [line for line in lines if not line.lower().startswith(b"date:")]
            lines.append(b"Date: " + self._ways.date.encode())
        client.sendall(b"\r\n".join([*lines, b"Server: nginx"]) + _HEAD_END + rest)

    def _pass(self, client: socket.socket, server: socket.socket) -> None:
        while not self._stopping.is_set():
            readable, _, _ = select.select([client, server], [], [], self._ways.idle)
            if not readable:
                return
            for source in readable:
                data = source.recv(_PIECE)
                if not data:
                    return
                (server if source is client else client).sendall(data)


def _head(source: socket.socket) -> tuple[bytes | None, bytes]:
    """The request or status line with the headers, and what came behind them."""
    data = b""
    while _HEAD_END not in data:
        piece = source.recv(_PIECE)
        if not piece:
            return None, b""
        data += piece
    head, _, rest = data.partition(_HEAD_END)
    return head, rest
