"""Clients on protocol V2 that are cut off again and again, and backends that publish meanwhile: many in one loop."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from support.signing import Credentials, channel_auth, signed_query
from support.websocket import CLOSE, TEXT, frame, handshake

__all__ = ["Backend", "Follower"]

Event = dict[str, Any]


class Follower:
    """Follows one channel over any number of connections, as an SDK with recovery does.

    ``heard`` are the serials and the data of all messages in the order in which they came; ``rebuilt`` counts the
    explicit failures after which an application would load its state anew, and ``base`` is the place from which that
    is. Whatever breaks a promise on the way is kept in ``broken``.
    """

    def __init__(self, host: str, port: int, app: Credentials, channel: str, *, resume_first: bool = False) -> None:
        self.host, self.port, self.app, self.channel = host, port, app, channel
        self.resume_first = resume_first
        self.position: Event | None = None
        self.heard: list[tuple[int, str]] = []
        self.ids: set[str] = set()
        self.recovered = 0
        self.rebuilt: list[Event] = []
        self.broken: list[str] = []
        self.socket_id = ""
        self.subscribed = asyncio.Event()
        self.settled = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Connects, subscribes and resumes; returns once the connection is up again. OSError: it is refused."""
        self.subscribed.clear()
        self.settled.clear()
        reader, writer = await asyncio.open_connection(self.host, self.port)
        self._writer = writer
        writer.write(handshake(f"/app/{self.app.key}?protocol=2&client=test&version=1"))
        if not (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101"):
            raise ConnectionRefusedError
        self._task = asyncio.get_running_loop().create_task(self._read(reader))

    async def ready(self) -> None:
        """Waits until the subscription stands and a resume, if there was one, has been answered.

        OSError: the connection ended before, or nothing came of it.
        """
        assert self._task is not None
        stands = asyncio.ensure_future(self._stands())
        await asyncio.wait({stands, self._task}, timeout=20, return_when=asyncio.FIRST_COMPLETED)
        if not stands.done():
            stands.cancel()
            raise ConnectionAbortedError("the connection ended before the subscription stood")

    async def _stands(self) -> None:
        await self.subscribed.wait()
        await self.settled.wait()

    def cut(self) -> None:
        """The connection breaks; what is under way is lost."""
        if self._task is not None:
            self._task.cancel()
        if self._writer is not None:
            self._writer.transport.abort()
        self._task = self._writer = None

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                head = await reader.readexactly(2)
                size = head[1]
                if size == 126:
                    size = int.from_bytes(await reader.readexactly(2), "big")
                elif size == 127:
                    size = int.from_bytes(await reader.readexactly(8), "big")
                payload = await reader.readexactly(size)
                if head[0] & 0x0F == TEXT:
                    self._take(json.loads(payload))
                elif head[0] & 0x0F == CLOSE:
                    self._end(payload[:2])
        except (OSError, asyncio.IncompleteReadError):
            self.subscribed.clear()

    def _say(self, event: str, data: Event) -> None:
        if self._writer is not None:
            self._writer.write(frame(json.dumps({"event": event, "data": data})))

    def _end(self, code: bytes) -> None:
        if self._writer is not None:
            self._writer.write(frame(code, CLOSE))
            self._writer.close()

    def _take(self, message: Event) -> None:
        event = message["event"]
        if event == "sockudo:connection_established":
            self.socket_id = json.loads(message["data"])["socket_id"]
            self._begin()
        elif event == "sockudo_internal:subscription_succeeded":
            if self.position is None:
                self._stand(message)
            self.subscribed.set()
        elif event == "sockudo:resume_failed":
            self._rebuild(json.loads(message["data"]))
        elif event == "sockudo:resume_success":
            self._resumed(json.loads(message["data"]))
        elif event == "sockudo:error":
            self.broken.append(f"error: {message['data']}")
        elif message.get("channel") == self.channel:
            self._hear(message)

    def _begin(self) -> None:
        subscribe: Event = {"channel": self.channel}
        if self.channel.startswith("private-"):
            subscribe["auth"] = channel_auth(self.app, self.socket_id, self.channel)
        resume = {"channel_positions": {self.channel: self.position}}
        if self.position is not None and self.resume_first:
            self._say("sockudo:resume", resume)
        self._say("sockudo:subscribe", subscribe)
        if self.position is not None and not self.resume_first:
            self._say("sockudo:resume", resume)
        if self.position is None:
            self.settled.set()

    def _stand(self, message: Event) -> None:
        self.position = {"stream_id": message["stream_id"], "serial": message["serial"]}

    def _rebuild(self, failure: Event) -> None:
        """What an application does after a gap: it drops what it has and starts from where the channel is now."""
        self.rebuilt.append(failure)
        self.position = None
        self.heard.clear()
        self.ids.clear()

    def _resumed(self, answer: Event) -> None:
        for entry in answer["recovered"]:
            self.recovered += entry["replayed"]
        self.settled.set()

    def _hear(self, message: Event) -> None:
        serial, known = message["serial"], message["message_id"]
        if known in self.ids:
            # An SDK drops what it has seen; the position follows the frame all the same.
            self.position = {"stream_id": message["stream_id"], "serial": serial}
            return
        if self.position is not None:
            if message["stream_id"] != self.position["stream_id"]:
                self.broken.append(f"stream changed without a word at {serial}")
            elif serial != self.position["serial"] + 1:
                self.broken.append(f"{serial} after {self.position['serial']}")
        self.ids.add(known)
        self.position = {"stream_id": message["stream_id"], "serial": serial, "last_message_id": known}
        self.heard.append((serial, message["data"]))


class Backend:
    """One keep-alive connection that publishes, one message after the other."""

    def __init__(self, host: str, port: int, app: Credentials) -> None:
        self.host, self.port, self.app = host, port, app
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def publish(self, channel: str, data: str, **fields: Any) -> tuple[int, Event]:
        """Status and body of the answer; raises OSError or IncompleteReadError when there was none."""
        if self._writer is None or self._reader is None:
            self._reader, self._writer = await asyncio.open_connection(self.host, self.port)
        body = json.dumps({"name": "e", "channel": channel, "data": data, **fields}).encode()
        path = f"/apps/{self.app.id}/events"
        query = signed_query(self.app, "POST", path, body=body, timestamp=int(time.time()))
        head = (
            f"POST {path}?{query} HTTP/1.1\r\nHost: {self.host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        try:
            self._writer.write(head.encode() + body)
            answer = await self._reader.readuntil(b"\r\n\r\n")
            fields_of = answer.decode().lower().split("\r\n")
            length = next(int(line.split(":")[1]) for line in fields_of if line.startswith("content-length"))
            return int(answer[9:12]), json.loads(await self._reader.readexactly(length))
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            raise

    def close(self) -> None:
        """Breaks the connection; the next publish makes a new one."""
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None
