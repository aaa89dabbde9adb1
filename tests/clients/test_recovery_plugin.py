"""The recovery plug-in in stock pusher-js: what is published while a client is away arrives once, in order, or the
application is told of a gap."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sockudo.testing.loop_thread import LoopThread
from sockudo.testing.proxy import FaultProxy
from support.node import JsClient, Node, open_pusher
from support.server import DEFAULT_APP, NUMERIC_APP, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.waiting import PATIENCE, wait_until

BUFFERED = DEFAULT_APP
"""Its channels keep their last messages in memory."""
DURABLE = NUMERIC_APP
"""Its channels are stored."""
PLAIN = Credentials("plain-id", "plain-key", "plain-secret")
"""Protocol V1 as everybody knows it."""
BRIEF = Credentials("brief-id", "brief-key", "brief-secret")
"""Its channels keep two messages."""

V1_RECOVERY = {"channels": {"v1_recovery": True}}
NO_HISTORY = {"history": {"enabled": False}}
ANA = {"user_id": "ana", "user_info": {"name": "Ana"}}

_names = itertools.count(1)


def config(**changes: Any) -> dict[str, Any]:
    apps = [
        app_record(BUFFERED, **V1_RECOVERY, **NO_HISTORY),
        app_record(DURABLE, **V1_RECOVERY),
        app_record(PLAIN, **NO_HISTORY),
        app_record(BRIEF, **V1_RECOVERY, **NO_HISTORY, connection_recovery={"enabled": True, "max_buffer_size": 2}),
    ]
    return {
        "connection_recovery": {"enabled": True, "max_buffer_size": 500},
        "history": {"enabled": True, "backend": "sqlite"},
        "app_manager": {"array": {"apps": apps}},
        **changes,
    }


class Line:
    """The line between the clients and a server, which can be cut."""

    def __init__(self, loop: LoopThread, server: ServerProcess) -> None:
        self.loop = loop
        self.host, self.app = "127.0.0.1", server.app
        self.proxy = FaultProxy(server.url)
        loop.run(self.proxy.__aenter__())
        self.port = self.proxy.port

    def cut(self) -> None:
        """Resets every connection."""
        self.loop.call(self.proxy.cut)

    def close(self) -> None:
        self.loop.run(self.proxy.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with start_server(config()) as running:
        yield running


@pytest.fixture(scope="module")
def harness() -> Iterator[Node]:
    running = Node("recovery_harness.mjs")
    yield running
    running.stop()


@pytest.fixture
def lines() -> Iterator[Callable[[ServerProcess], Line]]:
    loop = LoopThread("lines")
    opened: list[Line] = []

    def open_one(server: ServerProcess) -> Line:
        opened.append(Line(loop, server))
        return opened[-1]

    yield open_one
    for line in opened:
        line.close()
    loop.close()


@pytest.fixture
def line(lines: Callable[[ServerProcess], Line], server: ServerProcess) -> Line:
    return lines(server)


class Client:
    """A pusher-js client behind a line, and what its application was told."""

    def __init__(self, js: JsClient, line: Line) -> None:
        self.js = js
        self.line = line
        self.do = js.do
        self.subscribe = js.subscribe

    def cut(self) -> None:
        """Cuts the line; the client has noticed, and stays away."""
        self.do("away")
        self.line.cut()
        self.js.expect("cut")

    def back(self) -> None:
        self.do("back")
        self.js.connected()

    def outcome(self, channel: str) -> tuple[str, dict[str, Any]]:
        """Waits for what comes of a channel, which the client object is told as well."""

        def matches(report: dict[str, Any]) -> bool:
            return report.get("channel") == channel and report.get("event") in ("recovered", "gap")

        report = self.js.mailbox.next(matches, f"the outcome of {channel}")
        assert report["data"]["channel"] == channel
        assert self.js.expect("told", event=report["event"], data=report["data"])
        return report["event"], report["data"]

    def recovered(self, channel: str) -> int:
        event, data = self.outcome(channel)
        assert event == "recovered", data
        count: int = data["count"]
        return count

    def gap(self, channel: str) -> tuple[str, str]:
        event, data = self.outcome(channel)
        assert event == "gap", data
        return data["code"], data["reason"]

    def events(self, channel: str) -> list[str]:
        """The names of all events on the channel so far."""
        return [report["event"] for report in self.js.reports("event", channel=channel)]

    def heard(self, channel: str) -> list[Any]:
        """The data of what was published on the channel, as far as it has arrived."""
        return [report["data"] for report in self.js.reports("event", channel=channel, event="said")]

    def has_heard(self, channel: str, expected: list[Any]) -> None:
        """Waits for these messages, and insists on nothing but these, in this order."""
        wait_until(lambda: len(self.heard(channel)) >= len(expected), f"{len(expected)} messages on {channel}")
        assert self.heard(channel) == expected


@pytest.fixture
def connect(harness: Node, line: Line) -> Iterator[Callable[..., Client]]:
    opened: list[JsClient] = []

    def open_one(app: Credentials = BUFFERED, *, line: Line = line, **fields: Any) -> Client:
        target = {"id": app.id, "key": app.key, "secret": app.secret}
        js = open_pusher(harness, line, f"recovery-{next(_names)}", app=target, **fields)  # type: ignore[arg-type]  # where it listens
        opened.append(js)
        js.connected()
        return Client(js, line)

    yield open_one
    for each in opened:
        each.close()


Connect = Callable[..., Client]


def say(server: ServerProcess, channel: str, *numbers: int, app: Credentials = BUFFERED) -> None:
    for number in numbers:
        server.publish(channel, "said", str(number), app=app)


# ---- what is recovered ----


@pytest.mark.parametrize("version", [7, 8])
@pytest.mark.parametrize("app", [BUFFERED, DURABLE], ids=["buffered", "durable"])
@pytest.mark.parametrize(
    "prefix", ["", "private-", "presence-", "private-encrypted-"], ids=lambda kind: kind or "public-"
)
def test_what_was_missed_arrives_once_and_in_order(
    connect: Connect, server: ServerProcess, unique: str, prefix: str, app: Credentials, version: int
) -> None:
    channel = prefix + unique
    client = connect(app, version=version, member=ANA, authTakes=30)
    client.subscribe(channel)
    if prefix == "private-encrypted-":
        pytest.skip("below")
    say(server, channel, 1, 2, app=app)
    client.has_heard(channel, [1, 2])
    client.cut()
    say(server, channel, 3, 4, 5, app=app)
    client.back()
    assert client.recovered(channel) == 3
    say(server, channel, 6, app=app)
    client.has_heard(channel, [1, 2, 3, 4, 5, 6])
    assert client.events(channel).count("pusher:subscription_succeeded") == 2
