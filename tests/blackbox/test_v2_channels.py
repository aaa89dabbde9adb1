"""Channels that only protocol V2 has, and rules that only hold there: patterns, channels about channels, namespaces,
channels for some users, filters (spec: websocket § 6.2, 6.7, 6.8 and 11.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.server import DEFAULT_APP, STREAMS, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.websocket import CLOSE, Connect, Event, WebSocket, frame

NAMED_APP = Credentials("named", "named-key", "named-secret")

NAMESPACES = [
    {"name": "room", "allow_user_limited_channels": True},
    {"name": "shop"},
    {"name": "deaf", "allow_subscribe_for_client": False},
    {"name": "mute", "allow_publish_for_client": False},
    {"name": "veiled", "allow_presence_for_client": False},
]
SIGN = "Authentication error: "


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    apps = [app_record(DEFAULT_APP), app_record(NAMED_APP, channels={"channel_namespaces": NAMESPACES})]
    with start_server({**STREAMS, "app_manager": {"array": {"apps": apps}}}) as running:
        yield running


def heard(client: WebSocket) -> list[tuple[str, str]]:
    """Channel and data of everything that has been said to the client."""
    return [(each["channel"], each["data"]) for each in client.until_pong()]


# ---- patterns ----


@pytest.mark.parametrize(
    ("pattern", "fitting", "others"),
    [
        ("{}-a*", ["{}-a", "{}-ab", "{}-a:b"], ["{}-b", "x{}-a"]),
        ("*{}-z", ["{}-z", "y{}-z", "cache-{}-z"], ["{}-zz"]),
        ("{}-a*z", ["{}-az", "{}-abz"], ["{}-a", "{}-z", "{}-azy"]),
        ("cache-{}*", ["cache-{}"], ["{}"]),
    ],
)
def test_a_pattern_hears_the_public_channels_that_fit(
    connect_v2: Connect, server: ServerProcess, unique: str, pattern: str, fitting: list[str], others: list[str]
) -> None:
    client = connect_v2()
    mark = unique[-40:]
    assert client.subscribe(pattern.format(mark)) == {
        "event": "sockudo_internal:subscription_succeeded",
        "channel": pattern.format(mark),
        "data": "{}",
    }
    for channel in (*others, *fitting):
        server.publish(channel.format(mark), "tide", "high")
    assert heard(client) == [(channel.format(mark), "high") for channel in fitting]


def test_a_star_alone_hears_everything_public_and_nothing_else(
    connect_v2: Connect, server: ServerProcess, unique: str
) -> None:
    client = connect_v2()
    client.subscribe("*")
    mark = unique[-60:]
    connect_v2().subscribe(f"[meta]{mark}")
    connect_v2().subscribe(mark)
    for prefix in ("private-", "presence-", "private-cache-", "private-encrypted-", "#server-to-user-", "cache-", ""):
        server.publish(f"{prefix}{mark}", "tide", "high")
    assert heard(client) == [(f"cache-{mark}", "high"), (mark, "high")]


def test_frames_through_a_pattern_are_those_of_the_channel(
    connect_v2: Connect, server: ServerProcess, unique: str
) -> None:
    exact, through = connect_v2(), connect_v2()
    exact.subscribe(f"{unique}-a")
    through.subscribe(f"{unique}-*")
    server.publish(f"{unique}-a", "tide", "high", tags={"a": "1"}, extras={"headers": {"n": 1}})
    assert through.event() == exact.event()


def test_whoever_is_subscribed_in_several_ways_hears_it_once(
    connect_v2: Connect, server: ServerProcess, unique: str
) -> None:
    client = connect_v2()
    for name in (f"{unique}*", unique, f"*{unique}"):
        client.subscribe(name)
    server.publish(unique, "tide", "1")
    client.say("sockudo:unsubscribe", {"channel": unique})
    server.publish(unique, "tide", "2")
    client.say("sockudo:unsubscribe", {"channel": f"{unique}*"})
    server.publish(unique, "tide", "3")
    client.say("sockudo:unsubscribe", {"channel": f"*{unique}"})
    server.publish(unique, "tide", "4")
    assert [data for _, data in heard(client)] == ["1", "2", "3"]


@pytest.mark.parametrize("exact", [True, False])
def test_one_subscription_that_wants_a_message_is_enough(
    connect_v2: Connect, server: ServerProcess, unique: str, exact: bool
) -> None:
    def wants(value: str) -> Event:
        return {"key": "a", "cmp": "eq", "val": value}

    client = connect_v2()
    client.subscribe(unique if exact else f"*{unique}", filter=wants("1"))
    client.subscribe(f"{unique}*", filter=wants("2"))
    for value in ("1", "2", "3"):
        server.publish(unique, "tide", value, tags={"a": value})
    assert [data for _, data in heard(client)] == ["1", "2"]


def test_a_publisher_can_leave_a_connection_out_that_listens_through_a_pattern(
    connect_v2: Connect, server: ServerProcess, unique: str
) -> None:
    author, reader = connect_v2(), connect_v2()
    for client in (author, reader):
        client.subscribe(f"{unique}*")
    server.publish(unique, "tide", "high", socket_id=author.socket_id)
    assert reader.event()["data"] == "high"
    author.hears_nothing()


def test_a_pattern_is_no_channel(connect_v2: Connect, server: ServerProcess, unique: str) -> None:
    connect_v2().subscribe(f"{unique}*")
    found = server.signed("GET", "/apps/app-id/channels").json()["channels"]
    assert [name for name in found if unique in name] == []


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("a**", "must contain exactly one '*'"),
        ("a*b*", "must contain exactly one '*'"),
        ("private-a*", "is only supported for public channels"),
        ("presence-*", "is only supported for public channels"),
        ("room:a*#ana", "cannot use user-limited syntax"),
        ("a,b*", "contains invalid characters"),
        ("ü*", "contains invalid characters"),
    ],
)
def test_patterns_that_are_refused(connect_v2: Connect, pattern: str, why: str) -> None:
    client = connect_v2()
    client.say("sockudo:subscribe", {"channel": pattern, "auth": "x"})
    client.refused(4300, f"Channel error: Wildcard subscription '{pattern}' {why}")


def test_v1_has_neither_patterns_nor_metachannels(connect: Connect) -> None:
    client = connect()
    client.say("pusher:subscribe", {"channel": "a*"})
    client.refused(4300, "Channel error: Wildcard subscriptions are only supported on protocol V2")
    client.say("pusher:subscribe", {"channel": "[meta]a"})
    client.refused(4300, "Channel error: Metachannel subscriptions are only supported on protocol V2")


def test_a_client_event_goes_to_one_channel(connect_v2: Connect) -> None:
    client = connect_v2()
    client.say("client-a", 1, "private-*")
    client.refused(4301, "Client event error: Client events cannot target wildcard subscription channels")
    client.say("client-a", 1, "[meta]private-a")
    client.refused(4301, "Client event error: Client events cannot target metachannels")


# ---- channels about channels ----


def counted(channel: str, event: str, count: int) -> Event:
    data = {"channel": channel, "subscription_count": count}
    return {"event": f"sockudo_internal:{event}", "channel": f"[meta]{channel}", "data": data}


def test_comings_and_goings_are_counted(connect: Connect, connect_v2: Connect, unique: str) -> None:
    watcher = connect_v2()
    assert watcher.subscribe(f"[meta]{unique}") == {
        "event": "sockudo_internal:subscription_succeeded",
        "channel": f"[meta]{unique}",
        "data": "{}",
    }
    first, second = connect_v2(), connect()
    first.subscribe(unique)
    second.subscribe(unique)
    second.subscribe(unique)
    first.say("sockudo:unsubscribe", {"channel": unique})
    first.say("sockudo:unsubscribe", {"channel": unique})
    due = [
        counted(unique, "channel_occupied", 1),
        counted(unique, "subscription_count", 1),
        counted(unique, "subscription_count", 2),
        counted(unique, "subscription_count", 1),
    ]
    assert [watcher.event() for _ in due] == due
    second.say("pusher:unsubscribe", {"channel": unique})
    assert watcher.event() == counted(unique, "channel_vacated", 0)
    watcher.hears_nothing()


@pytest.mark.parametrize("how", ["close frame", "reset", "terminated"])
def test_disconnects_count_too(connect_v2: Connect, server: ServerProcess, unique: str, how: str) -> None:
    watcher, one, other = connect_v2(), connect_v2(), connect_v2()
    for client in (one, other):
        client.subscribe(unique)
    one.sign_in(f"user-{unique}")
    watcher.subscribe(f"[meta]{unique}")
    if how == "close frame":
        one.send(frame(b"\x03\xe8", CLOSE))
    elif how == "reset":
        one.reset()
    else:
        server.signed("POST", f"/apps/app-id/users/user-{unique}/terminate_connections", body={})
    assert watcher.event() == counted(unique, "subscription_count", 1)
    other.reset()
    assert watcher.event() == counted(unique, "channel_vacated", 0)


def test_members_of_a_presence_channel(connect_v2: Connect, unique: str) -> None:
    channel = f"presence-{unique}"
    watcher, first, second = connect_v2(), connect_v2(), connect_v2()
    watcher.subscribe(f"[meta]{channel}", "watcher")
    first.subscribe(channel, "ana", {"secret": 1})
    second.subscribe(channel, "ana")
    second.say("sockudo:presence_update", {"channel": channel, "data": {"away": True}})
    for client in (second, first):
        client.event()
        client.say("sockudo:unsubscribe", {"channel": channel})

    def about_ana(event: str) -> Event:
        data = {"channel": channel, "user_id": "ana"}
        return {"event": f"sockudo_internal:{event}", "channel": f"[meta]{channel}", "data": data}

    due = [
        about_ana("member_added"),
        counted(channel, "channel_occupied", 1),
        counted(channel, "subscription_count", 1),
        counted(channel, "subscription_count", 2),
        about_ana("presence_update"),
        counted(channel, "subscription_count", 1),
        about_ana("member_removed"),
        counted(channel, "channel_vacated", 0),
    ]
    assert [watcher.event() for _ in due] == due


@pytest.mark.parametrize("name", ["", "a*", "bad name!", "[meta]a", "private-"])
def test_a_metachannel_is_about_a_channel_that_can_exist(connect_v2: Connect, name: str) -> None:
    client = connect_v2()
    client.say("sockudo:subscribe", {"channel": f"[meta]{name}"})
    error = client.event()["data"]
    assert error["code"] == 4300
    assert error["message"].startswith("Channel error: ")


# ---- namespaces ----


@pytest.mark.parametrize(
    ("channel", "what"),
    [
        ("deaf:a", "Namespace 'deaf' does not allow client subscriptions"),
        ("private-deaf:a", "Namespace 'deaf' does not allow client subscriptions"),
        ("presence-veiled:a", "Namespace 'veiled' does not allow client presence subscriptions"),
    ],
)
def test_a_namespace_may_shut_clients_out(connect: Connect, channel: str, what: str) -> None:
    new, old = connect(app=NAMED_APP, protocol=2), connect(app=NAMED_APP)
    new.say("sockudo:subscribe", new.subscription(channel, "ana"))
    new.refused(4009, SIGN + what)
    old.subscribe(channel, "ana")


def test_a_namespace_may_silence_clients(connect: Connect) -> None:
    new, old = connect(app=NAMED_APP, protocol=2), connect(app=NAMED_APP)
    for client in (new, old):
        client.subscribe("private-mute:a")
    new.say("client-a", 1, "private-mute:a")
    new.refused(4009, f"{SIGN}Namespace 'mute' does not allow client publishes")
    old.say("client-b", 2, "private-mute:a")
    assert new.event()["event"] == "client-b"


def test_the_flags_are_about_their_own_action_alone(connect_v2: Connect, server: ServerProcess) -> None:
    client = connect_v2(app=NAMED_APP)
    client.subscribe("veiled:a")
    client.subscribe("mute:a")
    server.publish("mute:a", "tide", "high", app=NAMED_APP)
    server.publish("deaf:a", "tide", "high", app=NAMED_APP)
    assert heard(client) == [("mute:a", "high")]


@pytest.mark.parametrize("protocol", [7, 2])
def test_an_unknown_namespace_is_refused_everywhere(connect: Connect, protocol: int) -> None:
    client = connect(app=NAMED_APP, protocol=protocol)
    client.say("sockudo:subscribe", {"channel": "nowhere:a"})
    client.refused(4300, "Channel error: Unknown channel namespace 'nowhere'")


# ---- channels for some users ----


@pytest.mark.parametrize("channel", ["room:a#ana,ben", "private-room:a#ana,ben", "presence-room:a#ana,ben"])
def test_only_listed_users_get_in(connect_v2: Connect, server: ServerProcess, channel: str) -> None:
    limited = f"{SIGN}Channel '{channel}' is limited to the users in its name"
    client = connect_v2(app=NAMED_APP)
    data = client.subscription(channel, "ana")
    client.say("sockudo:subscribe", data)
    client.refused(4009, limited)
    client.sign_in("eve")
    client.say("sockudo:subscribe", data)
    client.refused(4009, limited)
    client.sign_in("ben")
    client.say("sockudo:subscribe", data)
    client.joined(channel)
    server.publish(channel, "note", "for you", app=NAMED_APP)
    assert client.event()["data"] == "for you"


@pytest.mark.parametrize(
    ("channel", "why"),
    [
        ("shop:a#ana", "uses user-limited syntax but the namespace does not allow it"),
        ("a#ana", "uses user-limited syntax but the namespace does not allow it"),
        ("room:a#ana#ben", "contains multiple user limit separators"),
        ("room:a#ana,", "contains an empty user id in its user limit segment"),
        ("room:a#ana:1", "contains an invalid user id in its user limit segment"),
    ],
)
def test_user_limits_that_are_refused(connect_v2: Connect, channel: str, why: str) -> None:
    client = connect_v2(app=NAMED_APP)
    client.sign_in("ana")
    client.say("sockudo:subscribe", {"channel": channel})
    client.refused(4300, f"Channel error: Channel '{channel}' {why}")


def test_v1_cannot_join_a_channel_for_some_users(connect: Connect) -> None:
    client = connect(app=NAMED_APP)
    client.sign_in("ana")
    client.say("pusher:subscribe", {"channel": "room:a#ana"})
    client.refused(4300, "Channel error: Channel 'room:a#ana' is limited to some users, which needs protocol V2")


# ---- filters ----


@pytest.mark.parametrize(
    ("options", "passing"),
    [
        ({}, "abcd"),
        ({"filter": {"events": ["tide"]}}, "ac"),
        ({"filter": {"key": "n", "cmp": "gte", "val": 2}}, "bc"),
        ({"tags_filter": {"op": "not", "nodes": [{"key": "n", "cmp": "ex"}]}}, "d"),
        ({"filter": {"events": ["tide"], "tags": {"key": "n", "cmp": "eq", "val": "1"}}}, "a"),
        ({"filter": {"expression": "event == 'wind' && !(tags.n)"}}, "d"),
        ({"filter": {"expression": {"language": "jmespath", "source": "headers.x == `1`"}}}, "b"),
    ],
)
def test_a_subscription_hears_what_it_asked_for(
    connect: Connect, connect_v2: Connect, server: ServerProcess, unique: str, options: dict[str, Any], passing: str
) -> None:
    client, old = connect_v2(), connect()
    client.subscribe(unique, **options)
    old.subscribe(unique, **options)
    server.publish(unique, "tide", "a", tags={"n": "1"})
    server.publish(unique, "wind", "b", tags={"n": "2"}, extras={"headers": {"x": 1}})
    server.publish(unique, "tide", "c", tags={"n": "3"})
    server.publish(unique, "wind", "d")
    assert "".join(data for _, data in heard(client)) == passing
    assert "".join(data for _, data in heard(old)) == "abcd"


def test_subscribing_again_replaces_the_filter_and_a_refusal_leaves_it(
    connect_v2: Connect, server: ServerProcess, unique: str
) -> None:
    client = connect_v2()
    client.subscribe(unique, filter={"events": ["tide"]})
    client.say("sockudo:subscribe", {"channel": unique, "filter": {"key": "n", "cmp": "around", "val": "1"}})
    error = client.event()
    assert (error["event"], error["data"]["code"]) == ("sockudo:error", 4000)
    server.publish(unique, "wind", "1")
    server.publish(unique, "tide", "2")
    assert client.event()["data"] == "2"
    client.subscribe(unique, filter={"events": ["wind"]})
    server.publish(unique, "tide", "3")
    server.publish(unique, "wind", "4")
    assert client.event()["data"] == "4"
    client.subscribe(unique)
    server.publish(unique, "tide", "5")
    assert client.event()["data"] == "5"


@pytest.mark.parametrize("kind", ["private", "private-encrypted", "presence", "private-cache"])
def test_a_metachannel_needs_the_signature_of_its_channel(connect_v2: Connect, unique: str, kind: str) -> None:
    channel = f"{kind}-{unique}"
    stranger, watcher = connect_v2(), connect_v2()
    stranger.say("sockudo:subscribe", {"channel": f"[meta]{channel}"})
    stranger.refused(4009, f"{SIGN}Authentication signature required for this channel")
    right = stranger.subscription(f"[meta]{channel}", "ana")
    of_another = {**right, "auth": stranger.auth(f"{channel}-2", right.get("channel_data"))}
    stranger.say("sockudo:subscribe", of_another)
    stranger.refused(4009, f"{SIGN}Channel requires authentication")
    watcher.subscribe(f"[meta]{channel}", "ana")
    member = connect_v2()
    member.subscribe(channel, "ben")
    assert watcher.event()["channel"] == f"[meta]{channel}"
    assert stranger.until_pong() == []


def test_a_watcher_of_a_presence_channel_is_no_member(connect_v2: Connect, unique: str) -> None:
    watcher, member = connect_v2(), connect_v2()
    watcher.subscribe(f"[meta]presence-{unique}", "ana")
    found = member.subscribe(f"presence-{unique}", "ben")
    assert "ana" not in str(found["data"])
