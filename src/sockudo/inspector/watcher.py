"""One person who looks on: what is selected, and what has gathered since the last look."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sockudo.hub.app_state import AppState
from sockudo.hub.connection import Connection
from sockudo.inspector.entry import PROBLEMS, Entry, Kind

__all__ = ["Selection", "Watcher"]

# Room for problems that come while messages have taken all other.
_RESERVED: Final = 200


@dataclass(frozen=True, slots=True)
class Selection:
    """What is watched: everything that fits each part that is given. A socket or a user needs ``app_id`` too."""

    app_id: str | None = None
    channel: str | None = None
    user_id: str | None = None
    socket_id: str | None = None
    kinds: frozenset[Kind] | None = None

    def accepts(self, entry: Entry) -> bool:
        """Whether the entry fits by itself."""
        return (
            (self.app_id is None or entry.app_id == self.app_id)
            and (self.kinds is None or entry.kind in self.kinds)
            and (self.channel is None or entry.channel == self.channel)
            and (self.socket_id is None or entry.socket_id == self.socket_id)
            and (self.user_id is None or entry.user_id == self.user_id)
        )

    def hears(self, state: AppState, channel: str, sender: Connection | None, to_user: str | None) -> bool:
        """Whether a message on the channel concerns what is watched: comes from it, goes to it, or is published there.

        ``to_user`` is the user that a message was sent to on its own channel.
        """
        if (self.app_id is not None and self.app_id != state.app_id) or (
            self.kinds is not None and "message" not in self.kinds
        ):
            return False
        if self.channel is not None and self.channel != channel:
            return False
        if self.socket_id is not None:
            connection = state.connection(self.socket_id)
            return connection is not None and (connection is sender or _reaches(state, connection, channel, to_user))
        if self.user_id is not None:
            return to_user == self.user_id or any(
                connection is sender or _reaches(state, connection, channel, to_user)
                for connection in state.connections_signed_in(self.user_id)
            )
        return True


def _reaches(state: AppState, connection: Connection, channel: str, to_user: str | None) -> bool:
    if to_user is not None:
        return connection.user is not None and connection.user.user_id == to_user
    return state.subscription_of(connection, channel) is not None


class Watcher:
    """Gathers entries for a reader that takes them now and then; a context manager that ends the watching.

    Never holds more than ``capacity``: the oldest are kept in their order, and what does not fit is counted. Once
    something did not fit, nothing more is kept until all is taken: what is here has no gap, and one of known size
    behind it, however long the flood lasts. Only of problems up to 200 are kept on top: they are what most look for.
    ``wake`` is called when the first entry has come after nothing was left.
    """

    __slots__ = ("_capacity", "_entries", "_forget", "_skipped", "_wake", "selection")

    def __init__(
        self, forget: Callable[[Watcher], None], selection: Selection, wake: Callable[[], None], capacity: int
    ) -> None:
        self.selection = selection
        self._forget = forget
        self._wake = wake
        self._capacity = capacity
        self._entries: deque[Entry] = deque()
        self._skipped = 0

    @property
    def full(self) -> bool:
        """Nothing more is kept for the time being."""
        return self._skipped > 0 or len(self._entries) >= self._capacity

    def put(self, entry: Entry) -> None:
        """Keeps the entry, or counts it when there is no room."""
        if self.full and (entry.kind not in PROBLEMS or len(self._entries) >= self._capacity + _RESERVED):
            self._skipped += 1
            return
        self._entries.append(entry)
        if len(self._entries) == 1:
            self._wake()

    def skip(self, count: int = 1) -> None:
        """Counts entries that were not even made, because there is no room."""
        self._skipped += count

    def take(self, limit: int) -> tuple[list[Entry], int]:
        """The oldest entries, at most ``limit``, and how many were skipped behind the last of all that is here.

        The number is given once, with the entries that came before the gap.
        """
        entries = self._entries
        taken = [entries.popleft() for _ in range(min(limit, len(entries)))]
        if entries:
            return taken, 0
        skipped, self._skipped = self._skipped, 0
        return taken, skipped

    def close(self) -> None:
        """Ends the watching; closing again does nothing."""
        self._forget(self)

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
