"""A Sockudo server inside a test."""

from __future__ import annotations

import asyncio
import copy
import json
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from sockudo.base.clock import Clock
from sockudo.client.auth import Credentials
from sockudo.testing.runners import InProcess, Runner, Subprocess, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sockudo.client.http import ApiClient
    from sockudo.config import Settings
    from sockudo.testing.blocking import BlockingClient
    from sockudo.testing.recorder import RecordingClient

__all__ = ["TestServer", "serve"]

# The id is a number because Pusher's Python SDK takes no other.
_APP: Final = Credentials("1001", "app-key", "app-secret")
_BASE: Final[Mapping[str, Any]] = {
    "host": "127.0.0.1",
    "port": 0,
    "shutdown_grace_period": 1,
    "metrics": {"enabled": False},
    "rate_limiter": {"enabled": False},
    "app_manager": {
        "array": {
            "apps": [
                {
                    "id": _APP.app_id,
                    "key": _APP.key,
                    "secret": _APP.secret,
                    "enabled": True,
                    "policy": {
                        "features": {
                            "enable_client_messages": True,
                            "enable_user_authentication": True,
                            "enable_watchlist_events": True,
                        }
                    },
                }
            ]
        }
    },
}


def serve(
    config: Mapping[str, Any] | None = None,
    *,
    clock: Clock | None = None,
    process: bool = False,
    start_timeout: float = 10.0,
) -> TestServer:
    """A server for ``with`` or ``async with``: it runs inside the block, on a free port of this machine.

    The app may do everything and is ``1001`` / ``app-key`` / ``app-secret``; ``config`` is laid over that, in the form
    of a configuration file. The server runs in a thread of this process, on ``clock`` if one is given; with
    ``process`` it runs as a process of its own, which takes a little longer and cannot have a clock from here.
    """
    return TestServer(config, clock=clock, process=process, start_timeout=start_timeout)


class TestServer:
    """One server; see `serve`. ``url``, ``host``, ``port`` and ``app`` are known once it runs."""

    __test__ = False  # the name means something to pytest

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        *,
        clock: Clock | None = None,
        process: bool = False,
        start_timeout: float = 10.0,
    ) -> None:
        if process and clock is not None:
            raise ValueError("a server in another process cannot have a clock of this one")
        self.clock = clock
        self.host = "127.0.0.1"
        self.port = 0
        self.app = _APP
        self._config = _merged(_BASE, config or {})
        self._process = process
        self._start_timeout = start_timeout
        self._folder: Path | None = None
        self._runner: Runner | None = None

    @property
    def url(self) -> str:
        """Where the server listens: what an application is to be configured with."""
        return f"http://{self.host}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The server and its app as the variables that frameworks read for Pusher."""
        return {
            "PUSHER_APP_ID": self.app.app_id,
            "PUSHER_APP_KEY": self.app.key,
            "PUSHER_APP_SECRET": self.app.secret,
            "PUSHER_HOST": self.host,
            "PUSHER_PORT": str(self.port),
            "PUSHER_SCHEME": "http",
        }

    @property
    def log(self) -> str:
        """What a server in a process of its own has printed; one in this process logs to `logging` instead."""
        return "" if self._runner is None else self._runner.log

    # ---- life ----

    def start(self) -> Self:
        """Start and wait until it listens. Raises RuntimeError when it does not, ConfigError for a wrong ``config``."""
        self._folder = Path(tempfile.mkdtemp(prefix="sockudo-testing-"))
        try:
            self._runner = self._make_runner(self._folder)
            self.port = self._runner.start(self._start_timeout)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop in an orderly way: open connections are closed with 4200. Does nothing the second time."""
        runner, self._runner = self._runner, None
        folder, self._folder = self._folder, None
        try:
            if runner is not None:
                runner.stop()
        finally:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)

    def advance(self, seconds: float) -> None:
        """Move the server's `FakeClock` and let it do at once what is due by then: pings, closes, expired members."""
        if self._runner is None:
            raise RuntimeError("the server does not run")
        self._runner.advance(seconds)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    # ---- talking to it ----

    @asynccontextmanager
    async def client(self, **options: Any) -> AsyncIterator[RecordingClient]:
        """A connected `RecordingClient`; ``options`` as in `RecordingClient.connect`."""
        from sockudo.testing.recorder import RecordingClient

        async with await RecordingClient.connect(self.url, self.app, **options) as client:
            yield client

    @contextmanager
    def blocking_client(self, **options: Any) -> Iterator[BlockingClient]:
        """The same for tests that are not asynchronous."""
        from sockudo.testing.blocking import BlockingClient

        with BlockingClient(self.url, self.app, **options) as client:
            yield client

    def api(self) -> ApiClient:
        """A client of the HTTP API, signed with the app's secret and on the server's clock."""
        from sockudo.client.http import ApiClient

        return ApiClient(self.url, self.app, clock=self.clock)

    # ---- how it is made ----

    def _make_runner(self, folder: Path) -> Runner:
        config = _merged(self._config, {"data_dir": str(folder / "data")})
        if self._process and not config["port"]:
            config["port"] = free_port()
        path = folder / "config.json"
        path.write_text(json.dumps(config))
        settings = _settings(path, folder)
        self.host = settings.host
        if settings.apps:
            first = settings.apps[0]
            self.app = Credentials(first.id, first.key, first.secret)
        if self._process:
            return Subprocess(path, folder, settings.port, f"http://{settings.host}:{settings.port}")
        return InProcess(settings, self.clock)


def _settings(path: Path, folder: Path) -> Settings:
    from sockudo.config import load

    return load(path=path, environ={}, cwd=folder, dev=True).settings


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result = copy.deepcopy(dict(base))
    for key, value in changes.items():
        ours = result.get(key)
        result[key] = _merged(ours, value) if isinstance(ours, dict) and isinstance(value, Mapping) else value
    return result
