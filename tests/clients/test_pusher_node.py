"""Pusher's server SDK for Node: publishing, batches, queries and refusals, as its users call it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clients.node import JsClient, Node, NodeSdk
from support.server import ServerProcess
from support.signing import Credentials

Open = Callable[..., JsClient]

ANA = {"user_id": "ana", "user_info": {}}
BEN = {"user_id": "ben", "user_info": {}}


def present(pusher_js: Open, channel: str, *members: dict[str, Any]) -> list[JsClient]:
    clients = [pusher_js(member=member) for member in members]
    for client in clients:
        client.connected()
        client.subscribe(channel)
    return clients


def test_trigger_with_counts(pusher_js: Open, node_sdk: NodeSdk, unique: str) -> None:
    presence, plain = f"presence-{unique}", unique
    present(pusher_js, presence, ANA, ANA, BEN)
    reply = node_sdk.trigger([presence, plain], "news", {}, info="user_count,subscription_count")
    assert reply["status"] == 200
    channels = reply["body"]["channels"]
    assert {name: {k: v for k, v in entry.items() if k.endswith("count")} for name, entry in channels.items()} == {
        presence: {"user_count": 2, "subscription_count": 3},
        plain: {"subscription_count": 0},
    }


def test_batch_reaches_each_channel(pusher_js: Open, node_sdk: NodeSdk, unique: str) -> None:
    client = pusher_js()
    client.connected()
    names = [f"{unique}-{number}" for number in range(10)]
    for name in names:
        client.subscribe(name)
    reply = node_sdk.trigger_batch([{"channel": name, "name": "news", "data": {"to": name}} for name in names])
    assert reply == {"status": 200, "body": {}}
    for name in names:
        assert client.data(name, "news") == {"to": name}


def test_batch_with_counts_and_exclusion(pusher_js: Open, node_sdk: NodeSdk, unique: str) -> None:
    [author, reader] = present(pusher_js, f"presence-{unique}", ANA, BEN)
    author_id = author.do("status")["socketId"]
    channel = f"presence-{unique}"
    reply = node_sdk.trigger_batch(
        [
            {"channel": channel, "name": "comment", "data": {}, "socket_id": author_id, "info": "user_count"},
            {"channel": channel, "name": "marker", "data": {}},
        ]
    )
    assert [item.get("user_count") for item in reply["body"]["batch"]] == [2, None]
    reader.data(channel, "comment")
    author.data(channel, "marker")
    assert author.reports("event", event="comment") == []


def test_batch_to_an_encrypted_channel(pusher_js: Open, node_sdk: NodeSdk, unique: str) -> None:
    channel = f"private-encrypted-{unique}"
    client = pusher_js()
    client.connected()
    client.subscribe(channel)
    node_sdk.trigger_batch([{"channel": channel, "name": "secret", "data": {"text": "psst"}}])
    assert client.data(channel, "secret") == {"text": "psst"}


def test_channel_list_with_prefix_and_counts(pusher_js: Open, node_sdk: NodeSdk, unique: str) -> None:
    crew, deck = f"presence-{unique}-crew", f"presence-{unique}-deck"
    present(pusher_js, crew, ANA, BEN, BEN)
    present(pusher_js, deck, ANA)
    params = {"filter_by_prefix": f"presence-{unique}", "info": "user_count"}
    assert node_sdk.get("/channels", params) == {
        "status": 200,
        "body": {"channels": {crew: {"user_count": 2}, deck: {"user_count": 1}}},
    }


def test_counts_of_members_need_presence_channels(pusher_js: Open, node_sdk: NodeSdk, unique: str) -> None:
    client = pusher_js()
    client.connected()
    client.subscribe(unique)
    reply = node_sdk.get("/channels", {"info": "user_count"})
    assert (reply["status"], reply["body"]["code"]) == (400, "invalid_input")
    reply = node_sdk.get(f"/channels/{unique}", {"info": "user_count"})
    assert (reply["status"], reply["body"]["code"]) == (400, "invalid_input")


def test_one_channel(pusher_js: Open, node_sdk: NodeSdk, unique: str) -> None:
    channel = f"presence-{unique}"
    params = {"info": "user_count,subscription_count"}
    empty = {"occupied": False, "user_count": 0, "subscription_count": 0}
    assert node_sdk.get(f"/channels/{channel}", params)["body"] == empty
    present(pusher_js, channel, ANA, ANA, BEN)
    full = {"occupied": True, "user_count": 2, "subscription_count": 3}
    assert node_sdk.get(f"/channels/{channel}", params)["body"] == full
    assert node_sdk.get(f"/channels/{channel}")["body"] == {"occupied": True}


def test_last_event_of_a_cache_channel(pusher_js: Open, node_sdk: NodeSdk, unique: str) -> None:
    channel = f"cache-{unique}"
    node_sdk.trigger(channel, "rate", {"eur": 1})
    cache = node_sdk.get(f"/channels/{channel}", {"info": "cache"})["body"]["cache"]
    assert '"rate"' in cache["data"]
    assert 0 < cache["ttl"] <= 3600


def test_users_of_a_presence_channel(pusher_js: Open, node_sdk: NodeSdk, unique: str) -> None:
    channel = f"presence-{unique}"
    assert node_sdk.get(f"/channels/{channel}/users") == {"status": 200, "body": {"users": []}}
    present(pusher_js, channel, ANA, ANA, BEN)
    users = node_sdk.get(f"/channels/{channel}/users")["body"]["users"]
    assert sorted(user["id"] for user in users) == ["ana", "ben"]
    assert node_sdk.get(f"/channels/{unique}/users")["status"] == 400


def test_channel_with_a_colon_is_signed_as_sent(pusher_js: Open, node_sdk: NodeSdk, unique: str) -> None:
    """This SDK leaves the colon in the path alone, where the Python SDK encodes it: both have to verify."""
    client = pusher_js()
    client.connected()
    client.subscribe(f"chat:{unique}")
    assert node_sdk.get(f"/channels/chat:{unique}")["body"] == {"occupied": True}


def test_wrong_credentials_are_told_apart(node: Node, server: ServerProcess, unique: str) -> None:
    app, other = server.app, server.numeric_app
    cases = {
        "wrong secret": (Credentials(app.id, app.key, "wrong"), 401, "auth_failed"),
        "unknown key": (Credentials(app.id, "wrong", app.secret), 401, "auth_failed"),
        "key of another app": (Credentials(app.id, other.key, other.secret), 401, "auth_failed"),
        "unknown app": (Credentials("nobody", app.key, app.secret), 404, "app_not_found"),
    }
    for name, (credentials, status, code) in cases.items():
        reply = NodeSdk(node, server, credentials).trigger(unique, "news", {})
        assert (reply["status"], reply["body"]["code"]) == (status, code), name
        assert reply["body"]["status"] == status
        assert reply["body"]["error"]


def test_unknown_user_terminates_to_ok(node_sdk: NodeSdk, unique: str) -> None:
    assert node_sdk.terminate(f"{unique}-nobody") == {"status": 200, "body": {"ok": True}}
