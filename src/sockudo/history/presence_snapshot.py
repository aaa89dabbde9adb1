"""Who was in a presence channel at a moment, by replaying its history from the start (spec: history § 8.3)."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from sockudo import errors
from sockudo.base.stream_records import Bounds, Page, Row
from sockudo.history.frames import is_shown
from sockudo.history.heads import StreamKey
from sockudo.history.presence_events import StoredEvent, stream_of
from sockudo.history.presence_pages import check_readable, continuity_of, read_event
from sockudo.history.presence_writer import Mark
from sockudo.history.service import History

__all__ = ["presence_snapshot"]

_PAGE: Final = 1000
_ANOMALIES: Final = {
    "member_added": "duplicate_member_added",
    "member_updated": "member_updated_without_join",
    "member_removed": "member_removed_without_join",
}


class _Present(NamedTuple):
    """The last thing that is known of someone who is in."""

    event: str
    serial: int
    at_ms: int


class _Replay:
    """Who is in after all events so far. ``anomaly`` is the first of them that cannot have happened."""

    def __init__(self) -> None:
        self.present: dict[str, _Present] = {}
        self.count = 0
        self.last: Row | None = None
        self.anomaly: str | None = None

    def apply(self, row: Row, event: StoredEvent) -> None:
        """Goes on by one event."""
        self.count += 1
        self.last = row
        user_id = event.user_id
        known = user_id in self.present
        if event.event == "member_removed":
            self.present.pop(user_id, None)
        elif known or event.event == "member_added":
            self.present[user_id] = _Present(event.event, row.serial, row.published_at_ms)
        if self.anomaly is None and known == (event.event == "member_added"):
            self.anomaly = f"{_ANOMALIES[event.event]} at serial {row.serial}"

    def reply(self, channel: str, continuity: dict[str, Any]) -> dict[str, Any]:
        """The answer of spec: history § 8.3."""
        members = [
            {
                "user_id": user_id,
                "last_event": present.event,
                "last_event_serial": present.serial,
                "last_event_at_ms": present.at_ms,
            }
            for user_id, present in sorted(self.present.items())
        ]
        return {
            "channel": channel,
            "members": members,
            "member_count": len(members),
            "events_replayed": self.count,
            "snapshot_serial": self.last and self.last.serial,
            "snapshot_time_ms": self.last and self.last.published_at_ms,
            "continuity": continuity,
        }


async def presence_snapshot(history: History, key: StreamKey, bounds: Bounds, mark: Mark | None) -> dict[str, Any]:
    """Who was in at the end of ``bounds``, which belongs to it; they have no start.

    Raises errors.HISTORY_QUERY when what is stored contradicts itself, errors.HISTORY_DEGRADED and
    errors.HISTORY_UNAVAILABLE.
    """
    first = await _read(history, key, bounds, None)
    check_readable(history, key[1], first.info, mark)
    continuity = continuity_of(first._replace(has_more=False), bounds, mark)
    timed = bounds.end_time_ms is not None
    if first.info is not None:
        # What happens while this is read is left for the next one.
        head = first.info.head.serial
        bounds = bounds._replace(end_serial=head if bounds.end_serial is None else min(head, bounds.end_serial))
    replay, page = _Replay(), first
    serial = None if continuity["truncated_by_retention"] else 0
    while True:
        for row in page.rows:
            _check_order(row, serial, gaps=timed)
            serial = row.serial
            if is_shown(row):
                replay.apply(row, read_event(key, row))
        if not page.has_more or not page.rows:
            break
        page = await _read(history, key, bounds, serial)
        if page.info is None or first.info is None or page.info.stream_id != first.info.stream_id:
            raise errors.HISTORY_QUERY("The presence history was reset while it was read; ask again")
    if replay.anomaly is not None and continuity["complete"] and not timed:
        raise _contradiction(replay.anomaly)
    return replay.reply(key[1], continuity)


async def _read(history: History, key: StreamKey, bounds: Bounds, after: int | None) -> Page:
    return await history.rows(
        key[0], stream_of(key[1]), bounds=bounds, direction="oldest_first", limit=_PAGE, after=after
    )


def _check_order(row: Row, before: int | None, *, gaps: bool) -> None:
    """Raises errors.HISTORY_QUERY unless the row comes right after the serial before it, None where unknown."""
    if before is None or row.serial == before + 1:
        return
    if row.serial <= before or not gaps:
        raise _contradiction(f"serial {row.serial} comes after {before}")


def _contradiction(what: str) -> errors.SockudoError:
    return errors.HISTORY_QUERY(f"The presence history contradicts itself: {what}")
