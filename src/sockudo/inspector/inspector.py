"""Shows what happens on a node to watchers, and keeps recent problems.

Messages, subscribes and closes are observed only while there is a watcher, so they cost nothing otherwise. Problems are
always kept: they are rare, and a flood of them costs one small object each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sockudo import errors
from sockudo.errors import ErrorSpec
from sockudo.hub.app_state import AppState, Published
from sockudo.hub.connection import Connection
from sockudo.hub.events import (
    Connected,
    ConnectionEnded,
    ConnectionLeft,
    FrameRefused,
    Observers,
    SignedIn,
    Subscribed,
    Unsubscribed,
)
from sockudo.inspector.doubts import Doubts
from sockudo.inspector.entry import PROBLEMS, Entry, Kind
from sockudo.inspector.misnamed import similar_channel
from sockudo.inspector.problems import Problems
from sockudo.inspector.watcher import Selection, Watcher
from sockudo.protocol.frames import Frame
from sockudo.protocol.names import USER_CHANNEL_PREFIX

__all__ = ["Inspector"]

_SHOWN_DATA = 2000

_REFUSED: Final[dict[str, Kind]] = {
    "subscribe": "subscribe_refused",
    "signin": "signin_refused",
    "frame": "frame_refused",
}

# The shortest silence that proxies end connections for, as they come.
_PROXIES_CUT_AFTER = 29.0
_CUT = (
    "a proxy or a network that cuts silent connections, when many are lost after the same time: its read timeout has "
    "to be above activity_timeout + 30 s (`sockudo doctor --idle 70` measures it)"
)


class Inspector:
    """Notifies watchers of what happens, and keeps the last problems. ``time`` is the time of day in seconds."""

    def __init__(self, time: Callable[[], float], observers: Observers | None = None) -> None:
        self._time = time
        self._observers = observers or Observers()
        self._observers.add(ConnectionEnded, self._ended)
        self._observers.add(FrameRefused, self._refused)
        self._watched: dict[type, Callable[[Any], None]] = {
            Connected: self._connected,
            ConnectionLeft: self._left,
            SignedIn: self._signed_in,
            Subscribed: self._subscribed,
            Unsubscribed: self._unsubscribed,
            Published: self._published,
        }
        self._watchers: dict[Watcher, None] = {}
        self.watching = False
        self.problems = Problems()
        self.doubts = Doubts(self.note, time)

    def __len__(self) -> int:
        """How many watch."""
        return len(self._watchers)

    def watch(self, selection: Selection, wake: Callable[[], None], capacity: int = 1000) -> Watcher:
        """From now on, until it is closed, the watcher gathers what fits its selection."""
        watcher = Watcher(self.forget, selection, wake, capacity)
        self._watchers[watcher] = None
        if not self.watching:
            self.watching = True
            for kind, observer in self._watched.items():
                self._observers.add(kind, observer)
        return watcher

    def forget(self, watcher: Watcher) -> None:
        """Ends what `watch` began."""
        self._watchers.pop(watcher, None)
        if self.watching and not self._watchers:
            self.watching = False
            for kind, observer in self._watched.items():
                self._observers.remove(kind, observer)

    def now_ms(self) -> int:
        """The time of day as entries have it."""
        return int(self._time() * 1000)

    def note(self, entry: Entry) -> None:
        """Notifies the watchers whose selection it fits, and keeps it if it is a problem."""
        if entry.kind in PROBLEMS and (entry.kind != "closed" or entry.error is not None):
            self.problems.add(entry)
        for watcher in self._watchers:
            if watcher.selection.accepts(entry):
                watcher.put(entry)

    # ---- connections ----

    def _connected(self, event: Connected) -> None:
        self._of(event.connection, "connected", client=event.client or None, origin=event.origin)

    def connect_refused(
        self,
        spec: ErrorSpec,
        text: str,
        cause: str | None,
        *,
        app_id: str | None,
        address: str | None,
        origin: str | None = None,
        shared_cause: str | None = None,
    ) -> None:
        """A connection was not let in, before or behind its upgrade."""
        self.note(
            Entry(
                self.now_ms(),
                "connect_refused",
                app_id,
                address=address,
                origin=origin,
                error=spec.slug,
                code=spec.ws,
                text=text,
                cause=cause,
                status=spec.status if spec.ws is None else None,
                shared_cause=shared_cause,
            )
        )

    def _ended(self, event: ConnectionEnded) -> None:
        error = event.error
        if error.spec is errors.SERVER_SHUTDOWN and not self.watching:
            # No operator is connected later to ask why.
            return
        self._of(
            event.connection,
            "closed",
            error=error.spec.slug,
            code=error.spec.ws,
            text=error.text,
            cause=error.likely_cause,
            by=event.by,
        )

    def _left(self, event: ConnectionLeft) -> None:
        if event.code is not None:
            self._of(event.connection, "closed", code=event.code, by="client")
            return
        cause = _CUT if event.silent >= _PROXIES_CUT_AFTER else None
        self._of(event.connection, "closed", by="network", silent=int(event.silent), cause=cause)

    def _signed_in(self, event: SignedIn) -> None:
        self._of(event.connection, "signed_in")

    # ---- what clients ask for ----

    def _subscribed(self, event: Subscribed) -> None:
        self._of(event.connection, "subscribed", channel=event.channel.name)

    def _unsubscribed(self, event: Unsubscribed) -> None:
        if event.asked:
            self._of(event.connection, "unsubscribed", channel=event.channel.name, user_id=event.user_id)

    def _refused(self, event: FrameRefused) -> None:
        error = event.error
        self._of(
            event.connection,
            _REFUSED[event.what],
            channel=event.channel,
            event=event.event,
            error=error.spec.slug,
            code=error.spec.ws,
            text=error.text,
            cause=error.likely_cause,
            shared_cause=error.shared_cause,
        )

    def _of(
        self,
        connection: Connection,
        kind: Kind,
        *,
        channel: str | None = None,
        user_id: str | None = None,
        **more: object,
    ) -> None:
        entry = Entry(
            self.now_ms(),
            kind,
            connection.app_id,
            channel,
            connection.socket_id,
            user_id or connection.user_of(channel),
            connection.peer.address,
            **more,  # type: ignore[arg-type]  # fields of an entry, each checked where it is given
        )
        self.note(entry)

    # ---- messages ----

    def _published(self, event: Published) -> None:
        state, frame, exclude, sender, received = event
        channel = frame.channel or ""
        to_user = channel.removeprefix(USER_CHANNEL_PREFIX) if channel.startswith(USER_CHANNEL_PREFIX) else None
        entry: Entry | None = None
        source = state.connection(sender)
        for watcher in self._watchers:
            selection = watcher.selection
            # What another node accepted is shown there, but to those who watch a connection of this node.
            if received and selection.socket_id is None and selection.user_id is None:
                continue
            if not selection.hears(state, channel, source, to_user):
                continue
            if watcher.full:
                watcher.skip()
                continue
            if entry is None:
                entry = self._message(state, frame, exclude, source, to_user, received=received)
            watcher.put(entry)

    def _message(
        self,
        state: AppState,
        frame: Frame,
        exclude: str | None,
        sender: Connection | None,
        to_user: str | None,
        *,
        received: bool,
    ) -> Entry:
        channel = frame.channel or ""
        data = _data_text(frame)
        recipients = _recipients(state, channel, exclude, to_user)
        return Entry(
            self.now_ms(),
            "message",
            state.app_id,
            channel,
            sender.socket_id if sender is not None else None,
            to_user or (sender.user_of(channel) if sender is not None else None),
            sender.peer.address if sender is not None else None,
            event=frame.event,
            cause=None if recipients or to_user is not None else similar_channel(state, channel),
            source="client" if sender is not None else None if received else "api",
            recipients=recipients,
            bytes=len(data),
            data=data[:_SHOWN_DATA].decode("utf-8", "replace"),
            serial=frame.serial,
        )


def _data_text(frame: Frame) -> bytes:
    """The content of a message, as the text that SDKs hand to the page."""
    data = frame.data
    return data.encode("utf-8", "replace") if isinstance(data, str) else bytes(data or b"")


def _recipients(state: AppState, channel: str, exclude: str | None, to_user: str | None) -> int:
    if to_user is not None:
        return sum(connection.socket_id != exclude for connection in state.connections_signed_in(to_user))
    return state.recipients(channel, exclude)
