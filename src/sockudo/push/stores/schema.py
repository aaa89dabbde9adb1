"""The tables of the push store (spec: push § 3.2): the steps that make them, and how statements name them.

Besides the columns that other servers of this kind have: times by which lists are sorted, a device's rate policy, the
position of a subscription among all of its app. Those that have one in common differ in where the channel ends: the one
with the shorter channel is first. ``push_step_keys`` has keys of outcomes, which are many, are each
known by a digest that begins with that of its publish, so that those of one publish lie together. Neither is
``push_removals``: apps that were removed, and of which not everything is deleted yet.

Names are compared byte by byte in every database, and no blank at their end is lost. Servers have room for names of 255
characters. A step is never changed once released; a new shape is a new step at the end, and
``push_schema_version`` holds the version of this schema that the tables have.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, fields
from hashlib import blake2b
from typing import Final

from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, String, Table

from sockudo.config.problems import ConfigError

__all__ = ["SCHEMA_VERSION", "STEPS", "TYPES", "Tables", "push_tables", "step_key_hash"]

SCHEMA_VERSION: Final = 2
"""Of the tables as they are here."""

_PREFIX: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,31}")

_MYSQL_TABLE: Final = (
    "ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE /*!80017 utf8mb4_0900_bin */ /*M!100202 utf8mb4_nopad_bin */"
)

TYPES: Final[dict[str, dict[str, str]]] = {
    "sqlite": {
        "app": "TEXT",
        "name": "TEXT",
        "pair": "TEXT",
        "word": "TEXT",
        "text": "TEXT",
        "hash": "BLOB",
        "end": "",
        "end_small": "WITHOUT ROWID",
        "end_changing": "",
    },
    # Room on the pages lets a row that changes all the time stay on its own.
    "postgresql": {
        "app": 'VARCHAR(128) COLLATE "C"',
        "name": 'VARCHAR(255) COLLATE "C"',
        "pair": 'VARCHAR(511) COLLATE "C"',
        "word": "VARCHAR(64)",
        "text": "TEXT",
        "hash": "BYTEA",
        "end": "",
        "end_small": "",
        "end_changing": "WITH (fillfactor = 70)",
    },
    "mysql": {
        "app": "VARCHAR(128)",
        "name": "VARCHAR(255)",
        "pair": "VARCHAR(511)",
        "word": "VARCHAR(64)",
        "text": "LONGTEXT",
        "hash": "VARBINARY(24)",
        "end": _MYSQL_TABLE,
        "end_small": _MYSQL_TABLE,
        "end_changing": _MYSQL_TABLE,
    },
}
"""What the types of the steps are called, by dialect."""

_FIRST: Final = (
    """
    CREATE TABLE {devices} (
      app_id {app} NOT NULL,
      device_id {name} NOT NULL,
      client_id {name},
      form_factor {word} NOT NULL,
      platform {word} NOT NULL,
      metadata {text},
      device_secret_hash {text},
      timezone {text} NOT NULL,
      locale {text} NOT NULL,
      last_active_at_ms BIGINT NOT NULL,
      push_state {word} NOT NULL,
      failure_count BIGINT NOT NULL,
      error_reason {text},
      transport_type {word} NOT NULL,
      token_hash {word} NOT NULL,
      recipient_json {text} NOT NULL,
      rate_policy_json {text},
      credential_version BIGINT,
      created_at_ms BIGINT NOT NULL,
      updated_at_ms BIGINT NOT NULL,
      PRIMARY KEY (app_id, device_id)
    ) {end_changing}
    """,
    "CREATE INDEX {devices_client} ON {devices} (app_id, client_id, device_id)",
    "CREATE INDEX {devices_token} ON {devices} (app_id, token_hash)",
    "CREATE INDEX {devices_active} ON {devices} (last_active_at_ms)",
    """
    CREATE TABLE {channel_subscribers} (
      app_id {app} NOT NULL,
      channel {name} NOT NULL,
      device_id {name} NOT NULL,
      client_id {text},
      provider {word} NOT NULL,
      token_hash {text} NOT NULL,
      credential_version BIGINT,
      recipient_json {text},
      list_position {pair} NOT NULL,
      channel_length BIGINT NOT NULL,
      updated_at_ms BIGINT NOT NULL,
      PRIMARY KEY (app_id, channel, device_id)
    ) {end}
    """,
    "CREATE INDEX {subscribers_device} ON {channel_subscribers} (app_id, device_id, channel)",
    "CREATE INDEX {subscribers_position} ON {channel_subscribers} (app_id, list_position, channel_length)",
    """
    CREATE TABLE {provider_credentials} (
      app_id {app} NOT NULL,
      credential_id {name} NOT NULL,
      provider {word} NOT NULL,
      version BIGINT NOT NULL,
      active BIGINT NOT NULL,
      encrypted_material {text} NOT NULL,
      dek_ciphertext {text},
      kek_ref {text},
      metadata {text},
      updated_at_ms BIGINT NOT NULL,
      PRIMARY KEY (app_id, credential_id)
    ) {end}
    """,
    "CREATE INDEX {credentials_provider} ON {provider_credentials} (provider, updated_at_ms)",
    """
    CREATE TABLE {notification_templates} (
      app_id {app} NOT NULL,
      template_id {name} NOT NULL,
      default_locale {text} NOT NULL,
      locales_json {text} NOT NULL,
      provider_overrides_json {text} NOT NULL,
      updated_at_ms BIGINT NOT NULL,
      PRIMARY KEY (app_id, template_id)
    ) {end}
    """,
    """
    CREATE TABLE {scheduled_jobs} (
      app_id {app} NOT NULL,
      publish_id {name} NOT NULL,
      due_minute_ms BIGINT NOT NULL,
      due_at_ms BIGINT NOT NULL,
      payload_json {text} NOT NULL,
      state {word} NOT NULL,
      PRIMARY KEY (app_id, publish_id)
    ) {end}
    """,
    "CREATE INDEX {jobs_due} ON {scheduled_jobs} (due_at_ms)",
    """
    CREATE TABLE {scheduler_locks} (
      app_id {app} NOT NULL,
      publish_id {name} NOT NULL,
      owner_id {text} NOT NULL,
      expires_at_ms BIGINT NOT NULL,
      PRIMARY KEY (app_id, publish_id)
    ) {end_small}
    """,
    "CREATE INDEX {locks_expiry} ON {scheduler_locks} (expires_at_ms)",
    """
    CREATE TABLE {publish_status} (
      app_id {app} NOT NULL,
      publish_id {name} NOT NULL,
      state {word} NOT NULL,
      counters_json {text} NOT NULL,
      error_reason {text},
      revision BIGINT NOT NULL,
      created_at_ms BIGINT NOT NULL,
      updated_at_ms BIGINT NOT NULL,
      PRIMARY KEY (app_id, publish_id)
    ) {end_changing}
    """,
    "CREATE INDEX {status_time} ON {publish_status} (app_id, created_at_ms, publish_id)",
    "CREATE INDEX {status_state} ON {publish_status} (app_id, state, created_at_ms, publish_id)",
    "CREATE INDEX {status_age} ON {publish_status} (state, created_at_ms)",
    """
    CREATE TABLE {publish_log} (
      app_id {app} NOT NULL,
      occurred_at_ms BIGINT NOT NULL,
      event_id {name} NOT NULL,
      publish_id {name} NOT NULL,
      event_json {text} NOT NULL,
      PRIMARY KEY (app_id, occurred_at_ms, event_id)
    ) {end}
    """,
    "CREATE UNIQUE INDEX {log_publish} ON {publish_log} (app_id, publish_id)",
    """
    CREATE TABLE {fanout_shards} (
      app_id {app} NOT NULL,
      publish_id {name} NOT NULL,
      shard_id {name} NOT NULL,
      shard_json {text} NOT NULL,
      PRIMARY KEY (app_id, publish_id, shard_id)
    ) {end_changing}
    """,
    """
    CREATE TABLE {delivery_events} (
      app_id {app} NOT NULL,
      publish_id {name} NOT NULL,
      occurred_at_ms BIGINT NOT NULL,
      event_id {name} NOT NULL,
      provider {word} NOT NULL,
      outcome {word} NOT NULL,
      result_json {text} NOT NULL,
      PRIMARY KEY (app_id, publish_id, occurred_at_ms, event_id)
    ) {end}
    """,
    "CREATE INDEX {events_time} ON {delivery_events} (occurred_at_ms)",
    """
    CREATE TABLE {dead_letters} (
      app_id {app} NOT NULL,
      publish_id {name} NOT NULL,
      dead_letter_id {name} NOT NULL,
      occurred_at_ms BIGINT NOT NULL,
      provider {word},
      stage {word} NOT NULL,
      reason {text} NOT NULL,
      payload_json {text} NOT NULL,
      PRIMARY KEY (app_id, publish_id, dead_letter_id)
    ) {end}
    """,
    "CREATE UNIQUE INDEX {letters_id} ON {dead_letters} (app_id, dead_letter_id)",
    "CREATE INDEX {letters_list} ON {dead_letters} (app_id, occurred_at_ms, dead_letter_id)",
    "CREATE INDEX {letters_time} ON {dead_letters} (occurred_at_ms)",
    """
    CREATE TABLE {idempotency} (
      app_id {app} NOT NULL,
      idempotency_key {name} NOT NULL,
      publish_id {name} NOT NULL,
      expires_at_ms BIGINT NOT NULL,
      PRIMARY KEY (app_id, idempotency_key)
    ) {end_small}
    """,
    "CREATE INDEX {idempotency_expiry} ON {idempotency} (expires_at_ms)",
    """
    CREATE TABLE {step_keys} (
      key_hash {hash} NOT NULL,
      expires_at_ms BIGINT NOT NULL,
      PRIMARY KEY (key_hash)
    ) {end_small}
    """,
    "CREATE INDEX {steps_expiry} ON {step_keys} (expires_at_ms)",
    """
    CREATE TABLE {operator_invalidations} (
      app_id {app} NOT NULL,
      occurred_at_ms BIGINT NOT NULL,
      event_id {name} NOT NULL,
      subject {text} NOT NULL,
      PRIMARY KEY (app_id, occurred_at_ms, event_id)
    ) {end}
    """,
    "CREATE INDEX {invalidations_time} ON {operator_invalidations} (occurred_at_ms)",
    """
    CREATE TABLE {schema_version} (
      version BIGINT NOT NULL,
      PRIMARY KEY (version)
    ) {end}
    """,
    "INSERT INTO {schema_version} (version) VALUES (2)",
)

_REMOVALS: Final = (
    """
    CREATE TABLE {removals} (
      app_id {app} NOT NULL,
      removed_at_ms BIGINT NOT NULL,
      PRIMARY KEY (app_id)
    ) {end_small}
    """,
)

STEPS: Final[tuple[tuple[str, ...], ...]] = (_FIRST, _REMOVALS)

_CREATE: Final = re.compile(r"CREATE TABLE \{(\w+)\} \((.*)\) \{\w+\}", re.DOTALL)
_KEY: Final = re.compile(r"PRIMARY KEY \(([\w, ]+)\)")
_COLUMN: Final = re.compile(r"^ *([a-z]\w*) (\{\w+\}|BIGINT)", re.MULTILINE)


@dataclass(frozen=True)
class Tables:
    """The tables of one prefix; their columns are in the order of the steps."""

    devices: Table
    channel_subscribers: Table
    provider_credentials: Table
    notification_templates: Table
    scheduled_jobs: Table
    scheduler_locks: Table
    publish_status: Table
    publish_log: Table
    fanout_shards: Table
    delivery_events: Table
    dead_letters: Table
    idempotency: Table
    step_keys: Table
    operator_invalidations: Table
    removals: Table
    schema_version: Table


@functools.cache
def push_tables(prefix: str) -> Tables:
    """Raises `ConfigError` for a prefix that is not a plain name."""
    if not _PREFIX.fullmatch(prefix):
        raise ConfigError([f"prefix {prefix!r} cannot be used: at most 32 letters, digits and '_', no digit first"])
    metadata = MetaData()
    bodies = {found[1]: found[2] for step in STEPS for statement in step if (found := _CREATE.search(statement))}
    return Tables(**{field.name: _table(prefix, field.name, bodies[field.name], metadata) for field in fields(Tables)})


def step_key_hash(app_id: str, publish_id: str, key: str) -> bytes:
    """What stands for the key of a step."""
    return _digest(f"{app_id}\0{publish_id}", 8) + _digest(f"{app_id}\0{publish_id}\0{key}", 16)


def _table(prefix: str, name: str, body: str, metadata: MetaData) -> Table:
    key = _KEY.search(body)
    keys = key[1].split(", ") if key else []
    kinds = {"BIGINT": BigInteger, "{hash}": LargeBinary}
    columns = [
        Column(column, kinds.get(kind, String), primary_key=column in keys, autoincrement=False)
        for column, kind in _COLUMN.findall(body)
    ]
    return Table(f"{prefix}_{name}", metadata, *columns)


def _digest(text: str, size: int) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()
