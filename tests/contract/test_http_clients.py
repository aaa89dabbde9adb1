"""Every client of other servers: what is sent, how connections are kept, and every way in which an answer can fail."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from sockudo.outbound.client import Client
from sockudo.outbound.exchange import Exchange
from sockudo.outbound.ports import ExchangeError, Reply
from support.certificates import write_certificate
from support.receivers import Behaviour, Gate, Receiver, answer, raw

SOON = 5.0


class Http(Protocol):
    """What both clients can do."""

    async def post(self, url: str, headers: Sequence[tuple[str, str]], body: bytes, *, deadline: float) -> Reply: ...

    async def close(self) -> None: ...


def fan_out(cafile: str | None = None) -> Http:
    return Exchange(allow_local=True, cafile=cafile)


def webhooks(cafile: str | None = None) -> Http:
    return Client(allow_private=True, cafile=cafile)


CLIENTS = pytest.mark.parametrize("client", [fan_out, webhooks])


@pytest.fixture(params=[fan_out, webhooks])
async def http(request: pytest.FixtureRequest) -> AsyncIterator[Http]:
    client: Http = request.param()
    yield client
    await client.close()


async def post(http: Http, url: str, body: bytes = b"{}", *, within: float = SOON, **headers: str) -> Reply:
    deadline = asyncio.get_running_loop().time() + within
    given = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return await http.post(url, given, body, deadline=deadline)


async def problem(http: Http, url: str, *, within: float = SOON, **headers: str) -> str:
    with pytest.raises(ExchangeError) as caught:
        await post(http, url, within=within, **headers)
    return caught.value.problem


async def test_what_is_sent_and_what_comes_back(http: Http) -> None:
    async with Receiver(answer(201, b"made", Location="/x", X_Two="b")) as receiver:
        reply = await post(http, receiver.url + "/a b?q=ü", b"body", x_own="value")
        headers = {"content-length": "4", "location": "/x", "x-two": "b"}
        assert reply == Reply(201, headers, b"made", whole=True, answered_at=reply.answered_at)
        (got,) = receiver.received
    assert got.line == "POST /hook/a%20b?q=%C3%BC HTTP/1.1"
    assert got.body == b"body"
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert got.headers["x-own"] == "value"


async def test_a_connection_is_used_again(http: Http) -> None:
    async with Receiver() as receiver:
        for _ in range(5):
            await post(http, receiver.url)
        assert receiver.connections == 1


@pytest.mark.parametrize(
    ("behaviour", "body"),
    [
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), b"abcde"),
        (raw(b"HTTP/1.1 204 No\r\n\r\n"), b""),
        (raw(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), b"ok"),
        (raw(b"HTTP/1.0 200 OK\r\n\r\nuntil the end", close=True), b"until the end"),
        (answer(200, b"last", Connection="close"), b"last"),
    ],
)
async def test_answers_of_all_shapes(http: Http, behaviour: Behaviour, body: bytes) -> None:
    async with Receiver(behaviour) as receiver:
        for _ in range(2):
            reply = await post(http, receiver.url)
            assert (reply.body, reply.whole) == (body, True)


async def test_a_redirect_is_an_answer(http: Http) -> None:
    async with Receiver(answer(307, Location="http://127.0.0.1:1/")) as receiver:
        assert (await post(http, receiver.url)).status == 307
        assert len(receiver.received) == 1


async def test_a_long_body_is_not_read_to_its_end(http: Http) -> None:
    async with Receiver(answer(400, b"x" * 300_000)) as receiver:
        reply = await post(http, receiver.url)
        assert (reply.status, len(reply.body)) == (400, 65_536)
        await post(http, receiver.url)
        assert receiver.connections == 2


async def test_a_body_that_is_cut_is_not_whole(http: Http) -> None:
    async with Receiver(raw(b"HTTP/1.1 400 No\r\nContent-Length: 100\r\n\r\nsome", close=True)) as receiver:
        reply = await post(http, receiver.url)
        assert (reply.status, reply.body, reply.whole) == (400, b"some", False)


@pytest.mark.parametrize(
    "behaviour",
    [
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nX-On: 1\r\n\r\nsome"),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-On: 1\r\n\r\n4\r\nsome\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-On: 1\r\n\r\n4\r\nsome\r\nno number\r\n"),
    ],
)
async def test_what_a_head_said_was_said_whatever_becomes_of_its_body(http: Http, behaviour: Behaviour) -> None:
    """Who was told that a notification was taken must not send it again because the rest hangs or is garbage."""
    async with Receiver(behaviour) as receiver:
        reply = await post(http, receiver.url, within=0.2)
        assert (reply.status, reply.headers["x-on"], reply.body, reply.whole) == (200, "1", b"some", False)
        receiver.behaviour = answer()
        assert (await post(http, receiver.url)).whole
        assert receiver.connections == 2


@pytest.mark.parametrize(
    ("behaviour", "word"),
    [
        (raw(b"\x00\xff what is this?\r\n\r\n"), "protocol_error"),
        (raw(b"", close=True), "connection_closed"),
        (raw(b"HTTP/1.1 200", close=True), "connection_closed"),
        (raw(b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"x" * 70_000), "protocol_error"),
        (raw(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), "protocol_error"),
    ],
)
async def test_no_answers(http: Http, behaviour: Behaviour, word: str) -> None:
    async with Receiver(behaviour) as receiver:
        assert await problem(http, receiver.url) == word
        receiver.behaviour = answer()
        assert (await post(http, receiver.url)).status == 200


async def test_a_server_that_hangs(http: Http) -> None:
    gate = Gate()
    async with Receiver(gate) as receiver:
        assert await problem(http, receiver.url, within=0.1) == "timeout"
        gate.open.set()
        # The connection was given up: a late answer is nobody's.
        await post(http, receiver.url)
        assert receiver.connections == 2


async def test_nothing_listens(http: Http) -> None:
    async with Receiver() as receiver:
        url = receiver.url
    assert await problem(http, url) == "connection_refused"


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" * 2,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" * 2,
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more",
    ],
)
async def test_more_than_the_answer_to_one_request_ends_the_connection(http: Http, sent: bytes) -> None:
    async with Receiver(raw(sent)) as receiver:
        assert (await post(http, receiver.url)).body == b"ok"
        receiver.behaviour = answer(200, b"mine")
        assert (await post(http, receiver.url)).body == b"mine"
        assert receiver.connections == 2


async def test_giving_up_ends_the_connection(http: Http) -> None:
    gate = Gate()
    async with Receiver(gate) as receiver:
        task = asyncio.create_task(post(http, receiver.url))
        await gate.arrivals.get()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.open.set()
        await post(http, receiver.url)
        assert receiver.connections == 2


@pytest.mark.parametrize("value", ["a\r\nx-injected: 1", "a\nb", "a\rb", "a\0b", "\ud800"])
async def test_headers_that_would_be_more_than_one(http: Http, value: str) -> None:
    async with Receiver() as receiver:
        assert await problem(http, receiver.url, x_value=value) == "url_invalid"
        assert not receiver.received


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "ftp://x.test/",
        "http://",
        "http://[::1",
        "https://user:secret@x.test/",
        "http://a b/",
        "http://x:99999/",
    ],
)
async def test_addresses_that_are_none(http: Http, url: str) -> None:
    assert await problem(http, url) == "url_invalid"


# ---- TLS ----


@CLIENTS
async def test_certificates_are_verified(client: Callable[[str | None], Http], tmp_path: Path) -> None:
    files = write_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files)
    async with Receiver(tls=context) as receiver:
        stranger, friend = client(None), client(str(files[0]))
        assert await problem(stranger, receiver.url) == "tls_self_signed"
        assert (await post(friend, receiver.url)).status == 200
        await stranger.close()
        await friend.close()


async def test_a_server_without_tls_is_none(http: Http) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 no TLS here\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        assert await problem(http, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/") == "tls_not_spoken"
