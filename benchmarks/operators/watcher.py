"""A companion: one watcher of the inspector, which counts what it is shown."""

from __future__ import annotations

import asyncio
import json
import sys

import uvloop

from benchmarks.operators.sockets import until_asked_to_end

_PATH = "/dashboard/api/v1/inspector/stream?app_id=app-id"


async def main(port: int, password: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {_PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {password}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"the inspector answered {head[:100]!r}")
    counts = {"bytes": 0, "messages": 0, "pieces": 0}

    async def read() -> None:
        while data := await reader.read(1 << 18):
            counts["bytes"] += len(data)
            counts["messages"] += data.count(b'"kind":"message"')
            counts["pieces"] += data.count(b"event: ")

    task = asyncio.create_task(read())
    print(json.dumps({}), flush=True)
    await until_asked_to_end()
    task.cancel()
    print(json.dumps(counts), flush=True)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
