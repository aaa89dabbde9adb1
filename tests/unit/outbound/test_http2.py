"""HTTP/2 with one connection per host: what servers may say in between, and what is sent again."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest

from sockudo.outbound.exchange import Exchange
from sockudo.outbound.ports import ExchangeError, Reply
from sockudo.testing import MockPushProvider, ProviderAnswer
from support.certificates import write_certificate

SOON = 5.0


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_certificate(tmp_path_factory.mktemp("h2"))


def context_of(files: tuple[Path, Path], *protocols: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files)
    if protocols:
        context.set_alpn_protocols(protocols)
    return context


class Server(asyncio.Protocol):
    """One connection, whose requests are handed to ``take``; what it does to ``http`` is sent."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.requests: dict[int, bytes] = {}
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.house.connections.append(self)
        self.http.local_settings = h2.settings.Settings(client=False, initial_values=self.house.settings)
        self.http.initiate_connection()
        self.flush()

    def data_received(self, data: bytes) -> None:
        for event in self.http.receive_data(data):
            if isinstance(event, h2.events.RequestReceived) and event.stream_id:
                self.requests[event.stream_id] = b""
            elif isinstance(event, h2.events.DataReceived) and event.stream_id:
                self.requests[event.stream_id] += event.data
                self.house.bodies[event.stream_id] = self.requests[event.stream_id]
                if self.house.generous:
                    self.http.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
            elif isinstance(event, h2.events.StreamReset):
                self.house.reset.append(event.stream_id or 0)
            elif isinstance(event, h2.events.StreamEnded) and event.stream_id:
                self.house.most = max(self.house.most, len(self.requests))
                self.house.take(self, event.stream_id)
        self.flush()

    def answer(self, stream_id: int, status: int = 200, body: bytes = b"ok") -> None:
        self.requests.pop(stream_id, None)
        self.http.send_headers(stream_id, [(":status", str(status)), ("x-on", str(stream_id))])
        self.http.send_data(stream_id, body, end_stream=True)
        self.flush()

    def flush(self) -> None:
        self.transport.write(self.http.data_to_send())


class House:
    """A server; ``take`` decides what becomes of a request once it is complete."""

    def __init__(self, take: Callable[[Server, int], None]) -> None:
        self.take = take
        self.settings: dict[int, int] = {}
        self.generous = True
        self.connections: list[Server] = []
        self.bodies: dict[int, bytes] = {}
        self.reset: list[int] = []
        self.most = 0
        self.url = ""


@asynccontextmanager
async def running(house: House, files: tuple[Path, Path]) -> AsyncIterator[Exchange]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Server(house), "127.0.0.1", 0, ssl=context_of(files, "h2"))
    house.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/3/device/x"
    http = Exchange(allow_local=True, cafile=str(files[0]))
    try:
        yield http
    finally:
        await http.close()
        for connection in house.connections:
            connection.transport.abort()
        server.close()
        await server.wait_closed()


async def post(http: Exchange, house: House, body: bytes = b"{}", *, within: float = SOON) -> Reply:
    deadline = asyncio.get_running_loop().time() + within
    return await http.post(house.url, [("x-own", "value")], body, deadline=deadline, http2=True)


async def test_an_answer(files: tuple[Path, Path]) -> None:
    house = House(Server.answer)
    async with running(house, files) as http:
        assert await post(http, house) == Reply(200, {"x-on": "1"}, b"ok", whole=True)


async def test_no_more_at_once_than_the_server_allows(files: tuple[Path, Path]) -> None:
    waiting: list[tuple[Server, int]] = []

    def take(server: Server, stream_id: int) -> None:
        waiting.append((server, stream_id))
        if len(waiting) == 3:
            asyncio.get_running_loop().call_later(0.01, release)

    def release() -> None:
        for server, stream_id in waiting:
            server.answer(stream_id)
        waiting.clear()

    house = House(lambda server, stream_id: server.answer(stream_id))
    house.settings = {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 3}
    async with running(house, files) as http:
        await post(http, house)
        house.take = take
        replies = await asyncio.gather(*(post(http, house) for _ in range(9)))
        assert {reply.status for reply in replies} == {200}
        assert (house.most, len(house.connections)) == (3, 1)


async def test_a_body_that_the_servers_window_has_no_room_for(files: tuple[Path, Path]) -> None:
    house = House(Server.answer)
    house.generous = False
    house.settings = {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1000}

    def open_up() -> None:
        (server,) = house.connections
        for stream_id in server.requests:
            server.http.increment_flow_control_window(5000, stream_id)
        server.flush()

    async with running(house, files) as http:
        await post(http, house)
        asyncio.get_running_loop().call_later(0.05, open_up)
        assert (await post(http, house, b"x" * 4000)).status == 200
        assert house.bodies[3] == b"x" * 4000


async def test_requests_that_a_leaving_server_has_not_looked_at_are_sent_again(files: tuple[Path, Path]) -> None:
    def leave(server: Server, stream_id: int) -> None:
        if server is house.connections[0]:
            server.http.close_connection(last_stream_id=0)
        else:
            server.answer(stream_id)

    house = House(leave)
    async with running(house, files) as http:
        replies = await asyncio.gather(*(post(http, house) for _ in range(4)))
        assert {reply.status for reply in replies} == {200}
        assert len(house.connections) == 2


async def test_a_refused_request_is_sent_again(files: tuple[Path, Path]) -> None:
    def refuse(server: Server, stream_id: int) -> None:
        if stream_id == 1:
            server.http.reset_stream(stream_id, error_code=7)
        else:
            server.answer(stream_id)

    house = House(refuse)
    async with running(house, files) as http:
        assert (await post(http, house)).status == 200


async def test_a_server_that_refuses_for_ever_is_left_alone(files: tuple[Path, Path]) -> None:
    house = House(lambda server, stream_id: server.http.reset_stream(stream_id, error_code=7))
    async with running(house, files) as http:
        with pytest.raises(ExchangeError, match="connection_closed"):
            await post(http, house)


async def test_a_request_that_may_have_been_looked_at_is_not(files: tuple[Path, Path]) -> None:
    house = House(lambda server, stream_id: server.http.reset_stream(stream_id, error_code=2))
    async with running(house, files) as http:
        with pytest.raises(ExchangeError, match="connection_reset"):
            await post(http, house)
        assert len(house.bodies) == 1


@pytest.mark.parametrize("end", ["hangs", "reset", "cut", "leaves"])
async def test_what_a_head_said_was_said_whatever_becomes_of_its_body(files: tuple[Path, Path], end: str) -> None:
    def begin(server: Server, stream_id: int) -> None:
        server.http.send_headers(stream_id, [(":status", "200"), ("apns-id", "given")])
        server.http.send_data(stream_id, b"so")
        if end == "reset":
            server.http.reset_stream(stream_id, h2.errors.ErrorCodes.INTERNAL_ERROR)
        elif end == "leaves":
            server.http.close_connection(last_stream_id=0)
        server.flush()
        if end == "cut":
            server.transport.close()

    house = House(begin)
    async with running(house, files) as http:
        reply = await post(http, house, within=0.3)
        assert reply == Reply(200, {"apns-id": "given"}, b"so", whole=False)
        assert len(house.connections) == 1


async def test_late_answers_do_not_end_the_connection_of_others(files: tuple[Path, Path]) -> None:
    def take(server: Server, stream_id: int) -> None:
        if house.bodies.get(stream_id) != b"slow":
            server.answer(stream_id)

    house = House(take)
    async with running(house, files) as http:
        await post(http, house)
        slow = asyncio.create_task(post(http, house, b"slow", within=0.1))
        while not slow.done():
            assert (await post(http, house)).status == 200
        with pytest.raises(ExchangeError, match="timeout"):
            await slow
        assert (await post(http, house)).status == 200
        assert len(house.connections) == 1
        assert house.reset


async def test_a_connection_without_a_word_is_given_up(files: tuple[Path, Path]) -> None:
    house = House(lambda *_: None)
    async with running(house, files) as http:
        with pytest.raises(ExchangeError, match="timeout"):
            await post(http, house, within=0.2)
        house.take = Server.answer
        assert (await post(http, house)).status == 200
        assert len(house.connections) == 2


async def test_giving_up_tells_the_server(files: tuple[Path, Path]) -> None:
    arrived = asyncio.Event()
    house = House(lambda *_: arrived.set())
    async with running(house, files) as http:
        task = asyncio.create_task(post(http, house))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        house.take = Server.answer
        assert (await post(http, house)).status == 200
        assert house.reset == [1]


async def test_a_long_body_is_not_read_to_its_end(files: tuple[Path, Path]) -> None:
    house = House(lambda server, stream_id: server.answer(stream_id, 400, b"x" * 16_000))
    async with running(house, files) as http:
        assert len((await post(http, house)).body) == 16_000

    def flood(server: Server, stream_id: int) -> None:
        server.http.send_headers(stream_id, [(":status", "400")])
        for _ in range(4):
            server.http.send_data(stream_id, b"x" * 16_000)

    house.take = flood
    house.connections.clear()
    async with running(house, files) as http:
        reply = await post(http, house, within=0.3)
        assert (reply.status, len(reply.body), reply.whole) == (400, 64_000, False)


@pytest.mark.parametrize("tls", [True, False])
async def test_servers_without_http2_are_spoken_to_in_http1(files: tuple[Path, Path], tls: bool) -> None:
    mock = MockPushProvider(tls=context_of(files) if tls else None)
    http = Exchange(allow_local=True, cafile=str(files[0]))
    async with mock:
        if tls:
            mock._tls.set_alpn_protocols(["http/1.1"])  # type: ignore[union-attr]
        deadline = asyncio.get_running_loop().time() + SOON
        for _ in range(2):
            reply = await http.post(f"{mock.url}/3/device/x", [], b"{}", deadline=deadline, http2=True)
            assert reply.status == 200
        assert {request.http_version for request in mock.requests} == {"1.1"}
        await http.close()


async def test_headers_that_would_be_more_than_one(files: tuple[Path, Path]) -> None:
    house = House(Server.answer)
    async with running(house, files) as http:
        for value in ("a\r\nb", "a\0", "\ud800"):
            with pytest.raises(ExchangeError, match="url_invalid"):
                await http.post(
                    house.url, [("x", value)], b"", deadline=asyncio.get_running_loop().time() + SOON, http2=True
                )
        assert not house.bodies


async def test_a_connection_that_breaks_is_made_anew(files: tuple[Path, Path]) -> None:
    async with MockPushProvider(tls=context_of(files)) as mock:
        http = Exchange(allow_local=True, cafile=str(files[0]))
        mock.script("x", ProviderAnswer(broken="cut"))
        deadline = asyncio.get_running_loop().time() + SOON
        with pytest.raises(ExchangeError):
            await http.post(f"{mock.url}/3/device/x", [], b"{}", deadline=deadline, http2=True)
        reply = await http.post(f"{mock.url}/3/device/x", [], b"{}", deadline=deadline, http2=True)
        assert reply.status == 200
        await http.close()
