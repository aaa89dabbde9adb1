"""Webhooks as backends check them: with the validators of the stock SDKs, and by hand over the raw body."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

import pusher
import pytest
from sockudo_http_python import Sockudo, SockudoOptions, Validity

from clients.node import Node, NodeSdk
from support.endpoint import WebhookEndpoint, WebhookRequest
from support.server import NUMERIC_APP, ServerProcess, app_record, start_server
from support.websocket import WebSocket

EVENTS = (
    "channel_occupied",
    "channel_vacated",
    "member_added",
    "member_removed",
    "client_event",
    "cache_miss",
    "subscription_count",
    "user_online",
    "user_offline",
)
NAME = "presence-crew;a=b,c.d@e_f-1"
TEXT = 'ünï "quoted" \u2028 </script> 🚣'


@pytest.fixture(scope="module")
def endpoint() -> Iterator[WebhookEndpoint]:
    with WebhookEndpoint() as running:
        yield running


@pytest.fixture(scope="module")
def server(endpoint: WebhookEndpoint) -> Iterator[ServerProcess]:
    record = app_record(NUMERIC_APP, webhooks=[{"url": endpoint.url, "event_types": list(EVENTS)}])
    config = {"app_manager": {"array": {"apps": [record]}}, "webhooks": {"allow_private_addresses": True}}
    with start_server(config) as running:
        running.app = NUMERIC_APP
        yield running


@pytest.fixture(scope="module")
def requests(server: ServerProcess, endpoint: WebhookEndpoint) -> list[WebhookRequest]:
    """What the endpoint gets of a visit in which everything happens."""
    with WebSocket(server, app=NUMERIC_APP) as client:
        client.greeting()
        client.sign_in("ana")
        client.subscribe(NAME, "ana", {"name": TEXT})
        client.say("pusher:subscribe", {"channel": "cache-empty"})
        client.say("client-typing", {"text": TEXT, "on": True}, NAME)
        client.say("client-plain", TEXT, NAME)
        client.until_pong()
    endpoint.waits_for(lambda events: {event["name"] for event in events} == set(EVENTS))
    return endpoint.requests


def told(requests: list[WebhookRequest], name: str) -> list[dict[str, Any]]:
    return [event for request in requests for event in request.events if event["name"] == name]


def test_everything_that_happened_is_told(requests: list[WebhookRequest]) -> None:
    assert told(requests, "member_added") == [{"name": "member_added", "channel": NAME, "user_id": "ana"}]
    assert told(requests, "member_removed") == [{"name": "member_removed", "channel": NAME, "user_id": "ana"}]
    assert {event["channel"] for event in told(requests, "channel_occupied")} >= {NAME, "cache-empty"}
    assert told(requests, "cache_miss") == [{"name": "cache_miss", "channel": "cache-empty", "data": "{}"}]
    assert [event["user_id"] for event in told(requests, "user_online")] == ["ana"]
    typing, plain = told(requests, "client_event")
    assert (typing["event"], json.loads(typing["data"])) == ("client-typing", {"text": TEXT, "on": True})
    assert (plain["event"], plain["data"]) == ("client-plain", TEXT)
    assert typing["user_id"] == "ana"


def test_pusher_for_node(node: Node, server: ServerProcess, requests: list[WebhookRequest]) -> None:
    sdk = NodeSdk(node, server, NUMERIC_APP)
    for request in requests:
        body = request.body.decode()
        found = sdk.webhook(request.headers, body)
        assert found == {"valid": True, "events": request.events, "time": json.loads(body)["time_ms"]}
        assert sdk.webhook(request.headers, body.replace("ana", "eve") + " ") == {"valid": False}
        assert sdk.webhook({**request.headers, "x-pusher-key": "other"}, body) == {"valid": False}


def test_pusher_for_python(server: ServerProcess, requests: list[WebhookRequest]) -> None:
    app = NUMERIC_APP
    sdk = pusher.Pusher(app.id, app.key, app.secret, host=server.host, port=server.port, ssl=False)
    for request in requests:
        key, signature = request.headers["x-pusher-key"], request.headers["x-pusher-signature"]
        # It refuses what is older than five minutes, too.
        found = sdk.validate_webhook(key, signature, request.body.decode())
        assert found == json.loads(request.body)
        assert sdk.validate_webhook(key, signature, request.body.decode() + " ") is None
        assert sdk.validate_webhook("other", signature, request.body.decode()) is None


def test_sockudo_for_python(server: ServerProcess, requests: list[WebhookRequest]) -> None:
    app = NUMERIC_APP
    with Sockudo(app.id, app.key, app.secret, None, SockudoOptions(port=server.port)) as sdk:
        for request in requests:
            key, signature = request.headers["x-pusher-key"], request.headers["x-pusher-signature"]
            webhook = sdk.parse_webhook(key, signature, request.body)
            assert [dict(event.raw) for event in webhook.events] == request.events
            assert abs(time.time() * 1000 - (webhook.time_ms or 0)) < 300_000
            assert sdk.validate_webhook_signature(key, signature, request.body + b" ") is Validity.INVALID


def test_by_hand_over_the_raw_body(requests: list[WebhookRequest]) -> None:
    """As applications in other languages do it: the hash of what came in, compared with the header."""
    for request in requests:
        expected = hmac.new(NUMERIC_APP.secret.encode(), request.body, hashlib.sha256).hexdigest()
        assert hmac.compare_digest(expected, request.headers["x-pusher-signature"])
        assert request.headers["x-pusher-key"] == NUMERIC_APP.key
        assert request.headers["content-type"] == "application/json"


def test_repeats_can_be_told_by_their_id(requests: list[WebhookRequest]) -> None:
    assert len({request.delivery for request in requests}) == len(requests)
    assert {request.headers["x-sockudo-attempt"] for request in requests} == {"1"}
