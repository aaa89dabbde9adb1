"""Requests that never end, on every listener: memory stays, operators get in, and who signs rightly is served."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.raw import RawConnection, request_bytes, signed_target
from support.server import DEFAULT_APP, ServerProcess, start_server

MORE = 32
"""Megabytes that the server may have more afterwards."""

SENT = 20 * 1024 * 1024

HEAD = b"POST /x HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
LONG_LINES = (b"X: " + b"a" * 65_530 + b"\r\n") * 4
SHORT_LINES = b"a:\r\n" * 65_536
GETS = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n" * 10_000

ATTACKS = {
    "trailers": (HEAD + b"0\r\n", LONG_LINES),
    "short trailers": (HEAD + b"0\r\n", SHORT_LINES),
    "one header": (b"GET /x HTTP/1.1\r\nHost: a\r\nX: ", b"a" * 262_144),
    "one trailer": (HEAD + b"0\r\nX: ", b"a" * 262_144),
    "chunk line": (HEAD + b"1;", b"a" * 262_144),
    "pipelined": (b"", GETS),
}


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with start_server() as running:
        yield running


def resident(server: ServerProcess) -> float:
    """Megabytes of memory that the server has."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def send(port: int, start: bytes, piece: bytes, size: int) -> None:
    """Sends so many bytes and reads nothing; ends when it is refused or not read from."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.settimeout(0.3)
        with contextlib.suppress(OSError):
            connection.sendall(start)
            for _ in range(size // len(piece) + 1):
                connection.sendall(piece)


@pytest.mark.parametrize("listener", ["port", "metrics_port"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_one_request_without_an_end(server: ServerProcess, attack: str, listener: str) -> None:
    """Trailers were kept without a bound, and 720,000 pipelined requests took 1.9 GB."""
    before = resident(server)
    send(getattr(server, listener), *ATTACKS[attack], SENT)
    assert resident(server) - before < MORE
    assert server.request("GET", "/live").status == 200


@pytest.mark.parametrize("listener", ["port", "metrics_port"])
@pytest.mark.parametrize("attack", ["trailers", "one header", "pipelined"])
def test_a_hundred_at_once(server: ServerProcess, attack: str, listener: str) -> None:
    before = resident(server)
    start, piece = ATTACKS[attack]
    with contextlib.ExitStack() as opened:
        for _ in range(100):
            connection = socket.create_connection(("127.0.0.1", getattr(server, listener)), timeout=10)
            opened.enter_context(connection)
            connection.settimeout(0.01)
            with contextlib.suppress(OSError):
                connection.sendall(start)
                connection.sendall(piece)
        assert resident(server) - before < MORE
    assert server.request("GET", "/live").status == 200


def test_a_body_is_not_kept_before_its_signature_is_right(server: ServerProcess) -> None:
    for query in ("a=1", "auth_key=nobody&auth_timestamp=1&auth_version=1.0&body_md5=x&auth_signature=y"):
        with RawConnection(server) as connection:
            connection.send(
                request_bytes("POST", f"/apps/{DEFAULT_APP.id}/events?{query}", {"Content-Length": "900000"})
            )
            connection.send(b"x" * 100_000)
            assert connection.answer().status in (400, 401)


def test_unfinished_bodies_share_a_bound() -> None:
    with start_server({"http_api": {"unfinished_bodies_in_mb": 1}}) as server, contextlib.ExitStack() as opened:
        body = b"x" * 900_000
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        target = signed_target(DEFAULT_APP, "POST", f"/apps/{DEFAULT_APP.id}/events", body)
        connections = [opened.enter_context(RawConnection(server)) for _ in range(3)]
        for connection in connections[:2]:
            connection.send(request_bytes("POST", target, headers) + body[:800_000])
        refused = connections[1].answer()
        assert (refused.status, refused.json()["docs"]) == (503, "errors.md#bodies_full")
        assert "http_api.unfinished_bodies_in_mb" in refused.json()["error"]
        connections[0].close()
        connections[2].send(request_bytes("POST", target, headers) + body[:800_000])
        connections[2].send(body[800_000:])
        assert connections[2].answer().status == 400  # the whole body came, and is no JSON


def test_who_ends_his_side_is_answered_after_the_commit() -> None:
    config = {"history": {"enabled": True}, "connection_recovery": {"enabled": True}}
    with start_server(config) as server:
        body = b'{"name":"e","channel":"ledger","data":"1"}'
        target = signed_target(DEFAULT_APP, "POST", f"/apps/{DEFAULT_APP.id}/events", body)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        with RawConnection(server) as connection:
            connection.send(request_bytes("POST", target, headers) + body)
            connection.half_close()
            assert connection.answer().status == 200


def test_half_sent_requests_of_one_address_keep_nobody_out(server: ServerProcess) -> None:
    """512 of them locked operators out of metrics and dashboard for as long as they liked."""
    with contextlib.ExitStack() as opened:
        for _ in range(1000):
            connection = socket.create_connection(("127.0.0.1", server.metrics_port), timeout=10)
            opened.enter_context(connection)
            with contextlib.suppress(OSError):
                connection.sendall(b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nabc")
        operator = socket.create_connection(
            ("127.0.0.1", server.metrics_port), timeout=5, source_address=("127.0.0.2", 0)
        )
        with operator:
            operator.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert operator.recv(100).startswith(b"HTTP/1.1 200 ")
