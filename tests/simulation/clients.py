"""Clients that write down what they are sent, and say which rule it breaks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from simulation.rules import BrokenRuleError
from sockudo import errors
from support.inside import Client

if TYPE_CHECKING:
    from simulation.nodes import SimNode

__all__ = ["SimClient"]


class SimClient:
    """A connection of a user, in one channel."""

    def __init__(self, node: SimNode, user: str, room: str, number: int) -> None:
        self.node = node
        self.user = user
        self.room = room
        self.number = number
        self.client: Client = node.node.connect()
        self.acknowledged = False
        self.open = True
        self.members: set[str] = set()
        self.told: list[tuple[str, str]] = []
        self.count: int | None = None
        self.messages: list[tuple[str, int]] = []
        # What was published after its acknowledgement while nothing could get lost.
        self.due: set[tuple[str, int]] = set()
        data = {"user_id": user, "user_info": {"n": number}} if room.startswith("presence-") else None
        self.client.subscribe(room, data)
        node.clients.append(self)

    def __str__(self) -> str:
        return f"{self.user}#{self.number} on {self.node.name} in {self.room}"

    def close(self) -> None:
        """The client closes its connection."""
        if self.open:
            self.open = False
            self.client.session.leave(code=1000)
            self.node.clients.remove(self)

    def send_away(self) -> None:
        """Its node ends the connection, as it drains."""
        self.open = False
        self.client.session.end(errors.SERVER_SHUTDOWN())
        self.node.clients.remove(self)

    def read(self) -> None:
        """Takes in what was sent since the last look. Raises `BrokenRuleError`."""
        for frame in self.client.peer.frames() if self.client.peer.writes else ():
            self._take(frame)

    def _take(self, frame: dict[str, Any]) -> None:
        event = frame["event"]
        if event == "pusher_internal:subscription_succeeded":
            self.acknowledged = True
            data = json.loads(frame["data"] or "{}")
            self.members = set(data["presence"]["ids"]) if "presence" in data else set()
        elif frame.get("channel") == self.room:
            if not self.acknowledged:
                raise BrokenRuleError(f"{self}: {event} before the acknowledgement")
            self._take_event(event, frame)
        elif event == "pusher:error":
            raise BrokenRuleError(f"{self}: {frame}")

    def _take_event(self, event: str, frame: dict[str, Any]) -> None:
        data = json.loads(frame["data"])
        match event:
            case "pusher_internal:member_added":
                self.told.append(("came", data["user_id"]))
                if data["user_id"] in self.members:
                    raise BrokenRuleError(f"{self}: {data['user_id']} was added twice")
                self.members.add(data["user_id"])
            case "pusher_internal:member_removed":
                self.told.append(("left", data["user_id"]))
                if data["user_id"] not in self.members:
                    raise BrokenRuleError(f"{self}: {data['user_id']} was removed and not in")
                self.members.discard(data["user_id"])
            case "pusher_internal:subscription_count":
                self.count = data["subscription_count"]
            case _:
                sender, number = data["from"], data["n"]
                latest = max((n for name, n in self.messages if name == sender), default=0)
                if number <= latest:
                    raise BrokenRuleError(f"{self}: message {number} of {sender} after {latest}")
                self.messages.append((sender, number))
