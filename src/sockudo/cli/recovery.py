"""What a listener on protocol V2 remembers so that it misses nothing and shows nothing twice (spec: history § 4).

Acknowledgements and events say where a channel is; after a lost connection the listener asks for what came after the
last event it has shown. What arrives before that is answered waits, so that events are shown in their order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from sockudo.cli.listen_options import Since
from sockudo.cli.outcome import ExitCode, fail, note
from sockudo.client.events import Event

__all__ = ["Recovery"]

_MAX_POSITIONS: Final = 1000
_SOURCES: Final = {"hot": "memory", "cold": "the history"}


class _Place(NamedTuple):
    """Behind an event of a stream. Without ``stream_id`` the server can say little about it."""

    stream_id: str | None
    serial: int
    message_id: str | None = None

    def as_position(self) -> dict[str, Any]:
        """Its form in a resume."""
        data = {"stream_id": self.stream_id, "serial": self.serial, "last_message_id": self.message_id}
        return {name: value for name, value in data.items() if value is not None}


class Recovery:
    """The places of one listener on its channels, over any number of connections.

    ``rewind`` is what subscriptions begin with the first time. ``since`` is where the only channel is to go on from;
    the command ends when the server cannot do that.
    """

    def __init__(
        self,
        *,
        channel: str | None = None,
        rewind: int | Mapping[str, int] | None = None,
        since: Since | None = None,
    ) -> None:
        self._rewind = rewind
        self._rewound: set[str] = set()
        self._places: dict[str, _Place] = {}
        self._attached: dict[str, _Place] = {}
        self._awaited: set[str] = set()
        self._held: dict[str, list[Event]] = {}
        self._asked_for = channel if since is not None else None
        self._serial_alone: int | None = None
        if since is not None and since.stream_id is None:
            self._serial_alone = since.serial
        elif since is not None and channel is not None:
            self._places[channel] = _Place(since.stream_id, since.serial)

    @property
    def is_awaited(self) -> bool:
        """Whether the answer to a resume is still to come."""
        return bool(self._awaited)

    def begin(self) -> dict[str, Any]:
        """A new connection: the positions to resume right behind the subscriptions, none when there is nothing to."""
        self._attached.clear()
        self._held.clear()
        recent = list(self._places)[-_MAX_POSITIONS:]
        self._awaited = set(recent)
        if self._serial_alone is not None and self._asked_for is not None:
            self._awaited.add(self._asked_for)
        return {name: self._places[name].as_position() for name in recent}

    def subscription(self, channel: str) -> dict[str, Any]:
        """What the subscribe has to say of it."""
        begins = self._rewind is not None and channel not in self._rewound and channel not in self._places
        return {"rewind": self._rewind} if begins else {}

    def acknowledged(self, event: Event) -> dict[str, Any]:
        """A subscription stands: the position to resume now that its stream is known, mostly none."""
        channel = event.channel or ""
        place = _place(event)
        if place is not None:
            self._attached[channel] = place
        if channel == self._asked_for and self._serial_alone is not None:
            if place is None:
                fail(
                    f"{channel} cannot go on from serial {self._serial_alone}: the server keeps no streams.",
                    ExitCode.REFUSED,
                    "`connection_recovery.enabled` of the server's configuration makes it keep them.",
                )
            self._places[channel] = _Place(place.stream_id, self._serial_alone)
            self._serial_alone = None
            return {channel: self._places[channel].as_position()}
        if place is not None and channel not in self._places and not self.subscription(channel):
            self._places[channel] = place
        return {}

    def rewound(self, event: Event) -> None:
        """A rewind is complete."""
        channel = event.channel or ""
        self._rewound.add(channel)
        if channel not in self._places and channel in self._attached:
            self._places[channel] = self._attached[channel]
        data = event.data if isinstance(event.data, dict) else {}
        count = data.get("historical_count", 0)
        asked = self._rewind if isinstance(self._rewind, int) else None
        text = f"Rewound {_events(count)} of {channel}."
        if asked is None or count < asked:
            text += " What was before is gone." if data.get("truncated_by_retention") else ""
            text += " There are more than the server goes back." if data.get("truncated_by_limit") else ""
        note(text)

    def take(self, event: Event) -> list[Event]:
        """The events to be shown now that this one has come, in their order."""
        channel = event.channel
        if channel in self._awaited and event.serial is not None and event.is_app_event:
            self._held.setdefault(channel or "", []).append(event)
            return []
        return [event] if self._is_new(event) else []

    def resumed(self, event: Event) -> list[Event]:
        """The server has answered a resume: says what became of it; the events that had to wait for that."""
        data = event.data if isinstance(event.data, dict) else {}
        shown: list[Event] = []
        for entry in data.get("recovered") or ():
            channel = entry["channel"]
            self._awaited.discard(channel)
            shown += self._let_go(channel)
            self._advance(channel, entry.get("position"))
            source = _SOURCES.get(entry.get("source"), entry.get("source"))
            note(f"{channel}: recovered {_events(entry.get('replayed', 0))} from {source}.")
            if channel == self._asked_for:
                self._asked_for = None
        for entry in data.get("failed") or ():
            shown += self._lost(entry["channel"], f"{entry.get('code')}, {entry.get('reason')}", entry)
        return shown

    def refused(self, text: str) -> list[Event]:
        """The server does not answer a resume at all."""
        return [event for channel in tuple(self._awaited) for event in self._lost(channel, text, {})]

    def _lost(self, channel: str, reason: str, entry: Mapping[str, Any]) -> list[Event]:
        """What came after the last event is lost; from now on counts what the subscription began with."""
        self._awaited.discard(channel)
        place = self._places.pop(channel, None)
        kept = entry.get("oldest_available_serial"), entry.get("newest_available_serial")
        behind = "" if place is None else f" Events after serial {place.serial} may be missing."
        what_is = "" if None in kept else f" Kept are serials {kept[0]} to {kept[1]}."
        text = f"{channel}: not recovered: {reason}."
        if channel == self._asked_for:
            fail(f"{text}{what_is}", ExitCode.REFUSED, f"`sockudo history show {channel}` shows what is kept.")
        note(f"{text}{behind}{what_is}")
        if channel in self._attached:
            self._places[channel] = self._attached[channel]
        return self._let_go(channel)

    def _let_go(self, channel: str) -> list[Event]:
        held = self._held.pop(channel, [])
        if len({event.stream_id for event in held}) == 1:
            # What was live overtakes what is replayed.
            held.sort(key=lambda event: event.serial or 0)
        return [event for event in held if self._is_new(event)]

    def _is_new(self, event: Event) -> bool:
        place = _place(event)
        if event.channel is None or place is None or not event.is_app_event:
            return True
        last = self._places.get(event.channel)
        if last is not None and last.stream_id == place.stream_id and place.serial <= last.serial:
            return False
        self._places[event.channel] = place
        return True

    def _advance(self, channel: str, position: Any) -> None:
        """Past what a filter has held back."""
        last = self._places.get(channel)
        if last is None or not isinstance(position, dict) or position.get("stream_id") != last.stream_id:
            return
        serial = position.get("serial")
        if isinstance(serial, int) and serial > last.serial:
            self._places[channel] = _Place(last.stream_id, serial, position.get("last_message_id"))


def _place(event: Event) -> _Place | None:
    if event.serial is None or event.stream_id is None:
        return None
    return _Place(event.stream_id, event.serial, event.message_id if event.is_app_event else None)


def _events(count: Any) -> str:
    return "1 event" if count == 1 else f"{count} events"
