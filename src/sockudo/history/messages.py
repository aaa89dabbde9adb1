"""Messages that change, as they are asked for (spec: messages § 7 and 9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from sockudo.base.message_records import Latest, Version, log_of
from sockudo.base.stream_records import WHOLE_STREAM, Bounds, Direction, Page, Position, Row, StreamInfo
from sockudo.history.calls import StoreCalls
from sockudo.history.frames import is_shown
from sockudo.history.heads import StreamKey
from sockudo.history.message_frames import item_of
from sockudo.history.reads import Reads
from sockudo.hub.streams.ports import HistoryStore
from sockudo.hub.streams.versions import decode_version

__all__ = ["LatestReads", "Messages", "VersionsQuery"]

_PAGE = 250


class VersionsQuery(NamedTuple):
    """Which versions of a message; ``cursor`` is the serial of the last one that is known."""

    limit: int
    direction: Direction = "newest_first"
    cursor: str | None = None


class LatestReads:
    """Reads a channel's history with its messages as they read now; what is read is settled when the log is.

    Then it was delivered on this node too: another node may have stored a version that has not come here yet.
    """

    def __init__(self, reads: Reads, key: StreamKey) -> None:
        self._reads = reads
        self._log = key[0], log_of(key[1])
        self._newest: Position | None = None

    async def page(
        self,
        key: StreamKey,
        *,
        bounds: Bounds = WHOLE_STREAM,
        direction: Direction = "newest_first",
        limit: int,
        after: int | None = None,
    ) -> Page:
        """See `Reads.page`."""
        page = await self._reads.page(key, bounds=bounds, direction=direction, limit=limit, after=after, latest=True)
        for row in page.rows:
            if row.latest is not None and (self._newest is None or row.latest.serial > self._newest.serial):
                self._newest = Position(row.latest.stream_id, row.latest.serial)
        return page

    def check(self, key: StreamKey, info: StreamInfo | None = None) -> None:
        """See `Reads.check`."""
        self._reads.check(key, info)
        self._reads.check(self._log)

    async def confirm(self, key: StreamKey) -> None:
        """See `Reads.confirm`."""
        await self._reads.confirm(key)
        await self._reads.confirm(self._log)
        if self._newest is not None:
            await self._reads.deliver_to(self._log, self._newest)


class Messages:
    """Single messages and their versions; every method raises errors.HISTORY_UNAVAILABLE and errors.HISTORY_DEGRADED.

    What is returned has been delivered on this node, or is not known to it.
    """

    def __init__(self, store: HistoryStore, calls: StoreCalls, reads: Reads) -> None:
        self._store = store
        self._calls = calls
        self._reads = reads

    async def latest(self, app_id: str, channel: str, message_serial: str) -> Latest | None:
        """A message as it reads now; None when there is none."""
        log = log_of(channel)
        self._reads.check((app_id, log))
        latest = await self._calls.read(self._store.message(app_id, log, message_serial))
        await self._reads.confirm((app_id, log))
        return latest

    async def versions(
        self, app_id: str, channel: str, message_serial: str, query: VersionsQuery
    ) -> dict[str, Any] | None:
        """A page of a message's versions as it is answered; None when there is no such message."""
        log = log_of(channel)
        self._reads.check((app_id, log))
        page = await self._page(app_id, log, message_serial, query)
        if not page.rows and await self.latest(app_id, channel, message_serial) is None:
            return None
        await self._reads.confirm((app_id, log))
        versions = [Latest(row.serial, decode_version(row.message)) for row in page.rows]
        more = {"next_cursor": versions[-1].version.version_serial} if page.has_more else {}
        return {
            "channel": channel,
            "direction": query.direction,
            "limit": query.limit,
            "has_more": page.has_more,
            **more,
            "items": [item_of(channel, each) for each in versions],
        }

    async def _page(self, app_id: str, log: str, message_serial: str, query: VersionsQuery) -> Page:
        read = self._store.versions(
            app_id, log, message_serial, direction=query.direction, limit=query.limit, after=query.cursor
        )
        return await self._calls.read(read)

    async def history_head(self, app_id: str, channel: str) -> Position:
        """Where the channel's history is, which is delivered in the order of its log."""
        info = await self._reads.stream((app_id, channel))
        await self._reads.confirm((app_id, log_of(channel)))
        return info.head

    async def at(self, app_id: str, channel: str, serial: int) -> Latest | None:
        """The version at a place of the log, as it was stored there; None when it is past its time."""
        key = app_id, log_of(channel)
        page = await self._reads.page(key, bounds=Bounds(serial, serial), limit=1)
        rows = [row for row in page.rows if is_shown(row)]
        return Latest(serial, decode_version(rows[0].message)) if rows else None

    async def whole(self, key: StreamKey, rows: Sequence[Row]) -> list[Row]:
        """Rows of a log, oldest first and without a hole, with ``latest``: the version with all of its text."""
        texts: dict[str, str] = {}
        found = []
        for row in rows:
            if not is_shown(row):
                found.append(row)
                continue
            version = decode_version(row.message)
            if version.action == "append":
                before = texts.get(version.message_serial)
                if before is None:
                    before = await self._text_before(key, version)
                version = replace(version, text=before + (version.text or ""))
            texts[version.message_serial] = version.text or ""
            found.append(row._replace(latest=Latest(row.serial, version, row.stream_id)))
        return found

    async def _text_before(self, key: StreamKey, version: Version) -> str:
        """The text that an append was added to: its fragments, back to the last version that has all of it."""
        pieces: list[str] = []
        after, more = version.version_serial, True
        while more:
            query = VersionsQuery(_PAGE, cursor=after)
            page = await self._page(*key, version.message_serial, query)
            for row in page.rows:
                earlier = decode_version(row.message)
                after = earlier.version_serial
                pieces.append(earlier.text or "")
                if earlier.action != "append":
                    return "".join(reversed(pieces))
            more = page.has_more
        # That one is past its time: the message still has its text.
        latest = await self._calls.read(self._store.message(*key, version.message_serial))
        text = "" if latest is None else latest.version.text or ""
        return text[: version.length - len(version.text or "")]
