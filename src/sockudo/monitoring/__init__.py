"""What operators see of a running node: its health, its figures, its metrics, and what happens on it, live."""

from sockudo.monitoring.figures import host_memory, node_stats
from sockudo.monitoring.health import Health, HealthChecks
from sockudo.monitoring.histories import HistorySources, history_measures
from sockudo.monitoring.prometheus import Metrics
from sockudo.monitoring.tails import Tails

__all__ = [
    "Health",
    "HealthChecks",
    "HistorySources",
    "Metrics",
    "Tails",
    "history_measures",
    "host_memory",
    "node_stats",
]
