"""The tracer that hands its spans to OpenTelemetry's SDK, which samples, gathers and sends them.

All that the standard variables say is read by the SDK and its exporters; only which exporters there are is found here,
the way the SDK's own configurator does. The process-wide provider is left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import threading
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from types import TracebackType
from typing import Final, cast

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from sockudo.base.spans import Attributes, Kind, Span, TraceHeaders
from sockudo.base.version import __version__
from sockudo.tracing.quiet import RareLines

__all__ = ["OpenTelemetry", "OtelTracer", "TracingError"]

_KINDS: Final[dict[Kind, SpanKind]] = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
}
_GROUP: Final = "opentelemetry_traces_exporter"
_BY_PROTOCOL: Final = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")

# Baggage is left out on purpose: what a backend puts there is not for the endpoints of webhooks.
_W3C: Final = TraceContextTextMapPropagator()


class TracingError(Exception):
    """There can be no traces; the text is the reason, for people."""


class OpenTelemetry:
    """The SDK's provider with its exporters. Raises `TracingError` when the variables ask for what is not there."""

    def __init__(self, environ: Mapping[str, str], instance: str) -> None:
        self.exporters = _exporter_names(environ)
        self._lines = RareLines()
        self._lines.install(logging.getLogger("opentelemetry"))
        try:
            self._provider = TracerProvider(resource=_resource(instance), shutdown_on_exit=False)
            for name in self.exporters:
                self._provider.add_span_processor(BatchSpanProcessor(_exporter(name)))
        except (ValueError, RuntimeError, OSError, ImportError, TracingError) as problem:
            self._lines.remove()
            raise TracingError(str(problem)) from problem
        self.tracer = OtelTracer(self._provider)

    async def close(self, seconds: float) -> None:
        """Sends what has been gathered. Its thread is left behind when the collector does not take it in time."""
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def work() -> None:
            self._provider.shutdown()
            # The loop is closed by now when this took too long.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(done.set)

        # Not one of the loop's own threads: the end of the process would wait for these.
        threading.Thread(target=work, name="sockudo-traces", daemon=True).start()
        try:
            async with asyncio.timeout(seconds):
                await done.wait()
        except TimeoutError:
            logging.getLogger("opentelemetry").warning("Traces are lost: they were not taken within %g s", seconds)
        self._lines.remove()


class OtelTracer:
    """A `Tracer` over any provider of OpenTelemetry."""

    def __init__(self, provider: trace.TracerProvider) -> None:
        self._tracer = provider.get_tracer("sockudo", __version__)

    def start(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes,
        *,
        cause: TraceHeaders | None = None,
        links: Sequence[TraceHeaders] = (),
    ) -> Span:
        """See `Tracer.start`."""
        linked = [trace.Link(_span_context(_read(each))) for each in links]
        where = None if cause is None else _read(cause)
        return OtelSpan(self._tracer.start_span(name, where, _KINDS[kind], attributes, linked))

    def active(self, span: Span) -> _Active:
        """See `Tracer.active`."""
        return _Active(cast("OtelSpan", span))

    def headers(self) -> TraceHeaders:
        """See `Tracer.headers`."""
        return _written(contexts.get_current())


class OtelSpan:
    """A `Span` of the SDK, also one that the sampler left out: it is known elsewhere all the same."""

    __slots__ = ("span",)

    def __init__(self, span: trace.Span) -> None:
        self.span = span

    @property
    def headers(self) -> TraceHeaders:
        """See `Span.headers`."""
        return _written(trace.set_span_in_context(self.span, Context()))

    def end(self, attributes: Attributes | None = None, *, error: str | None = None, failed: bool = True) -> None:
        """See `Span.end`."""
        span = self.span
        if attributes:
            span.set_attributes(attributes)
        if error is not None:
            span.set_attribute("error.type", error)
            if failed:
                span.set_status(Status(StatusCode.ERROR))
        span.end()


class _Active:
    """Makes a span the active one for as long as the block lasts."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: OtelSpan) -> None:
        self._span = span
        self._token: contextvars.Token[Context] | None = None

    def __enter__(self) -> None:
        self._token = contexts.attach(trace.set_span_in_context(self._span.span))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._token is not None:
            contexts.detach(self._token)


def _read(headers: TraceHeaders) -> Context:
    """A context with what the headers name; an empty one when they name nothing."""
    return _W3C.extract(dict(headers), Context()) if headers else Context()


def _written(context: Context) -> TraceHeaders:
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, context)
    return tuple(carrier.items())


def _span_context(context: Context) -> trace.SpanContext:
    return trace.get_current_span(context).get_span_context()


# ---- what the variables ask for ----


def _resource(instance: str) -> Resource:
    """The attributes of this service by the variables, over its own."""
    detected = Resource.create()
    named = not str(detected.attributes.get(SERVICE_NAME, "unknown_service")).startswith("unknown_service")
    own = Resource({SERVICE_VERSION: __version__, SERVICE_INSTANCE_ID: instance}).merge(detected)
    return own if named else own.merge(Resource({SERVICE_NAME: "sockudo"}))


def _exporter_names(environ: Mapping[str, str]) -> list[str]:
    """Names of entry points. OTLP goes over HTTP unless the variables say otherwise."""
    given = environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    names = []
    for name in filter(None, (part.strip() for part in given.split(","))):
        if name != "otlp":
            names.append(name)
            continue
        protocol = next((text for each in _PROTOCOLS if (text := environ.get(each, "").strip())), "http/protobuf")
        if protocol not in _BY_PROTOCOL:
            raise TracingError(f"the OTLP protocol {protocol!r} is not known: use {' or '.join(_BY_PROTOCOL)}")
        names.append(_BY_PROTOCOL[protocol])
    return names


def _exporter(name: str) -> SpanExporter:
    found = next(iter(entry_points(group=_GROUP, name=name)), None)
    if found is None:
        hint = "; it is in the package opentelemetry-exporter-otlp-proto-grpc" if name == "otlp_proto_grpc" else ""
        raise TracingError(f"the exporter {name!r} is not installed{hint}")
    made: SpanExporter = found.load()()
    return made
