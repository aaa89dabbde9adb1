"""Tables of apps on a throw-away database server."""

from __future__ import annotations

import itertools

from msgspec import structs

from sockudo.config import Settings
from sockudo.config.sections.databases import Database, Postgres
from sockudo.config.sections.drivers import AppManager
from support.databases import DatabaseServer

__all__ = ["app_settings", "new_table"]

_NUMBERS = itertools.count(1)


def new_table() -> str:
    """A name that no other test of this process uses."""
    return f"applications_{next(_NUMBERS)}"


def app_settings(server: DatabaseServer, table: str) -> Settings:
    """The settings of a node that keeps its apps in this table."""
    database = structs.replace(server.database, table_name=table)
    if isinstance(database, Postgres):
        return Settings(app_manager=AppManager(driver="pgsql"), database=Database(postgres=database))
    return Settings(app_manager=AppManager(driver="mysql"), database=Database(mysql=database))
