"""Signed-in users and who watches whom (spec: websocket § 8)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from sockudo.hub.connection import Connection, User
from sockudo.hub.outgoing import Outgoing
from sockudo.protocol import frames

__all__ = ["Users"]


class Users:
    """The signed-in users of one app on this node.

    ``changed`` is called with each that comes online or goes offline here, ``watched`` with each that is on a first
    watchlist here, or on none any more.
    """

    __slots__ = ("_changed", "_elsewhere", "_users", "_watched", "_watchers")

    def __init__(
        self,
        changed: Callable[[str, bool], None] = lambda _user_id, _online: None,
        watched: Callable[[str, bool], None] = lambda _user_id, _watched: None,
    ) -> None:
        self._changed = changed
        self._watched = watched
        # Watched users who are online on another node.
        self._elsewhere: set[str] = set()
        self._users: dict[str, User] = {}
        # By watched user id: the connections to tell, whether or not that user is online.
        self._watchers: dict[str, dict[Connection, None]] = {}

    def __len__(self) -> int:
        return len(self._users)

    def __iter__(self) -> Iterator[str]:
        return iter(self._users)

    def connections(self, user_id: str) -> Iterable[Connection]:
        """The connections signed in as this user; empty when there are none."""
        user = self._users.get(user_id)
        return tuple(user.connections) if user is not None else ()

    def sign_in(self, connection: Connection, user_id: str, user_info: bytes, watchlist: tuple[str, ...]) -> None:
        """Registers the connection; its watchers and its own watchlist are notified of what changed.

        A connection that was another user before moves; one that was this user already replaces its watchlist.
        """
        if connection.user is not None and connection.user.user_id != user_id:
            self.sign_out(connection)
        user = self._users.get(user_id)
        came_online = user is None
        if user is None:
            user = self._users[user_id] = User(user_id)
        self._unwatch(connection, user)
        user.user_info = user_info
        user.connections[connection] = None
        connection.user = user
        if watchlist:
            user.watchlists[connection] = watchlist
            for watched in watchlist:
                watchers = self._watchers.get(watched)
                if watchers is None:
                    watchers = self._watchers[watched] = {}
                    self._watched(watched, True)
                watchers[connection] = None
        if came_online:
            if user_id not in self._elsewhere:
                self._tell_watchers(user_id, "online", besides=connection)
            self._changed(user_id, True)
        if watchlist:
            online = [watched for watched in watchlist if self.is_online(watched)]
            offline = [watched for watched in watchlist if not self.is_online(watched)]
            connection.send(frames.watchlist_events({"online": online, "offline": offline}))

    def sign_out(self, connection: Connection) -> None:
        """Forgets the connection; the user's watchers are notified when it was the last one."""
        user = connection.user
        if user is None:
            return
        connection.user = None
        self._unwatch(connection, user)
        user.connections.pop(connection, None)
        if not user.connections:
            del self._users[user.user_id]
            if user.user_id not in self._elsewhere:
                self._tell_watchers(user.user_id, "offline", besides=connection)
            self._changed(user.user_id, False)

    def _unwatch(self, connection: Connection, user: User) -> None:
        for watched in user.watchlists.pop(connection, ()):
            watchers = self._watchers.get(watched)
            if watchers is not None:
                watchers.pop(connection, None)
                if not watchers:
                    del self._watchers[watched]
                    self._elsewhere.discard(watched)
                    self._watched(watched, False)

    def is_online(self, user_id: str) -> bool:
        """Whether the user is signed in here, or is watched here and signed in on another node."""
        return user_id in self._users or user_id in self._elsewhere

    def change_elsewhere(self, user_id: str, *, online: bool) -> None:
        """Takes over whether a watched user is signed in on another node, and notifies its watchers of a change."""
        if user_id not in self._watchers or online == (user_id in self._elsewhere):
            return
        if online:
            self._elsewhere.add(user_id)
        else:
            self._elsewhere.discard(user_id)
        if user_id not in self._users:
            self._tell_watchers(user_id, "online" if online else "offline", besides=None)

    def watched(self) -> Iterable[str]:
        """The users who are on a watchlist here."""
        return tuple(self._watchers)

    def _tell_watchers(self, user_id: str, what: str, besides: Connection | None) -> None:
        watchers = self._watchers.get(user_id)
        if not watchers:
            return
        message = Outgoing(frames.watchlist_events({what: [user_id]}), tags=False)
        for watcher in watchers:
            if watcher is not besides:
                watcher.write(message.encoded(watcher.shape))
