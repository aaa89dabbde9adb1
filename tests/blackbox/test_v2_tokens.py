"""Capability tokens over their whole life: at connect, in place, at their end, and taken back (spec: websocket § 14;
http-api spec: websocket § 8.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest

from blackbox.api import Api
from blackbox.timed import TimedServer
from support.raw import Answer, assert_error
from support.server import DEFAULT_APP, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.tokens import TOKEN_APP, token
from support.websocket import Connect, WebSocket

OTHER_APP = Credentials("other", "other-key", TOKEN_APP.secret)

SIGN = "Authentication error: "


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with start_server(
        {"app_manager": {"array": {"apps": [app_record(DEFAULT_APP), app_record(TOKEN_APP)]}}}
    ) as running:
        yield running


@pytest.fixture
def timed() -> Iterator[TimedServer]:
    with TimedServer({"websocket": {"auto_ping": False, "idle_timeout": 0}}) as running:
        yield running


@pytest.fixture
def connect_with(connect: Connect) -> Any:
    """Connects on protocol V2 with a token."""

    def open_one(text: str, **fields: Any) -> WebSocket:
        return connect(app=TOKEN_APP, protocol=2, params=f"token={text}", **fields)

    return open_one


def connect_at(server: TimedServer, lasts: int, **claims: Any) -> WebSocket:
    text = token(now=server.clock.time(), lasts=lasts, **claims)
    return server.connect(app=TOKEN_APP, params=f"token={text}")


def refresh(client: WebSocket, text: object) -> None:
    client.say("sockudo:auth", {"token": text})


def accepted(client: WebSocket, text: str, **about: Any) -> None:
    """The token takes the place of the last one."""
    refresh(client, text)
    found = client.event()
    assert (found["event"], list(found["data"])) == ("sockudo:auth_success", ["client_id", "jti", "exp"])
    assert {name: found["data"][name] for name in about} == about


def revoke(server: Any, **body: Any) -> Answer:
    return Api(server, app=TOKEN_APP).post("revocations", body)


# ---- at connect ----


def test_a_token_signs_in(connect_with: Any, server: ServerProcess, unique: str) -> None:
    client = connect_with(token(unique))
    server.publish(f"#server-to-user-{unique}", "note", "for you", app=TOKEN_APP)
    assert client.event()["data"] == "for you"
    client.say("sockudo:signin", {"auth": "x", "user_data": "{}"})
    client.refused(4009, f"{SIGN}signin is not allowed on capability-token authenticated connections")


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"app": OTHER_APP}, "capability token kid does not match app key"),
        ({"header": {"kid": "other"}}, "capability token kid does not match app key"),
        ({"algorithm": "HS384"}, "capability token must use HS256"),
        ({"without": "jti"}, "capability token lacks jti"),
        ({"without": "x-sockudo-client-id"}, "capability token lacks x-sockudo-client-id"),
        ({"client_id": "x" * 129}, "x-sockudo-client-id must be 1 to 128 bytes"),
        ({"lasts": 86_401}, "capability token lifetime exceeds 24 hours"),
        ({"capability": {"*": ["fly"]}}, "unsupported capability operation 'fly'"),
        ({"capability": {"a*b*": ["publish"]}}, "capability patterns must not have more than one '*'"),
        ({"capability": {"": ["publish"]}}, "capability patterns must not be empty"),
        ({"capability": {str(n): [] for n in range(101)}}, "x-sockudo-capability exceeds 100 patterns"),
        ({"aud": "me"}, "capability token must not have an aud claim"),
        ({"exp": 1.5}, "exp must be a whole number of seconds"),
    ],
)
def test_a_token_that_is_refused_ends_the_connection(connect: Connect, claims: dict[str, Any], why: str) -> None:
    client = connect(app=TOKEN_APP, protocol=2, params=f"token={token(**claims)}", greeted=False)
    client.ended(4009, SIGN + why)


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "x" * 9000])
def test_what_is_no_token(connect: Connect, text: str) -> None:
    client = connect(app=TOKEN_APP, protocol=2, params=f"token={text}", greeted=False)
    why = "exceeds 8 KiB" if len(text) > 8192 else "has an invalid header"
    client.ended(4009, f"{SIGN}capability token {why}")


def test_a_changed_token(connect: Connect) -> None:
    head, claims, signature = token().split(".")
    spoilt = ".".join((head, claims, ("B" if signature[0] == "A" else "A") + signature[1:]))
    client = connect(app=TOKEN_APP, protocol=2, params=f"token={spoilt}", greeted=False)
    client.ended(4009, f"{SIGN}capability token signature is invalid")


def test_v1_has_no_tokens(connect: Connect) -> None:
    client = connect(app=TOKEN_APP, params=f"token={token()}", greeted=False)
    error = client.event()
    assert (error["event"], error["data"]["code"]) == ("pusher:error", 4009)
    client.closed(4009, error["data"]["message"])


@pytest.mark.parametrize("protocol", [7, 2])
def test_a_refresh_needs_protocol_v2(connect: Connect, protocol: int) -> None:
    client = connect(app=TOKEN_APP, protocol=protocol)
    client.say("sockudo:auth", {"token": token()})
    found = client.event()
    if protocol == 2:
        assert found["event"] == "sockudo:auth_success"
    else:
        assert (found["event"], found["data"]["code"]) == ("pusher:error", 4000)


@pytest.mark.parametrize(("shift", "fits"), [(30, True), (31, False), (-29, True), (-31, False)])
def test_clocks_may_differ_by_half_a_minute(timed: TimedServer, shift: int, fits: bool) -> None:
    """Ahead it is the time of issue that counts, behind it the end."""
    now = timed.clock.time() + (shift if shift > 0 else shift - 100)
    text = token(now=now, lasts=100)
    client = WebSocket(timed, app=TOKEN_APP, protocol=2, params=f"token={text}")
    with client:
        assert (client.event()["event"] == "sockudo:connection_established") is fits


# ---- a new one in place of the old ----


def test_a_refresh_replaces_what_is_granted(connect_with: Any, unique: str) -> None:
    client = connect_with(token("ana", {f"{unique}-a": ["subscribe"]}))
    client.subscribe(f"{unique}-a")
    client.say("sockudo:subscribe", {"channel": f"{unique}-b"})
    client.refused(4009, f"{SIGN}Connection is not allowed to subscribe channel '{unique}-b'")
    accepted(client, token("ana", {f"{unique}-b": ["subscribe"]}, jti=unique), client_id="ana", jti=unique)
    assert client.event()["channel"] == f"{unique}-a"
    client.subscribe(f"{unique}-b")
    client.say("sockudo:subscribe", {"channel": f"{unique}-a"})
    client.refused(4009, f"{SIGN}Connection is not allowed to subscribe channel '{unique}-a'")


@pytest.mark.parametrize("signed_in", [False, True])
def test_a_connection_that_had_none_may_take_one(connect: Connect, unique: str, signed_in: bool) -> None:
    client = connect(app=TOKEN_APP, protocol=2)
    if signed_in:
        client.sign_in("ana")
    client.subscribe(f"{unique}-open")
    accepted(client, token("ana", {unique: ["subscribe"]}), client_id="ana")
    assert client.event()["channel"] == f"{unique}-open"
    client.subscribe(unique)
    client.say("sockudo:subscribe", {"channel": f"{unique}-2"})
    client.refused(4009, f"{SIGN}Connection is not allowed to subscribe channel '{unique}-2'")


@pytest.mark.parametrize("first", ["token", "signin"])
def test_nobody_becomes_someone_else(connect: Connect, connect_with: Any, first: str) -> None:
    if first == "token":
        client = connect_with(token("ana", {}))
    else:
        client = connect(app=TOKEN_APP, protocol=2)
        client.sign_in("ana")
    refresh(client, token("ben"))
    client.refused(4009, f"{SIGN}capability token refresh cannot change client_id")


@pytest.mark.parametrize(
    ("data", "code", "why"),
    [
        ({"token": token(app=OTHER_APP)}, 4009, f"{SIGN}capability token kid does not match app key"),
        ({"token": "x"}, 4009, f"{SIGN}capability token has an invalid header"),
        ({"token": 5}, 4000, "Invalid message format: Missing token in auth data"),
        ({}, 4000, "Invalid message format: Missing token in auth data"),
        (None, 4000, "Invalid message format: Invalid auth data"),
        ([], 4000, "Invalid message format: Invalid auth data"),
    ],
)
def test_a_refused_refresh_leaves_the_old_one(
    connect_with: Any, unique: str, data: object, code: int, why: str
) -> None:
    client = connect_with(token("ana", {unique: ["subscribe"]}))
    client.say("sockudo:auth", data)
    client.refused(code, why)
    client.subscribe(unique)


# ---- its end ----


def test_an_end_is_told_then_there_is_half_a_minute(timed: TimedServer) -> None:
    client = connect_at(timed, 3600)
    timed.advance(3599)
    client.hears_nothing()
    timed.advance(2)
    assert client.event() == {"event": "sockudo:token_expired", "data": {"code": 40142, "reason": "expired"}}
    client.subscribe("news")
    timed.advance(28)
    client.subscribe("private-news")
    timed.publish("news", "tide", "high", app=TOKEN_APP)
    assert client.event()["data"] == "high"
    timed.advance(3)
    client.ended(4009, "capability token expired")


@pytest.mark.parametrize("after", [3598, 3602, 3620])
def test_a_refresh_in_time_goes_on(timed: TimedServer, after: int) -> None:
    client = connect_at(timed, 3600)
    timed.advance(after)
    if after > 3600:
        assert client.event()["event"] == "sockudo:token_expired"
    accepted(client, token(now=timed.clock.time(), lasts=100))
    timed.advance(60)
    client.hears_nothing()
    timed.advance(41)
    assert client.event()["event"] == "sockudo:token_expired"
    timed.advance(31)
    client.ended(4009, "capability token expired")


def test_a_refused_refresh_does_not_save_the_connection(timed: TimedServer) -> None:
    client = connect_at(timed, 100)
    timed.advance(101)
    assert client.event()["event"] == "sockudo:token_expired"
    refresh(client, token("ben", now=timed.clock.time()))
    client.refused(4009, f"{SIGN}capability token refresh cannot change client_id")
    timed.advance(31)
    client.ended(4009, "capability token expired")


def test_a_token_that_ended_while_clocks_differ_is_told_at_once(timed: TimedServer) -> None:
    client = connect_at(timed, 100 - 20, iat=int(timed.clock.time()) - 100, exp=int(timed.clock.time()) - 20)
    timed.advance(1)
    assert client.event()["event"] == "sockudo:token_expired"


# ---- taken back ----


@pytest.mark.parametrize(
    ("body", "ended"),
    [
        ({"jti": "{}-1"}, [1]),
        ({"client_id": "{}-ana"}, [1, 2]),
        ({"jti": "{}-3", "client_id": "{}-ana"}, [1, 2, 3]),
        ({"jti": "{}-nobody"}, []),
        ({"client_id": "{}-1"}, []),
    ],
)
def test_open_connections_are_ended(
    connect: Connect, connect_with: Any, server: ServerProcess, unique: str, body: Mapping[str, str], ended: list[int]
) -> None:
    mark = unique[-60:]
    clients = {
        n: connect_with(token(f"{mark}-{who}", jti=f"{mark}-{n}")) for n, who in ((1, "ana"), (2, "ana"), (3, "ben"))
    }
    signed_in = connect(app=TOKEN_APP, protocol=2)
    signed_in.sign_in(f"{mark}-ana")
    asked = {name: value.format(mark) for name, value in body.items()}
    answer = revoke(server, reason="lost", **asked)
    assert answer.json() == {
        "revoked_jti": "jti" in body,
        "revoked_client_id": "client_id" in body,
        "closed_connections": len(ended),
    }
    for number, client in clients.items():
        if number in ended:
            assert client.event() == {"event": "sockudo:token_expired", "data": {"code": 40160, "reason": "revoked"}}
            client.ended(4009, "capability token revoked")
        else:
            client.hears_nothing()
    signed_in.hears_nothing()


def test_what_was_revoked_is_refused_from_now_on(
    connect: Connect, connect_with: Any, server: ServerProcess, unique: str
) -> None:
    one, other = token("ana", jti=f"{unique[-60:]}-1"), token(unique[-60:], jti=f"{unique[-60:]}-2")
    revoke(server, jti=f"{unique[-60:]}-1")
    revoke(server, client_id=unique[-60:], ttl_seconds=60)
    for text in (one, other, token(unique[-60:])):
        client = connect(app=TOKEN_APP, protocol=2, params=f"token={text}", greeted=False)
        client.ended(4009, f"{SIGN}capability token has been revoked")
    client = connect_with(token("ana"))
    refresh(client, one)
    client.refused(4009, f"{SIGN}capability token has been revoked")
    client.subscribe(unique)


def test_the_token_that_a_refresh_replaced_may_be_revoked(
    connect_with: Any, server: ServerProcess, unique: str
) -> None:
    mark = unique[-60:]
    client = connect_with(token(mark, jti=f"{mark}-1"))
    accepted(client, token(mark, jti=f"{mark}-2"))
    assert revoke(server, jti=f"{mark}-1").json()["closed_connections"] == 0
    client.hears_nothing()
    assert revoke(server, jti=f"{mark}-2").json()["closed_connections"] == 1
    assert client.event()["data"] == {"code": 40160, "reason": "revoked"}
    client.ended(4009, "capability token revoked")


def test_a_revocation_ends_at_its_time(timed: TimedServer) -> None:
    text = token(now=timed.clock.time(), jti="t-1")
    api = Api(timed, app=TOKEN_APP)
    assert api.post("revocations", {"jti": "t-1", "ttl_seconds": 10}, timestamp=int(timed.clock.time())).status == 200
    client = WebSocket(timed, app=TOKEN_APP, protocol=2, params=f"token={text}")
    with client:
        client.ended(4009, f"{SIGN}capability token has been revoked")
    timed.advance(11)
    timed.connect(app=TOKEN_APP, params=f"token={text}").subscribe("news")


@pytest.mark.parametrize("driver", ["sqlite", "memory"])
def test_a_restart_forgets_no_revocation(driver: str) -> None:
    apps = [app_record(DEFAULT_APP), app_record(TOKEN_APP)]
    config = {"app_manager": {"driver": driver, "array": {"apps": apps}}}
    text = token(jti="stolen")
    with ExitStack() as opened:
        first = opened.enter_context(start_server(config))
        assert revoke(first, jti="stolen").status == 200
        first.terminate()
        data = {"SOCKUDO_DATA_DIR": str(first.folder / "data")}
        second = opened.enter_context(start_server(config, env=data))
        client = opened.enter_context(WebSocket(second, app=TOKEN_APP, protocol=2, params=f"token={text}"))
        client.ended(4009, f"{SIGN}capability token has been revoked")


def test_a_revocation_ends_sessions_of_a_process_that_shares_the_store() -> None:
    apps = [app_record(DEFAULT_APP), app_record(TOKEN_APP)]
    config = {"app_manager": {"array": {"apps": apps}}, "instance": {"shared_stores": True}}
    with ExitStack() as opened:
        one = opened.enter_context(start_server(config))
        other = opened.enter_context(start_server(config, env={"SOCKUDO_DATA_DIR": str(one.folder / "data")}))
        text = token(jti="shared")
        client = opened.enter_context(WebSocket(other, app=TOKEN_APP, protocol=2, params=f"token={text}"))
        client.greeting()
        assert revoke(one, jti="shared").status == 200
        assert client.event()["event"] == "sockudo:token_expired"
        client.ended(4009, "capability token revoked")
        refused = opened.enter_context(WebSocket(other, app=TOKEN_APP, protocol=2, params=f"token={text}"))
        refused.ended(4009, f"{SIGN}capability token has been revoked")


@pytest.mark.parametrize(
    ("body", "status", "code", "text"),
    [
        ({}, 400, "invalid_input", "revocation requires jti or client_id"),
        ({"reason": "x"}, 400, "invalid_input", "revocation requires jti or client_id"),
        ({"jti": ""}, 400, "invalid_input", "jti must be 1 to 128 bytes, as in a token"),
        ({"client_id": "x" * 129}, 400, "invalid_input", "client_id must be 1 to 128 bytes, as in a token"),
    ],
)
def test_revocations_that_are_refused(
    server: ServerProcess, body: dict[str, Any], status: int, code: str, text: str
) -> None:
    assert_error(revoke(server, **body), status, code, text)


def test_the_tokens_of_another_app_are_its_own(connect_with: Any, server: ServerProcess, unique: str) -> None:
    client = connect_with(token("ana", jti=unique))
    answer = Api(server).post("revocations", {"jti": unique, "client_id": "ana"})
    assert answer.json()["closed_connections"] == 0
    client.hears_nothing()
    connect_with(token("ana"))


@pytest.mark.parametrize(("what", "code"), [("terminate_connections", 4009), ("force_reconnect", 4200)])
def test_a_client_of_a_token_is_a_user(
    connect_with: Any, server: ServerProcess, unique: str, what: str, code: int
) -> None:
    client = connect_with(token(unique))
    path = f"/apps/{TOKEN_APP.id}/users/{unique}/{what}"
    assert server.signed("POST", path, body={}, app=TOKEN_APP).json() == {"ok": True}
    error = client.event()
    assert error["data"]["code"] == code
    client.closed(code, error["data"]["message"])


def test_a_renewed_token_ends_what_it_does_not_grant_any_more(
    connect_with: Any, server: ServerProcess, unique: str
) -> None:
    kept, lost = f"{unique}-a", f"{unique}-b"
    client = connect_with(token("ana", {"*": ["subscribe"]}))
    names = (kept, f"[meta]{unique}-c", lost, f"{lost}*")
    for name in names:
        client.subscribe(name)
    client.until_pong()
    accepted(client, token("ana", {kept: ["subscribe"]}))
    for name, subject in zip(names[1:], (f"{unique}-c", lost, f"{lost}*"), strict=True):
        error = client.event()
        assert (error["event"], error["channel"], error["data"]["code"]) == ("sockudo:error", name, 4009)
        assert error["data"]["message"] == f"{SIGN}Connection is not allowed to subscribe channel '{subject}'"
    for channel in (lost, f"{lost}-2", kept):
        server.publish(channel, "note", channel, app=TOKEN_APP)
    assert [found["channel"] for found in client.until_pong()] == [kept]
    accepted(client, token("ana", {"*": ["subscribe"]}))
    client.subscribe(lost)
