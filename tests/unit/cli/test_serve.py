"""`sockudo serve`: options become overrides, the rest is the server's."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sockudo.config
from sockudo.config import ConfigError

# What no server needs but one that sends webhooks, keeps something in SQL, sends push, shows the dashboard or traces.
OPTIONAL = {
    "httpcore",
    "sqlalchemy",
    "redis",
    "sockudo.push.pipeline",
    "sockudo.providers",
    "sockudo.outbound.exchange",
    "jinja2",
    "sockudo.dashboard.app",
    "opentelemetry",
}

# Starts a server, stops it, and prints which modules are there.
SERVER = """
import asyncio, sys
from pathlib import Path
from sockudo.config import load
from sockudo.server import Server

async def run():
    overrides = {"port": 0, "metrics.port": 0, "data_dir": sys.argv[2]}
    server = Server(load(path=Path(sys.argv[1]), environ={}, cwd=Path.cwd(), overrides=overrides).settings)
    await server.start()
    await server.stop()

asyncio.run(run())
print(*sys.modules, file=sys.stderr)
"""

OPTIONS = ("host", "port", "metrics.port", "data_dir", "log_level", "log_format")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stands in for the server and the loader; keeps what the loader was asked for."""
    seen: dict[str, Any] = {"code": 0}

    def load(**asked: Any) -> str:
        seen["asked"] = asked
        return "loaded"

    def run(load: Callable[[], str]) -> int:
        outcome = seen.get("outcome")
        if outcome is not None:
            raise outcome
        seen["loaded"] = load()
        return int(seen["code"])

    module = types.ModuleType("sockudo.process")
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sockudo.process", module)
    monkeypatch.setattr(sockudo.config, "load", load)
    return seen


def test_without_options_nothing_is_overridden(run: Any, server: dict[str, Any]) -> None:
    assert run("serve").exit_code == 0
    assert server["loaded"] == "loaded"
    assert (server["asked"]["path"], server["asked"]["dev"], server["asked"]["overrides"]) == (
        None,
        False,
        dict.fromkeys(OPTIONS),
    )
    assert server["asked"]["cwd"] == Path.cwd()


def test_options_become_overrides(run: Any, server: dict[str, Any]) -> None:
    result = run(
        "serve", "--config", "x.toml", "--dev", "--host", "::1", "--port", "0", "--metrics-port", "9602",
        "--data-dir", "/var/lib/x", "--log-level", "debug", "--log-format", "json",
    )  # fmt: skip
    assert result.exit_code == 0
    assert server["asked"]["path"] == Path("x.toml")
    assert server["asked"]["dev"] is True
    assert server["asked"]["overrides"] == {
        "host": "::1",
        "port": 0,
        "metrics.port": 9602,
        "data_dir": "/var/lib/x",
        "log_level": "debug",
        "log_format": "json",
    }


def test_the_exit_code_is_the_servers(run: Any, server: dict[str, Any]) -> None:
    server["code"] = 7
    assert run("serve").exit_code == 7


def test_every_problem_of_a_configuration_is_a_line(run: Any, server: dict[str, Any]) -> None:
    server["outcome"] = ConfigError(["x.toml: unknown key 'prot'; did you mean 'port'?", "x.toml: port is 0.5"])
    result = run("serve")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "The configuration cannot be used:",
        "  • x.toml: unknown key 'prot'; did you mean 'port'?",
        "  • x.toml: port is 0.5",
    ]


@pytest.mark.parametrize("arguments", [("--port", "65536"), ("--port", "x"), ("--nonsense",)])
def test_usage(run: Any, server: dict[str, Any], arguments: tuple[str, ...]) -> None:
    assert run("serve", *arguments).exit_code == 2
    assert "asked" not in server


APP = """
[[app_manager.array.apps]]
id = "1"
key = "k"
secret = "s"
"""

PUSH = """
push.webpush_enabled = true
push.storage_driver = "memory"
push.queue_driver = "memory"
push.allow_memory_drivers = true
push.credential_encryption_key = "0123456789abcdef0123456789abcdef"
"""

WEBHOOK = """
[[app_manager.array.apps.policy.webhooks]]
url = "http://127.0.0.1:9"
event_types = ["channel_occupied"]
"""


@pytest.mark.parametrize(
    ("settings", "loaded"),
    [
        (f"dashboard.enabled = false\n{APP}", set()),
        (APP, {"jinja2", "sockudo.dashboard.app"}),
        (
            f"dashboard.enabled = false\n{PUSH}{APP}",
            {"sockudo.push.pipeline", "sockudo.providers", "sockudo.outbound.exchange"},
        ),
        (f"dashboard.enabled = false\n{APP}{WEBHOOK}", {"httpcore"}),
        (f"dashboard.enabled = false\nhistory.enabled = true\n{APP}", {"sqlalchemy"}),
    ],
    ids=["plain", "dashboard", "push", "webhooks", "history"],
)
def test_a_server_loads_only_what_its_configuration_asks_for(tmp_path: Path, settings: str, loaded: set[str]) -> None:
    """Start-up time is imports: each of these would take a good part of it."""
    config = tmp_path / "sockudo.toml"
    config.write_text(settings)
    command = [sys.executable, "-c", SERVER, str(config), str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert OPTIONAL & set(done.stderr.split()) == loaded
