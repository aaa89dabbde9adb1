"""Connecting (spec: websocket § 2 and 3): routes, handshake, query, and who is let in."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest

from support.raw import Answer, Dial
from support.server import DEFAULT_APP, ServerProcess, app_record, start_server
from support.signing import Credentials
from support.waiting import wait_until
from support.websocket import CLOSE, Connect, compact, frame, handshake

DISABLED_APP = Credentials("disabled", "disabled-key", "disabled-secret")
SMALL_APP = Credentials("small", "small-key", "small-secret")
ORIGIN_APP = Credentials("origins", "origins-key", "origins-secret")
ODD_APP = Credentials("odd", "odd key ä+%", "odd-secret")
DISABLED_RECORD = {**app_record(DISABLED_APP), "enabled": False}
ORIGINS = ["https://shop.example", "*.example.com", "plain.example:8080", "https://pre*.example.net"]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    apps = [
        app_record(DEFAULT_APP),
        DISABLED_RECORD,
        app_record(SMALL_APP, limits={"max_connections": 2}),
        app_record(ORIGIN_APP, channels={"allowed_origins": ORIGINS}),
        app_record(ODD_APP),
    ]
    with start_server({"app_manager": {"array": {"apps": apps}}}) as running:
        yield running


def ask(dial: Dial, target: str, headers: dict[str, str | None] | None = None, method: str = "GET") -> Answer:
    """The HTTP answer to a handshake."""
    connection = dial()
    connection.send(handshake(target, headers, method=method))
    return connection.answer()


def assert_error(answer: Answer, status: int, code: str, *words: str) -> None:
    assert answer.status == status, answer
    body = answer.json()
    assert (body["code"], body["status"]) == (code, status)
    for word in words:
        assert word in body["error"]


# ---- routes ----


@pytest.mark.parametrize("target", ["/app/app-key", "/app/app-key/", "/app/%61pp%2Dkey?protocol=7"])
def test_the_key_is_the_last_part_of_the_path(connect: Connect, target: str) -> None:
    assert connect(target=target).socket_id


def test_any_key_can_be_percent_encoded(connect: Connect) -> None:
    connect(target=f"/app/{quote(ODD_APP.key, safe='')}?protocol=7")


@pytest.mark.parametrize(
    "target", ["/app", "/app/", "/app//", "/app/app-key/more", "/app/app-key//", "/App/app-key", "/", "/ws/app-key"]
)
def test_other_paths_are_404(dial: Dial, target: str) -> None:
    assert_error(ask(dial, target), 404, "not_found")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_other_methods_are_405(dial: Dial, method: str) -> None:
    answer = ask(dial, "/app/app-key", method=method)
    assert_error(answer, 405, "method_not_allowed")
    assert answer.header("allow") in {"GET", "GET,HEAD"}


# ---- handshake ----


@pytest.mark.parametrize(
    "headers",
    [
        {"Connection": "keep-alive, upgrade", "Upgrade": "WebSocket"},
        {"Connection": "UPGRADE", "Upgrade": "h2c, websocket"},
        {"Sec-WebSocket-Extensions": "x-webkit-deflate-frame", "Origin": "null", "Cookie": "a=b"},
    ],
)
def test_handshake_headers_are_read_as_tokens(connect: Connect, headers: dict[str, str]) -> None:
    assert connect(headers=headers).accepted.header("sec-websocket-extensions") is None


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ({"Upgrade": None}, "Upgrade"),
        ({"Upgrade": "h2c"}, "Upgrade"),
        ({"Connection": None}, "Upgrade"),
        ({"Connection": "keep-alive"}, "Upgrade"),
        ({"Sec-WebSocket-Version": None}, "Sec-WebSocket-Version"),
        ({"Sec-WebSocket-Version": "8"}, "Sec-WebSocket-Version"),
        ({"Sec-WebSocket-Version": "13, 8"}, "Sec-WebSocket-Version"),
        ({"Sec-WebSocket-Key": None}, "Sec-WebSocket-Key"),
        ({"Sec-WebSocket-Key": ""}, "Sec-WebSocket-Key"),
        ({"Sec-WebSocket-Key": "c2hvcnQ="}, "Sec-WebSocket-Key"),
        ({"Sec-WebSocket-Key": "not base64 of sixteen b="}, "Sec-WebSocket-Key"),
    ],
)
def test_an_incomplete_handshake_is_400(dial: Dial, headers: dict[str, str | None], named: str) -> None:
    answer = ask(dial, "/app/app-key", headers)
    assert_error(answer, 400, "invalid_input", named)
    assert answer.header("sec-websocket-version") == "13"


def test_the_first_subprotocol_is_echoed(connect: Connect) -> None:
    accepted = connect(headers={"Sec-WebSocket-Protocol": "pusher, other"}).accepted
    assert accepted.header("sec-websocket-protocol") == "pusher"


def test_no_subprotocol_is_invented(connect: Connect) -> None:
    assert connect().accepted.header("sec-websocket-protocol") is None


def test_compression_is_declined_by_default(connect: Connect) -> None:
    accepted = connect(headers={"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}).accepted
    assert accepted.header("sec-websocket-extensions") is None


# ---- query ----


@pytest.mark.parametrize(
    "query",
    [
        "",
        "protocol=7",
        "protocol=5",
        "protocol=0",
        "protocol=255",
        "protocol=%2B7",
        "protocol=07",
        "flash=x&client=&a=1",
        "protocol=7&format=nonsense&append_mode=x&append_rollup_window=3",
        "echo_messages=false",
        "unknown=1&unknown=2",
    ],
)
def test_what_is_version_one(connect: Connect, query: str) -> None:
    connect(query=query)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("protocol=abc", "protocol"),
        ("protocol=7.0", "protocol"),
        ("protocol=", "protocol"),
        ("protocol=-1", "protocol"),
        ("protocol=256", "protocol"),
        ("protocol=7&protocol=7", "protocol"),
        ("client=a&client=b", "client"),
        ("echo_messages=1", "echo_messages"),
        ("protocol=2&format=xml", "format"),
        ("protocol=2&append_mode=x", "append_mode"),
        ("protocol=2&append_rollup_window=30", "append_rollup_window"),
    ],
)
def test_a_parameter_that_does_not_parse_is_400(dial: Dial, query: str, named: str) -> None:
    assert_error(ask(dial, f"/app/app-key?{query}"), 400, "invalid_input", named)


@pytest.mark.parametrize("query", ["protocol=2", "protocol=02", "protocol=%2B2"])
def test_version_two_greets_with_its_own_prefix(connect: Connect, query: str) -> None:
    greeting = json.loads(connect(query=query, greeted=False).text())
    assert greeting["event"] == "sockudo:connection_established"
    assert sorted(json.loads(greeting["data"])) == ["activity_timeout", "socket_id"]


# ---- admission ----


def test_the_greeting_names_the_connection(connect: Connect) -> None:
    text = connect(greeted=False).text()
    greeting = json.loads(text)
    data = json.loads(greeting["data"])
    assert text == compact(greeting)
    assert list(greeting) == ["event", "data"]
    assert list(data) == ["socket_id", "activity_timeout"]
    assert data["activity_timeout"] == 120
    assert re.fullmatch(r"(0|[1-9][0-9]{0,10})\.(0|[1-9][0-9]{0,10})", data["socket_id"])


def test_an_unknown_key_is_told_so(connect: Connect) -> None:
    connect(target="/app/nobody?protocol=7", greeted=False).ended(4001, "Application does not exist")


def test_a_disabled_app_is_told_so(connect: Connect) -> None:
    connect(app=DISABLED_APP, greeted=False).ended(4003, "Application disabled")


@pytest.mark.parametrize(
    "origin",
    [
        "https://shop.example",
        "HTTPS://SHOP.EXAMPLE",
        "https://example.com",
        "http://a.b.example.com",
        "http://plain.example:8080",
        "https://plain.example:8080",
        "https://preview-7.example.net",
    ],
)
def test_allowed_origins(connect: Connect, origin: str) -> None:
    connect(app=ORIGIN_APP, headers={"Origin": origin})


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "",
        "null",
        "http://shop.example",
        "https://shop.example:444",
        "https://notexample.com",
        "https://plain.example",
        "https://other.example.net",
    ],
)
def test_other_origins(connect: Connect, origin: str | None) -> None:
    connect(app=ORIGIN_APP, headers={"Origin": origin}, greeted=False).ended(4009, "Origin not allowed")


def test_an_app_without_origins_takes_any(connect: Connect) -> None:
    connect(headers={"Origin": "https://anywhere.test"})


def test_an_app_at_its_limit(connect: Connect) -> None:
    first, _ = connect(app=SMALL_APP), connect(app=SMALL_APP)
    connect(app=SMALL_APP, greeted=False).ended(4004, "Application is over adapter quota")
    first.send(frame(b"", CLOSE))
    first.closed(None)
    connect(app=SMALL_APP)


def test_capability_tokens_need_version_two(connect: Connect) -> None:
    text = "Authentication error: capability tokens need protocol V2"
    connect(query="protocol=7&token=abc", greeted=False).ended(4009, text)


def test_a_refused_connection_may_answer_late_or_not_at_all(connect: Connect, server: ServerProcess) -> None:
    refused = connect(target="/app/nobody?protocol=7", greeted=False)
    refused.say("pusher:subscribe", {"channel": "x"})
    refused.ended(4001, "Application does not exist")
    connect(target="/app/nobody?protocol=7", greeted=False).reset()
    connect()


def test_a_node_at_its_limit(connect: Connect, serve: Callable[..., ServerProcess]) -> None:
    small = serve({"max_connections": 1})
    first = connect(server=small)
    connect(server=small, greeted=False).ended(4100, "Over capacity")
    connect(server=small, app=small.numeric_app, greeted=False).ended(4100, "Over capacity")
    first.send(frame((1000).to_bytes(2, "big"), CLOSE))
    first.closed(1000)
    connect(server=small)


def test_the_order_of_the_checks(connect: Connect, dial: Dial, serve: Callable[..., ServerProcess]) -> None:
    """Handshake before query, query before admission; then key, app, origin, capacity, quota, in this order."""
    answer = ask(dial, "/app/nobody?protocol=abc", {"Sec-WebSocket-Key": None})
    assert_error(answer, 400, "invalid_input", "Sec-WebSocket-Key")
    assert_error(ask(dial, "/app/nobody?protocol=abc"), 400, "invalid_input", "protocol")
    closed_app = {**DISABLED_RECORD, "policy": {"channels": {"allowed_origins": ["https://only.example"]}}}
    strict = app_record(
        ORIGIN_APP, channels={"allowed_origins": ["https://only.example"]}, limits={"max_connections": 1}
    )
    config = {"max_connections": 1, "app_manager": {"array": {"apps": [closed_app, strict]}}}
    full = serve(config)
    connect(server=full, app=ORIGIN_APP, headers={"Origin": "https://only.example"})
    connect(server=full, app=DISABLED_APP, greeted=False).ended(4003, "Application disabled")
    connect(server=full, app=ORIGIN_APP, greeted=False).ended(4009, "Origin not allowed")
    allowed = connect(server=full, app=ORIGIN_APP, headers={"Origin": "https://only.example"}, greeted=False)
    allowed.ended(4100, "Over capacity")


# ---- frames that come with the upgrade ----


def test_frames_in_the_packet_of_the_upgrade_are_served(connect: Connect) -> None:
    early = frame('{"event":"pusher:ping"}') + frame('{"event":"pusher:subscribe","data":{"channel":"early"}}')
    client = connect(early=early)
    assert client.text() == '{"event":"pusher:pong"}'
    assert client.event()["channel"] == "early"


def test_a_frame_cut_by_the_end_of_the_packet_is_put_together(connect: Connect) -> None:
    whole = frame('{"event":"pusher:ping"}')
    client = connect(early=whole[:7])
    client.send(whole[7:])
    assert client.text() == '{"event":"pusher:pong"}'


def test_a_handshake_may_come_byte_by_byte(dial: Dial) -> None:
    connection = dial()
    request = handshake("/app/app-key?protocol=7") + frame('{"event":"pusher:ping"}')
    for place in range(len(request)):
        connection.send(request[place : place + 1])
    assert connection.answer().status == 101


def test_an_upgrade_after_requests_on_the_same_connection(dial: Dial) -> None:
    connection = dial()
    connection.send(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert connection.answer().status == 200
    connection.send(handshake("/app/app-key?protocol=7"))
    assert connection.answer().status == 101


def test_a_server_that_shuts_down(connect: Connect, dial: Dial, serve: Callable[..., ServerProcess]) -> None:
    """Sockets are told 4200; while one of them has not answered, upgrades get 503 and so does /up."""
    ending = serve()
    told = connect(server=ending)
    told.subscribe("news")
    ending.process.terminate()
    told.refused(4200, "Server shutting down")
    late = dial(server=ending)
    late.send(handshake("/app/app-key?protocol=7"))
    answer = late.answer()
    assert_error(answer, 503, "service_unavailable")
    assert answer.header("retry-after") == "1"
    health = ending.request("GET", "/up")
    assert (health.status, health.text, health.headers["x-health-check"]) == (503, "DRAINING", "DRAINING")
    assert ending.request("GET", "/live").status == 200
    told.closed(4200, "Server shutting down")
    assert ending.wait() == 0


def test_refused_connections_are_counted_by_reason(connect: Connect, server: ServerProcess) -> None:
    connect(target="/app/nobody-at-all", greeted=False).ended(4001, "Application does not exist")
    wait_until(lambda: 'app_id="unknown",error_type="app_not_found"' in server.metrics(), "the count of refusals")
    assert "nobody-at-all" not in server.metrics()


def test_a_refused_connection_counts_for_the_app_and_not_for_its_key(connect: Connect, server: ServerProcess) -> None:
    connect(app=DISABLED_APP, greeted=False).ended(4003, "Application disabled")
    wait_until(lambda: 'app_id="disabled",error_type="app_disabled"' in server.metrics(), "the count of refusals")
    assert DISABLED_APP.key not in server.metrics()
