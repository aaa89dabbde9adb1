"""Traces for OpenTelemetry. Importing this imports nothing of it: that happens when traces are configured."""

from sockudo.tracing.selection import Tracing, start_tracing

__all__ = ["Tracing", "start_tracing"]
