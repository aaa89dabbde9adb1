"""A throw-away Redis server on loopback, with an append-only file in a folder of its own that outlives its restarts."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import redis

from sockudo.config.sections import Redis, RedisServer
from sockudo.jobs.redis import RedisJobQueue
from sockudo.webhooks.queue import WEBHOOK_QUEUE, WebhookQueue
from support.parts import cannot_run
from support.ports import free_port
from support.waiting import wait_until

__all__ = ["PASSWORD", "RedisProcess", "redis_server"]

PASSWORD = "p@ss/w:rd %41"
"""Has every character that an address could stumble over."""

PART = "Redis"


class RedisProcess:
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
        self._command = command
        self._folder = folder
        self._tls = tls
        self._options = options
        self._lines = lines
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None
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
        options: dict[str, Any] = {"bind": "127.0.0.1", "dir": self._folder, "port": self.port}
        if self._password:
            options["requirepass"] = self._password
        if "--sentinel" not in self._command:
            options |= {"appendonly": "yes", "appendfsync": "always", "save": ""}
        if self._tls is not None:
            certificate, key = self._tls
            options |= {"port": 0, "tls-port": self.port, "tls-auth-clients": "no"}
            options |= {"tls-cert-file": certificate, "tls-key-file": key, "tls-ca-cert-file": certificate}
        options |= self._options
        config = self._folder / "redis.conf"
        lines = [f'{name} "{value}"' for name, value in options.items()]
        config.write_text("\n".join([*lines, *self._lines, ""]))
        log = self._folder / "log"
        with log.open("wb") as output:
            self._process = process = subprocess.Popen(
                [self._command[0], str(config), *self._command[1:]], stdout=output, stderr=output
            )

        def ready() -> bool:
            if process.poll() is not None:
                last = (log.read_text(errors="replace").strip().splitlines() or ["no output"])[-1]
                cannot_run(PART, f"the server ended with {process.returncode} at its start: {last}")
            if self._tls is not None:
                return b"Ready to accept connections" in log.read_bytes()
            with contextlib.suppress(redis.ConnectionError), self.client() as client:
                return bool(client.ping())
            return False

        wait_until(ready, f"{PART} to start", timeout=30)

    def kill(self) -> None:
        """Ends it without a chance to write anything more."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """The server is there but does not answer."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._process.pid, signal.SIGCONT)


@contextlib.contextmanager
def redis_server(
    *,
    tls: tuple[Path, Path] | None = None,
    password: str = PASSWORD,
    arguments: Sequence[str] = (),
    lines: Sequence[str] = (),
    **options: str,
) -> Iterator[RedisProcess]:
    """A running server. With ``tls``, a certificate and its key, it speaks nothing else.

    ``options`` are lines of its configuration, with ``_`` for ``-``, and ``lines`` are further ones as they are;
    ``arguments`` follow the program's name.
    """
    program = shutil.which("redis-server")
    if program is None:
        cannot_run(PART, "the server is not installed (apt-get install redis-server)")
    with tempfile.TemporaryDirectory(prefix="sockudo-redis-", ignore_cleanup_errors=True) as folder:
        settings = {name.replace("_", "-"): value for name, value in options.items()}
        server = RedisProcess([program, *arguments], Path(folder), tls, settings, lines, password)
        server.start()
        try:
            yield server
        finally:
            server.kill()
