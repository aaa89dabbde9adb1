"""External databases: ``database database_pooling`` (spec: platform § 1.4)."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from sockudo.config.keys import Key
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


class SqlDatabase(msgspec.Struct, frozen=True):
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

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(host={self.host!r}, port={self.port}, username={self.username!r}, "
            f"database={self.database!r}, table_name={self.table_name!r})"
        )


class Postgres(SqlDatabase, frozen=True):
    """PostgreSQL."""

    host: Annotated[str, Key("Name or address of the server", env="DATABASE_POSTGRES_HOST", check=_empty)] = "localhost"
    port: Annotated[int, Key("Its port", env="DATABASE_POSTGRES_PORT", low=1, high=65_535)] = 5432
    username: Annotated[str, Key("Who connects", env="DATABASE_POSTGRES_USERNAME", check=_empty)] = "root"
    password: Annotated[str, Key("That user's password", env="DATABASE_POSTGRES_PASSWORD", secret=True)] = ""
    database: Annotated[str, Key("The database there", env="DATABASE_POSTGRES_DATABASE", check=_empty)] = "sockudo"
    table_name: Annotated[str, Key("The table of apps", env="DATABASE_POSTGRES_TABLE_NAME", check=_useless_table)] = (
        "applications"
    )
    connection_pool_size: Annotated[int, Key(_POOL_SIZE_MEANING, env=_POOL_SIZE_ENV, low=1, high=10_000)] = 10
    pool_min: Annotated[
        int | None,
        Key("In place of `database_pooling.min`", env="DATABASE_POSTGRES_POOL_MIN", high=10_000),
    ] = None
    pool_max: Annotated[
        int | None,
        Key("In place of `database_pooling.max`", env="DATABASE_POSTGRES_POOL_MAX", high=10_000),
    ] = None


class AdapterPostgres(msgspec.Struct, frozen=True):
    """PostgreSQL between nodes: the database of `database.postgres`."""

    prefix: Annotated[
        str,
        Key(
            "What the names of its table and its channels begin with", env="ADAPTER_POSTGRES_PREFIX", check=_useless_bus
        ),
    ] = "sockudo_bus"
    mode: Annotated[
        str,
        Key(
            "How nodes are joined: `notify` by notifications, `poll` from a table, for poolers that change "
            "connections between transactions; `auto` tries whether notifications arrive",
            env="ADAPTER_POSTGRES_MODE",
            choices=("auto", "notify", "poll"),
        ),
    ] = "auto"


class Mysql(SqlDatabase, frozen=True):
    """MySQL or MariaDB."""

    host: Annotated[str, Key("Name or address of the server", env="DATABASE_MYSQL_HOST", check=_empty)] = "localhost"
    port: Annotated[int, Key("Its port", env="DATABASE_MYSQL_PORT", low=1, high=65_535)] = 3306
    username: Annotated[str, Key("Who connects", env="DATABASE_MYSQL_USERNAME", check=_empty)] = "root"
    password: Annotated[str, Key("That user's password", env="DATABASE_MYSQL_PASSWORD", secret=True)] = ""
    database: Annotated[str, Key("The database there", env="DATABASE_MYSQL_DATABASE", check=_empty)] = "sockudo"
    table_name: Annotated[str, Key("The table of apps", env="DATABASE_MYSQL_TABLE_NAME", check=_useless_table)] = (
        "applications"
    )
    connection_pool_size: Annotated[int, Key(_POOL_SIZE_MEANING, env=_POOL_SIZE_ENV, low=1, high=10_000)] = 10
    pool_min: Annotated[
        int | None, Key("In place of `database_pooling.min`", env="DATABASE_MYSQL_POOL_MIN", high=10_000)
    ] = None
    pool_max: Annotated[
        int | None, Key("In place of `database_pooling.max`", env="DATABASE_MYSQL_POOL_MAX", high=10_000)
    ] = None


class Database(msgspec.Struct, frozen=True):
    """Database servers, for the parts that name one as their driver."""

    postgres: Postgres = Postgres()
    mysql: Mysql = Mysql()
    redis: Redis = Redis()


class DatabasePooling(msgspec.Struct, frozen=True):
    """How many connections to a database server are kept."""

    enabled: Annotated[bool, Key("The bounds here and the `pool_…` keys hold", env="DATABASE_POOLING_ENABLED")] = True
    min: Annotated[int, Key("Connections that stay open", env="DATABASE_POOL_MIN", high=10_000)] = 2
    max: Annotated[int, Key("Connections at most", env="DATABASE_POOL_MAX", low=1, high=10_000)] = 10

    def bounds(self, server: SqlDatabase) -> tuple[int, int]:
        """The fewest and the most connections to a server."""
        if not self.enabled:
            return 0, server.connection_pool_size
        return (
            self.min if server.pool_min is None else server.pool_min,
            self.max if server.pool_max is None else server.pool_max,
        )
