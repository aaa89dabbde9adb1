"""A companion: twenty clients that join and leave one presence channel, each time as another user."""

from __future__ import annotations

import asyncio
import json
import sys
import time

import uvloop

from benchmarks.operators.names import ROOM
from benchmarks.operators.sockets import Client, connect, until_asked_to_end

CLIENTS = 20


async def _churn(clients: list[Client], rate: int, done: list[int]) -> None:
    """On a fixed schedule: client after client changes sides, ``rate`` changes a second."""
    began, changes = time.monotonic(), 0
    while True:
        due = int((time.monotonic() - began) * rate)
        while changes < due:
            client, turn = clients[changes % len(clients)], changes // len(clients)
            if turn % 2:
                client.leave(ROOM)
            else:
                client.join(ROOM, f"user-{changes}")
            changes += 1
            done[0] = changes
        await asyncio.sleep(0.002)


async def main(port: int, rate: int) -> None:
    clients = await connect(port, CLIENTS)
    done = [0]
    began = time.monotonic()
    task = asyncio.create_task(_churn(clients, rate, done))
    print(json.dumps({"clients": len(clients)}), flush=True)
    await until_asked_to_end()
    task.cancel()
    seconds = time.monotonic() - began
    joined = sum(client.joined for client in clients)
    lost = sum(client.lost for client in clients)
    print(json.dumps({"changes_per_second": done[0] / seconds, "joined_per_second": joined / seconds, "lost": lost}), flush=True)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
