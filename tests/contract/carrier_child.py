"""A node on PostgreSQL that hears everything and does nothing: ``carrier_child.py SERVER PREFIX``, the first as JSON.

Prints the process id of its listening connection in the server.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parent.parent))

from sockudo.config.sections.databases import AdapterPostgres, Postgres
from sockudo.drivers.carriers.postgres import PostgresCarrier
from support.carriers import Heard


async def main(server: str, prefix: str) -> None:
    place = msgspec.json.decode(server, type=Postgres)
    carrier = PostgresCarrier(place, AdapterPostgres(prefix, "notify"), timeout_ms=500)
    await carrier.open(Heard())
    await carrier.subscribe("all")
    assert carrier._link.current is not None
    connection = carrier._link.current.listening._connection
    with socket.socket(fileno=os.dup(connection.fileno())) as wire:
        # So little is full soon, once nothing is read any more.
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    print(connection.info.backend_pid, flush=True)
    await asyncio.sleep(120)


asyncio.run(main(*sys.argv[1:]))
