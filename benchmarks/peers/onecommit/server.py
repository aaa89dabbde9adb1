"""Durable publishing without group commit, and nothing else: each publish is one row and one commit, then its answer.

No signatures, no serials, no subscribers. The file is kept like the server's own: write-ahead mode, synchronous FULL.
Usage: server.py FILE, with the port in PORT.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import time

_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
_TABLE = """CREATE TABLE entries (channel TEXT, serial INTEGER, published_at_ms INTEGER, event_name TEXT, message BLOB,
    PRIMARY KEY (channel, serial)) WITHOUT ROWID"""


class Store:
    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(_TABLE)
        self._serial = 0

    def commit(self, body: bytes) -> None:
        event = json.loads(body)
        self._serial += 1
        row = (event["channel"], self._serial, int(time.time() * 1000), event["name"], event["data"].encode())
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", row)
        self._connection.execute("COMMIT")


class Http(asyncio.Protocol):
    def __init__(self, store: Store) -> None:
        self._store = store
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._held += data
        while b"\r\n\r\n" in self._held:
            head, rest = self._held.split(b"\r\n\r\n", 1)
            length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
            if len(rest) < length:
                return
            if length:
                self._store.commit(rest[:length])
            self._held = rest[length:]
            self._transport.write(_OK)  # type: ignore[attr-defined]


async def serve() -> None:
    store = Store(sys.argv[1])
    server = await asyncio.get_running_loop().create_server(lambda: Http(store), "127.0.0.1", int(os.environ["PORT"]), backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve())
