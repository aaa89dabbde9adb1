"""What operators ask (spec: http-api § 13; platform § 6): health, memory, counters, metrics."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from blackbox.api import Api
from support.raw import Dial, assert_error, request_bytes
from support.server import DEFAULT_APP, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.waiting import wait_until
from support.websocket import CLOSE, Connect, frame

OFF_APP = Credentials("off", "off-key", "off-secret")
OTHER_APP = Credentials("other", "other-key", "other-secret")

SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>.*)\})? (?P<value>[-+.0-9eEinfNa]+)")


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    apps = [app_record(DEFAULT_APP), app_record(OTHER_APP), {**app_record(OFF_APP), "enabled": False}]
    with start_server({"app_manager": {"array": {"apps": apps}}}) as running:
        yield running


@pytest.fixture
def api(server: ServerProcess) -> Api:
    return Api(server)


def metrics(server: ServerProcess) -> dict[str, float]:
    """Every sample of the exposition, by name and labels without the port."""
    found = {}
    for line in server.metrics().splitlines():
        if line and not line.startswith("#"):
            sample = SAMPLE.fullmatch(line)
            assert sample, line
            labels = sample["labels"] or ""
            if sample["name"].startswith("sockudo_"):
                assert f'port="{server.metrics_port}"' in labels, line
            labels = re.sub(r',?port="[0-9]+"', "", labels)
            found[f"{sample['name']}{{{labels}}}"] = float(sample["value"])
    return found


# ---- health ----


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_live_is_empty(api: Api, method: str) -> None:
    answer = api.ask(method, "/live")
    assert (answer.status, answer.body, answer.header("content-length")) == (200, b"", "0")


@pytest.mark.parametrize(
    ("path", "status", "word"),
    [
        ("/up", 200, "OK"),
        ("/up/app-id", 200, "OK"),
        ("/up/%61pp-id", 200, "OK"),
        ("/up/off", 503, "ERROR"),
        ("/up/nobody", 404, "NOT_FOUND"),
    ],
)
def test_up_is_one_word(api: Api, path: str, status: int, word: str) -> None:
    answer = api.ask("GET", path)
    assert (answer.status, answer.body.decode(), answer.header("x-health-check")) == (status, word, word)
    head = api.ask("HEAD", path)
    assert (head.status, head.header("x-health-check")) == (status, word)


def test_usage_in_bytes_of_the_host(api: Api) -> None:
    memory = api.ask("GET", "/usage").json()["memory"]
    assert memory.keys() == {"free", "used", "total", "percent"}
    assert memory["free"] + memory["used"] == memory["total"] > 2**26
    assert memory["percent"] == pytest.approx(100 * memory["used"] / memory["total"], abs=0.1)


def test_stats_of_the_node(connect: Connect, serve: Callable[..., ServerProcess]) -> None:
    own = serve({"app_manager": {"array": {"apps": [app_record(OTHER_APP), app_record(DEFAULT_APP)]}}})
    api = Api(own)
    ana, ben, cay = connect(server=own), connect(server=own), connect(server=own, app=OTHER_APP)
    ana.sign_in("ana")
    ana.subscribe("presence-a", "ana")
    ben.subscribe("presence-a", "ana")
    ben.subscribe("news")
    cay.subscribe("news")
    stats = api.ask("GET", "/stats").json()
    assert stats == {**api.ask("GET", "/operator/stats").json(), "memory": stats["memory"]}
    off = {
        "enabled": False,
        "backend": "disabled",
        "state_authority": "disabled",
        "degraded_channels": 0,
        "reset_required_channels": 0,
        "queue_depth": 0,
    }
    assert stats["history"] == stats["presence_history"] == off
    occupancy = {
        "channels": 2,
        "subscriptions": 3,
        "presence_channels": 1,
        "presence_subscriptions": 2,
        "presence_members": 1,
    }
    mine = {"connections": 2, "authenticated_connections": 1, "users": 1, "connections_with_meta": 0}
    assert stats["apps"] == [
        {"app_id": "app-id", **mine, "occupancy": occupancy},
        {
            "app_id": "other",
            **dict.fromkeys(mine, 0),
            "connections": 1,
            "occupancy": {**dict.fromkeys(occupancy, 0), "channels": 1, "subscriptions": 1},
        },
    ]
    assert stats["totals"] == {
        "apps": 2,
        **mine,
        "connections": 3,
        "occupancy": {**occupancy, "channels": 3, "subscriptions": 4},
    }
    assert stats.keys() == {"memory", "history", "presence_history", "totals", "apps"}


def test_usage_can_be_switched_off(serve: Callable[..., ServerProcess]) -> None:
    api = Api(serve({"http_api": {"usage_enabled": False}}))
    for path in ("/usage", "/stats", "/operator/stats"):
        assert (api.ask("GET", path).status, api.ask("GET", path).json()["code"]) == (404, "not_found")
    assert api.ask("GET", "/up").status == 200


def test_unknown_paths_get_the_envelope(api: Api) -> None:
    assert_error(api.ask("GET", "/nothing"), 404, "not_found", "There is nothing at /nothing")


# ---- metrics ----


def test_metrics_have_a_port_of_their_own(api: Api, server: ServerProcess, dial: Dial) -> None:
    assert api.ask("GET", "/metrics").status == 404
    connection = dial(port=server.metrics_port)
    connection.send(request_bytes("GET", "/metrics"))
    answer = connection.answer()
    assert (answer.status, answer.header("content-type")) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert answer.header("access-control-allow-origin") is None
    for path in ("/", "/live", "/apps/app-id/events", "/app/app-key"):
        connection.send(request_bytes("GET", path))
        answer = connection.answer()
        assert (answer.status, answer.body) == (404, b"")


def test_what_is_counted(connect: Connect, serve: Callable[..., ServerProcess]) -> None:
    own = serve()
    api = Api(own)
    client, other = connect(server=own), connect(server=own)
    client.subscribe("news")
    other.subscribe("private-x")
    other.say("pusher:unsubscribe", {"channel": "private-x"})
    other.say("pusher:subscribe", {"channel": "private-x"})
    other.refused(4009, "Authentication error: Authentication signature required for this channel")
    for _ in range(2):
        own.publish("news", "e", "x", idempotency_key="k")
    assert client.event()["event"] == "e"
    api.get("channels")
    connect(server=own, target="/app/nobody", greeted=False).ended(4001, "Application does not exist")
    found = metrics(own)
    mine = '{app_id="app-id"}'
    assert found[f"sockudo_connected{mine}"] == 2
    assert found[f"sockudo_new_connections_total{mine}"] == 2
    assert found[f"sockudo_new_disconnections_total{mine}"] == 0
    assert found[f"sockudo_ws_messages_received_total{mine}"] == 4
    assert found[f"sockudo_ws_messages_sent_total{mine}"] >= 1
    assert found[f"sockudo_socket_received_bytes{mine}"] > 100
    assert found[f"sockudo_socket_transmitted_bytes{mine}"] > 10
    assert found[f"sockudo_http_calls_received_total{mine}"] == 3
    assert found[f"sockudo_http_received_bytes{mine}"] > 100
    assert found[f"sockudo_http_transmitted_bytes{mine}"] >= 2 * len('{"ok":true}')
    assert found[f"sockudo_idempotency_publish_total{mine}"] == 2
    assert found[f"sockudo_idempotency_duplicates_total{mine}"] == 1
    public, private = '{app_id="app-id",channel_type="public"}', '{app_id="app-id",channel_type="private"}'
    assert found[f"sockudo_active_channels{public}"] == 1
    assert found[f"sockudo_active_channels{private}"] == 0
    assert found[f"sockudo_channel_subscriptions_total{public}"] == 1
    assert found[f"sockudo_channel_subscriptions_total{private}"] == 1
    assert found[f"sockudo_channel_unsubscriptions_total{private}"] == 1
    latency = 'app_id="app-id",channel_type="public",recipient_count_bucket="xs"'
    assert found[f"sockudo_broadcast_latency_ms_count{{{latency}}}"] == 1
    assert any(name.startswith("sockudo_connection_errors_total{") for name in found)
    for name in ("event_loop_lag_ms", "event_loop_lag_max_ms", "event_loop_stalls_total"):
        assert found[f"sockudo_{name}{{}}"] >= 0
    for name in (
        "resident_memory_bytes",
        "virtual_memory_bytes",
        "cpu_seconds_total",
        "start_time_seconds",
        "open_fds",
        "max_fds",
    ):
        assert found[f"process_{name}{{}}"] > 0


def test_gauges_equal_sockets(connect: Connect, server: ServerProcess, unique: str) -> None:
    mine, channels = '{app_id="other"}', '{app_id="other",channel_type="public"}'
    clients = [connect(app=OTHER_APP) for _ in range(5)]
    for number, client in enumerate(clients):
        client.subscribe(f"{unique}-{number % 2}")
    assert metrics(server)[f"sockudo_connected{mine}"] == 5
    assert metrics(server)[f"sockudo_active_channels{channels}"] == 2
    clients[0].send(frame(b"", CLOSE))
    clients[0].closed(None)
    clients[1].close()
    clients[2].reset()
    clients[3].send(b"\xff\xff")
    wait_until(lambda: metrics(server)[f"sockudo_connected{mine}"] == 1, "one connection")
    clients[4].reset()
    wait_until(lambda: metrics(server)[f"sockudo_connected{mine}"] == 0, "no connection")
    assert metrics(server)[f"sockudo_active_channels{channels}"] == 0
    assert metrics(server)[f"sockudo_new_disconnections_total{mine}"] == 5


def test_metrics_can_be_switched_off_or_renamed(serve: Callable[..., ServerProcess]) -> None:
    off = serve({"metrics": {"enabled": False}})
    with pytest.raises(ConnectionRefusedError):
        off.metrics()
    renamed = serve({"metrics": {"prometheus": {"prefix": "pushing_"}}})
    assert 'pushing_connected{app_id="app-id"' in renamed.metrics()
