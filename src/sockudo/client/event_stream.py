"""Reading server-sent events out of a reply that arrives piece by piece."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["EventReader", "StreamEvent"]


class StreamEvent(NamedTuple):
    """One event of a stream: its name and its data, one text."""

    event: str
    data: str


class EventReader:
    """Takes the bytes of a stream in pieces of any size and gives back the events that are whole.

    Comments and fields other than ``event`` and ``data`` are left out, and so is what comes after the last blank line.
    Lines end with a line feed, with a carriage return before it or not.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._event = ""
        self._data: list[str] = []

    def feed(self, piece: bytes) -> list[StreamEvent]:
        """The events that this piece completes."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        found = []
        for raw in lines:
            line = raw.removesuffix(b"\r").decode("utf-8", "replace")
            if line:
                self._field(line)
            elif self._data or self._event:
                found.append(StreamEvent(self._event or "message", "\n".join(self._data)))
                self._event, self._data = "", []
        return found

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._event = value
        elif name == "data":
            self._data.append(value)
