"""Who follows what happens on the server, over HTTP: so many at once, each in bounded pieces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.inspector import Entry, Inspector, Selection, Watcher
from sockudo.inspector.lines import line_of
from sockudo.monitoring.elsewhere import Elsewhere
from sockudo.monitoring.event_stream import EventStream, OpenStreams, event_text

__all__ = ["AT_MOST", "AT_MOST_OF_APP", "Tails"]

AT_MOST: Final = 32
AT_MOST_OF_APP: Final = 8
# Of all, so many stay free for the operator.
_KEPT_FOR_OPERATORS: Final = 8
# Entries in one piece, and how many may wait for theirs.
_PIECE: Final = 200
_CAPACITY: Final = 1000


class Tails:
    """Opens streams of entries and knows those that are open. ``draining``: the server is about to stop.

    With ``elsewhere`` the entries are those of all nodes, each with the name of its own.
    """

    def __init__(self, inspector: Inspector, draining: Callable[[], bool], elsewhere: Elsewhere | None = None) -> None:
        self._inspector = inspector
        self._elsewhere = elsewhere
        self._draining = draining
        self._open: OpenStreams[_Tail] = OpenStreams()

    def __len__(self) -> int:
        return len(self._open)

    def follow(
        self,
        selection: Selection,
        *,
        refuse: Callable[[], SockudoError | None] = lambda: None,
        of_app: bool = False,
        with_lines: bool = False,
    ) -> EventStream:
        """A reply that shows the selection as it happens: ``hello``, then ``entries``, and ``end`` with a reason.

        ``refuse`` is asked a few times a second and ends the stream with what it answers. ``of_app``: it is an app
        that asks, for its own entries. ``with_lines``: each entry has a ``line``, in words for people. Raises
        errors.WATCHERS_FULL, and errors.DRAINING when the server is about to stop.
        """
        if self.ending:
            raise errors.DRAINING(retry_after=1)
        self._check_room(selection.app_id if of_app else None)
        watcher = self._inspector.watch(selection, _nothing, _CAPACITY)
        stop = _nothing if self._elsewhere is None else self._elsewhere.follow(watcher)

        def end() -> None:
            stop()
            watcher.close()

        return self._open.open(_Tail(self, watcher, refuse, of_app, with_lines), end)

    @property
    def here(self) -> str | None:
        """The name of this node, where there can be others."""
        return None if self._elsewhere is None else self._elsewhere.here

    @property
    def ending(self) -> bool:
        """Whether open streams are to end."""
        return self._open.stopped or self._draining()

    def _check_room(self, app_id: str | None) -> None:
        limit = AT_MOST
        if app_id is not None:
            limit -= _KEPT_FOR_OPERATORS
            mine = sum(tail.of_app and tail.selection.app_id == app_id for tail in self._open)
            if mine >= AT_MOST_OF_APP:
                raise errors.WATCHERS_FULL(
                    f"The app {app_id} is watched {mine} times already, which is the most", retry_after=5
                )
        if len(self._open) >= limit:
            raise errors.WATCHERS_FULL(retry_after=5)

    async def close(self) -> None:
        """Ends every stream and returns when they have ended; those that are not read are cut off."""
        await self._open.close()


class _Tail:
    """One open stream."""

    def __init__(
        self,
        tails: Tails,
        watcher: Watcher,
        refuse: Callable[[], SockudoError | None],
        of_app: bool,
        with_lines: bool,
    ) -> None:
        self.watcher = watcher
        self.selection = watcher.selection
        self.of_app = of_app
        self._tails = tails
        self._refuse = refuse
        self._with_lines = with_lines
        self._greeted = False

    def poll(self) -> tuple[bytes, bool]:
        """What there is to tell by now."""
        text = b""
        if not self._greeted:
            self._greeted = True
            text = event_text("hello", msgspec.json.encode({"watching": _shown(self.selection)}))
        entries, skipped = self.watcher.take(_PIECE)
        if entries or skipped:
            text += event_text("entries", msgspec.json.encode({"entries": self._values(entries), "skipped": skipped}))
        reason = errors.DRAINING() if self._tails.ending else self._refuse()
        if reason is None:
            return text, False
        return text + event_text("end", msgspec.json.encode({"error": reason.spec.slug, "text": reason.text})), True

    def _values(self, entries: list[Entry]) -> list[Any]:
        here = self._tails.here
        if here is not None:
            entries = [entry if entry.node else msgspec.structs.replace(entry, node=here) for entry in entries]
        if self.of_app:
            entries = [entry.for_app() for entry in entries]
        if not self._with_lines:
            return list(entries)
        return [{**msgspec.to_builtins(entry), "line": line_of(entry)._asdict()} for entry in entries]


def _nothing() -> None:
    """Streams look by themselves whether there is something."""


def _shown(selection: Selection) -> dict[str, Any]:
    given = {
        "app_id": selection.app_id,
        "channel": selection.channel,
        "user_id": selection.user_id,
        "socket_id": selection.socket_id,
        "kinds": None if selection.kinds is None else sorted(selection.kinds),
    }
    return {name: value for name, value in given.items() if value is not None}
