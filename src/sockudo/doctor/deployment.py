"""What is examined: where it is, who asks, what is configured, and what the checks have found out about it so far."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sockudo.client.address import is_loopback
from sockudo.client.auth import Credentials
from sockudo.client.failures import ClientError, UnreachableError
from sockudo.client.trust import Trust
from sockudo.config import Loaded, Settings
from sockudo.config.apps import App
from sockudo.doctor.machine import Machine, Process
from sockudo.doctor.probe import Answer, Http

if TYPE_CHECKING:
    from collections.abc import Callable

    from sockudo.client.http import ApiClient
    from sockudo.client.socket import Socket
    from sockudo.cluster.carrier import Carrier

__all__ = ["Deployment", "Options"]

Address = tuple[int, str]
"""The family, as in the ``socket`` module, and the address."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the person wants. ``timeout`` is for one answer and ``idle`` the silence of a connection, in seconds."""

    timeout: float = 5.0
    idle: float = 3.0
    rounds: int = 5
    origin: str | None = None
    allow_private: bool = False


@dataclass(slots=True)
class Deployment:
    """A server at ``url``, seen as the app of ``credentials``; use it as ``async with``.

    ``loaded`` is its configuration, None when none was named or it cannot be used: then ``config_problems`` has the
    reasons. ``app`` is the record of the app, where the configuration or the store on this machine has it;
    ``store_problem`` is why the store could not be read. ``trust`` is what TLS connections accept. ``unreached`` is why
    there is no URL, and only what is on this machine can be looked at. ``make_carrier`` makes what joins nodes, or None
    where nothing does; it raises ConfigError.
    """

    url: str
    credentials: Credentials | None = None
    options: Options = field(default_factory=Options)
    loaded: Loaded | None = None
    config_problems: tuple[str, ...] = ()
    app: App | None = None
    store_problem: str | None = None
    stored_apps: int | None = None
    trust: Trust = field(default_factory=Trust)
    unreached: str = ""
    make_carrier: Callable[[], Carrier | None] | None = None
    machine: Machine = field(default_factory=Machine)
    # What checks leave for those behind them.
    live: Answer | None = None
    socket: Socket | None = None
    refusal: ClientError | None = None
    addresses: tuple[Address, ...] = ()
    no_address: str | None = None
    _process: list[Process | None] = field(default_factory=list)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _http: Http | None = None
    _api: ApiClient | None = None

    async def __aenter__(self) -> Deployment:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    # ---- where it is ----

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def secure(self) -> bool:
        return urlsplit(self.url).scheme == "https"

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or (443 if self.secure else 80)

    @property
    def on_loopback(self) -> bool:
        return bool(self.unreached) or is_loopback(self.url)

    def tls(self) -> ssl.SSLContext | None:
        """What WebSockets accept; None is what this system accepts."""
        return self.trust.context() if self.secure else None

    async def locate(self) -> None:
        """Looks up the addresses of the host; ``no_address`` is why there are none."""
        if self.unreached:
            return
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.options.timeout):
                found = await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except TimeoutError:
            self.no_address = "it was not resolved in time"
        except socket.gaierror as error:
            self.no_address = str(error.strerror)
        else:
            self.addresses = tuple(dict.fromkeys((family, str(address[0])) for family, *_, address in found))

    def is_here(self) -> bool:
        """Whether the URL leads to an address of this machine, as far as `locate` has found some."""
        return self.on_loopback or any(_is_own(family, address) for family, address in self.addresses)

    def place(self, scheme: str) -> str:
        """The URL in another scheme, without a user and a password that may stand in it."""
        parts = urlsplit(self.url)
        return f"{scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    # ---- what is known of it ----

    @property
    def settings(self) -> Settings | None:
        return None if self.loaded is None else self.loaded.settings

    def process(self) -> Process | None:
        """The server's process, if it runs on this machine and may be looked at; looked for once."""
        if not self._process:
            self._process.append(self._find_process())
        return self._process[0]

    def _find_process(self) -> Process | None:
        settings = self.settings
        if settings is not None and settings.unix_socket.enabled:
            return self.machine.server_at(Path(settings.unix_socket.path))
        if settings is not None:
            return self.machine.server_at(settings.port)
        return self.machine.server_at(self.port) if self.is_here() else None

    def data_dir(self) -> Path | None:
        """The folder of the embedded stores; a relative one is the server's, wherever that was started."""
        if self.settings is None:
            return None
        process = self.process()
        return (process.folder if process is not None and process.folder else Path()) / self.settings.data_dir

    @property
    def refusal_text(self) -> str:
        """Why there is no connection."""
        return self.refusal.reason if isinstance(self.refusal, UnreachableError) else str(self.refusal)

    # ---- talking to it ----

    def own(self, connection: Socket) -> Socket:
        """Closes the connection at the end of the examination."""
        self._stack.push_async_callback(connection.close)
        return connection

    @property
    def http(self) -> Http:
        if self._http is None:
            self._http = Http(self.url, self.options.timeout, self.trust)
            self._stack.push_async_callback(self._http.close)
        return self._http

    def api(self) -> ApiClient:
        """The signed client of the app; ask only where there are credentials."""
        from sockudo.client.http import ApiClient
        from sockudo.doctor.probe import transport

        if self.credentials is None:
            raise ValueError("there are no credentials")
        if self._api is None:
            self._api = ApiClient(
                self.url,
                self.credentials,
                timeout=self.options.timeout,
                transport=transport(secure=self.secure, trust=self.trust),
            )
            self._stack.push_async_callback(self._api.close)
        return self._api


def _is_own(family: int, address: str) -> bool:
    """Only an address of this machine can be listened on."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True
