"""The push store: in memory, or in an SQL database (spec: push § 3.1, 3.2)."""

from __future__ import annotations

from sockudo.push.stores.memory import MemoryPushStore
from sockudo.push.stores.selection import push_store

__all__ = ["MemoryPushStore", "push_store"]
