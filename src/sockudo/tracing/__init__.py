"""Traces for OpenTelemetry. Importing this imports nothing of it: that is done once somebody wants traces."""

from sockudo.tracing.selection import Tracing, start_tracing

__all__ = ["Tracing", "start_tracing"]
