"""Pages of a presence history and its state, as they are answered (spec: history § 8.2 and 8.3)."""

from __future__ import annotations

from typing import Any, Final

import structlog

from sockudo import errors
from sockudo.base.stream_records import Bounds, Page, Row, StreamInfo
from sockudo.history.calls import RETRY_AFTER
from sockudo.history.cursors import decode_cursor, encode_cursor
from sockudo.history.frames import is_shown
from sockudo.history.heads import StreamKey
from sockudo.history.pages import retained_of, stream_state, truncated_by_retention
from sockudo.history.presence_events import StoredEvent, StoredEventError, decode_event, shown, stream_of
from sockudo.history.presence_writer import Mark
from sockudo.history.query import HistoryQuery, check_query
from sockudo.history.service import History

__all__ = ["check_readable", "continuity_of", "presence_page", "presence_stream", "read_event", "renamed"]

SUBJECT: Final = "Presence history"

_NAMES: Final = {
    "retained_messages": "retained_events",
    "purged_messages": "purged_events",
    "recovery_allowed": "continuity_proven",
}

_log = structlog.get_logger("sockudo.presence_history")


async def presence_page(
    history: History, key: StreamKey, query: HistoryQuery, max_page_size: int, mark: Mark | None
) -> dict[str, Any]:
    """A page with everything around it.

    Raises errors.HISTORY_QUERY, errors.HISTORY_DEGRADED and errors.HISTORY_UNAVAILABLE.
    """
    check_query(query, SUBJECT)
    place = (key[0], stream_of(key[1]))
    cursor = None if query.cursor is None else decode_cursor(place, query, query.cursor, SUBJECT)
    limit = min(query.limit or max_page_size, max_page_size)
    page = await history.rows(
        *place,
        bounds=query.bounds,
        direction=query.direction,
        limit=limit,
        after=None if cursor is None else cursor.serial,
    )
    check_readable(history, key[1], page.info, mark)
    if cursor is not None:
        cursor.check_stream(page.info, SUBJECT)
    more = page.has_more and bool(page.rows)
    next_cursor = encode_cursor(place, query, page.rows[-1].stream_id, page.rows[-1].serial) if more else None
    return {
        "items": [_item(key, row) for row in page.rows if is_shown(row)],
        "direction": query.direction,
        "limit": limit,
        "has_more": more,
        "next_cursor": next_cursor,
        "bounds": query.bounds._asdict(),
        "continuity": continuity_of(page, query.bounds, mark),
        "stream_state": _state(renamed(stream_state(page.info, None, history.options.backend)), history, mark),
    }


def check_readable(history: History, channel: str, info: StreamInfo | None, mark: Mark | None) -> None:
    """Raises errors.HISTORY_DEGRADED for what is not whole and might have been; memory is shown as it is."""
    if history.options.backend == "memory":
        return
    if mark is not None:
        state = mark.state
    elif info is not None and info.state != "healthy":
        state = info.state
    else:
        return
    cure = "only a reset heals it" if state == "reset_required" else "it heals once the store answers, or by a reset"
    raise errors.HISTORY_DEGRADED(
        f"The presence history of channel '{channel}' is {state}: {cure}", retry_after=RETRY_AFTER
    )


def continuity_of(page: Page, bounds: Bounds, mark: Mark | None) -> dict[str, Any]:
    """How much of what happened a page, or all up to it, can tell."""
    truncated = truncated_by_retention(page.info, bounds)
    more = page.has_more and bool(page.rows)
    return {
        **renamed(retained_of(page.info)),
        "degraded": mark is not None,
        "complete": not more and not truncated and mark is None,
        "truncated_by_retention": truncated,
    }


def presence_stream(stream: dict[str, Any], history: History, mark: Mark | None) -> dict[str, Any]:
    """The stream object of `History.state` as it is called here, and with what this process knows."""
    return {
        **stream,
        "retained": renamed(stream["retained"]),
        "state": _state(renamed(stream["state"]), history, mark),
    }


def read_event(key: StreamKey, row: Row) -> StoredEvent:
    """The event of a row; raises errors.INTERNAL_ERROR for one that is none."""
    try:
        return decode_event(row)
    except StoredEventError as problem:
        raise _unreadable(key, problem) from problem


def renamed(reply: dict[str, Any]) -> dict[str, Any]:
    """The same with the names that presence histories use."""
    return {_NAMES.get(name, name): value for name, value in reply.items()}


def _item(key: StreamKey, row: Row) -> dict[str, Any]:
    try:
        event = shown(row)
    except StoredEventError as problem:
        raise _unreadable(key, problem) from problem
    item = {name: value for name, value in event.items() if name != "user_info"}
    return {**item, "payload_size_bytes": len(row.message), "presence_event": event}


def _unreadable(key: StreamKey, problem: StoredEventError) -> errors.SockudoError:
    _log.error("a presence event cannot be read", app_id=key[0], channel=key[1], reason=str(problem))
    return errors.INTERNAL_ERROR("A stored event cannot be read; the server's log names it")


def _state(state: dict[str, Any], history: History, mark: Mark | None) -> dict[str, Any]:
    if mark is None:
        return state
    return {
        **state,
        "durable_state": mark.state,
        "continuity_proven": False,
        "reset_required": mark.state == "reset_required",
        "reason": mark.reason,
        "node_id": history.options.node_id,
        "last_transition_at_ms": mark.since_ms,
        "observed_source": "local_memory_hint",
    }
