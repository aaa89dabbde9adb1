"""The Prometheus exposition (spec: platform § 6): every number is read from the live state, at the scrape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.gc_collector import GCCollector
from prometheus_client.registry import Collector

from sockudo.base.measures import BUCKETS_MS, Buckets, Distribution, Labels, Latency, MeasureSource, Numbers
from sockudo.hub import Traffic
from sockudo.hub.view import HubView

__all__ = ["LimitCounts", "LoopTimes", "Metrics"]


class LoopTimes(Protocol):
    """What the exposition reads of the watch on the event loop. Milliseconds."""

    worst_ms: float
    worst_since_read_ms: float
    stalls: int

    def take_worst_ms(self) -> float: ...


class LimitCounts(Protocol):
    """Checks and refusals of the limits per address, by (limiter, request context)."""

    checks: Counter[tuple[str, str]]
    triggered: Counter[tuple[str, str]]


class Metrics:
    """Renders the exposition. ``port`` is the metrics port, a label on every series.

    ``refused`` counts connections that never became sessions, by app key and slug of the error catalogue;
    ``limits`` returns the current limiter counts, None while there is no limiter. ``sources`` give what other parts of
    the server measure. ``refused_requests`` counts HTTP requests and upgrades by slug, ``descriptors_missing`` the
    seconds in which no connection could be accepted.
    """

    def __init__(
        self,
        view: HubView,
        *,
        refused: Counter[tuple[str, str]],
        limits: Callable[[], LimitCounts | None],
        loop: LoopTimes,
        prefix: str,
        port: int,
        sources: Sequence[MeasureSource] = (),
        refused_requests: Counter[str] | None = None,
        descriptors_missing: Callable[[], int] = lambda: 0,
    ) -> None:
        self.port = port
        self.scraping = True
        self._registry = CollectorRegistry(auto_describe=False)
        collector = _NodeCollector(self, view, refused, limits, loop, prefix, sources)
        collector.refused_requests = Counter() if refused_requests is None else refused_requests
        collector.descriptors_missing = descriptors_missing
        self._registry.register(collector)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def render(self, *, scrape: bool = True) -> bytes:
        """The whole exposition in the text format 0.0.4.

        What is measured from one scrape to the next begins anew, unless this is not a ``scrape`` but a look in between.
        """
        self.scraping = scrape
        # The library knows no counter whose name does not end in _total; only those of ours come out without a type.
        return generate_latest(self._registry).replace(b" untyped\n", b" counter\n")

    def summary(self) -> list[dict[str, Any]]:
        """Every metric with its samples for a program: of a histogram count and sum alone. No scrape."""
        self.scraping = False
        found = []
        for family in self._registry.collect():
            # As in `render`: nothing here is untyped.
            kind = "counter" if family.type == "unknown" else family.type
            samples = [
                {"name": sample.name, "labels": dict(sample.labels), "value": sample.value}
                for sample in family.samples
                if not sample.name.endswith("_bucket")
            ]
            found.append({"name": family.name, "type": kind, "help": family.documentation, "samples": samples})
        return found


class _NodeCollector(Collector):
    refused_requests: Counter[str]
    descriptors_missing: Callable[[], int]

    def __init__(
        self,
        metrics: Metrics,
        view: HubView,
        refused: Counter[tuple[str, str]],
        limits: Callable[[], LimitCounts | None],
        loop: LoopTimes,
        prefix: str,
        sources: Sequence[MeasureSource],
    ) -> None:
        self._metrics = metrics
        self._view = view
        self._refused = refused
        self._limits = limits
        self._loop = loop
        self._prefix = prefix
        self._sources = sources

    def collect(self) -> Iterable[Metric]:
        yield from self._loop_times()
        yield from self._traffic()
        yield from self._channels()
        yield from self._errors()
        yield from self._requests()
        yield from self._rate_limits()
        yield from self._deltas()
        yield from self._by_word()
        yield self._latency()
        for source in self._sources:
            for measure in source():
                yield self._measure(measure)

    def _measure(self, measure: Numbers | Distribution) -> Metric:
        prefix = self._prefix if measure.prefix is None else measure.prefix
        if isinstance(measure, Numbers):
            return self._metric(measure.name, measure.kind, measure.text, measure.samples, prefix)
        return self._buckets(prefix + measure.name, measure.text, measure.samples)

    def _metric(
        self, name: str, kind: str, text: str, samples: Iterable[tuple[Labels, float]], prefix: str | None = None
    ) -> Metric:
        # The names are the promise; the library would add _total to the counters that have none.
        full = (self._prefix if prefix is None else prefix) + name
        declared = kind if kind != "counter" or name.endswith("_total") else "unknown"
        metric = Metric(full.removesuffix("_total") if declared == "counter" else full, text, declared)
        for labels, value in samples:
            metric.add_sample(full, {**labels, "port": str(self._metrics.port)}, value)
        return metric

    def _per_app(self, value: Callable[[Traffic], float]) -> Iterator[tuple[Labels, float]]:
        for app_id, traffic in self._view.traffic():
            yield {"app_id": app_id}, value(traffic)

    def _loop_times(self) -> Iterator[Metric]:
        worst = self._loop.take_worst_ms() if self._metrics.scraping else self._loop.worst_since_read_ms
        yield self._metric(
            "event_loop_lag_ms", "gauge", "Longest block of the loop since the last scrape", [({}, worst)]
        )
        ever = self._loop.worst_ms
        yield self._metric("event_loop_lag_max_ms", "gauge", "Longest block of the loop since the start", [({}, ever)])
        stalls = float(self._loop.stalls)
        yield self._metric("event_loop_stalls_total", "counter", "Blocks of the loop of over 50 ms", [({}, stalls)])

    def _traffic(self) -> Iterator[Metric]:
        connected = [({"app_id": app_id}, float(count)) for app_id, count in self._view.connection_counts()]
        yield self._metric("connected", "gauge", "Connections now", connected)
        for name, text, attribute in _TRAFFIC:
            samples = self._per_app(lambda traffic, attribute=attribute: getattr(traffic, attribute))  # type: ignore[misc]
            yield self._metric(name, "counter", text, samples)

    def _channels(self) -> Iterator[Metric]:
        active: list[tuple[Labels, float]] = []
        joined: list[tuple[Labels, float]] = []
        left: list[tuple[Labels, float]] = []
        for app_id, traffic in self._view.traffic():
            kinds = self._view.occupied_kinds(app_id)
            # A kind that was in use and no longer is shows 0 instead of vanishing.
            active.extend(({"app_id": app_id, "channel_type": kind}, kinds[kind]) for kind in traffic.subscribed)
            joined.extend(_by_kind(app_id, traffic.subscribed))
            left.extend(_by_kind(app_id, traffic.unsubscribed))
        yield self._metric("active_channels", "gauge", "Channels with subscribers now", active)
        yield self._metric("channel_subscriptions_total", "counter", "Subscriptions made", joined)
        yield self._metric("channel_unsubscriptions_total", "counter", "Subscriptions ended", left)

    def _errors(self) -> Iterator[Metric]:
        counts: Counter[tuple[str, str]] = Counter()
        for (app_id, slug), count in self._refused.items():
            counts[app_id, _ERROR_TYPES.get(slug, slug)] += count
        for app_id, traffic in self._view.traffic():
            for slug, count in traffic.errors.items():
                counts[app_id, _ERROR_TYPES.get(slug, slug)] += count
        samples = [({"app_id": app, "error_type": kind}, float(count)) for (app, kind), count in counts.items()]
        text = "Refused connections (unknown: a key that no app has), refused messages and closes by the server"
        yield self._metric("connection_errors_total", "counter", text, samples)

    def _requests(self) -> Iterator[Metric]:
        counts: Counter[str] = Counter()
        for slug, count in self.refused_requests.items():
            counts[_ERROR_TYPES.get(slug, slug)] += count
        samples = [({"error_type": kind}, float(count)) for kind, count in counts.items()]
        text = "Refused HTTP requests, and upgrades before their handshake"
        yield self._metric("http_refused_total", "counter", text, samples)
        text = "Seconds in which the process had no descriptor for a new connection"
        seconds = float(self.descriptors_missing())
        yield self._metric("descriptors_exhausted_seconds_total", "counter", text, [({}, seconds)])

    def _rate_limits(self) -> Iterator[Metric]:
        checks: list[tuple[Labels, float]] = []
        refusals: list[tuple[Labels, float]] = []
        limits = self._limits()
        if limits is not None:
            checks.extend(_by_limit("global", limits.checks))
            refusals.extend(_by_limit("global", limits.triggered))
        for app_id, traffic in self._view.traffic():
            checks.extend(_by_limit(app_id, {(limit, "other"): count for limit, count in traffic.rate_checks.items()}))
            refused = {(limit, "other"): count for limit, count in traffic.rate_refusals.items()}
            refusals.extend(_by_limit(app_id, refused))
        yield self._metric("rate_limit_checks_total", "counter", "What a rate limit looked at", checks)
        yield self._metric("rate_limit_triggered_total", "counter", "What a rate limit refused", refusals)

    def _deltas(self) -> Iterator[Metric]:
        """The label ``channel_name`` holds the kind of channel."""
        for name, text, attribute in _DELTAS:
            samples = [
                ({"app_id": app_id, "channel_name": kind}, float(getattr(deltas, attribute)))
                for app_id, traffic in self._view.traffic()
                for kind, deltas in traffic.deltas.items()
            ]
            yield self._metric(name, "counter", text, samples)

    def _by_word(self) -> Iterator[Metric]:
        for name, text, label, attribute in _BY_WORD:
            samples = [
                ({"app_id": app_id, label: word}, float(count))
                for app_id, traffic in self._view.traffic()
                for word, count in getattr(traffic, attribute).items()
            ]
            yield self._metric(name, "counter", text, samples)

    def _latency(self) -> Metric:
        times = (
            ({"app_id": app_id, "channel_type": kind, "recipient_count_bucket": size}, latency)
            for app_id, traffic in self._view.traffic()
            for (kind, size), latency in traffic.latency.items()
        )
        return self._histogram("broadcast_latency_ms", "From the publish to the last write of its round", times)

    def _histogram(self, name: str, text: str, samples: Iterable[tuple[Labels, Latency]]) -> Metric:
        bounds = (*map(str, BUCKETS_MS), "+Inf")
        rows = ((place, Buckets(bounds, times.counts, times.sum_ms)) for place, times in samples)
        return self._buckets(self._prefix + name, text, rows)

    def _buckets(self, full: str, text: str, samples: Iterable[tuple[Labels, Buckets]]) -> Metric:
        metric = Metric(full, text, "histogram")
        for place, (bounds, counts, total) in samples:
            labels = {**place, "port": str(self._metrics.port)}
            seen = 0
            for bound, count in zip(bounds, counts, strict=True):
                seen += count
                metric.add_sample(f"{full}_bucket", {**labels, "le": bound}, seen)
            metric.add_sample(f"{full}_count", labels, seen)
            metric.add_sample(f"{full}_sum", labels, total)
        return metric


_TRAFFIC = (
    ("new_connections_total", "Connections opened", "connections_opened"),
    ("new_disconnections_total", "Connections closed", "connections_closed"),
    ("socket_received_bytes", "Payload bytes from clients", "bytes_received"),
    ("socket_transmitted_bytes", "Frame bytes to clients, of channels and users", "bytes_sent"),
    ("ws_messages_received_total", "Messages from clients", "messages_received"),
    ("ws_messages_sent_total", "Deliveries to clients, of channels and users", "messages_sent"),
    ("appends_held_total", "Appends that waited to be delivered with others to their message", "appends_held"),
    ("appends_joined_total", "Frames that they were delivered in", "appends_joined"),
    ("ws_messages_dropped_total", "Deliveries that a full buffer cost a slow client", "messages_dropped"),
    ("http_received_bytes", "Bytes of bodies of the signed HTTP API", "http_bytes_received"),
    ("http_transmitted_bytes", "Bytes of answers of the signed HTTP API", "http_bytes_sent"),
    ("http_calls_received_total", "Calls of the signed HTTP API", "http_calls"),
    ("idempotency_publish_total", "Publishes that carried an idempotency key", "idempotent_publishes"),
    ("idempotency_duplicates_total", "Publishes that repeated one", "idempotent_repeats"),
    ("ephemeral_messages_total", "Messages published to be kept nowhere", "ephemeral"),
    ("event_filter_suppressed_total", "Deliveries that a subscription's filter held back", "filtered"),
    ("echo_suppressed_total", "Client events that their sender did not want back", "echoes_suppressed"),
    ("delta_sync_errors_total", "Clients that reported the loss of the base of a difference", "delta_sync_errors"),
)

_DELTAS = (
    ("delta_compression_full_messages_total", "Messages delivered whole where differences are wanted", "whole"),
    ("delta_compression_delta_messages_total", "Messages delivered as differences", "differences"),
    ("delta_compression_bandwidth_original_bytes", "Bytes of both if all were sent whole", "original_bytes"),
    ("delta_compression_bandwidth_saved_bytes", "Bytes that differences were less", "saved_bytes"),
)

_BY_WORD = (
    (
        "subscription_predicate_errors_total",
        "Messages that a filter's expression could not be asked of, which is no match",
        "reason",
        "predicate_errors",
    ),
    ("history_recovery_success_total", "Channels recovered on a connection that came back", "source", "recovered"),
    ("history_recovery_failures_total", "Channels that could not be recovered", "code", "recovery_failures"),
)


# The names that dashboards know (spec: platform § 6.2) for slugs of the error catalogue; the others go by their slug.
_ERROR_TYPES = {
    "unknown_app": "app_not_found",
    "malformed_frame": "message_parse_error",
    "missing_field": "invalid_message_format",
    "presence_data": "invalid_message_format",
    "event_name_invalid": "missing_event_name",
    "channel_auth_missing": "authentication_failed",
    "channel_auth_invalid": "authentication_failed",
    "signin_refused": "authentication_failed",
}


def _by_limit(app_id: str, counts: Mapping[tuple[str, str], int]) -> Iterator[tuple[Labels, float]]:
    for (limiter, context), count in counts.items():
        yield {"app_id": app_id, "limiter_type": limiter, "request_context": context}, float(count)


def _by_kind(app_id: str, counts: Counter[str]) -> Iterator[tuple[Labels, float]]:
    for kind, count in counts.items():
        yield {"app_id": app_id, "channel_type": kind}, float(count)
