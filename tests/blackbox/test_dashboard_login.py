"""Logging in at a running server: where the password comes from, how long a session lasts, how guessing ends."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import stat
from pathlib import Path
from urllib.parse import urlencode

import pytest

from support import commands
from support.server import Reply, ServerProcess, start_server
from support.waiting import wait_until

PASSWORD = "correct horse battery staple"
# One that could be guessed.
SHORT = "tide-and-pier"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def ask(server: ServerProcess, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.request(method, path, body=body, headers=sent, port=server.metrics_port)


def log_in(server: ServerProcess, password: str = PASSWORD) -> Reply:
    body = urlencode({"password": password}).encode()
    return server.request("POST", "/dashboard/login", body=body, headers=FORM, port=server.metrics_port)


def cookie_of(reply: Reply) -> str:
    assert reply.status == 303, reply.text
    return reply.headers["set-cookie"].partition(";")[0]


def made_password(server: ServerProcess) -> str:
    found = re.findall(r"^    password  (\S+)$", server.log, re.MULTILINE)
    assert len(found) == 1, server.log
    return str(found[0])


def log_lines(server: ServerProcess) -> list[str]:
    return [line for line in server.log.splitlines() if line.startswith("{")]


def new_password(server: ServerProcess, *arguments: str, stdin: str = "") -> str:
    """What ``sockudo dashboard password`` prints on standard output."""
    where = ["--config", "config.json", "--data-dir", str(server.folder / "data")]
    command = ["dashboard", "password", *where, *arguments]
    return commands.run(command, env=commands.environment(), cwd=server.folder, stdin=stdin).stdout.strip()


@pytest.fixture(scope="module")
def server() -> ServerProcess:  # type: ignore[misc]  # a generator
    with start_server({"dashboard": {"password": PASSWORD}}) as running:
        yield running  # type: ignore[misc]


def test_the_first_start_makes_a_password_and_prints_it_once(tmp_path: Path) -> None:
    env = {"SOCKUDO_DATA_DIR": str(tmp_path / "data")}
    with start_server({"dashboard": None}, env=env) as server:
        wait_until(lambda: "is ready in" in server.log, "the welcome")
        assert f"dashboard      http://127.0.0.1:{server.metrics_port}/dashboard\n" in server.log
        password = made_password(server)
        kept = tmp_path / "data" / "dashboard-password"
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert password not in kept.read_text()
        assert log_in(server, password[:-1]).status == 401
        cookie = cookie_of(log_in(server, password))
        assert ask(server, "GET", "/dashboard", cookie=cookie).status == 200
        wait_until(lambda: '"message": "login"' in server.log, "the line about the login")
        assert server.log.count(password) == 1
        assert all(password not in line and cookie.partition("=")[2] not in line for line in log_lines(server))
    with start_server({"dashboard": None}, env=env) as server:
        wait_until(lambda: "is ready in" in server.log, "the welcome")
        assert "    password  " not in server.log
        # Sessions live in memory, the password in the folder.
        assert ask(server, "GET", "/dashboard", cookie=cookie).status == 303
        assert log_in(server, password).status == 303


def test_a_configured_password_is_neither_printed_nor_kept(server: ServerProcess) -> None:
    assert log_in(server).status == 303
    assert PASSWORD not in server.log
    assert not (server.folder / "data" / "dashboard-password").exists()


def test_the_way_in_and_out(server: ServerProcess) -> None:
    reply = ask(server, "GET", "/dashboard")
    assert (reply.status, reply.headers["location"]) == (303, "/dashboard/login")
    assert 'type="password"' in ask(server, "GET", "/dashboard/login").text
    cookie = cookie_of(log_in(server))
    page = ask(server, "GET", "/dashboard", cookie=cookie)
    assert page.status == 200
    [token] = re.findall(r'<meta name="csrf-token" content="([\w-]+)">', page.text)
    form = {"cookie": cookie, "content_type": FORM["Content-Type"]}
    assert ask(server, "POST", "/dashboard/logout", b"", **form).status == 403
    out = ask(server, "POST", "/dashboard/logout", urlencode({"csrf_token": token}).encode(), **form)
    assert (out.status, out.headers["location"]) == (303, "/dashboard/login")
    assert ask(server, "GET", "/dashboard", cookie=cookie).status == 303


def test_programs_send_the_password_itself(server: ServerProcess) -> None:
    reply = ask(server, "GET", "/dashboard/api/v1/session", authorization=f"Bearer {PASSWORD}")
    assert reply.json() == {"csrf_token": None, "expires_in": None}
    refused = ask(server, "GET", "/dashboard/api/v1/session")
    assert (refused.status, refused.json()["code"]) == (401, "auth_failed")


def known_cookie(server: ServerProcess, form: bytes) -> str:
    """The cookie by which a browser is known in which the password was right."""
    connection = http.client.HTTPConnection("127.0.0.1", server.metrics_port)
    with contextlib.closing(connection):
        connection.request("POST", "/dashboard/login", form, FORM)
        set_cookies = connection.getresponse().headers.get_all("set-cookie") or []
    [known] = [value for value in set_cookies if value.startswith("sockudo_dashboard_known=")]
    assert "HttpOnly; SameSite=Strict" in known
    return known.partition(";")[0]


def test_guessing_does_not_lock_out_those_who_share_the_address() -> None:
    """As behind a proxy that the server was not told of: everybody has one address."""
    with start_server({"dashboard": {"password": SHORT}}) as server:
        sent = urlencode({"password": SHORT}).encode()
        known = known_cookie(server, sent)
        assert [log_in(server, f"guess {i}").status for i in range(12)] == [401] * 10 + [429] * 2
        assert log_in(server, SHORT).status == 429
        # A right one that passed here would make the limit void: guesses would go on until one passes.
        limited = ask(server, "GET", "/dashboard/api/v1/session", authorization=f"Bearer {SHORT}")
        assert (limited.status, limited.json()["code"]) == (429, "login_limited")
        form = {"content_type": FORM["Content-Type"]}
        assert ask(server, "POST", "/dashboard/login", sent, cookie=known, **form).status == 303
        forged = known[:-1] + ("0" if known[-1] != "0" else "1")
        assert ask(server, "POST", "/dashboard/login", sent, cookie=forged, **form).status == 429
    long = "so long that no guess will ever find it"
    with start_server({"dashboard": {"password": long}}) as server:
        assert [log_in(server, f"{long} {i}").status for i in range(12)] == [401] * 10 + [429] * 2
        assert ask(server, "GET", "/dashboard/api/v1/session", authorization=f"Bearer {long}").status == 200
        assert log_in(server, long).status == 303
        assert log_in(server, f"{long}!").status == 429


def test_guessing_comes_to_an_end() -> None:
    with start_server({"dashboard": {"password": SHORT, "trust_hops": 1}}) as server:

        def guess(address: str, password: str) -> Reply:
            body = urlencode({"password": password}).encode()
            headers = {**FORM, "X-Forwarded-For": address}
            return server.request("POST", "/dashboard/login", body=body, headers=headers, port=server.metrics_port)

        assert [guess("203.0.113.1", f"guess {i}").status for i in range(12)] == [401] * 10 + [429] * 2
        limited = guess("203.0.113.1", SHORT)
        assert limited.status == 429
        assert 1 <= int(limited.headers["retry-after"]) <= 300
        assert guess("203.0.113.2", SHORT).status == 303


def test_a_new_password_counts_at_once_and_ends_sessions() -> None:
    with start_server({"dashboard": None}) as server:
        wait_until(lambda: "is ready in" in server.log, "the welcome")
        old = made_password(server)
        cookie = cookie_of(log_in(server, old))
        made = new_password(server)
        assert ask(server, "GET", "/dashboard", cookie=cookie).status == 303
        assert log_in(server, old).status == 401
        assert ask(server, "GET", "/dashboard", cookie=cookie_of(log_in(server, made))).status == 200
        assert new_password(server, "--stdin", stdin="chosen by hand\n") == ""
        assert log_in(server, made).status == 401
        assert log_in(server, "chosen by hand").status == 303
        assert "chosen by hand" not in (server.folder / "data" / "dashboard-password").read_text()


def test_a_configured_password_changes_with_a_reload() -> None:
    with start_server({"dashboard": {"password": PASSWORD}}) as server:
        cookie = cookie_of(log_in(server))
        path = server.folder / "config.json"
        config = json.loads(path.read_text())
        config["dashboard"]["password"] = "another password"
        path.write_text(json.dumps(config))
        server.send_signal(signal.SIGHUP)
        wait_until(lambda: "configuration reloaded" in server.log, "the reload")
        assert ask(server, "GET", "/dashboard", cookie=cookie).status == 303
        assert log_in(server).status == 401
        assert log_in(server, "another password").status == 303
        assert "dashboard.password" in server.log
        assert "another password" not in server.log


def test_in_development_the_password_is_kept_with_the_folder_and_said_at_every_start(tmp_path: Path) -> None:
    env = {"SOCKUDO_DATA_DIR": str(tmp_path / "data")}
    with start_server({"dashboard": None}, args=["--dev"], env=env) as server:
        wait_until(lambda: "is ready in" in server.log, "the welcome")
        password = made_password(server)
        assert stat.S_IMODE((tmp_path / "data" / "dev-dashboard-password").stat().st_mode) == 0o600
        assert log_in(server, "dashboard").status == 401
        assert log_in(server, password).status == 303
        assert server.log.count(password) == 1
        assert all(password not in line for line in log_lines(server))
    with start_server({"dashboard": None}, args=["--dev"], env=env) as server:
        wait_until(lambda: "is ready in" in server.log, "the welcome")
        assert made_password(server) == password
        assert log_in(server, password).status == 303


def test_a_new_password_counts_in_development_too(tmp_path: Path) -> None:
    env = {"SOCKUDO_DATA_DIR": str(tmp_path / "data")}
    with start_server({"dashboard": None}, args=["--dev"], env=env) as server:
        wait_until(lambda: "is ready in" in server.log, "the welcome")
        shown = made_password(server)
        where = ["--config", "config.json", "--data-dir", str(tmp_path / "data")]
        env_of_command = commands.environment()
        new = commands.run(["dashboard", "password", *where], env=env_of_command, cwd=server.folder).stdout.strip()
        assert log_in(server, shown).status == 401
        assert log_in(server, new).status == 303


def test_the_cookie_is_secure_behind_a_proxy_that_ends_tls() -> None:
    with start_server({"dashboard": {"password": PASSWORD, "trust_hops": 1}}) as server:
        body = urlencode({"password": PASSWORD}).encode()
        headers = {**FORM, "X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.1"}
        reply = server.request("POST", "/dashboard/login", body=body, headers=headers, port=server.metrics_port)
        assert reply.headers["set-cookie"].endswith("; HttpOnly; SameSite=Strict; Secure")
