"""Pages of a channel's history (spec: history § 6 and 7.1)."""

from __future__ import annotations

from typing import Any

import structlog

from sockudo import errors
from sockudo.history.cursors import decode_cursor, encode_cursor
from sockudo.history.frames import StoredMessageError, is_shown, message_text
from sockudo.history.heads import StreamKey
from sockudo.history.query import HistoryQuery, check_query
from sockudo.history.reads import Reads
from sockudo.history.states import retained_of
from sockudo.hub.streams.records import Bounds, Page, Position, Row, StreamInfo

__all__ = ["read_page", "truncated_by_retention"]

_log = structlog.get_logger("sockudo.history")


async def read_page(
    reads: Reads, key: StreamKey, query: HistoryQuery, max_page_size: int, attach: Position | None
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
