"""Eight reasons why a client receives nothing, each brought about for real, and what an operator must be told of it."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from support.raw import RawConnection, request_bytes, signed_target
from support.server import DEFAULT_APP, NUMERIC_APP, ServerProcess, app_record
from support.signing import Credentials, channel_auth
from support.waiting import wait_until
from support.websocket import WebSocket

__all__ = ["CAUSES", "Cause", "Scene", "dead_endpoint"]

ORIGIN = "https://harbor.example"
# The scene's own clients and the slow one; one more is over the quota.
_QUOTA = 3
_COUNT, _SIZE = 3000, 1000


@dataclass(frozen=True)
class Cause:
    """What happens, and what is told: kind, error, and words that its text and its likely cause must hold."""

    name: str
    bring_about: Callable[[Scene], None]
    kind: str
    error: str
    told: tuple[str, ...]

    def is_told_by(self, entry: dict[str, Any]) -> bool:
        """Whether an entry is of this cause, with its true reason."""
        words = f"{entry.get('text')} {entry.get('cause')} {entry.get('origin')}"
        return (entry["kind"], entry.get("error")) == (self.kind, self.error) and all(
            word in words for word in self.told
        )


def dead_endpoint() -> str:
    """A URL where nothing listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{held.getsockname()[1]}/hook"


class Scene:
    """A server with one app in which all of it can happen, and the clients it takes. For ``with``."""

    def __init__(self, server: ServerProcess, opened: ExitStack) -> None:
        self.server = server
        self.opened = opened
        self.first = self.connect()
        self.second = self.connect()

    @staticmethod
    def config() -> dict[str, Any]:
        """The configuration of the server."""
        app = app_record(
            DEFAULT_APP,
            features={"enable_client_messages": False},
            limits={"max_connections": _QUOTA},
            channels={"allowed_origins": [ORIGIN]},
            webhooks=[{"url": dead_endpoint(), "event_types": ["channel_occupied"]}],
        )
        return {
            "app_manager": {"array": {"apps": [app, app_record(NUMERIC_APP)]}},
            "webhooks": {"allow_private_addresses": True},
            "websocket": {"max_messages": 100, "max_backpressure": 65_536},
        }

    def connect(self, **fields: Any) -> WebSocket:
        client = self.opened.enter_context(WebSocket(self.server, headers={"Origin": ORIGIN}, **fields))
        return client.greeting()

    def bring_about(self) -> None:
        """All eight, one after the other."""
        for cause in CAUSES:
            cause.bring_about(self)

    def refused_subscribe(self, channel: str, auth: str) -> None:
        self.first.say("pusher:subscribe", {"channel": channel, "auth": auth})
        assert self.first.event()["event"] == "pusher:error"

    def refused_connection(self, code: int, origin: str) -> None:
        with WebSocket(self.server, headers={"Origin": origin}) as client:
            assert client.event()["data"]["code"] == code


def _wrong_secret(scene: Scene) -> None:
    mixed = Credentials(DEFAULT_APP.id, DEFAULT_APP.key, NUMERIC_APP.secret)
    scene.refused_subscribe("private-orders", channel_auth(mixed, scene.first.socket_id, "private-orders"))


def _wrong_secret_http(scene: Scene) -> None:
    wrong = Credentials(DEFAULT_APP.id, DEFAULT_APP.key, "not-the-secret")
    body = {"name": "e", "channel": "harbor", "data": ""}
    assert scene.server.signed("POST", f"/apps/{wrong.id}/events", body=body, app=wrong).status == 401


def _other_socket(scene: Scene) -> None:
    scene.refused_subscribe("private-orders", channel_auth(DEFAULT_APP, scene.second.socket_id, "private-orders"))


def _channel_name(scene: Scene) -> None:
    scene.refused_subscribe("har bor", "")


def _origin(scene: Scene) -> None:
    scene.refused_connection(4009, "https://elsewhere.example")


def _client_events(scene: Scene) -> None:
    scene.first.subscribe("private-orders")
    scene.first.say("client-typing", {}, "private-orders")
    assert scene.first.event()["event"] == "pusher:error"


def _over_quota(scene: Scene) -> None:
    third = scene.connect()
    scene.refused_connection(4004, ORIGIN)
    third.close()
    wait_until(lambda: _connections(scene.server) == _QUOTA - 1, "the third one to be gone")


def _slow_reader(scene: Scene) -> None:
    slow = scene.connect(receive_buffer=4096)
    slow.subscribe("busy")
    body = json.dumps({"name": "e", "channel": "busy", "data": "x" * _SIZE}).encode()
    target = signed_target(DEFAULT_APP, "POST", f"/apps/{DEFAULT_APP.id}/events", body)
    request = request_bytes("POST", target, {"Content-Type": "application/json"}, body)
    with RawConnection(scene.server) as publisher:
        for _ in range(_COUNT // 100):
            publisher.send(request * 100)
            assert all(publisher.answer().status == 200 for _ in range(100))
    wait_until(lambda: _connections(scene.server) == _QUOTA - 1, "the slow one to be given up")


def _dead_endpoint(scene: Scene) -> None:
    """The subscribes before have given the endpoint something that it cannot take."""
    scene.second.subscribe("occupied")


def _connections(server: ServerProcess) -> int:
    stats = server.request("GET", "/stats").json()
    return next(int(app["connections"]) for app in stats["apps"] if app["app_id"] == DEFAULT_APP.id)


CAUSES = (
    Cause(
        "wrong secret",
        _wrong_secret,
        "subscribe_refused",
        "channel_auth_invalid",
        (f"signed with the secret of the app {NUMERIC_APP.id}",),
    ),
    Cause("wrong secret over HTTP", _wrong_secret_http, "request_refused", "signature_mismatch", ("signature",)),
    Cause(
        "other socket id",
        _other_socket,
        "subscribe_refused",
        "channel_auth_invalid",
        ("signed for another connection: socket_id",),
    ),
    Cause("channel name", _channel_name, "subscribe_refused", "channel_name", ("invalid characters", "har bor")),
    Cause("origin", _origin, "connect_refused", "origin_not_allowed", ("https://elsewhere.example",)),
    Cause("client events", _client_events, "frame_refused", "client_event", ("not enabled",)),
    Cause("over quota", _over_quota, "connect_refused", "over_quota", ("quota",)),
    Cause("slow reader", _slow_reader, "closed", "slow_consumer", ("slow consumer", "read too slowly")),
    Cause(
        "dead endpoint",
        _dead_endpoint,
        "webhook_failed",
        "webhook_connection_refused",
        ("Nothing listens at the webhook's address",),
    ),
)
