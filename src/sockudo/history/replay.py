"""Recovery from the durable store: what came after a position, complete and without a hole, or why that is not known
(spec: history § 3.3 and 3.4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import structlog

from sockudo.base.stream_records import Bounds, Page, Position, Row, StreamInfo
from sockudo.errors import SockudoError
from sockudo.history.frames import StoredMessageError, frame_in, is_shown
from sockudo.history.heads import StreamKey
from sockudo.history.reads import Reads
from sockudo.protocol.frames import Frame

__all__ = ["Failed", "Replayed", "Wanted", "replay"]

_log = structlog.get_logger("sockudo.history")


class Failed(NamedTuple):
    """Why a channel could not be recovered: the fields of ``resume_failed``."""

    code: str
    reason: str
    expected_stream_id: str | None = None
    current_stream_id: str | None = None
    oldest_available_serial: int | None = None
    newest_available_serial: int | None = None


class Replayed(NamedTuple):
    """Everything between a position and ``head``, oldest first, where the client is once it has got that."""

    frames: list[Frame]
    head: Position


class Wanted(NamedTuple):
    """Where the client was. What it names as ``last_message_id`` it has got already, independent of its serial."""

    stream_id: str | None
    serial: int
    last_message_id: str | None = None


Prepare = Callable[[StreamKey, Sequence[Row]], Awaitable[Sequence[Row]]]
"""Makes what is sent of the rows of a page."""


async def replay(
    reads: Reads, key: StreamKey, wanted: Wanted, max_size: int, page_size: int, prepare: Prepare | None = None
) -> Replayed | Failed:
    """What the client missed, at most ``max_size`` messages; collected in full before anything is returned."""
    try:
        # A client with the place before the first message has missed nothing while there is none.
        info = await (reads.info(key) if wanted.serial else reads.stream(key))
    except SockudoError as problem:
        return _unread(key, wanted, "durable_history_state_unavailable", problem)
    try:
        reads.check(key)
    except SockudoError:
        return Failed("persistence_unavailable", "history_stream_degraded", wanted.stream_id, info and info.stream_id)
    failed = _refused(info, wanted, max_size)
    if failed is not None or info is None:
        return failed or _mismatch(None, wanted)
    try:
        outcome = await _collect(reads, key, wanted, info, page_size, prepare)
    except SockudoError as problem:
        return _unread(key, wanted, "durable_history_read_failed", problem)
    if isinstance(outcome, Failed):
        return outcome
    try:
        await reads.confirm(key)
    except SockudoError:
        return Failed("persistence_unavailable", "history_stream_degraded", wanted.stream_id, info.stream_id)
    try:
        # What other nodes stored comes here live too: not behind its replay.
        if not await reads.deliver_to(key, outcome.head):
            return _mismatch(None, wanted)._replace(reason="durable_stream_changed_during_reconnect")
    except SockudoError as problem:
        return _unread(key, wanted, "durable_history_read_failed", problem)
    return outcome


def _refused(info: StreamInfo | None, wanted: Wanted, max_size: int) -> Failed | None:
    """The first of the checks against the frozen head that fails."""
    if info is None:
        return _mismatch(None, wanted)
    stream_id, head, retained = info.stream_id, info.head.serial, info.retained
    if info.state == "reset_required":
        return Failed("stream_reset", "durable_stream_reset_required", wanted.stream_id, stream_id)
    if info.state != "healthy":
        return Failed("persistence_unavailable", "history_stream_degraded", wanted.stream_id, stream_id)
    if stream_id != wanted.stream_id:
        return _mismatch(info, wanted)
    if (retained.newest_serial or 0) > head:
        return _failed("continuity_unverifiable", "durable_stream_head_unavailable", wanted, info)
    if wanted.serial > head:
        return _failed("continuity_unverifiable", "position_ahead_of_durable_stream", wanted, info)
    if wanted.serial == head:
        return None
    if retained.oldest_serial is None:
        return _failed("position_expired", "durable_history_empty_after_prior_writes", wanted, info)
    if wanted.serial + 1 < retained.oldest_serial:
        return _failed("position_expired", "retained_history_floor_is_ahead_of_requested_serial", wanted, info)
    if head - wanted.serial > max_size:
        return _failed("position_expired", "recovery_window_exceeded", wanted, info)
    return None


async def _collect(
    reads: Reads, key: StreamKey, wanted: Wanted, info: StreamInfo, page_size: int, prepare: Prepare | None
) -> Replayed | Failed:
    """Reads from the position to the head, page by page, and looks at each row's place."""
    head = info.head
    bounds = Bounds(wanted.serial + 1, head.serial)
    frames: list[Frame] = []
    expected = wanted.serial + 1
    while expected <= head.serial:
        page = await reads.page(key, bounds=bounds, direction="oldest_first", limit=page_size, after=expected - 1)
        if page.info is None or page.info.stream_id != head.stream_id:
            current = _mismatch(page.info, wanted)
            return current._replace(reason="durable_stream_changed_during_reconnect")
        failed = _out_of_place(page, page.info, wanted, expected, head.serial)
        if failed is not None:
            return failed
        expected += len(page.rows)
        rows = page.rows if prepare is None else await prepare(key, page.rows)
        try:
            frames += [frame_in(key[1], row) for row in rows if is_shown(row)]
        except StoredMessageError as problem:
            _log.error("a stored message cannot be read", app_id=key[0], channel=key[1], reason=str(problem))
            return _failed("persistence_unavailable", "durable_history_payload_projection_failed", wanted, page.info)
    if wanted.last_message_id is not None:
        frames = [frame for frame in frames if frame.message_id != wanted.last_message_id]
    return Replayed(frames, head)


def _out_of_place(page: Page, info: StreamInfo, wanted: Wanted, expected: int, head: int) -> Failed | None:
    """What is wrong with a page that should go on with the serial ``expected``."""
    oldest = info.retained.oldest_serial
    if oldest is None or oldest > expected:
        return _failed("position_expired", "retention_boundary_crossed_during_reconnect", wanted, info)
    for number, row in enumerate(page.rows):
        if row.stream_id != info.stream_id:
            return _failed("continuity_unverifiable", "durable_history_item_stream_mismatch", wanted, info)
        if row.serial < expected:
            return _failed("continuity_unverifiable", "durable_history_cursor_did_not_advance", wanted, info)
        if row.serial != expected + number:
            return _failed("continuity_unverifiable", "durable_history_is_not_contiguous", wanted, info)
    if page.has_more and not page.rows:
        return _failed("continuity_unverifiable", "durable_history_cursor_missing", wanted, info)
    if not page.has_more and expected + len(page.rows) <= head:
        return _failed("continuity_unverifiable", "durable_history_ended_before_stream_head", wanted, info)
    return None


def _failed(code: str, reason: str, wanted: Wanted, info: StreamInfo) -> Failed:
    retained = info.retained
    return Failed(code, reason, wanted.stream_id, info.stream_id, retained.oldest_serial, retained.newest_serial)


def _mismatch(info: StreamInfo | None, wanted: Wanted) -> Failed:
    if info is None:
        return Failed("stream_reset", "durable_stream_id_mismatch", wanted.stream_id)
    return _failed("stream_reset", "durable_stream_id_mismatch", wanted, info)


def _unread(key: StreamKey, wanted: Wanted, reason: str, problem: SockudoError) -> Failed:
    _log.warning("recovery failed", app_id=key[0], channel=key[1], reason=problem.text)
    return Failed("persistence_unavailable", reason, wanted.stream_id)
