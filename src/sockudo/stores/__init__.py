"""Adapters that keep state: in memory, which defines what each promises, and in SQLite files."""

from __future__ import annotations

from sockudo.stores.memory_apps import MemoryAppStore
from sockudo.stores.memory_history import MemoryHistoryStore
from sockudo.stores.sqlite_apps import SqliteAppStore

__all__ = ["MemoryAppStore", "MemoryHistoryStore", "SqliteAppStore"]
