"""What the durable side of a stream asks of its store (spec: history § 1.6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sockudo.base.message_records import Latest
from sockudo.base.stream_records import (
    KEEP_ALL,
    WHOLE_STREAM,
    Append,
    Bounds,
    Committed,
    Direction,
    DurableState,
    Page,
    Purged,
    Retention,
    StreamInfo,
)
from sockudo.errors import OutcomeUnknown
from sockudo.hub.streams.totals import Evicted, Group, Total

__all__ = ["HistoryStore", "OutcomeUnknown"]


class HistoryStore(Protocol):
    """Streams that outlive the process. One contract suite runs over every implementation, the memory one first.

    Every method raises errors.HISTORY_UNAVAILABLE when the store cannot be reached or refuses, and none hangs for good:
    an adapter gives its connections timeouts. Nothing changed then, except after `OutcomeUnknown`, and that `reset`,
    `purge` and `delete_app` may have deleted some of what they should: they work in many small transactions. Nothing
    creates a stream but `commit`, `ensure`, `rotate` and `reset`. No channel has the place `SEED_PLACE`.
    """

    @property
    def evicted(self) -> Evicted:
        """What retention has taken away, in `commit` and in `expire`."""
        ...

    async def start(self) -> None:
        """Connects and brings the schema up to date; several nodes may do so at once."""

    async def close(self) -> None:
        """Gives everything back."""

    async def commit(self, appends: Sequence[Append]) -> list[Committed]:
        """Stores all of them in one transaction, in order; serials are contiguous in each channel.

        A stream is made where there is none, and may be there, empty, when nothing could be stored. Retention by age,
        count and bytes is applied in the same transaction, to a bounded number of rows. An append with a ``change``
        does to its message what `sockudo.hub.streams.versions.applied` says, and stores nothing where that refuses; it
        costs the same however long the message is. Once it has returned the rows survive the loss of the process. Any
        other error than errors.HISTORY_UNAVAILABLE means that one of the appends cannot be stored, and that none was.
        """
        ...

    async def retract(self, appends: Sequence[Append], after: int, now_ms: int) -> StreamInfo | None:
        """Takes back what a `commit` of unknown outcome may have stored; the appends are all of one channel.

        It takes the lock on the stream that `commit` takes, so that none of them can land afterwards. Rows of the
        current stream above the serial ``after`` that have the message id and the message of an append, and no earlier
        time, are deleted, their keys with them, and their serials are given again. A row behind which something else
        was stored stays as an empty one of the operation kind `RETRACTED`, which every reader leaves out. Doing it
        again changes nothing. Returns the stream afterwards, None where there is none.
        """
        ...

    async def rotate(self, app_id: str, channel: str, now_ms: int) -> StreamInfo:
        """Gives the stream another id: its rows, keys and numbering stay, positions under the old id are void.

        For a stream that was found to have fallen back behind what was confirmed, as a restored backup has.
        """
        ...

    async def ensure(self, app_id: str, channel: str, now_ms: int, retention: Retention = KEEP_ALL) -> StreamInfo:
        """The stream of a channel, made when there is none; `expire` drops one that is never written to."""
        ...

    async def info(self, app_id: str, channel: str) -> StreamInfo | None:
        """The stream of a channel; None when there is none."""
        ...

    async def read(
        self,
        app_id: str,
        channel: str,
        *,
        bounds: Bounds = WHOLE_STREAM,
        direction: Direction = "newest_first",
        limit: int,
        after: int | None = None,
        latest: bool = False,
    ) -> Page:
        """At most ``limit`` rows within ``bounds``, from beyond the serial ``after`` (exclusive) in ``direction``.

        With ``latest`` rows of a channel have their messages as they read now, all at the same time.
        """
        ...

    async def message(self, app_id: str, log: str, message_serial: str) -> Latest | None:
        """A message as it reads now; None for one that is not there, or whose versions are all past their time."""
        ...

    async def versions(
        self,
        app_id: str,
        log: str,
        message_serial: str,
        *,
        direction: Direction = "newest_first",
        limit: int,
        after: str | None = None,
    ) -> Page:
        """At most ``limit`` rows of a log that are versions of a message, from beyond the version ``after``."""
        ...

    async def reset(self, app_id: str, channel: str, now_ms: int) -> Purged:
        """Deletes every row and starts a new stream at serial 1, healthy."""
        ...

    async def purge(
        self,
        app_id: str,
        channel: str,
        now_ms: int,
        *,
        before_serial: int | None = None,
        before_time_ms: int | None = None,
    ) -> Purged:
        """Deletes the rows strictly before the bound, or all; keeps the stream's id and its numbering.

        Only a prefix of the serials is ever deleted.
        """
        ...

    async def mark(
        self, app_id: str, channel: str, state: DurableState, reason: str | None, node_id: str | None, now_ms: int
    ) -> None:
        """Writes down the durable state of a stream; a channel without a stream is ignored."""

    async def expire(self, now_ms: int, limit: int) -> tuple[int, bool]:
        """Deletes at most ``limit`` things that are past their time; how many, and whether more are left.

        They are rows older than the window of their stream, keys, and streams that were never written to and that
        no `ensure` asked for within their window. A stream that was written to stays: its numbering goes on. So
        does one that `reset` or `rotate` gave its id, since the ids before it must not come back.
        """
        ...

    async def delete_app(self, app_id: str) -> None:
        """Forgets everything about an app, and the stream at `SEED_PLACE`."""

    async def totals(self) -> dict[Group, Total]:
        """What all streams hold together; it looks at every stream, but at no message."""
        ...

    async def check(self) -> bool:
        """True when the store answers, for health checks. Raises errors.HISTORY_UNAVAILABLE when it does not."""
        ...

    async def probe(self) -> None:
        """Writes something that changes nothing. Raises errors.HISTORY_UNAVAILABLE when writes are not taken."""
