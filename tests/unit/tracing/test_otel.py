"""The SDK as it is set up: from the variables, without the process-wide provider, and closed in time."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Sequence

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from structlog.testing import capture_logs

from sockudo.tracing import otel, start_tracing
from sockudo.tracing.otel import OpenTelemetry
from sockudo.tracing.quiet import RareLines

GRPC_MISSING = (
    "the exporter 'otlp_proto_grpc' is not installed; it is in the package opentelemetry-exporter-otlp-proto-grpc"
)


class Exporter(SpanExporter):
    """Takes spans once it is let; ``hold`` makes it hang."""

    def __init__(self, *, hold: bool = False) -> None:
        self.names: list[str] = []
        self.free = threading.Event()
        self.threads: set[str] = set()
        if not hold:
            self.free.set()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.threads.add(threading.current_thread().name)
        self.free.wait(30)
        self.names += [span.name for span in spans]
        return SpanExportResult.SUCCESS


def handlers() -> list[logging.Handler]:
    """Ours, among those of the SDK's logger."""
    return [each for each in logging.getLogger("opentelemetry").handlers if isinstance(each, RareLines)]


def with_exporter(monkeypatch: pytest.MonkeyPatch, exporter: Exporter) -> OpenTelemetry:
    monkeypatch.setattr(otel, "_exporter", lambda _: exporter)
    return OpenTelemetry({"OTEL_TRACES_EXPORTER": "given"}, "node-1")


async def test_closing_sends_what_was_gathered_from_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = Exporter()
    tracing = with_exporter(monkeypatch, exporter)
    for number in range(3):
        tracing.tracer.start(str(number), "internal", {}, cause=()).end()
    await tracing.close(10)
    assert exporter.names == ["0", "1", "2"]
    assert threading.current_thread().name not in exporter.threads
    assert not handlers()
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


async def test_closing_does_not_wait_for_an_exporter_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = Exporter(hold=True)
    tracing = with_exporter(monkeypatch, exporter)
    tracing.tracer.start("x", "internal", {}, cause=()).end()
    started = time.monotonic()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    with capture_logs() as said:
        await tracing.close(0.3)
    ticking.cancel()
    exporter.free.set()
    assert 0.3 <= time.monotonic() - started < 5
    assert ticks > 3, "the loop stood still"
    assert [line["says"] for line in said] == ["Traces are lost: they were not taken within 0.3 s"]


@pytest.mark.parametrize(
    ("environ", "exporters"),
    [
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ["otlp_proto_http"]),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, ["otlp_proto_http"]),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1"}, ["otlp_proto_http"]),
        ({"OTEL_TRACES_EXPORTER": " console , otlp "}, ["console", "otlp_proto_http"]),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, ["otlp_proto_http"]),
    ],
)
async def test_what_switches_it_on(environ: dict[str, str], exporters: list[str]) -> None:
    tracing = start_tracing(environ, "node-1")
    assert isinstance(tracing, OpenTelemetry)
    assert tracing.exporters == exporters
    await tracing.close(5)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "None"},
        {"OTEL_TRACES_EXPORTER": "  "},
        {"OTEL_SERVICE_NAME": "push", "OTEL_TRACES_SAMPLER": "always_on"},
        {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_SDK_DISABLED": "TRUE", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
    ],
)
def test_what_does_not(environ: dict[str, str]) -> None:
    with capture_logs() as said:
        assert start_tracing(environ, "node-1") is None
    assert said == []


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"OTEL_TRACES_EXPORTER": "zip"}, "the exporter 'zip' is not installed"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"},
            "the OTLP protocol 'http/json' is not known: use http/protobuf or grpc",
        ),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            GRPC_MISSING,
        ),
    ],
)
def test_what_cannot_be_had_is_said(environ: dict[str, str], reason: str) -> None:
    with capture_logs() as said:
        assert start_tracing(environ, "node-1") is None
    assert [(line["event"], line["reason"]) for line in said] == [("no traces", reason)]
    assert not handlers()
