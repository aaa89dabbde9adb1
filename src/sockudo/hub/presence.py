"""Who is in a presence channel: users, each through one or more connections (spec: websocket § 6.5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from sockudo.hub.connection import Connection
from sockudo.hub.member_list import PAGE, ListedMembers, MemberList

__all__ = ["Cause", "Hold", "Member", "MemberEvent", "MemberEventKind", "Presence"]

MemberEventKind = Literal["member_added", "member_updated", "member_removed"]
Cause = Literal["join", "disconnect", "timeout", "forced_disconnect", "orphan_cleanup"]
"""Why a member came or went; ``orphan_cleanup`` is of members whose node died (spec: history § 8.1)."""


class MemberEvent(NamedTuple):
    """What became of a member. ``socket_id`` is None where no connection did it, ``user_info`` where it is not given.

    ``user_info`` is JSON text, ``node_id`` the node of the connection, None for this one.
    """

    kind: MemberEventKind
    cause: Cause
    user_id: str
    socket_id: str | None = None
    user_info: bytes | None = None
    node_id: str | None = None


class Hold(NamedTuple):
    """One grace period: when it ends, in monotonic seconds, and its number among those of a hub."""

    until: float
    number: int


class Member:
    """One user in one presence channel. ``user_info`` is JSON text, as the newest connection gave it.

    ``hold`` is set while the last connection was lost without a goodbye and may still come back.
    """

    __slots__ = ("connections", "hold", "user_id", "user_info")

    def __init__(self, user_id: str, user_info: bytes) -> None:
        self.user_id = user_id
        self.user_info = user_info
        self.connections: dict[Connection, None] = {}
        self.hold: Hold | None = None


class Presence:
    """The entries of one channel, each owned by the node whose connections it comes from, and who is present by them.

    A user is present while any node has an entry. Iterating, counting and looking up mean this node's own entries;
    ``infos`` and ``user_count`` mean everyone. Returns what changed for the others; announcing it is the caller's part.
    """

    __slots__ = ("_both", "_elsewhere", "_list", "_members")

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}
        # ``user_info`` by user and by the id of the node that owns the entry; None while there are none.
        self._elsewhere: dict[str, dict[str, bytes]] | None = None
        # Users with an entry here and one elsewhere.
        self._both = 0
        # Of a large channel, from the first time that it was asked for.
        self._list: MemberList | None = None

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members.values())

    def __contains__(self, user_id: str) -> bool:
        return user_id in self._members

    def get(self, user_id: str) -> Member | None:
        return self._members.get(user_id)

    @property
    def user_count(self) -> int:
        """Users who are present on any node."""
        if self._elsewhere is None:
            return len(self._members)
        return len(self._members) + len(self._elsewhere) - self._both

    def infos(self) -> dict[str, bytes]:
        """``user_info`` as JSON text by user id, of everyone; of several entries this node's own is shown."""
        infos = {member.user_id: member.user_info for member in self._members.values()}
        for user_id, entries in (self._elsewhere or {}).items():
            if user_id not in infos:
                infos[user_id] = entries[min(entries)]
        return infos

    def info(self, user_id: str) -> bytes | None:
        """What `infos` has of one user; None for one who is on no node."""
        member = self._members.get(user_id)
        if member is not None:
            return member.user_info
        entries = (self._elsewhere or {}).get(user_id)
        return None if entries is None else entries[min(entries)]

    def listed(self) -> ListedMembers:
        """The list of everyone for an acknowledgement; of a large channel only what has changed is made anew."""
        if self._list is None or self._list.outdated:
            self._list = MemberList(self.infos(), self.info)
        listed = self._list.listed()
        if listed.total <= PAGE:
            # Quickly made, and kept by nothing.
            self._list = None
        return listed

    # ---- this node's entries ----

    def join(self, connection: Connection, user_id: str, user_info: bytes) -> bool:
        """True when the others have a new member: the user's first connection anywhere, and none was held for it."""
        member = self._members.get(user_id)
        appeared = member is None and not self.is_elsewhere(user_id)
        if member is None:
            member = self._members[user_id] = Member(user_id, user_info)
            self._both += self.is_elsewhere(user_id)
        member.connections[connection] = None
        member.user_info = user_info
        member.hold = None
        self._touch(user_id)
        return appeared

    def update(self, user_id: str, user_info: bytes) -> None:
        """Replaces a member's ``user_info``."""
        member = self._members[user_id]
        member.user_info = user_info
        self._touch(user_id)

    def leave(self, connection: Connection, user_id: str, hold: Hold | None = None) -> bool:
        """True when this node has lost a member: the user's last connection here, without a grace period.

        With ``hold`` the last connection's member stays until `release` is called for it.
        """
        member = self._members.get(user_id)
        if member is None or connection not in member.connections:
            return False
        del member.connections[connection]
        if member.connections:
            return False
        if hold is not None:
            member.hold = hold
            return False
        self._drop(user_id)
        return True

    def release(self, user_id: str, hold: Hold) -> bool:
        """Ends a grace period that has run out; True when the member is gone by that, False when it came back since,
        even if it was lost again.
        """
        member = self._members.get(user_id)
        if member is None or member.hold != hold:
            return False
        self._drop(user_id)
        return True

    def _drop(self, user_id: str) -> None:
        del self._members[user_id]
        self._both -= self.is_elsewhere(user_id)
        self._touch(user_id)

    def _touch(self, user_id: str) -> None:
        if self._list is not None:
            self._list.touch(user_id)

    def is_present(self, user_id: str) -> bool:
        """Whether any node has an entry of the user."""
        return user_id in self._members or self.is_elsewhere(user_id)

    # ---- entries of other nodes ----

    def is_elsewhere(self, user_id: str) -> bool:
        """Whether another node has an entry of the user."""
        return self._elsewhere is not None and user_id in self._elsewhere

    def of_node(self, node_id: str, users: Iterable[str]) -> dict[str, bytes]:
        """The entries of these users that another node owns: ``user_info`` by user."""
        entries = self._elsewhere or {}
        return {user_id: entries[user_id][node_id] for user_id in users if node_id in entries.get(user_id, ())}

    def change_elsewhere(
        self, node_id: str, put: Mapping[str, bytes], removed: Iterable[str]
    ) -> tuple[dict[str, bytes], list[str]]:
        """Takes over another node's entries; returns who appeared by that, with ``user_info``, and who went."""
        entries = self._elsewhere = self._elsewhere if self._elsewhere is not None else {}
        appeared = {user_id: info for user_id, info in put.items() if not self.is_present(user_id)}
        for user_id, info in put.items():
            infos = entries.get(user_id)
            if infos is None:
                infos = entries[user_id] = {}
                self._both += user_id in self._members
            infos[node_id] = info
            self._touch(user_id)
        gone = []
        for user_id in removed:
            known = entries.get(user_id)
            if known is None or known.pop(node_id, None) is None:
                continue
            self._touch(user_id)
            if known:
                continue
            del entries[user_id]
            if user_id in self._members:
                self._both -= 1
            else:
                gone.append(user_id)
        if not entries:
            self._elsewhere = None
        return appeared, gone
