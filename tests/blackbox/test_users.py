"""Signed-in users (spec: websocket § 8): signing in, watchlists, events for a user, and ending a user's connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest

from support.server import DEFAULT_APP, ServerProcess, app_record, start_server
from support.signing import Credentials, user_auth
from support.websocket import CLOSE, Connect, Event, WebSocket, compact, frame

QUIET_APP = Credentials("quiet", "quiet-key", "quiet-secret")
UNWATCHED_APP = Credentials("unwatched", "unwatched-key", "unwatched-secret")

ERROR = "Authentication error: "


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    apps = [
        app_record(DEFAULT_APP),
        app_record(QUIET_APP, features={}),
        app_record(UNWATCHED_APP, features={"enable_user_authentication": True}),
    ]
    with start_server({"app_manager": {"array": {"apps": apps}}}) as running:
        yield running


def end(server: ServerProcess, user: str, how: str, app: Credentials = DEFAULT_APP) -> Event:
    path = f"/apps/{app.id}/users/{quote(user, safe='')}/{how}"
    reply = server.signed("POST", path, body={}, app=app)
    assert reply.status == 200, reply
    found: Event = reply.json()
    return found


# ---- signing in ----


@pytest.mark.parametrize(
    "user_data",
    [
        '{"id":"u7"}',
        ' { "user_info" : {"name":"Ü 😀"}, "id" : "u7", "id" : "u8" } ',
        '{"id":7}',
        '{"id":"u","watchlist":"all","meta":[],"more":1}',
        '{"id":"' + "x" * 128 + '"}',
    ],
)
@pytest.mark.parametrize("as_text", [False, True])
def test_the_answer_repeats_user_data(connect: Connect, user_data: str, as_text: bool) -> None:
    client = connect()
    data = {"auth": user_auth(client.app, client.socket_id, user_data), "user_data": user_data}
    client.say("pusher:signin", compact(data) if as_text else data)
    assert client.event() == {"event": "pusher:signin_success", "data": {"user_data": user_data}}


@pytest.mark.parametrize(
    ("data", "code", "text"),
    [
        (None, 4000, "Invalid message format: Invalid signin data format"),
        ([], 4000, "Invalid message format: Invalid signin data format"),
        ("text", 4000, "Invalid message format: Invalid signin data format"),
        ({}, 4009, ERROR + "Missing 'user_data' field in signin data"),
        ({"auth": "x"}, 4009, ERROR + "Missing 'user_data' field in signin data"),
        ({"user_data": {"id": "u"}, "auth": "x"}, 4009, ERROR + "Missing 'user_data' field in signin data"),
        ({"user_data": '{"id":"u"}'}, 4009, ERROR + "Missing 'auth' field in signin data"),
        ({"user_data": '{"id":"u"}', "auth": 7}, 4009, ERROR + "Missing 'auth' field in signin data"),
    ],
)
def test_frames_that_lack_something(connect: Connect, data: object, code: int, text: str) -> None:
    client = connect()
    client.say("pusher:signin", data)
    client.refused(code, text)


@pytest.mark.parametrize(
    ("user_data", "text"),
    [
        ("", "Invalid user_data JSON: it is not valid JSON"),
        ("u7", "Invalid user_data JSON: it is not valid JSON"),
        ("[" * 20_000, "Invalid user_data JSON: it is not valid JSON"),
        ("[]", "Invalid user_data JSON: it must be an object"),
        ("{}", "Missing 'id' field in user_data"),
        ('{"id":null}', "Missing 'id' field in user_data"),
        ('{"id":""}', "Missing 'id' field in user_data"),
        ('{"id":1.5}', "Missing 'id' field in user_data"),
        ('{"id":true}', "Missing 'id' field in user_data"),
        ('{"id":"' + "x" * 129 + '"}', "'id' in user_data must have at most 128 bytes"),
    ],
)
def test_user_data_that_names_no_user(connect: Connect, user_data: str, text: str) -> None:
    client = connect()
    auth = user_auth(client.app, client.socket_id, user_data)
    client.say("pusher:signin", {"auth": auth, "user_data": user_data})
    client.refused(4009, ERROR + text)


def test_a_signature_holds_for_one_connection_and_user(connect: Connect, server: ServerProcess, unique: str) -> None:
    client, other = connect(), connect()
    user_data = compact({"id": unique})
    right = user_auth(client.app, client.socket_id, user_data)
    signature = right.partition(":")[2]
    for auth in (
        "",
        signature,
        f"other-key:{signature}",
        f"app-key:{signature.upper()}",
        f"app-key:{signature}0",
        user_auth(client.app, other.socket_id, user_data),
        user_auth(client.app, client.socket_id, compact({"id": "another"})),
        user_auth(Credentials("app-id", "app-key", "another secret"), client.socket_id, user_data),
        client.auth(f"::user::{user_data}"),
    ):
        client.say("pusher:signin", {"auth": auth, "user_data": user_data})
        client.refused(4009, ERROR + "Connection not authorized for signin.")
    server.publish(f"#server-to-user-{unique}", "event", "secret")
    client.hears_nothing()
    client.sign_in(unique)


def test_an_app_without_users(connect: Connect) -> None:
    client = connect(app=QUIET_APP)
    for data in (None, {"auth": "x", "user_data": "{}"}):
        client.say("pusher:signin", data)
        client.refused(4009, ERROR + "User authentication is disabled for this app")


# ---- events for a user ----


def test_every_connection_of_the_user_gets_its_events_without_subscribing(
    connect: Connect, server: ServerProcess, unique: str
) -> None:
    first, second, stranger = connect(), connect(), connect()
    first.sign_in(unique)
    second.sign_in(unique)
    stranger.sign_in("somebody-else")
    channel = f"#server-to-user-{unique}"
    stranger.subscribe(channel)
    server.publish(channel, "news", "ü")
    due = compact({"event": "news", "channel": channel, "data": "ü"})
    assert (first.text(), second.text()) == (due, due)
    stranger.hears_nothing()
    server.publish(channel, "news", "2", socket_id=first.socket_id)
    assert second.event()["data"] == "2"
    first.hears_nothing()


def test_the_users_own_channel_can_be_subscribed_without_a_signature(
    connect: Connect, server: ServerProcess, unique: str
) -> None:
    client = connect()
    client.sign_in(unique)
    channel = f"#server-to-user-{unique}"
    client.say("pusher:subscribe", {"channel": channel, "auth": ""})
    due = {"event": "pusher_internal:subscription_succeeded", "channel": channel, "data": "{}"}
    assert client.event() == due
    server.publish(channel, "news", "once")
    assert client.event()["data"] == "once"
    client.hears_nothing()
    client.say("pusher:unsubscribe", {"channel": channel})
    server.publish(channel, "news", "still")
    assert client.event()["data"] == "still"


def test_nobody_has_to_be_there(server: ServerProcess) -> None:
    server.publish("#server-to-user-nobody", "news", "x")


def test_signing_in_again_moves_the_connection(connect: Connect, server: ServerProcess, unique: str) -> None:
    client = connect()
    client.sign_in(f"{unique}-1")
    client.sign_in(f"{unique}-2")
    server.publish(f"#server-to-user-{unique}-1", "news", "old")
    server.publish(f"#server-to-user-{unique}-2", "news", "new")
    assert client.event()["data"] == "new"
    client.hears_nothing()


def test_a_refused_sign_in_leaves_the_first_in_place(connect: Connect, server: ServerProcess, unique: str) -> None:
    client = connect()
    client.sign_in(unique)
    client.say("pusher:signin", {"auth": "app-key:x", "user_data": '{"id":"boss"}'})
    client.refused(4009, ERROR + "Connection not authorized for signin.")
    server.publish(f"#server-to-user-{unique}", "news", "x")
    assert client.event()["data"] == "x"


# ---- watchlists ----


def watch_frame(**groups: list[str]) -> Event:
    events = [{"name": name, "user_ids": ids} for name, ids in groups.items()]
    return {"event": "pusher_internal:watchlist_events", "data": {"events": events}}


def test_a_watchlist_tells_who_is_there(connect: Connect, unique: str) -> None:
    here, away = f"{unique}-here", f"{unique}-away"
    connect().sign_in(here)
    watcher = connect()
    watcher.sign_in(unique, watchlist=[here, away, here, 7, None])
    assert watcher.event() == watch_frame(online=[here], offline=[away])
    watcher.sign_in(unique, watchlist=[here])
    assert watcher.event() == watch_frame(online=[here])
    watcher.sign_in(unique, watchlist=[away])
    assert watcher.event() == watch_frame(offline=[away])
    watcher.sign_in(unique, watchlist=[])
    watcher.hears_nothing()


def close_frame(client: WebSocket, _: Callable[[], object]) -> None:
    client.send(frame(b"", CLOSE))
    client.closed(None)


def close_tcp(client: WebSocket, _: Callable[[], object]) -> None:
    client.close()


def reset(client: WebSocket, _: Callable[[], object]) -> None:
    client.reset()


def violation(client: WebSocket, _: Callable[[], object]) -> None:
    client.send(frame("{}", masked=False))
    client.closed(1002, "frame is not masked")


def terminated(client: WebSocket, terminate: Callable[[], object]) -> None:
    terminate()
    client.ended(4009, "You got disconnected by the app.")


def becomes_another(client: WebSocket, _: Callable[[], object]) -> None:
    client.sign_in("another")


@pytest.mark.parametrize("leave", [close_frame, close_tcp, reset, violation, terminated, becomes_another])
def test_watchers_hear_of_the_first_and_the_last_connection(
    connect: Connect,
    server: ServerProcess,
    unique: str,
    leave: Callable[[WebSocket, Callable[[], object]], None],
) -> None:
    watched = f"{unique}-watched"
    watchers = [connect(), connect()]
    for number, watcher in enumerate(watchers):
        watcher.sign_in(f"{unique}-{number}", watchlist=[watched])
        assert watcher.event() == watch_frame(offline=[watched])
    first, second = connect(), connect()
    first.sign_in(watched)
    for watcher in watchers:
        assert watcher.event() == watch_frame(online=[watched])
    second.sign_in(watched)
    second.send(frame(b"", CLOSE))
    second.closed(None)
    for watcher in watchers:
        watcher.hears_nothing()
    leave(first, lambda: end(server, watched, "terminate_connections"))
    for watcher in watchers:
        assert watcher.event() == watch_frame(offline=[watched])


def test_a_watcher_that_has_gone_is_forgotten(connect: Connect, unique: str) -> None:
    watcher, other = connect(), connect()
    watched = f"{unique}-watched"
    watcher.sign_in(unique, watchlist=[watched])
    assert watcher.event() == watch_frame(offline=[watched])
    watcher.sign_in(unique)
    other.sign_in(watched)
    watcher.hears_nothing()


def test_a_watchlist_of_a_hundred(connect: Connect, unique: str) -> None:
    client = connect()
    client.sign_in(unique, watchlist=[f"u{number}" for number in range(100)])
    assert len(client.event()["data"]["events"][0]["user_ids"]) == 100


def test_a_longer_watchlist_is_refused_and_the_sign_in_is_not(connect: Connect, unique: str) -> None:
    client = connect()
    client.sign_in(unique, watchlist=[f"u{number}" for number in range(101)])
    client.refused(4302, "The watchlist has 101 users; 100 are allowed")
    client.hears_nothing()


def test_an_app_without_watchlists(connect: Connect, unique: str) -> None:
    watcher, other = connect(app=UNWATCHED_APP), connect(app=UNWATCHED_APP)
    watcher.sign_in(unique, watchlist=["other"])
    other.sign_in("other")
    watcher.hears_nothing()


# ---- ending a user's connections ----


@pytest.mark.parametrize(
    ("how", "code", "text"),
    [
        ("terminate_connections", 4009, "You got disconnected by the app."),
        ("force_reconnect", 4200, "Force reconnect requested by the app."),
    ],
)
def test_every_connection_of_the_user_is_ended(
    connect: Connect, server: ServerProcess, unique: str, how: str, code: int, text: str
) -> None:
    user = f"{unique} ü/é"
    signed_in, member, other_member, stranger = (connect() for _ in range(4))
    signed_in.sign_in(user)
    member.subscribe(f"presence-{unique}", user)
    other_member.sign_in("someone")
    other_member.subscribe(f"presence-{unique}-2", user)
    stranger.sign_in("stranger")
    assert end(server, user, how) == {"ok": True}
    signed_in.ended(code, text)
    member.ended(code, text)
    other_member.hears_nothing()
    stranger.hears_nothing()


def test_what_was_published_before_the_end_arrives_before_it(
    connect: Connect, server: ServerProcess, unique: str
) -> None:
    client = connect()
    client.subscribe(unique)
    client.sign_in(unique)
    server.publish(unique, "event", "last words")
    end(server, unique, "terminate_connections")
    assert client.event()["data"] == "last words"
    client.ended(4009, "You got disconnected by the app.")


def test_ending_nobody_is_ok(server: ServerProcess) -> None:
    assert end(server, "nobody", "terminate_connections") == {"ok": True}
    assert end(server, "nobody", "force_reconnect") == {"ok": True}


def test_users_of_another_app_are_left_alone(connect: Connect, server: ServerProcess, unique: str) -> None:
    client = connect(app=UNWATCHED_APP)
    client.sign_in(unique)
    end(server, unique, "terminate_connections")
    client.hears_nothing()
    end(server, unique, "terminate_connections", UNWATCHED_APP)
    client.ended(4009, "You got disconnected by the app.")


def test_a_body_is_not_needed(connect: Connect, server: ServerProcess, unique: str) -> None:
    client = connect()
    client.sign_in(unique)
    reply = server.signed("POST", f"/apps/app-id/users/{unique}/force_reconnect")
    assert (reply.status, reply.json()) == (200, {"ok": True})
    client.ended(4200, "Force reconnect requested by the app.")


def test_the_path_of_the_python_sdk(connect: Connect, server: ServerProcess, unique: str) -> None:
    client = connect()
    client.sign_in(unique)
    reply = server.signed("POST", f"/users/{unique}/terminate_connections", body={})
    assert (reply.status, reply.json()) == (200, {"ok": True})
    client.ended(4009, "You got disconnected by the app.")


# ---- the deadline ----


def test_who_authorizes_nothing_is_closed(connect: Connect, serve: Callable[..., ServerProcess]) -> None:
    hasty = serve({"user_authentication_timeout": 1})
    idle, listener, signed_in, private, presence = (connect(server=hasty) for _ in range(5))
    listener.subscribe("public")
    signed_in.sign_in("ana")
    private.subscribe("private-x")
    presence.subscribe("presence-x", "ana")
    for client in (idle, listener):
        client.ended(4009, "Connection not authorized within timeout.")
    for client in (signed_in, private, presence):
        client.hears_nothing()
