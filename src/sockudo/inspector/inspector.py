"""Where everything that happens is told, and who hears of it.

Nothing is made of what happens while nobody watches: the ways of messages, subscribes and closes ask ``watching``
first, one attribute. Problems are kept always: they are rare, and a flood of them costs one small object each.
Whatever is told must be told before the state is gone that the entry speaks of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sockudo import errors
from sockudo.errors import ErrorSpec, SockudoError
from sockudo.inspector.doubts import Doubts
from sockudo.inspector.entry import PROBLEMS, By, Entry, Kind
from sockudo.inspector.misnamed import similar_channel
from sockudo.inspector.problems import Problems
from sockudo.inspector.watcher import Selection, Watcher
from sockudo.names import USER_CHANNEL_PREFIX

if TYPE_CHECKING:
    from sockudo.hub.app_state import AppState
    from sockudo.hub.connection import Connection
    from sockudo.protocol.frame import Frame

__all__ = ["Inspector"]

_SHOWN_DATA = 2000

# The shortest silence that proxies end connections for, as they come.
_PROXIES_CUT_AFTER = 29.0
_CUT = (
    "a proxy or a network that cuts silent connections, when many are lost after the same time: its read timeout has "
    "to be above activity_timeout + 30 s (`sockudo doctor --idle 70` measures it)"
)


class Inspector:
    """Tells watchers what happens, and keeps the last problems. ``time`` is the time of day in seconds."""

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self._watchers: dict[Watcher, None] = {}
        self.watching = False
        self.problems = Problems()
        self.doubts = Doubts(self.note, time)

    def __len__(self) -> int:
        """How many watch."""
        return len(self._watchers)

    def watch(self, selection: Selection, wake: Callable[[], None], capacity: int = 1000) -> Watcher:
        """From now on, until it is closed, the watcher gathers what fits its selection."""
        watcher = Watcher(self, selection, wake, capacity)
        self._watchers[watcher] = None
        self.watching = True
        return watcher

    def forget(self, watcher: Watcher) -> None:
        """Ends what `watch` began."""
        self._watchers.pop(watcher, None)
        self.watching = bool(self._watchers)

    def now_ms(self) -> int:
        """The time of day as entries have it."""
        return int(self._time() * 1000)

    def note(self, entry: Entry) -> None:
        """Tells the watchers whose selection it fits, and keeps it if it is a problem."""
        if entry.kind in PROBLEMS and (entry.kind != "closed" or entry.error is not None):
            self.problems.add(entry)
        for watcher in self._watchers:
            if watcher.selection.accepts(entry):
                watcher.put(entry)

    # ---- connections ----

    def connected(self, connection: Connection, client: str, origin: str | None) -> None:
        """A connection was let in; only for watchers. ``client`` says which SDK it is and how it speaks."""
        self._of(connection, "connected", client=client or None, origin=origin)

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

    def ended(self, connection: Connection, error: SockudoError, by: By) -> None:
        """The server ended a connection, of itself or because the app's backend wanted it."""
        if error.spec is errors.SERVER_SHUTDOWN and not self.watching:
            # Nobody will be here to ask why.
            return
        self._of(
            connection,
            "closed",
            error=error.spec.slug,
            code=error.spec.ws,
            text=error.text,
            cause=error.likely_cause,
            by=by,
        )

    def left(self, connection: Connection, code: int | None, silent: float) -> None:
        """A connection was closed from outside; only for watchers. Without a ``code`` it was lost.

        ``silent`` is for how many seconds nothing had come from the client.
        """
        if code is not None:
            self._of(connection, "closed", code=code, by="client")
            return
        cause = _CUT if silent >= _PROXIES_CUT_AFTER else None
        self._of(connection, "closed", by="network", silent=int(silent), cause=cause)

    def signed_in(self, connection: Connection) -> None:
        """A connection is a user's now; only for watchers."""
        self._of(connection, "signed_in")

    # ---- what clients ask for ----

    def subscribed(self, connection: Connection, channel: str) -> None:
        """Only for watchers."""
        self._of(connection, "subscribed", channel=channel)

    def unsubscribed(self, connection: Connection, channel: str) -> None:
        """A connection that stays left a channel; only for watchers."""
        self._of(connection, "unsubscribed", channel=channel)

    def refused(
        self, connection: Connection, kind: Kind, error: SockudoError, channel: str | None, event: str | None
    ) -> None:
        """A client asked for something and did not get it."""
        self._of(
            connection,
            kind,
            channel=channel,
            event=event,
            error=error.spec.slug,
            code=error.spec.ws,
            text=error.text,
            cause=error.likely_cause,
            shared_cause=error.shared_cause,
        )

    def _of(self, connection: Connection, kind: Kind, *, channel: str | None = None, **more: object) -> None:
        entry = Entry(
            self.now_ms(),
            kind,
            connection.app.app_id,
            channel,
            connection.socket_id,
            _user_of(connection, channel),
            connection.peer.address,
            **more,  # type: ignore[arg-type]  # fields of an entry, each checked where it is given
        )
        self.note(entry)

    # ---- messages ----

    def message(self, state: AppState, frame: Frame, exclude: str | None, sender: str | None) -> None:
        """A message is published on a channel; only for watchers.

        ``sender`` and ``exclude`` are sockets; without a sender it comes from the app's backend.
        """
        channel = frame.channel or ""
        to_user = channel.removeprefix(USER_CHANNEL_PREFIX) if channel.startswith(USER_CHANNEL_PREFIX) else None
        entry: Entry | None = None
        source = None if sender is None else state.connections.get(sender)
        for watcher in self._watchers:
            if not watcher.selection.hears(state, channel, source, to_user):
                continue
            if watcher.full:
                watcher.skip()
                continue
            if entry is None:
                entry = self._published(state, frame, exclude, source, to_user)
            watcher.put(entry)

    def _published(
        self,
        state: AppState,
        frame: Frame,
        exclude: str | None,
        sender: Connection | None,
        to_user: str | None,
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
            to_user or (_user_of(sender, channel) if sender is not None else None),
            sender.peer.address if sender is not None else None,
            event=frame.event,
            cause=None if recipients or to_user is not None else similar_channel(state, channel),
            source="api" if sender is None else "client",
            recipients=recipients,
            bytes=len(data),
            data=data[:_SHOWN_DATA].decode("utf-8", "replace"),
            serial=frame.serial,
        )


def _data_text(frame: Frame) -> bytes:
    """What a message says, as the text that SDKs hand to the page."""
    data = frame.data
    return data.encode("utf-8", "replace") if isinstance(data, str) else bytes(data or b"")


def _user_of(connection: Connection, channel: str | None) -> str | None:
    """Who a connection is: the member of this presence channel, else the user that it is signed in as."""
    if channel is not None and connection.members is not None and channel in connection.members:
        return connection.members[channel]
    return connection.user.user_id if connection.user is not None else None


def _recipients(state: AppState, channel: str, exclude: str | None, to_user: str | None) -> int:
    if to_user is not None:
        return sum(connection.socket_id != exclude for connection in state.users.connections(to_user))
    exact = state.channels.get(channel)
    count = exact.subscription_count if exact is not None else 0
    excluded = None if exclude is None else state.connections.get(exclude)
    if excluded is not None:
        count -= channel in excluded.channels
    if state.patterns:
        others = {one for pattern in state.patterns.matching(channel) for one in pattern.subscribers()}
        count += sum(channel not in one.channels and one is not excluded for one in others)
    return count
