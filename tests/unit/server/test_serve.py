"""`sockudo serve`: options become overrides, the rest is the server's."""

from __future__ import annotations

import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sockudo.config
from sockudo.config import ConfigError

# What no server needs but one that sends webhooks, keeps something in SQL, sends push, shows the dashboard or traces.
OPTIONAL = {
    "sockudo.webhooks.sender",
    "sqlalchemy",
    "redis",
    "sockudo.push.pipeline",
    "sockudo.push.providers",
    "sockudo.outbound.exchange",
    "jinja2",
    "sockudo.dashboard.app",
    "opentelemetry",
}

# For each configuration starts a server, stops it, and prints which modules are there: in a process that has what every
# server has, and nothing of the others.
SERVERS = """
import asyncio, os, sys
from pathlib import Path
from sockudo.config import load
from sockudo.server.server import Server

async def run(config):
    overrides = {"port": 0, "metrics.port": 0, "data_dir": f"{config}.data"}
    server = Server(load(path=Path(config), environ={}, cwd=Path.cwd(), overrides=overrides).settings)
    await server.start()
    await server.stop()

for config in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        asyncio.run(run(config))
        print(*sys.modules)
        sys.exit()
    if os.waitpid(child, 0)[1]:
        sys.exit(f"the server of {config} failed")
"""

OPTIONS = (
    "host",
    "port",
    "metrics.port",
    "workers",
    "data_dir",
    "instance.shared_stores",
    "dev_origins",
    "log_level",
    "log_format",
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stands in for the server and the loader; keeps what the loader was asked for."""
    seen: dict[str, Any] = {"code": 0}

    def load(**asked: Any) -> str:
        seen["asked"] = asked
        return "loaded"

    def run(load: Callable[[], str], began: float) -> int:
        assert began <= time.monotonic()
        outcome = seen.get("outcome")
        if outcome is not None:
            raise outcome
        seen["loaded"] = load()
        return int(seen["code"])

    module = types.ModuleType("sockudo.server.process")
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sockudo.server.process", module)
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
        "--workers", "auto", "--data-dir", "/var/lib/x", "--shared-stores",
        "--log-level", "debug", "--log-format", "json",
        "--allow-origin", "https://a.example", "--allow-origin", "*.b.example",
    )  # fmt: skip
    assert result.exit_code == 0
    assert server["asked"]["path"] == Path("x.toml")
    assert server["asked"]["dev"] is True
    assert server["asked"]["overrides"] == {
        "host": "::1",
        "port": 0,
        "metrics.port": 9602,
        "workers": "auto",
        "data_dir": "/var/lib/x",
        "instance.shared_stores": True,
        "dev_origins": ["https://a.example", "*.b.example"],
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
app_manager.driver = "memory"
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


LOADED = {
    "plain": (f"dashboard.enabled = false\n{APP}", set()),
    "dashboard": (APP, {"jinja2", "sockudo.dashboard.app"}),
    "push": (
        f"dashboard.enabled = false\n{PUSH}{APP}",
        {"sockudo.push.pipeline", "sockudo.push.providers", "sockudo.outbound.exchange", "sqlalchemy"},
    ),
    "webhooks": (f"dashboard.enabled = false\n{APP}{WEBHOOK}", {"sockudo.webhooks.sender", "sqlalchemy"}),
    "apps in a file": (APP.replace("memory", "sqlite"), {"jinja2", "sockudo.dashboard.app", "sqlalchemy"}),
    "history": (f"dashboard.enabled = false\nhistory.enabled = true\n{APP}", {"sqlalchemy"}),
}
"""A configuration, and what a server with it loads of `OPTIONAL`."""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """What the servers have loaded."""
    folder = tmp_path_factory.mktemp("loaded")
    configs = [folder / f"{name}.toml" for name in LOADED]
    for config, (settings, _) in zip(configs, LOADED.values(), strict=True):
        config.write_text(settings)
    command = [sys.executable, "-c", SERVERS, *map(str, configs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    modules = [OPTIONAL & set(line.split()) for line in done.stdout.splitlines() if " sockudo.server.server " in line]
    return dict(zip(LOADED, modules, strict=True))


@pytest.mark.parametrize("name", LOADED)
def test_a_server_loads_only_what_its_configuration_asks_for(name: str, loaded: dict[str, set[str]]) -> None:
    """Start-up time is imports: each of these would take a good part of it."""
    assert loaded[name] == LOADED[name][1]
