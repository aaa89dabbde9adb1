"""Asking about channels and members (spec: http-api § 4 and 7)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from blackbox.api import Api
from support.raw import Answer, assert_error, signed_target
from support.server import DEFAULT_APP, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.websocket import Connect, WebSocket, compact

LISTED_APP = Credentials("listed", "listed-key", "listed-secret")
EMPTY_APP = Credentials("empty", "empty-key", "empty-secret")
MEMBERS_APP = Credentials("members", "members-key", "members-secret")
NAMED_APP = Credentials("named", "named-key", "named-secret")
NAMESPACE = {"name": "shop", "channel_name_pattern": "^shop:[a-z]+$"}

PREFIX_NEEDED = "user_count is only available for presence channels. Use filter_by_prefix=presence-"


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    apps = [
        app_record(DEFAULT_APP),
        app_record(LISTED_APP),
        app_record(EMPTY_APP),
        app_record(MEMBERS_APP),
        app_record(NAMED_APP, channels={"channel_namespaces": [NAMESPACE]}),
    ]
    with start_server({"app_manager": {"array": {"apps": apps}}}) as running:
        yield running


@pytest.fixture
def api(server: ServerProcess) -> Api:
    return Api(server)


@pytest.fixture
def join(connect: Connect) -> Callable[..., WebSocket]:
    """A connection that is subscribed to these channels as this user."""

    def open_one(user: str, *channels: str, app: Credentials = DEFAULT_APP) -> WebSocket:
        client = connect(app=app)
        for channel in channels:
            client.say("pusher:subscribe", client.subscription(channel, user))
        client.until_pong()
        return client

    return open_one


Join = Callable[..., WebSocket]


def found(answer: Answer) -> Any:
    assert answer.status == 200, answer
    return answer.json()


# ---- all channels ----


def test_no_channels(server: ServerProcess) -> None:
    assert Api(server, app=EMPTY_APP).get("channels").body == b'{"channels":{}}'


def test_occupied_channels_by_prefix_and_info(server: ServerProcess, join: Join) -> None:
    api = Api(server, app=LISTED_APP)
    ana = join("ana", "news", "presence-a", "private-x", "cache-c", "#server-to-user-7", "m:1", app=LISTED_APP)
    join("ana", "presence-a", "news", app=LISTED_APP)
    join("ben", "presence-a", "presence-b", app=LISTED_APP)
    channels = {"news", "presence-a", "presence-b", "private-x", "cache-c", "#server-to-user-7", "m:1"}
    assert found(api.get("channels")) == {"channels": {channel: {} for channel in channels}}
    assert found(api.get("channels", {"info": ""})) == {"channels": {channel: {} for channel in channels}}
    assert found(api.get("channels", {"filter_by_prefix": "p"}))["channels"].keys() == {
        "presence-a",
        "presence-b",
        "private-x",
    }
    assert found(api.get("channels", {"filter_by_prefix": "nothing"})) == {"channels": {}}
    presence = {"filter_by_prefix": "presence-"}
    assert found(api.get("channels", {**presence, "info": "user_count"})) == {
        "channels": {"presence-a": {"user_count": 2}, "presence-b": {"user_count": 1}}
    }
    assert found(api.get("channels", {**presence, "info": " subscription_count , user_count,more"})) == {
        "channels": {
            "presence-a": {"user_count": 2, "subscription_count": 3},
            "presence-b": {"user_count": 1, "subscription_count": 1},
        }
    }
    counts = found(api.get("channels", {"info": "subscription_count"}))["channels"]
    assert (counts.keys(), counts["news"]) == (channels, {"subscription_count": 2})
    for nothing in (",", "zzz", "USER_COUNT", " "):
        assert found(api.get("channels", {"info": nothing})) == {"channels": {}}
    for prefix in ({}, {"filter_by_prefix": "p"}, {"filter_by_prefix": "news"}):
        assert_error(api.get("channels", {**prefix, "info": "user_count"}), 400, "invalid_input", PREFIX_NEEDED)
    ana.say("pusher:unsubscribe", {"channel": "private-x"})
    ana.until_pong()
    assert "private-x" not in found(api.get("channels"))["channels"]


def test_only_presence_channels_need_no_prefix(server: ServerProcess, join: Join) -> None:
    api = Api(server, app=MEMBERS_APP)
    join("ana", "presence-a", app=MEMBERS_APP)
    assert found(api.get("channels", {"info": "user_count"})) == {"channels": {"presence-a": {"user_count": 1}}}


@pytest.mark.parametrize("name", ["info", "filter_by_prefix"])
def test_a_repeated_parameter(api: Api, name: str) -> None:
    """Signing takes the last one, so that the request gets as far as its endpoint."""
    target = signed_target(api.app, "GET", "/apps/app-id/channels", params={name: "b"})
    answer = api.ask("GET", target.replace(f"{name}=b", f"{name}=a&{name}=b"))
    assert_error(answer, 400, "invalid_input", f"Invalid query string: '{name}' is given more than once")


# ---- one channel ----


@pytest.mark.parametrize("channel", ["never-seen", "presence-never-seen", "private-x", "cache-never-seen"])
def test_an_unoccupied_channel(api: Api, channel: str) -> None:
    assert api.get(f"channels/{channel}").body == b'{"occupied":false}'
    assert found(api.get(f"channels/{channel}", {"info": "subscription_count,cache"})) == {
        "occupied": False,
        "subscription_count": 0,
    }


def test_an_occupied_channel(api: Api, join: Join, unique: str) -> None:
    join("ana", unique)
    assert found(api.get(f"channels/{unique}")) == {"occupied": True}
    assert found(api.get(f"channels/{unique}", {"info": "subscription_count"})) == {
        "occupied": True,
        "subscription_count": 1,
    }
    for info in ("", "zzz", "cache", ","):
        assert found(api.get(f"channels/{unique}", {"info": info})) == {"occupied": True}


def test_a_presence_channel(api: Api, join: Join, unique: str) -> None:
    channel = f"presence-{unique}"
    for user in ("ana", "ana", "ben"):
        join(user, channel)
    assert found(api.get(f"channels/{channel}", {"info": "user_count,subscription_count"})) == {
        "occupied": True,
        "user_count": 2,
        "subscription_count": 3,
    }
    assert found(api.get("channels/presence-nobody", {"info": "user_count"})) == {"occupied": False, "user_count": 0}


@pytest.mark.parametrize("channel", ["news", "private-x", "cache-x"])
def test_members_are_counted_on_presence_channels_only(api: Api, channel: str) -> None:
    answer = api.get(f"channels/{channel}", {"info": "user_count"})
    assert_error(answer, 400, "invalid_input", "user_count is only available for presence channels")


def test_the_cached_event(api: Api, server: ServerProcess, unique: str) -> None:
    channel = f"cache-{unique}"
    server.publish(channel, "e", '{"ü":1}')
    reply = found(api.get(f"channels/{channel}", {"info": "cache"}))
    assert reply["cache"].pop("ttl") in range(3590, 3601)
    data = compact({"event": "e", "channel": channel, "data": '{"ü":1}'})
    assert reply == {"occupied": False, "cache": {"data": data}}
    assert found(api.get(f"channels/{channel}")) == {"occupied": False}


def test_the_name_in_the_path_is_decoded(api: Api, join: Join) -> None:
    join("ana", "chat:a=b,c;d@e", "#server-to-user-9")
    assert found(api.get("channels/chat%3Aa%3Db%2Cc%3Bd%40e")) == {"occupied": True}
    assert found(api.get("channels/chat:a=b,c;d@e")) == {"occupied": True}
    assert found(api.get("channels/%23server-to-user-9")) == {"occupied": True}


@pytest.mark.parametrize(
    ("channel", "text"),
    [
        ("a%20b", "Channel name contains invalid characters: 'a b' (invalid chars: [' '])"),
        ("a+b", "Channel name contains invalid characters: 'a+b' (invalid chars: ['+'])"),
        ("a%2Fusers", "Channel name contains invalid characters: 'a/users' (invalid chars: ['/'])"),
        ("news-*", "Channel name contains invalid characters: 'news-*' (invalid chars: ['*'])"),
        ("[meta]x", "Channel name contains invalid characters: '[meta]x' (invalid chars: ['[', ']'])"),
        ("%C3%A9", "Channel name contains invalid characters: 'é' (invalid chars: ['é'])"),
        ("%00", "Channel name contains invalid characters: '\x00' (invalid chars: ['\\0'])"),
        ("x" * 201, "Channel name too long. Max length is 200"),
        ("presence-", "Channel name is incomplete: 'presence-' has nothing after its prefix"),
        ("%ff", "Invalid URL: a part of the path does not decode to UTF-8"),
    ],
)
@pytest.mark.parametrize("more", ["", "/users"])
def test_names_that_are_refused(api: Api, channel: str, text: str, more: str) -> None:
    assert_error(api.get(f"channels/{channel}{more}"), 400, "invalid_input", text)


@pytest.mark.parametrize(
    ("channel", "text"),
    [
        ("market:btc", "Unknown channel namespace 'market'"),
        ("shop:7", "Channel 'shop:7' does not match namespace 'shop' pattern"),
        ("shop:a%23ana", "Channel 'shop:a#ana' uses user-limited syntax but the namespace does not allow it"),
    ],
)
def test_names_of_an_app_with_namespaces(server: ServerProcess, channel: str, text: str) -> None:
    assert_error(Api(server, app=NAMED_APP).get(f"channels/{channel}"), 400, "invalid_input", text)


# ---- members ----


def test_the_members_of_a_channel(api: Api, join: Join, unique: str) -> None:
    channel = f"presence-{unique}"
    for user in ("ana", "ben", "ana"):
        join(user, channel)
    users = found(api.get(f"channels/{channel}/users"))["users"]
    assert sorted(user["id"] for user in users) == ["ana", "ben"]
    assert all(user.keys() == {"id"} for user in users)


def test_no_members(api: Api) -> None:
    assert api.get("channels/presence-nobody/users").body == b'{"users":[]}'


@pytest.mark.parametrize("channel", ["news", "private-x", "Presence-x"])
def test_only_presence_channels_have_members(api: Api, channel: str) -> None:
    answer = api.get(f"channels/{channel}/users")
    assert_error(answer, 400, "invalid_input", "Only presence channels support this endpoint")


def test_numbers_are_told_as_text(api: Api, connect: Connect, unique: str) -> None:
    channel = f"presence-{unique}"
    connect().subscribe(channel, 7)
    assert found(api.get(f"channels/{channel}/users")) == {"users": [{"id": "7"}]}
