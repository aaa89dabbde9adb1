from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from typing import Any, cast

import pytest

from sockudo.storage.redis_wire import Login, RedisWire, RedisWireError, pack, reason_of


class FakeTransport:
    def __init__(self) -> None:
        self.written = b""
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        self.aborted = True


def made() -> tuple[RedisWire, FakeTransport]:
    wire, transport = RedisWire(), FakeTransport()
    wire.connection_made(cast("asyncio.Transport", transport))
    return wire, transport


async def test_answers_come_in_the_order_of_the_questions() -> None:
    wire, transport = made()
    one, two = wire.ask("PING"), wire.ask("GET", "a", 1)
    assert transport.written == b"*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nGET\r\n$1\r\na\r\n$1\r\n1\r\n"
    # In pieces that end anywhere.
    for byte in b"+PONG\r\n$2\r\nab\r\n":
        wire.data_received(bytes([byte]))
    assert (await one, await two) == (b"PONG", b"ab")


async def test_what_nothing_waits_for_is_taken() -> None:
    wire, _ = made()
    taken: list[Any] = []
    wire.take = taken.append
    heard = wire.next()
    wire.data_received(b"*1\r\n:1\r\n*1\r\n:2\r\n-ERR x\r\n")
    assert await heard == [1]
    assert taken[0] == [2]
    assert str(taken[1]) == "ERR x"


async def test_an_error_is_a_problem_that_quotes_nothing() -> None:
    wire, _ = made()
    answer = wire.ask("AUTH", "secret")
    wire.data_received(b"-WRONGPASS invalid username-password pair for secret\r\n")
    with pytest.raises(RedisWireError, match=r"^it does not accept the configured user or password$"):
        await answer


async def test_the_end_is_told_once_and_answers_everything() -> None:
    wire, transport = made()
    ends: list[str] = []
    wire.ended = ends.append
    answer = wire.ask("PING")
    given_up = wire.ask("PING")
    given_up.cancel()
    wire.connection_lost(ConnectionResetError(errno.ECONNRESET, "reset"))
    wire.close()
    assert ends == ["connection reset by peer"]
    assert transport.aborted
    for asked in (answer, wire.ask("PING"), wire.next()):
        with pytest.raises(RedisWireError, match="reset by peer"):
            await asked
    wire.write(b"into nothing")
    assert b"into nothing" not in transport.written


async def test_an_answer_that_was_given_up_is_no_answer_to_the_next_question() -> None:
    wire, _ = made()
    first, second = wire.ask("PING"), wire.ask("PING")
    first.cancel()
    wire.data_received(b"+one\r\n+two\r\n")
    assert await second == b"two"


async def test_another_protocol_ends_the_connection() -> None:
    wire, transport = made()
    ends: list[str] = []
    wire.ended = ends.append
    wire.data_received(b"HTTP/1.1 400 Bad Request\r\n")
    assert ends == ["it does not speak the protocol of Redis"]
    assert transport.aborted


def untrusted() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "failed")
    error.verify_message = "self-signed certificate"
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), "connection refused"),
        (socket.gaierror(-2, "x"), "its name has no address"),
        (UnicodeError("label empty or too long"), "its name has no address"),
        (untrusted(), "its certificate is not trusted: self-signed certificate"),
        (ssl.SSLError(1, "x"), "the TLS handshake failed"),
        (Exception("NOAUTH Authentication required."), "it does not accept the configured user or password"),
        (Exception("ERR DB index is out of range"), "it has no database of the configured number"),
        (Exception("ERR unknown command 'SSUBSCRIBE', with args"), "it does not know the command"),
        (Exception("ERR This instance has cluster support disabled"), "it is no part of a cluster"),
        (Exception("NOPERM User x has no permissions"), "NOPERM"),
        (Exception("ERR something with a value in it"), "it failed"),
    ],
)
def test_reasons(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason


def test_a_login_hides_its_password() -> None:
    assert "secret" not in repr(Login("me", "secret", 1))


def test_commands_take_any_bytes() -> None:
    assert pack((b"PUBLISH", "ü", b"\r\n\x00")) == b"*3\r\n$7\r\nPUBLISH\r\n$2\r\n\xc3\xbc\r\n$3\r\n\r\n\x00\r\n"
