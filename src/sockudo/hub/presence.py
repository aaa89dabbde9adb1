"""Who is in a presence channel: users, each through one or more connections (spec: websocket § 6.5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from sockudo.hub.connection import Connection

__all__ = ["Cause", "Hold", "Member", "MemberEvent", "MemberEventKind", "Presence"]

MemberEventKind = Literal["member_added", "member_updated", "member_removed"]
Cause = Literal["join", "disconnect", "timeout", "forced_disconnect", "orphan_cleanup"]
"""Why a member came or went; ``orphan_cleanup`` is of members whose node died (spec: history § 8.1)."""


class MemberEvent(NamedTuple):
    """What became of a member. ``socket_id`` is None where no connection did it, ``user_info`` where nothing is said.

    ``user_info`` is JSON text.
    """

    kind: MemberEventKind
    cause: Cause
    user_id: str
    socket_id: str | None = None
    user_info: bytes | None = None


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
    """The members of one channel. Says what changed for the others; announcing it is the caller's part."""

    __slots__ = ("_members",)

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members.values())

    def __contains__(self, user_id: str) -> bool:
        return user_id in self._members

    def get(self, user_id: str) -> Member | None:
        return self._members.get(user_id)

    def infos(self) -> dict[str, bytes]:
        """``user_info`` as JSON text by user id."""
        return {member.user_id: member.user_info for member in self._members.values()}

    def join(self, connection: Connection, user_id: str, user_info: bytes) -> bool:
        """True when the others have a new member: the user's first connection, and none was held for it."""
        member = self._members.get(user_id)
        appeared = member is None
        if member is None:
            member = self._members[user_id] = Member(user_id, user_info)
        member.connections[connection] = None
        member.user_info = user_info
        member.hold = None
        return appeared

    def update(self, user_id: str, user_info: bytes) -> None:
        """Replaces what a member says about itself."""
        member = self._members[user_id]
        member.user_info = user_info

    def leave(self, connection: Connection, user_id: str, hold: Hold | None = None) -> bool:
        """True when the others have lost a member: the user's last connection, without a grace period.

        With ``hold`` the last connection's member stays until `release` is told the same.
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
        del self._members[user_id]
        return True

    def release(self, user_id: str, hold: Hold) -> bool:
        """Ends a grace period that has run out; True when the member is gone by that, False when it came back since,
        even if it was lost again.
        """
        member = self._members.get(user_id)
        if member is None or member.hold != hold:
            return False
        del self._members[user_id]
        return True
