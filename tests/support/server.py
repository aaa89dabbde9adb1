"""A real server process for black-box tests: started with a configuration of its own, watched, and stopped.

    with start_server({"activity_timeout": 1}) as server:
        reply = server.signed("POST", f"/apps/{server.app.id}/events", body={...})

Stopping fails the test when the process did not leave with 0 or its log holds a traceback: whatever a test was about,
the server must not have stumbled over it.
"""

from __future__ import annotations

import contextlib
import copy
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from support.forked import ForkedProcess
from support.ports import free_port
from support.signing import Credentials, signed_query
from support.waiting import PATIENCE, wait_until

__all__ = [
    "DEFAULT_APP",
    "FROM_NOTHING",
    "NUMERIC_APP",
    "STREAMS",
    "Process",
    "Reply",
    "ServerProcess",
    "app_record",
    "log_lines",
    "start_server",
    "wait_for_line",
]

Process = subprocess.Popen[bytes] | ForkedProcess

FROM_NOTHING = (sys.executable, "-m", "sockudo")
"""The command as users start it, imports included."""

READY_WITHIN = 30.0
"""Seconds a start may take before it counts as failed: far above what it needs, so a busy machine fails nothing."""

STOPPED_WITHIN = 15.0
"""Seconds a stop may take, with the configured grace period inside."""

DEFAULT_APP = Credentials("app-id", "app-key", "app-secret")
NUMERIC_APP = Credentials("4471", "pier-key-20c1", "tide-secret-9f4e")
"""Pusher's Python SDK refuses app ids that are not numbers."""

STREAMS = {
    "connection_recovery": {"enabled": True},
    "history": {"enabled": True, "backend": "memory"},
    "tag_filtering": {"enabled": True},
}
"""A configuration with everything on that protocol V2 has for every channel."""

_KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "SSL_CERT_FILE")
_SIGNS_OF_A_BUG = ("Traceback (most recent call last)", "was never awaited", "Task exception was never retrieved")


def app_record(app: Credentials, **policy: Mapping[str, Any]) -> dict[str, Any]:
    """A configured app with client events, sign-in and watchlists on; ``policy`` replaces whole parts of that."""
    features = {
        "enable_client_messages": True,
        "enable_user_authentication": True,
        "enable_watchlist_events": True,
    }
    return {
        "id": app.id,
        "key": app.key,
        "secret": app.secret,
        "enabled": True,
        "policy": {"features": features, **policy},
    }


def _default_config() -> dict[str, Any]:
    return {
        "host": "127.0.0.1",
        "shutdown_grace_period": 3,
        "rate_limiter": {"enabled": False},
        "metrics": {"host": "127.0.0.1"},
        # Without one, each server makes its own, which takes longer than all the rest of its start.
        "dashboard": {"password": "a password that nobody asks for"},
        "app_manager": {
            "driver": "memory",
            "array": {"apps": [app_record(DEFAULT_APP), app_record(NUMERIC_APP)]},
        },
    }


def _merged(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result = copy.deepcopy(base)
    for key, value in changes.items():
        ours = result.get(key)
        result[key] = _merged(ours, value) if isinstance(ours, dict) and isinstance(value, Mapping) else value
    return result


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer, read to its end. Header names are lower-cased."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


class ServerProcess:
    """A running server. `app` is the default one, `numeric_app` the one for Pusher's Python SDK."""

    def __init__(self, process: Process, folder: Path, config: Mapping[str, Any]) -> None:
        self.process = process
        self.folder = folder
        self.host: str = config["host"]
        self.port: int = config["port"]
        self.metrics_port: int = config["metrics"]["port"]
        self.app = DEFAULT_APP
        self.numeric_app = NUMERIC_APP
        self.tracebacks_allowed = False

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def ws_url(self, key: str | None = None, query: str = "protocol=7&client=test&version=1.0") -> str:
        return f"ws://{self.host}:{self.port}/app/{self.app.key if key is None else key}?{query}"

    @property
    def log(self) -> str:
        """Everything the process has printed so far, both streams."""
        return (self.folder / "server.log").read_text(errors="replace")

    @property
    def exit_code(self) -> int | None:
        return self.process.poll()

    def request(
        self,
        method: str,
        target: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> Reply:
        """One request on a connection of its own; ``target`` goes out as it is."""
        connection = http.client.HTTPConnection(self.host, port or self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request(method, target, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            received = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, received, response.read())

    def signed(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        app: Credentials | None = None,
    ) -> Reply:
        """A signed API request; ``body`` is sent as JSON."""
        raw = b"" if body is None else json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        query = signed_query(app or self.app, method, path, params=params, body=raw)
        headers = {"Content-Type": "application/json"} if raw else {}
        return self.request(method, f"{path}?{query}", body=raw or None, headers=headers)

    def publish(self, channel: str, event: str, data: str, *, app: Credentials = DEFAULT_APP, **fields: Any) -> Reply:
        """Publishes one event and insists that it was accepted; ``fields`` are further ones of the body."""
        body = {"name": event, "channels": [channel], "data": data, **fields}
        reply = self.signed("POST", f"/apps/{app.id}/events", body=body, app=app)
        assert reply.status == 200, f"publish to {channel}: {reply.status} {reply.text}"
        return reply

    @property
    def cpu_seconds(self) -> float:
        """What the process has worked so far, whatever else the machine does; in hundredths."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def metrics(self) -> str:
        return self.request("GET", "/metrics", port=self.metrics_port).text

    def send_signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float = STOPPED_WITHIN) -> int:
        """The exit code, once the process has ended by itself."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the server did not end within {timeout:g} s; its log:\n{self.log}") from None

    def terminate(self, timeout: float = STOPPED_WITHIN) -> int:
        """Asks the process to stop, as a service manager would, and returns its exit code."""
        if self.exit_code is None:
            self.process.terminate()
        return self.wait(timeout)

    def check_log(self) -> None:
        """Fails on anything in the log that says the server itself made a mistake."""
        log = self.log
        found = [sign for sign in _SIGNS_OF_A_BUG if sign in log]
        first = min((log.index(sign) for sign in found), default=0)
        part = log[max(0, first - 1000) : first + 6000]
        assert not found or self.tracebacks_allowed, f"the server's log holds {found}:\n{part}"

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ended_before = self.exit_code is not None
        try:
            code = self.terminate()
            if kind is None:
                self.check_log()
                assert ended_before or code == 0, f"the server left with {code}:\n{self.log[-6000:]}"
        finally:
            self.close()

    def close(self) -> None:
        """Ends the process the hard way if it still runs, and removes its files."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def start_server(
    config: Mapping[str, Any] | None = None,
    *,
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    command: Sequence[str] | None = None,
    plain_http: bool = True,
) -> ServerProcess:
    """Starts a server and returns when it answers ``GET /live``; unless ``plain_http``, when its log says it is ready.

    ``config`` is laid over a default with two apps that may do everything, no rate limits, a password for the
    dashboard, and free ports; with ``dashboard`` of None nothing is said of it, and the server makes its password. The
    process gets an environment of its own, so that variables of the shell which runs the tests change nothing. Raises
    AssertionError with the log when the server does not come up.

    It is a copy of a process that has imported everything (see `support.forked`); with ``command``, such as
    `FROM_NOTHING`, that is started.
    """
    folder = Path(tempfile.mkdtemp(prefix="sockudo-test-"))
    chosen = _merged({**_default_config(), "port": free_port()}, {"metrics": {"port": free_port()}})
    chosen = _merged(chosen, config or {})
    if chosen["dashboard"] is None:
        del chosen["dashboard"]
    (folder / "config.json").write_text(json.dumps(chosen, indent=2))
    environment = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
    environment.update({"SOCKUDO_DATA_DIR": str(folder / "data"), "PYTHONUNBUFFERED": "1", **(env or {})})
    arguments = ["serve", "--config", str(folder / "config.json"), *args]
    process: Process
    with (folder / "server.log").open("wb") as log, open(os.devnull, "rb") as nothing:
        given, printed = nothing.fileno(), log.fileno()
        if command is None:
            process = ForkedProcess(arguments, cwd=folder, env=environment, stdin=given, stdout=printed, stderr=printed)
        else:
            line = [*command, *arguments]
            process = subprocess.Popen(line, cwd=folder, env=environment, stdin=given, stdout=printed, stderr=printed)
    server = ServerProcess(process, folder, chosen)
    try:
        _wait_for_start(server, plain_http=plain_http)
    except BaseException:
        server.close()
        raise
    return server


def _wait_for_start(server: ServerProcess, *, plain_http: bool) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline:
        if server.exit_code is not None:
            raise AssertionError(f"the server ended with {server.exit_code} while starting:\n{server.log}")
        # It is this server that says so, and answers.
        if " is ready in " in server.log and (not plain_http or _is_live(server)):
            return
        time.sleep(0.02)
    raise AssertionError(f"the server was not ready within {READY_WITHIN:g} s:\n{server.log}")


def _is_live(server: ServerProcess) -> bool:
    try:
        return server.request("GET", "/live").status == 200
    except OSError:
        return False


def log_lines(server: ServerProcess) -> list[dict[str, Any]]:
    """The JSON lines, whole ones only; what was printed for people is left out."""
    whole = server.log.rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]


def wait_for_line(server: ServerProcess, message: str, *, after: int = 0) -> dict[str, Any]:
    """The fields of the first line with this message, ``after`` so many earlier lines of any kind; waits for it."""

    def found() -> dict[str, Any] | None:
        fields = (line["fields"] for line in log_lines(server)[after:])
        return next((each for each in fields if each["message"] == message), None)

    try:
        return wait_until(found, f"the log line {message!r}")
    except AssertionError as timeout:
        raise AssertionError(f"{timeout}; the log after line {after}:\n{server.log[-6000:]}") from None
