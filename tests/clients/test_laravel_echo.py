"""laravel-echo over pusher-js: the settings a Laravel application has for Pusher and for Reverb."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from clients.node import JsClient, NodeSdk

Open = Callable[..., JsClient]

ANA = {"user_id": "1", "user_info": {"id": 1, "name": "Ána"}}
BEN = {"user_id": "2", "user_info": {"id": 2, "name": "Ben"}}


def join(client: JsClient, kind: str, channel: str, **fields: Any) -> None:
    client.do("echoJoin", kind=kind, channel=channel, **fields)
    client.expect("subscribed", channel=channel)


@pytest.fixture(params=["pusher", "reverb"])
def broadcaster(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


def test_connects_and_tells_its_socket_id(echo: Open, broadcaster: str) -> None:
    client = echo(broadcaster=broadcaster)
    assert client.connected() == client.do("echoSocketId")


def test_event_of_a_laravel_class_and_a_named_one(echo: Open, node_sdk: NodeSdk, unique: str, broadcaster: str) -> None:
    client = echo(broadcaster=broadcaster)
    client.connected()
    join(client, "public", unique, events=["OrderShipped", ".order.shipped"])
    node_sdk.trigger(unique, "App\\Events\\OrderShipped", {"order": 7})
    assert client.data(unique, "OrderShipped") == {"order": 7}
    node_sdk.trigger(unique, "order.shipped", {"order": 8})
    assert client.data(unique, ".order.shipped") == {"order": 8}


def test_notification_on_a_private_channel(echo: Open, node_sdk: NodeSdk, unique: str, broadcaster: str) -> None:
    client = echo(broadcaster=broadcaster)
    client.connected()
    join(client, "private", unique)
    event = "Illuminate\\Notifications\\Events\\BroadcastNotificationCreated"
    node_sdk.trigger(f"private-{unique}", event, {"type": "InvoicePaid"})
    assert client.expect("notification", channel=unique)["data"] == {"type": "InvoicePaid"}


def test_refused_private_channel(echo: Open, unique: str, broadcaster: str) -> None:
    client = echo(broadcaster=broadcaster, denied=True)
    client.connected()
    client.do("echoJoin", kind="private", channel=unique)
    assert client.expect("refused", channel=unique)["status"] == 403


def test_encrypted_channel(echo: Open, node_sdk: NodeSdk, unique: str, broadcaster: str) -> None:
    client = echo(broadcaster=broadcaster)
    client.connected()
    join(client, "encrypted", unique, events=[".secret"])
    node_sdk.trigger(f"private-encrypted-{unique}", "secret", {"text": "psst"})
    assert client.data(unique, ".secret") == {"text": "psst"}


def test_presence_here_joining_leaving(echo: Open, unique: str, broadcaster: str) -> None:
    ana = echo(broadcaster=broadcaster, member=ANA)
    ana.connected()
    join(ana, "presence", unique)
    assert ana.expect("here")["members"] == [ANA["user_info"]]
    ben = echo(broadcaster=broadcaster, member=BEN)
    ben.connected()
    join(ben, "presence", unique)
    assert sorted(member["id"] for member in ben.expect("here")["members"]) == [1, 2]
    assert ana.expect("joining")["member"] == BEN["user_info"]
    ben.do("echoLeave", channel=unique)
    assert ana.expect("leaving")["member"] == BEN["user_info"]


def test_whisper(echo: Open, unique: str, broadcaster: str) -> None:
    sender, receiver = echo(broadcaster=broadcaster), echo(broadcaster=broadcaster)
    for client in (sender, receiver):
        client.connected()
        join(client, "private", unique, whispers=["typing"])
    sender.do("echoWhisper", channel=unique, event="typing", data={"name": "Ána ✍️"})
    assert receiver.expect("whisper", event="typing")["data"] == {"name": "Ána ✍️"}


def test_broadcast_to_others(echo: Open, node_sdk: NodeSdk, unique: str, broadcaster: str) -> None:
    author, reader = echo(broadcaster=broadcaster), echo(broadcaster=broadcaster)
    for client in (author, reader):
        client.connected()
        join(client, "public", unique, events=[".comment", ".marker"])
    node_sdk.trigger(unique, "comment", {}, socket_id=author.do("echoSocketId"))
    node_sdk.trigger(unique, "marker", {})
    reader.data(unique, ".comment")
    author.data(unique, ".marker")
    assert author.reports("event", event=".comment") == []


def test_signed_in_user_comes_back_after_forced_reconnect(
    echo: Open, node_sdk: NodeSdk, unique: str, broadcaster: str
) -> None:
    client = echo(broadcaster=broadcaster, user={"id": unique})
    client.connected()
    join(client, "private", unique, events=[".news"])
    client.do("signin")
    client.expect("signin")
    node_sdk.post(f"/users/{unique}/force_reconnect")
    client.connected()
    client.expect("subscribed", channel=unique)
    node_sdk.trigger(f"private-{unique}", "news", {"n": 1})
    assert client.data(unique, ".news") == {"n": 1}


def test_terminated_user_stays_away(echo: Open, node_sdk: NodeSdk, unique: str, broadcaster: str) -> None:
    client = echo(broadcaster=broadcaster, user={"id": unique})
    client.connected()
    client.do("signin")
    client.expect("signin")
    node_sdk.terminate(unique)
    client.expect("state", state="disconnected")
    assert client.do("status")["retrying"] is False


def test_unknown_key_stops_the_client(echo: Open, broadcaster: str) -> None:
    client = echo(broadcaster=broadcaster, app={"id": "none", "key": "no-such-key", "secret": "none"})
    assert client.expect("error")["error"]["code"] == 4001
    client.expect("state", state="disconnected")
    assert client.do("status")["retrying"] is False


def test_five_hundred_events_arrive_in_order(echo: Open, node_sdk: NodeSdk, unique: str) -> None:
    client = echo(broadcaster="reverb")
    client.connected()
    join(client, "public", unique, events=[".count"])
    node_sdk.trigger_many(unique, "count", 500)
    client.expect("event", event=".count", data={"number": 499})
    assert [report["data"]["number"] for report in client.reports("event", event=".count")] == list(range(500))
