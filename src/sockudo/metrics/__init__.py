"""Metrics for Prometheus: the only room that imports its client library."""

from sockudo.metrics.histories import HistorySources, history_measures
from sockudo.metrics.prometheus import Metrics

__all__ = ["HistorySources", "Metrics", "history_measures"]
