"""How fast protocol V2 is and what keeps its promises: ``scripts/bench --v2``."""

from benchmarks.v2.rows import GROUPS, table
from benchmarks.v2.session import measure

__all__ = ["GROUPS", "measure", "table"]
