"""Joining and leaving channels of every kind (spec: websocket § 6): acknowledgements, their order, every refusal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from support.server import DEFAULT_APP, ServerProcess, app_record, start_server
from support.signing import Credentials, channel_auth
from support.waiting import wait_until
from support.websocket import CLOSE, Connect, Event, WebSocket, compact, frame

NAMED_APP = Credentials("named", "named-key", "named-secret")
TALKING_APP = Credentials("talking", "talking-key", "talking-secret")
CROWDED_APP = Credentials("crowded", "crowded-key", "crowded-secret")

NAMESPACE = {"name": "shop", "channel_name_pattern": "^shop:[a-z]+$", "max_channel_name_length": 12}
LIMITED_NAMESPACE = {"name": "room", "allow_user_limited_channels": True}
TALKING = {"enable_subscription_count": True, "enable_subscription_error": True}
PROTECTED = [
    "private-{}",
    "private-encrypted-{}",
    "private-cache-{}",
    "private-encrypted-cache-{}",
    "presence-{}",
    "presence-cache-{}",
]
UNPROTECTED = ["{}", "cache-{}", "#server-to-user-{}"]

NEEDS_AUTH = "Authentication error: Authentication signature required for this channel"
WRONG_AUTH = "Authentication error: Channel requires authentication"


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    apps = [
        app_record(DEFAULT_APP),
        app_record(NAMED_APP, channels={"channel_namespaces": [NAMESPACE, LIMITED_NAMESPACE]}),
        app_record(TALKING_APP, features=TALKING),
        app_record(CROWDED_APP, limits={"max_presence_members_per_channel": 2, "max_presence_member_size_in_kb": 1}),
    ]
    with start_server({"app_manager": {"array": {"apps": apps}}}) as running:
        yield running


def channel_of(server: ServerProcess, name: str, info: str = "") -> Event:
    params = {"info": info} if info else {}
    reply: Event = server.signed("GET", f"/apps/app-id/channels/{name.replace('#', '%23')}", params=params).json()
    return reply


# ---- acknowledgements ----


@pytest.mark.parametrize("pattern", [*UNPROTECTED, *PROTECTED[:4]])
def test_the_acknowledgement(connect: Connect, unique: str, pattern: str) -> None:
    client = connect()
    channel = pattern.format(unique[-60:])
    data = client.subscription(channel)
    client.say("pusher:subscribe", data)
    due = {"event": "pusher_internal:subscription_succeeded", "channel": channel, "data": "{}"}
    assert client.text() == compact(due)


@pytest.mark.parametrize("pattern", PROTECTED[4:])
def test_the_acknowledgement_of_a_presence_channel(connect: Connect, unique: str, pattern: str) -> None:
    client = connect()
    acknowledgement = client.subscribe(pattern.format(unique[-60:]), "u7", {"nick": "Ana"})
    presence = '{"presence":{"ids":["u7"],"hash":{"u7":{"nick":"Ana"}},"count":1}}'
    assert acknowledgement["data"] == presence


def test_data_may_be_a_string_that_holds_json(connect: Connect, unique: str) -> None:
    client = connect()
    client.say("pusher:subscribe", compact({"channel": unique}))
    assert client.event()["channel"] == unique


def test_auth_and_channel_data_are_ignored_where_they_mean_nothing(connect: Connect, unique: str) -> None:
    client = connect()
    client.say("pusher:subscribe", {"channel": unique, "auth": 7, "channel_data": [1]})
    assert client.event()["channel"] == unique
    channel = f"private-{unique}"
    client.say("pusher:subscribe", {"channel": channel, "auth": client.auth(channel), "channel_data": "{}"})
    assert client.event()["channel"] == channel


def test_type_prefixes_are_case_sensitive(connect: Connect, unique: str) -> None:
    connect().subscribe(f"Private-{unique}")


def test_a_name_may_hold_a_colon_while_there_are_no_namespaces(connect: Connect) -> None:
    connect().subscribe("market:btc;a=b,c.d@e#f"[:10])


def test_pipelined_subscribes_are_acknowledged_in_order(connect: Connect, unique: str) -> None:
    client = connect()
    names = [f"{unique}-{number}" for number in range(200)]
    client.send(b"".join(frame(compact({"event": "pusher:subscribe", "data": {"channel": name}})) for name in names))
    assert [client.event()["channel"] for _ in names] == names


# ---- what the frame must hold ----


@pytest.mark.parametrize("data", [None, 7, True, [], "news", '"news"', "[]"])
def test_data_has_to_be_an_object(connect: Connect, data: object) -> None:
    client = connect()
    client.say("pusher:subscribe", data, channel="news")
    client.refused(4000, "Invalid message format: Invalid subscription data")


@pytest.mark.parametrize("data", [{}, {"channel": None}, {"channel": 7}, {"channel": ["news"]}, "{}"])
def test_data_has_to_name_a_channel(connect: Connect, data: object) -> None:
    client = connect()
    client.say("pusher:subscribe", data, channel="news")
    client.refused(4000, "Invalid message format: Missing channel in subscription data")


# ---- names ----


@pytest.mark.parametrize(
    ("channel", "text"),
    [
        ("", "Channel name must not be empty"),
        ("private-", "Channel name is incomplete: 'private-' has nothing after its prefix"),
        ("presence-", "Channel name is incomplete: 'presence-' has nothing after its prefix"),
        ("cache-", "Channel name is incomplete: 'cache-' has nothing after its prefix"),
        (
            "private-encrypted-cache-",
            "Channel name is incomplete: 'private-encrypted-cache-' has nothing after its prefix",
        ),
        ("#", "Channel name is incomplete: '#' has nothing after its prefix"),
        ("##", "Channel name is incomplete: '##' has nothing after its prefix"),
        ("#server-to-user-", "Channel name is incomplete: '#server-to-user-' has nothing after its prefix"),
        ("café\n", "Channel name contains invalid characters: 'café\n' (invalid chars: ['é', '\\n'])"),
        ("a b", "Channel name contains invalid characters: 'a b' (invalid chars: [' '])"),
        ("x" * 201, "Channel name too long. Max length is 200"),
        ("private-" + "x" * 193, "Channel name too long. Max length is 200"),
        ("room#ana", "Channel 'room#ana' uses user-limited syntax but the namespace does not allow it"),
    ],
)
def test_names_that_are_refused(connect: Connect, channel: str, text: str) -> None:
    client = connect()
    client.say("pusher:subscribe", {"channel": channel})
    client.refused(4300, f"Channel error: {text}")


@pytest.mark.parametrize("character", [*"!\"$%&'()+/<>?[\\]^`{|}~ ", "\t", "\x00", "\x7f", "ß", "😀"])
def test_every_other_character_is_refused(connect: Connect, character: str) -> None:
    client = connect()
    client.say("pusher:subscribe", {"channel": f"a{character}b"})
    error = client.event()["data"]
    assert error["code"] == 4300
    assert error["message"].startswith(f"Channel error: Channel name contains invalid characters: 'a{character}b'")


@pytest.mark.parametrize("size", [164, 165, 200])
def test_names_up_to_the_limit(connect: Connect, size: int) -> None:
    connect().subscribe("x" * size)


@pytest.mark.parametrize("channel", ["*", "news-*", "private-*"])
def test_patterns_need_version_two(connect: Connect, channel: str) -> None:
    client = connect()
    client.say("pusher:subscribe", {"channel": channel})
    client.refused(4300, "Channel error: Wildcard subscriptions are only supported on protocol V2")


@pytest.mark.parametrize("channel", ["[meta]news", "[meta]", "[meta]a*"])
def test_metachannels_need_version_two(connect: Connect, channel: str) -> None:
    client = connect()
    client.say("pusher:subscribe", {"channel": channel})
    client.refused(4300, "Channel error: Metachannel subscriptions are only supported on protocol V2")


@pytest.mark.parametrize(
    ("channel", "text"),
    [
        ("market:btc", "Unknown channel namespace 'market'"),
        ("private-market:btc", "Unknown channel namespace 'market'"),
        (":x", "Unknown channel namespace ''"),
        ("shop:", "Channel name is incomplete: 'shop:' has nothing after its prefix"),
        ("shop:7", "Channel 'shop:7' does not match namespace 'shop' pattern"),
        ("shop:" + "a" * 8, "Channel name too long. Max length is 12"),
        ("shop:a#ana", "Channel 'shop:a#ana' uses user-limited syntax but the namespace does not allow it"),
        ("room:a#ana", "Channel 'room:a#ana' is limited to some users, which needs protocol V2"),
        ("room:a#ana#ben", "Channel 'room:a#ana#ben' contains multiple user limit separators"),
        ("room:a#", "Channel 'room:a#' contains an empty user id in its user limit segment"),
        ("room:a#a:b", "Channel 'room:a#a:b' contains an invalid user id in its user limit segment"),
    ],
)
def test_names_of_an_app_with_namespaces(connect: Connect, channel: str, text: str) -> None:
    client = connect(app=NAMED_APP)
    client.say("pusher:subscribe", {"channel": channel})
    client.refused(4300, f"Channel error: {text}")


@pytest.mark.parametrize("channel", ["shop:a", "plain", "room:7"])
def test_names_that_obey_their_namespace(connect: Connect, channel: str) -> None:
    connect(app=NAMED_APP).subscribe(channel)


# ---- authorization ----


@pytest.mark.parametrize("pattern", PROTECTED)
@pytest.mark.parametrize("auth", [None, 7, ["x"], {"auth": "x"}])
def test_a_protected_channel_needs_a_signature(connect: Connect, unique: str, pattern: str, auth: object) -> None:
    client = connect()
    channel = pattern.format(unique[-60:])
    client.say("pusher:subscribe", {"channel": channel, **({} if auth is None else {"auth": auth})})
    client.refused(4009, NEEDS_AUTH)
    client.hears_nothing()


@pytest.mark.parametrize("pattern", PROTECTED)
def test_a_signature_holds_for_one_connection_and_channel(connect: Connect, unique: str, pattern: str) -> None:
    client, other = connect(), connect()
    channel = pattern.format(unique[-60:])
    right = client.subscription(channel, "u7")
    signature = right["auth"].partition(":")[2]
    wrong_app = Credentials("app-id", "app-key", "another secret")
    for auth in (
        "",
        "app-key",
        "app-key:",
        f"app-key:{signature[:-1]}",
        f"app-key:{signature.upper()}",
        f"other-key:{signature}",
        signature,
        f"app-key:{signature} ",
        f"app-key:{'é' * 64}",
        other.subscription(channel, "u7")["auth"],
        client.subscription(f"{channel}-b", "u7")["auth"],
        channel_auth(wrong_app, client.socket_id, channel, right.get("channel_data")),
    ):
        client.say("pusher:subscribe", {**right, "auth": auth})
        client.refused(4009, WRONG_AUTH)
    client.say("pusher:subscribe", right)
    assert client.event()["event"] == "pusher_internal:subscription_succeeded"


def test_channel_data_is_signed_as_it_came(connect: Connect, unique: str) -> None:
    client = connect()
    channel = f"presence-{unique}"
    data = client.subscription(channel, "u7", {"a": 1})
    client.say("pusher:subscribe", {**data, "channel_data": data["channel_data"].replace(",", ", ")})
    client.refused(4009, WRONG_AUTH)


def test_a_refused_subscribe_leaves_the_first_in_place(connect: Connect, server: ServerProcess, unique: str) -> None:
    client = connect()
    channel = f"private-{unique}"
    client.subscribe(channel)
    client.say("pusher:subscribe", {"channel": channel, "auth": "app-key:wrong"})
    client.refused(4009, WRONG_AUTH)
    server.publish(channel, "event", "still here")
    assert client.event()["data"] == "still here"


def test_a_refused_subscribe_joins_nothing(connect: Connect, server: ServerProcess, unique: str) -> None:
    client = connect()
    channel = f"private-{unique}"
    client.say("pusher:subscribe", {"channel": channel, "auth": "app-key:wrong"})
    client.refused(4009, WRONG_AUTH)
    assert channel_of(server, channel) == {"occupied": False}
    server.publish(channel, "event", "secret")
    client.hears_nothing()


# ---- duplicates, order, leaving ----


def test_a_repeated_subscribe_is_acknowledged_again_and_counts_once(
    connect: Connect, server: ServerProcess, unique: str
) -> None:
    client = connect()
    assert client.subscribe(unique) == client.subscribe(unique)
    assert channel_of(server, unique, "subscription_count")["subscription_count"] == 1
    server.publish(unique, "event", "once")
    assert client.event()["data"] == "once"
    client.hears_nothing()


def test_nothing_from_before_the_acknowledgement(connect: Connect, server: ServerProcess, unique: str) -> None:
    first = connect()
    first.subscribe(unique)
    server.publish(unique, "event", "before")
    late = connect()
    late.subscribe(unique)
    server.publish(unique, "event", "after")
    assert [first.event()["data"] for _ in range(2)] == ["before", "after"]
    assert late.event()["data"] == "after"


def test_unsubscribe_is_not_answered_and_takes_effect_at_once(
    connect: Connect, server: ServerProcess, unique: str
) -> None:
    client = connect()
    for data in ({"channel": unique}, compact({"channel": unique}), unique):
        client.subscribe(unique)
        client.say("pusher:unsubscribe", data)
        client.hears_nothing()
        assert channel_of(server, unique) == {"occupied": False}
        server.publish(unique, "event", "gone")
        client.hears_nothing()


@pytest.mark.parametrize("channel", ["never-joined", "", "not legal!", "presence-never-joined", "x" * 300])
def test_unsubscribe_from_what_was_not_joined_is_ignored(connect: Connect, channel: str) -> None:
    client = connect()
    client.say("pusher:unsubscribe", {"channel": channel})
    client.hears_nothing()


@pytest.mark.parametrize(
    ("data", "what"), [(None, "data"), ({}, "channel"), ({"channel": 7}, "channel"), (7, "channel"), ([], "channel")]
)
def test_unsubscribe_has_to_name_a_channel(connect: Connect, data: object, what: str) -> None:
    client = connect()
    client.say("pusher:unsubscribe", data)
    client.refused(4000, f"Invalid message format: Missing {what} in unsubscribe message")


# ---- cache channels ----


@pytest.mark.parametrize("pattern", ["cache-{}", "private-cache-{}", "private-encrypted-cache-{}", "presence-cache-{}"])
def test_cache_channels_keep_their_last_event(
    connect: Connect, server: ServerProcess, unique: str, pattern: str
) -> None:
    channel = pattern.format(unique[-60:])
    first, second = connect(), connect()
    first.subscribe(channel, "u1")
    assert first.text() == compact({"event": "pusher:cache_miss", "channel": channel, "data": "{}"})
    server.publish(channel, "old", "1")
    server.publish(channel, "new", '{"ü":2}')
    assert [first.event()["event"] for _ in range(2)] == ["old", "new"]
    second.subscribe(channel, "u1")
    cached = compact({"event": "new", "channel": channel, "data": '{"ü":2}'})
    assert second.text() == cached
    second.hears_nothing()
    cache = channel_of(server, channel, "cache")["cache"]
    assert cache["data"] == cached
    assert 3590 <= cache["ttl"] <= 3600


def test_the_cached_event_comes_again_with_each_acknowledgement(
    connect: Connect, server: ServerProcess, unique: str
) -> None:
    channel = f"cache-{unique}"
    server.publish(channel, "event", "kept")
    client = connect()
    for _ in range(2):
        client.subscribe(channel)
        assert client.event()["data"] == "kept"


def test_only_the_four_prefixes_make_a_cache_channel(connect: Connect, server: ServerProcess, unique: str) -> None:
    channel = f"my-cache-{unique}"
    server.publish(channel, "event", "not kept")
    client = connect()
    client.subscribe(channel)
    client.hears_nothing()


# ---- presence ----


def member(event: Event) -> tuple[str, Event]:
    return event["event"], json.loads(event["data"])


def test_members_come_and_go(connect: Connect, unique: str) -> None:
    channel = f"presence-{unique}"
    ana, ben = connect(), connect()
    ana.subscribe(channel, "ana")
    acknowledgement = ben.subscribe(channel, "ben", {"nick": "B"})
    assert json.loads(acknowledgement["data"]) == {
        "presence": {"ids": ["ana", "ben"], "hash": {"ana": {}, "ben": {"nick": "B"}}, "count": 2}
    }
    added = {"user_id": "ben", "user_info": {"nick": "B"}}
    due = {"event": "pusher_internal:member_added", "channel": channel, "data": compact(added)}
    assert ana.text() == compact(due)
    ben.hears_nothing()
    ben.say("pusher:unsubscribe", {"channel": channel})
    removed = {"event": "pusher_internal:member_removed", "channel": channel, "data": '{"user_id":"ben"}'}
    assert ana.text() == compact(removed)
    ben.hears_nothing()


@pytest.mark.parametrize(
    ("member_data", "user_id", "user_info"),
    [
        ('{"user_id":"7"}', "7", {}),
        ('{"user_id":7}', "7", {}),
        ('{"user_id":-0}', "0", {}),
        ('{"user_id":12345678901234567890}', "12345678901234567890", {}),
        ('{"user_id":"u","user_info":null}', "u", None),
        ('{"user_id":"u","user_info":"text"}', "u", "text"),
        ('{"user_id":"u","user_info":[1,{"a":2}]}', "u", [1, {"a": 2}]),
        ('{"user_id":"u","user_info":0.5}', "u", 0.5),
        (' {"more":1, "user_info" : {"ü": "😀"}, "user_id":"ü"} ', "ü", {"ü": "😀"}),
        ('{"user_id":"' + "x" * 128 + '"}', "x" * 128, {}),
    ],
)
def test_every_kind_of_member(connect: Connect, unique: str, member_data: str, user_id: str, user_info: object) -> None:
    channel = f"presence-{unique[-60:]}"
    watcher, client = connect(), connect()
    watcher.subscribe(channel, "watcher")
    client.say(
        "pusher:subscribe",
        {"channel": channel, "channel_data": member_data, "auth": client.auth(channel, member_data)},
    )
    presence = json.loads(client.event()["data"])["presence"]
    assert presence["hash"][user_id] == user_info
    assert member(watcher.event()) == ("pusher_internal:member_added", {"user_id": user_id, "user_info": user_info})


@pytest.mark.parametrize(
    ("member_data", "code", "text"),
    [
        (None, 4000, "Invalid message format: Missing channel_data for presence channel"),
        (7, 4000, "Invalid message format: Missing channel_data for presence channel"),
        ({"user_id": "u"}, 4000, "Invalid message format: Missing channel_data for presence channel"),
        ("", 4000, "Invalid message format: Invalid channel_data JSON for presence"),
        ("u7", 4000, "Invalid message format: Invalid channel_data JSON for presence"),
        ("[]", 4000, "Invalid message format: Invalid channel_data JSON for presence"),
        ('{"user_id":"u"', 4000, "Invalid message format: Invalid channel_data JSON for presence"),
        ('{"user_id":"u","user_info":1e999}', 4000, "Invalid message format: Invalid channel_data JSON for presence"),
        ("[" * 20_000, 4000, "Invalid message format: Invalid channel_data JSON for presence"),
        (
            '{"user_id":"u","user_info":' + '{"a":' * 5000 + "1" + "}" * 5000 + "}",
            4000,
            "Invalid message format: Invalid channel_data JSON for presence",
        ),
        ("{}", 4300, "Channel error: Missing user_id in channel_data"),
        ('{"user_id":null}', 4300, "Channel error: Missing user_id in channel_data"),
        ('{"user_id":1.5}', 4300, "Channel error: Missing user_id in channel_data"),
        ('{"user_id":true}', 4300, "Channel error: Missing user_id in channel_data"),
        ('{"user_id":["u"]}', 4300, "Channel error: Missing user_id in channel_data"),
        ('{"user_id":""}', 4300, "Channel error: user_id must have 1 to 128 bytes"),
        ('{"user_id":"' + "x" * 129 + '"}', 4300, "Channel error: user_id must have 1 to 128 bytes"),
        ('{"user_id":"' + "ü" * 65 + '"}', 4300, "Channel error: user_id must have 1 to 128 bytes"),
    ],
)
def test_channel_data_that_is_refused(connect: Connect, member_data: object, code: int, text: str) -> None:
    client = connect()
    channel = "presence-refused"
    data: Event = {"channel": channel, "auth": client.auth(channel, str(member_data))}
    if member_data is not None:
        data["channel_data"] = member_data
    client.say("pusher:subscribe", data)
    client.refused(code, text)
    client.hears_nothing()


def test_channel_data_is_looked_at_after_auth(connect: Connect) -> None:
    client = connect()
    client.say("pusher:subscribe", {"channel": "presence-x"})
    client.refused(4009, NEEDS_AUTH)


def test_several_connections_of_one_user_are_one_member(connect: Connect, unique: str) -> None:
    channel = f"presence-{unique}"
    watcher, *tabs = (connect() for _ in range(4))
    watcher.subscribe(channel, "watcher")
    for number, tab in enumerate(tabs):
        acknowledgement = json.loads(tab.subscribe(channel, "ana", {"tab": number})["data"])
        assert acknowledgement["presence"]["count"] == 2
    assert watcher.event()["event"] == "pusher_internal:member_added"
    watcher.hears_nothing()
    tabs[0].say("pusher:unsubscribe", {"channel": channel})
    tabs[1].send(frame(b"", CLOSE))
    tabs[1].closed(None)
    watcher.hears_nothing()
    tabs[2].reset()
    assert member(watcher.event()) == ("pusher_internal:member_removed", {"user_id": "ana"})


def test_a_repeated_presence_subscribe_shows_the_members_again(connect: Connect, unique: str) -> None:
    channel = f"presence-{unique}"
    ana, ben = connect(), connect()
    ana.subscribe(channel, "ana")
    ben.subscribe(channel, "ben")
    assert ana.event()["event"] == "pusher_internal:member_added"
    again = json.loads(ben.subscribe(channel, "ben")["data"])
    assert again["presence"]["ids"] == ["ana", "ben"]
    ana.hears_nothing()


def test_a_second_user_on_one_connection_is_refused(connect: Connect, server: ServerProcess, unique: str) -> None:
    channel = f"presence-{unique}"
    client = connect()
    client.subscribe(channel, "ana")
    client.say("pusher:subscribe", client.subscription(channel, "ben"))
    client.refused(4009, "Authentication error: already joined as another user")
    users = server.signed("GET", f"/apps/app-id/channels/{channel}/users").json()
    assert users == {"users": [{"id": "ana"}]}
    client.say("pusher:unsubscribe", {"channel": channel})
    client.subscribe(channel, "ben")


def test_a_member_removed_has_the_id_of_its_membership(connect: Connect, unique: str) -> None:
    """Different user ids in different channels of one connection, left by closing it."""
    watcher, client = connect(), connect()
    rooms = {f"presence-{unique}-{user}": user for user in ("ana", "ben")}
    for room, user in rooms.items():
        watcher.subscribe(room, "watcher")
        client.subscribe(room, user)
        assert watcher.event()["event"] == "pusher_internal:member_added"
    client.send(frame(b"", CLOSE))
    for _ in rooms:
        event = watcher.event()
        assert member(event) == ("pusher_internal:member_removed", {"user_id": rooms[event["channel"]]})


def test_a_full_presence_channel(connect: Connect, unique: str) -> None:
    channel = f"presence-{unique}"
    ana, ben, more = (connect(app=CROWDED_APP) for _ in range(3))
    ana.subscribe(channel, "ana")
    ben.subscribe(channel, "ben")
    more.say("pusher:subscribe", more.subscription(channel, "cay"))
    more.refused(4100, "Over capacity")
    more.subscribe(channel, "ben")
    ben.subscribe(channel, "ben")


@pytest.mark.parametrize(("size", "fits"), [(1024 + 1023, True), (2048, False)])
def test_the_size_of_a_member(connect: Connect, unique: str, size: int, fits: bool) -> None:
    client = connect(app=CROWDED_APP)
    channel = f"presence-{unique}"
    data = client.subscription(channel, "ana", "x" * (size - 2))
    client.say("pusher:subscribe", data)
    if fits:
        assert client.event()["event"] == "pusher_internal:subscription_succeeded"
    else:
        client.refused(4300, "Channel error: Presence member data size (2KB) exceeds limit (1KB)")


def test_the_servers_own_presence_limits_hold_where_the_app_sets_none(connect: Connect, unique: str) -> None:
    client = connect()
    channel = f"presence-{unique}"
    client.say("pusher:subscribe", client.subscription(channel, "ana", "x" * 3 * 1024))
    client.refused(4300, "Channel error: Presence member data size (3KB) exceeds limit (2KB)")


@pytest.mark.parametrize("channel_data", ["absent", None])
def test_a_signed_in_user_needs_no_channel_data(connect: Connect, unique: str, channel_data: object) -> None:
    client = connect()
    client.sign_in("ana", user_info={"nick": "A"})
    channel = f"presence-{unique}"
    data: Event = {"channel": channel, "auth": client.auth(channel)}
    if channel_data is None:
        data["channel_data"] = None
    client.say("pusher:subscribe", data)
    presence = json.loads(client.event()["data"])["presence"]
    assert presence == {"ids": ["ana"], "hash": {"ana": {"nick": "A"}}, "count": 1}


# ---- what an app can opt in to ----


def test_subscription_counts(connect: Connect, unique: str) -> None:
    first, second = connect(app=TALKING_APP), connect(app=TALKING_APP)

    def count(client: WebSocket) -> int:
        event = client.event()
        assert (event["event"], event["channel"]) == ("pusher_internal:subscription_count", unique)
        found: int = json.loads(event["data"])["subscription_count"]
        return found

    first.subscribe(unique)
    assert count(first) == 1
    second.subscribe(unique)
    assert (count(first), count(second)) == (2, 2)
    second.reset()
    assert count(first) == 1


def test_subscription_errors(connect: Connect, unique: str) -> None:
    client = connect(app=TALKING_APP)
    channel = f"private-{unique}"
    client.say("pusher:subscribe", {"channel": channel, "auth": "talking-key:wrong"})
    data = {"type": "AuthError", "error": WRONG_AUTH, "status": 401}
    assert client.event() == {"event": "pusher:subscription_error", "channel": channel, "data": data}
    client.refused(4009, WRONG_AUTH)
    client.say("pusher:subscribe", {"channel": "not legal"})
    assert client.event()["data"]["status"] == 400
    assert client.event()["data"]["code"] == 4300


def test_the_likely_mistake_is_logged_for_the_operator_alone(
    connect: Connect, serve: Callable[..., ServerProcess]
) -> None:
    """On a server of its own: refusals by the hundred are not all diagnosed."""
    own = serve()
    client, other = connect(server=own), connect(server=own)
    client.say("pusher:subscribe", {"channel": "private-x", "auth": other.auth("private-x")})
    client.refused(4009, WRONG_AUTH)
    line = wait_until(lambda: next((line for line in own.log.splitlines() if "private-x" in line), None), "the refusal")
    assert f"signed for another connection: socket_id {other.socket_id}" in line
    assert "app-secret" not in own.log
