"""External databases: ``database database_pooling`` (spec: platform § 1.4)."""

from __future__ import annotations

import re

from sockudo.config.keys import Section, setting
from sockudo.config.sections.redis import Redis

__all__ = ["AdapterPostgres", "Database", "DatabasePooling", "Mysql", "Postgres", "SqlDatabase"]

_TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}", re.ASCII)
_BUS = re.compile(r"[a-z_][a-z0-9_]{0,23}", re.ASCII)
_POOL_SIZE_MEANING = "Connections at most, where `database_pooling` is off"
_POOL_SIZE_ENV = "DATABASE_CONNECTION_POOL_SIZE"


def _useless_table(text: str) -> str | None:
    if _TABLE.fullmatch(text):
        return None
    return "is not a table name: at most 63 letters, digits and '_', no digit first"


def _useless_bus(text: str) -> str | None:
    if _BUS.fullmatch(text):
        return None
    return "cannot begin names of tables and channels: at most 24 of a-z, digits and '_', no digit first"


def _empty(text: str) -> str | None:
    return None if text else "is empty"


class SqlDatabase(Section, frozen=True):
    """How to reach a database server. The password never leaves through ``repr``."""

    host: str
    port: int
    username: str
    password: str
    database: str
    table_name: str
    connection_pool_size: int
    pool_min: int | None
    pool_max: int | None

    @property
    def place(self) -> str:
        """Where it is, for people."""
        if self.host.startswith("/"):
            return self.host
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def section(self) -> str:
        """The settings that say so."""
        return f"database.{type(self).__name__.lower()}"

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(host={self.host!r}, port={self.port}, username={self.username!r}, "
            f"database={self.database!r}, table_name={self.table_name!r})"
        )


class Postgres(SqlDatabase, frozen=True):
    """PostgreSQL."""

    host: str = setting("localhost", "Name or address of the server", check=_empty)
    port: int = setting(5432, "Its port", low=1, high=65_535)
    username: str = setting("root", "Who connects", check=_empty)
    password: str = setting("", "That user's password", secret=True)
    database: str = setting("sockudo", "The database there", check=_empty)
    table_name: str = setting("applications", "The table of apps", check=_useless_table)
    connection_pool_size: int = setting(10, _POOL_SIZE_MEANING, env=_POOL_SIZE_ENV, low=1, high=10_000)
    pool_min: int | None = setting(None, "In place of `database_pooling.min`", high=10_000)
    pool_max: int | None = setting(None, "In place of `database_pooling.max`", high=10_000)


class AdapterPostgres(Section, frozen=True):
    """PostgreSQL between nodes: the database of `database.postgres`."""

    prefix: str = setting("sockudo_bus", "What the names of its table and its channels begin with", check=_useless_bus)
    mode: str = setting(
        "auto",
        "How nodes are joined: `notify` by notifications, `poll` from a table, for poolers that change "
        "connections between transactions; `auto` tries whether notifications arrive",
        choices=("auto", "notify", "poll"),
    )


class Mysql(SqlDatabase, frozen=True):
    """MySQL or MariaDB."""

    host: str = setting("localhost", "Name or address of the server", check=_empty)
    port: int = setting(3306, "Its port", low=1, high=65_535)
    username: str = setting("root", "Who connects", check=_empty)
    password: str = setting("", "That user's password", secret=True)
    database: str = setting("sockudo", "The database there", check=_empty)
    table_name: str = setting("applications", "The table of apps", check=_useless_table)
    connection_pool_size: int = setting(10, _POOL_SIZE_MEANING, env=_POOL_SIZE_ENV, low=1, high=10_000)
    pool_min: int | None = setting(None, "In place of `database_pooling.min`", high=10_000)
    pool_max: int | None = setting(None, "In place of `database_pooling.max`", high=10_000)


class Database(Section, frozen=True):
    """Database servers, for the parts that name one as their driver."""

    postgres: Postgres = Postgres()
    mysql: Mysql = Mysql()
    redis: Redis = Redis()


class DatabasePooling(Section, frozen=True):
    """How many connections to a database server are kept."""

    enabled: bool = setting(True, "The bounds here and the `pool_…` keys hold")
    min: int = setting(2, "Connections that stay open", env="DATABASE_POOL_MIN", high=10_000)
    max: int = setting(10, "Connections at most", env="DATABASE_POOL_MAX", low=1, high=10_000)

    def bounds(self, server: SqlDatabase) -> tuple[int, int]:
        """The fewest and the most connections to a server."""
        if not self.enabled:
            return 0, server.connection_pool_size
        return (
            self.min if server.pool_min is None else server.pool_min,
            self.max if server.pool_max is None else server.pool_max,
        )
