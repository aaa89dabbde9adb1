"""What it costs that several nodes are one server: ``scripts/bench --cluster``."""

from benchmarks.cluster.rows import GROUPS, table
from benchmarks.cluster.session import measure

__all__ = ["GROUPS", "measure", "table"]
