"""The loads that are not one run of the generator: items through one connection, and subscriptions that come and go."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import tempfile
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.generator import Figures
from benchmarks.operators.sockets import Client, connect
from benchmarks.processes import Running, cpu_seconds
from benchmarks.settings import PAYLOAD
from sockudo.client.auth import Credentials
from sockudo.client.http import ApiClient
from sockudo.cluster.network import NetworkBus, join_carrier
from sockudo.cluster.ports import Received
from sockudo.cluster.router import Router
from sockudo.drivers.carriers.mesh import mesh_carrier
from sockudo.protocol.frames import Frame
from sockudo.publishing.nodes import Message

__all__ = ["CHANGES", "CHANNELS", "changes", "items"]

CHANGES, CHANNELS = 10_000, 5000
_CLIENTS = 30
_TICK = 0.02
_PUBLISHES_A_TICK = 2
_WINDOW = 500
_SENT = re.compile(r"^sockudo_node_items_(sent|received)_total(?:\{[^}]*\})? ([0-9.e+]+)", re.MULTILINE)
_CALLS = re.compile(r"cmdstat_(subscribe|unsubscribe|publish):calls=(\d+)")


# ---- items through one connection ----


def items(seconds: float) -> Figures:
    """Messages from one node to another through the Unix socket between them, both nodes in this process: encoding,
    numbering, framing, and all of that backwards.
    """
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_items(Path(folder), seconds))


async def _items(folder: Path, seconds: float) -> Figures:
    arrived = 0

    def take(_received: Received, message: Message) -> None:
        nonlocal arrived
        message.unpacked()
        arrived += 1

    async def node(name: str) -> NetworkBus:
        bus, router = join_carrier(mesh_carrier(folder), name), Router()
        router.on_item(Message, take)
        bus.attach(router)
        await bus.open()
        return bus

    sender, receiver = await node("sender"), await node("receiver")
    if (confirmed := receiver.subscribe("c:app:bench")) is not None:
        await confirmed
    while not sender.interested("c:app:bench"):
        await asyncio.sleep(0.01)
    sent = 0
    began, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        while sent - arrived < _WINDOW:
            message = Message("app", Frame("bench-event", "bench", "x" * PAYLOAD))
            sender.publish("c:app:bench", message.packed())
            sent += 1
        await asyncio.sleep(0)
    while arrived < sent:
        await asyncio.sleep(0.001)
    cpu = time.process_time() - cpu
    await sender.close()
    await receiver.close()
    return {"ok": True, "items": sent, "per_server_cpu_second": sent / cpu}


# ---- subscriptions that come and go ----


def changes(server: Running, broker: str, seconds: float) -> Figures:
    """Clients of all nodes subscribe and unsubscribe, while one node publishes what another one has a subscriber for."""
    return asyncio.run(_changes(server, broker, seconds))


async def _changes(server: Running, broker: str, seconds: float) -> Figures:
    clients = [client for port in server.ports for client in await connect(port, _CLIENTS // len(server.ports))]
    [subscriber] = await connect(server.ports[1], 1)
    subscriber.subscribe("held")
    backend = ApiClient(f"http://127.0.0.1:{server.ports[0]}", Credentials("app-id", "app-key", "app-secret"))
    await asyncio.sleep(1)
    dice = random.Random(14)
    joined: list[set[str]] = [set() for _ in clients]
    counted = [await asyncio.to_thread(_counted, port + 1) for port in server.ports]
    calls, cpu, began = _calls(broker), cpu_seconds(server.pids), time.perf_counter()
    done = published = 0
    while (now := time.perf_counter() - began) < seconds:
        while done < now * CHANGES:
            _change(dice, clients, joined)
            done += 1
        for _ in range(_PUBLISHES_A_TICK):
            await backend.publish("held", "bench-event", "x" * PAYLOAD)
            published += 1
        await asyncio.sleep(_TICK)
    took = time.perf_counter() - began
    await asyncio.sleep(1)  # what was sent last
    after = [await asyncio.to_thread(_counted, port + 1) for port in server.ports]
    received = [there["received"] - here["received"] for here, there in zip(counted, after, strict=True)]
    spent = {name: count - calls.get(name, 0) for name, count in _calls(broker).items()}
    return {
        "ok": not any(client.lost for client in clients),
        "per_second": done / took,
        "changes": done,
        "published": published,
        "received": received,
        "elsewhere": received[0] + received[2],
        "commands": spent,
        "commands_per_change": (spent.get("subscribe", 0) + spent.get("unsubscribe", 0)) / done,
        "cpu_us": (cpu_seconds(server.pids) - cpu) * 1e6 / done,
    }


def _change(dice: random.Random, clients: list[Client], joined: list[set[str]]) -> None:
    place = dice.randrange(len(clients))
    channel = f"changing-{dice.randrange(CHANNELS)}"
    if channel in joined[place] or len(joined[place]) >= 90:
        leaving = channel if channel in joined[place] else joined[place].pop()
        joined[place].discard(leaving)
        clients[place].leave(leaving)
    else:
        joined[place].add(channel)
        clients[place].subscribe(channel)


def _counted(port: int) -> dict[str, float]:
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
    return {name: float(value) for name, value in _SENT.findall(text)}


def _calls(broker: str) -> dict[str, int]:
    address = urlsplit(broker)
    with socket.create_connection((address.hostname or "", address.port or 0), 5) as connection:
        connection.sendall(b"INFO commandstats\r\nQUIT\r\n")
        text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    return {name: int(count) for name, count in _CALLS.findall(text)}
