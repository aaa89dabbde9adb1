"""A companion: three webhook endpoints, one that answers at once, one that answers after five seconds, one that is dead."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Callable

import uvloop

from benchmarks.operators.sockets import until_asked_to_end

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *([0-9]+)")


class Receiver(asyncio.Protocol):
    """Answers each request ``delay`` seconds after it has come, and calls ``count`` with the events in it."""

    def __init__(self, delay: float, count: Callable[[int], None]) -> None:
        self._delay, self._count = delay, count
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # of a TCP connection

    def data_received(self, data: bytes) -> None:
        self._held += data
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            found = _LENGTH.search(self._held[:end])
            size = end + 4 + (int(found[1]) if found else 0)
            if len(self._held) < size:
                return
            body, self._held = self._held[end + 4 : size], self._held[size:]
            self._count(body.count(b'"name":'))
            asyncio.get_running_loop().call_later(self._delay, self._answer)

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(_ANSWER)


async def main() -> None:
    loop = asyncio.get_running_loop()
    counts = {"prompt": 0, "slow": 0}
    ports = {}
    for name, delay in (("prompt", 0.0), ("slow", 5.0)):

        def count(events: int, name: str = name) -> None:
            counts[name] += events

        server = await loop.create_server(lambda delay=delay, count=count: Receiver(delay, count), "127.0.0.1", 0)
        ports[name] = server.sockets[0].getsockname()[1]
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # taken, and nobody listens
        urls = [f"http://127.0.0.1:{port}/" for port in (*ports.values(), nobody.getsockname()[1])]
        print(json.dumps(urls), flush=True)
        await until_asked_to_end()
    print(json.dumps(counts), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
