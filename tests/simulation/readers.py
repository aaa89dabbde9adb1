"""Clients that follow a channel whose messages have numbers, and resume wherever they come back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from simulation.rules import BrokenRuleError
from sockudo.protocol.formats import V2_JSON
from support.inside import Client

if TYPE_CHECKING:
    from simulation.cluster import Cluster
    from simulation.nodes import SimNode

__all__ = ["Reader"]


class Reader:
    """A V2 client of one channel over all of its connections.

    ``place`` is where it is in the channel, None while that is not known. ``breaks`` counts how often it learned that
    the channel does not go on there.
    """

    def __init__(self, cluster: Cluster, room: str, number: int) -> None:
        self.cluster = cluster
        self.room = room
        self.name = f"reader#{number}"
        self.place: tuple[str, int] | None = None
        self.breaks = 0
        self.node: SimNode | None = None
        self._client: Client | None = None
        # Of this connection: where the channel was at the acknowledgement, and whether the own place still counts.
        self.acknowledged = self.refused = False
        self._resumes = self._recovered = False
        self._attached: tuple[str, int] | None = None

    def __str__(self) -> str:
        return f"{self.name} of {self.room}"

    def connect(self, node: SimNode) -> None:
        """Comes (back) on a new connection, and goes on from where it was."""
        self.node = node
        self.acknowledged, self._resumes, self._recovered = False, self.place is not None, False
        self._attached, self.refused = None, False
        self._client = client = node.node.connect(node.node.apps.by_id(self.room), V2_JSON)
        node.readers.append(self)
        if self.place is not None:
            stream_id, serial = self.place
            client.send("pusher:resume", {"channel_positions": {self.room: {"stream_id": stream_id, "serial": serial}}})
        client.subscribe(self.room)

    def drop(self) -> None:
        """The connection is lost, with what was on its way."""
        if self._client is not None and self.node is not None:
            self._client.session.leave(code=1006)
            self.lost()

    def lost(self) -> None:
        """Its node is gone."""
        if self.node is not None:
            self.node.readers.remove(self)
        self.node = self._client = None

    def read(self) -> None:
        """Takes in what was sent since the last look. Raises `BrokenRuleError`."""
        if self._client is None or not self._client.peer.writes:
            return
        for frame in self._client.peer.frames():
            self._take(frame)
        if self.refused:
            self.drop()

    def _take(self, frame: dict[str, Any]) -> None:
        match str(frame["event"]).split(":")[-1]:
            case "subscription_succeeded":
                self.acknowledged = True
                if "serial" in frame:
                    self._attached = (frame["stream_id"], frame["serial"])
                if not self._resumes:
                    self.place = self._attached
                self._settle()
            case "resume_failed":
                self._break(json.loads(frame["data"]))
            case "resume_success":
                self._resume(json.loads(frame["data"]))
            case "said":
                self._take_message((frame["stream_id"], frame["serial"]), frame["data"])
            case "error":
                # It may try again once the store answers.
                if not self.cluster.store.was_away:
                    raise BrokenRuleError(f"{self}: {frame}")
                self.refused = True

    def _break(self, failed: dict[str, Any]) -> None:
        self.breaks += 1
        self.cluster.broke(self, failed)
        current = failed["current_stream_id"]
        if self._resumes or current is None:
            # From here on it is where the channel was when it came.
            self._resumes, self.place = False, self._attached
        else:
            self.place = (current, failed["newest_available_serial"] or 0)

    def _resume(self, result: dict[str, Any]) -> None:
        for entry in result["recovered"]:
            place = (entry["position"]["stream_id"], entry["position"]["serial"])
            if place != self.place:
                raise BrokenRuleError(f"{self}: recovered up to {place}, and is at {self.place}")
        self._recovered = True
        self._settle()

    def _settle(self) -> None:
        """Once it is there and recovered its place moves with what comes alone."""
        if self.acknowledged and self._recovered:
            self._resumes = False

    def _take_message(self, place: tuple[str, int], data: str) -> None:
        if not (self.acknowledged or self._resumes):
            raise BrokenRuleError(f"{self}: {data} before the acknowledgement")
        if self.place is not None and place != (self.place[0], self.place[1] + 1):
            raise BrokenRuleError(f"{self}: {data} at {place} came behind {self.place}")
        self.cluster.ledger.note(self.room, place, data, self.name)
        self.place = place
