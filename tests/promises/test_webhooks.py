"""Webhooks that can be trusted: none lost, in order, and never in anybody's way (spec: platform § 5)."""

from __future__ import annotations

import hashlib
import hmac
import signal
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.endpoint import WebhookEndpoint
from support.server import DEFAULT_APP, ServerProcess, app_record, start_server
from support.waiting import wait_until
from support.websocket import WebSocket

OCCUPANCY = ["channel_occupied", "channel_vacated"]
MEMBERS = ["member_added", "member_removed"]
USERS = ["user_online", "user_offline"]
Open = Callable[[ServerProcess], WebSocket]
SOON = {"retry": {"initial_backoff_ms": 50, "max_backoff_ms": 200}}


def config(*endpoints: dict[str, Any], **settings: Any) -> dict[str, Any]:
    app = app_record(DEFAULT_APP, webhooks=list(endpoints))
    webhooks = {"allow_private_addresses": True, **SOON, **settings}
    return {"app_manager": {"array": {"apps": [app]}}, "webhooks": webhooks}


def kept_in(folder: Path) -> dict[str, str]:
    return {"SOCKUDO_DATA_DIR": str(folder)}


def hook(endpoint: WebhookEndpoint | str, *events: str, **fields: Any) -> dict[str, Any]:
    url = endpoint if isinstance(endpoint, str) else endpoint.url
    return {"url": url, "event_types": list(events), **fields}


@contextmanager
def killed(settings: dict[str, Any], folder: Path) -> Iterator[ServerProcess]:
    """A server that keeps its data in a folder of the test and is ended with SIGKILL."""
    server = start_server(settings, env=kept_in(folder))
    try:
        yield server
        server.send_signal(signal.SIGKILL)
        assert server.wait() == -signal.SIGKILL
        server.check_log()
    finally:
        server.close()


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens connections, which are closed at the end of the test at the latest."""
    with ExitStack() as stack:
        yield lambda server: stack.enter_context(WebSocket(server)).greeting()


def by_channel(events: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Names of the events of each channel, in order, without what came twice in a row."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for event in events:
        names = found[event["channel"]]
        if not names or names[-1] != event["name"]:
            names.append(event["name"])
    return found


# ---- nothing is lost ----


def test_a_thousand_that_wait_survive_kill_9(opened: Open, tmp_path: Path) -> None:
    with WebhookEndpoint(status=503) as endpoint:
        settings = config(hook(endpoint, "channel_occupied"), batching={"size": 1})
        with killed(settings, tmp_path) as server:
            client = opened(server)
            for number in range(1000):
                client.say("pusher:subscribe", {"channel": f"room-{number}"})
            client.until_pong()
            wait_until(lambda: pending(server) >= 1000, "a thousand deliveries in the queue")
            assert endpoint.taken() == []
        endpoint.status = 200
        with start_server(settings, env=kept_in(tmp_path)):
            endpoint.waits_for(lambda events: len({event["channel"] for event in events}) == 1000, 30)
        attempts = defaultdict(set)
        for request in endpoint.requests:
            attempts[request.delivery].add(request.body)
        assert len(attempts) == 1000
        assert all(len(bodies) == 1 for bodies in attempts.values()), "the same bytes every time"


def pending(server: ServerProcess) -> int:
    reply = server.signed("GET", f"/apps/{server.app.id}/webhooks")
    assert reply.status == 200, reply.text
    return sum(endpoint["counts"]["waiting"] for endpoint in reply.json()["endpoints"])


def processed_jobs(server: ServerProcess) -> float:
    """The deliveries whose duration the metrics hold: the store knows of the end of a delivery a moment earlier."""
    name = "sockudo_queue_processing_duration_seconds"
    families = {family.name: family for family in text_string_to_metric_families(server.metrics())}
    return sum(sample.value for sample in families[name].samples if sample.name == f"{name}_count")


def test_what_is_under_way_when_the_process_is_killed_is_made_again(opened: Open, tmp_path: Path) -> None:
    with WebhookEndpoint(delay=30) as endpoint:
        with killed(config(hook(endpoint, *OCCUPANCY)), tmp_path) as server:
            client = opened(server)
            client.subscribe("news")
            wait_until(lambda: pending(server) == 1, "the delivery in the queue")
        endpoint.delay = 0
        with start_server(config(hook(endpoint, *OCCUPANCY)), env=kept_in(tmp_path)):
            endpoint.waits_for(bool)
        assert endpoint.taken()[-1] == {"name": "channel_occupied", "channel": "news"}


def test_an_orderly_end_tells_what_has_happened(opened: Open, tmp_path: Path) -> None:
    with WebhookEndpoint() as endpoint:
        with start_server(config(hook(endpoint, *OCCUPANCY)), env=kept_in(tmp_path)) as server:
            client = opened(server)
            client.subscribe("news")
        assert by_channel(endpoint.taken()) == {"news": ["channel_occupied", "channel_vacated"]}


# ---- in order ----


def test_the_order_of_a_channel_outlives_failures(opened: Open) -> None:
    with WebhookEndpoint(status=500) as endpoint:
        settings = config(hook(endpoint, "client_event"), batching={"size": 3, "duration": 5})
        with start_server(settings) as server:
            client = opened(server)
            client.subscribe("private-room")
            for number in range(300):
                client.say("client-step", {"n": number}, "private-room")
                if number == 150:
                    endpoint.status = 200
                if number == 200:
                    endpoint.status = 503
            client.until_pong()
            endpoint.status = 200
            endpoint.waits_for(lambda events: len(events) >= 300)
            steps = [event["data"] for event in endpoint.taken("client_event")]
    assert list(dict.fromkeys(steps)) == [f'{{"n":{number}}}' for number in range(300)]


def test_what_is_refused_holds_up_its_own_channel_alone(opened: Open) -> None:
    """Two thousand channels at once, of which one in ten is never taken, with the settings that everybody has."""
    with WebhookEndpoint(delay=0.05) as endpoint:
        endpoint.refuses = lambda events: any(event["channel"].endswith("0") for event in events)
        apps = [app_record(DEFAULT_APP, webhooks=[hook(endpoint, "channel_occupied")])]
        settings = {"app_manager": {"array": {"apps": apps}}, "webhooks": {"allow_private_addresses": True}}
        with start_server(settings) as server:
            client = opened(server)
            for number in range(2000):
                client.say("pusher:subscribe", {"channel": f"room-{number}"})
            client.until_pong()
            # Alone it takes about half of 20 s; behind those that are refused it would take many minutes.
            endpoint.waits_for(lambda events: len({event["channel"] for event in events}) == 1800, 90)
        assert not any(event["channel"].endswith("0") for event in endpoint.taken())


def test_every_request_is_signed_and_numbered(opened: Open) -> None:
    with WebhookEndpoint(status=503) as endpoint:
        extra = {"Authorization": "Bearer t0ken"}
        with start_server(config(hook(endpoint, *OCCUPANCY, headers=extra))) as server:
            client = opened(server)
            client.subscribe("news")
            wait_until(lambda: len(endpoint.requests) >= 2, "two attempts")
            endpoint.status = 200
            endpoint.waits_for(bool)
            requests = endpoint.requests
            assert "t0ken" not in server.log
    assert [request.headers["x-sockudo-attempt"] for request in requests] == [
        str(number) for number in range(1, len(requests) + 1)
    ]
    for request in requests:
        secret = DEFAULT_APP.secret.encode()
        assert request.headers["x-pusher-key"] == DEFAULT_APP.key
        assert request.headers["x-pusher-signature"] == hmac.new(secret, request.body, hashlib.sha256).hexdigest()
        assert request.headers["content-type"] == "application/json"
        assert request.headers["authorization"] == "Bearer t0ken"


# ---- what undoes itself ----


def test_a_page_that_is_loaded_again_is_never_told(opened: Open) -> None:
    with WebhookEndpoint() as endpoint, start_server(config(hook(endpoint, *OCCUPANCY, *MEMBERS, *USERS))) as server:
        first = opened(server)
        first.subscribe("presence-room", "ana")
        first.sign_in("ana")
        endpoint.waits_for(lambda events: len(events) == 3)
        for _ in range(3):
            first.close()
            first = opened(server)
            first.subscribe("presence-room", "ana")
            first.sign_in("ana")
        # Longer than the grace period of a departure.
        time.sleep(3.5)
        assert {event["name"] for event in endpoint.taken()} == {"channel_occupied", "member_added", "user_online"}
        assert len(endpoint.taken()) == 3
        first.close()
        endpoint.waits_for(lambda events: len(events) == 6)
        assert {event["name"] for event in endpoint.taken()[3:]} == {
            "channel_vacated",
            "member_removed",
            "user_offline",
        }


# ---- in nobody's way ----


@pytest.fixture
def black_hole() -> Any:
    """An address that accepts connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


def test_a_dead_and_a_slow_endpoint_delay_nobody(opened: Open, black_hole: str) -> None:
    with WebhookEndpoint() as healthy, WebhookEndpoint(delay=2) as slow:
        refused = "http://127.0.0.1:9/"
        endpoints = [hook(each, *OCCUPANCY) for each in (black_hole, slow, refused, healthy)]
        # Whatever waited for the one that never answers would wait for longer than this test.
        with start_server(config(*endpoints, request_timeout_ms=60_000)) as server:
            client = opened(server)
            for number in range(200):
                client.say("pusher:subscribe", {"channel": f"room-{number}"})
                if number % 20 == 0:
                    server.publish("room-0", "tide", "x")
            client.until_pong()
            healthy.waits_for(lambda events: len(events) == 200)
            assert server.signed("GET", "/up").text == "OK"


def test_what_is_refused_for_good_is_not_tried_again(opened: Open) -> None:
    with WebhookEndpoint(status=404) as gone, WebhookEndpoint(status=302) as elsewhere:
        settings = config(hook(gone, *OCCUPANCY), hook(elsewhere, *OCCUPANCY))
        with start_server(settings) as server:
            opened(server).subscribe("news")
            wait_until(lambda: dead(server) == 2, "two dead letters")
            assert len(gone.requests) == len(elsewhere.requests) == 1


def dead(server: ServerProcess) -> int:
    reply = server.signed("GET", f"/apps/{server.app.id}/webhooks")
    return sum(endpoint["counts"]["dead"] for endpoint in reply.json()["endpoints"])


QUEUE_METRICS = {
    "sockudo_queue_enqueue_total": "counter",
    "sockudo_queue_enqueue_duration_seconds": "histogram",
    "sockudo_queue_batch_enqueue_duration_seconds": "histogram",
    "sockudo_queue_processing_duration_seconds": "histogram",
    "sockudo_queue_claimed_total": "counter",
    "sockudo_queue_settled_total": "counter",
    "sockudo_queue_depth": "gauge",
}


def test_the_metrics_of_the_queue_have_the_names_that_dashboards_know(opened: Open) -> None:
    """spec: platform § 6.3, whatever the prefix of the other names is."""
    with WebhookEndpoint(delay=0.02) as endpoint:
        metrics = {"metrics": {"prometheus": {"prefix": "mine_"}}}
        with start_server(config(hook(endpoint, "channel_occupied"), batching={"size": 1}) | metrics) as server:
            client = opened(server)
            client.subscribe("alone")
            endpoint.waits_for(lambda events: len(events) == 1)
            wait_until(lambda: processed_jobs(server) == 1, "the duration of the delivery is counted")
            families = {family.name: family for family in text_string_to_metric_families(server.metrics())}
    values = {}
    for name, kind in QUEUE_METRICS.items():
        family = families[name.removesuffix("_total") if kind == "counter" else name]
        assert family.type == kind
        for sample in family.samples:
            assert (sample.labels["backend"], sample.labels["queue"]) == ("sqlite", "webhooks")
            assert sample.labels.keys() <= {"backend", "queue", "port", "outcome", "state", "le"}
            values[sample.name, sample.labels.get("le")] = sample.value
    assert values["sockudo_queue_claimed_total", None] == 1
    assert values["sockudo_queue_enqueue_duration_seconds_count", None] == 1
    assert values["sockudo_queue_batch_enqueue_duration_seconds_count", None] == 0
    processing = "sockudo_queue_processing_duration_seconds"
    assert values[f"{processing}_bucket", "0.01"] == 0
    assert values[f"{processing}_bucket", "+Inf"] == values[f"{processing}_count", None] == 1
    assert 0.02 <= values[f"{processing}_sum", None] < 10


def test_private_addresses_are_refused_unless_allowed(opened: Open) -> None:
    with WebhookEndpoint() as endpoint:
        settings = config(hook(endpoint, *OCCUPANCY), allow_private_addresses=False)
        with start_server(settings) as server:
            client = opened(server)
            client.subscribe("news")
            wait_until(lambda: dead(server) == 1, "a dead letter")
            assert endpoint.requests == []
            assert "address_refused" in server.log
