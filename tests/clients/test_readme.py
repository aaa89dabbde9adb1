"""The first minute of the README: its commands and its publishes from backends, as they stand there."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.ports import free_port
from support.server import ServerProcess, start_server
from support.signing import Credentials
from support.waiting import wait_until
from support.websocket import WebSocket

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DEV = Credentials("1001", "app-key", "app-secret")


def block(language: str, containing: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    [found] = [each for each in blocks if containing in each]
    return str(found)


@pytest.fixture(scope="module")
def dev() -> Iterator[ServerProcess]:
    with start_server({"app_manager": {"array": {"apps": []}}}, args=("--dev",)) as server:
        yield server


@pytest.fixture
def browser(dev: ServerProcess) -> Iterator[WebSocket]:
    with WebSocket(dev, app=DEV) as socket:
        socket.greeting()
        socket.subscribe("my-channel")
        yield socket


def received(browser: WebSocket) -> object:
    event = browser.event()
    assert (event["channel"], event["event"]) == ("my-channel", "my-event")
    return json.loads(event["data"])


def test_the_publish_from_python(dev: ServerProcess, browser: WebSocket) -> None:
    program = block("python", "import pusher\n").replace("6001", str(dev.port))
    subprocess.run([sys.executable, "-c", program], check=True)
    assert received(browser) == {"hello": "from Python"}


def test_the_publish_from_node(dev: ServerProcess, browser: WebSocket) -> None:
    program = block("js", 'require("pusher")').replace("6001", str(dev.port))
    subprocess.run(["node", "-e", program], check=True, cwd=ROOT / "tests" / "clients")
    assert received(browser) == {"hello": "from Node"}


@pytest.mark.parametrize("app_id", ["1001", "app-id"])
def test_the_alias_in_paths_is_the_same_app(dev: ServerProcess, browser: WebSocket, app_id: str) -> None:
    body = {"name": "my-event", "channel": "my-channel", "data": "{}"}
    reply = dev.signed("POST", f"/apps/{app_id}/events", app=DEV, body=body)
    assert reply.status == 200
    assert received(browser) == {}


def test_see_it_work(tmp_path: Path) -> None:
    listen, publish = block("sh", "listen my-channel").splitlines()
    port = str(free_port())
    plain = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    there = {**plain, "SOCKUDO_URL": f"http://127.0.0.1:{port}"}
    log, heard = tmp_path / "server.log", tmp_path / "heard"
    serve = ["scripts/serve", "--port", port, "--metrics-port", str(free_port()), "--data-dir", str(tmp_path / "kept")]
    with log.open("wb") as to_log, heard.open("wb") as to_heard:
        server = subprocess.Popen(serve, cwd=ROOT, env=plain, stdout=to_log, stderr=to_log)
        listener = None
        try:
            wait_until(lambda: '"ready"' in log.read_text(), "the server to be ready", timeout=30)
            listener = subprocess.Popen(shlex.split(listen), cwd=ROOT, env=there, stdout=to_heard, stderr=to_heard)
            wait_until(lambda: "my-channel" in heard.read_text(), "the subscription", timeout=30)
            subprocess.run(shlex.split(publish), cwd=ROOT, env=there, check=True)
            wait_until(lambda: "my-event" in heard.read_text(), "the event", timeout=30)
            assert "world" in heard.read_text()
        finally:
            for process in (listener, server):
                if process is not None:
                    process.send_signal(signal.SIGTERM)
                    process.wait(30)
