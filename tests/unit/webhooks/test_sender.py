"""Requests to servers of every kind, over real sockets: what arrives there, and what is said about it here."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from sockudo.base.version import __version__
from sockudo.outbound.problems import PROBLEMS
from sockudo.outbound.resolver import Resolver
from sockudo.webhooks.advice import advice_on
from sockudo.webhooks.records import MAX_SNIPPET, Answer, Target
from sockudo.webhooks.sender import HttpSender
from support.certificates import write_certificate, write_chain
from support.receivers import Behaviour, Received, Receiver, answer, raw

NOW = 1_767_225_600.0
FRAMING = [("Content-Length", "3"), ("transfer-encoding", "chunked")]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as started:
        yield started


@pytest.fixture
async def sender() -> AsyncIterator[HttpSender]:
    made = HttpSender(allow_private=True, time=lambda: NOW)
    yield made
    await made.close()


def target(url: str, *headers: tuple[str, str], timeout: float = 10.0) -> Target:
    return Target(url, headers, timeout)


def without_time(got: Answer) -> Answer:
    return got._replace(took_ms=0)


# ---- what arrives ----


async def test_the_body_arrives_byte_for_byte_with_its_headers(receiver: Receiver, sender: HttpSender) -> None:
    body = b'{"a": "\xc3\xa4 \x00"}' * 10_000
    headers = (("Content-Type", "application/json"), ("X-Pusher-Key", "key"))
    got = await sender.send(target(receiver.url, *headers), body)
    assert without_time(got) == Answer(200, None, 0, "ok")
    assert got.delivered
    [received] = receiver.received
    assert received.line == "POST /hook HTTP/1.1"
    assert received.body == body
    assert received.headers == {
        "host": f"127.0.0.1:{receiver.port}",
        "user-agent": f"Sockudo/{__version__}",
        "accept": "*/*",
        "content-length": str(len(body)),
        "content-type": "application/json",
        "x-pusher-key": "key",
    }


async def test_headers_of_the_target_go_before_our_own(receiver: Receiver, sender: HttpSender) -> None:
    url = receiver.url.replace("http://", "http://ana:secret@")
    await sender.send(target(url, ("user-agent", "theirs"), ("AUTHORIZATION", "Bearer x")), b"")
    assert receiver.received[0].headers["user-agent"] == "theirs"
    assert receiver.received[0].headers["authorization"] == "Bearer x"


async def test_space_around_a_value_is_left_out(receiver: Receiver, sender: HttpSender) -> None:
    got = await sender.send(target(receiver.url, ("X-One", " a b\t"), ("X-Two", "")), b"")
    assert got.status == 200
    assert receiver.received[0].headers["x-one"] == "a b"
    assert receiver.received[0].headers["x-two"] == ""


@pytest.mark.parametrize("header", [("X-One", "a\r\nX-Two: b"), ("X One", "a"), ("X-One", "\x00"), ("", "a"), *FRAMING])
async def test_a_header_that_would_be_another_request_is_not_sent(
    receiver: Receiver, sender: HttpSender, header: tuple[str, str]
) -> None:
    got = await sender.send(target(receiver.url, header), b"")
    assert (got.status, got.problem) == (None, "url_invalid")
    assert receiver.received == []


async def test_user_and_password_of_the_url_are_sent_as_basic_authorization(
    receiver: Receiver, sender: HttpSender
) -> None:
    url = receiver.url.replace("http://", "http://ana:p%40ss%3A%C3%A4@")
    await sender.send(target(url), b"")
    scheme, _, credentials = receiver.received[0].headers["authorization"].partition(" ")
    assert (scheme, base64.b64decode(credentials)) == ("Basic", "ana:p@ss:ä".encode())
    assert receiver.received[0].headers["host"] == f"127.0.0.1:{receiver.port}"


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("", "/"),
        ("/", "/"),
        ("?x=1", "/?x=1"),
        ("/a b/ä?q=ü&r=a%20b+c", "/a%20b/%C3%A4?q=%C3%BC&r=a%20b+c"),
        ("/a%2Fb?x=%26", "/a%2Fb?x=%26"),
        ("/a/../b", "/a/../b"),
        ("/a?x#fragment", "/a?x"),
    ],
)
async def test_the_path_is_sent_as_it_stands(receiver: Receiver, sender: HttpSender, path: str, sent: str) -> None:
    got = await sender.send(target(f"http://127.0.0.1:{receiver.port}{path}"), b"x")
    assert got.status == 200
    assert receiver.received[0].line == f"POST {sent} HTTP/1.1"


async def test_connections_are_used_again(receiver: Receiver, sender: HttpSender) -> None:
    for _ in range(5):
        assert (await sender.send(target(receiver.url), b"x")).status == 200
    assert receiver.connections == 1


async def test_requests_side_by_side_have_a_connection_each(receiver: Receiver, sender: HttpSender) -> None:
    arrived = asyncio.Event()

    async def wait_for_all(received: Received, writer: asyncio.StreamWriter) -> None:
        if len(receiver.received) == 10:
            arrived.set()
        await arrived.wait()
        await answer()(received, writer)

    receiver.behaviour = wait_for_all
    answers = await asyncio.gather(*(sender.send(target(receiver.url), b"x") for _ in range(10)))
    assert [got.status for got in answers] == [200] * 10
    assert receiver.connections == 10


async def test_a_connection_that_the_server_has_closed_is_not_used_again(
    receiver: Receiver, sender: HttpSender
) -> None:
    closed = asyncio.Event()

    async def answer_and_close(received: Received, writer: asyncio.StreamWriter) -> None:
        await answer()(received, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        closed.set()

    receiver.behaviour = answer_and_close
    for _ in range(3):
        closed.clear()
        assert (await sender.send(target(receiver.url), b"x")).status == 200
        await closed.wait()
        # Until the end of the connection has come through to this side.
        await asyncio.sleep(0.05)
    assert receiver.connections == 3


async def test_connections_that_nobody_uses_are_closed(sender: HttpSender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sockudo.outbound.pool._KEPT_SECONDS", 0.05)
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 Gone\r\n\r\n")
        await reader.read()
        ended.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert (await sender.send(target(f"http://127.0.0.1:{port}/"), b"")).status == 204
    async with asyncio.timeout(5):
        await ended.wait()
    server.close()


async def test_variables_that_name_a_proxy_mean_nothing(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    sender = HttpSender(allow_private=True)
    assert (await sender.send(target(receiver.url), b"x")).status == 200
    await sender.close()


# ---- answers ----


@pytest.mark.parametrize("status", [200, 201, 204, 299, 400, 404, 408, 410, 429, 500, 503])
async def test_every_status_is_an_answer(receiver: Receiver, sender: HttpSender, status: int) -> None:
    receiver.behaviour = answer(status, b"" if status == 204 else b"text")
    got = await sender.send(target(receiver.url), b"x")
    assert (got.status, got.problem, got.delivered) == (status, None, 200 <= status < 300)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(receiver: Receiver, sender: HttpSender, status: int) -> None:
    async with Receiver() as elsewhere:
        receiver.behaviour = answer(status, b"", Location=elsewhere.url)
        got = await sender.send(target(receiver.url), b"x")
        assert (got.status, got.delivered) == (status, False)
        assert elsewhere.received == []
    assert len(receiver.received) == 1


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://new.test/hook", "https://new.test/hook"),
        ("/moved/hook", "http://127.0.0.1:PORT/moved/hook"),
        ("https://ana:planted@new.test/hook?token=planted", "https://new.test/hook?token=…"),
        ("https://new.test/a b", "https://new.test/a%20b"),
    ],
)
async def test_where_a_redirect_leads_is_kept_without_what_may_be_secret(
    receiver: Receiver, sender: HttpSender, location: str, shown: str
) -> None:
    receiver.behaviour = answer(301, b"Moved", Location=location)
    got = await sender.send(target(receiver.url), b"x")
    assert got.snippet == f"Location: {shown.replace('PORT', str(receiver.port))} Moved"
    assert (advice_on(got.status, None, got.snippet) or "").endswith(shown.replace("PORT", str(receiver.port)))


async def test_a_401_tells_a_refused_signature_from_missing_credentials(receiver: Receiver, sender: HttpSender) -> None:
    receiver.behaviour = answer(401, b"No.", **{"WWW-Authenticate": 'Basic realm="planted"'})
    got = await sender.send(target(receiver.url), b"x")
    assert got.snippet == "WWW-Authenticate: Basic No."
    assert "asks for credentials" in (advice_on(401, None, got.snippet) or "")
    receiver.behaviour = answer(401, b"No.")
    got = await sender.send(target(receiver.url), b"x")
    assert got.snippet == "No."
    assert "refuses the signature" in (advice_on(401, None, got.snippet) or "")
    assert "asks for credentials" not in (advice_on(401, None, got.snippet) or "")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("99999999999999999999", 86_400),
        (format_datetime(datetime.fromtimestamp(NOW + 90, UTC), usegmt=True), 90),
        (format_datetime(datetime.fromtimestamp(NOW - 90, UTC), usegmt=True), 0),
        ("Thu, 01 Jan 2026 00:00:30", 30),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("²", None),
    ],
)
async def test_retry_after_is_understood(
    receiver: Receiver, sender: HttpSender, value: str, seconds: int | None
) -> None:
    head = f"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nretry-AFTER: {value}\r\n\r\n"
    receiver.behaviour = raw(head.encode("latin-1"))
    got = await sender.send(target(receiver.url), b"x")
    assert (got.status, got.retry_after) == (503, seconds)


async def test_the_beginning_of_the_body_is_kept_as_text(receiver: Receiver, sender: HttpSender) -> None:
    async def snippet(body: bytes) -> str:
        receiver.behaviour = answer(500, body)
        return (await sender.send(target(receiver.url), b"x")).snippet

    assert await snippet(b"") == ""
    assert await snippet(b"Server\x1b[31m Error\r\n\x00!") == "Server [31m Error   !"
    assert await snippet(b"\xff\xfe caf\xc3\xa9") == "�� café"
    assert await snippet(b"x" * 5000) == "x" * MAX_SNIPPET
    assert await snippet(b"x" * (MAX_SNIPPET - 1) + "é".encode() * 9) == "x" * (MAX_SNIPPET - 1)


async def test_the_time_it_took_is_told(receiver: Receiver, sender: HttpSender) -> None:
    async def late(received: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        await answer()(received, writer)

    receiver.behaviour = late
    got = await sender.send(target(receiver.url), b"x")
    assert 100 <= got.took_ms < 5000


# ---- servers that do not behave ----


async def pour(writer: asyncio.StreamWriter, piece: bytes, pause: float = 0.0) -> None:
    with contextlib.suppress(ConnectionError):
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)


async def hang(_: Received, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def reset(_: Received, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def close(_: Received, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def endless_headers(_: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    await pour(writer, b"X-More: and more\r\n" * 100)


async def head_byte_by_byte(_: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    await pour(writer, b"x", 0.02)


async def endless_interim(_: Received, writer: asyncio.StreamWriter) -> None:
    await pour(writer, b"HTTP/1.1 102 Processing\r\n\r\n", 0.005)


WITHOUT_ANSWER: dict[str, tuple[Behaviour, set[str]]] = {
    "hangs": (hang, {"timeout"}),
    "headers byte by byte": (head_byte_by_byte, {"timeout"}),
    "interim answers for ever": (endless_interim, {"timeout"}),
    "closes": (close, {"connection_closed"}),
    "closes within the headers": (raw(b"HTTP/1.1 200 OK\r\nContent-", close=True), {"connection_closed"}),
    "resets": (reset, {"connection_reset", "connection_closed"}),
    "garbage": (raw(b"\x00\x01garbage\r\n\r\n" * 10, close=True), {"protocol_error"}),
    "another protocol": (raw(b"220 mail.test ESMTP\r\n\r\n"), {"protocol_error"}),
    "no status": (raw(b"HTTP/1.1 abc OK\r\n\r\n"), {"protocol_error"}),
    "two lengths": (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"), {"protocol_error"}),
    "headers without end": (endless_headers, {"protocol_error"}),
}


@pytest.mark.parametrize("kind", WITHOUT_ANSWER)
async def test_a_server_that_does_not_answer_is_a_problem_with_a_name(
    receiver: Receiver, sender: HttpSender, kind: str
) -> None:
    receiver.behaviour, words = WITHOUT_ANSWER[kind]
    async with asyncio.timeout(5):
        got = await sender.send(target(receiver.url, timeout=0.5), b"x")
    assert got.status is None
    assert got.problem in words
    assert got.problem in PROBLEMS
    # And it costs nothing else: the next request is made.
    receiver.behaviour = answer()
    assert (await sender.send(target(receiver.url), b"x")).status == 200


async def test_the_time_limit_is_for_all_of_the_request(receiver: Receiver, sender: HttpSender) -> None:
    receiver.behaviour = head_byte_by_byte
    started = asyncio.get_running_loop().time()
    got = await sender.send(target(receiver.url, timeout=0.3), b"x")
    assert got.problem == "timeout"
    assert 0.29 <= asyncio.get_running_loop().time() - started < 2
    assert 290 <= got.took_ms < 2000


async def test_a_body_that_nobody_reads_is_given_up(sender: HttpSender) -> None:
    async def never_read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await done.wait()
        writer.close()

    done = asyncio.Event()
    server = await asyncio.start_server(never_read, "127.0.0.1", 0, limit=1)
    port = server.sockets[0].getsockname()[1]
    got = await sender.send(target(f"http://127.0.0.1:{port}/", timeout=0.5), b"x" * 20_000_000)
    assert got.problem == "timeout"
    done.set()
    server.close()


async def endless_body(_: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    await pour(writer, b"more and " * 1000)


async def body_byte_by_byte(_: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
    await pour(writer, b"z", 0.02)


BAD_BODIES: dict[str, tuple[Behaviour, str]] = {
    "endless": (endless_body, "more and"),
    "byte by byte": (body_byte_by_byte, "zz"),
    "cut": (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", close=True), "half"),
    "never begun": (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"), ""),
    "broken chunks": (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), ""),
}


@pytest.mark.parametrize("kind", BAD_BODIES)
async def test_a_status_counts_whatever_becomes_of_the_body(receiver: Receiver, sender: HttpSender, kind: str) -> None:
    receiver.behaviour, beginning = BAD_BODIES[kind]
    async with asyncio.timeout(5):
        got = await sender.send(target(receiver.url, timeout=10), b"x")
    assert (got.status, got.problem) == (200, None)
    assert got.snippet.startswith(beginning)
    receiver.behaviour = answer()
    assert (await sender.send(target(receiver.url), b"x")).snippet == "ok"
    # What is left of the bad body is not taken for the next answer.
    assert receiver.connections == 2


async def test_of_an_endless_body_little_is_read(receiver: Receiver, sender: HttpSender) -> None:
    poured = 0

    async def count(_: Received, writer: asyncio.StreamWriter) -> None:
        nonlocal poured
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing() and poured < 500_000_000:
                writer.write(b"x" * 65_536)
                poured += 65_536
                await writer.drain()

    receiver.behaviour = count
    assert (await sender.send(target(receiver.url), b"x")).status == 200
    # What the buffers of both sides hold besides.
    assert poured < 50_000_000


async def test_an_upgrade_is_no_delivery(receiver: Receiver, sender: HttpSender) -> None:
    receiver.behaviour = raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
    got = await sender.send(target(receiver.url, timeout=2), b"x")
    assert not got.delivered


async def test_of_a_slow_body_the_first_second_is_waited_for(receiver: Receiver, sender: HttpSender) -> None:
    receiver.behaviour = body_byte_by_byte
    started = asyncio.get_running_loop().time()
    got = await sender.send(target(receiver.url, timeout=30), b"x")
    took = asyncio.get_running_loop().time() - started
    assert got.status == 200
    assert 1 <= took < 5
    # The body is no part of it.
    assert got.took_ms < 900


async def test_nobody_listens(sender: HttpSender) -> None:
    async with Receiver() as gone:
        url = gone.url
    assert without_time(await sender.send(target(url), b"x")) == Answer(None, "connection_refused")


async def test_cancelling_a_request_leaves_nothing_behind(receiver: Receiver, sender: HttpSender) -> None:
    arrived = asyncio.Event()

    async def hang_once_all_are_there(received: Received, writer: asyncio.StreamWriter) -> None:
        if len(receiver.received) == 5:
            arrived.set()
        await hang(received, writer)

    receiver.behaviour = hang_once_all_are_there
    tasks = [asyncio.create_task(sender.send(target(receiver.url), b"x")) for _ in range(5)]
    async with asyncio.timeout(5):
        await arrived.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    receiver.behaviour = answer()
    assert (await sender.send(target(receiver.url), b"x")).status == 200


# ---- names and addresses ----


async def test_private_addresses_are_refused_unless_allowed(receiver: Receiver) -> None:
    sender = HttpSender()
    for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "127.1"):
        got = await sender.send(target(f"http://{host}:{receiver.port}/"), b"x")
        assert without_time(got) == Answer(None, "address_refused"), host
    await sender.close()
    assert receiver.connections == 0


async def test_a_name_that_leads_nowhere() -> None:
    def unknown(_: str) -> Sequence[str]:
        raise OSError

    sender = HttpSender(resolver=Resolver(unknown))
    assert without_time(await sender.send(target("http://hooks.test/"), b"x")) == Answer(None, "dns_failed")
    await sender.close()


async def test_the_host_is_named_as_in_the_url(receiver: Receiver) -> None:
    asked: list[str] = []

    def here(host: str) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"]

    sender = HttpSender(allow_private=True, resolver=Resolver(here))
    for host in ("Hooks.Test", "bücher.test"):
        await sender.send(target(f"http://{host}:{receiver.port}/"), b"x")
    names = ["hooks.test", "xn--bcher-kva.test"]
    assert asked == names
    assert [each.headers["host"] for each in receiver.received] == [f"{name}:{receiver.port}" for name in names]
    await sender.close()


@pytest.mark.parametrize(
    "url",
    [
        "ftp://hooks.test/",
        "hooks.test/",
        "http://",
        "http:///path",
        "http://hooks.test:99999/",
        "http://hooks.test:x/",
        "http://[::1/",
        "http://a..b/",
        f"http://{'x' * 64}.test/",
    ],
)
async def test_what_is_no_url_is_not_called(sender: HttpSender, url: str) -> None:
    assert without_time(await sender.send(target(url), b"x")) == Answer(None, "url_invalid")


# ---- TLS ----


def server_tls(cert: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


@pytest.fixture
def trusting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ssl.SSLContext]:
    """Makes a certificate, has it trusted unless told otherwise, and returns what a server needs to use it."""

    def make(*, trusted: bool = True, **about: Any) -> ssl.SSLContext:
        cert, key = write_certificate(tmp_path, **about)
        other = tmp_path / "other"
        other.mkdir()
        monkeypatch.setenv("SSL_CERT_FILE", str(cert if trusted else write_certificate(other)[0]))
        return server_tls(cert, key)

    return make


async def test_tls_with_a_certificate_that_is_trusted(trusting: Callable[..., ssl.SSLContext]) -> None:
    async with Receiver(tls=trusting()) as receiver:
        sender = HttpSender(allow_private=True)
        for host in ("127.0.0.1", "localhost"):
            got = await sender.send(target(f"https://{host}:{receiver.port}/hook"), b"body")
            assert (got.status, got.snippet) == (200, "ok")
        await sender.close()
        assert [each.body for each in receiver.received] == [b"body"] * 2


@pytest.mark.parametrize(
    ("about", "word"),
    [
        ({"trusted": False}, "tls_self_signed"),
        ({"expired": True}, "tls_expired"),
        ({"host": "other.test"}, "tls_name_mismatch"),
    ],
)
async def test_tls_with_a_certificate_that_is_not(
    trusting: Callable[..., ssl.SSLContext], about: dict[str, Any], word: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Receiver(tls=trusting(**about)) as receiver:
        sender = HttpSender(allow_private=True)
        got = await sender.send(target(f"https://localhost:{receiver.port}/hook"), b"secret body")
        assert without_time(got) == Answer(None, word)
        await sender.close()
        assert receiver.received == []


async def test_tls_with_a_certificate_of_an_authority_that_is_not_known(tmp_path: Path) -> None:
    _, issued = write_chain(tmp_path)
    async with Receiver(tls=server_tls(*issued)) as receiver:
        sender = HttpSender(allow_private=True)
        got = await sender.send(target(f"https://localhost:{receiver.port}/hook"), b"x")
        assert without_time(got) == Answer(None, "tls_authority_unknown")
        await sender.close()


async def test_tls_asked_of_a_server_that_does_not_speak_it(receiver: Receiver, sender: HttpSender) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    got = await sender.send(target(f"https://127.0.0.1:{port}/"), b"x")
    assert (got.status, got.problem) == (None, "tls_not_spoken")
    server.close()


async def test_a_handshake_that_hangs_is_within_the_time_limit(sender: HttpSender) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    got = await sender.send(target(f"https://127.0.0.1:{port}/", timeout=0.3), b"x")
    assert (got.status, got.problem) == (None, "timeout")
    server.close()


async def test_a_name_is_verified_as_the_name_and_not_as_its_address(
    trusting: Callable[..., ssl.SSLContext],
) -> None:
    async with Receiver(tls=trusting(host="hooks.test")) as receiver:
        sender = HttpSender(allow_private=True, resolver=Resolver(lambda _: ["127.0.0.1"]))
        assert (await sender.send(target(f"https://hooks.test:{receiver.port}/"), b"x")).status == 200
        refused = await sender.send(target(f"https://127.0.0.1:{receiver.port}/"), b"x")
        assert refused.problem == "tls_name_mismatch"
        await sender.close()
