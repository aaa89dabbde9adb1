"""How far this process knows each stream to have come: which shows that a store was wiped or restored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from sockudo.base.stream_records import Position

__all__ = ["Heads", "StreamChanged", "StreamKey"]

StreamKey = tuple[str, str]
"""App id and channel."""

StreamChanged = Callable[[str, str, Position], None]
"""App id, channel and where its stream is now: replay buffers of it are void, and so are positions from before."""

# About 20 MB. A channel that is forgotten is taken as it is found the next time.
_MAX_HEADS: Final = 100_000

_log = structlog.get_logger("sockudo.history")


class Heads:
    """The newest position of each known channel, the ones used last, and the streams that have ended."""

    def __init__(self, on_changed: StreamChanged | None = None) -> None:
        self._on_changed = on_changed
        self._positions: dict[StreamKey, Position] = {}
        # The id of the message at that position, where this process has stored it.
        self._messages: dict[StreamKey, str] = {}
        self._ended: dict[str, None] = {}

    def get(self, key: StreamKey) -> Position | None:
        """Where the channel was last; None when that is not known."""
        return self._positions.get(key)

    def fell_back(self, known: Position | None, head: Position) -> bool:
        """Whether a stream has lost what was confirmed of it, as one from a backup has.

        It is the one that was ``known`` but not as far as it was, or one that had ended before.
        """
        if head.stream_id in self._ended:
            return True
        return known is not None and known.stream_id == head.stream_id and head.serial < known.serial

    def message_id(self, key: StreamKey) -> str | None:
        """The id of the message at the position of `get`; None when that is not known."""
        return self._messages.get(key)

    def advance(self, key: StreamKey, position: Position, message_id: str | None = None) -> None:
        """The stream went on to ``position``, with a message of this id if this process has stored it."""
        positions = self._positions
        positions.pop(key, None)
        positions[key] = position
        if message_id is None:
            self._messages.pop(key, None)
        else:
            self._messages[key] = message_id
        if len(positions) > _MAX_HEADS:
            self.forget(next(iter(positions)))

    def move(self, key: StreamKey, position: Position) -> None:
        """The stream is not the one that was known, or elsewhere: everyone who keeps something of it is notified."""
        known = self._positions.get(key)
        if known is not None and known.stream_id != position.stream_id:
            self._ended[known.stream_id] = None
            if len(self._ended) > _MAX_HEADS:
                del self._ended[next(iter(self._ended))]
        self.advance(key, position)
        _log.warning(
            "stream changed",
            app_id=key[0],
            channel=key[1],
            stream_id=position.stream_id,
            serial=position.serial,
            previous_stream_id=known and known.stream_id,
            previous_serial=known and known.serial,
        )
        if self._on_changed is None:
            return
        try:
            self._on_changed(*key, position)
        except Exception as defect:  # noqa: BLE001 - the stream has changed all the same, and others wait
            _log.error("a changed stream could not be announced", channel=key[1], exc_info=defect)

    def clear(self) -> None:
        """Nothing is known of any channel any more."""
        self._positions.clear()
        self._messages.clear()

    def forget(self, key: StreamKey) -> None:
        """Nothing of the channel is kept any more."""
        self._positions.pop(key, None)
        self._messages.pop(key, None)
