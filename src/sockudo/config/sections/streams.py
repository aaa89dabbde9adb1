"""What is kept of a channel: ``connection_recovery history presence_history`` (spec: history § 9)."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from sockudo.config.keys import Key

__all__ = [
    "ConnectionRecovery",
    "History",
    "HistoryMysql",
    "HistoryPostgres",
    "HistorySqlite",
    "HistoryTables",
    "PresenceHistory",
]

_PREFIX = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}", re.ASCII)


def _useless_prefix(text: str) -> str | None:
    if not text:
        return "is empty: tables need a name"
    if _PREFIX.fullmatch(text):
        return None
    return "is not a table prefix: at most 40 letters, digits and '_', no digit first"


class ConnectionRecovery(msgspec.Struct, frozen=True):
    """What a connection that comes back can get of what it missed: on V2, and on V1 where the app lets it."""

    enabled: Annotated[
        bool, Key("Channels keep their last messages in this process", env="CONNECTION_RECOVERY_ENABLED", reload=True)
    ] = False
    buffer_ttl_seconds: Annotated[
        int,
        Key("How long a message is kept there", env="CONNECTION_RECOVERY_BUFFER_TTL", unit="s", low=1, reload=True),
    ] = 120
    max_buffer_size: Annotated[
        int,
        Key("Messages that a channel keeps there", env="CONNECTION_RECOVERY_MAX_BUFFER_SIZE", low=1, reload=True),
    ] = 100


class HistoryTables(msgspec.Struct, frozen=True):
    """Tables of the history in one database."""

    table_prefix: str
    write_timeout_ms: int


class HistorySqlite(HistoryTables, frozen=True):
    """The history in `data_dir`."""

    table_prefix: Annotated[str, Key("Begins the names of the tables", check=_useless_prefix)] = "sockudo_history"
    write_timeout_ms: Annotated[int, Key("Limit of one write", unit="ms", low=1)] = 5000
    synchronous: Annotated[
        str,
        Key(
            "`full`: what was accepted survives the loss of power; `normal`: the loss of the process only, and faster",
            choices=("full", "normal"),
        ),
    ] = "full"


class HistoryPostgres(HistoryTables, frozen=True):
    """The history in the database of `database.postgres`."""

    table_prefix: Annotated[
        str, Key("Begins the names of the tables", env="HISTORY_POSTGRES_TABLE_PREFIX", check=_useless_prefix)
    ] = "sockudo_history"
    write_timeout_ms: Annotated[
        int, Key("Limit of one write", env="HISTORY_POSTGRES_WRITE_TIMEOUT_MS", unit="ms", low=1)
    ] = 5000


class HistoryMysql(HistoryTables, frozen=True):
    """The history in the database of `database.mysql`."""

    table_prefix: Annotated[
        str, Key("Begins the names of the tables", env="HISTORY_MYSQL_TABLE_PREFIX", check=_useless_prefix)
    ] = "sockudo_history"
    write_timeout_ms: Annotated[
        int, Key("Limit of one write", env="HISTORY_MYSQL_WRITE_TIMEOUT_MS", unit="ms", low=1)
    ] = 5000


class History(msgspec.Struct, frozen=True):
    """Messages that outlive the process."""

    enabled: Annotated[bool, Key("Messages are stored", env="HISTORY_ENABLED")] = False
    rewind_enabled: Annotated[
        bool, Key("A subscription may begin with earlier messages", env="HISTORY_REWIND_ENABLED", reload=True)
    ] = True
    backend: Annotated[
        str,
        Key(
            "Where messages are stored: `sqlite` in `data_dir`, a database under `database`, or `memory`, which a "
            "restart empties",
            env="HISTORY_BACKEND",
            choices=("sqlite", "memory", "postgres", "mysql"),
            elsewhere=("dynamodb", "surrealdb", "scylladb"),
            aliases=(
                ("pgsql", "postgres"),
                ("postgresql", "postgres"),
                ("surreal", "surrealdb"),
                ("scylla", "scylladb"),
            ),
        ),
    ] = "sqlite"
    retention_window_seconds: Annotated[
        int,
        Key("How long a message is kept", env="HISTORY_RETENTION_WINDOW_SECONDS", unit="s", low=1, reload=True),
    ] = 86_400
    max_page_size: Annotated[
        int, Key("Messages in one page of a history", env="HISTORY_MAX_PAGE_SIZE", low=1, reload=True)
    ] = 100
    max_messages_per_channel: Annotated[
        int | None,
        Key("Messages that a channel keeps", env="HISTORY_MAX_MESSAGES_PER_CHANNEL", reload=True),
    ] = None
    max_bytes_per_channel: Annotated[
        int | None,
        Key("Bytes that a channel keeps", env="HISTORY_MAX_BYTES_PER_CHANNEL", unit="bytes", high=2**53, reload=True),
    ] = None
    writer_queue_capacity: Annotated[
        int, Key("Messages that may wait to be stored", env="HISTORY_WRITER_QUEUE_CAPACITY", low=1)
    ] = 4096
    purge_interval_seconds: Annotated[
        int,
        Key(
            "Time between two removals of what is past its time", env="HISTORY_PURGE_INTERVAL_SECONDS", unit="s", low=1
        ),
    ] = 300
    purge_batch_size: Annotated[
        int, Key("Messages removed in one transaction", env="HISTORY_PURGE_BATCH_SIZE", low=1)
    ] = 1000
    max_purge_per_tick: Annotated[
        int, Key("Messages removed at one time, all batches together", env="HISTORY_MAX_PURGE_PER_TICK", low=1)
    ] = 100_000
    sqlite: HistorySqlite = HistorySqlite()
    postgres: HistoryPostgres = HistoryPostgres()
    mysql: HistoryMysql = HistoryMysql()


class PresenceHistory(msgspec.Struct, frozen=True):
    """Who came to and left presence channels; stored where the channel's messages are, else in memory."""

    enabled: Annotated[bool, Key("Comings and goings are stored", env="PRESENCE_HISTORY_ENABLED")] = False
    retention_window_seconds: Annotated[
        int,
        Key("How long an event is kept", env="PRESENCE_HISTORY_RETENTION_WINDOW_SECONDS", unit="s", low=1, reload=True),
    ] = 86_400
    max_page_size: Annotated[
        int, Key("Events in one page of a presence history", env="PRESENCE_HISTORY_MAX_PAGE_SIZE", low=1, reload=True)
    ] = 100
    max_events_per_channel: Annotated[
        int | None,
        Key("Events that a channel keeps", env="PRESENCE_HISTORY_MAX_EVENTS_PER_CHANNEL", reload=True),
    ] = None
    max_bytes_per_channel: Annotated[
        int | None,
        Key(
            "Bytes that a channel keeps",
            env="PRESENCE_HISTORY_MAX_BYTES_PER_CHANNEL",
            unit="bytes",
            high=2**53,
            reload=True,
        ),
    ] = None
