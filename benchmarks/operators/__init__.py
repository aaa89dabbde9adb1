"""What webhooks, the inspector and the dashboard cost and how fast they are: ``scripts/bench --operators``."""

from benchmarks.operators.rows import GROUPS, table
from benchmarks.operators.session import measure

__all__ = ["GROUPS", "measure", "table"]
