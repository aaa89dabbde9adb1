"""pusher-js in Node, with both stock server SDKs behind it: everything a page of an application does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from clients.node import JsClient, NodeSdk
from support.server import ServerProcess, start_server

Open = Callable[..., JsClient]

UNICODE = {"text": "naïve – 漢字 – עברית – 👩‍👩‍👧 – \u2028 – \x01", "ключ": ["ä", "\\", '"', "\u0000"]}
ANA = {"user_id": "ana", "user_info": {"name": "Ána 🛶"}}
BEN = {"user_id": "ben", "user_info": {"name": "Ben"}}


def test_connects_and_is_given_a_socket_id(pusher_js: Open) -> None:
    socket_id = pusher_js().connected()
    first, second = socket_id.split(".")
    assert first.isdigit()
    assert second.isdigit()


def test_idle_client_is_answered_when_it_pings(pusher_js: Open) -> None:
    client = pusher_js(options={"activityTimeout": 200, "pongTimeout": 2000})
    socket_id = client.connected()
    client.expect("pong")
    client.expect("pong")
    assert client.do("status") == {"state": "connected", "socketId": socket_id, "retrying": False}


def test_public_channel(pusher_js: Open, publisher: Any, unique: str) -> None:
    client = pusher_js(app=publisher.app)
    client.connected()
    client.subscribe(unique)
    publisher.trigger(unique, "tide-rise", {"metres": 2.4})
    assert client.data(unique, "tide-rise") == {"metres": 2.4}
    publisher.trigger(unique, "plain", "just text")
    assert client.data(unique, "plain") == "just text"


def test_several_channels_at_once(pusher_js: Open, publisher: Any, unique: str) -> None:
    client = pusher_js(app=publisher.app)
    client.connected()
    channels = [f"{unique}-{number}" for number in range(5)]
    for channel in channels:
        client.subscribe(channel)
    publisher.trigger(channels, "all", {"n": 1})
    for channel in channels:
        assert client.data(channel, "all") == {"n": 1}


def test_unsubscribed_channel_stays_silent(pusher_js: Open, publisher: Any, unique: str) -> None:
    client = pusher_js(app=publisher.app)
    client.connected()
    client.subscribe(f"{unique}-left")
    client.subscribe(f"{unique}-kept")
    client.do("unsubscribe", channel=f"{unique}-left")
    # The server answers one socket in order: the acknowledgement of a later subscribe comes after the leave was done.
    client.subscribe(f"{unique}-marker")
    publisher.trigger([f"{unique}-left", f"{unique}-kept"], "news", {})
    client.data(f"{unique}-kept", "news")
    assert client.reports("event", channel=f"{unique}-left", event="news") == []


@pytest.mark.parametrize("auth_by", ["endpoint", "handler"])
def test_private_channel(pusher_js: Open, publisher: Any, unique: str, auth_by: str) -> None:
    client = pusher_js(app=publisher.app, authBy=auth_by)
    client.connected()
    client.subscribe(f"private-{unique}")
    publisher.trigger(f"private-{unique}", "secret-news", [1, 2, 3])
    assert client.data(f"private-{unique}", "secret-news") == [1, 2, 3]


def test_refusal_by_the_auth_endpoint(pusher_js: Open, unique: str) -> None:
    client = pusher_js(denied=True)
    client.connected()
    client.do("subscribe", channel=f"private-{unique}")
    refusal = client.expect("event", channel=f"private-{unique}", event="pusher:subscription_error")["data"]
    assert refusal["status"] == 403


def test_signature_with_the_wrong_secret_is_refused_and_the_connection_stays(
    pusher_js: Open, server: ServerProcess, unique: str
) -> None:
    forged = {"id": server.app.id, "key": server.app.key, "secret": "not-the-secret"}
    client = pusher_js(app=forged)
    client.connected()
    client.do("subscribe", channel=f"private-{unique}")
    error = client.expect("error")["error"]
    assert error == {"code": 4009, "message": "Authentication error: Channel requires authentication"}
    client.subscribe(unique)
    assert client.reports("event", channel=f"private-{unique}", event="pusher:subscription_succeeded") == []


def test_presence_members_come_and_go(pusher_js: Open, publisher: Any, unique: str) -> None:
    channel = f"presence-{unique}"
    ana = pusher_js(app=publisher.app, member=ANA)
    ana.connected()
    ana.subscribe(channel)
    assert ana.do("members", channel=channel) == {
        "count": 1,
        "me": {"id": "ana", "info": ANA["user_info"]},
        "members": {"ana": ANA["user_info"]},
    }

    ben = pusher_js(app=publisher.app, member=BEN)
    ben.connected()
    ben.subscribe(channel)
    assert ana.data(channel, "pusher:member_added") == {"id": "ben", "info": BEN["user_info"]}
    assert ben.do("members", channel=channel)["members"] == {"ana": ANA["user_info"], "ben": BEN["user_info"]}

    publisher.trigger(channel, "both", {})
    ana.data(channel, "both")
    ben.data(channel, "both")

    ben.close()
    assert ana.data(channel, "pusher:member_removed") == {"id": "ben", "info": BEN["user_info"]}
    assert ana.do("members", channel=channel)["count"] == 1


def test_user_with_several_sockets_joins_once_and_leaves_once(pusher_js: Open, node_sdk: NodeSdk, unique: str) -> None:
    channel = f"presence-{unique}"
    watcher = pusher_js(member=BEN)
    watcher.connected()
    watcher.subscribe(channel)
    tabs = [pusher_js(member=ANA) for _ in range(3)]
    for tab in tabs:
        tab.connected()
        tab.subscribe(channel)
    assert tabs[2].do("members", channel=channel)["count"] == 2

    tabs[0].close()
    tabs[1].do("unsubscribe", channel=channel)
    tabs[1].subscribe(f"{unique}-marker")
    node_sdk.trigger(channel, "marker", {})
    watcher.data(channel, "marker")
    assert watcher.do("members", channel=channel)["count"] == 2
    tabs[2].close()
    watcher.data(channel, "pusher:member_removed")
    assert len(watcher.reports("event", channel=channel, event="pusher:member_added")) == 1
    assert len(watcher.reports("event", channel=channel, event="pusher:member_removed")) == 1


def test_encrypted_channel_is_opaque_to_the_server(pusher_js: Open, publisher: Any, unique: str) -> None:
    channel = f"private-encrypted-{unique}"
    client = pusher_js(app=publisher.app, raw=True)
    client.connected()
    client.subscribe(channel)
    publisher.trigger(channel, "whisper", {"plain": "for your eyes only"})
    assert client.data(channel, "whisper") == {"plain": "for your eyes only"}
    report = client.mailbox.next(
        lambda each: each["type"] == "frame" and each["frame"]["event"] == "whisper", "the frame as it came"
    )
    assert set(report["frame"]["data"]) == {"nonce", "ciphertext"}


@pytest.mark.parametrize("prefix", ["cache-", "private-cache-", "private-encrypted-cache-", "presence-cache-"])
def test_cache_channel_misses_then_replays_the_last_event(
    pusher_js: Open, publisher: Any, unique: str, prefix: str
) -> None:
    channel = f"{prefix}{unique}"
    early = pusher_js(app=publisher.app, member=ANA)
    early.connected()
    early.subscribe(channel)
    early.expect("event", channel=channel, event="pusher:cache_miss")
    publisher.trigger(channel, "rate", {"eur": 1})
    publisher.trigger(channel, "rate", {"eur": 2})
    assert early.data(channel, "rate") == {"eur": 1}

    late = pusher_js(app=publisher.app, member=BEN)
    late.connected()
    late.subscribe(channel)
    assert late.data(channel, "rate") == {"eur": 2}
    publisher.trigger(channel, "rate", {"eur": 3})
    assert late.data(channel, "rate") == {"eur": 3}
    assert late.reports("event", channel=channel, event="pusher:cache_miss") == []
    assert len(late.reports("event", channel=channel, event="rate")) == 2


def test_client_event_reaches_the_others_only(pusher_js: Open, unique: str) -> None:
    channel = f"private-{unique}"
    sender, receiver = pusher_js(), pusher_js()
    for client in (sender, receiver):
        client.connected()
        client.subscribe(channel)
    assert sender.do("clientEvent", channel=channel, event="client-typing", data={"cursor": 7}) is True
    assert receiver.data(channel, "client-typing") == {"cursor": 7}
    receiver.do("clientEvent", channel=channel, event="client-seen", data=None)
    sender.data(channel, "client-seen")
    assert sender.reports("event", channel=channel, event="client-typing") == []


def test_client_event_on_presence_names_its_sender(pusher_js: Open, unique: str) -> None:
    channel = f"presence-{unique}"
    sender, receiver = pusher_js(member=ANA), pusher_js(member=BEN)
    for client in (sender, receiver):
        client.connected()
        client.subscribe(channel)
    receiver.do("listen", channel=channel, event="client-typing")
    sender.do("clientEvent", channel=channel, event="client-typing", data={})
    assert receiver.expect("heard", event="client-typing")["userId"] == "ana"


def test_signin_and_events_for_the_user(pusher_js: Open, publisher: Any, unique: str) -> None:
    tabs = [pusher_js(app=publisher.app, user={"id": unique, "user_info": {"name": "Ana"}}) for _ in range(2)]
    stranger = pusher_js(app=publisher.app, user={"id": f"{unique}-other"})
    for client in [*tabs, stranger]:
        client.connected()
        client.do("signin")
        client.expect("signin")
    publisher.send_to_user(unique, "invitation", {"from": "Ben"})
    for tab in tabs:
        assert tab.expect("user", event="invitation")["data"] == {"from": "Ben"}
    publisher.send_to_user(f"{unique}-other", "marker", {})
    stranger.expect("user", event="marker")
    assert stranger.reports("user", event="invitation") == []


def test_signin_with_the_wrong_secret_is_refused(pusher_js: Open, server: ServerProcess, unique: str) -> None:
    forged = {"id": server.app.id, "key": server.app.key, "secret": "not-the-secret"}
    client = pusher_js(app=forged, user={"id": unique})
    client.connected()
    client.do("signin")
    assert client.expect("error")["error"]["code"] == 4009
    assert client.do("status")["state"] == "connected"


def test_watchlist_says_who_is_online(pusher_js: Open, unique: str) -> None:
    friend, absent = f"{unique}-friend", f"{unique}-absent"
    watcher = pusher_js(user={"id": unique, "watchlist": [friend, absent]})
    watcher.connected()
    watcher.do("signin")
    assert set(watcher.expect("watchlist", event="offline")["userIds"]) == {friend, absent}
    other = pusher_js(user={"id": friend})
    other.connected()
    other.do("signin")
    assert watcher.expect("watchlist", event="online")["userIds"] == [friend]
    other.close()
    assert watcher.expect("watchlist", event="offline")["userIds"] == [friend]


def test_terminated_user_is_told_and_stays_away(pusher_js: Open, publisher: Any, unique: str) -> None:
    client = pusher_js(app=publisher.app, user={"id": unique})
    bystander = pusher_js(app=publisher.app, user={"id": f"{unique}-bystander"})
    for each in (client, bystander):
        each.connected()
        each.do("signin")
        each.expect("signin")
    publisher.terminate(unique)
    assert client.expect("error")["error"] == {"code": 4009, "message": "You got disconnected by the app."}
    client.expect("state", state="disconnected")
    assert client.do("status")["retrying"] is False
    assert bystander.do("status")["state"] == "connected"


def test_publisher_can_leave_one_socket_out(pusher_js: Open, publisher: Any, unique: str) -> None:
    author, reader = pusher_js(app=publisher.app), pusher_js(app=publisher.app)
    author_id = author.connected()
    reader.connected()
    author.subscribe(unique)
    reader.subscribe(unique)
    publisher.trigger(unique, "comment", {}, socket_id=author_id)
    publisher.trigger(unique, "marker", {})
    reader.data(unique, "comment")
    author.data(unique, "marker")
    assert author.reports("event", channel=unique, event="comment") == []


def test_forced_reconnect_comes_back_with_its_channels(pusher_js: Open, node_sdk: NodeSdk, unique: str) -> None:
    channel = f"private-{unique}"
    client = pusher_js(user={"id": unique})
    before = client.connected()
    client.subscribe(channel)
    client.do("signin")
    client.expect("signin")
    assert node_sdk.post(f"/users/{unique}/force_reconnect") == {"status": 200, "body": {"ok": True}}
    assert client.expect("error")["error"] == {"code": 4200, "message": "Force reconnect requested by the app."}
    after = client.connected()
    assert after != before
    client.expect("event", channel=channel, event="pusher:subscription_succeeded")
    client.expect("signin")
    node_sdk.trigger(channel, "again", {"n": 1})
    assert client.data(channel, "again") == {"n": 1}
    node_sdk.send_to_user(unique, "again", {"n": 2})
    assert client.expect("user", event="again")["data"] == {"n": 2}


def test_stopping_server_asks_its_clients_to_come_back(pusher_js: Open, unique: str) -> None:
    """That they do come back is shown with pysher: pusher-js tries an address that refused it again after 15 s only."""
    with start_server() as stopping:
        client = pusher_js(server=stopping)
        client.connected()
        client.subscribe(unique)
        assert stopping.terminate() == 0
        assert client.expect("error")["error"] == {"code": 4200, "message": "Server shutting down"}
        client.expect("state", previous="connected", state="connecting")


def test_unknown_key_stops_the_client(pusher_js: Open) -> None:
    client = pusher_js(key="no-such-key")
    error = client.expect("error")["error"]
    assert error == {"code": 4001, "message": "Application does not exist"}
    client.expect("state", state="disconnected")
    assert client.do("status")["retrying"] is False


def test_five_hundred_events_arrive_in_order(pusher_js: Open, node_sdk: NodeSdk, unique: str) -> None:
    readers = [pusher_js() for _ in range(3)]
    for reader in readers:
        reader.connected()
        reader.subscribe(unique)
    node_sdk.trigger_many(unique, "count", 500)
    for reader in readers:
        reader.expect("event", channel=unique, event="count", data={"number": 499})
        numbers = [report["data"]["number"] for report in reader.reports("event", channel=unique, event="count")]
        assert numbers == list(range(500))


def test_unicode_everywhere(pusher_js: Open, publisher: Any, unique: str) -> None:
    channel = f"presence-{unique}"
    ana, ben = pusher_js(app=publisher.app, member=ANA), pusher_js(app=publisher.app, member=BEN)
    for client in (ana, ben):
        client.connected()
        client.subscribe(channel)
    assert ben.do("members", channel=channel)["members"]["ana"] == {"name": "Ána 🛶"}
    publisher.trigger(channel, "événement 🌊", UNICODE)
    assert ben.data(channel, "événement 🌊") == UNICODE
    ana.do("clientEvent", channel=channel, event="client-écrit-✍️", data=UNICODE)
    assert ben.data(channel, "client-écrit-✍️") == UNICODE
