"""The page at ``/`` of a development server: there with ``--dev`` only, and for pages of no other origin."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from support.server import DEFAULT_APP, NUMERIC_APP, ServerProcess, start_server

# Without apps of a configuration there is the development app.
DEV_APP = {"app_manager": {"array": {"apps": []}}}
EVIL = "http://evil.example"


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with start_server(DEV_APP, args=["--dev"]) as running:
        yield running


def test_there_is_none_without_dev(serve: Callable[..., ServerProcess]) -> None:
    own = serve()
    reply = own.request("GET", "/")
    assert (reply.status, reply.json()["code"]) == (404, "not_found")
    [style] = re.findall(r'href="([^"]+\.css)"', own.request("GET", "/dashboard/login", port=own.metrics_port).text)
    assert own.request("GET", style).status == 404
    assert own.request("GET", style.replace("dashboard.css", "start/page.js")).status == 404


def test_the_page_and_its_files(server: ServerProcess) -> None:
    page = server.request("GET", "/")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert f'url: "http://127.0.0.1:{server.port}"' in page.text.replace("&#34;", '"')
    assert f'href="http://127.0.0.1:{server.metrics_port}/dashboard"' in page.text
    assert 'data-secret="app-secret"' in page.text
    files = re.findall(r'(?:href|src)="(/dashboard/static/[^"]+)"', page.text)
    assert len(files) > 3
    for name in files:
        assert server.request("GET", name).status == 200
    assert server.request("HEAD", "/").status == 200
    assert server.request("POST", "/", body=b"{}").status == 405
    assert server.request("GET", "/dashboard/static/x/none.js").status == 404


def test_no_other_part_of_the_dashboard_is_on_the_main_port(server: ServerProcess) -> None:
    for path in ("/dashboard", "/dashboard/login", "/dashboard/api/v1/apps", "/dashboard/static"):
        assert server.request("GET", path).status == 404


def test_browsers_keep_it_from_pages_of_other_origins(server: ServerProcess) -> None:
    page = server.request("GET", "/")
    assert "access-control-allow-origin" not in page.headers
    assert page.headers["cross-origin-resource-policy"] == "same-origin"
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert "'unsafe" not in page.headers["content-security-policy"]
    for headers, status in (({"Origin": EVIL}, 403), ({"Host": "evil.example"}, 421)):
        refused = server.request("GET", "/", headers=headers)
        assert refused.status == status
        assert "app-secret" not in refused.text


def test_the_secret_of_a_configured_app_is_not_on_it(serve: Callable[..., ServerProcess]) -> None:
    own = serve({"host": "0.0.0.0"}, args=["--dev"])
    page = own.request("GET", "/")
    assert page.status == 200
    assert f'data-app-id="{NUMERIC_APP.id}"' in page.text
    assert NUMERIC_APP.secret not in page.text
    assert DEFAULT_APP.secret not in page.text
    assert 'name="secret"' in page.text
