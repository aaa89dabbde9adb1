"""HTTP itself (spec: http-api § 10): paths, verbs, CORS, sizes, broken requests, and connections that live on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from blackbox.api import LANES, Api, Lane
from support.raw import Answer, Dial, RawConnection, assert_error, request_bytes, signed_target
from support.server import DEFAULT_APP, ServerProcess, start_server
from support.websocket import Connect, compact

LIMIT = 1024 * 1024
VARY = "origin, access-control-request-method, access-control-request-headers"
JSON = {"Content-Type": "application/json"}
TOO_LARGE = f"The request body is over {LIMIT} bytes"


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with start_server({"http_api": {"request_limit_in_mb": 1}}) as running:
        yield running


@pytest.fixture(params=LANES, ids=str)
def api(request: pytest.FixtureRequest, server: ServerProcess) -> Api:
    lane: Lane = request.param
    return Api(server, lane)


def publish_bytes(
    server: ServerProcess, channel: str, data: str = "x", headers: dict[str, str] | None = None, version: str = "1.1"
) -> bytes:
    """A publish as one request."""
    body = compact({"name": "e", "channel": channel, "data": data}).encode()
    target = signed_target(server.app, "POST", "/apps/app-id/events", body)
    return request_bytes("POST", target, {**JSON, **(headers or {})}, body, version=version)


def get_bytes(server: ServerProcess, endpoint: str = "channels/x") -> bytes:
    return request_bytes("GET", signed_target(server.app, "GET", f"/apps/app-id/{endpoint}"))


def assert_refused(connection: RawConnection, status: int, code: str) -> Answer:
    """The envelope, and the end of the connection."""
    answer = connection.answer()
    assert (answer.status, answer.json()["code"], answer.json()["status"]) == (status, code, status)
    assert answer.header("connection") == "close"
    connection.assert_closed()
    return answer


# ---- paths and verbs ----


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nothing",
        "/metrics",
        "/apps",
        "/apps/app-id",
        "/apps//events",
        "/apps/app-id//events",
        "//apps/app-id/events",
        "/apps/app-id/channels//users",
        "/apps/app-id/users//terminate_connections",
        "/apps/app-id/events//",
        "/apps/app-id/events;x",
        "/apps/app-id/../app-id/events",
        "/apps/app-id/Events",
        "/APPS/app-id/events",
        "/apps/app-id/%65vents",
        "/apps/app-id/channels/x/messages",
        "/live/more",
        "/%ff",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_unknown_paths(server: ServerProcess, path: str, method: str) -> None:
    answer = Api(server).ask(method, f"{path}?a=1")
    assert (answer.status, answer.json()["code"]) == (404, "not_found")
    assert answer.header("access-control-allow-origin") is None


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/apps/app-id/events", "POST"),
        ("PUT", "/apps/app-id/events", "POST"),
        ("DELETE", "/apps/app-id/batch_events", "POST"),
        ("POST", "/apps/app-id/channels", "GET,HEAD"),
        ("PATCH", "/apps/app-id/channels/x", "GET,HEAD"),
        ("POST", "/apps/app-id/channels/presence-x/users", "GET,HEAD"),
        ("GET", "/apps/app-id/users/u/terminate_connections", "POST"),
        ("GET", "/apps/app-id/users/u/force_reconnect", "POST"),
        ("POST", "/apps/app-id/channels/x/history", "GET,HEAD"),
        ("GET", "/apps/app-id/channels/x/history/purge", "POST"),
        ("GET", "/apps/app-id/revocations", "POST"),
        ("POST", "/live", "GET,HEAD"),
        ("POST", "/up", "GET,HEAD"),
        ("DELETE", "/app/app-key", "GET,HEAD"),
    ],
)
def test_other_verbs_are_told_the_right_ones(server: ServerProcess, method: str, path: str, allow: str) -> None:
    answer = Api(server).ask(method, path)
    assert_error(answer, 405, "method_not_allowed", f"{method} is not allowed here; use {allow.replace(',', ' or ')}")
    assert answer.header("allow") == allow
    assert answer.header("vary") == VARY


def test_head_is_get_without_the_body(server: ServerProcess) -> None:
    api = Api(server)
    answer, whole = api.get("channels/x", method="HEAD"), api.get("channels/x")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.header("content-length") == str(len(whole.body))
    assert answer.header("content-type") == "application/json"


@pytest.mark.parametrize("path", ["/apps/app-id/channels/x/", "/live/", "/up/app-id/"])
def test_one_slash_at_the_end_is_taken_off(server: ServerProcess, path: str) -> None:
    target = signed_target(server.app, "GET", path[:-1]).replace("?", "/?", 1)
    assert Api(server).ask("GET", target).status == 200


def test_an_absolute_target(server: ServerProcess, dial: Dial) -> None:
    connection = dial()
    connection.send(b"GET http://localhost/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert connection.answer().status == 200


# ---- CORS ----


def test_every_answer_of_a_known_route_is_for_every_origin(api: Api) -> None:
    for answer in (
        api.events({"name": "e", "channel": "x", "data": "x"}),
        api.events({}),
        api.ask("POST", "/apps/app-id/events"),
        api.get("channels"),
        api.ask("GET", "/live"),
        api.ask("GET", "/up"),
    ):
        assert answer.header("access-control-allow-origin") == "*"
        assert answer.header("vary") == VARY
        assert answer.header("access-control-allow-credentials") is None


@pytest.mark.parametrize(
    ("path", "allow"),
    [("/apps/app-id/events", "POST"), ("/apps/nobody/channels/x", "GET,HEAD"), ("/up", "GET,HEAD")],
)
def test_preflight(server: ServerProcess, path: str, allow: str) -> None:
    answer = Api(server).ask("OPTIONS", path, headers={"Origin": "https://page.test"})
    assert (answer.status, answer.body, answer.header("allow")) == (200, b"", allow)
    assert answer.header("access-control-allow-origin") == "*"
    assert answer.header("access-control-allow-methods") == "GET,POST,PUT,PATCH,DELETE,OPTIONS"
    allowed = answer.header("access-control-allow-headers")
    assert allowed is not None
    assert {"content-type", "authorization", "x-idempotency-key"} <= set(allowed.split(","))
    assert answer.header("access-control-max-age") is None


@pytest.fixture(scope="module")
def picky() -> Iterator[ServerProcess]:
    cors = {"origin": ["https://page.test", "*.example.org", "plain.test"], "methods": ["GET"]}
    with start_server({"cors": {**cors, "allowed_headers": ["X-One", "X-Two"]}}) as running:
        yield running


@pytest.mark.parametrize("lane", LANES, ids=str)
@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://page.test", True),
        ("HTTPS://PAGE.TEST", True),
        ("https://example.org", True),
        ("http://a.example.org", True),
        ("http://plain.test", True),
        ("http://page.test", False),
        ("https://other.test", False),
        ("null", False),
        (None, False),
    ],
)
def test_a_list_of_origins(picky: ServerProcess, lane: Lane, origin: str | None, allowed: bool) -> None:
    api = Api(picky, lane)
    headers = {"Origin": origin}
    for answer in (
        api.events({"name": "e", "channel": "x", "data": "x"}, headers),
        api.ask("GET", "/live", headers=headers),
        api.ask("OPTIONS", "/apps/app-id/events", headers=headers),
    ):
        assert answer.status == 200
        assert answer.header("vary") == VARY
        assert answer.header("access-control-allow-origin") == (origin if allowed else None)
        assert answer.header("access-control-allow-credentials") == ("true" if allowed else None)


def test_configured_methods_and_headers(picky: ServerProcess) -> None:
    answer = Api(picky).ask("OPTIONS", "/apps/app-id/events", headers={"Origin": "https://page.test"})
    assert answer.header("access-control-allow-methods") == "GET"
    assert answer.header("access-control-allow-headers") == "x-one,x-two"


def test_no_origins(serve: Callable[..., ServerProcess]) -> None:
    api = Api(serve({"cors": {"origin": []}}))
    answer = api.events({"name": "e", "channel": "x", "data": "x"}, {"Origin": "https://page.test"})
    assert answer.header("access-control-allow-origin") is None
    assert answer.header("vary") == VARY


# ---- sizes ----


def test_a_body_at_the_limit(api: Api) -> None:
    body = b'{"batch":[]}'.ljust(LIMIT)
    assert api.batch(body).status == 200


@pytest.mark.parametrize("path", ["/apps/app-id/events", "/apps/app-id/users/u/terminate_connections", "/live", "/no"])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_declared_body_over_the_limit_is_refused_before_it_comes(dial: Dial, path: str, version: str) -> None:
    connection = dial()
    head = request_bytes("POST", f"{path}?a=1", {**JSON, "Content-Length": str(LIMIT + 1)}, version=version)
    connection.send(head)
    assert assert_refused(connection, 413, "payload_too_large").json()["error"] == TOO_LARGE


def test_it_is_refused_instead_of_continued(dial: Dial) -> None:
    connection = dial()
    headers = {**JSON, "Content-Length": str(LIMIT + 1), "Expect": "100-continue"}
    connection.send(request_bytes("POST", "/apps/app-id/events?a=1", headers))
    assert_refused(connection, 413, "payload_too_large")


@pytest.mark.parametrize("path", ["/apps/app-id/events", "/apps/app-id/channels", "/live"])
def test_a_chunked_body_is_cut_off_while_it_comes(dial: Dial, path: str) -> None:
    connection = dial()
    # Signed, for it would be refused before its body otherwise.
    target = signed_target(DEFAULT_APP, "POST", path, b"later")
    connection.send(request_bytes("POST", target, {**JSON, "Transfer-Encoding": "chunked"}))
    if path == "/apps/app-id/events":
        chunk = b"%x\r\n%b\r\n" % (LIMIT // 4, b" " * (LIMIT // 4))
        connection.send(chunk * 4 + b"1\r\n")
        connection.send(b" ")
        assert_refused(connection, 413, "payload_too_large")
    else:
        answer = connection.answer()
        assert answer.status == 405


def test_a_long_target(dial: Dial) -> None:
    connection = dial()
    connection.send(request_bytes("GET", f"/live?{'x' * (64 * 1024 - 7)}"))
    assert connection.answer().status == 200
    connection.send(request_bytes("GET", f"/live?{'x' * (64 * 1024)}"))
    assert_refused(connection, 414, "uri_too_long")


def test_many_headers(dial: Dial) -> None:
    connection = dial()
    connection.send(request_bytes("GET", "/live", {f"X-{number}": "y" for number in range(99)}))
    assert connection.answer().status == 200
    connection.send(request_bytes("GET", "/live", {f"X-{number}": "y" for number in range(100)}))
    assert_refused(connection, 431, "headers_too_large")


def test_large_headers(dial: Dial) -> None:
    connection = dial()
    connection.send(request_bytes("GET", "/live", {"Cookie": "x" * 60_000}))
    assert connection.answer().status == 200
    connection.send(request_bytes("GET", "/live", {"Cookie": "x" * 132_000}))
    assert_refused(connection, 431, "headers_too_large")


def test_a_head_without_end(dial: Dial) -> None:
    connection = dial()
    connection.send(b"GET /live HTTP/1.1\r\nHost: x\r\nCookie: " + b"x" * 1_000_000)
    assert_refused(connection, 431, "headers_too_large")


# ---- requests that are no HTTP/1.1 ----


@pytest.mark.parametrize(
    "request_text",
    [
        "GET /live HTTP/1.1\r\n\r\n",
        "GET /live HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /live HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
        "POST /apps/app-id/events?a=1 HTTP/1.1\r\n\r\n",
        "POST /live HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /live HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "POST /live HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        "POST /live HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nabcde",
        "POST /live HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        "POST /live HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nabcde",
        "POST /live HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nabcde",
        "POST /live HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nabcde",
        "POST /live HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "POST /live HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "POST /live HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        "GET /live HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET /live HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n",
        "GET /live HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        "GET /live HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "GET /live HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET /live HTTP/1.2\r\nHost: a\r\n\r\n",
        "GET /live HTTP/0.9\r\nHost: a\r\n\r\n",
        "GET /live\r\n\r\n",
        "NONSENSE /live HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT elsewhere:443 HTTP/1.1\r\nHost: a\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "hello\r\n\r\n",
    ],
)
def test_broken_requests_are_400_and_end_the_connection(dial: Dial, request_text: str) -> None:
    connection = dial()
    connection.send(request_text.encode("latin-1"))
    assert_refused(connection, 400, "invalid_input")


def test_what_came_before_a_broken_request_is_answered(server: ServerProcess, dial: Dial) -> None:
    connection = dial()
    connection.send(publish_bytes(server, "x") + b"nonsense\r\n\r\n")
    assert connection.answer().status == 200
    assert_refused(connection, 400, "invalid_input")


def test_a_smuggled_publish_is_not_served(server: ServerProcess, connect: Connect, dial: Dial, unique: str) -> None:
    """The body of the first request looks like another one to whoever reads its length in the other way."""
    client = connect()
    client.subscribe(unique)
    hidden = publish_bytes(server, unique)
    for head in (
        f"Content-Length: {len(hidden) + 5}\r\nTransfer-Encoding: chunked",
        f"Transfer-Encoding: chunked\r\nContent-Length: {len(hidden) + 5}",
        "Content-Length: 0\r\nContent-Length: 5",
        "Transfer-Encoding:\x0bchunked",
    ):
        connection = dial()
        connection.send(f"POST /live HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n".encode() + b"0\r\n\r\n" + hidden)
        assert_refused(connection, 400, "invalid_input")
    client.hears_nothing()


# ---- HTTP/1.0, keep-alive, pipelining ----


def test_http_1_0_needs_no_host_and_closes(server: ServerProcess, dial: Dial) -> None:
    connection = dial()
    connection.send(b"GET /live HTTP/1.0\r\n\r\n")
    assert connection.answer().status == 200
    connection.assert_closed()
    other = dial()
    other.send(publish_bytes(server, "x", version="1.0"))
    assert other.answer().json() == {"ok": True}
    other.assert_closed()


def test_a_connection_lives_on_after_refusals(server: ServerProcess, dial: Dial) -> None:
    connection = dial()
    bad = request_bytes("POST", "/apps/app-id/events?a=1", JSON, b"{}")
    for request, status in (
        (publish_bytes(server, "x"), 200),
        (bad, 401),
        (publish_bytes(server, "a b"), 400),
        (get_bytes(server), 200),
        (request_bytes("GET", "/nothing"), 404),
        (request_bytes("DELETE", "/live"), 405),
        (request_bytes("POST", "/apps/app-id/events", {"Content-Type": "text/plain"}, b"x"), 400),
        (publish_bytes(server, "x"), 200),
    ):
        connection.send(request)
        answer = connection.answer()
        assert answer.status == status
        assert answer.header("connection") != "close"


def test_close_is_obeyed(server: ServerProcess, dial: Dial) -> None:
    for request in (
        publish_bytes(server, "x", headers={"Connection": "close"}),
        request_bytes("GET", "/live", {"Connection": "close"}),
    ):
        connection = dial()
        connection.send(request + request)
        answer = connection.answer()
        assert (answer.status, answer.header("connection")) == (200, "close")
        connection.assert_closed()


def test_pipelined_publishes_are_answered_and_delivered_in_order(
    server: ServerProcess, connect: Connect, dial: Dial, unique: str
) -> None:
    client = connect()
    client.subscribe(unique)
    connection = dial()
    connection.send(b"".join(publish_bytes(server, unique, str(number)) for number in range(100)))
    assert all(connection.answer().json() == {"ok": True} for _ in range(100))
    assert [client.event()["data"] for _ in range(100)] == [str(number) for number in range(100)]


def test_pipelining_over_both_roads_keeps_the_order(
    server: ServerProcess, connect: Connect, dial: Dial, unique: str
) -> None:
    client = connect()
    client.subscribe(unique)
    connection = dial()
    requests: list[bytes] = []
    for number in range(40):
        requests.append(publish_bytes(server, unique, str(number)))
        requests.append(get_bytes(server, f"channels/{unique}-{number}") if number % 3 else get_bytes(server))
    connection.send(b"".join(requests))
    for _ in range(40):
        assert connection.answer().json() == {"ok": True}
        assert connection.answer().json() == {"occupied": False}
    assert [client.event()["data"] for _ in range(40)] == [str(number) for number in range(40)]


def test_a_publish_may_come_byte_by_byte(server: ServerProcess, dial: Dial) -> None:
    connection = dial()
    request = publish_bytes(server, "x")
    for place in range(len(request)):
        connection.send(request[place : place + 1])
    assert connection.answer().json() == {"ok": True}


def chunked(body: bytes, size: int, extension: bytes = b"", trailer: bytes = b"") -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts) + b"0\r\n" + trailer + b"\r\n"


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("more", [{}, {"extension": b";a=b", "trailer": b"X: y\r\n"}])
def test_chunked_publishes(
    server: ServerProcess, connect: Connect, dial: Dial, unique: str, size: int, more: dict[str, Any]
) -> None:
    client = connect()
    client.subscribe(unique)
    body = compact({"name": "e", "channel": unique, "data": "ü"}).encode()
    target = signed_target(server.app, "POST", "/apps/app-id/events", body)
    head = request_bytes("POST", target, {**JSON, "Transfer-Encoding": "chunked"})
    connection = dial()
    for _ in range(2):
        connection.send(head + chunked(body, size, **more))
        assert connection.answer().json() == {"ok": True}
        assert client.event()["data"] == "ü"


def test_continue_is_said_before_the_body(server: ServerProcess, dial: Dial) -> None:
    connection = dial()
    request = publish_bytes(server, "x", headers={"Expect": "100-continue"})
    head, _, body = request.partition(b"\r\n\r\n")
    connection.send(head + b"\r\n\r\n")
    assert connection.answer().status == 100
    connection.send(body)
    assert connection.answer().json() == {"ok": True}


def test_an_offer_of_http_2_is_not_taken(server: ServerProcess, connect: Connect, dial: Dial, unique: str) -> None:
    client = connect()
    client.subscribe(unique)
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAAP__"}
    connection = dial()
    connection.send(request_bytes("GET", "/live", offer))
    assert connection.answer().status == 200
    other = dial()
    other.send(publish_bytes(server, unique, headers=offer))
    assert other.answer().json() == {"ok": True}
    assert client.event()["data"] == "x"


def test_a_client_that_says_all_and_closes_its_side(server: ServerProcess, dial: Dial) -> None:
    connection = dial()
    connection.send(publish_bytes(server, "x"))
    connection.half_close()
    assert connection.answer().json() == {"ok": True}


def test_every_answer_is_dated_and_names_no_software(api: Api) -> None:
    for answer in (api.events({}), api.get("channels"), api.ask("GET", "/live"), api.ask("GET", "/nothing")):
        date = answer.header("date")
        assert date is not None
        assert date.endswith(" GMT")
        assert answer.header("server") is None


def test_a_client_that_never_reads_its_answers(server: ServerProcess, dial: Dial) -> None:
    """It is not read from either, so that its answers do not pile up; when it reads, it gets all of them."""
    greedy = dial(receive_buffer=4096)
    # Large ones, of which few wait in the buffers of the system.
    request = request_bytes("POST", "/apps/app-id/events?x=1", {**JSON, "X-Filler": "x" * 3000}, b"{}")
    count = greedy.send_until_full(request, limit=100_000)
    assert count < 100_000
    assert Api(server).ask("GET", "/live").status == 200
    for _ in range(count):
        assert greedy.answer().status == 401
