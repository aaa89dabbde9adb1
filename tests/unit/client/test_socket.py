"""The WebSocket client, against a server that follows a script."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from sockudo.client.auth import Credentials, channel_auth, user_auth
from sockudo.client.failures import ApiError, ClientError, ClosedError, UnreachableError
from sockudo.client.socket import Event, Reconnect, Socket
from sockudo.client.wire import Wire
from sockudo.protocol import msgpack
from sockudo.protocol.delta import fossil
from sockudo.protocol.frames import Frame

APP = Credentials("app-id", "app-key", "app-secret")
GREETING = '{"event":"pusher:connection_established","data":"{\\"socket_id\\":\\"1.2\\",\\"activity_timeout\\":120}"}'

Script = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def _scripted(script: Script, **options: Any) -> AsyncIterator[str]:
    async with serve(script, "127.0.0.1", 0, **options) as server:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


async def _asked(connection: ServerConnection) -> Any:
    return json.loads(await connection.recv())


async def test_connects_as_a_client_of_protocol_seven() -> None:
    paths: list[str] = []
    origins: list[str | None] = []

    async def script(connection: ServerConnection) -> None:
        assert connection.request is not None
        paths.append(connection.request.path)
        origins.append(connection.request.headers.get("Origin"))
        await connection.send(GREETING)
        await connection.wait_closed()

    async with _scripted(script) as url:
        async with await Socket.connect(url, "app-key", origin="https://pier.example") as socket:
            assert (socket.socket_id, socket.activity_timeout) == ("1.2", 120)
            assert socket.established.raw == GREETING
            assert socket.close_code is None
        assert socket.close_code == 1000
    assert paths[0].startswith("/app/app-key?protocol=7&client=sockudo-python&version=")
    assert origins == ["https://pier.example"]


async def test_events_are_decoded_as_stock_clients_do() -> None:
    frames = [
        '{"event":"tide","channel":"harbor","data":"{\\"metres\\":2.4}"}',
        '{"event":"said","channel":"harbor","data":"plain text"}',
        '{"event":"client-typing","channel":"presence-crew","data":{"on":true},"user_id":"crew-8"}',
        '{"event":"pusher:pong"}',
    ]

    async def script(connection: ServerConnection) -> None:
        for frame in [GREETING, *frames]:
            await connection.send(frame)
        await connection.close(4200, "Server shutting down")

    async with _scripted(script) as url, await Socket.connect(url, "app-key") as socket:
        events = [event async for event in socket]
        assert events == [
            Event("tide", "harbor", {"metres": 2.4}, None, frames[0]),
            Event("said", "harbor", "plain text", None, frames[1]),
            Event("client-typing", "presence-crew", {"on": True}, "crew-8", frames[2]),
            Event("pusher:pong", None, None, None, frames[3]),
        ]
        assert [event.is_app_event for event in events] == [True, True, True, False]
        assert (socket.close_code, socket.close_reason) == (4200, "Server shutting down")
        with pytest.raises(ClosedError) as caught:
            await socket.receive()
        assert (caught.value.code, caught.value.established) == (4200, True)
        with pytest.raises(ClosedError):
            await socket.send_event("client-late", "private-pier", 1)


async def test_pings_are_answered_and_the_rest_is_sent_as_the_protocol_says() -> None:
    asked: list[Any] = []

    async def script(connection: ServerConnection) -> None:
        await connection.send(GREETING)
        await connection.send('{"event":"pusher:ping"}')
        asked.extend([await _asked(connection) for _ in range(8)])
        await connection.close(1000)

    async with _scripted(script) as url, await Socket.connect(url, "app-key") as socket:
        assert (await socket.receive()).event == "pusher:ping"
        await socket.subscribe("harbor", APP)
        await socket.subscribe("private-pier", APP)
        await socket.subscribe("presence-crew", APP, user_id="crew-8", user_info={"rank": "mate"})
        await socket.subscribe("private-x", auth="app-key:00", channel_data="{}")
        await socket.signin(APP, "crew-8", watchlist=["crew-9"])
        await socket.send_event("client-typing", "private-pier", {"on": True})
        await socket.unsubscribe("harbor")
        assert [event async for event in socket] == []
    member = '{"user_id":"crew-8","user_info":{"rank":"mate"}}'
    user = '{"id":"crew-8","watchlist":["crew-9"]}'
    assert asked == [
        {"event": "pusher:pong"},
        {"event": "pusher:subscribe", "data": {"channel": "harbor"}},
        {
            "event": "pusher:subscribe",
            "data": {"channel": "private-pier", "auth": channel_auth(APP, "1.2", "private-pier")},
        },
        {
            "event": "pusher:subscribe",
            "data": {
                "channel": "presence-crew",
                "auth": channel_auth(APP, "1.2", "presence-crew", member),
                "channel_data": member,
            },
        },
        {"event": "pusher:subscribe", "data": {"channel": "private-x", "auth": "app-key:00", "channel_data": "{}"}},
        {"event": "pusher:signin", "data": {"auth": user_auth(APP, "1.2", user), "user_data": user}},
        {"event": "client-typing", "channel": "private-pier", "data": {"on": True}},
        {"event": "pusher:unsubscribe", "data": {"channel": "harbor"}},
    ]


async def test_pings_stay_unanswered_on_request() -> None:
    async def script(connection: ServerConnection) -> None:
        await connection.send(GREETING)
        await connection.send('{"event":"pusher:ping"}')
        assert await _asked(connection) == {"event": "pusher:ping"}
        await connection.close(1000)

    async with _scripted(script) as url, await Socket.connect(url, "app-key", answer_pings=False) as socket:
        assert (await socket.receive()).event == "pusher:ping"
        await socket.ping()
        assert [event async for event in socket] == []
        assert socket.close_code == 1000


async def test_a_refusal_before_the_greeting_keeps_code_and_reason() -> None:
    async def script(connection: ServerConnection) -> None:
        await connection.send('{"event":"pusher:error","data":{"code":4001,"message":"Application does not exist"}}')
        await connection.close(4001, "Application does not exist")

    async with _scripted(script) as url:
        with pytest.raises(ClosedError) as caught:
            await Socket.connect(url, "wrong")
    assert (caught.value.code, caught.value.reason) == (4001, "Application does not exist")
    assert not caught.value.established
    assert "refused" in str(caught.value)


async def test_an_upgrade_refused_over_http_is_an_api_error() -> None:
    def refuse(connection: ServerConnection, request: Request) -> Response:
        body = b'{"error":"The server is shutting down.","code":"service_unavailable","docs":"errors.md#draining"}'
        return Response(HTTPStatus.SERVICE_UNAVAILABLE, "", Headers({"Content-Length": str(len(body))}), body)

    async def script(connection: ServerConnection) -> None:
        raise AssertionError("must not be reached")

    async with _scripted(script, process_request=refuse) as url:
        with pytest.raises(ApiError) as caught:
            await Socket.connect(url, "app-key")
    assert (caught.value.status, caught.value.code) == (503, "service_unavailable")
    assert caught.value.docs == "errors.md#draining"


async def test_nobody_there() -> None:
    listener = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    with pytest.raises(UnreachableError, match=f"127.0.0.1:{port}"):
        await Socket.connect(f"http://127.0.0.1:{port}", "app-key")


async def test_a_server_that_stays_silent_is_unreachable() -> None:
    async def script(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with _scripted(script) as url:
        with pytest.raises(UnreachableError, match="in time"):
            await Socket.connect(url, "app-key", open_timeout=0.05)


@pytest.mark.parametrize("greeting", ["hello", '{"event":"pusher:connection_established","data":{}}', "[]"])
async def test_a_server_of_another_protocol_is_said_to_be_one(greeting: str) -> None:
    async def script(connection: ServerConnection) -> None:
        await connection.send(greeting)
        await connection.wait_closed()

    async with _scripted(script) as url:
        with pytest.raises(ClientError, match="protocol"):
            await Socket.connect(url, "app-key")


async def test_a_connection_that_breaks_off_is_code_1006() -> None:
    async def script(connection: ServerConnection) -> None:
        await connection.send(GREETING)
        connection.transport.abort()

    async with _scripted(script) as url, await Socket.connect(url, "app-key") as socket:
        with pytest.raises(ClosedError) as caught:
            await socket.receive()
        assert caught.value.code == 1006


async def test_what_came_before_the_end_is_still_delivered_after_a_ping() -> None:
    async def script(connection: ServerConnection) -> None:
        await connection.send(GREETING)
        await connection.send('{"event":"pusher:ping"}')
        await connection.send('{"event":"last","channel":"harbor","data":"1"}')
        await connection.close(4200)

    async with _scripted(script) as url, await Socket.connect(url, "app-key") as socket:
        await socket._connection.wait_closed()  # the ping is read, and answered in vain, after the end
        assert [event.event async for event in socket] == ["pusher:ping", "last"]


async def test_abort_says_no_goodbye() -> None:
    ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    async def script(connection: ServerConnection) -> None:
        await connection.send(GREETING)
        await connection.wait_closed()
        ended.set_result(connection.close_code)

    async with _scripted(script) as url:
        socket = await Socket.connect(url, "app-key")
        socket.abort()
        assert await ended == 1006


# ---- protocol V2 ----

GREETING_V2 = GREETING.replace("pusher:", "sockudo:")


async def test_v2_asks_for_what_only_it_knows() -> None:
    asked: list[Any] = []
    paths: list[str] = []

    async def script(connection: ServerConnection) -> None:
        assert connection.request is not None
        paths.append(connection.request.path)
        await connection.send(GREETING_V2)
        asked.extend([await _asked(connection) for _ in range(3)])
        await connection.close(1000)

    async with _scripted(script) as url, await Socket.connect(url, "app-key", wire=Wire(2, token="a.b")) as socket:
        await socket.enable_deltas("fossil")
        await socket.subscribe("private-pier", APP, options={"rewind": 3, "filter": {"events": ["a"]}})
        await socket.resume({"private-pier": {"serial": 4, "stream_id": "s-1"}})
        assert [event async for event in socket] == []
    assert paths[0].startswith("/app/app-key?protocol=2&token=a.b&client=sockudo-python&version=")
    auth = channel_auth(APP, "1.2", "private-pier")
    assert asked == [
        {"event": "pusher:enable_delta_compression", "data": {"algorithms": ["fossil"]}},
        {
            "event": "pusher:subscribe",
            "data": {"channel": "private-pier", "rewind": 3, "filter": {"events": ["a"]}, "auth": auth},
        },
        {"event": "pusher:resume", "data": {"channel_positions": {"private-pier": {"serial": 4, "stream_id": "s-1"}}}},
    ]


async def test_binary_frames_both_ways() -> None:
    asked: list[Any] = []

    async def script(connection: ServerConnection) -> None:
        data = '{"socket_id":"1.2","activity_timeout":120}'
        await connection.send(msgpack.encode(Frame("sockudo:connection_established", None, data)))
        asked.append(msgpack.decode(await connection.recv(decode=False)))
        await connection.send(msgpack.encode(Frame("tide", "harbor", '{"n":1}', serial=7)))
        await connection.close(1000)

    async with _scripted(script) as url, await Socket.connect(url, "app-key", wire=Wire(2, "msgpack")) as socket:
        await socket.subscribe("harbor")
        events = [event async for event in socket]
    assert [(frame.event, frame.data) for frame in asked] == [("pusher:subscribe", b'{"channel":"harbor"}')]
    assert [(event.event, event.channel, event.data, event.serial) for event in events] == [
        ("tide", "harbor", {"n": 1}, 7)
    ]


async def test_differences_are_put_together_and_asked_for_anew_when_that_fails() -> None:
    base, target = b'{"event":"tide","channel":"harbor","data":"1"}', b'{"event":"tide","channel":"harbor","data":"2"}'
    delta = base64.b64encode(fossil.encode(base, target)).decode()
    asked: list[Any] = []

    async def script(connection: ServerConnection) -> None:
        await connection.send(GREETING_V2)
        await connection.send('{"event":"tide","channel":"harbor","data":"1","__delta_seq":4}')
        for number, base_number in ((5, 4), (7, 6)):
            data = {"event": "tide", "delta": delta, "seq": number, "algorithm": "fossil", "base_index": base_number}
            await connection.send(json.dumps({"event": "sockudo:delta", "channel": "harbor", "data": data}))
        asked.append(await _asked(connection))
        await connection.close(1000)

    async with _scripted(script) as url, await Socket.connect(url, "app-key", wire=Wire(2)) as socket:
        events = [event async for event in socket]
    assert [(event.event, event.data if event.system is None else "lost") for event in events] == [
        ("tide", 1),
        ("tide", 2),
        ("sockudo:delta", "lost"),
    ]
    assert asked == [{"event": "pusher:delta_sync_error", "data": {"channel": "harbor"}}]


@pytest.mark.parametrize("code", [4000, 4001, 4009, 4099, 4300, 4301, 4999])
def test_codes_that_mean_stay_away(code: int) -> None:
    assert Reconnect().delay(code, established=True) is None


@pytest.mark.parametrize("code", [4200, 4201, 4299])
def test_codes_that_mean_at_once(code: int) -> None:
    assert Reconnect().delay(code, established=True) == 0.0


@pytest.mark.parametrize("code", [None, 1000, 1001, 1002, 1006, 1009, 4100, 4199])
def test_everything_else_means_later(code: int | None) -> None:
    assert Reconnect().delay(code, established=True) == 1.0


def test_waits_grow_to_a_limit_and_begin_anew() -> None:
    reconnect = Reconnect()
    assert [reconnect.delay(4100, established=True) for _ in range(6)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    reconnect.established()
    assert reconnect.delay(None, established=False) == 1.0


def test_at_once_is_not_believed_from_a_server_that_accepts_nobody() -> None:
    reconnect = Reconnect()
    assert [reconnect.delay(4200, established=False) for _ in range(3)] == [1.0, 2.0, 4.0]
