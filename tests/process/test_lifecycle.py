"""A server as a process: how it starts, what it prints, what signals do, with which code it leaves."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from sockudo import errors
from sockudo.doctor.machine import Machine
from support import commands
from support.forked import ForkedProcess
from support.operators import PASSWORD, Operator
from support.ports import free_port
from support.raw import RawConnection, request_bytes
from support.server import (
    DEFAULT_APP,
    FROM_NOTHING,
    NUMERIC_APP,
    Process,
    ServerProcess,
    app_record,
    log_lines,
    start_server,
    wait_for_line,
)
from support.signing import Credentials
from support.waiting import wait_until
from support.websocket import CLOSE, WebSocket, handshake

LAST = Credentials("last", "last-key", "last-secret")


def serve(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A start that fails, in a folder of its own."""
    environment = {"PATH": "/usr/bin:/bin", **(env or {})}
    return commands.run(["serve", *arguments], env=environment, cwd=folder, code=1)


@contextmanager
def printed(folder: Path, *arguments: str, command: Sequence[str] | None = None) -> Iterator[str]:
    """A server on free ports, with nothing configured, and what it printed for people; stopped in the end.

    It is a copy, or what ``command`` begins.
    """
    output, log = folder / "output", folder / "log"
    line = ["serve", "--port", "0", "--metrics-port", "0", *arguments]
    env = {"PATH": "/usr/bin:/bin", "HOST": "127.0.0.1"}
    process: Process
    with output.open("wb") as out, log.open("wb") as err:
        if command is None:
            process = ForkedProcess(line, cwd=folder, env=env, stdout=out, stderr=err)
        else:
            process = subprocess.Popen([*command, *line], cwd=folder, env=env, stdout=out, stderr=err)
    try:
        wait_until(lambda: '"message": "ready"' in log.read_text() or process.poll() is not None, "the start")
        assert process.poll() is None, log.read_text()
        yield output.read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    finally:
        process.kill()
        process.wait()
        output.unlink()
        log.unlink()


def pasted(line: str, folder: Path, exported: Mapping[str, str] | None = None) -> int:
    """The exit code of a command line of ours, run as it stands, with what was exported before it."""
    program, *arguments = shlex.split(line)
    assert program == "sockudo"
    return commands.run(arguments, env={"PATH": "/usr/bin:/bin", **(exported or {})}, cwd=folder).returncode


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, f"{pattern!r} is not in:\n{text}"
    return match[1]


def opened(server: ServerProcess, app: Credentials = DEFAULT_APP) -> WebSocket:
    """A connection that was greeted. It answers a close frame only where the test says so."""
    return WebSocket(server, app=app).greeting()


def rewrite(server: ServerProcess, **changes: Any) -> None:
    """Changes the configuration file at its top level."""
    path = server.folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def reload(server: ServerProcess, message: str = "configuration reloaded") -> dict[str, Any]:
    seen = len(log_lines(server))
    server.send_signal(signal.SIGHUP)
    return wait_for_line(server, message, after=seen)


# ---- start ----


def test_what_dev_prints_works_when_pasted(tmp_path: Path) -> None:
    with printed(tmp_path, "--dev", command=FROM_NOTHING) as text:
        url = found(r"listening on +(http://127\.0\.0\.1:\d+)\n", text)
        metrics = urlsplit(found(r"metrics +(http://127\.0\.0\.1:\d+/metrics)\n", text))
        assert "app id  1001" in text
        assert "secret  app-secret" in text
        assert f"new Pusher('app-key', {{ wsHost: '127.0.0.1', wsPort: {url.rpartition(':')[2]}," in text
        assert pasted(found(r"(sockudo publish .*)\n", text), tmp_path) == 0
        with socket.create_connection((metrics.hostname, metrics.port), timeout=5) as probe:
            probe.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert probe.recv(100).startswith(b"HTTP/1.1 200")
    assert [path.name for path in tmp_path.iterdir()] == ["sockudo-data"], "what channels keep lasts with --dev too"


def test_the_first_app_is_printed_once_and_kept(tmp_path: Path) -> None:
    with printed(tmp_path, "--data-dir", "kept") as text:
        assert "its secret is shown only now" in text
        app_id, key, secret = (found(rf"{what} +(\S+)\n", text) for what in ("app id", "key", "secret"))
        given = dict(re.findall(r"export (SOCKUDO_APP_\w+)=(\S+)\n", text))
        assert given == {"SOCKUDO_APP_ID": app_id, "SOCKUDO_APP_KEY": key, "SOCKUDO_APP_SECRET": secret}
        assert pasted(found(r"(sockudo publish .*)\n", text), tmp_path, given) == 0
    with printed(tmp_path, "--data-dir", "kept") as text:
        assert secret not in text
        url = found(r"listening on +(\S+)\n", text)
        who = f"--url {url} --app-id {app_id} --key {key} --secret {secret}"
        assert pasted(f"sockudo publish {who} room event", tmp_path) == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept"]


def test_nothing_configured_keeps_metrics_and_dashboard_to_this_machine(tmp_path: Path) -> None:
    with printed(tmp_path, "--data-dir", "kept") as text:
        metrics, dashboard = (urlsplit(found(rf"{name} +(http://\S+)\n", text)) for name in ("metrics", "dashboard"))
        assert (metrics.hostname, dashboard.hostname) == ("127.0.0.1", "127.0.0.1")
        assert metrics.port is not None
        assert metrics.port == dashboard.port
        assert Machine().addresses(metrics.port) == ["127.0.0.1"]
        assert "password" in text


def test_a_dashboard_without_a_port_has_no_password_until_it_gets_one(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with printed(tmp_path, "--data-dir", "kept", "--metrics-port", port) as text:
            assert "none: their port could not be opened" in text
            assert "assword" not in text
            assert not (tmp_path / "kept" / "dashboard-password").exists()
    with printed(tmp_path, "--data-dir", "kept") as text:
        assert "A password for the dashboard was made" in text


def test_the_start_is_told_line_by_line() -> None:
    with start_server(env={"ACTIVITY_TIMEOUT": "33"}) as server:
        ready = wait_for_line(server, "ready")
        lines = [line["fields"] for line in log_lines(server)]
        messages = [line["message"] for line in lines]
        # What it says depends on the machine.
        assert "io_uring" in messages.pop(6)
        assert messages == [
            "starting", "configuration", "configuration", "descriptor limit", "app", "app", "listening", "metrics",
            "ready",
        ]  # fmt: skip
        assert {"message": "listening", "host": "127.0.0.1", "port": server.port, "tls": False} in lines
        assert {"message": "app", "app_id": "app-id", "enabled": True} in lines
        assert 0 < ready["seconds"] < 60


def test_the_descriptor_limit_is_raised_and_said() -> None:
    shell = ("bash", "-c", 'ulimit -S -n 300; exec "$@"', "serve", *FROM_NOTHING)
    with start_server(command=shell) as server:
        told = wait_for_line(server, "descriptor limit")
        assert told["before"] == 300
        assert told["descriptors"] >= 300
        assert f"process_max_fds {float(told['descriptors'])}" in server.metrics()


# ---- starts that fail ----


def test_a_server_that_needs_no_other_thread_has_one() -> None:
    # A second one would make every delivery a little slower, whatever it does.
    with start_server({"dashboard": {"password": PASSWORD}}) as server:
        threads = Path(f"/proc/{server.process.pid}/task")
        wait_until(lambda: len(list(threads.iterdir())) == 1, "the threads of the start to end")
        Operator(server).page("/dashboard")
        wait_until(lambda: len(list(threads.iterdir())) == 1, "the threads of a first page to end")


def test_a_port_in_use_ends_the_start_with_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        options = ["--dev", "--port", str(port), "--metrics-port", "0", "--log-level", "error"]
        begun = [*FROM_NOTHING, "serve", *options]
        environment = {"PATH": "/usr/bin:/bin"}
        failed = subprocess.run(
            begun, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30, check=False
        )
    assert failed.returncode == 1
    assert failed.stdout == ""
    (line,) = failed.stderr.splitlines()
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in line
    assert f"process {os.getpid()} (" in line
    assert f"ss -ltnp 'sport = :{port}'" in line
    assert "--port" in line


def test_a_metrics_port_in_use_is_no_reason_not_to_serve(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with start_server({"metrics": {"port": taken.getsockname()[1]}}) as server:
            told = wait_for_line(server, "no metrics and no dashboard")
            assert f"127.0.0.1:{server.metrics_port}" in told["reason"]
            assert told["taken_by"].startswith(f"process {os.getpid()} (")
            assert "--metrics-port" in told["remedy"]
            assert "their port could not be opened" in server.log


def test_a_host_that_is_none_of_this_machine(tmp_path: Path) -> None:
    failed = serve(tmp_path, "--host", "192.0.2.1", "--port", "0", "--log-level", "error")
    assert failed.returncode == 1
    assert "cannot listen on 192.0.2.1:0: Cannot assign requested address" in failed.stderr


def test_a_certificate_that_is_none(tmp_path: Path) -> None:
    pem = tmp_path / "cert.pem"
    pem.write_text("this is no certificate\n")
    env = {"SSL_ENABLED": "true", "SSL_CERT_PATH": str(pem), "SSL_KEY_PATH": str(pem)}
    failed = serve(tmp_path, "--host", "127.0.0.1", "--port", "0", "--log-level", "error", env=env)
    assert failed.returncode == 1
    (line,) = failed.stderr.splitlines()
    assert f"cannot use the certificate {pem}" in line


def test_a_data_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    failed = serve(tmp_path, "--host", "127.0.0.1", "--port", "0", "--data-dir", "file", "--log-level", "error")
    assert failed.returncode == 1
    assert "file" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_other_nodes_that_cannot_be_reached(tmp_path: Path) -> None:
    app = {f"SOCKUDO_DEFAULT_APP_{name}": f"harbor-{name.lower()}" for name in ("ID", "KEY", "SECRET")}
    env = {"ADAPTER_DRIVER": "redis", "DATABASE_REDIS_PORT": str(free_port()), **app}
    failed = serve(tmp_path, "--host", "127.0.0.1", "--port", "0", "--metrics-port", "0", env=env)
    assert failed.returncode == 1
    assert "No connection to other nodes: Redis at 127.0.0.1" in failed.stderr
    assert "database.redis says how to reach it" in failed.stderr
    alone = {"adapter": {"driver": "redis", "fallback_to_local": True}, "database": {"redis": {"port": free_port()}}}
    with start_server(alone) as server:
        line = wait_for_line(
            server,
            "other nodes cannot be reached: this one goes on alone until its next start (adapter.fallback_to_local)",
        )
        assert line["problem"].startswith("No connection to other nodes: Redis at 127.0.0.1")
        assert server.request("GET", "/up").text == "OK"


def test_a_configuration_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "sockudo.toml").write_text("prot = 7000\nport = -1\n")
    failed = serve(tmp_path, "--config", "sockudo.toml")
    assert failed.returncode == 1
    assert "'port'" in failed.stderr
    assert "-1" in failed.stderr


# ---- stop ----

SHUTTING_DOWN = (4200, "Server shutting down")


def test_sigterm_drains_and_leaves_when_all_is_closed() -> None:
    with start_server({"shutdown_grace_period": 60}) as server, opened(server) as mute, opened(server) as polite:
        server.send_signal(signal.SIGTERM)
        polite.ended(*SHUTTING_DOWN)
        mute.refused(*SHUTTING_DOWN)

        health = server.request("GET", "/up")
        assert (health.status, health.text, health.headers["x-health-check"]) == (503, "DRAINING", "DRAINING")
        with RawConnection(server) as late:
            late.send(handshake(f"/app/{server.app.key}?protocol=7"))
            answer = late.answer()
            assert (answer.status, answer.json()["docs"]) == (503, "errors.md#draining")
        assert server.request("GET", "/live").status == 200
        server.publish("room", "event", "{}")
        assert server.exit_code is None

        mute.close()
        assert server.wait() == 0
        assert wait_for_line(server, "stopped")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_does_not_close_is_cut_at_the_end_of_the_grace_period(number: int) -> None:
    with start_server({"shutdown_grace_period": 1}) as server, opened(server):
        server.send_signal(number)
        assert server.wait() == 0
        assert wait_for_line(server, "connections were cut that did not close in time")["connections"] == 1


def test_without_a_grace_period_every_client_is_told_all_the_same() -> None:
    with start_server({"shutdown_grace_period": 0}) as server, opened(server) as client:
        server.send_signal(signal.SIGTERM)
        client.refused(*SHUTTING_DOWN)
        assert client.frame().opcode == CLOSE
        assert server.wait() == 0


def test_without_websockets_it_ends_at_once() -> None:
    with start_server({"shutdown_grace_period": 60}) as server, RawConnection(server) as keep_alive:
        keep_alive.send(request_bytes("GET", "/live"))
        assert keep_alive.answer().status == 200
        assert server.terminate() == 0
        keep_alive.assert_closed()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(second: signal.Signals) -> None:
    with start_server({"shutdown_grace_period": 60}) as server, opened(server):
        server.send_signal(signal.SIGTERM)
        wait_for_line(server, "draining")
        server.send_signal(second)
        assert server.wait() == -second


def test_many_goodbyes_are_spread_and_all_are_said() -> None:
    with start_server({"shutdown_grace_period": 10}) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(opened(server)) for _ in range(120)]
        server.send_signal(signal.SIGTERM)
        for client in clients:
            client.ended(*SHUTTING_DOWN)
        assert server.wait() == 0


# ---- reload ----


def test_a_reload_applies_what_may_change_and_names_what_may_not() -> None:
    with start_server({"activity_timeout": 120}) as server:
        rewrite(server, activity_timeout=31, port=free_port(), log_level="debug", cors={"origin": ["https://a.test"]})
        assert set(reload(server)["changed"]) == {"activity_timeout", "log_level", "cors.origin"}
        assert wait_for_line(server, "these changes need a restart")["keys"] == ["port"]
        with opened(server):
            assert wait_for_line(server, "connected")
        headers = {"Origin": "https://a.test"}
        assert (
            server.request("GET", "/live", headers=headers).headers["access-control-allow-origin"] == "https://a.test"
        )
        refused = server.request("GET", "/live", headers={"Origin": "https://b.test"})
        assert "access-control-allow-origin" not in refused.headers
        # What waits for a restart is named again each time.
        seen = len(log_lines(server))
        reload(server)
        assert wait_for_line(server, "these changes need a restart", after=seen)


def test_new_connections_are_told_the_new_activity_timeout() -> None:
    with start_server({"activity_timeout": 120}) as server:
        rewrite(server, activity_timeout=31)
        reload(server)
        with WebSocket(server) as client:
            assert json.loads(client.event()["data"])["activity_timeout"] == 31


def test_limits_of_a_reload_hold_for_apps_and_connections_at_once() -> None:
    with start_server() as server, opened(server) as client:
        client.subscribe("x" * 30)
        rewrite(
            server,
            channel_limits={"max_name_length": 20},
            event_limits={"max_payload_in_kb": 1, "max_batch_size": 1},
            idempotency={"max_key_length": 5},
            rate_limiter={"enabled": True, "api_rate_limit": {"max_requests": 4, "window_seconds": 3600}},
            websocket_max_payload_kb=1,
            http_api={"usage_enabled": False},
        )
        reload(server)
        client.say("pusher:subscribe", {"channel": "y" * 30})
        assert "20" in client.event()["data"]["message"]
        path = f"/apps/{server.app.id}/events"
        large = {"name": "e", "channel": "room", "data": "x" * 1100}
        assert server.signed("POST", path, body=large).status == 413
        key = {"name": "e", "channel": "room", "data": "x", "idempotency_key": "123456"}
        assert server.signed("POST", path, body=key).status == 400
        small = {"name": "e", "channel": "room", "data": "x"}
        replies = [server.signed("POST", path, body=small) for _ in range(3)]
        assert [reply.status for reply in replies] == [200, 200, 429]
        assert server.request("GET", "/usage").status == 404
        with opened(server) as newer:
            newer.say_text("x" * 1100)
            found = newer.frame()
            assert (found.opcode, found.payload[:2]) == (CLOSE, (1009).to_bytes(2, "big"))


def test_the_grace_of_presence_and_the_time_of_the_cache_change() -> None:
    with start_server({"presence": {"ungraceful_timeout_seconds": 0}}) as server:
        rewrite(server, presence={"ungraceful_timeout_seconds": 600}, channel_limits={"cache_ttl": 1})
        assert set(reload(server)["changed"]) == {
            "presence.ungraceful_timeout_seconds",
            "channel_limits.cache_ttl",
        }
        server.publish("cache-room", "event", '"kept"')

        def missed() -> bool:
            with opened(server) as client:
                client.subscribe("cache-room")
                return bool(client.event()["event"] == "pusher:cache_miss")

        wait_until(missed, "the cached event to be forgotten")


def test_a_broken_file_changes_nothing_and_says_why() -> None:
    with start_server() as server, opened(server) as client:
        path = server.folder / "config.json"
        before = path.read_text()
        path.write_text(before.replace('"port"', '"prot"', 1))
        told = reload(server, "the configuration was not reloaded; nothing changed")
        assert any("prot" in problem for problem in told["problems"])
        path.write_text("{")
        told = reload(server, "the configuration was not reloaded; nothing changed")
        assert "config.json" in told["problems"][0]
        client.hears_nothing()
        path.write_text(before)
        assert reload(server)["changed"] == []


def test_connections_of_a_disabled_and_of_a_removed_app_end() -> None:
    apps = [app_record(Credentials("app-id", "app-key", "app-secret")), app_record(LAST)]
    with start_server({"app_manager": {"array": {"apps": apps}}}) as server, contextlib.ExitStack() as stack:
        disabled, removed = stack.enter_context(opened(server)), stack.enter_context(opened(server, LAST))
        rewrite(server, app_manager={"driver": "memory", "array": {"apps": [{**apps[0], "enabled": False}]}})
        reload(server)
        disabled.ended(4003, "Application disabled")
        removed.ended(4001, errors.UNKNOWN_APP.meaning)
        assert server.signed("GET", f"/apps/{LAST.id}/channels", app=LAST).status == 404


def test_apps_are_changed_from_the_command_line_while_it_runs() -> None:
    with start_server({"app_manager": {"driver": "sqlite", "array": {"apps": []}}}) as server:

        def apps(*arguments: str) -> str:
            command = ["apps", *arguments, "--data-dir", str(server.folder / "data")]
            return commands.run(command, env={"PATH": "/usr/bin:/bin"}, cwd=server.folder).stdout

        apps("add", "--id", "shop", "--key", "shop-key", "--secret", "shop-secret")
        wait_until(lambda: server.request("GET", "/up/shop").status == 200, "the new app")
        with opened(server, Credentials("shop", "shop-key", "shop-secret")) as client:
            apps("disable", "shop")
            client.ended(4003, "Application disabled")
        assert wait_for_line(server, "apps changed")["added"] == ["shop"]


# ---- logs ----


def test_no_secret_and_no_signature_is_ever_logged() -> None:
    with start_server({"log_level": "trace"}) as server, opened(server) as client:
        bad = f"{server.app.key}:{'ab' * 32}"
        for data in (
            {"channel": "private-x", "auth": bad},
            {"channel": "presence-x", "auth": bad, "channel_data": '{"user_id":"classified-user"}'},
            {"channel": "private-x", "auth": f"{server.app.key}:{server.app.secret}"},
        ):
            client.say("pusher:subscribe", data)
            assert client.event()["event"] == "pusher:error"
        user = {"auth": bad, "user_data": '{"id":"classified-user"}'}
        client.say("pusher:signin", user)
        assert client.event()["event"] == "pusher:error"
        server.publish("room", "event", '"classified-payload"')
        server.request("POST", f"/apps/{server.app.id}/events?auth_signature={'cd' * 32}", body=b"{}")
        rewrite(server, activity_timeout=31)
        reload(server)
        refusals = [line["fields"] for line in log_lines(server) if "refused" in line["fields"]["message"]]
        assert any("likely_cause" in line for line in refusals)
        for word in (server.app.secret, server.numeric_app.secret, "abababab", "cdcdcdcd", "classified"):
            assert word not in server.log


def test_refused_signatures_do_not_flood_the_log() -> None:
    with start_server() as server, opened(server) as client:
        for number in range(200):
            data = {"channel": f"private-{number}", "auth": f"{server.app.key}:{'ab' * 32}"}
            client.say("pusher:subscribe", data)
        assert [event["event"] for event in client.until_pong()] == ["pusher:error"] * 200
        refusals = [line for line in log_lines(server) if "refused" in line["fields"]["message"]]
        assert 10 <= len(refusals) < 100
        assert all(line["level"] == "WARN" for line in refusals)
        assert 'error_type="authentication_failed",port="' in server.metrics()


def test_a_start_warns_of_origins_that_no_page_has(tmp_path: Path) -> None:
    """Of an app in the store as of one in the configuration, each once."""
    data = tmp_path / "data"
    kept = ["--id", "kept", "--allowed-origin", "https://kept.test:443"]
    commands.run(["apps", "add", *kept, "--data-dir", str(data)], env=commands.environment(), cwd=tmp_path)
    configured = app_record(DEFAULT_APP, channels={"allowed_origins": ["shop.test/"]})
    store = {"driver": "sqlite", "array": {"apps": [configured]}}
    with start_server({"app_manager": store}, env={"SOCKUDO_DATA_DIR": str(data)}) as server:
        said = [line["fields"]["warning"] for line in log_lines(server) if "allowed_origins" in str(line)]
    assert len(said) == 2
    assert "'shop.test/', which has '/' behind the host" in said[0]
    assert "'https://kept.test:443', which names the port 443" in said[1]


def test_an_app_that_left_the_configuration_while_the_server_was_stopped_is_gone(tmp_path: Path) -> None:
    """Its secret may have been withdrawn that way. An app that a command made stays."""
    data = str(tmp_path / "data")
    first, second = app_record(DEFAULT_APP), app_record(NUMERIC_APP)
    with start_server(_stored(first, second), env={"SOCKUDO_DATA_DIR": data}) as server:
        server.publish("room", "event", "x", app=NUMERIC_APP)
        commands.run(["apps", "add", "--id", "made", "--data-dir", data], env=commands.environment(), cwd=tmp_path)
    with start_server(_stored(first), env={"SOCKUDO_DATA_DIR": data}) as server:
        server.publish("room", "event", "x")
        body = {"name": "event", "channels": ["room"], "data": "x"}
        refused = server.signed("POST", f"/apps/{NUMERIC_APP.id}/events", body=body, app=NUMERIC_APP)
        assert refused.status == 404
        assert server.request("GET", "/up/made").status == 200
        gone = [line for line in log_lines(server) if "app removed" in line["fields"]["message"]]
    assert [line["fields"]["app_id"] for line in gone] == [NUMERIC_APP.id]


def _stored(*apps: dict[str, Any]) -> dict[str, Any]:
    return {"app_manager": {"driver": "sqlite", "array": {"apps": list(apps)}}}


def test_a_second_server_on_one_folder_does_not_start_and_names_the_first(tmp_path: Path) -> None:
    """A restart after a kill is not held up by what the killed one left behind."""
    env = {"SOCKUDO_DATA_DIR": str(tmp_path / "data")}
    with contextlib.ExitStack() as stack:
        first = start_server(env=env)
        stack.callback(first.close)
        who = f"pid {first.process.pid} on "
        with pytest.raises(AssertionError) as caught:
            start_server(env=env)
        assert f"Another server uses the folder {tmp_path}/data (data_dir): {who}" in str(caught.value)
        assert "--shared-stores" in str(caught.value)
        with start_server(env=env, args=["--shared-stores"]) as meant:
            told = [line["fields"] for line in log_lines(meant) if "may not be alone" in line["fields"]["message"]]
            assert who in told[0]["reason"]
        first.send_signal(signal.SIGKILL)
        first.wait()
        with start_server(env=env):
            pass


def test_a_rotated_secret_is_accepted_for_as_long_as_it_is_kept(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    place = {"env": commands.environment(), "cwd": tmp_path}
    made = json.loads(commands.run(["apps", "add", "--id", "shop", "--json", "--data-dir", data], **place).stdout)
    old = Credentials("shop", made["key"], made["secret"])
    with start_server(_stored(), env={"SOCKUDO_DATA_DIR": data}) as server:
        server.publish("room", "event", "x", app=old)
        rotate = ["apps", "rotate", "shop", "--json", "--data-dir", data]
        told = json.loads(commands.run([*rotate, "--keep", "1h"], **place).stdout)
        new = Credentials("shop", told["key"], told["secret"])
        body = {"name": "event", "channels": ["room"], "data": "x"}

        def status(app: Credentials) -> int:
            return server.signed("POST", "/apps/shop/events", body=body, app=app).status

        wait_until(lambda: status(new) == 200, "the server knows the new secret")
        assert status(old) == 200
        commands.run(rotate, **place)
        wait_until(lambda: status(old) == 401, "the old secret is refused")
        assert status(new) == 401
        assert old.secret not in server.log


def test_a_backup_is_taken_while_the_server_runs_and_restored_while_it_does_not(tmp_path: Path) -> None:
    data, copy = str(tmp_path / "data"), str(tmp_path / "copy")
    place = {"env": commands.environment(), "cwd": tmp_path}
    options = {**_stored(app_record(DEFAULT_APP)), "history": {"enabled": True}}
    with start_server(options, env={"SOCKUDO_DATA_DIR": data}) as server:
        server.publish("room", "event", "before")
        commands.run(["apps", "add", "--id", "made", "--data-dir", data], **place)
        taken = commands.run(["backup", copy, "--data-dir", data], **place)
        assert "history.sqlite3" in taken.stdout
        server.publish("room", "event", "after")
        commands.run(["apps", "add", "--id", "later", "--data-dir", data], **place)
        refused = commands.run(["restore", copy, "--data-dir", data, "--yes"], **place, code=1)
        assert f"pid {server.process.pid} on " in refused.stderr
        before = server.signed("GET", f"/apps/{server.app.id}/channels/room/history").json()
    commands.run(["restore", copy, "--data-dir", data, "--yes"], **place)
    with start_server(options, env={"SOCKUDO_DATA_DIR": data}) as server:
        page = server.signed("GET", f"/apps/{server.app.id}/channels/room/history").json()
        assert (len(before["items"]), len(page["items"])) == (2, 1)
        assert page["items"][0]["stream_id"] != before["items"][0]["stream_id"]
        assert [server.request("GET", f"/up/{name}").status for name in ("made", "later")] == [200, 404]
