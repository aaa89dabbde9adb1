"""The client for browsers comes from the server (spec: http-api § 15)."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import http.client
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sockudo.client.browser_files import browser_build, browser_file
from support.parts import cannot_run
from support.server import ServerProcess

BUILD = browser_build()
TYPES = {".map": "application/json", ".ts": "text/plain"}
NOT_THERE = ["none.js", "build.json", "..%2fbrowser_files.py", "%2e%2e/__init__.py", "0.0.0/sockudo.js"]


def integrity(content: bytes) -> str:
    return f"sha384-{base64.b64encode(hashlib.sha384(content).digest()).decode()}"


@pytest.mark.parametrize("name", BUILD.files)
def test_a_file_is_there_and_below_its_version(server: ServerProcess, name: str) -> None:
    latest = server.request("GET", f"/client/{name}")
    pinned = server.request("GET", f"/client/{BUILD.version}/{name}")
    for reply in (latest, pinned):
        assert reply.status == 200
        assert integrity(reply.body) == BUILD.files[name]
        assert reply.headers["access-control-allow-origin"] == "*"
        assert reply.headers["cross-origin-resource-policy"] == "cross-origin"
        kind = (
            "application/json" if name.endswith(".map") else "text/plain" if name.endswith(".ts") else "text/javascript"
        )
        assert reply.headers["content-type"].startswith(kind)
    assert latest.headers["cache-control"] == "public, no-cache"
    assert pinned.headers["cache-control"] == "public, max-age=31536000, immutable"


def test_caches_keep_each_form_of_a_file(server: ServerProcess) -> None:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", "/client/sockudo.js")
        varies = [value for name, value in connection.getresponse().getheaders() if name.lower() == "vary"]
    assert "accept-encoding" in varies


def test_what_a_browser_has_already_is_not_sent_again(server: ServerProcess) -> None:
    plain = server.request("GET", "/client/sockudo.js")
    again = server.request("GET", "/client/sockudo.js", headers={"If-None-Match": plain.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert again.headers["etag"] == plain.headers["etag"]
    other = server.request("GET", "/client/sockudo.js", headers={"If-None-Match": '"other"'})
    assert other.status == 200
    assert server.request("HEAD", "/client/sockudo.js").headers["content-length"] == str(len(plain.body))


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [("gzip, deflate, br", True), ("br;q=1.0, GZIP;q=0.8", True), ("*", True), ("gzip;q=0, br", False), ("br", False)],
)
def test_it_is_packed_for_those_that_take_it(server: ServerProcess, accepted: str, packed: bool) -> None:
    reply = server.request("GET", "/client/sockudo.js", headers={"Accept-Encoding": accepted})
    assert reply.headers.get("content-encoding") == ("gzip" if packed else None)
    content = gzip.decompress(reply.body) if packed else reply.body
    assert content == browser_file("sockudo.js")
    assert reply.headers["etag"].endswith('-gzip"') == packed


@pytest.mark.parametrize("path", [*NOT_THERE, f"{BUILD.version}/none.js"])
def test_nothing_else_is_there(server: ServerProcess, path: str) -> None:
    reply = server.request("GET", f"/client/{path}")
    assert (reply.status, reply.json()["code"]) == (404, "not_found")


def test_another_version_names_the_one_that_there_is(server: ServerProcess) -> None:
    assert BUILD.version in server.request("GET", "/client/0.0.0/sockudo.js").json()["error"]


def test_it_is_read_only(server: ServerProcess) -> None:
    assert server.request("POST", "/client/sockudo.js", body=b"x").status == 405


def test_maps_are_of_the_files_that_name_them() -> None:
    for name in BUILD.files:
        if name.endswith((".js", ".mjs")):
            [mapped] = re.findall(rb"//# sourceMappingURL=(\S+)\s*$", browser_file(name))
            assert json.loads(browser_file(mapped.decode()))["version"] == 3


def test_it_is_small() -> None:
    for name in ("sockudo.js", "sockudo.mjs"):
        assert len(gzip.compress(browser_file(name), 9)) <= 12 * 1024


def test_a_client_connects_with_what_the_server_sends(server: ServerProcess, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        cannot_run("the client for browsers in Node", "node is not installed")
    for name in BUILD.files:
        (tmp_path / name).write_bytes(server.request("GET", f"/client/{name}").body)
    script = tmp_path / "run.mjs"
    script.write_text(f"""
        import Sockudo from "./sockudo.mjs";
        const client = new Sockudo({json.dumps(server.app.key)}, {{
          wsHost: "127.0.0.1", wsPort: {server.port}, wssPort: {server.port}, forceTLS: false,
        }});
        await client.subscribe("harbor").subscribed();
        console.log(client.connection.state);
        client.disconnect();
    """)
    ran = subprocess.run([node, str(script)], capture_output=True, text=True, timeout=30, check=False)
    assert (ran.returncode, ran.stdout) == (0, "connected\n"), ran.stderr
