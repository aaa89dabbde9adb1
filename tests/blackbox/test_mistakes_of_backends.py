"""Mistakes of those who publish: what the answer names, and what operators see of it (see `blackbox.mistakes`)."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from blackbox.mistakes import OFF, TALKING, Mistake, check, mistaken_server, problems
from support.operators import dashboard_config
from support.raw import RawConnection, request_bytes
from support.server import DEFAULT_APP, ServerProcess, start_server
from support.signing import Credentials, signed_query

PATH = "/apps/app-id/events"
BODY = b'{"name":"event","channels":["news"],"data":"x"}'
JSON = {"Content-Type": "application/json"}


def published(
    status: int,
    text: str,
    *,
    app: Credentials = DEFAULT_APP,
    path: str = PATH,
    signed: str | None = None,
    body: bytes = BODY,
    sent: bytes | None = None,
    at: Callable[[float], float] | None = None,
    headers: dict[str, str] = JSON,
) -> Callable[[ServerProcess], object]:
    """A publish to ``path`` that was signed for another one, another body or ``at`` another time; its answer."""

    def make(server: ServerProcess) -> None:
        timestamp = None if at is None else int(at(time.time()))
        query = signed_query(app, "POST", signed or path, body=body, timestamp=timestamp)
        reply = server.request("POST", f"{path}?{query}", body=sent or body, headers=headers)
        assert reply.status == status, reply
        assert text in reply.json()["error"]

    return make


def event(**fields: Any) -> bytes:
    return json.dumps({"name": "event", "channels": ["news"], "data": "x", **fields}).encode()


def key_reused(server: ServerProcess) -> None:
    published(409, "make a new key for each new event", body=event(data="other", idempotency_key="order-1"))(server)


def tls_to_a_plain_port(server: ServerProcess) -> None:
    with (
        socket.create_connection((server.host, server.port)) as plain,
        pytest.raises(ssl.SSLError),
        ssl.create_default_context().wrap_socket(plain, server_hostname="localhost"),
    ):
        pass


def upgraded(status: int, text: str, path: str, **headers: str) -> Callable[[ServerProcess], object]:
    def make(server: ServerProcess) -> None:
        with RawConnection(server) as connection:
            connection.send(request_bytes("GET", f"{path}?protocol=7", headers))
            answer = connection.answer()
        assert answer.status == status
        assert text in answer.json()["error"]

    return make


SWAPPED = Credentials("app-key", "app-id", "app-secret")
PRETTY = json.dumps(json.loads(BODY), indent=2).encode()
MISMATCH = f"Invalid API signature: it was checked for POST {PATH}"

MISTAKES = [
    Mistake(
        "another secret",
        published(401, MISMATCH, app=Credentials("app-id", "app-key", "old")),
        "signature_mismatch",
        "probably another secret",
        "Check the secret",
    ),
    Mistake(
        "another app's secret",
        published(401, MISMATCH, app=Credentials("app-id", "app-key", TALKING.secret)),
        "signature_mismatch",
        "signed with the secret of the app talking",
        "Check the secret",
    ),
    Mistake(
        "another app's key",
        published(401, "Authenticated app does not match", app=TALKING),
        "app_mismatch",
        "auth_key is that of the app talking",
        "from the same app",
    ),
    Mistake(
        "a slow clock",
        published(401, "seconds behind the server's clock", at=lambda now: now - 900),
        "timestamp_stale",
        "seconds behind the server's clock",
        "Synchronise the clocks",
    ),
    Mistake(
        "milliseconds",
        published(401, "it looks like milliseconds", at=lambda now: now * 1000),
        "timestamp_stale",
        "it looks like milliseconds",
        "milliseconds instead of seconds",
    ),
    Mistake(
        "a body that was written again",
        published(401, f"the {len(PRETTY)} bytes that arrived", sent=PRETTY),
        "body_hash_mismatch",
        "have another MD5",
        "Sign exactly the bytes that are sent",
    ),
    Mistake(
        "a prefix that the proxy strips",
        published(401, MISMATCH, signed=f"/ws{PATH}"),
        "signature_mismatch",
        "signed for a path with the prefix /ws, which a proxy strips",
        "have the proxy pass the path on whole",
    ),
    Mistake(
        "a prefix that nobody strips",
        upgraded(
            404, "There is no WebSocket at this path", "/ws/app/app-key", Connection="Upgrade", Upgrade="websocket"
        ),
        "not_found",
        "the path has the prefix /ws",
        "have the proxy strip it",
    ),
    Mistake(
        "too many channels",
        published(400, "(101) exceeds limit (100)", body=event(channels=[f"c{number}" for number in range(101)])),
        "limit_exceeded",
        "Number of channels (101)",
        "event_limits.max_channels_at_once",
    ),
    Mistake(
        "too much data",
        published(413, "exceeds limit (100KB)", body=event(data="x" * 102_401)),
        "payload_too_large",
        "(102401 bytes) for event 'event'",
        "max_event_payload_in_kb",
    ),
    Mistake(
        "a form",
        published(415, "application/json", headers={"Content-Type": "application/x-www-form-urlencoded"}),
        "unsupported_media_type",
        "Expected request with Content-Type",
        "Send Content-Type: application/json",
    ),
    Mistake(
        "channels as a text",
        published(422, "'channels': expected array", body=event(channels="news")),
        "wrong_shape",
        "'channels': expected array",
        "names the field",
    ),
    Mistake("a key that was used", key_reused, "idempotency_conflict", "already used", "new key for each new event"),
    Mistake(
        "the key in place of the id",
        published(404, "No app has the id that the path names", app=SWAPPED, path="/apps/app-key/events"),
        "app_not_found",
        "the key of the app app-id in place of its id",
        "sockudo apps list",
    ),
    Mistake(
        "the secret in place of the key",
        published(401, "no app has this auth_key", app=Credentials("app-id", "app-secret", "app-key")),
        "unknown_key",
        "the secret of the app app-id in place of its key",
        "replace it",
    ),
    Mistake(
        "a disabled app",
        published(403, "The app off is disabled", app=OFF, path="/apps/off/events"),
        "app_disabled",
        "The app off is disabled",
        "sockudo apps enable",
    ),
    Mistake("TLS to a plain port", tls_to_a_plain_port, "malformed_request", "TLS is spoken", "use http or ws"),
    Mistake(
        "an upgrade without its header",
        upgraded(400, "lacks 'Upgrade: websocket'", "/app/app-key", Connection="keep-alive"),
        "upgrade_invalid",
        "the request has no Upgrade header: a proxy strips it",
        "proxy_set_header Upgrade",
    ),
]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server on which each of them is made once, and on which one idempotency key has been used."""
    with mistaken_server() as running:
        published_once = running.signed("POST", PATH, body=json.loads(event(idempotency_key="order-1")))
        assert published_once.status == 200
        yield running


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_the_answer_names_it_and_operators_are_shown_what_to_do(server: ServerProcess, mistake: Mistake) -> None:
    check(server, mistake)


def test_a_backend_over_the_limit_of_its_address() -> None:
    limits = {"enabled": True, "api_rate_limit": {"max_requests": 1, "window_seconds": 3600}}
    with start_server(dashboard_config(rate_limiter=limits, app_manager={})) as server:
        for status in (200, 429):
            reply = server.signed("POST", PATH, body=json.loads(BODY))
            assert reply.status == status
        assert "rate_limiter.api_rate_limit.max_requests" in reply.json()["error"]
        assert int(reply.headers["retry-after"]) > 3000
        [group] = problems(server, "rate_limited")
        assert "raise the setting that the text names" in group["explanation"]["remedy"]
        assert "trust_hops" in group["explanation"]["remedy"]
        # Its own operator is not locked out.
        assert server.signed("GET", "/apps/app-id/problems").status == 200
