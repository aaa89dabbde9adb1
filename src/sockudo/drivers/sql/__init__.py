"""Stores in SQL databases: one implementation for SQLite, PostgreSQL, and MySQL or MariaDB."""

from __future__ import annotations

from sockudo.drivers.sql.history import SqlHistoryStore, server_history, sqlite_history

__all__ = ["SqlHistoryStore", "server_history", "sqlite_history"]
