"""Filters of subscriptions, as a client asks for them, and how they are refused."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from support.server import ServerProcess
from support.websocket import Event, WebSocket

__all__ = ["INVALID", "leaf", "publish", "refused"]

INVALID = "Invalid message format: "


def publish(server: ServerProcess, channels: Iterable[str], data: str, event: str = "tide", **fields: Any) -> None:
    """The same message to many channels."""
    body = {"name": event, "channels": list(channels), "data": data, **fields}
    assert server.signed("POST", "/apps/app-id/events", body=body).status == 200


def refused(client: WebSocket, channel: str, **options: Any) -> str:
    """The reason for which a subscribe is refused."""
    client.say("sockudo:subscribe", {"channel": channel, **options})
    error = client.event()
    assert (error["event"], list(error), list(error["data"])) == (
        "sockudo:error",
        ["event", "data"],
        ["code", "message"],
    )
    assert error["data"]["code"] == 4000
    text: str = error["data"]["message"]
    assert text.startswith(INVALID)
    return text.removeprefix(INVALID)


def leaf(cmp: str, **fields: Any) -> Event:
    return {"key": "k", "cmp": cmp, **fields}
