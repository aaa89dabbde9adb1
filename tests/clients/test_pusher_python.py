"""Pusher's server SDK for Python: publishing, batches, queries and refusals, as its users call it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pusher
import pusher.errors
import pytest
from websockets.sync.client import connect

from clients.node import JsClient
from support.server import ServerProcess

Open = Callable[..., JsClient]


@pytest.fixture
def opened(pusher_js: Open, server: ServerProcess) -> Open:
    """pusher-js on the app that this SDK can use."""
    app = server.numeric_app
    chosen = {"id": app.id, "key": app.key, "secret": app.secret}

    def open_one(**fields: Any) -> JsClient:
        client = pusher_js(app=chosen, **fields)
        client.connected()
        return client

    return open_one


def test_trigger(opened: Open, python_sdk: pusher.Pusher, unique: str) -> None:
    client = opened()
    client.subscribe(unique)
    assert python_sdk.trigger(unique, "tide-rise", {"metres": 2.4, "où": "Öresund 🌊"}) == {"ok": True}
    assert client.data(unique, "tide-rise") == {"metres": 2.4, "où": "Öresund 🌊"}


def test_batch(opened: Open, python_sdk: pusher.Pusher, unique: str) -> None:
    client = opened()
    encrypted = f"private-encrypted-{unique}"
    for channel in (unique, encrypted):
        client.subscribe(channel)
    batch = [
        {"channel": unique, "name": "first", "data": {"n": 1}},
        {"channel": encrypted, "name": "second", "data": {"n": 2}},
        {"channel": unique, "name": "third", "data": "three"},
    ]
    assert python_sdk.trigger_batch(batch) == {}
    assert client.data(unique, "first") == {"n": 1}
    assert client.data(encrypted, "second") == {"n": 2}
    assert client.data(unique, "third") == "three"


def test_queries_carry_the_hash_of_an_empty_body(opened: Open, python_sdk: pusher.Pusher, unique: str) -> None:
    """This SDK signs ``body_md5`` on every GET, which a stricter server refuses (spec: http-api § 2.3)."""
    channel = f"presence-{unique}"
    for user in ("ana", "ana", "ben"):
        opened(member={"user_id": user, "user_info": {}}).subscribe(channel)
    listed = python_sdk.channels_info(f"presence-{unique}", ["user_count"])
    assert listed == {"channels": {channel: {"user_count": 2}}}
    one = python_sdk.channel_info(channel, ["user_count", "subscription_count"])
    assert one == {"occupied": True, "user_count": 2, "subscription_count": 3}
    assert sorted(user["id"] for user in python_sdk.users_info(channel)["users"]) == ["ana", "ben"]
    assert python_sdk.channel_info(f"{unique}-nobody") == {"occupied": False}


def test_terminate_without_the_app_in_the_path(opened: Open, python_sdk: pusher.Pusher, unique: str) -> None:
    """This SDK leaves the app out of the path; the app comes from the key (spec: http-api § 8.1)."""
    client = opened(user={"id": unique})
    client.do("signin")
    client.expect("signin")
    assert python_sdk.terminate_user_connections(unique) == {"ok": True}
    client.expect("state", state="disconnected")


def test_signatures_made_by_this_sdk_are_accepted(server: ServerProcess, python_sdk: pusher.Pusher) -> None:
    with connect(server.ws_url(server.numeric_app.key)) as socket:
        socket_id = json.loads(json.loads(socket.recv())["data"])["socket_id"]
        auth = python_sdk.authenticate("presence-room", socket_id, {"user_id": "7", "user_info": {"name": "Ána"}})
        socket.send(json.dumps({"event": "pusher:subscribe", "data": {"channel": "presence-room", **auth}}))
        joined = json.loads(socket.recv())
        assert joined["event"] == "pusher_internal:subscription_succeeded"
        assert json.loads(joined["data"])["presence"]["hash"] == {"7": {"name": "Ána"}}
        user = python_sdk.authenticate_user(socket_id, {"id": "7", "user_info": {"name": "Ána"}})
        socket.send(json.dumps({"event": "pusher:signin", "data": user}))
        assert json.loads(socket.recv())["event"] == "pusher:signin_success"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"secret": "wrong"}, pusher.errors.PusherBadAuth),
        ({"key": "wrong"}, pusher.errors.PusherBadAuth),
        ({"app_id": "999"}, pusher.errors.PusherError),
    ],
)
def test_wrong_credentials_raise(server: ServerProcess, change: dict[str, str], expected: type[Exception]) -> None:
    app = server.numeric_app
    options: dict[str, Any] = {"app_id": app.id, "key": app.key, "secret": app.secret, **change}
    sdk = pusher.Pusher(ssl=False, host=server.host, port=server.port, **options)
    with pytest.raises(expected):
        sdk.trigger("news", "event", {})
