"""Two real servers in one process, joined as nodes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx

from sockudo.client.auth import Credentials
from sockudo.client.events import Event
from sockudo.client.http import ApiClient
from sockudo.cluster.in_process import Network
from sockudo.cluster.network import NetworkBus
from sockudo.config import load
from sockudo.server.server import Server
from sockudo.testing import RecordingClient
from support.carriers import MemoryBroker, MemoryCarrier
from support.waiting import PATIENCE

__all__ = ["APP", "FEATURES", "Pair", "PatientClient", "pair_of"]

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


class PatientClient(RecordingClient):
    """One that waits for as long as a busy machine may take."""

    async def _answer(self, event: str, channel: str | None, seconds: float) -> Event:
        return await super()._answer(event, channel, max(seconds, PATIENCE))

    async def _wait_for(self, matches: Callable[[Event], bool], described: str, seconds: float) -> Event:
        return await super()._wait_for(matches, described, max(seconds, PATIENCE))


class Pair:
    """Servers that are joined, two as a rule, and a backend and clients of each."""

    def __init__(
        self,
        folder: Path,
        changes: Mapping[str, object],
        stack: AsyncExitStack,
        http: httpx.AsyncClient,
        *,
        shared: bool,
        joined: str,
        of_each: Mapping[str, Mapping[str, object]],
    ) -> None:
        self.servers: list[Server] = []
        self.backends: list[ApiClient] = []
        self.carriers: list[MemoryCarrier] = []
        self._folder = folder
        self._changes = changes
        self._stack = stack
        self._http = http
        self._shared = shared
        self._joined = joined
        self._of_each = of_each
        self._network, self._broker = Network(), MemoryBroker()

    async def start(self) -> None:
        """Starts one server more."""
        name = "abcd"[len(self.servers)]
        self._folder.mkdir(exist_ok=True)
        config = self._folder / f"{name}.json"
        own = {"data_dir": str(self._folder / ("a" if self._shared else name)), **self._of_each.get(name, {})}
        config.write_text(json.dumps({**CONFIG, **self._changes, **own}))
        environ = {"INSTANCE_PROCESS_ID": f"node-{name}"}
        settings = load(path=config, environ=environ, cwd=self._folder, dev=True).settings
        carrier = self._broker.carrier() if self._joined == "carrier" else None
        if carrier is not None:
            self.carriers.append(carrier)
        server = Server(settings, network=self._network, carrier=carrier)
        await server.start()
        self._stack.push_async_callback(server.stop)
        self.servers.append(server)
        backend = ApiClient(f"http://127.0.0.1:{server.port}", APP)
        self.backends.append(await self._stack.enter_async_context(backend))

    def lose(self, server: int) -> None:
        """Takes a server from the others at once, with all that it alone has."""
        services = self.servers[server].services
        if isinstance(services.bus, NetworkBus):
            services.bus.leave()
        else:
            self._network.leave(services.membership.me)

    async def get(self, server: int, path: str) -> httpx.Response:
        """What a server answers to a plain GET."""
        return await self._http.get(f"http://127.0.0.1:{self.servers[server].port}{path}")

    async def client(self, server: int, **options: Any) -> RecordingClient:
        url = f"http://127.0.0.1:{self.servers[server].port}"
        return await self._stack.enter_async_context(await PatientClient.connect(url, APP, **options))


@asynccontextmanager
async def pair_of(
    folder: Path,
    changes: Mapping[str, object],
    *,
    shared: bool,
    joined: str,
    servers: int = 2,
    of_each: Mapping[str, Mapping[str, object]] = MappingProxyType({}),
) -> AsyncIterator[Pair]:
    """Joined servers, from ``a`` on; ``shared``: with one data folder. ``of_each`` changes the settings of one."""
    async with AsyncExitStack() as stack:
        # To make one takes longer than all that is asked.
        http = await stack.enter_async_context(httpx.AsyncClient(limits=httpx.Limits(max_keepalive_connections=0)))
        pair = Pair(folder, changes, stack, http, shared=shared, joined=joined, of_each=of_each)
        for _ in range(servers):
            await pair.start()
        yield pair
