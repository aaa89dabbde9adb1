"""Tracing, passed in: which work belongs to which request, for a collector (W3C Trace Context).

A server without tracing has no tracer at all, so what is traced asks for one once and does nothing else. Names and
attributes of spans follow the semantic conventions of OpenTelemetry. None of it ever holds a secret, a query string or
a payload.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol

__all__ = ["Attributes", "Kind", "Span", "TraceHeaders", "Tracer", "trace_headers"]

TraceHeaders = tuple[tuple[str, str], ...]
"""``traceparent`` and, where there is any, ``tracestate``: by these a span is known elsewhere. Empty for no span."""

Attributes = Mapping[str, str | int | bool | Sequence[str]]

Kind = Literal["internal", "server", "client", "producer"]
"""The part that a span has in a conversation: ``server`` and ``client`` of a request, ``producer`` of a message."""


class Span(Protocol):
    """A piece of work that has begun."""

    @property
    def headers(self) -> TraceHeaders:
        """What makes work elsewhere, or later, a part of this one."""
        ...

    def end(self, attributes: Attributes | None = None, *, error: str | None = None, failed: bool = True) -> None:
        """The work has ended; to be called once.

        ``error`` is a slug of the catalogue, or a word as stable. Where there is one, ``failed`` is whether the work
        itself counts as failed: a server that refuses a bad request does not.
        """
        ...


class Tracer(Protocol):
    """Begins spans. Nothing here waits or fails, even when the collector does."""

    def start(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes,
        *,
        cause: TraceHeaders | None = None,
        links: Sequence[TraceHeaders] = (),
    ) -> Span:
        """Begins a span.

        ``cause`` names what it is a part of; headers that name nothing, or are malformed, start a trace. None stands
        for the span that is active. ``links`` are further causes.
        """
        ...

    def active(self, span: Span) -> AbstractContextManager[None]:
        """What is begun inside, and in tasks and callbacks that are scheduled there, is a part of the span."""
        ...

    def headers(self) -> TraceHeaders:
        """Those of the span that is active; empty when none is."""
        ...


def trace_headers(headers: Iterable[tuple[bytes, bytes]]) -> TraceHeaders:
    """The trace headers of a request, whose names are in lower case; none of them when they contradict each other.

    Whether they are well formed is for the tracer to see.
    """
    parents: list[bytes] = []
    states: list[bytes] = []
    for name, value in headers:
        if name == b"traceparent":
            parents.append(value)
        elif name == b"tracestate":
            states.append(value)
    if len(parents) != 1:
        return ()
    parent = ("traceparent", parents[0].decode("latin-1"))
    return (parent, ("tracestate", b",".join(states).decode("latin-1"))) if states else (parent,)
