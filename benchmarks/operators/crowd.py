"""A companion: a crowd on many channels. Each client is on four of them; some are in one presence channel as well."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time

import uvloop

from benchmarks.operators.names import BIG
from benchmarks.operators.sockets import Client, connect, until_asked_to_end

MEMBERS = 1000
EACH = 4
_PATIENCE = 120


async def _joined(clients: list[Client], wanted: int) -> None:
    until = time.monotonic() + _PATIENCE
    while sum(client.joined for client in clients) < wanted:
        if time.monotonic() > until or any(client.lost for client in clients):
            raise SystemExit(f"{sum(client.joined for client in clients)} of {wanted} subscriptions succeeded")
        await asyncio.sleep(0.05)


async def main(port: int, connections: int, channels: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    clients = await connect(port, connections)
    each = max(EACH, -(-channels // connections))
    for number, client in enumerate(clients):
        client.subscribe(*(f"room-{(number * each + k) % channels:06}" for k in range(each)))
        if number % 500 == 499:
            await _joined(clients, each * (number + 1))
    members = clients[:MEMBERS]
    for number, client in enumerate(members):
        client.join(BIG, f"user-{number}")
        if number % 50 == 49:
            await _joined(clients, each * connections + number + 1)
    await _joined(clients, each * connections + len(members))
    print(json.dumps({"socket_id": clients[0].greeted.result(), "subscriptions": each * connections + len(members)}), flush=True)
    await until_asked_to_end()
    print(json.dumps({"lost": sum(client.lost for client in clients)}), flush=True)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
