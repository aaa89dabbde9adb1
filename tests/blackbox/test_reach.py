"""Who reaches a server on loopback: pages of names that were made to stand for it do not."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from websockets.sync.client import connect

from support.server import ServerProcess, start_server
from support.signing import signed_query
from support.waiting import wait_until

PASSWORD = "correct horse battery staple"
CONFIG = {"dashboard": {"password": PASSWORD}}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
EVIL = "http://evil.example"


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with start_server(CONFIG) as running:
        yield running


@pytest.fixture(scope="module")
def dev() -> Iterator[ServerProcess]:
    with start_server(CONFIG, args=["--dev", "--allow-origin", "https://shop.example"]) as running:
        yield running


def log_in_as_a_page_of(server: ServerProcess, host: str) -> int:
    """What a page gets whose own origin is ``host``."""
    headers = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin", **FORM}
    body = urlencode({"password": PASSWORD}).encode()
    reply = server.request("POST", "/dashboard/login", body=body, headers=headers, port=server.metrics_port)
    if reply.status == 421:
        assert reply.json()["code"] == "host_not_allowed"
        assert "set-cookie" not in reply.headers
    return reply.status


def test_a_name_that_was_made_to_stand_for_loopback_reaches_no_dashboard(
    server: ServerProcess, dev: ServerProcess
) -> None:
    for each in (server, dev):
        assert log_in_as_a_page_of(each, f"evil.example:{each.metrics_port}") == 421
        assert log_in_as_a_page_of(each, f"localhost:{each.metrics_port}") == 303
        reply = each.request("GET", "/metrics", headers={"Host": "evil.example"}, port=each.metrics_port)
        assert (reply.status, reply.json()["status"]) == (421, 421)


def test_nor_the_main_port(server: ServerProcess, dev: ServerProcess) -> None:
    for each in (server, dev):
        reply = each.request("GET", "/live", headers={"Host": "evil.example"})
        assert (reply.status, reply.json()["code"]) == (421, "host_not_allowed")
        assert "'evil.example'" in reply.json()["error"]
        assert each.request("GET", "/live", headers={"Host": f"app.localhost:{each.port}"}).status == 200


def test_hosts_are_added_while_it_runs() -> None:
    with start_server(CONFIG | {"allowed_hosts": ["a.example"]}) as server:
        assert server.request("GET", "/live", headers={"Host": "a.example"}).status == 200
        assert server.request("GET", "/live", headers={"Host": "b.example"}).status == 421
        path = server.folder / "config.json"
        config = json.loads(path.read_text()) | {"allowed_hosts": ["b.example"]}
        path.write_text(json.dumps(config))
        server.send_signal(signal.SIGHUP)
        wait_until(lambda: "configuration reloaded" in server.log, "the reload")
        assert server.request("GET", "/live", headers={"Host": "b.example"}).status == 200
        assert server.request("GET", "/metrics", headers={"Host": "b.example"}, port=server.metrics_port).status == 200
        assert server.request("GET", "/live", headers={"Host": "a.example"}).status == 421


def test_a_proxy_that_is_counted_passes_any_name_on() -> None:
    with start_server(CONFIG | {"rate_limiter": {"api_rate_limit": {"trust_hops": 1}}}) as server:
        assert server.request("GET", "/live", headers={"Host": "realtime.example.com"}).status == 200
        reply = server.request("GET", "/metrics", headers={"Host": "realtime.example.com"}, port=server.metrics_port)
        assert reply.status == 421


def test_the_proxy_of_the_dashboard_that_the_documentation_shows() -> None:
    """docs/dashboard.md, in front of a listener that is on loopback as it is by default."""
    name = "realtime.example.com"
    headers = {
        "Host": name,
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Proto": "https",
        "Origin": f"https://{name}",
        "Sec-Fetch-Site": "same-origin",
    }
    for settings in ({"dashboard": {"password": PASSWORD, "trust_hops": 1}}, CONFIG | {"allowed_hosts": [name]}):
        with start_server(settings) as server:
            body = urlencode({"password": PASSWORD}).encode()
            login = server.request(
                "POST", "/dashboard/login", body=body, headers=headers | FORM, port=server.metrics_port
            )
            assert login.status == 303
            cookie = login.headers["set-cookie"].partition(";")[0]
            seen = server.request(
                "GET", "/dashboard/api/v1/overview", headers=headers | {"Cookie": cookie}, port=server.metrics_port
            )
            assert seen.status == 200
    with start_server(CONFIG) as server:
        reply = server.request("GET", "/dashboard/login", headers=headers, port=server.metrics_port)
        assert (reply.status, reply.json()["code"]) == (421, "host_not_allowed")
        assert "allowed_hosts (SOCKUDO_ALLOWED_HOSTS)" in reply.json()["error"]


def test_pages_of_the_internet_do_not_use_a_development_server(dev: ServerProcess) -> None:
    path = f"/apps/{dev.app.id}/channels"
    path += f"?{signed_query(dev.app, 'GET', path)}"
    reply = dev.request("GET", path, headers={"Origin": EVIL})
    assert (reply.status, reply.json()["code"]) == (403, "forbidden")
    assert f"--allow-origin {EVIL}" in reply.json()["error"]
    assert "access-control-allow-origin" not in reply.headers
    for headers in ({}, {"Origin": "null"}, {"Origin": "https://shop.example"}, {"Origin": "http://192.168.1.9:3000"}):
        assert dev.request("GET", path, headers=headers).status == 200


def test_nor_its_websockets_and_the_page_is_told_why(dev: ServerProcess) -> None:
    with connect(dev.ws_url(), origin=EVIL) as socket:  # type: ignore[arg-type]  # a plain text
        error = json.loads(socket.recv())
    assert error["event"] == "pusher:error"
    assert error["data"]["code"] == 4009
    assert f"--allow-origin {EVIL}" in error["data"]["message"]
    for origin in (None, "https://shop.example", "http://localhost:5173"):
        with connect(dev.ws_url(), origin=origin) as socket:  # type: ignore[arg-type]  # as above
            assert json.loads(socket.recv())["event"] == "pusher:connection_established"


def test_in_production_the_app_decides_on_origins(server: ServerProcess) -> None:
    with connect(server.ws_url(), origin=EVIL) as socket:  # type: ignore[arg-type]  # a plain text
        assert json.loads(socket.recv())["event"] == "pusher:connection_established"
