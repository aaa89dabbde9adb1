"""Mistakes that people make: what they are answered, what operators are shown, and whether a remedy is stated."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from blackbox.api import Api
from blackbox.mistakes import BEARER, FULL, OFF, STRICT, TALKING, Mistake, check, mistaken_server, problems
from blackbox.recovery import place, resume
from blackbox.timed import TimedServer
from support.operators import dashboard_config
from support.raw import signed_target
from support.server import DEFAULT_APP, FROM_NOTHING, ServerProcess, app_record, start_server
from support.signing import Credentials, channel_auth
from support.tokens import TOKEN_APP, token
from support.websocket import WebSocket

REFUSED = "Authentication error: Channel requires authentication"


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


def kept_signature(server: ServerProcess) -> None:
    """The answer of the auth endpoint is kept over a reconnect."""
    with WebSocket(server).greeting() as before:
        auth = before.auth("private-basket")
    with WebSocket(server).greeting() as client:
        client.say("pusher:subscribe", {"channel": "private-basket", "auth": auth})
        client.refused(4009, REFUSED)


def of_another_tab(server: ServerProcess) -> None:
    with WebSocket(server).greeting() as first, WebSocket(server).greeting() as second:
        second.say("pusher:subscribe", {"channel": "private-basket", "auth": first.auth("private-basket")})
        second.refused(4009, REFUSED)


def signed_for(
    name: str, channel: str, signed: str | None = None, sent: str | None = None
) -> Callable[[ServerProcess], object]:
    """A subscribe to ``channel`` with the signature of ``name`` and other data than the one that is sent."""

    def make(server: ServerProcess) -> None:
        with WebSocket(server).greeting() as client:
            auth = channel_auth(DEFAULT_APP, client.socket_id, name, signed)
            member = {} if sent is None else {"channel_data": sent}
            client.say("pusher:subscribe", {"channel": channel, "auth": auth, **member})
            client.refused(4009, REFUSED)

    return make


def no_member(server: ServerProcess) -> None:
    with WebSocket(server).greeting() as client:
        client.say("pusher:subscribe", {"channel": "presence-room", "auth": client.auth("presence-room")})
        client.refused(4000, "Invalid message format: Missing channel_data for presence channel")


def client_events_off(server: ServerProcess) -> None:
    with WebSocket(server, app=STRICT, headers={"Origin": "https://only.example"}).greeting() as client:
        client.subscribe("private-chat")
        client.say("client-typing", {}, "private-chat")
        client.refused(4301, "Client event error: Client events are not enabled for this app")


def another_scheme(server: ServerProcess) -> None:
    with WebSocket(server, app=STRICT, headers={"Origin": "http://only.example"}) as client:
        client.ended(4009, "Origin not allowed")


def rewind_on_v1(server: ServerProcess) -> None:
    with WebSocket(server).greeting() as client:
        client.say("pusher:subscribe", {"channel": "past", "rewind": {"count": 3}})
        client.refused(4300, "Channel error: Channel rewind is only supported on protocol V2")


def resume_on_v1(server: ServerProcess) -> None:
    with WebSocket(server).greeting() as client:
        client.say("pusher:resume", {"channel_positions": {}})
        client.refused(4000, "Protocol error: pusher:resume requires protocol V2")


def slow_reader(server: ServerProcess) -> None:
    with WebSocket(server, receive_buffer=4096).greeting() as client:
        client.subscribe("ticker")
        batch = [{"name": "tick", "channel": "ticker", "data": "x" * 9000}] * 10
        for _ in range(60):
            assert server.signed("POST", "/apps/app-id/batch_events", body={"batch": batch}).status == 200


def with_token(refusal: str, **fields: Any) -> Callable[[ServerProcess], object]:
    """A connection with a token that was made an hour and a bit ago, unless ``fields`` say otherwise."""

    def make(server: ServerProcess) -> None:
        made = token(**{"now": time.time() - 4000, **fields})
        with WebSocket(server, app=TOKEN_APP, protocol=2, params=f"token={made}") as client:
            data = client.event()["data"]
        assert data["code"] == 4009
        assert data["message"].startswith(f"Authentication error: capability token {refusal}")

    return make


def resumed(channel: str, *operations: str) -> Callable[[ServerProcess], object]:
    """A client comes back after its channel was purged or reset, or to another server than before."""

    def make(server: ServerProcess) -> None:
        with WebSocket(server, protocol=2).greeting() as client:
            position = place(client.subscribe(channel)) if operations else {"stream_id": "0" * 32, "serial": 7}
            for number in range(3 if operations else 0):
                server.publish(channel, "tide", str(number))
        for operation in operations:
            more = {"mode": "all"} if operation == "purge" else {}
            body = {"confirm_channel": channel, "confirm_operation": operation, "reason": "test", **more}
            path = f"/apps/app-id/channels/{channel}/history/{operation}"
            assert server.signed("POST", path, body=body).status == 200
        with WebSocket(server, protocol=2).greeting() as client:
            assert channel in resume(client, **{channel: position}).failed

    return make


def disabled(server: ServerProcess) -> None:
    with WebSocket(server, app=OFF) as client:
        client.ended(4003, "Application disabled")


def over_quota(server: ServerProcess) -> None:
    with WebSocket(server, app=FULL).greeting(), WebSocket(server, app=FULL) as second:
        second.ended(4004, "Application is over adapter quota")


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
    Mistake(
        "a signature of an ended connection", kept_signature, "channel_auth_invalid", "has ended", "probably cached"
    ),
    Mistake("a signature of another tab", of_another_tab, "channel_auth_invalid", "another connection", "socket_id"),
    Mistake(
        "an encoded channel name",
        signed_for("private-a%40b", "private-a@b"),
        "channel_auth_invalid",
        "percent-encoded channel name",
        "Sign with the app's own secret exactly",
    ),
    Mistake(
        "a member that was serialized again",
        signed_for("presence-a", "presence-a", '{"user_id":"1"}', '{"user_id": "1"}'),
        "channel_auth_invalid",
        "serialized again after signing",
        "exactly the socket_id, channel and channel_data",
    ),
    Mistake("no member", no_member, "presence_data", "Missing channel_data", "Answer with channel_data"),
    Mistake("client events that are off", client_events_off, "client_event", "not enabled", "enable_client_messages"),
    Mistake("http for https", another_scheme, "origin_not_allowed", "http://only.example", "scheme and port"),
    Mistake("rewind on V1", rewind_on_v1, "rewind_needs_v2", "only supported on protocol V2", "protocol=2"),
    Mistake("resume on V1", resume_on_v1, "not_on_v1", "requires protocol V2", "protocol=2"),
    Mistake("a slow reader", slow_reader, "slow_consumer", "it is subscribed to ticker", "websocket.max_messages"),
    Mistake(
        "a token that has expired", with_token("expired 40"), "token_refused", "seconds ago", "sockudo token create"
    ),
    Mistake(
        "a token of another key",
        with_token("kid does not match app key", now=None, header={"kid": "another"}),
        "token_refused",
        "kid does not match",
        "its kid is another app's key",
    ),
    Mistake(
        "a token of another secret",
        with_token(
            "signature is invalid",
            now=None,
            app=Credentials("", TOKEN_APP.key, "another-secret-that-is-as-long-as-a-key-should-be"),
        ),
        "token_refused",
        "signature is invalid",
        "signed with another secret",
    ),
    Mistake(
        "a position before a purge", resumed("purged", "purge"), "position_expired", "a purge removed", "retention"
    ),
    Mistake("a position before a reset", resumed("reset", "reset"), "stream_reset", "the history was reset", "state"),
    Mistake(
        "a position of another server",
        resumed("elsewhere"),
        "stream_reset",
        "another server or environment",
        "Rebuild the channel's state",
    ),
    Mistake("a disabled app", disabled, "app_disabled", "Application disabled", "sockudo apps enable"),
    Mistake("over the quota", over_quota, "over_quota", "over adapter quota", "max_connections"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server on which each of them is made once."""
    with mistaken_server() as running:
        yield running


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_operators_are_shown_it_with_what_to_do(server: ServerProcess, mistake: Mistake) -> None:
    check(server, mistake)


def test_a_client_that_answers_no_ping() -> None:
    with TimedServer() as server:
        client = server.connect(protocol=7)
        server.advance(121)
        assert client.event()["event"] == "pusher:ping"
        server.advance(31)
        client.ended(4201, "Pong reply not received in time")
        target = signed_target(DEFAULT_APP, "GET", "/apps/app-id/problems", timestamp=int(server.clock.time()))
        [group] = Api(server).ask("GET", target).json()["groups"]
        assert group["error"] == "pong_timeout"
        assert "send pusher:pong for each pusher:ping" in group["explanation"]["remedy"]


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
