"""Mistakes that people make: what they are answered, what operators are shown, and whether a remedy is stated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest

from support.operators import PASSWORD, dashboard_config
from support.server import DEFAULT_APP, FROM_NOTHING, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.waiting import wait_until
from support.websocket import WebSocket

BEARER = {"Authorization": f"Bearer {PASSWORD}"}


TALKING = Credentials("talking", "talking-key", "talking-secret")
STRICT = Credentials("strict", "strict-key-5d21c0", "strict-secret")


class Mistake(NamedTuple):
    """``make`` makes it, and insists on what is answered. Operators find ``error`` with ``text``, which is what was
    said or its cause, among the problems, and ``remedy`` in its advice.
    """

    name: str
    make: Callable[[ServerProcess], object]
    error: str
    text: str
    remedy: str


def published(**fields: Any) -> Callable[[ServerProcess], object]:
    """An event that is accepted all the same, as the protocol has it."""

    def make(server: ServerProcess) -> None:
        reply = server.signed("POST", "/apps/app-id/events", body={"name": "event", "data": "x", **fields})
        assert (reply.status, reply.json()) == (200, {"ok": True})

    return make


def near_miss(server: ServerProcess) -> None:
    with WebSocket(server).greeting() as client:
        client.subscribe("private-orders")
        published(channels=["private-Orders"])(server)


def whisper(server: ServerProcess) -> None:
    with WebSocket(server).greeting() as client:
        client.say("typing", {"a": 1}, "private-orders")
        client.hears_nothing()


def misspelt_key(server: ServerProcess) -> None:
    wrong = Credentials("", "strict-key-5d2lc0", "")
    with WebSocket(server, app=wrong) as client:
        client.ended(4001, "Application does not exist")


def no_origin(server: ServerProcess) -> None:
    with WebSocket(server, app=STRICT) as client:
        client.ended(4009, "Origin not allowed")


def member_true(server: ServerProcess) -> None:
    with WebSocket(server).greeting() as client:
        auth = client.auth("presence-room", "true")
        client.say("pusher:subscribe", {"channel": "presence-room", "auth": auth, "channel_data": "true"})
        client.refused(4000, "Invalid message format: Invalid channel_data JSON for presence")


def on_a_public_channel(server: ServerProcess) -> None:
    with WebSocket(server, app=TALKING).greeting() as client:
        client.subscribe("news")
        client.say("client-typing", {}, "news")
        client.refused(4301, "Client event error: Client events can only be sent to private or presence channels")


def preflight(server: ServerProcess) -> None:
    asked = {
        "Origin": "https://shop.example.com",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type, X-CSRF-Token",
    }
    reply = server.request("OPTIONS", "/apps/app-id/events", headers=asked)
    assert reply.status == 200
    assert "x-csrf-token" not in reply.headers["access-control-allow-headers"]


MISTAKES = [
    Mistake(
        "a leading dot",
        published(name=".order.shipped", channel="news"),
        "event_leading_dot",
        "'.order.shipped'",
        "without the dot",
    ),
    Mistake(
        "encoded twice",
        published(channel="news", data='"{\\"a\\": 1}"'),
        "data_encoded_twice",
        "JSON text that holds another",
        "the object itself",
    ),
    Mistake(
        "not encrypted",
        published(channel="private-encrypted-room"),
        "not_encrypted",
        "neither nonce nor ciphertext",
        "master key",
    ),
    Mistake(
        "socket_id undefined",
        published(channel="news", socket_id="undefined"),
        "socket_id_unusable",
        "'undefined'",
        "pusher.connection.socket_id",
    ),
    Mistake("another spelling", near_miss, "channel_near_miss", "1 to private-orders", "case-sensitive"),
    Mistake("a whisper without its prefix", whisper, "client_prefix_missing", "'typing'", "begin with client-"),
    Mistake("a header that CORS forbids", preflight, "cors_header", "'x-csrf-token'", "cors.allowed_headers"),
    Mistake("a misspelt key", misspelt_key, "unknown_app", "nearly the key of the app strict", "sockudo apps list"),
    Mistake("no Origin header", no_origin, "origin_not_allowed", "sent no Origin header", "no browser sends none"),
    Mistake(
        "true as a member", member_true, "presence_data", "channel_data is true, and no object", "returns an array"
    ),
    Mistake(
        "a client event on a public channel",
        on_a_public_channel,
        "client_event_channel",
        "private or presence channels",
        "begins with private- or presence-",
    ),
]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server on which each of them has been made once."""
    apps = [
        app_record(DEFAULT_APP),
        app_record(STRICT, channels={"allowed_origins": ["https://only.example"]}),
        app_record(TALKING, features={"enable_client_messages": True}),
    ]
    with start_server({**dashboard_config(), "app_manager": {"array": {"apps": apps}}}) as running:
        yield running


def problems(server: ServerProcess, error: str) -> list[dict[str, Any]]:
    path = f"/dashboard/api/v1/problems?q={error}"
    found: list[dict[str, Any]] = server.request("GET", path, port=server.metrics_port, headers=BEARER).json()["items"]
    return found


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_operators_are_shown_it_with_what_to_do(server: ServerProcess, mistake: Mistake) -> None:
    mistake.make(server)
    wait_until(lambda: problems(server, mistake.error), f"{mistake.error} to be noted")
    [group] = problems(server, mistake.error)
    entry = group["last"][0]
    assert mistake.text in f"{entry['text']} {entry.get('cause', '')}"
    explanation = group["explanation"]
    assert mistake.remedy in " ".join((explanation["remedy"], *explanation["causes"]))


def test_too_few_descriptors_leave_room_for_backends_and_operators() -> None:
    few = ("sh", "-c", 'ulimit -n 100 && exec "$0" "$@"', *FROM_NOTHING)
    config = dashboard_config(app_manager={"array": {"apps": [app_record(DEFAULT_APP)]}})
    with start_server(config, command=few) as here, ExitStack() as clients:
        for _ in range(100):
            client = clients.enter_context(WebSocket(here))
            if client.event()["event"] != "pusher:connection_established":
                break
        else:
            raise AssertionError("every connection was let in")
        with WebSocket(here) as late:
            late.ended(4100, "Over capacity: the server has no descriptors for more connections")
        here.publish("news", "event", "x")
        [group] = problems(here, "over_capacity")
        assert "of 100 descriptors" in group["last"][0]["cause"]
        assert "LimitNOFILE=" in group["last"][0]["cause"]
        health = here.request("GET", "/dashboard/api/v1/health", port=here.metrics_port, headers=BEARER).json()
        assert any("WebSockets are refused with 4100" in each["text"] for each in health["warnings"])
        assert '"error": "over_capacity"' in here.log
