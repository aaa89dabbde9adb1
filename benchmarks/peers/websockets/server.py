"""A bare broadcast server on PyPI's `websockets`: what a Python team gets today.

WebSockets on PORT, publishes over HTTP on PORT + 1 (the library itself answers no POST), in one loop.
"""

from __future__ import annotations

import asyncio
import json
import os

from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

channels: dict[str, set[ServerConnection]] = {}


async def subscriber(socket: ServerConnection) -> None:
    joined = []
    try:
        async for text in socket:
            name = json.loads(text)["subscribe"]
            channels.setdefault(name, set()).add(socket)
            joined.append(name)
            await socket.send(json.dumps({"subscribed": name}))
    except ConnectionClosed:
        pass
    finally:
        for name in joined:
            channels[name].discard(socket)


async def publisher(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The smallest HTTP/1.1 endpoint that keeps its connection: read head, read body, answer."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            at = head.lower().index(b"content-length:") + 15
            body = json.loads(await reader.readexactly(int(head[at:head.index(b"\r\n", at)])))
            message = json.dumps({"event": body["name"], "channel": body["channel"], "data": body["data"]})
            broadcast(channels.get(body["channel"], ()), message)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main() -> None:
    port = int(os.environ["PORT"])
    async with serve(subscriber, "127.0.0.1", port, compression=None, backlog=4096):
        async with await asyncio.start_server(publisher, "127.0.0.1", port + 1, backlog=4096) as http:
            await http.serve_forever()


asyncio.run(main())
