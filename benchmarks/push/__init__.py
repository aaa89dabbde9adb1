"""What push does in a second, and what it does to people who are on line: ``scripts/bench --push``."""

from benchmarks.push.rows import GROUPS, table
from benchmarks.push.session import measure

__all__ = ["GROUPS", "measure", "table"]
