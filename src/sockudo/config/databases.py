"""The database servers that settings may name as their driver: the one list of them.

Adding one is a row here, its section under ``database``, and an engine in `sockudo.storage.engine`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from sockudo.config.sections.databases import SqlDatabase
    from sockudo.config.sections.streams import HistoryTables
    from sockudo.config.settings import Settings

__all__ = ["DATABASES", "DatabaseKind", "database_of"]


class DatabaseKind(NamedTuple):
    """``drivers`` are what settings call it; ``module`` is what the ``extra`` of the package installs for it."""

    name: str
    drivers: tuple[str, ...]
    extra: str
    module: str
    server: Callable[[Settings], SqlDatabase]
    history: Callable[[Settings], HistoryTables]

    @property
    def section(self) -> str:
        """Where the configuration says how it is reached."""
        return f"database.{self.extra}"


DATABASES: Final = (
    DatabaseKind(
        "PostgreSQL",
        ("postgres", "pgsql"),
        "postgres",
        "psycopg",
        lambda settings: settings.database.postgres,
        lambda settings: settings.history.postgres,
    ),
    DatabaseKind(
        "MySQL",
        ("mysql",),
        "mysql",
        "pymysql",
        lambda settings: settings.database.mysql,
        lambda settings: settings.history.mysql,
    ),
)


def database_of(driver: str) -> DatabaseKind | None:
    """The kind that a setting names; None for a driver that is no database server."""
    return next((kind for kind in DATABASES if driver in kind.drivers), None)
