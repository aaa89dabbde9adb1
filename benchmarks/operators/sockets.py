"""Clients by the dozen or by the thousand, for companions: they greet, subscribe, and throw away what comes."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
import sys

__all__ = ["Client", "connect", "until_asked_to_end"]

_KEY, _SECRET = "app-key", b"app-secret"
_UPGRADE = (
    f"GET /app/{_KEY}?protocol=7&client=bench&version=1 HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
).encode()
_SOCKET_ID = re.compile(rb'socket_id\\":\\"([0-9.]+)')
_SUCCEEDED = b"subscription_succeeded"


def _frame(event: str, data: dict[str, str]) -> bytes:
    payload = json.dumps({"event": event, "data": data}, separators=(",", ":")).encode()
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else bytes([0x80 | 126]) + len(payload).to_bytes(2)
    return b"\x81" + size + bytes(4) + payload  # masked with zeros


class Client(asyncio.Protocol):
    """One WebSocket. ``greeted`` is its socket id once it is known, ``joined`` counts subscriptions that succeeded."""

    def __init__(self) -> None:
        self.greeted: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.joined = 0
        self.lost = False
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # of a TCP connection
        self._transport.write(_UPGRADE)

    def data_received(self, data: bytes) -> None:
        self.joined += data.count(_SUCCEEDED)
        if not self.greeted.done():
            self._head += data
            found = _SOCKET_ID.search(self._head)
            if found is not None:
                self.greeted.set_result(found[1].decode())

    def connection_lost(self, problem: Exception | None) -> None:
        self.lost = True
        if not self.greeted.done():
            self.greeted.set_exception(problem or ConnectionError(f"refused: {self._head[:200]!r}"))

    def subscribe(self, *channels: str) -> None:
        self._transport.write(b"".join(_frame("pusher:subscribe", {"channel": channel}) for channel in channels))

    def join(self, channel: str, user_id: str) -> None:
        """Becomes a member of a presence channel."""
        member = json.dumps({"user_id": user_id}, separators=(",", ":"))
        text = f"{self.greeted.result()}:{channel}:{member}"
        signature = hmac.new(_SECRET, text.encode(), hashlib.sha256).hexdigest()
        self._transport.write(_frame("pusher:subscribe", {"channel": channel, "channel_data": member, "auth": f"{_KEY}:{signature}"}))

    def leave(self, channel: str) -> None:
        self._transport.write(_frame("pusher:unsubscribe", {"channel": channel}))


async def connect(port: int, count: int) -> list[Client]:
    """So many greeted clients, a hundred at a time."""
    loop = asyncio.get_running_loop()
    clients: list[Client] = []
    while len(clients) < count:
        some = [loop.create_connection(Client, "127.0.0.1", port) for _ in range(min(100, count - len(clients)))]
        opened = [client for _, client in await asyncio.gather(*some)]
        await asyncio.gather(*(client.greeted for client in opened))
        clients += opened
    return clients


async def until_asked_to_end() -> None:
    """Until standard input is closed."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def read() -> None:
        if not sys.stdin.buffer.raw.read(100):  # type: ignore[attr-defined]  # of a pipe
            loop.remove_reader(sys.stdin)
            ended.set()

    loop.add_reader(sys.stdin, read)
    await ended.wait()
