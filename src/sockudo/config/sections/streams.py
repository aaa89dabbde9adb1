"""What is kept of a channel: ``connection_recovery history presence_history`` (spec: history § 9)."""

from __future__ import annotations

import re

from sockudo.config.keys import Section, setting

__all__ = [
    "ConnectionRecovery",
    "History",
    "HistoryMysql",
    "HistoryPostgres",
    "HistorySqlite",
    "HistoryTables",
    "PresenceHistory",
    "VersionedMessages",
]

_PREFIX = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}", re.ASCII)


def _useless_prefix(text: str) -> str | None:
    if not text:
        return "is empty: tables need a name"
    if _PREFIX.fullmatch(text):
        return None
    return "is not a table prefix: at most 40 letters, digits and '_', no digit first"


class ConnectionRecovery(Section, frozen=True):
    """What a connection that comes back can get of what it missed: on V2, and on V1 where the app lets it."""

    enabled: bool = setting(False, "Channels keep their last messages in this process", reload=True)
    buffer_ttl_seconds: int = setting(
        120, "How long a message is kept there", env="CONNECTION_RECOVERY_BUFFER_TTL", unit="s", low=1, reload=True
    )
    max_buffer_size: int = setting(100, "Messages that a channel keeps there", low=1, reload=True)


class HistoryTables(Section, frozen=True):
    """Tables of the history in one database."""

    table_prefix: str
    write_timeout_ms: int


class HistorySqlite(HistoryTables, frozen=True):
    """The history in `data_dir`."""

    table_prefix: str = setting("sockudo_history", "Begins the names of the tables", env="", check=_useless_prefix)
    write_timeout_ms: int = setting(5000, "Limit of one write", env="", unit="ms", low=1)
    synchronous: str = setting(
        "full",
        "`full`: what was accepted survives the loss of power; `normal`: the loss of the process only, and faster",
        env="",
        choices=("full", "normal"),
    )


class HistoryPostgres(HistoryTables, frozen=True):
    """The history in the database of `database.postgres`."""

    table_prefix: str = setting("sockudo_history", "Begins the names of the tables", check=_useless_prefix)
    write_timeout_ms: int = setting(5000, "Limit of one write", unit="ms", low=1)


class HistoryMysql(HistoryTables, frozen=True):
    """The history in the database of `database.mysql`."""

    table_prefix: str = setting("sockudo_history", "Begins the names of the tables", check=_useless_prefix)
    write_timeout_ms: int = setting(5000, "Limit of one write", unit="ms", low=1)


class History(Section, frozen=True):
    """Messages that outlive the process."""

    enabled: bool = setting(False, "Messages are stored")
    rewind_enabled: bool = setting(True, "A subscription may begin with earlier messages", reload=True)
    backend: str = setting(
        "sqlite",
        "Where messages are stored: `sqlite` in `data_dir`, a database under `database`, or `memory`, which a "
        "restart empties",
        choices=("sqlite", "memory", "postgres", "mysql"),
        elsewhere=("dynamodb", "surrealdb", "scylladb"),
        aliases=(("pgsql", "postgres"), ("postgresql", "postgres"), ("surreal", "surrealdb"), ("scylla", "scylladb")),
    )
    retention_window_seconds: int = setting(86_400, "How long a message is kept", unit="s", low=1, reload=True)
    max_page_size: int = setting(100, "Messages in one page of a history", low=1, reload=True)
    max_messages_per_channel: int | None = setting(None, "Messages that a channel keeps", reload=True)
    max_bytes_per_channel: int | None = setting(
        None, "Bytes that a channel keeps", unit="bytes", high=2**53, reload=True
    )
    writer_queue_capacity: int = setting(4096, "Messages that may wait to be stored", low=1)
    purge_interval_seconds: int = setting(300, "Time between two removals of what is past its time", unit="s", low=1)
    purge_batch_size: int = setting(1000, "Messages removed in one transaction", low=1)
    max_purge_per_tick: int = setting(100_000, "Messages removed at one time, all batches together", low=1)
    sqlite: HistorySqlite = HistorySqlite()
    postgres: HistoryPostgres = HistoryPostgres()
    mysql: HistoryMysql = HistoryMysql()


class PresenceHistory(Section, frozen=True):
    """Who came to and left presence channels; stored where the channel's messages are, else in memory."""

    enabled: bool = setting(False, "Comings and goings are stored")
    retention_window_seconds: int = setting(86_400, "How long an event is kept", unit="s", low=1, reload=True)
    max_page_size: int = setting(100, "Events in one page of a presence history", low=1, reload=True)
    max_events_per_channel: int | None = setting(None, "Events that a channel keeps", reload=True)
    max_bytes_per_channel: int | None = setting(
        None, "Bytes that a channel keeps", unit="bytes", high=2**53, reload=True
    )


class VersionedMessages(Section, frozen=True):
    """Messages that can change after they were published, on channels with a history."""

    enabled: bool = setting(False, "Messages of channels with a history can be updated, deleted and appended to")
    max_page_size: int = setting(100, "Versions in one page", low=1, reload=True)
    retention_window_seconds: int = setting(
        0, "How long a version is kept; 0 = as long as the store", unit="s", low=0, reload=True
    )
    max_message_bytes: int = setting(
        1024 * 1024,
        "How long the data of a message may become by appends and updates; 0 = no bound",
        unit="bytes",
        low=0,
        reload=True,
    )
    max_appends_per_message: int = setting(
        16_384, "How many appends a message may have; 0 = no bound", low=0, reload=True
    )
    append_rollup_window_ms: int = setting(
        0,
        "Appends to a message within it reach a client as one, unless its URL asks for another; 0 = each by itself",
        unit="ms",
        low=0,
        high=500,
        reload=True,
    )
