"""How a client speaks to the server: protocol and format of the frames (spec: websocket § 2.2 and 16)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

from sockudo.client.events import Event, read_event
from sockudo.client.failures import ClientError
from sockudo.protocol.frames import Frame

__all__ = ["V1", "Format", "Wire"]

Format = Literal["json", "msgpack", "protobuf"]

_V1_NUMBER: Final = "7"


@dataclass(frozen=True, slots=True)
class Wire:
    """What a connection is opened with. Everything but the protocol is for V2.

    ``whole``: appends to messages come with all of their text, and not with the fragment alone. ``pace``: milliseconds
    within which appends to a message come as one (0, 20, 40, 100 or 500), None leaving it to the server.
    """

    protocol: Literal[1, 2] = 1
    format: Format = "json"
    token: str | None = field(default=None, repr=False)
    whole: bool = False
    pace: int | None = None

    @property
    def is_binary(self) -> bool:
        """Whether frames are binary messages."""
        return self.format != "json"

    def parameters(self) -> dict[str, str]:
        """Its part of the connection URL."""
        if self.protocol == 1:
            return {"protocol": _V1_NUMBER}
        given = {
            "protocol": "2",
            "format": self.format if self.is_binary else None,
            "token": self.token,
            "append_mode": "full" if self.whole else None,
            "append_rollup_window": None if self.pace is None else str(self.pace),
        }
        return {name: value for name, value in given.items() if value is not None}

    def encode(self, frame: Mapping[str, Any]) -> str | bytes:
        """The payload of a frame that has an event, and perhaps a channel and data."""
        if not self.is_binary:
            return msgspec.json.encode(frame).decode()
        data = msgspec.Raw(msgspec.json.encode(frame["data"])) if "data" in frame else None
        if self.format == "msgpack":
            from sockudo.protocol import msgpack

            return msgpack.encode(Frame(frame["event"], frame.get("channel"), data))
        from sockudo.protocol import protobuf

        return protobuf.encode(Frame(frame["event"], frame.get("channel"), data))

    def decode(self, payload: str | bytes) -> Event:
        """Read a payload; raises `ClientError` when the server does not speak the protocol."""
        if isinstance(payload, str):
            return read_event(payload)
        if not self.is_binary:
            raise ClientError("The server sent a binary frame to a client that reads JSON.")
        from sockudo.client import binary

        fields = binary.from_msgpack(payload) if self.format == "msgpack" else binary.from_protobuf(payload)
        present = {name: value for name, value in fields.items() if value is not None}
        return read_event(msgspec.json.encode(present).decode())


V1: Final = Wire()
"""What stock clients speak."""
