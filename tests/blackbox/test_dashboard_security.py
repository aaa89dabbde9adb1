"""The dashboard of a running server against those who have no business there."""

from __future__ import annotations

import http.client
import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from urllib.parse import urlencode

import pytest

from support import commands
from support.desk import Desk
from support.server import DEFAULT_APP, Reply, ServerProcess, start_server
from support.waiting import wait_until

PASSWORD = "correct horse battery staple"
BEARER = {"Authorization": f"Bearer {PASSWORD}"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
CONFIG = {"dashboard": {"password": PASSWORD}}
SECURITY = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
}


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with start_server(CONFIG) as running:
        yield running


@pytest.fixture(scope="module")
def cookie(server: ServerProcess) -> str:
    body = urlencode({"password": PASSWORD}).encode()
    reply = server.request("POST", "/dashboard/login", body=body, headers=FORM, port=server.metrics_port)
    return reply.headers["set-cookie"].partition(";")[0]


def ask(
    server: ServerProcess, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b""
) -> Reply:
    return server.request(method, path, body=body or None, headers=headers, port=server.metrics_port)


async def routes() -> list[tuple[str, str]]:
    """Method and a path of every route that there is."""
    return [
        (method, re.sub(r"\{[^}]+\}", "x", route.path))
        for route in Desk().routes
        for method in sorted(route.methods or ())
    ]


async def test_no_route_is_open_but_the_login_and_the_files(server: ServerProcess) -> None:
    found = await routes()
    assert len(found) > 30
    for method, path in found:
        reply = ask(server, method, path)
        for name, value in SECURITY.items():
            assert reply.headers[name] == value, (method, path, name)
        if path == "/dashboard/login":
            assert reply.status in (200, 401, 415)
        elif path.startswith("/dashboard/static/"):
            assert reply.status == 404
        elif path.startswith("/dashboard/api/"):
            assert reply.status == 401, (method, path)
        else:
            assert reply.status == 303, (method, path)
            assert reply.headers["location"].startswith("/dashboard/login"), (method, path)


async def test_a_cookie_alone_changes_nothing(server: ServerProcess, cookie: str) -> None:
    """As a page of another origin could make a browser send it, if the cookie went along."""
    for method, path in await routes():
        if method in ("GET", "HEAD") or path == "/dashboard/login":
            continue
        for headers in (
            {},
            {"Origin": "https://evil.test"},
            {"Sec-Fetch-Site": "cross-site"},
            {"X-CSRF-Token": "x" * 43},
        ):
            for kind, body in ((FORM["Content-Type"], b"a=b&csrf_token=x"), ("text/plain", b"{}")):
                reply = ask(server, method, path, {"Cookie": cookie, "Content-Type": kind, **headers}, body)
                assert reply.status == 403, (method, path, headers, kind)


@pytest.mark.parametrize("value", ["x", "x" * 43, "", "../../etc/passwd"])
def test_a_forged_session_is_none(server: ServerProcess, value: str) -> None:
    headers = {"Cookie": f"sockudo_dashboard_session={value}"}
    assert ask(server, "GET", "/dashboard", headers).status == 303
    assert ask(server, "GET", "/dashboard/api/v1/session", headers).status == 401


def test_a_session_ends_by_itself() -> None:
    # The shortest there is would be a minute: the clock is the test of the units; here, that the setting arrives.
    with start_server({"dashboard": {"password": PASSWORD, "session_lifetime": 60}}) as server:
        body = urlencode({"password": PASSWORD}).encode()
        reply = server.request("POST", "/dashboard/login", body=body, headers=FORM, port=server.metrics_port)
        assert "; Max-Age=60; " in reply.headers["set-cookie"]
        cookie = reply.headers["set-cookie"].partition(";")[0]
        left = ask(server, "GET", "/dashboard/api/v1/session", {"Cookie": cookie}).json()["expires_in"]
        assert 50 <= left <= 60


@pytest.mark.parametrize(
    "path",
    [
        "/dashboard/static/../../../../../../etc/passwd",
        "/dashboard/static/x/../../../../../../../etc/passwd",
        "/dashboard/static/x/%2e%2e/%2e%2e/%2e%2e/passwords.py",
        "/dashboard/static/x/..%2f..%2fpasswords.py",
        "/dashboard/static/x//etc/passwd",
        "/dashboard/static/x/dashboard.css%00",
    ],
)
def test_files_outside_the_folder_are_out_of_reach(server: ServerProcess, path: str) -> None:
    reply = ask(server, "GET", path)
    assert reply.status in (303, 400, 404)
    assert b"root:" not in reply.body
    assert b"import" not in reply.body


def test_files_are_kept_for_ever_under_the_url_of_their_content(server: ServerProcess) -> None:
    page = ask(server, "GET", "/dashboard/login").text
    urls = re.findall(r'(?:href|src)="(/dashboard/static/[^"]+)"', page)
    assert any(url.endswith(".css") for url in urls)
    assert any(url.endswith("htmx.min.js") for url in urls)
    for url in urls:
        reply = ask(server, "GET", url)
        assert reply.status == 200, url
        assert reply.headers["cache-control"] == "public, max-age=31536000, immutable"
        again = ask(server, "GET", url, {"If-None-Match": reply.headers["etag"]})
        assert (again.status, again.body) == (304, b"")
        stale = ask(server, "GET", re.sub(r"/static/\w+/", "/static/000000000000/", url))
        assert (stale.status, stale.headers["cache-control"]) == (200, "no-cache")


def test_pages_bring_nothing_from_elsewhere_and_nothing_inline(server: ServerProcess, cookie: str) -> None:
    for path in ("/dashboard/login", "/dashboard", "/dashboard/apps", "/dashboard/channels", "/dashboard/connections",
                 "/dashboard/inspector", "/dashboard/why", "/dashboard/webhooks", "/dashboard/nothing"):  # fmt: skip
        reply = ask(server, "GET", path, {} if path.endswith("login") else {"Cookie": cookie})
        assert reply.headers["cache-control"] == "no-store"
        text = reply.text
        assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|javascript:|hx-on", text), path
        assert not re.search(r"""(?:src|href|action)=["']?(?:https?:)?//""", text), path


def test_where_the_login_leads_to_is_inside(server: ServerProcess) -> None:
    for wanted in ("https://evil.test/", "//evil.test/dashboard", "/\\evil.test", "/dashboard/../metrics"):
        body = urlencode({"password": PASSWORD, "next": wanted}).encode()
        reply = ask(server, "POST", "/dashboard/login", FORM, body)
        assert (reply.status, reply.headers["location"]) == (303, "/dashboard")
        assert "evil" not in ask(server, "GET", "/dashboard/login?" + urlencode({"next": wanted})).text


def test_the_public_port_knows_nothing_of_it(server: ServerProcess) -> None:
    for path in ("/dashboard", "/dashboard/login", "/dashboard/api/v1/session", "/dashboard/static/x/dashboard.css"):
        reply = server.request("GET", path, headers=BEARER)
        assert (reply.status, reply.json()["code"]) == (404, "not_found")


def test_on_the_public_port_where_it_is_wanted() -> None:
    with start_server({"dashboard": {"password": PASSWORD, "public": True}}) as server:
        for port in (server.port, server.metrics_port):
            reply = server.request("GET", "/dashboard", port=port, headers={"Origin": "https://evil.test"})
            assert (reply.status, reply.headers["location"]) == (303, "/dashboard/login")
            # What the public port allows to pages of other origins ends here.
            assert "access-control-allow-origin" not in reply.headers
            assert reply.headers["x-frame-options"] == "DENY"
            assert server.request("GET", "/dashboard/api/v1/session", port=port, headers=BEARER).status == 200
        assert server.request("GET", "/up").text == "OK"
        server.publish("news", "hello", "{}")


def test_without_metrics_where_it_is_wanted() -> None:
    with start_server({"metrics": {"enabled": False}, "dashboard": {"enabled": True, "password": PASSWORD}}) as server:
        wait_until(lambda: "is ready in" in server.log, "the welcome")
        assert ask(server, "GET", "/dashboard/api/v1/session", BEARER).status == 200
        assert ask(server, "GET", "/metrics").status == 404
        assert "/metrics\n" not in server.log
    with start_server({"metrics": {"enabled": False}, "dashboard": {"password": PASSWORD}}) as server:
        with pytest.raises(ConnectionRefusedError):
            ask(server, "GET", "/dashboard")
        assert "password" not in server.log


def test_switched_off_it_makes_no_password() -> None:
    with start_server({"dashboard": {"enabled": False}}) as server:
        assert ask(server, "GET", "/dashboard").status == 404
        assert ask(server, "GET", "/metrics").status == 200
        assert not (server.folder / "data" / "dashboard-password").exists()


def test_a_drain_does_not_wait_for_event_streams() -> None:
    config = {"dashboard": {"password": PASSWORD, "public": True}, "shutdown_grace_period": 10}
    with start_server(config) as server:
        streams = []
        for port in (server.metrics_port, server.port):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", "/dashboard/api/v1/overview/stream", headers=BEARER)
            streams.append((connection, connection.getresponse()))
        assert all(stream.read1(1) == b":" for _, stream in streams)
        started = time.monotonic()
        assert server.terminate() == 0
        assert time.monotonic() - started < config["shutdown_grace_period"]
        for connection, stream in streams:
            with closing(connection):
                # An end, not a cut: this would raise IncompleteRead.
                stream.read()


def test_a_head_without_end_is_not_gathered(server: ServerProcess) -> None:
    with socket.create_connection(("127.0.0.1", server.metrics_port), timeout=10) as raw:
        raw.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nA: ")
        with suppress(ConnectionError):
            raw.sendall(b"a" * 200_000)
        # Whoever is still sending may be cut before the answer can be read.
        assert _received(raw)[:13] in (b"HTTP/1.1 431 ", b"")
    assert ask(server, "GET", "/metrics").status == 200


def test_connections_to_the_operators_listener_are_bounded() -> None:
    with start_server(CONFIG) as server:
        held = [socket.create_connection(("127.0.0.1", server.metrics_port), timeout=10) for _ in range(600)]
        # All of them are of one address, which has a share.
        cut = [each for each in held[128:] if _received(each) == b""]
        assert len(cut) == 472
        for each in held:
            each.close()
        wait_until(lambda: _answers(server), "an answer once they are gone")
        assert server.request("GET", "/up").text == "OK"


def _received(raw: socket.socket) -> bytes:
    """What comes before the server ends the connection; a TimeoutError when it does not."""
    try:
        return raw.recv(100)
    except ConnectionError:
        return b""


def _answers(server: ServerProcess) -> bool:
    try:
        return ask(server, "GET", "/metrics").status == 200
    except OSError:
        return False


def test_the_password_is_not_shown(server: ServerProcess) -> None:
    for extra in ((), ("--json",), ("--toml",)):
        command = ["config", "show", "--config", "config.json", *extra]
        commands.run(command, env=commands.environment(), cwd=server.folder, secrets=(PASSWORD, DEFAULT_APP.secret))
    assert PASSWORD in json.loads((server.folder / "config.json").read_text())["dashboard"]["password"]
