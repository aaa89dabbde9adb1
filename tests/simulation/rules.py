"""What holds for messages with numbers, whatever happens, and the book that is kept of them."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["BrokenRuleError", "Ledger", "Publication"]


class BrokenRuleError(AssertionError):
    """A rule did not hold."""


Place = tuple[str, int]
"""Stream id and serial."""


class Publication:
    """A message of a backend, under an idempotency key; it tries again until it is accepted or gives up."""

    def __init__(self, room: str, number: int) -> None:
        self.room = room
        self.data = f"m{number}"
        self.key = f"key-{number}"
        self.accepted = False
        # Where it was accepted, by each answer that said so.
        self.places: list[Place] = []


class Numbered(NamedTuple):
    """What has a place."""

    data: str
    seen_by: str


class Ledger:
    """Every place in a channel that a client or a backend has learned of, and what is there."""

    def __init__(self) -> None:
        self.publications: list[Publication] = []
        self._places: dict[tuple[str, Place], Numbered] = {}
        self.of: dict[tuple[str, str], set[Place]] = {}

    def publication(self, room: str) -> Publication:
        """A new message of a backend."""
        made = Publication(room, len(self.publications) + 1)
        self.publications.append(made)
        return made

    def note(self, room: str, place: Place, data: str, who: str) -> None:
        """Somebody learned what is at a place. Raises `BrokenRuleError` when another one learned otherwise."""
        known = self._places.setdefault((room, place), Numbered(data, who))
        if known.data != data:
            raise BrokenRuleError(f"{room} {_shown(place)} is {known.data} for {known.seen_by}, {data} for {who}")
        self.of.setdefault((room, data), set()).add(place)

    def check_once(self, room: str) -> None:
        """Each message of a channel has one place at most."""
        for (where, data), places in self.of.items():
            if where == room and len(places) > 1:
                raise BrokenRuleError(f"{data} is {len(places)} times in {room}: {sorted(map(_shown, places))}")


def _shown(place: Place) -> str:
    return f"{place[0][:4]}/{place[1]}"
