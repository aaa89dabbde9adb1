"""Messages that change, of the store in memory: as they read now, and where their versions are."""

from __future__ import annotations

from collections.abc import Iterable

from sockudo.base.message_records import Latest

__all__ = ["MemoryMessages"]

_Place = tuple[str, str]


class _Message:
    __slots__ = ("latest", "serials")

    def __init__(self, latest: Latest, serials: list[int]) -> None:
        self.latest = latest
        self.serials = serials


class MemoryMessages:
    """The messages of all logs, by app and log; in each those come last that were changed last."""

    def __init__(self) -> None:
        self._logs: dict[_Place, dict[str, _Message]] = {}

    def get(self, place: _Place, message_serial: str) -> Latest | None:
        """A message as it reads now."""
        message = self._logs.get(place, {}).get(message_serial)
        return None if message is None else message.latest

    def serials(self, place: _Place, message_serial: str) -> list[int]:
        """Where its versions are in the log, or have been, oldest first."""
        message = self._logs.get(place, {}).get(message_serial)
        return [] if message is None else message.serials

    def put(self, place: _Place, latest: Latest) -> None:
        """A message has got its next version."""
        log = self._logs.setdefault(place, {})
        message = log.pop(latest.version.message_serial, None) or _Message(latest, [])
        message.latest = latest
        message.serials.append(latest.serial)
        log[latest.version.message_serial] = message

    def take_back(self, place: _Place, latest: Latest) -> None:
        """A message is what it was before some of its versions."""
        message = self._logs[place][latest.version.message_serial]
        message.latest = latest
        message.serials = [serial for serial in message.serials if serial <= latest.serial]

    def forget(self, place: _Place, message_serials: Iterable[str]) -> None:
        """Messages are gone."""
        for each in message_serials:
            self._logs.get(place, {}).pop(each, None)

    def trimmed(self, place: _Place, oldest: int) -> None:
        """The log begins at this serial now: messages without a version go."""
        log = self._logs.get(place)
        while log:
            first = next(iter(log))
            if log[first].latest.serial >= oldest:
                break
            del log[first]

    def delete_app(self, app_id: str) -> None:
        """Forgets the messages of an app."""
        self._logs = {place: log for place, log in self._logs.items() if place[0] != app_id}
