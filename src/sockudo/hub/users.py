"""Signed-in users and who watches whom (spec: websocket § 8)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from sockudo.hub.connection import Connection, User
from sockudo.hub.outgoing import Outgoing
from sockudo.protocol import frames

__all__ = ["Users"]


class Users:
    """The signed-in users of one app on this node. ``changed`` is told of each that comes online or goes offline."""

    __slots__ = ("_changed", "_users", "_watchers")

    def __init__(self, changed: Callable[[str, bool], None] = lambda _user_id, _online: None) -> None:
        self._changed = changed
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
        """Registers the connection; its watchers and its own watchlist are told what changed.

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
                self._watchers.setdefault(watched, {})[connection] = None
        if came_online:
            self._tell_watchers(user_id, "online", besides=connection)
            self._changed(user_id, True)
        if watchlist:
            online = [watched for watched in watchlist if watched in self._users]
            offline = [watched for watched in watchlist if watched not in self._users]
            connection.send(frames.watchlist_events({"online": online, "offline": offline}))

    def sign_out(self, connection: Connection) -> None:
        """Forgets the connection; the user's watchers are told when it was the last one."""
        user = connection.user
        if user is None:
            return
        connection.user = None
        self._unwatch(connection, user)
        user.connections.pop(connection, None)
        if not user.connections:
            del self._users[user.user_id]
            self._tell_watchers(user.user_id, "offline", besides=connection)
            self._changed(user.user_id, False)

    def _unwatch(self, connection: Connection, user: User) -> None:
        for watched in user.watchlists.pop(connection, ()):
            watchers = self._watchers.get(watched)
            if watchers is not None:
                watchers.pop(connection, None)
                if not watchers:
                    del self._watchers[watched]

    def _tell_watchers(self, user_id: str, what: str, besides: Connection) -> None:
        watchers = self._watchers.get(user_id)
        if not watchers:
            return
        message = Outgoing(frames.watchlist_events({what: [user_id]}), tags=False)
        for watcher in watchers:
            if watcher is not besides:
                watcher.write(message.encoded(watcher.shape))
