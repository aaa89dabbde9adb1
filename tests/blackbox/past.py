"""The routes of a channel's durable past, as an operator and a backend ask them (spec: http-api § 11)."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from blackbox.api import Api
from support.raw import Answer
from support.server import DEFAULT_APP, STREAMS, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.wire import Event

__all__ = [
    "FEW_APP",
    "NAMED_APP",
    "NOTHING",
    "OFF_APP",
    "SMALL_APP",
    "confirm",
    "history_server",
    "page",
    "path_of",
    "publish",
    "purge",
    "reset",
    "serials",
    "state",
]

OFF_APP = Credentials("off", "off-key", "off-secret")
FEW_APP = Credentials("few", "few-key", "few-secret")
SMALL_APP = Credentials("small", "small-key", "small-secret")
NAMED_APP = Credentials("named", "named-key", "named-secret")


NOTHING = {
    "oldest_available_serial": None,
    "newest_available_serial": None,
    "oldest_available_published_at_ms": None,
    "newest_available_published_at_ms": None,
}


def history_server(backend: str) -> ServerProcess:
    """A server with apps that keep everything, nothing, few or small messages; pages have at most 20."""
    rooms = [{"name": "room", "history": {"max_messages_per_channel": 2}}]
    apps = [
        app_record(DEFAULT_APP),
        app_record(OFF_APP, history={"enabled": False}),
        app_record(FEW_APP, history={"max_messages_per_channel": 3}),
        app_record(SMALL_APP, history={"max_bytes_per_channel": 1000}),
        app_record(NAMED_APP, channels={"channel_namespaces": rooms}),
    ]
    history = {"enabled": True, "backend": backend, "max_page_size": 20}
    return start_server({**STREAMS, "history": history, "app_manager": {"array": {"apps": apps}}})


def publish(server: ServerProcess, channel: str, *data: object, **fields: Any) -> None:
    for each in data:
        server.publish(channel, "tide", str(each), **fields)


def path_of(channel: str, rest: str = "history") -> str:
    return f"channels/{quote(channel, safe='')}/{rest}"


def page(api: Api, channel: str, **params: object) -> Event:
    answer = api.get(path_of(channel), {name: str(value) for name, value in params.items()})
    assert answer.status == 200, answer
    found: Event = answer.json()
    return found


def state(api: Api, channel: str) -> Event:
    answer = api.get(path_of(channel, "history/state"))
    assert answer.status == 200, answer
    found: Event = answer.json()
    assert list(found) == ["channel", "stream"]
    assert found["channel"] == channel
    stream: Event = found["stream"]
    return stream


def serials(found: Event) -> list[int]:
    return [item["serial"] for item in found["items"]]


def confirm(channel: str, operation: str, **fields: Any) -> Event:
    return {"confirm_channel": channel, "confirm_operation": operation, "reason": "bad import", **fields}


def reset(api: Api, channel: str, **fields: Any) -> Answer:
    return api.post(path_of(channel, "history/reset"), confirm(channel, "reset", **fields))


def purge(api: Api, channel: str, mode: str = "all", **fields: Any) -> Answer:
    return api.post(path_of(channel, "history/purge"), confirm(channel, "purge", mode=mode, **fields))
