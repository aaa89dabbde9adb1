"""The exposition: what dashboards and alerts rely on, read back by the format's own parser."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sockudo.base.measures import Latency
from sockudo.hub.events import PredicateFailed
from sockudo.hub.outgoing import Wants
from sockudo.hub.view import HubView
from sockudo.monitoring import Metrics
from sockudo.protocol.delta import Algorithm
from sockudo.protocol.filters import Predicate
from sockudo.protocol.formats import V2_JSON, json_text
from sockudo.protocol.frames import Frame
from support.world import World

# On any server (spec: platform § 6.2; filters-deltas § 2.12).
PROMISED = {
    "connected": "gauge",
    "new_connections_total": "counter",
    "new_disconnections_total": "counter",
    "connection_errors_total": "counter",
    "socket_received_bytes": "counter",
    "socket_transmitted_bytes": "counter",
    "ws_messages_received_total": "counter",
    "ws_messages_sent_total": "counter",
    "http_received_bytes": "counter",
    "http_transmitted_bytes": "counter",
    "http_calls_received_total": "counter",
    "active_channels": "gauge",
    "channel_subscriptions_total": "counter",
    "channel_unsubscriptions_total": "counter",
    "broadcast_latency_ms": "histogram",
    "rate_limit_checks_total": "counter",
    "rate_limit_triggered_total": "counter",
    "idempotency_publish_total": "counter",
    "idempotency_duplicates_total": "counter",
    "ephemeral_messages_total": "counter",
    "event_filter_suppressed_total": "counter",
    "echo_suppressed_total": "counter",
    "delta_compression_full_messages_total": "counter",
    "delta_compression_delta_messages_total": "counter",
    "delta_compression_bandwidth_original_bytes": "counter",
    "delta_compression_bandwidth_saved_bytes": "counter",
    "delta_sync_errors_total": "counter",
    "subscription_predicate_errors_total": "counter",
    "history_recovery_success_total": "counter",
    "history_recovery_failures_total": "counter",
}
PROCESS = ("process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds", "process_max_fds")

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass
class Limits:
    checks: Counter[tuple[str, str]] = field(default_factory=Counter)
    triggered: Counter[tuple[str, str]] = field(default_factory=Counter)


@dataclass
class Loop:
    worst_ms: float = 0.0
    stalls: int = 0
    worst_since_read_ms: float = 0.0

    def take_worst_ms(self) -> float:
        worst, self.worst_since_read_ms = self.worst_since_read_ms, 0.0
        return worst


class Exposition:
    """The metrics of one world of one app, and what its exposition says."""

    def __init__(self, prefix: str = "sockudo_") -> None:
        self.world = World()
        self.refused: Counter[tuple[str, str]] = Counter()
        self.limits: Limits | None = Limits()
        self.loop = Loop()
        self.metrics = Metrics(
            HubView(self.world.hub),
            refused=self.refused,
            limits=lambda: self.limits,
            loop=self.loop,
            prefix=prefix,
            port=9601,
        )

    @property
    def text(self) -> str:
        return self.metrics.render().decode()

    def types(self) -> dict[str, str]:
        lines = (line.split() for line in self.text.splitlines() if line.startswith("# TYPE "))
        return {name: kind for _, _, name, kind in lines}

    def samples(self) -> Samples:
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(self.text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        wanted = {"port": "9601", **labels}
        return self.samples().get((f"sockudo_{name}", frozenset(wanted.items())))


@pytest.fixture
def exposition() -> Exposition:
    return Exposition()


def test_every_promised_name_has_its_type_and_a_help_line(exposition: Exposition) -> None:
    types = exposition.types()
    text = exposition.text
    for name, kind in PROMISED.items():
        assert types[f"sockudo_{name}"] == kind, name
        assert f"# HELP sockudo_{name} " in text
    for name in PROCESS:
        assert name in types
    assert "untyped" not in text


def test_the_text_parses_and_no_series_stands_twice(exposition: Exposition) -> None:
    exposition.world.subscribers(3)
    exposition.refused["unknown", "unknown_app"] += 1
    names = [line.rsplit(" ", 1)[0] for line in exposition.text.splitlines() if not line.startswith("#")]
    assert len(names) == len(set(names))
    assert exposition.samples()


def test_counters_appear_under_the_promised_name_alone(exposition: Exposition) -> None:
    """The library would add _total, which is another name to a dashboard."""
    exposition.world.app.traffic.http_bytes_received = 12
    assert '\nsockudo_http_received_bytes{app_id="app",port="9601"} 12.0\n' in exposition.text
    assert "http_received_bytes_total" not in exposition.text
    assert "_created" not in exposition.text


def test_gauges_are_what_is_there_when_asked(exposition: Exposition) -> None:
    world = exposition.world
    pairs = world.subscribers(3)
    assert exposition.value("connected", app_id="app") == 3
    assert exposition.value("active_channels", app_id="app", channel_type="public") == 1
    for connection, _ in pairs:
        world.hub.disconnect(connection)
    assert exposition.value("connected", app_id="app") == 0
    assert exposition.value("active_channels", app_id="app", channel_type="public") == 0
    assert exposition.value("new_connections_total", app_id="app") == 3
    assert exposition.value("new_disconnections_total", app_id="app") == 3
    assert exposition.value("channel_subscriptions_total", app_id="app", channel_type="public") == 3
    assert exposition.value("channel_unsubscriptions_total", app_id="app", channel_type="public") == 3


def test_deliveries_and_their_latency(exposition: Exposition) -> None:
    world = exposition.world
    world.subscribers(11)
    world.publish("greeting")
    world.settle()
    assert exposition.value("ws_messages_sent_total", app_id="app") == 11
    labels = {"app_id": "app", "channel_type": "public", "recipient_count_bucket": "sm"}
    assert exposition.value("broadcast_latency_ms_count", **labels) == 1
    assert exposition.value("broadcast_latency_ms_bucket", le="0.5", **labels) == 1
    assert exposition.value("broadcast_latency_ms_bucket", le="+Inf", **labels) == 1


def test_histograms_are_cumulative(exposition: Exposition) -> None:
    times = exposition.world.app.traffic.latency["public", "xs"] = Latency()
    for seconds in (0.0001, 0.002, 0.002, 0.3, 60.0):
        times.note(seconds)
    labels = {"app_id": "app", "channel_type": "public", "recipient_count_bucket": "xs"}
    assert [
        exposition.value("broadcast_latency_ms_bucket", le=bound, **labels)
        for bound in ("0.5", "1.0", "2.5", "250.0", "500.0", "5000.0", "+Inf")
    ] == [1, 1, 3, 3, 4, 4, 5]
    assert exposition.value("broadcast_latency_ms_sum", **labels) == pytest.approx(60304.1)


def test_errors_go_by_the_names_that_dashboards_know(exposition: Exposition) -> None:
    exposition.refused["unknown", "unknown_app"] += 2
    exposition.refused["app", "origin_not_allowed"] += 1
    errors = exposition.world.app.traffic.errors
    errors["channel_auth_missing"] += 1
    errors["channel_auth_invalid"] += 2
    errors["malformed_frame"] += 1
    errors["event_name_invalid"] += 1
    errors["missing_field"] += 1
    errors["slow_consumer"] += 1

    def count(app_id: str, error_type: str) -> float | None:
        return exposition.value("connection_errors_total", app_id=app_id, error_type=error_type)

    assert count("unknown", "app_not_found") == 2
    assert count("app", "origin_not_allowed") == 1
    assert count("app", "authentication_failed") == 3
    assert count("app", "message_parse_error") == 1
    assert count("app", "missing_event_name") == 1
    assert count("app", "invalid_message_format") == 1
    # Names that the specification leaves to the error catalogue.
    assert count("app", "slow_consumer") == 1


def test_limits_of_addresses_are_global_and_those_of_connections_the_apps(exposition: Exposition) -> None:
    assert exposition.limits is not None
    exposition.limits.checks["api_rate_limit", "http_api"] = 101
    exposition.limits.triggered["api_rate_limit", "http_api"] = 1
    exposition.world.app.traffic.rate_checks["client_events"] = 5
    exposition.world.app.traffic.rate_refusals["client_events"] = 2
    api = {"app_id": "global", "limiter_type": "api_rate_limit", "request_context": "http_api"}
    assert exposition.value("rate_limit_checks_total", **api) == 101
    assert exposition.value("rate_limit_triggered_total", **api) == 1
    client = {"app_id": "app", "limiter_type": "client_events", "request_context": "other"}
    assert exposition.value("rate_limit_checks_total", **client) == 5
    assert exposition.value("rate_limit_triggered_total", **client) == 2


def test_what_differences_saved(exposition: Exposition) -> None:
    """Per delivery, of the texts that may be differences, by kind of channel (spec: filters-deltas § 2.12)."""
    world = exposition.world
    texts = [json_text(Frame("quote", "fx", "x" * 500 + str(number))) for number in range(4)]
    for _ in range(2):
        connection, _ = world.connect(V2_JSON)
        world.hub.subscribe(connection, "fx", Wants(delta=Algorithm.FOSSIL))
    plain, _ = world.connect(V2_JSON)
    world.hub.subscribe(plain, "fx")
    for number in range(4):
        world.hub.publish(world.app, Frame("quote", "fx", "x" * 500 + str(number)))
        world.settle()
    world.hub.publish(world.app, Frame("quote", "fx", "tiny"))
    world.settle()
    labels = {"app_id": "app", "channel_name": "public"}
    assert exposition.value("delta_compression_full_messages_total", **labels) == 4
    assert exposition.value("delta_compression_delta_messages_total", **labels) == 4
    original = 2 * sum(map(len, texts))
    rest = '{app_id="app",channel_name="public",port="9601"}'
    text = exposition.text
    assert f"sockudo_delta_compression_bandwidth_original_bytes{rest} {float(original)}\n" in text
    [saved] = re.findall(rf"sockudo_delta_compression_bandwidth_saved_bytes{re.escape(rest)} (.*)\n", text)
    assert 4 * 300 < float(saved) < original / 2


def test_differences_that_nobody_wants_are_not_shown(exposition: Exposition) -> None:
    exposition.world.subscribers(1)
    exposition.world.publish("greeting")
    exposition.world.settle()
    assert "delta_compression_full_messages_total{" not in exposition.text


def test_what_filters_held_back_and_could_not_be_asked(exposition: Exposition) -> None:
    world = exposition.world
    told: list[PredicateFailed] = []
    world.hub.observers.add(PredicateFailed, told.append)
    never = Predicate(events=["other"])
    failing = Predicate(expression="abs(name)")
    for predicate in (never, never, failing, None):
        connection, _ = world.connect(V2_JSON)
        world.hub.subscribe(connection, "news", Wants(predicate))
    for name in ("one", "two"):
        world.publish(name)
        world.settle()
    assert exposition.value("event_filter_suppressed_total", app_id="app") == 6
    assert exposition.value("subscription_predicate_errors_total", app_id="app", reason="evaluation") == 2
    assert told == [("app", "evaluation", failing.id)] * 2
    world.publish("three", exclude=connection)
    world.settle()
    assert exposition.value("event_filter_suppressed_total", app_id="app") == 9


def test_recovery_by_source_and_code(exposition: Exposition) -> None:
    traffic = exposition.world.app.traffic
    traffic.recovered["hot"] += 2
    traffic.recovered["cold"] += 1
    traffic.recovery_failures["stream_reset"] += 3
    traffic.delta_sync_errors = 4
    assert exposition.value("history_recovery_success_total", app_id="app", source="hot") == 2
    assert exposition.value("history_recovery_success_total", app_id="app", source="cold") == 1
    assert exposition.value("history_recovery_failures_total", app_id="app", code="stream_reset") == 3
    assert exposition.value("delta_sync_errors_total", app_id="app") == 4


def test_without_limits_nothing_is_said_of_them(exposition: Exposition) -> None:
    exposition.limits = None
    assert "rate_limit_checks_total{" not in exposition.text


def test_the_lag_since_the_last_scrape_starts_again(exposition: Exposition) -> None:
    exposition.loop.worst_since_read_ms = 80.0
    exposition.loop.worst_ms = 120.0
    exposition.loop.stalls = 3
    first = exposition.samples()
    port = frozenset({("port", "9601")})
    assert first["sockudo_event_loop_lag_ms", port] == 80
    assert first["sockudo_event_loop_lag_max_ms", port] == 120
    assert first["sockudo_event_loop_stalls_total", port] == 3
    assert exposition.samples()["sockudo_event_loop_lag_ms", port] == 0


def test_a_look_in_between_takes_nothing_from_the_next_scrape(exposition: Exposition) -> None:
    exposition.loop.worst_since_read_ms = 80.0
    lag = "sockudo_event_loop_lag_ms"
    looked = {family["name"]: family for family in exposition.metrics.summary()}[lag]
    assert [sample["value"] for sample in looked["samples"]] == [80]
    assert f"{lag}{{".encode() in exposition.metrics.render(scrape=False)
    assert exposition.samples()[lag, frozenset({("port", "9601")})] == 80


def test_the_summary_says_what_the_exposition_says_but_for_buckets(exposition: Exposition) -> None:
    exposition.world.app.traffic.latency["public", "xs"] = latency = Latency()
    latency.note(0.002)
    summary = exposition.metrics.summary()
    assert {family["name"] for family in summary} >= {"sockudo_connected", "sockudo_broadcast_latency_ms"}
    found = {
        (sample["name"].removesuffix("_total"), frozenset(sample["labels"].items())): sample["value"]
        for family in summary
        for sample in family["samples"]
        if sample["name"].startswith("sockudo_")
    }
    # The parser calls every counter _total.
    whole = {(name.removesuffix("_total"), labels): value for (name, labels), value in exposition.samples().items()}
    assert found == {
        key: value for key, value in whole.items() if key[0].startswith("sockudo_") and not key[0].endswith("_bucket")
    }
    assert {family["type"] for family in summary} <= {"counter", "gauge", "histogram", "info"}


def test_the_prefix_is_the_configured_one() -> None:
    exposition = Exposition(prefix="soketi_")
    assert "soketi_connected" in exposition.types()
    assert "sockudo_" not in exposition.text


def test_label_values_are_escaped(exposition: Exposition) -> None:
    exposition.refused['a"b\\c\nd', "unknown_app"] += 1
    wanted = frozenset({("app_id", 'a"b\\c\nd'), ("error_type", "app_not_found"), ("port", "9601")})
    assert exposition.samples()["sockudo_connection_errors_total", wanted] == 1
