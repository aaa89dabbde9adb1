"""Which store the configuration asks for to keep the history in."""

from __future__ import annotations

from sockudo.config import Settings
from sockudo.stores.memory_history import MemoryHistoryStore
from sockudo.streams.ports import HistoryStore

__all__ = ["history_store", "write_timeout"]


def history_store(settings: Settings) -> HistoryStore:
    """The store of ``history.backend``, not opened yet."""
    return MemoryHistoryStore()


def write_timeout(settings: Settings) -> float:
    """Seconds that one write may take."""
    return 5.0
