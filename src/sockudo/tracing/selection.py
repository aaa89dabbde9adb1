"""Whether the environment asks for traces, and the start of them (the variables are OpenTelemetry's own)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

import structlog

from sockudo.base.spans import Tracer
from sockudo.config.installed import how_to_install

__all__ = ["Tracing", "start_tracing"]

_DISABLED: Final = "OTEL_SDK_DISABLED"
_EXPORTER: Final = "OTEL_TRACES_EXPORTER"
_SWITCHES: Final = (_EXPORTER, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

_log = structlog.get_logger("sockudo.tracing")


class Tracing(Protocol):
    """Traces that are collected and sent by a thread of their own."""

    @property
    def tracer(self) -> Tracer: ...

    async def close(self, seconds: float) -> None:
        """Sends what has been collected, for so long at most."""
        ...


def start_tracing(environ: Mapping[str, str], instance: str) -> Tracing | None:
    """Traces as the ``OTEL_*`` variables say; None when they do not ask for any, or cannot have them.

    The latter is logged and no reason not to serve. ``instance`` is what distinguishes this process from others.
    """
    switch = _switched_on_by(environ)
    if switch is None:
        return None
    try:
        from sockudo.tracing.otel import OpenTelemetry, TracingError
    except ImportError:
        how = how_to_install("opentelemetry")
        _log.warning("no traces", reason=f"{switch} asks for OpenTelemetry, which is not installed: {how}")
        return None
    try:
        tracing = OpenTelemetry(environ, instance)
    except TracingError as problem:
        _log.error("no traces", reason=str(problem))
        return None
    _log.info("traces", exporters=tracing.exporters)
    return tracing


def _switched_on_by(environ: Mapping[str, str]) -> str | None:
    """The variable that asks for traces. One that is empty counts as not set, as the specification has it."""
    if environ.get(_DISABLED, "").strip().lower() == "true" or environ.get(_EXPORTER, "").strip().lower() == "none":
        return None
    return next((name for name in _SWITCHES if environ.get(name, "").strip()), None)
