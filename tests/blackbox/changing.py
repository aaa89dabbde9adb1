"""A server whose messages can change, and a backend that changes them."""

from __future__ import annotations

from typing import Any

from support.server import DEFAULT_APP, STREAMS, Reply, ServerProcess
from support.signing import Credentials

__all__ = ["VERSIONED", "changed", "create", "headers_of", "message_path"]

VERSIONED = {**STREAMS, "versioned_messages": {"enabled": True, "max_page_size": 10}}


def create(
    server: ServerProcess,
    channel: str,
    data: str = "one",
    event: str = "said",
    *,
    app: Credentials = DEFAULT_APP,
    **fields: Any,
) -> dict[str, Any]:
    """Publishes a message and returns its serials."""
    body = {"name": event, "channel": channel, "data": data, "info": "", **fields}
    answer = server.signed("POST", f"/apps/{app.id}/events", app=app, body=body)
    assert answer.status == 200, answer
    entry: dict[str, Any] = answer.json()["channels"][channel]
    return entry


def message_path(channel: str, serial: str, suffix: str = "", app: Credentials = DEFAULT_APP) -> str:
    return f"/apps/{app.id}/channels/{channel}/messages/{serial}{suffix}"


def changed(
    server: ServerProcess, channel: str, serial: str, action: str, *, app: Credentials = DEFAULT_APP, **body: Any
) -> Reply:
    """Asks for a change."""
    return server.signed("POST", message_path(channel, serial, f"/{action}", app), app=app, body=body)


def headers_of(action: str, serials: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """The headers of a version, with the time that it was found to have."""
    return {
        "sockudo_action": f"message.{action}",
        "sockudo_message_serial": serials["message_serial"],
        "sockudo_version_serial": serials["version_serial"],
        "sockudo_history_serial": serials["history_serial"],
        "sockudo_version_timestamp_ms": found["extras"]["headers"]["sockudo_version_timestamp_ms"],
    }
