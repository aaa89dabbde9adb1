"""Adapters that keep state: in memory, which defines what each promises, in files and in databases."""

from __future__ import annotations

from sockudo.drivers.memory_apps import MemoryAppStore
from sockudo.drivers.memory_history import MemoryHistoryStore

__all__ = ["MemoryAppStore", "MemoryHistoryStore"]
