"""How ``sockudo listen`` shows an event."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any, Final

import typer

from sockudo.cli.tables import printable
from sockudo.client.events import Event

__all__ = ["Printer"]

_MEMBERS: Final = frozenset(("member_added", "member_removed", "presence_update"))
_META: Final = "[meta]"
_ACKNOWLEDGED: Final = "subscription_succeeded"


class Printer:
    """Writes events to standard output: columns for people, one JSON object per line for programs."""

    def __init__(self, *, as_json: bool, everything: bool) -> None:
        self._as_json = as_json
        self._everything = everything

    def wants(self, event: Event) -> bool:
        """Whether the event is for the reader, or only for the protocol."""
        if self._everything or event.is_app_event or event.system in _MEMBERS:
            return True
        return (event.channel or "").startswith(_META) and event.system != _ACKNOWLEDGED

    def write(self, event: Event) -> None:
        """Print one event."""
        typer.echo(_json_line(event) if self._as_json else _columns(event))


def _json_line(event: Event) -> str:
    members: dict[str, Any] = {
        "time": round(time.time(), 3),
        "event": event.event,
        "channel": event.channel,
        "data": event.data,
    }
    rest = {
        "user_id": event.user_id,
        "name": event.name,
        "tags": event.tags,
        "message_id": event.message_id,
        "stream_id": event.stream_id,
        "serial": event.serial,
        "extras": event.extras,
    }
    members |= {name: value for name, value in rest.items() if value is not None}
    return json.dumps(members, ensure_ascii=False)


def _columns(event: Event) -> str:
    data = event.data if isinstance(event.data, str) else json.dumps(event.data, ensure_ascii=False)
    clock = datetime.fromtimestamp(time.time(), UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
    name = event.event if event.name is None else f"{event.event} {event.name}"
    sender = "" if event.user_id is None else f" ({event.user_id})"
    columns = [
        typer.style(clock, dim=True),
        typer.style(printable(event.channel or "-"), fg=typer.colors.CYAN),
        typer.style(printable(name), bold=True) + printable(sender),
        printable(data),
    ]
    marks = [f"{tag}={value}" for tag, value in (event.tags or {}).items()]
    if event.serial is not None:
        marks.append(f"#{event.serial}")
    if event.message_id is not None and event.is_app_event:
        marks.append(event.message_id)
    if marks:
        columns.append(typer.style(printable(" ".join(marks)), dim=True))
    return "  ".join(columns)
