"""Several worker processes on one port: what one of them takes with it when it ends, and how all are replaced."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from support import commands
from support.operators import PASSWORD, Operator
from support.ports import free_port
from support.server import FROM_NOTHING, ServerProcess, log_lines, start_server, wait_for_line
from support.signing import Credentials
from support.waiting import wait_until
from support.websocket import WebSocket

READY = "all workers are ready"
AGAIN = "a worker ended and is started again"
REPLACED = "all workers were replaced"


def workers(server: ServerProcess) -> list[int]:
    """The processes under the supervisor."""
    pid = server.process.pid
    return sorted(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


@contextlib.contextmanager
def started(config: Mapping[str, Any] | None = None, *, count: int = 2, **more: Any) -> Iterator[ServerProcess]:
    with start_server({"workers": count, **(config or {})}, **more) as server:
        wait_for_line(server, READY)
        assert len(workers(server)) == count
        yield server
        left = workers(server) if server.exit_code is None else []
        assert server.terminate() == 0
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left), "every worker to end")


@contextlib.contextmanager
def clients(server: ServerProcess, count: int) -> Iterator[list[WebSocket]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(WebSocket(server).greeting()) for _ in range(count)]


def is_open(client: WebSocket) -> bool:
    try:
        client.until_pong()
    except (OSError, AssertionError):
        return False
    return True


def said(server: ServerProcess, message: str) -> int:
    return sum(line["fields"]["message"] == message for line in log_lines(server))


def rewrite(server: ServerProcess, **changes: Any) -> None:
    path = server.folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def sockets_at(port: int, state: str) -> set[str]:
    """The inodes of sockets of this port that are in a state, such as 01 for established."""

    def look() -> set[str]:
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return {row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == state}

    # While others come and go, the system repeats and forgets rows.
    found, before = look(), None
    while found != before:
        found, before = look(), found
    return found


def sockets_of(pid: int, port: int) -> int:
    """Established connections of a process on the port."""
    fds = Path(f"/proc/{pid}/fd").iterdir()
    inodes = {os.readlink(path) for path in fds if path.exists() or path.is_symlink()}
    return sum(f"socket:[{inode}]" in inodes for inode in sockets_at(port, "01"))


def listeners_at(port: int) -> int:
    return len(sockets_at(port, "0A"))


def test_connections_are_spread_and_a_publish_reaches_all_of_them() -> None:
    with started() as server, clients(server, 40) as opened:
        shares = [sockets_of(pid, server.port) for pid in workers(server)]
        assert sum(shares) == 40
        assert min(shares) >= 5
        found = re.findall(r'sockudo_connected\{.*worker="(\d)".*\} (\S+)\n', server.metrics())
        assert {worker for worker, _ in found} == {"0", "1"}
        assert sum(float(value) for _, value in found) == 40
        for client in opened:
            client.subscribe("room")
        for number in range(8):
            server.publish("room", "event", str(number))
        for client in opened:
            # Each came on a connection of its own, to any of the workers.
            assert sorted(client.event()["data"] for _ in range(8)) == [str(number) for number in range(8)]


def test_presence_is_one_over_all_workers() -> None:
    with started() as server, clients(server, 12) as opened:
        for number, client in enumerate(opened):
            client.subscribe("presence-crew", user_id=f"user-{number}")
        reply = server.signed("GET", f"/apps/{server.app.id}/channels/presence-crew/users")
        assert {user["id"] for user in reply.json()["users"]} == {f"user-{number}" for number in range(12)}
        info = server.signed(
            "GET", f"/apps/{server.app.id}/channels/presence-crew", params={"info": "user_count,subscription_count"}
        ).json()
        assert info["user_count"] == 12


def test_apps_in_memory_are_those_of_all_workers() -> None:
    """What is changed in the dashboard is known to each within a second, and to one that is started later."""
    with started({"dashboard": {"password": PASSWORD}}, args=["--dev"]) as server:
        made = Operator(server).api("POST", "/apps", {"id": "quay"}, status=201)
        app = Credentials(made["id"], made["key"], made["secret"])

        def everywhere() -> bool:
            # Each is a connection of its own, to any of the workers.
            return all(server.signed("GET", "/apps/quay/channels", app=app).status == 200 for _ in range(20))

        wait_until(everywhere, "both workers to know the app", timeout=3)
        killed = workers(server)[0]
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: killed not in workers(server) and len(workers(server)) == 2, "another worker")
        wait_until(everywhere, "the new worker to know the app", timeout=10)


def test_workers_without_any_app_make_one() -> None:
    config = {"app_manager": {"driver": "memory", "array": {"apps": []}}}
    with started(config) as server:
        found = re.findall(r'"app_id": ?"(\w+)"', server.log)
        assert len(found) >= 2
        assert len(set(found)) == 1


def test_a_worker_that_is_killed_costs_its_connections_alone_and_comes_back() -> None:
    with started() as server, clients(server, 30) as opened:
        before = workers(server)
        its = sockets_of(before[0], server.port)
        os.kill(before[0], signal.SIGKILL)
        told = wait_for_line(server, AGAIN)
        assert (told["process"], told["how"]) == (before[0], "signal SIGKILL")
        wait_until(lambda: len(workers(server)) == 2, "a new worker")
        assert before[1] in workers(server)
        assert sum(is_open(client) for client in opened) == 30 - its
        wait_until(lambda: said(server, "ready") == 3, "it to serve")
        with clients(server, 20):
            assert min(sockets_of(pid, server.port) for pid in workers(server)) >= 1


def test_while_a_worker_is_long_in_coming_the_others_have_all_connections() -> None:
    with started() as server:
        stays = workers(server)[1]
        for times in range(1, 7):
            wait_until(lambda: len(workers(server)) == 2, "a worker in its place")
            [last] = [pid for pid in workers(server) if pid != stays]
            os.kill(last, signal.SIGKILL)
            wait_until(
                lambda so_often=times: said(server, "a worker ended and is started again") == so_often, "its end"
            )
        wait_until(lambda: listeners_at(server.port) == 1, "its socket to be closed")
        assert all(server.request("GET", "/live").status == 200 for _ in range(20))
        wait_until(lambda: said(server, "ready") >= 3 and len(workers(server)) == 2, "the worker to come back")
        assert listeners_at(server.port) == 2
        with clients(server, 20):
            assert min(sockets_of(pid, server.port) for pid in workers(server)) >= 1


def test_members_of_a_killed_worker_are_gone_at_once() -> None:
    with started() as server, clients(server, 12) as opened:
        for number, client in enumerate(opened):
            client.subscribe("presence-crew", user_id=f"user-{number}")
        lost = workers(server)[0]
        left = 12 - sockets_of(lost, server.port)
        os.kill(lost, signal.SIGKILL)

        def members() -> int:
            reply = server.signed("GET", f"/apps/{server.app.id}/channels/presence-crew/users")
            return len(reply.json()["users"])

        # Long before a node that is only silent is held dead.
        wait_until(lambda: members() == left, "the others to know", timeout=5)


def test_a_worker_that_hangs_is_killed() -> None:
    with started() as server:
        before = workers(server)
        os.kill(before[1], signal.SIGSTOP)
        wait_until(lambda: before[1] not in workers(server), "it to be killed")
        assert wait_for_line(server, "a worker is killed")["process"] == before[1]
        wait_until(lambda: len(workers(server)) == 2, "a new worker")


class Knocking:
    """Connects again and again until it is stopped; ``refused`` are the failures."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._ended = threading.Event()
        self.refused: list[str] = []
        self.accepted = 0
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                with WebSocket(self._server) as client:
                    client.greeting()
                assert self._server.request("GET", "/up").status == 200
                self.accepted += 1
            except (OSError, AssertionError) as problem:
                self.refused.append(repr(problem))

    def __enter__(self) -> Knocking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def replaced(server: ServerProcess, before: Sequence[int], how: signal.Signals) -> None:
    server.send_signal(how)
    wait_for_line(server, REPLACED)
    wait_until(lambda: len(workers(server)) == 2, "the old workers to leave")
    assert not set(before) & set(workers(server))


def test_a_rolling_restart_refuses_no_connection_and_tells_old_clients_to_come_again() -> None:
    with started({"drain_window": 1}) as server, clients(server, 10) as opened, Knocking(server) as knocking:
        wait_until(lambda: knocking.accepted > 10, "connections")
        begun = threading.Thread(target=lambda: [client.ended(4200, "Server shutting down") for client in opened])
        begun.start()
        replaced(server, workers(server), signal.SIGUSR2)
        begun.join()
        seen = knocking.accepted
        wait_until(lambda: knocking.accepted > seen + 10, "more connections")
    assert knocking.refused == []


def test_the_command_replaces_the_workers(tmp_path: Path) -> None:
    def restart(folder: Path, code: int) -> subprocess.CompletedProcess[str]:
        command = ["restart", "--data-dir", str(folder)]
        return commands.run(command, env={"PATH": "/usr/bin:/bin"}, cwd=tmp_path, code=code)

    with started({"drain_window": 0}) as server:
        data, before = server.folder / "data", workers(server)
        assert f"All workers of the server, pid {server.process.pid} on" in restart(data, 0).stdout
        assert not set(before) & set(workers(server))
        before = workers(server)
        rewrite(server, prot=1)
        assert "those that there were go on" in restart(data, 1).stderr
        assert workers(server) == before
    assert "No server uses" in restart(data, 1).stderr
    with start_server() as alone:
        assert "is one process" in restart(alone.folder / "data", 1).stderr
        assert alone.exit_code is None


def test_what_needs_a_restart_is_taken_over_by_new_workers() -> None:
    with started({"drain_window": 0}) as server:
        port = free_port()
        rewrite(server, port=port, activity_timeout=31)
        replaced(server, workers(server), signal.SIGHUP)
        assert server.request("GET", "/live", port=port).status == 200
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((server.host, server.port))


def test_what_may_change_while_running_is_passed_on() -> None:
    with started({"activity_timeout": 120}) as server:
        before = workers(server)
        rewrite(server, activity_timeout=31)
        server.send_signal(signal.SIGHUP)
        wait_until(lambda: said(server, "configuration reloaded") == 2, "both")
        for _ in range(10):
            with WebSocket(server) as client:
                assert json.loads(client.event()["data"])["activity_timeout"] == 31
        assert workers(server) == before


def test_a_configuration_that_cannot_be_used_changes_nothing() -> None:
    with started() as server:
        before = workers(server)
        for number, changes in enumerate(({"prot": 1}, {"prot": 1}, {"workers": 3})):
            seen = len(log_lines(server))
            path = server.folder / "config.json"
            kept = path.read_text()
            rewrite(server, **changes)
            server.send_signal(signal.SIGUSR2 if number == 1 else signal.SIGHUP)
            told = wait_for_line(server, "the configuration was not reloaded; nothing changed", after=seen)
            assert any(next(iter(changes)) in problem for problem in told["problems"])
            path.write_text(kept)
        assert workers(server) == before


def test_new_workers_that_cannot_start_leave_the_old_ones_in_place(tmp_path: Path) -> None:
    with started({"drain_window": 0}) as server, clients(server, 6) as opened:
        before = workers(server)
        (tmp_path / "cert.pem").write_text("this is no certificate\n")
        pem = str(tmp_path / "cert.pem")
        rewrite(server, ssl={"enabled": True, "cert_path": pem, "key_path": pem})
        server.send_signal(signal.SIGHUP)
        wait_for_line(server, "the workers were not replaced, the old ones go on")
        wait_until(lambda: workers(server) == before, "the new ones to be gone")
        assert all(map(is_open, opened))
        assert server.request("GET", "/up").status == 200


def test_a_second_signal_ends_all_at_once() -> None:
    with start_server({"workers": 2, "shutdown_grace_period": 60}) as server, clients(server, 4):
        wait_for_line(server, READY)
        left = workers(server)
        server.send_signal(signal.SIGTERM)
        wait_for_line(server, "draining")
        server.send_signal(signal.SIGTERM)
        assert server.wait() == -signal.SIGTERM
        assert not any(Path(f"/proc/{pid}").exists() for pid in left)


def test_workers_without_their_supervisor_end_in_order() -> None:
    with start_server({"workers": 2}) as server, clients(server, 4) as opened:
        wait_for_line(server, READY)
        left = workers(server)
        server.process.send_signal(signal.SIGKILL)
        for client in opened:
            client.ended(4200, "Server shutting down")
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left), "the workers to end")


def test_a_port_in_use_is_one_clear_error(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        options = ["--dev", "--workers", "2", "--port", str(port), "--metrics-port", "0", "--log-level", "error"]
        command = [*FROM_NOTHING, "serve", *options]
        environment = {"PATH": "/usr/bin:/bin"}
        failed = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30, check=False
        )
    assert failed.returncode == 1
    assert failed.stdout == ""
    (line,) = failed.stderr.splitlines()
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in line


def test_two_servers_with_workers_do_not_share_a_port_unseen(tmp_path: Path) -> None:
    with started() as server:
        options = ["--dev", "--workers", "2", "--port", str(server.port), "--metrics-port", "0", "--log-level", "error"]
        failed = commands.run(["serve", *options], env={"PATH": "/usr/bin:/bin"}, cwd=tmp_path, code=1)
        assert "Address already in use" in failed.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--workers", "many"], "workers"),
        (["--workers", "65"], "64"),
    ],
)
def test_a_number_of_workers_that_is_none(tmp_path: Path, options: list[str], said: str) -> None:
    failed = commands.run(["serve", "--dev", *options], env={"PATH": "/usr/bin:/bin"}, cwd=tmp_path, code=1)
    assert said in failed.stderr


def test_a_first_worker_that_cannot_start_ends_the_start_with_its_error(tmp_path: Path) -> None:
    pem = tmp_path / "cert.pem"
    pem.write_text("this is no certificate\n")
    env = {"PATH": "/usr/bin:/bin", "SSL_ENABLED": "true", "SSL_CERT_PATH": str(pem), "SSL_KEY_PATH": str(pem)}
    options = ["--workers", "3", "--host", "127.0.0.1", "--port", "0", "--metrics-port", "0", "--log-level", "error"]
    failed = commands.run(["serve", *options], env=env, cwd=tmp_path, code=1)
    (line,) = failed.stderr.splitlines()
    assert f"cannot use the certificate {pem}" in line


def test_the_folder_is_in_use_while_any_worker_runs(tmp_path: Path) -> None:
    with started() as server:
        data = str(server.folder / "data")
        options = ["--port", "0", "--metrics-port", "0", "--data-dir", data, "--log-level", "error"]
        environment = {"PATH": "/usr/bin:/bin", "HOST": "127.0.0.1"}
        failed = commands.run(["serve", *options], env=environment, cwd=tmp_path, code=1)
        assert f"pid {server.process.pid}" in failed.stderr


def test_a_unix_socket_is_shared(tmp_path: Path) -> None:
    path = tmp_path / "sockudo.sock"
    config = {"unix_socket": {"enabled": True, "path": str(path)}}
    with started(config, plain_http=False) as server:
        for _ in range(10):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(b"GET /live HTTP/1.0\r\n\r\n")
                assert client.recv(100).startswith(b"HTTP/1.1 200")
        os.kill(workers(server)[0], signal.SIGKILL)
        wait_for_line(server, AGAIN)
        assert path.exists()
    assert not path.exists()
