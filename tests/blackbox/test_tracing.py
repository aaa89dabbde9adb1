"""Traces as a collector gets them: calls, durable publishes, webhooks; what they never hold; a collector that fails."""

from __future__ import annotations

import json
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.endpoint import WebhookEndpoint, WebhookRequest
from support.server import DEFAULT_APP, FROM_NOTHING, Reply, ServerProcess, app_record, start_server
from support.signing import signed_query
from support.traces import CollectedSpan, Collector, traceparent
from support.waiting import wait_until
from support.websocket import Connect, WebSocket

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
CAUSE = {"traceparent": traceparent(TRACE, CALLER), "tracestate": "vendor=opaque"}
EVENTS = "/apps/app-id/events"
PAYLOAD = "what-nobody-else-may-read"
DURABLE = {"connection_recovery": {"enabled": True}, "history": {"enabled": True, "backend": "sqlite"}}
SOON = {"allow_private_addresses": True, "retry": {"initial_backoff_ms": 50, "max_backoff_ms": 200}}
SERVER, CLIENT, PRODUCER = 2, 3, 4
"""Kinds of spans, as OTLP numbers them."""

Serve = Callable[..., ServerProcess]


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as made:
        yield made


@pytest.fixture
def endpoint() -> Iterator[WebhookEndpoint]:
    with WebhookEndpoint() as made:
        yield made


def config(endpoint: WebhookEndpoint | None = None, *events: str, **more: Any) -> dict[str, Any]:
    """Durable channels and, if one is given, an endpoint whose address and headers hold secrets."""
    hooks = []
    if endpoint is not None:
        url = endpoint.url.replace("http://", "http://caller:url-password@") + "/url-token?key=url-key"
        hooks = [{"url": url, "event_types": list(events), "headers": {"Authorization": "header-secret"}}]
    apps = [app_record(DEFAULT_APP, webhooks=hooks)]
    return {**DURABLE, "app_manager": {"array": {"apps": apps}}, "webhooks": SOON, **more}


def call(server: ServerProcess, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
    """A signed POST with headers of the caller's."""
    raw = json.dumps({} if body is None else body).encode()
    query = signed_query(server.app, "POST", path, body=raw)
    sent = {"Content-Type": "application/json", **(CAUSE if headers is None else headers)}
    return server.request("POST", f"{path}?{query}", body=raw, headers=sent)


def publish(server: ServerProcess, channel: str, *, headers: dict[str, str] | None = None, **fields: Any) -> Reply:
    return call(server, EVENTS, {"name": "e", "channel": channel, "data": PAYLOAD, **fields}, headers)


def only(spans: list[CollectedSpan]) -> CollectedSpan:
    [span] = spans
    return span


# ---- calls ----


def test_a_publish_to_a_durable_channel_is_a_call_with_a_part(serve: Serve, collector: Collector) -> None:
    server = serve(config(), env=collector.environment)
    assert publish(server, "private-room").status == 200
    stored = only(collector.wait_for("publish"))
    said = only(collector.wait_for(f"POST {EVENTS.replace('app-id', '{app_id}')}"))
    assert (said.trace, said.parent, said.kind, said.state) == (TRACE, CALLER, SERVER, CAUSE["tracestate"])
    assert said.attributes == {
        "http.request.method": "POST",
        "http.route": "/apps/{app_id}/events",
        "http.response.status_code": 200,
        "url.path": EVENTS,
        "url.scheme": "http",
        "sockudo.app_id": "app-id",
    }
    assert said.resource["service.name"] == "sockudo"
    assert said.resource["service.version"]
    assert (stored.trace, stored.parent) == (TRACE, said.id)
    attributes = dict(stored.attributes)
    assert len(attributes.pop("sockudo.stream.id")) > 8
    assert attributes.pop("messaging.message.id")
    assert attributes == {
        "messaging.system": "sockudo",
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
        "messaging.destination.name": "private-room",
        "sockudo.app_id": "app-id",
        "sockudo.channel.kind": "private",
        "sockudo.stream.serial": 1,
        "sockudo.publish.repeated": False,
        "sockudo.commit.group_size": 1,
    }
    assert not said.failed
    assert not stored.failed


def test_a_plain_publish_is_a_call_alone(serve: Serve, collector: Collector) -> None:
    server = serve(env={**collector.environment, "OTEL_SERVICE_NAME": "push", "OTEL_RESOURCE_ATTRIBUTES": "team=sea"})
    assert publish(server, "news").status == 200
    span = only(collector.wait_for("POST /apps/{app_id}/events"))
    assert (span.resource["service.name"], span.resource["team"]) == ("push", "sea")
    assert server.terminate() == 0
    assert len(collector.spans) == 1
    assert collector.headers[0]["path"] == "/v1/traces"


def test_a_batch_has_a_part_for_each_message(serve: Serve, collector: Collector) -> None:
    server = serve(config(), env=collector.environment)
    batch = [{"name": "e", "channel": f"room-{number}", "data": PAYLOAD} for number in range(3)]
    assert call(server, "/apps/app-id/batch_events", {"batch": batch}).status == 200
    said = only(collector.wait_for("POST /apps/{app_id}/batch_events"))
    parts = collector.wait_for("publish", 3)
    assert {part.parent for part in parts} == {said.id}
    assert [part.attributes["messaging.destination.name"] for part in parts] == [f"room-{n}" for n in range(3)]
    assert {part.attributes["sockudo.commit.group_size"] for part in parts} == {3}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"traceparent": "nonsense"},
        {"traceparent": traceparent("0" * 32, CALLER)},
        {"traceparent": traceparent(TRACE, CALLER).upper()},
        {"traceparent": "x" * 5000},
        {"tracestate": "vendor=opaque"},
    ],
)
def test_without_a_sound_parent_a_trace_begins(serve: Serve, collector: Collector, headers: dict[str, str]) -> None:
    server = serve(env=collector.environment)
    for chunked in ({}, {"Expect": "100-continue"}):
        assert publish(server, "news", headers={**headers, **chunked}).status == 200
    spans = collector.wait_for("POST /apps/{app_id}/events", 2)
    assert all((span.parent, span.state) == ("", "") and span.trace != TRACE for span in spans)


def test_both_ways_to_publish_leave_the_same_span(serve: Serve, collector: Collector) -> None:
    server = serve(config(), env=collector.environment)
    for extra in ({}, {"Expect": "100-continue"}):
        assert publish(server, "news", headers={**CAUSE, **extra}).status == 200
        assert publish(server, "news", headers={**CAUSE, **extra}, info=1).status == 422
    spans = collector.wait_for("POST /apps/{app_id}/events", 4)
    about = [(span.trace, span.parent, span.kind, span.state, span.failed, span.attributes) for span in spans]
    assert about[:2] == about[2:]


def test_refusals_are_told_by_their_slug_and_are_no_failures(serve: Serve, collector: Collector) -> None:
    server = serve(config(), env=collector.environment)
    assert server.request("POST", f"{EVENTS}?auth_key=x", body=b"{}").status in (400, 401)
    assert server.signed("GET", "/apps/app-id/channels/%20").status == 400
    assert server.signed("GET", "/apps/app-id/nowhere").status == 404
    assert server.signed("POST", "/users/ana/terminate_connections", body={}).status == 200
    twice = server.request("POST", "/users/ana/terminate_connections?auth_key=a&auth_key=b", body=b"{}")
    assert twice.status == 400
    assert server.request("PURGE", "/apps/app-id/channels").status == 405
    assert server.request("GET", "/live").status == 200
    assert server.terminate() == 0
    assert len(collector.spans) == 6
    seen = {span.name: span for span in reversed(collector.spans)}
    refused = seen["POST /apps/{app_id}/events"]
    assert refused.attributes["error.type"] in ("auth_parameters", "unknown_key")
    assert seen["GET /apps/{app_id}/channels/{channel}"].attributes["error.type"] == "channel_name"
    assert seen["GET"].attributes["error.type"] == "not_found"
    purged = seen["HTTP /apps/{app_id}/channels"].attributes
    assert (purged["http.request.method"], purged["error.type"]) == ("_OTHER", "method_not_allowed")
    ended = seen["POST /users/{user_id}/terminate_connections"].attributes
    assert "error.type" not in ended
    assert ended["sockudo.app_id"] == "app-id"
    assert not any(span.failed for span in collector.spans)
    assert not [span for span in collector.spans if span.attributes.get("url.path") == "/live"]


def test_an_address_over_its_limit_is_told_on_both_ways(serve: Serve, collector: Collector) -> None:
    limit = {"rate_limiter": {"enabled": True, "api_rate_limit": {"max_requests": 1, "window_seconds": 60}}}
    server = serve(limit, env=collector.environment)
    for extra in ({}, {}, {"Expect": "100-continue"}):
        publish(server, "news", headers=extra)
    spans = collector.wait_for("POST /apps/{app_id}/events", 3)
    assert [span.attributes["http.response.status_code"] for span in spans] == [200, 429, 429]
    assert spans[1].attributes == spans[2].attributes


# ---- webhooks ----


def parent_of(request: WebhookRequest) -> tuple[str, str]:
    """Trace and span that a webhook says it belongs to."""
    version, trace, span, _ = request.headers["traceparent"].split("-")
    assert version == "00"
    return trace, span


def chain(collector: Collector, request: WebhookRequest) -> tuple[CollectedSpan, CollectedSpan]:
    """The spans behind a webhook: of its way into the queue, and of the attempt."""
    trace, attempt_id = parent_of(request)
    collector.waits_for(lambda spans: any(span.id == attempt_id for span in spans))
    attempt = next(span for span in collector.spans if span.id == attempt_id)
    collector.waits_for(lambda spans: any(span.id == attempt.parent for span in spans))
    queued = next(span for span in collector.spans if span.id == attempt.parent)
    assert {attempt.trace, queued.trace} == {trace}
    assert (queued.name, queued.kind) == ("enqueue webhook", PRODUCER)
    assert (attempt.name, attempt.kind) == ("POST webhook", CLIENT)
    return queued, attempt


def told(endpoint: WebhookEndpoint, **wanted: Any) -> WebhookRequest:
    """The request with such an event, once it has arrived."""

    def found() -> WebhookRequest | None:
        return next((r for r in endpoint.requests for event in r.events if wanted.items() <= event.items()), None)

    return wait_until(found, f"a webhook with {wanted}")


def test_a_webhook_belongs_to_the_call_that_caused_it(
    serve: Serve, connect: Connect, collector: Collector, endpoint: WebhookEndpoint
) -> None:
    server = serve(config(endpoint, "user_online", "subscription_count", "channel_vacated"), env=collector.environment)
    client = connect(server=server)
    client.sign_in("ana")
    client.subscribe("room")
    told(endpoint, name="subscription_count", subscription_count=1)
    assert call(server, "/apps/app-id/users/ana/terminate_connections").status == 200
    at_once = told(endpoint, name="subscription_count", subscription_count=0)
    held = told(endpoint, name="channel_vacated")
    said = only(collector.wait_for("POST /apps/{app_id}/users/{user_id}/terminate_connections"))
    assert (said.trace, said.parent) == (TRACE, CALLER)
    for request in (at_once, held):
        queued, attempt = chain(collector, request)
        assert (queued.trace, queued.parent) == (TRACE, said.id)
        assert request.headers["tracestate"] == CAUSE["tracestate"]
        assert attempt.attributes == {
            **common(queued),
            "http.request.method": "POST",
            "http.response.status_code": 200,
            "server.address": "127.0.0.1",
            "server.port": int(endpoint.url.split(":")[2].split("/")[0]),
            "sockudo.webhook.attempt": 1,
            "sockudo.webhook.outcome": "delivered",
        }
        assert queued.attributes["messaging.message.id"] == request.delivery
        assert queued.attributes["sockudo.webhook.events"] == [event["name"] for event in request.events]
        assert queued.attributes["messaging.batch.message_count"] == len(request.events)


def common(span: CollectedSpan) -> dict[str, Any]:
    names = ("messaging.system", "messaging.destination.name", "messaging.message.id", "sockudo.app_id")
    return {name: span.attributes[name] for name in (*names, "sockudo.webhook.endpoint_id")}


def test_what_nobody_asked_for_over_http_begins_a_trace(
    serve: Serve, connect: Connect, collector: Collector, endpoint: WebhookEndpoint
) -> None:
    server = serve(config(endpoint, "channel_occupied", "client_event"), env=collector.environment)
    client = connect(server=server)
    client.subscribe("private-room")
    first = told(endpoint, name="channel_occupied")
    client.say("client-typing", PAYLOAD, channel="private-room")
    second = told(endpoint, name="client_event")
    queued = [chain(collector, request)[0] for request in (first, second)]
    stored = only(collector.wait_for("publish"))
    assert [span.parent for span in (*queued, stored)] == ["", "", ""]
    assert len({span.trace for span in (*queued, stored)}) == 3


def test_a_publish_that_ends_a_slow_reader_is_the_cause_of_its_webhooks(
    serve: Serve, connect: Connect, collector: Collector, endpoint: WebhookEndpoint
) -> None:
    limits = {"websocket": {"max_messages": 10, "max_backpressure": 65_536}, "event_limits": {"max_payload_in_kb": 100}}
    server = serve(config(endpoint, "subscription_count", **limits), env=collector.environment)
    slow = connect(server=server, receive_buffer=4096)
    slow.subscribe("room")
    told(endpoint, name="subscription_count", subscription_count=1)
    deadline = time.monotonic() + 30
    while len(endpoint.requests) < 2:
        assert publish(server, "room", data="x" * 50_000).status == 200
        assert time.monotonic() < deadline, "the slow reader was not given up"
    queued, _ = chain(collector, told(endpoint, name="subscription_count", subscription_count=0))
    collector.waits_for(lambda spans: any(span.id == queued.parent for span in spans))
    stored = next(span for span in collector.spans if span.id == queued.parent)
    collector.waits_for(lambda spans: any(span.id == stored.parent for span in spans))
    said = next(span for span in collector.spans if span.id == stored.parent)
    assert (stored.name, said.name) == ("publish", "POST /apps/{app_id}/events")
    assert {queued.trace, stored.trace, said.trace} == {TRACE}
    assert said.parent == CALLER


@contextmanager
def killed(settings: dict[str, Any], env: dict[str, str]) -> Iterator[ServerProcess]:
    server = start_server(settings, env=env)
    try:
        yield server
        server.send_signal(signal.SIGKILL)
        assert server.wait() == -signal.SIGKILL
    finally:
        server.close()


def test_a_delivery_after_kill_9_belongs_to_the_same_trace(
    collector: Collector, endpoint: WebhookEndpoint, tmp_path: Path
) -> None:
    endpoint.status = 503
    settings = config(endpoint, "user_offline")
    settings["webhooks"] = {**SOON, "retry": {"initial_backoff_ms": 2000, "max_backoff_ms": 2000}}
    env = {**collector.environment, "SOCKUDO_DATA_DIR": str(tmp_path)}
    with killed(settings, env) as server, WebSocket(server) as client:
        client.greeting()
        client.sign_in("ana")
        assert call(server, "/apps/app-id/users/ana/terminate_connections").status == 200
        first = told(endpoint, name="user_offline")
        failed = only(collector.wait_for("POST webhook"))
        collector.wait_for("enqueue webhook")
    assert (failed.failed, failed.attributes["error.type"]) == (True, "503")
    assert failed.attributes["sockudo.webhook.outcome"] == "retried"
    endpoint.status = 200
    with start_server(settings, env=env):
        wait_until(lambda: len(endpoint.requests) == 2, "the second attempt")
        again = endpoint.requests[1]
        queued, attempt = chain(collector, again)
    assert again.delivery == first.delivery
    assert attempt.attributes["sockudo.webhook.attempt"] == 2
    assert attempt.attributes["http.request.resend_count"] == 1
    assert parent_of(first)[0] == parent_of(again)[0] == queued.trace == TRACE
    assert parent_of(first)[1] == failed.id != attempt.id == parent_of(again)[1]
    assert failed.parent == attempt.parent == queued.id


# ---- what is never told ----


def test_no_secret_no_signature_and_no_payload_is_in_any_span(
    serve: Serve, connect: Connect, collector: Collector, endpoint: WebhookEndpoint
) -> None:
    server = serve(config(endpoint, "client_event", "subscription_count"), env=collector.environment)
    client = connect(server=server)
    client.subscribe("private-room")
    client.say("client-typing", PAYLOAD, channel="private-room")
    told(endpoint, name="client_event")
    publish(server, "private-room")
    publish(server, "private-room", info=1)
    server.signed("GET", "/apps/app-id/channels", params={"filter_by_prefix": "prefix-asked-for"})
    call(server, "/apps/app-id/events/nothing")
    collector.wait_for("POST webhook")
    assert server.terminate() == 0
    seen = b"\n".join(collector.bodies)
    assert len(collector.spans) >= 7
    for word in (
        DEFAULT_APP.secret,
        DEFAULT_APP.key,
        PAYLOAD,
        "auth_signature",
        "auth_",
        "prefix-asked-for",
        "url-password",
        "url-token",
        "url-key",
        "header-secret",
    ):
        assert word.encode() not in seen, f"{word} is in a span"


# ---- on, off, and a collector that fails ----


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
    ],
)
def test_off_means_that_nothing_of_it_is_imported(serve: Serve, env: dict[str, str]) -> None:
    """Each other way to say so is in tests/unit/tracing/test_otel.py."""
    server = serve(config(), env=env, command=(sys.executable, "-X", "importtime", "-m", "sockudo"))
    assert publish(server, "room").status == 200
    assert server.terminate() == 0
    assert "sockudo.tracing.selection" in server.log
    assert "opentelemetry" not in server.log


def test_the_console_gets_spans_without_a_collector(serve: Serve) -> None:
    server = serve(config(), env={"OTEL_TRACES_EXPORTER": "console"})
    assert publish(server, "room").status == 200
    assert server.terminate() == 0
    assert '"name": "POST /apps/{app_id}/events"' in server.log
    assert f'"trace_id": "0x{TRACE}"' in server.log


def test_the_sampler_is_asked(serve: Serve, collector: Collector) -> None:
    env = {**collector.environment, "OTEL_TRACES_SAMPLER": "parentbased_always_off"}
    server = serve(env=env)
    assert publish(server, "news", headers={}).status == 200
    assert publish(server, "news").status == 200
    assert publish(server, "news", headers={"traceparent": traceparent(TRACE, CALLER, "00")}).status == 200
    assert server.terminate() == 0
    assert [span.parent for span in collector.spans] == [CALLER]


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"OTEL_TRACES_EXPORTER": "nonsense"}, "the exporter 'nonsense' is not installed"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "carrier/pigeon"},
            "the OTLP protocol 'carrier/pigeon' is not known: use http/protobuf or grpc",
        ),
        ({"OTEL_TRACES_EXPORTER": "console", "OTEL_BSP_MAX_QUEUE_SIZE": "-5"}, "max_queue_size"),
    ],
)
def test_what_cannot_be_had_is_said_and_the_server_serves(serve: Serve, env: dict[str, str], said: str) -> None:
    server = serve(config(), env=env)
    assert publish(server, "room").status == 200
    assert '"message": "no traces"' in server.log
    assert said in server.log


def test_a_missing_extra_is_named_and_the_server_serves(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").write_text("raise ImportError('as if it were not there')\n")
    env = {"PYTHONPATH": str(tmp_path), "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    server = serve(config(), env=env, command=FROM_NOTHING)
    assert publish(server, "room").status == 200
    [line] = [line for line in server.log.splitlines() if "no traces" in line]
    assert "OTEL_EXPORTER_OTLP_ENDPOINT asks for OpenTelemetry" in line
    assert "'.[opentelemetry]'" in line


@contextmanager
def unreachable(how: str) -> Iterator[str]:
    """The address of a collector where nobody listens, or which takes a connection and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if how == "hangs":
            listener.listen(50)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("how", ["refuses", "hangs"])
def test_a_collector_that_is_away_is_in_nobodys_way(serve: Serve, how: str) -> None:
    with unreachable(how) as url:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "10", "OTEL_BSP_MAX_QUEUE_SIZE": "64"}
        server = serve(config(), env={**env, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "16"})
        took = []
        for _ in range(150):
            started = time.monotonic()
            assert publish(server, "room").status == 200
            took.append(time.monotonic() - started)
        # More of them may have had to wait for their turn on the machine.
        assert sorted(took)[75] < 0.25
        began = time.monotonic()
        assert server.terminate() == 0
        assert time.monotonic() - began < 10
    lines = [line for line in server.log.splitlines() if "sockudo.tracing" in line]
    assert 1 < len(lines) < 12, "\n".join(lines)
    assert "Queue full" in server.log


def test_a_collector_that_comes_back_gets_what_follows(serve: Serve, collector: Collector) -> None:
    collector.status = 400
    server = serve(env=collector.environment)
    publish(server, "news", headers={})
    wait_until(lambda: collector.headers, "the first request")
    collector.status = 200
    publish(server, "news")
    assert only(collector.wait_for("POST /apps/{app_id}/events")).trace == TRACE
