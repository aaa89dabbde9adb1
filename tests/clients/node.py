"""The Node process that drives the stock JavaScript clients (`tests/clients/harness.mjs` and its like)."""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import json
import queue
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

from support.parts import cannot_run
from support.server import ServerProcess
from support.signing import Credentials
from support.waiting import PATIENCE, Mailbox

__all__ = ["CLIENTS", "MASTER_KEY", "JsClient", "Node", "NodeSdk", "install_packages", "open_echo", "open_pusher"]

CLIENTS = Path(__file__).parent
PART = "stock JavaScript clients (pusher-js, pusher for Node, laravel-echo)"
INSTALL_WITHIN = 100.0
"""Seconds: fewer than a test has."""

MASTER_KEY = "bWFzdGVyLWtleS1vZi10aGUtdGVzdC1zdWl0ZS0wMDE="
"""Base64 of the 32 bytes from which the SDKs derive the secrets of encrypted channels."""

Report = dict[str, Any]


def install_packages() -> Path:
    """Installs what `tests/clients/package-lock.json` locks, once per version of that file; the `node_modules` folder.

    A machine without npm, or without a way to the packages, skips the test that asked.
    """
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        cannot_run(PART, "node and npm are not installed (apt-get install nodejs npm)")
    modules = CLIENTS / "node_modules"
    wanted = hashlib.sha256((CLIENTS / "package-lock.json").read_bytes()).hexdigest()
    stamp = modules / ".installed-from"
    with (CLIENTS / ".install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return modules
        try:
            run = subprocess.run(
                [npm, "ci", "--no-audit", "--no-fund"],
                cwd=CLIENTS,
                capture_output=True,
                text=True,
                timeout=INSTALL_WITHIN,
                check=False,
            )
        except subprocess.TimeoutExpired:
            cannot_run(PART, f"npm ci took over {INSTALL_WITHIN:g} s")
        if run.returncode != 0:
            last = (run.stderr.strip().splitlines() or ["no output"])[-1]
            cannot_run(PART, f"npm ci failed: {last}")
        stamp.write_text(wanted)
    return modules


class Node:
    """The harness process: `call` sends a request and waits for its answer, reports go to the client they are about."""

    def __init__(self, script: str = "harness.mjs", *arguments: str) -> None:
        install_packages()
        self._process = subprocess.Popen(
            ["node", str(CLIENTS / script), *arguments],
            cwd=CLIENTS,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._numbers = itertools.count(1)
        self._answers: dict[int, queue.SimpleQueue[Report]] = {}
        self._mailboxes: dict[str, Mailbox[Report]] = {}
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, name="node-harness", daemon=True)
        self._reader.start()
        if not self._ready.wait(PATIENCE):
            raise AssertionError("the Node harness did not start")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message: Report = json.loads(line)
            if "id" in message:
                self._answers[message["id"]].put(message)
            elif "client" in message:
                self._mailboxes[message["client"]].put(message)
            else:
                self._ready.set()

    def mailbox(self, client: str) -> Mailbox[Report]:
        return self._mailboxes.setdefault(client, Mailbox(client))

    def call(self, op: str, *, timeout: float = PATIENCE, **fields: Any) -> Any:
        """The result of one operation of the harness; what it throws fails the test."""
        number = next(self._numbers)
        answers = self._answers[number] = queue.SimpleQueue()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": number, "op": op, **fields}) + "\n")
        self._process.stdin.flush()
        try:
            answer = answers.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(f"{op}: no answer from the Node harness within {timeout:g} s") from None
        finally:
            del self._answers[number]
        if "error" in answer:
            raise AssertionError(f"{op} failed in the Node harness: {answer['error']}")
        return answer["result"]

    def stop(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(5)
        self._process.stdout.close()


def _target(server: ServerProcess, app: Credentials | None) -> dict[str, Any]:
    chosen = app or server.app
    return {
        "app": {"id": chosen.id, "key": chosen.key, "secret": chosen.secret},
        "host": server.host,
        "port": server.port,
        "masterKey": MASTER_KEY,
    }


class JsClient:
    """A pusher-js connection, or the one inside laravel-echo. What it reports is read with `expect`."""

    def __init__(self, node: Node, name: str) -> None:
        self.node = node
        self.name = name
        self.mailbox = node.mailbox(name)

    def do(self, op: str, **fields: Any) -> Any:
        return self.node.call(op, client=self.name, **fields)

    def expect(self, kind: str, *, timeout: float = PATIENCE, **fields: Any) -> Report:
        """The oldest report of this type with these fields that was not handed out before; waits for one."""

        def matches(report: Report) -> bool:
            return report["type"] == kind and all(report.get(name) == value for name, value in fields.items())

        return self.mailbox.next(matches, f"{kind} {fields or ''}", timeout=timeout)

    def reports(self, kind: str, **fields: Any) -> list[Report]:
        """All reports of this type with these fields so far: for what must not have come, after something that must."""
        return [
            report
            for report in self.mailbox.seen
            if report["type"] == kind and all(report.get(name) == value for name, value in fields.items())
        ]

    def connected(self) -> str:
        """Waits for the connection; the socket id."""
        socket_id: str = self.expect("state", state="connected")["socketId"]
        return socket_id

    def subscribe(self, channel: str) -> Any:
        """Subscribes and waits for the acknowledgement; its data."""
        self.do("subscribe", channel=channel)
        return self.expect("event", channel=channel, event="pusher:subscription_succeeded")["data"]

    def data(self, channel: str, event: str) -> Any:
        """The data of the next such event on the channel, each event once."""
        return self.expect("event", channel=channel, event=event)["data"]

    def close(self) -> None:
        self.do("close")


class NodeSdk:
    """Pusher's server SDK for Node, for one app of one server. Every method gives ``{"status": …, "body": …}``."""

    def __init__(self, node: Node, server: ServerProcess, app: Credentials | None = None) -> None:
        self.node = node
        self.target = _target(server, app)

    def do(self, op: str, *, timeout: float = PATIENCE, **fields: Any) -> Any:
        return self.node.call(op, timeout=timeout, **self.target, **fields)

    def trigger(self, channels: str | list[str], event: str, data: Any, **params: Any) -> Any:
        return self.do("trigger", channels=channels, event=event, data=data, params=params)

    def trigger_batch(self, batch: list[dict[str, Any]]) -> Any:
        return self.do("triggerBatch", batch=batch)

    def trigger_many(self, channel: str, event: str, count: int) -> None:
        """``count`` publishes one after another with data ``{"number": 0…}``."""
        self.do("triggerMany", timeout=60, channel=channel, event=event, count=count)

    def get(self, path: str, params: dict[str, str] | None = None) -> Any:
        return self.do("get", path=path, params=params or {})

    def post(self, path: str, body: Any = None) -> Any:
        return self.do("post", path=path, body=body)

    def send_to_user(self, user: str, event: str, data: Any) -> Any:
        return self.do("sendToUser", user=user, event=event, data=data)

    def terminate(self, user: str) -> Any:
        return self.do("terminate", user=user)

    def webhook(self, headers: dict[str, str], body: str) -> Any:
        """What the SDK makes of a webhook: ``valid``, and then ``events`` and ``time`` in Unix milliseconds."""
        return self.do("webhook", headers=headers, rawBody=body)


def open_pusher(node: Node, server: ServerProcess, name: str, **fields: Any) -> JsClient:
    """A new pusher-js connection; it connects at once, `JsClient.connected` waits for that."""
    client = JsClient(node, name)
    client.do("open", **{**_target(server, None), **fields})
    return client


def open_echo(node: Node, server: ServerProcess, name: str, **fields: Any) -> JsClient:
    """The same for laravel-echo; ``broadcaster`` is "pusher" or "reverb"."""
    client = JsClient(node, name)
    client.do("openEcho", **{**_target(server, None), **fields})
    return client
