"""Two real servers in one process, joined as nodes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from sockudo.client.auth import Credentials
from sockudo.client.http import ApiClient
from sockudo.cluster.in_process import Network
from sockudo.config import load
from sockudo.server.server import Server
from sockudo.testing import RecordingClient
from support.carriers import MemoryBroker, MemoryCarrier

__all__ = ["APP", "FEATURES", "Pair", "pair_of"]

APP = Credentials("app", "key", "secret")
FEATURES = {"enable_client_messages": True, "enable_user_authentication": True}
CONFIG = {
    "host": "127.0.0.1",
    "port": 0,
    "shutdown_grace_period": 1,
    "metrics": {"enabled": False},
    "app_manager": {
        "array": {
            "apps": [{"id": "app", "key": "key", "secret": "secret", "enabled": True, "policy": {"features": FEATURES}}]
        }
    },
}


class Pair:
    """Two servers, and a backend and clients of each."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.servers: list[Server] = []
        self.backends: list[ApiClient] = []
        self.carriers: list[MemoryCarrier] = []
        self._stack = stack

    async def get(self, server: int, path: str) -> httpx.Response:
        """What a server answers to a plain GET."""
        async with httpx.AsyncClient() as http:
            return await http.get(f"http://127.0.0.1:{self.servers[server].port}{path}")

    async def client(self, server: int, **options: Any) -> RecordingClient:
        url = f"http://127.0.0.1:{self.servers[server].port}"
        return await self._stack.enter_async_context(await RecordingClient.connect(url, APP, **options))


@asynccontextmanager
async def pair_of(folder: Path, changes: dict[str, object], *, shared: bool, joined: str) -> AsyncIterator[Pair]:
    """Two servers; ``shared``: with one data folder."""
    network, broker = Network(), MemoryBroker()
    async with AsyncExitStack() as stack:
        pair = Pair(stack)
        for name in "ab":
            folder.mkdir(exist_ok=True)
            config = folder / f"{name}.json"
            config.write_text(
                json.dumps(
                    CONFIG
                    | changes
                    | {
                        "data_dir": str(folder / ("a" if shared else name)),
                        "instance": {"process_id": f"node-{name}"} | dict(changes.get("instance", {})),
                    }
                )
            )
            environ = {"INSTANCE_PROCESS_ID": f"node-{name}"}
            settings = load(path=config, environ=environ, cwd=folder, dev=True).settings
            carrier = broker.carrier() if joined == "carrier" else None
            if carrier is not None:
                pair.carriers.append(carrier)
            server = Server(settings, network=network, carrier=carrier)
            await server.start()
            stack.push_async_callback(server.stop)
            pair.servers.append(server)
            backend = ApiClient(f"http://127.0.0.1:{server.port}", APP)
            pair.backends.append(await stack.enter_async_context(backend))
        yield pair
