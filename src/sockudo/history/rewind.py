"""What a subscription may begin with: a channel's newest messages, or those of the last seconds
(spec: history § 5.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import structlog

from sockudo import errors
from sockudo.base.stream_records import Bounds, Position, Row, StreamInfo
from sockudo.history.frames import StoredMessageError, frame_of, is_shown
from sockudo.history.heads import StreamKey
from sockudo.history.messages import LatestReads
from sockudo.protocol.frames import Frame

__all__ = ["Rewound", "rewind"]

# Pages that a filter may pass over before the search is given up.
_SCANNED_PAGES: Final = 16

_log = structlog.get_logger("sockudo.history")

Predicate = Callable[[Frame], bool]


class Rewound(NamedTuple):
    """The messages, oldest first, and whether any are missing: gone by retention, or left over by a limit."""

    frames: list[Frame]
    truncated_by_retention: bool
    truncated_by_limit: bool


async def rewind(
    reads: LatestReads,
    key: StreamKey,
    *,
    count: int | None,
    since_ms: int | None,
    head: Position,
    predicate: Predicate | None,
    page_size: int,
) -> Rewound:
    """The newest ``count`` messages, or those from ``since_ms`` on, up to ``head``; at most a page of them.

    With a filter rows are passed over until enough have been found.
    """
    target = page_size if count is None else min(count, page_size)
    bounds = Bounds(end_serial=head.serial, start_time_ms=since_ms)
    most = max(_SCANNED_PAGES * page_size, target) if predicate is not None else target
    reads.check(key)
    found: list[Frame] = []
    info: StreamInfo | None = None
    after: int | None = None
    scanned, more = 0, True
    while more and len(found) < target and scanned < most:
        limit = min(page_size, most - scanned)
        page = await reads.page(key, bounds=bounds, limit=limit, after=after)
        info = page.info
        if info is None and not head.serial:
            return Rewound([], False, False)
        if info is None or info.stream_id != head.stream_id:
            # Reset since the head was read: what was before it is gone.
            return Rewound([], True, False)
        reads.check(key, info)
        used = _collect(key, page.rows, predicate, target, found)
        scanned += used
        more = page.has_more or used < len(page.rows)
        if not page.rows:
            more = False
        else:
            after = page.rows[-1].serial
    await reads.confirm(key)
    found.reverse()
    return Rewound(found, _lost_to_retention(info, since_ms), more or (count is not None and count > page_size))


def _collect(
    key: StreamKey, rows: tuple[Row, ...], predicate: Predicate | None, target: int, found: list[Frame]
) -> int:
    """Adds the frames that fit to ``found`` until there are enough; how many rows that took."""
    for used, row in enumerate(rows):
        if len(found) >= target:
            return used
        if not is_shown(row):
            continue
        try:
            frame = frame_of(row)
        except StoredMessageError as problem:
            _log.error("a stored message cannot be read", app_id=key[0], channel=key[1], reason=str(problem))
            raise errors.INTERNAL_ERROR("A stored message cannot be read; the server's log names it") from problem
        if predicate is None or predicate(frame):
            found.append(frame)
    return len(rows)


def _lost_to_retention(info: StreamInfo | None, since_ms: int | None) -> bool:
    """Whether messages that were asked for may be gone."""
    if info is None:
        return False
    oldest, oldest_at_ms = info.retained.oldest_serial, info.retained.oldest_at_ms
    if (info.next_serial if oldest is None else oldest) <= 1:
        return False
    return since_ms is None or oldest_at_ms is None or since_ms < oldest_at_ms
