"""The tables of the history (spec: history § 1.7): as statements name them, and the steps that make them.

Columns are those that other servers of this kind have, without what nothing writes. Entries have no
index but their key: it would halve the speed of writing, and since times never run backwards in a stream, a time is
found by probing serials. A stream's ``entries_stream_id`` is the id that its entries and keys have: the one it was made
with, so that a stream can get another id and keep its million rows. Its ``expires_at_ms`` is the time after which
something of it has to go, so that what is due is found without looking at rows.

Many streams, or keys, at once are looked for by digests of their names, the one column of a unique index. With two
columns PostgreSQL may read all streams of an app instead, as long as it takes them for few. Digests also have one
length, and are compared byte by byte under any collation. Those of an app's keys begin alike, so that they can be
deleted together.

A step is never changed once released; a new shape is a new step at the end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, String, Table

from sockudo.config.problems import ConfigError

__all__ = ["STEPS", "Tables", "history_tables", "key_hash", "keys_of_app", "message_hash", "place_hash"]

# Leaves room for what is appended, within the 63 characters that PostgreSQL has for a name.
_PREFIX: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")


@dataclass(frozen=True)
class Tables:
    """The tables of one ``table_prefix``."""

    streams: Table
    entries: Table
    keys: Table
    versions: Table
    messages: Table
    parts: Table


def history_tables(prefix: str) -> Tables:
    """Raises `ConfigError` for a prefix that is not a plain name."""
    if not _PREFIX.fullmatch(prefix):
        raise ConfigError(
            [f"table_prefix {prefix!r} cannot be used: at most 40 letters, digits and '_', no digit first"]
        )
    metadata = MetaData()
    streams = Table(
        f"{prefix}_streams",
        metadata,
        Column("app_id", String, primary_key=True),
        Column("channel", String, primary_key=True),
        Column("stream_id", String),
        Column("entries_stream_id", String),
        Column("next_serial", BigInteger),
        Column("durable_state", String),
        Column("durable_state_reason", String),
        Column("durable_state_node_id", String),
        Column("durable_state_changed_at_ms", BigInteger),
        Column("retained_messages", BigInteger),
        Column("retained_bytes", BigInteger),
        Column("oldest_available_serial", BigInteger),
        Column("newest_available_serial", BigInteger),
        Column("oldest_available_published_at_ms", BigInteger),
        Column("newest_available_published_at_ms", BigInteger),
        Column("updated_at_ms", BigInteger),
        Column("retention_window_ms", BigInteger),
        Column("max_messages", BigInteger),
        Column("max_bytes", BigInteger),
        Column("expires_at_ms", BigInteger),
        Column("place_hash", LargeBinary),
    )
    entries = Table(f"{prefix}_entries", metadata, *_entry_columns())
    keys = Table(
        f"{prefix}_keys",
        metadata,
        Column("key_hash", LargeBinary, primary_key=True),
        Column("fingerprint", LargeBinary),
        Column("stream_id", String),
        Column("serial", BigInteger),
        Column("expires_at_ms", BigInteger),
    )
    versions = Table(
        f"{prefix}_versions",
        metadata,
        *_entry_columns(),
        Column("message_hash", LargeBinary),
        Column("version_serial", String),
    )
    messages = Table(
        f"{prefix}_messages",
        metadata,
        Column("message_hash", LargeBinary, primary_key=True),
        Column("serial", BigInteger),
        Column("parts", BigInteger),
        Column("latest", LargeBinary),
    )
    parts = Table(
        f"{prefix}_parts",
        metadata,
        Column("message_hash", LargeBinary, primary_key=True),
        Column("number", BigInteger, primary_key=True, autoincrement=False),
        Column("part", LargeBinary),
    )
    return Tables(streams, entries, keys, versions, messages, parts)


def _entry_columns() -> tuple[Column[Any], ...]:
    return (
        Column("app_id", String, primary_key=True),
        Column("channel", String, primary_key=True),
        Column("stream_id", String, primary_key=True),
        Column("serial", BigInteger, primary_key=True, autoincrement=False),
        Column("published_at_ms", BigInteger),
        Column("message_id", String),
        Column("event_name", String),
        Column("operation_kind", String),
        Column("payload_bytes", LargeBinary),
        Column("payload_size_bytes", BigInteger),
    )


def place_hash(app_id: str, channel: str) -> bytes:
    """What stands for the channel of an app; neither has a NUL in its name."""
    return _digest(f"{app_id}\0{channel}", 16)


def key_hash(app_id: str, channel: str, key: str) -> bytes:
    """What stands for a key of a channel."""
    return _digest(app_id, 8) + _digest(f"{app_id}\0{channel}\0{key}", 16)


def message_hash(app_id: str, stream: str, message_serial: str) -> bytes:
    """What stands for a message of a log."""
    return key_hash(app_id, stream, message_serial)


def keys_of_app(app_id: str) -> tuple[bytes, bytes]:
    """The bounds between which the hashes of all keys and messages of an app are, both included."""
    start = _digest(app_id, 8)
    return start + bytes(16), start + b"\xff" * 16


def _digest(text: str, size: int) -> bytes:
    return blake2b(text.encode(), digest_size=size).digest()


_FIRST: Final = (
    """
    CREATE TABLE {streams} (
      app_id {name} NOT NULL,
      channel {name} NOT NULL,
      stream_id {word} NOT NULL,
      entries_stream_id {word} NOT NULL,
      next_serial BIGINT NOT NULL,
      durable_state {word} NOT NULL DEFAULT 'healthy',
      durable_state_reason {text},
      durable_state_node_id {text},
      durable_state_changed_at_ms BIGINT,
      retained_messages BIGINT NOT NULL DEFAULT 0,
      retained_bytes BIGINT NOT NULL DEFAULT 0,
      oldest_available_serial BIGINT,
      newest_available_serial BIGINT,
      oldest_available_published_at_ms BIGINT,
      newest_available_published_at_ms BIGINT,
      updated_at_ms BIGINT NOT NULL,
      retention_window_ms BIGINT,
      max_messages BIGINT,
      max_bytes BIGINT,
      expires_at_ms BIGINT,
      place_hash {hash} NOT NULL,
      PRIMARY KEY (app_id, channel)
    ) {end_changing}
    """,
    "CREATE UNIQUE INDEX {streams_place} ON {streams} (place_hash)",
    "CREATE INDEX {streams_expiry} ON {streams} (expires_at_ms)",
    """
    CREATE TABLE {entries} (
      app_id {name} NOT NULL,
      channel {name} NOT NULL,
      stream_id {word} NOT NULL,
      serial BIGINT NOT NULL,
      published_at_ms BIGINT NOT NULL,
      message_id {text},
      event_name {text},
      operation_kind {word} NOT NULL,
      payload_bytes {bytes} NOT NULL,
      payload_size_bytes BIGINT NOT NULL,
      PRIMARY KEY (app_id, channel, stream_id, serial)
    ) {end}
    """,
    """
    CREATE TABLE {keys} (
      key_hash {hash} NOT NULL,
      fingerprint {bytes} NOT NULL,
      stream_id {word} NOT NULL,
      serial BIGINT NOT NULL,
      expires_at_ms BIGINT NOT NULL,
      PRIMARY KEY (key_hash)
    ) {end_changing}
    """,
    "CREATE INDEX {keys_expiry} ON {keys} (expires_at_ms)",
)

# Rows of logs have a table of their own: they are looked for by their message, too, and an index for that would slow
# down every other row. A message's data is in its own row as long as it is short; of a text that grows the parts that
# are full are in rows of their own, so that an append writes the last one alone, however long the text is.
_VERSIONS: Final = (
    """
    CREATE TABLE {versions} (
      app_id {name} NOT NULL,
      channel {name} NOT NULL,
      stream_id {word} NOT NULL,
      serial BIGINT NOT NULL,
      published_at_ms BIGINT NOT NULL,
      message_id {text},
      event_name {text},
      operation_kind {word} NOT NULL,
      payload_bytes {bytes} NOT NULL,
      payload_size_bytes BIGINT NOT NULL,
      message_hash {hash} NOT NULL,
      version_serial {name} NOT NULL,
      PRIMARY KEY (app_id, channel, stream_id, serial)
    ) {end}
    """,
    "CREATE UNIQUE INDEX {versions_message} ON {versions} (message_hash, version_serial)",
    """
    CREATE TABLE {messages} (
      message_hash {hash} NOT NULL,
      serial BIGINT NOT NULL,
      parts BIGINT NOT NULL,
      latest {bytes} NOT NULL,
      PRIMARY KEY (message_hash)
    ) {end_changing}
    """,
    """
    CREATE TABLE {parts} (
      message_hash {hash} NOT NULL,
      number BIGINT NOT NULL,
      part {bytes} NOT NULL,
      PRIMARY KEY (message_hash, number)
    ) {end}
    """,
)

STEPS: Final[tuple[tuple[str, ...], ...]] = (_FIRST, _VERSIONS)
