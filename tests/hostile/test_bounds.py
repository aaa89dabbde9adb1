"""The bounds of docs/security.md that a client can run into: it is refused, and is told which bound that was."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sockudo.errors import CATALOGUE
from support.server import DEFAULT_APP, STREAMS, ServerProcess, app_record, start_server
from support.tokens import TOKEN_APP
from support.waiting import wait_until
from support.websocket import WebSocket

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
LIMITS = {"max_channels_per_connection": 8, "max_patterns_per_connection": 3, "max_filters_per_connection": 4}


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    config = {
        **STREAMS,
        "websocket": LIMITS,
        "tag_filtering": {"enabled": True},
        "presence": {"max_members_per_channel": 2},
        "app_manager": {"array": {"apps": [app_record(DEFAULT_APP), app_record(TOKEN_APP)]}},
    }
    with start_server(config) as running:
        yield running


@pytest.fixture
def client(server: ServerProcess) -> Iterator[WebSocket]:
    with WebSocket(server, protocol=2) as opened:
        opened.greeting()
        yield opened


def refused(client: WebSocket, code: int, *words: str) -> None:
    found = client.event()
    assert (found["event"], found["data"]["code"]) == ("sockudo:error", code), found
    for word in words:
        assert word in found["data"]["message"]


def subscribe(client: WebSocket, channel: str, **fields: object) -> None:
    client.say("sockudo:subscribe", {"channel": channel, **fields})


def test_channels(client: WebSocket) -> None:
    for number in range(8):
        client.subscribe(f"c{number}")
    for number in range(8, 20):
        subscribe(client, f"c{number}")
        refused(client, 4300, "websocket.max_channels_per_connection", "8")
    client.subscribe("c0")


def test_patterns(client: WebSocket) -> None:
    for number in range(3):
        client.subscribe(f"c{number}*")
    for number in range(3, 20):
        subscribe(client, f"c{number}*")
        refused(client, 4300, "websocket.max_patterns_per_connection", "3")
    client.subscribe("c")


def test_filters(client: WebSocket) -> None:
    for number in range(4):
        client.subscribe(f"c{number}", filter={"expression": "data.a"})
    for asked in ({"expression": "data.a"}, {"events": ["e"]}, {"tags": {"key": "a", "cmp": "eq", "val": "b"}}):
        subscribe(client, "another", filter=asked)
        refused(client, 4300, "websocket.max_filters_per_connection", "4")
    client.subscribe("another")


def test_a_watchlist(client: WebSocket) -> None:
    client.sign_in("ana", watchlist=[f"u{number}" for number in range(101)])
    refused(client, 4302, "100")
    client.subscribe("c")


def test_members(server: ServerProcess, unique: str) -> None:
    room = f"presence-{unique}"
    clients = [WebSocket(server, protocol=2) for _ in range(3)]
    for number, each in enumerate(clients):
        each.greeting()
        if number < 2:
            each.subscribe(room, f"u{number}")
    subscription = clients[2].subscription(room, "u2")
    clients[2].say("sockudo:subscribe", subscription)
    refused(clients[2], 4100)
    subscription = clients[2].subscription(f"{room}-2", "u2", {"a": "x" * 4096})
    clients[2].say("sockudo:subscribe", subscription)
    refused(clients[2], 4300, "2KB")
    for each in clients:
        each.close()


def test_positions(client: WebSocket) -> None:
    client.say("sockudo:resume", {"channel_positions": {f"c{number}": {"serial": 0} for number in range(1001)}})
    refused(client, 4000, "resume data")
    client.subscribe("c")


def test_a_message(client: WebSocket) -> None:
    client.say("sockudo:ping", "x" * 70_000)
    client.closed(1009, "message is larger than 65536 bytes")


def test_what_clients_choose_is_no_label_of_a_metric(client: WebSocket, server: ServerProcess, unique: str) -> None:
    mark = unique[-12:]
    client.subscribe(f"{mark}-channel", filter={"events": [mark]})
    client.say(f"{mark}-event", {})
    client.say("sockudo:subscribe", {"channel": f"private-{mark}"})
    refused(client, 4009)
    assert mark not in server.metrics()


def test_filters_of_many_do_not_hold_up_a_publish(server: ServerProcess, unique: str) -> None:
    """Each just under its own budget, and far more together than a message's work."""
    items = "`[" + ",".join(["1"] * 70) + "]`"
    clients = [WebSocket(server, protocol=2) for _ in range(20)]
    name = unique[-40:]
    for number, each in enumerate(clients):
        each.greeting()
        for place in range(4):
            work = f"length({items}[?length({items}[?@!=`{10 * number + place + 2}`])>`9`])>`0`"
            each.subscribe(name if place == 0 else f"{name[:place]}*{name[-number - 1 :]}", filter={"expression": work})
    before = server.cpu_seconds
    for _ in range(5):
        server.publish(name, "e", "{}")
    # Eighty of them took most of a second for each publish.
    assert server.cpu_seconds - before < 2
    wait_until(lambda: 'reason="message_budget"' in server.metrics(), "the work that ran out to be counted")
    for each in clients:
        each.close()


def test_the_page_names_what_there_is() -> None:
    text = PAGE.read_text()
    settings = (PAGE.parent / "configuration.md").read_text()
    for limit in LIMITS:
        assert f"`websocket.{limit}`" in text
        assert f"`{limit}`" in settings or f"websocket.{limit}" in settings
    named = set(re.findall(r"(?:error|close|\d{3,5}) `([a-z_]+)`", text))
    assert {"too_many_channels", "over_quota", "history_busy"} <= named
    assert named <= set(CATALOGUE), json.dumps(sorted(named - set(CATALOGUE)))
