"""Pages of a channel's history and the state of its stream, as they are answered (spec: history § 1.8, 6 and 7)."""

from __future__ import annotations

from typing import Any

import msgspec
import structlog

from sockudo import errors
from sockudo.base.message_records import Latest
from sockudo.base.stream_records import Bounds, Page, Position, Retained, Row, StreamInfo
from sockudo.history.cursors import decode_cursor, encode_cursor
from sockudo.history.degraded import Degraded
from sockudo.history.frames import StoredMessageError, is_shown, message_text
from sockudo.history.heads import StreamKey
from sockudo.history.message_frames import item_of
from sockudo.history.messages import LatestReads
from sockudo.history.query import HistoryQuery, check_query

__all__ = [
    "authority",
    "read_page",
    "retained_of",
    "shorten_kinds",
    "stream_object",
    "stream_state",
    "truncated_by_retention",
]


def authority(backend: str) -> str:
    """Who has the last word about a stream's state."""
    return "in_memory" if backend == "memory" else "durable_store"


def stream_state(info: StreamInfo | None, degraded: Degraded | None, backend: str) -> dict[str, Any]:
    """The state of a stream. What this process knows holds before what is written in the store."""
    source = authority(backend)
    state, reason, node_id, changed_at_ms = "healthy", None, None, None
    if degraded is not None:
        state, reason, node_id, changed_at_ms = "degraded", degraded.reason, degraded.node_id, degraded.since_ms
    elif info is not None:
        state, reason, node_id, changed_at_ms = info.state, info.reason, info.node_id, info.changed_at_ms
    return {
        "stream_id": info and info.stream_id,
        "durable_state": state,
        "recovery_allowed": state == "healthy",
        "reset_required": state == "reset_required",
        "reason": reason,
        "node_id": node_id,
        "last_transition_at_ms": changed_at_ms,
        "authoritative_source": source,
        "observed_source": source if degraded is None else "local_memory_hint",
    }


def retained_of(info: StreamInfo | None) -> dict[str, Any]:
    """What a stream still holds."""
    retained = Retained() if info is None else info.retained
    return {
        "stream_id": info and info.stream_id,
        "retained_messages": retained.messages,
        "retained_bytes": retained.size,
        "oldest_available_serial": retained.oldest_serial,
        "newest_available_serial": retained.newest_serial,
        "oldest_available_published_at_ms": retained.oldest_at_ms,
        "newest_available_published_at_ms": retained.newest_at_ms,
    }


def stream_object(info: StreamInfo | None, degraded: Degraded | None, backend: str) -> dict[str, Any]:
    """A stream as operators see it. A channel that was never used has no stream, so its id and next serial are null."""
    return {
        "stream_id": info and info.stream_id,
        "next_serial": info and info.next_serial,
        "retained": retained_of(info),
        "state": stream_state(info, degraded, backend),
    }


_log = structlog.get_logger("sockudo.history")


async def read_page(
    reads: LatestReads, key: StreamKey, query: HistoryQuery, max_page_size: int, attach: Position | None
) -> tuple[StreamInfo | None, dict[str, Any]]:
    """The stream as it was read and the reply, but for its ``stream_state``; see `History.page`."""
    query = _checked(query, attach)
    cursor = None if query.cursor is None else decode_cursor(key, query, query.cursor)
    limit = min(query.limit or max_page_size, max_page_size)
    reads.check(key)
    page = await reads.page(
        key,
        bounds=query.bounds,
        direction=query.direction,
        limit=limit,
        after=None if cursor is None else cursor.serial,
    )
    if cursor is not None:
        cursor.check_stream(page.info)
    if query.until_attach and attach is not None and page.info is not None and page.info.stream_id != attach.stream_id:
        raise errors.HISTORY_QUERY("The stream was reset after this connection attached; subscribe again")
    reads.check(key, page.info)
    await reads.confirm(key)
    return page.info, _reply(key, query, limit, page)


def truncated_by_retention(info: StreamInfo | None, bounds: Bounds) -> bool:
    """Whether something within the bounds may have been there and is gone (spec: history § 1.6).

    A stream that was written to and holds nothing has lost everything before its next serial.
    """
    if info is None:
        return False
    oldest, oldest_at_ms = info.retained.oldest_serial, info.retained.oldest_at_ms
    floor = info.next_serial if oldest is None else oldest
    if bounds.start_serial is None and bounds.start_time_ms is None:
        return floor > 1
    if bounds.start_serial is not None and max(bounds.start_serial, 1) < floor:
        return True
    if bounds.start_time_ms is None:
        return False
    return floor > 1 if oldest_at_ms is None else bounds.start_time_ms < oldest_at_ms


def _checked(query: HistoryQuery, attach: Position | None) -> HistoryQuery:
    check_query(query)
    if not query.until_attach:
        return query
    if attach is None:
        raise errors.HISTORY_QUERY("No attach_serial is recorded for this connection and channel")
    return query.bounded_by(attach)


def _reply(key: StreamKey, query: HistoryQuery, limit: int, page: Page) -> dict[str, Any]:
    truncated = truncated_by_retention(page.info, query.bounds)
    more = page.has_more and bool(page.rows)
    return {
        "items": [_item(key, row) for row in page.rows if is_shown(row)],
        "direction": query.direction,
        "limit": limit,
        "has_more": more,
        "next_cursor": encode_cursor(key, query, page.rows[-1].stream_id, page.rows[-1].serial) if more else None,
        "bounds": query.bounds._asdict(),
        "continuity": {
            **retained_of(page.info),
            "complete": not more and not truncated,
            "truncated_by_retention": truncated,
        },
    }


def _item(key: StreamKey, row: Row) -> dict[str, Any]:
    if row.latest is not None:
        return _changed_item(key, row, row.latest)
    try:
        message = message_text(row)
    except StoredMessageError as problem:
        _log.error("a stored message cannot be read", app_id=key[0], channel=key[1], reason=str(problem))
        raise errors.INTERNAL_ERROR("A stored message cannot be read; the server's log names it") from problem
    return {
        "stream_id": row.stream_id,
        "serial": row.serial,
        "published_at_ms": row.published_at_ms,
        "message_id": row.message_id,
        "event_name": row.event_name,
        "operation_kind": row.operation_kind,
        "payload_size_bytes": len(row.message),
        "message": message,
    }


def _changed_item(key: StreamKey, row: Row, latest: Latest) -> dict[str, Any]:
    """The item of a message that can change: its row, with the message as it reads now."""
    item = item_of(key[1], latest)
    message = msgspec.json.encode(item)
    return {
        "stream_id": row.stream_id,
        "serial": row.serial,
        "published_at_ms": row.published_at_ms,
        "message_id": row.message_id,
        "event_name": item["event"],
        "operation_kind": f"message.{latest.version.action}",
        "payload_size_bytes": len(message),
        "message": msgspec.Raw(message),
    }


def shorten_kinds(items: list[dict[str, Any]]) -> None:
    """Over a socket kinds of versions are bare words, and their messages name the stream of their row."""
    for item in items:
        kind = item["operation_kind"]
        if kind.startswith("message."):
            stream_id = msgspec.json.encode(item["stream_id"])
            item["operation_kind"] = kind.removeprefix("message.")
            item["message"] = msgspec.Raw(bytes(item["message"])[:-1] + b',"stream_id":' + stream_id + b"}")
