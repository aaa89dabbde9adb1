"""Messages that change, for history stores, and what became of them."""

from __future__ import annotations

from typing import Any

import msgspec

from contract.history import NOW
from sockudo.base.message_records import Change, Mutation, Version, log_of
from sockudo.base.stream_records import KEEP_ALL, Append, Create, Retention
from sockudo.hub.streams.ports import HistoryStore
from sockudo.hub.streams.versions import decode_version, with_data

__all__ = ["LOG", "a_change", "a_create", "a_serial", "data_of", "fragments"]

LOG = log_of("room")

_encode = msgspec.json.Encoder().encode


def a_serial(number: int, at: int = NOW) -> str:
    return f"{at:020d}:node:{number:020d}"


def a_create(
    number: int = 1,
    data: Any = "one",
    *,
    channel: str = "room",
    app_id: str = "app",
    at: int = NOW,
    retention: Retention = KEEP_ALL,
    key: str | None = None,
    fingerprint: bytes = b"",
    **fields: Any,
) -> Append:
    """The first version of a message, and its row of the history."""
    serial = a_serial(number, at)
    version = with_data(Version("create", serial, serial, at, name="said", message_id=f"id-{number}", **fields), data)
    row = _encode({"event": "said", "channel": channel, "message_serial": serial})
    create = Create(version, channel, retention)
    return Append(
        app_id,
        log_of(channel),
        row,
        f"id-{number}",
        "said",
        at,
        retention,
        change=create,
        key=key,
        fingerprint=fingerprint,
    )


def a_change(
    number: int,
    message: int,
    action: Change,
    data: Any = msgspec.UNSET,
    *,
    created_at: int = NOW,
    channel: str = "room",
    at: int = NOW,
    retention: Retention = KEEP_ALL,
    key: str | None = None,
    fingerprint: bytes = b"",
    **fields: Any,
) -> Append:
    """A change of the message that `a_create` makes with this number."""
    mutation = Mutation(action, a_serial(message, created_at), a_serial(number, at), at, data=data, **fields)
    return Append(
        "app", log_of(channel), b"", None, None, at, retention, change=mutation, key=key, fingerprint=fingerprint
    )


async def data_of(store: HistoryStore, message: int = 1, at: int = NOW) -> Any:
    """What a message reads now; the number of its newest version in the log comes first."""
    latest = await store.message("app", LOG, a_serial(message, at))
    if latest is None:
        return None
    data = latest.version.data
    return latest.serial, data if data is None or isinstance(data, str) else bytes(data)


async def fragments(store: HistoryStore) -> list[tuple[int, str, Any]]:
    """The log: serial, action and what the row has of the data."""
    page = await store.read("app", LOG, direction="oldest_first", limit=5000)
    versions = [(row.serial, decode_version(row.message)) for row in page.rows if row.message]
    return [(serial, version.action, version.text) for serial, version in versions]
