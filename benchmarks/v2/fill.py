"""``python -m benchmarks.v2.fill FOLDER MESSAGES``: a history with one long stream, made by the server's own store."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import msgspec

from benchmarks.settings import PAYLOAD
from benchmarks.v2.loads import STREAM
from sockudo.base.stream_records import Append
from sockudo.config.sections.streams import HistorySqlite
from sockudo.drivers.sql import sqlite_history

_BATCH = 1000


def _append(number: int, now_ms: int) -> Append:
    message_id = f"{number:08x}-0000-4000-8000-000000000000"
    frame = {"event": "bench-event", "channel": STREAM, "data": f"~{number:08x}".ljust(PAYLOAD, "x"), "message_id": message_id}
    return Append("app-id", STREAM, msgspec.json.encode(frame), message_id, "bench-event", now_ms)


async def _fill(folder: Path, messages: int) -> None:
    store = sqlite_history(folder, HistorySqlite(synchronous="normal"))
    await store.start()
    try:
        for first in range(1, messages + 1, _BATCH):
            now_ms = int(time.time() * 1000)
            await store.commit([_append(number, now_ms) for number in range(first, min(first + _BATCH, messages + 1))])
    finally:
        await store.close()


if __name__ == "__main__":
    asyncio.run(_fill(Path(sys.argv[1]), int(sys.argv[2])))
