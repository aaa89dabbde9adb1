"""Metrics for Prometheus: the only room that imports its client library."""

from sockudo.metrics.prometheus import Metrics

__all__ = ["Metrics"]
