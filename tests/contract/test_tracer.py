"""What every tracer promises: how spans belong to each other, and by which headers they are known elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from sockudo.base.spans import TraceHeaders, Tracer, trace_headers
from sockudo.tracing.otel import OtelTracer
from support.traces import RecordingTracer, traceparent

TRACE = "0af7651916cd43dd8448eb211c80319c"
CAUSE: TraceHeaders = (("traceparent", traceparent(TRACE)),)


@dataclass(frozen=True)
class Seen:
    """A span that has ended."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str | None
    attributes: dict[str, Any]
    error: str | None
    failed: bool
    links: list[str]


class Traced(Protocol):
    """A tracer and what has ended so far."""

    tracer: Tracer

    def seen(self) -> Sequence[Seen]: ...


class Recording:
    def __init__(self) -> None:
        self.tracer = RecordingTracer()

    def seen(self) -> Sequence[Seen]:
        return [
            Seen(
                span.name,
                span.kind,
                span.trace,
                span.id,
                span.parent,
                span.attributes,
                span.error,
                span.failed,
                [dict(link)["traceparent"].split("-")[1] for link in span.links],
            )
            for span in self.tracer.spans
            if span.ended
        ]


class Sdk:
    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = OtelTracer(provider)

    def seen(self) -> Sequence[Seen]:
        found = []
        for span in self._exporter.get_finished_spans():
            attributes = dict(span.attributes or {})
            error = attributes.pop("error.type", None)
            found.append(
                Seen(
                    span.name,
                    span.kind.name.lower(),
                    f"{span.context.trace_id:032x}",
                    f"{span.context.span_id:016x}",
                    f"{span.parent.span_id:016x}" if span.parent else None,
                    attributes,
                    None if error is None else str(error),
                    span.status.status_code.name == "ERROR",
                    [f"{link.context.trace_id:032x}" for link in span.links],
                )
            )
        return found


@pytest.fixture(params=[Recording, Sdk])
def traced(request: pytest.FixtureRequest) -> Traced:
    made: Traced = request.param()
    return made


def test_a_span_has_its_name_kind_and_attributes(traced: Traced) -> None:
    span = traced.tracer.start("POST /x", "server", {"a": "1", "b": 2, "c": True}, cause=())
    assert not traced.seen()
    span.end({"d": "later"})
    [seen] = traced.seen()
    assert (seen.name, seen.kind, seen.parent) == ("POST /x", "server", None)
    assert seen.attributes == {"a": "1", "b": 2, "c": True, "d": "later"}
    assert (seen.error, seen.failed) == (None, False)


def test_an_error_counts_as_a_failure(traced: Traced) -> None:
    traced.tracer.start("x", "internal", {}, cause=()).end(error="history_busy")
    [seen] = traced.seen()
    assert (seen.error, seen.failed) == ("history_busy", True)


@pytest.mark.parametrize("failed", [True, False])
def test_an_error_is_told_and_need_not_be_a_failure(traced: Traced, failed: bool) -> None:
    traced.tracer.start("x", "internal", {}, cause=()).end(error="history_busy", failed=failed)
    [seen] = traced.seen()
    assert (seen.error, seen.failed) == ("history_busy", failed)


def test_headers_make_a_span_a_part_of_what_they_name(traced: Traced) -> None:
    traced.tracer.start("x", "client", {}, cause=CAUSE).end()
    [seen] = traced.seen()
    assert (seen.trace, seen.parent) == (TRACE, "b7ad6b7169203331")


def test_the_headers_of_a_span_lead_to_it(traced: Traced) -> None:
    first = traced.tracer.start("first", "producer", {}, cause=CAUSE)
    traced.tracer.start("second", "client", {}, cause=first.headers).end()
    first.end()
    seen = {span.name: span for span in traced.seen()}
    assert (seen["second"].trace, seen["second"].parent) == (TRACE, seen["first"].id)
    assert dict(first.headers)["traceparent"] == traceparent(TRACE, seen["first"].id)


@pytest.mark.parametrize(
    "given",
    [
        (),
        (("traceparent", ""),),
        (("traceparent", "nonsense"),),
        (("traceparent", traceparent(TRACE)[:-1]),),
        (("tracestate", "a=b"),),
    ],
)
def test_headers_that_name_nothing_begin_a_trace(traced: Traced, given: TraceHeaders) -> None:
    with traced.tracer.active(traced.tracer.start("active", "internal", {}, cause=CAUSE)):
        traced.tracer.start("x", "server", {}, cause=given).end()
    [seen] = traced.seen()
    assert seen.parent is None
    assert seen.trace != TRACE


def test_without_a_cause_the_active_span_counts(traced: Traced) -> None:
    tracer = traced.tracer
    outer = tracer.start("outer", "server", {}, cause=())
    assert tracer.headers() == ()
    with tracer.active(outer):
        assert tracer.headers() == outer.headers
        inner = tracer.start("inner", "internal", {})
        with tracer.active(inner):
            assert tracer.headers() == inner.headers
        assert tracer.headers() == outer.headers
        inner.end()
    assert tracer.headers() == ()
    tracer.start("after", "internal", {}).end()
    outer.end()
    seen = {span.name: span for span in traced.seen()}
    assert seen["inner"].parent == seen["outer"].id
    assert seen["after"].parent is None


async def test_what_is_scheduled_inside_is_a_part_of_the_span(traced: Traced) -> None:
    tracer, found = traced.tracer, []
    span = tracer.start("outer", "server", {}, cause=())

    async def later() -> None:
        found.append(tracer.headers())

    loop = asyncio.get_running_loop()
    with tracer.active(span):
        task = loop.create_task(later())
        loop.call_soon(lambda: found.append(tracer.headers()))
    await task
    await asyncio.sleep(0)
    assert found == [span.headers] * 2


def test_an_exception_ends_being_active(traced: Traced) -> None:
    def fail() -> None:
        with traced.tracer.active(traced.tracer.start("x", "internal", {}, cause=())):
            raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        fail()
    assert traced.tracer.headers() == ()


def test_links_are_further_causes(traced: Traced) -> None:
    others = [(("traceparent", traceparent(digit * 32)),) for digit in "ab"]
    traced.tracer.start("x", "producer", {}, cause=CAUSE, links=others).end()
    assert traced.seen()[0].links == ["a" * 32, "b" * 32]


# ---- what only the SDK knows ----


def test_state_is_passed_on() -> None:
    cause = (*CAUSE, ("tracestate", "vendor=1,other=2"))
    span = Sdk().tracer.start("x", "server", {}, cause=cause)
    assert dict(span.headers)["tracestate"] == "vendor=1,other=2"


def test_a_trace_that_is_not_sampled_is_passed_on_as_such() -> None:
    sdk = Sdk()
    span = sdk.tracer.start("x", "server", {}, cause=(("traceparent", traceparent(TRACE, flags="00")),))
    span.end({"a": "b"}, error="x")
    assert sdk.seen() == []
    passed_on = dict(span.headers)["traceparent"].split("-")
    assert (passed_on[1], passed_on[3]) == (TRACE, "00")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ([], ()),
        ([(b"traceparent", b"x")], (("traceparent", "x"),)),
        ([(b"traceparent", b"x"), (b"traceparent", b"x")], ()),
        ([(b"tracestate", b"a=1")], ()),
        (
            [(b"tracestate", b"a=1"), (b"host", b"h"), (b"traceparent", b"x"), (b"tracestate", b"b=2")],
            (("traceparent", "x"), ("tracestate", "a=1,b=2")),
        ),
    ],
)
def test_headers_of_a_request(given: list[tuple[bytes, bytes]], found: TraceHeaders) -> None:
    assert trace_headers(given) == found
