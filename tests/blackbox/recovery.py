"""Resuming, as a client does it that was cut off (spec: websocket § 12; history § 4)."""

from __future__ import annotations

import json
from typing import Any

from support.websocket import Event, WebSocket

__all__ = ["Answer", "answer_of", "place", "resume"]


def place(frame: Event, **fields: Any) -> Event:
    """The position that a client has after this frame: a message, or the acknowledgement of a subscribe."""
    found = {"stream_id": frame["stream_id"], "serial": frame["serial"]}
    if "message_id" in frame:
        found["last_message_id"] = frame["message_id"]
    return {**found, **fields}


class Answer:
    """Everything that came for one resume: ``replayed`` messages, ``refused`` channels, and what the aggregate says.

    The aggregate has to be the last of it, and to agree with the frames before it.
    """

    def __init__(self, frames: list[Event]) -> None:
        *before, success = frames
        assert list(success) == ["event", "data"], success
        self.frames = before
        self.replayed = [each for each in before if "serial" in each]
        self.refused = [each for each in before if each["event"] == "sockudo:resume_failed"]
        assert len(self.replayed) + len(self.refused) == len(before), before
        data = json.loads(success["data"])
        assert list(data) == ["recovered", "failed"]
        self.recovered = {entry["channel"]: entry for entry in data["recovered"]}
        self.failed = {entry["channel"]: entry for entry in data["failed"]}
        told = {each["channel"]: json.loads(each["data"]) for each in self.refused}
        assert told == self.failed
        assert len(told) == len(self.refused)
        for channel, entry in self.recovered.items():
            assert entry["replayed"] == len([each for each in self.replayed if each["channel"] == channel])

    @property
    def data(self) -> list[str]:
        """The data of what was replayed."""
        return [each["data"] for each in self.replayed]

    def reasons(self) -> dict[str, tuple[str, str]]:
        """Code and reason of each channel that failed."""
        return {channel: (entry["code"], entry["reason"]) for channel, entry in self.failed.items()}


def answer_of(client: WebSocket) -> Answer:
    """Reads to the end of the answer that is under way."""
    frames = [client.event()]
    while frames[-1]["event"] != "sockudo:resume_success":
        frames.append(client.event())
    return Answer(frames)


def resume(client: WebSocket, **positions: Any) -> Answer:
    """Asks for channels from where they were left, and reads the answer to its end."""
    client.say("sockudo:resume", {"channel_positions": positions})
    return answer_of(client)
