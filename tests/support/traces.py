"""Spans for tests: a tracer that writes them down, and a collector that takes them over OTLP."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from sockudo.base.spans import Attributes, Kind, Span, TraceHeaders
from support.http_server import Asked, HttpServer
from support.server import Reply
from support.waiting import wait_until

__all__ = ["CollectedSpan", "Collector", "RecordedSpan", "RecordingTracer", "traceparent"]


def traceparent(trace_id: str, span_id: str = "b7ad6b7169203331", flags: str = "01") -> str:
    """A header as a publisher sends it."""
    return f"00-{trace_id}-{span_id}-{flags}"


@dataclass(eq=False)
class RecordedSpan:
    """A span of `RecordingTracer`; ``parent`` is the id of another, None at the beginning of a trace."""

    name: str
    kind: Kind
    trace: str
    id: str
    parent: str | None
    links: list[TraceHeaders]
    attributes: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    failed: bool = False
    ended: bool = False

    @property
    def headers(self) -> TraceHeaders:
        return (("traceparent", traceparent(self.trace, self.id)),)

    def end(self, attributes: Attributes | None = None, *, error: str | None = None, failed: bool = True) -> None:
        assert not self.ended, f"{self.name} has ended before"
        self.ended = True
        self.attributes.update(attributes or {})
        self.error, self.failed = error, error is not None and failed


class RecordingTracer:
    """A `Tracer` that keeps all its spans, in the order in which they began."""

    def __init__(self) -> None:
        self.spans: list[RecordedSpan] = []
        self._ids = count(1)
        self._active: ContextVar[RecordedSpan | None] = ContextVar("active", default=None)

    def start(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes,
        *,
        cause: TraceHeaders | None = None,
        links: Sequence[TraceHeaders] = (),
    ) -> RecordedSpan:
        given = dict(self.headers() if cause is None else cause).get("traceparent", "")
        parts = given.split("-")
        number = next(self._ids)
        known = len(parts) == 4 and [len(part) for part in parts] == [2, 32, 16, 2]
        trace, parent = (parts[1], parts[2]) if known else (f"{number:032x}", None)
        span = RecordedSpan(name, kind, trace, f"{number:016x}", parent, list(links), dict(attributes))
        self.spans.append(span)
        return span

    @contextmanager
    def active(self, span: Span) -> Iterator[None]:
        assert isinstance(span, RecordedSpan)
        token = self._active.set(span)
        try:
            yield
        finally:
            self._active.reset(token)

    def headers(self) -> TraceHeaders:
        span = self._active.get()
        return () if span is None else span.headers

    def named(self, name: str) -> list[RecordedSpan]:
        """The spans of this name."""
        return [span for span in self.spans if span.name == name]

    def only(self, name: str) -> RecordedSpan:
        """The one span of this name, which has ended."""
        [span] = self.named(name)
        assert span.ended, f"{name} has not ended"
        return span


# ---- a collector ----


@dataclass(frozen=True)
class CollectedSpan:
    """A span that arrived at the collector; ids in hexadecimal, ``parent`` empty where a trace begins."""

    name: str
    kind: int
    trace: str
    id: str
    parent: str
    state: str
    attributes: dict[str, Any]
    resource: dict[str, Any]
    failed: bool
    links: list[tuple[str, str]]


class Collector(HttpServer):
    """Takes spans over OTLP, HTTP with Protobuf, for ``with``. ``status`` is what it answers."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        super().__init__(self._taken, methods=("POST",))

    @property
    def environment(self) -> dict[str, str]:
        """What switches a server on that sends its spans here, soon after they end."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.origin, "OTEL_BSP_SCHEDULE_DELAY": "50"}

    @property
    def spans(self) -> list[CollectedSpan]:
        """Everything that has arrived, in the order in which it ended."""
        return [span for body in tuple(self.bodies) for span in _spans(body)]

    def named(self, name: str) -> list[CollectedSpan]:
        return [span for span in self.spans if span.name == name]

    def waits_for(self, condition: Callable[[list[CollectedSpan]], bool], seconds: float = 15.0) -> None:
        """Returns once the spans that have arrived fulfil the condition."""
        wait_until(lambda: condition(self.spans), "spans at the collector", timeout=seconds)

    def wait_for(self, name: str, number: int = 1) -> list[CollectedSpan]:
        """The spans of this name, once there are so many."""
        self.waits_for(lambda spans: sum(span.name == name for span in spans) >= number)
        return self.named(name)

    def _taken(self, asked: Asked) -> Reply:
        packed = asked.headers.get("content-encoding") == "gzip"
        self.headers.append({**asked.headers, "path": asked.path})
        if self.status < 300:
            self.bodies.append(gzip.decompress(asked.body) if packed else asked.body)
        return Reply(self.status, {}, b"")


def _spans(body: bytes) -> Iterator[CollectedSpan]:
    for group in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = {each.key: _value(each.value) for each in group.resource.attributes}
        for scope in group.scope_spans:
            for span in scope.spans:
                yield CollectedSpan(
                    span.name,
                    span.kind,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.trace_state,
                    {each.key: _value(each.value) for each in span.attributes},
                    resource,
                    span.status.code == span.status.STATUS_CODE_ERROR,
                    [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
                )


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return None if kind is None else getattr(value, kind)
