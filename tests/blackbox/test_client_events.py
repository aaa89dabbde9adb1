"""Events that clients send to each other (spec: websocket § 7): every refusal in its order, and what is delivered."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.server import DEFAULT_APP, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.websocket import Connect, WebSocket, compact

QUIET_APP = Credentials("quiet", "quiet-key", "quiet-secret")
TIGHT_APP = Credentials("tight", "tight-key", "tight-secret")
NO_WILDCARDS = "Client events cannot target wildcard subscription channels"
ONLY_PROTECTED = "Client events can only be sent to private or presence channels"
TIGHT = {"max_event_name_length": 20, "max_channel_name_length": 30, "max_event_payload_in_kb": 1}


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    apps = [app_record(DEFAULT_APP), app_record(QUIET_APP, features={}), app_record(TIGHT_APP, limits=TIGHT)]
    with start_server({"app_manager": {"array": {"apps": apps}}}) as running:
        yield running


def pair(connect: Connect, channel: str) -> tuple[WebSocket, WebSocket]:
    """Two subscribers; on a presence channel ana, who learns of ben."""
    ana, ben = connect(), connect()
    ana.subscribe(channel, "ana")
    ben.subscribe(channel, "ben")
    if channel.startswith("presence-"):
        assert ana.event()["event"] == "pusher_internal:member_added"
    return ana, ben


def test_the_others_get_it_and_the_sender_nothing(connect: Connect, unique: str) -> None:
    channel = f"private-{unique}"
    ana, ben = pair(connect, channel)
    ana.say("client-typing", {"on": True}, channel)
    assert ben.text() == compact({"event": "client-typing", "channel": channel, "data": {"on": True}})
    ana.hears_nothing()
    ben.hears_nothing()


def test_presence_channels_name_the_sender(connect: Connect, unique: str) -> None:
    channel = f"presence-{unique}"
    ana, ben = pair(connect, channel)
    ben.say("client-typing", "x", channel)
    due = {"event": "client-typing", "channel": channel, "data": "x", "user_id": "ben"}
    assert ana.text() == compact(due)


@pytest.mark.parametrize(
    "data",
    [
        '{"b":1,"a":2}',
        '{ "spaced" : [ 1 , 2 ] }',
        "-0.0",
        "1.0",
        "1E2",
        "123456789012345678901234567890",
        '{"a":1,"a":2}',
        '"\\u00e9\\/"',
        '"\\ud83d\\ude00 ü"',
        '"{\\"json\\":\\"in a string\\"}"',
        "true",
        "[]",
    ],
)
def test_data_is_forwarded_byte_for_byte(connect: Connect, unique: str, data: str) -> None:
    channel = f"private-{unique}"
    ana, ben = pair(connect, channel)
    ana.say_text(f'{{"event":"client-x","channel":"{channel}","data": {data} }}')
    assert ben.text() == f'{{"event":"client-x","channel":"{channel}","data":{data}}}'


def test_missing_data_is_null(connect: Connect, unique: str) -> None:
    channel = f"private-{unique}"
    ana, ben = pair(connect, channel)
    ana.say("client-x", channel=channel)
    assert ben.text() == f'{{"event":"client-x","channel":"{channel}","data":null}}'


def test_data_that_is_not_json_is_malformed(connect: Connect, unique: str) -> None:
    channel = f"private-{unique}"
    ana, ben = pair(connect, channel)
    ana.say_text(f'{{"event":"client-x","channel":"{channel}","data":{{"a":1e400}}}}')
    assert ana.event()["data"]["code"] == 4000
    ben.hears_nothing()


def test_other_fields_are_dropped(connect: Connect, unique: str) -> None:
    channel = f"private-{unique}"
    ana, ben = pair(connect, channel)
    extra = {"user_id": "boss", "name": "n", "tags": {"a": "b"}, "extras": {"headers": {}}, "unknown": 1}
    ana.say_text(compact({"event": "client-x", "channel": channel, "data": 1, **extra}))
    assert ben.event() == {"event": "client-x", "channel": channel, "data": 1}


@pytest.mark.parametrize("event", ["client-x", "client- spaces ", "client-😀", "client-client-", "client-" + "x" * 193])
def test_names_that_count_as_client_events(connect: Connect, unique: str, event: str) -> None:
    channel = f"private-{unique[:40]}"
    ana, ben = pair(connect, channel)
    ana.say(event, 1, channel)
    assert ben.event()["event"] == event


@pytest.mark.parametrize("event", ["Client-x", "client_x", "client", " client-x", "pusher:client-x"])
def test_names_that_do_not_are_ignored(connect: Connect, unique: str, event: str) -> None:
    channel = f"private-{unique}"
    ana, ben = pair(connect, channel)
    ana.say(event, 1, channel)
    ana.hears_nothing()
    ben.hears_nothing()


def test_an_app_without_client_events(connect: Connect, unique: str) -> None:
    client = connect(app=QUIET_APP)
    client.subscribe(f"private-{unique}")
    client.say("client-x", 1, f"private-{unique}")
    client.refused(4301, "Client event error: Client events are not enabled for this app")
    client.say("client-", None)
    client.refused(4301, "Client event error: Client events are not enabled for this app")


@pytest.mark.parametrize(
    ("event", "channel", "code", "text"),
    [
        ("client-", "private-x", 4000, "Invalid event name: a client event needs a name after 'client-'"),
        ("client-" + "x" * 14, None, 4000, "Invalid event name: Event name exceeds maximum length of 20"),
        ("client-" + "ü" * 7, None, 4000, "Invalid event name: Event name exceeds maximum length of 20"),
        ("client-x", None, 4301, "Client event error: Channel required for client event"),
        ("client-x", "x" * 31, 4300, "Channel error: Channel name too long. Max length is 30"),
        ("client-x", "ü" * 16, 4300, "Channel error: Channel name too long. Max length is 30"),
        (
            "client-x",
            "private-*",
            4301,
            f"Client event error: {NO_WILDCARDS}",
        ),
        ("client-x", "*", 4301, f"Client event error: {NO_WILDCARDS}"),
        ("client-x", "[meta]private-x", 4301, "Client event error: Client events cannot target metachannels"),
    ]
    + [
        (
            "client-x",
            channel,
            4301,
            f"Client event error: {ONLY_PROTECTED}",
        )
        for channel in (
            "",
            "public",
            "cache-x",
            "private-cache-x",
            "presence-cache-x",
            "private-encrypted-x",
            "private-encrypted-cache-x",
            "#server-to-user-x",
            "Private-x",
        )
    ],
)
def test_refusals_in_their_order(connect: Connect, event: str, channel: str | None, code: int, text: str) -> None:
    """Each with data over the limit and without a subscription, which are looked at later."""
    client = connect(app=TIGHT_APP)
    client.say(event, "x" * 2000, channel)
    client.refused(code, text)


def test_a_channel_inside_data_does_not_count(connect: Connect) -> None:
    client = connect()
    client.say("client-x", {"channel": "private-x"})
    client.refused(4301, "Client event error: Channel required for client event")


def test_data_over_the_limit(connect: Connect) -> None:
    client = connect(app=TIGHT_APP)
    client.say("client-x", "x" * 1023, "private-x")
    client.refused(4301, "Client event error: Payload size (1025 bytes) exceeds limit (1KB)")


def test_data_at_the_limit(connect: Connect) -> None:
    ana, ben = connect(app=TIGHT_APP), connect(app=TIGHT_APP)
    ana.subscribe("private-x")
    ben.subscribe("private-x")
    ana.say("client-x", "x" * 1022, "private-x")
    assert ben.event()["data"] == "x" * 1022


@pytest.mark.parametrize("channel", ["private-other", "presence-other", "private-not legal!"])
def test_the_sender_has_to_be_subscribed(connect: Connect, unique: str, channel: str) -> None:
    client = connect()
    client.subscribe(f"private-{unique}")
    client.say("client-x", 1, channel)
    client.refused(4301, f"Client event error: Socket {client.socket_id} is not subscribed to channel {channel}")


def test_after_unsubscribing_it_no_longer_is(connect: Connect, unique: str) -> None:
    channel = f"private-{unique}"
    ana, ben = pair(connect, channel)
    ana.say("pusher:unsubscribe", {"channel": channel})
    ana.say("client-x", 1, channel)
    ana.refused(4301, f"Client event error: Socket {ana.socket_id} is not subscribed to channel {channel}")
    ben.hears_nothing()


def test_the_order_of_events_is_kept(connect: Connect, server: ServerProcess, unique: str) -> None:
    channel = f"private-{unique}"
    ana, ben = pair(connect, channel)
    for number in range(200):
        ana.say("client-count", number, channel)
    assert [ben.event()["data"] for _ in range(200)] == list(range(200))


def test_events_of_several_senders_each_leave_out_their_own(connect: Connect, unique: str) -> None:
    channel = f"private-{unique}"
    clients = [connect() for _ in range(4)]
    for client in clients:
        client.subscribe(channel)
    for number, client in enumerate(clients):
        client.say("client-x", number, channel)
    for number, client in enumerate(clients):
        heard = {client.event()["data"] for _ in range(3)}
        assert heard == {0, 1, 2, 3} - {number}
        client.hears_nothing()
