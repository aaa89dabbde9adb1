"""The server in a test: both ways of running it, its configuration, its clock."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading

import httpx
import pytest

from sockudo.client.failures import ApiError, ClosedError, UnreachableError
from sockudo.config import ConfigError
from sockudo.testing import Credentials, FakeClock, RecordingClient, TestServer, serve
from support.waiting import PATIENCE


async def test_publish_reaches_a_client() -> None:
    async with serve() as server, server.client() as client, server.api() as api:
        await client.subscribe("harbor")
        assert await api.publish("harbor", "tide", {"metres": 2.4}) == {"ok": True}
        event = await client.expect("tide", channel="harbor", data={"metres": 2.4})
        assert event.user_id is None
        assert await api.channels(info=["subscription_count"]) == {"harbor": {"subscription_count": 1}}


async def test_everything_an_app_may_do_is_on() -> None:
    async with serve() as server, server.client() as crew, server.client() as mate:
        joined = await crew.subscribe("presence-crew", user_id="crew-8", user_info={"rank": "mate"})
        assert joined.data["presence"]["hash"] == {"crew-8": {"rank": "mate"}}
        await mate.subscribe("presence-crew", user_id="crew-9")
        await crew.expect("pusher_internal:member_added", data={"user_id": "crew-9", "user_info": {}})
        await mate.send_event("client-wave", "presence-crew", {"hand": "left"})
        assert (await crew.expect("client-wave", data={"hand": "left"})).user_id == "crew-9"
        await mate.assert_nothing(for_=0.05, event="client-wave")
        await mate.signin("crew-9")
        await crew.unsubscribe("presence-crew")
        await mate.expect("pusher_internal:member_removed", data={"user_id": "crew-8"})


async def test_refusals_are_failures_with_the_servers_words() -> None:
    async with serve() as server:
        wrong = Credentials(server.app.app_id, server.app.key, "wrong")
        async with await RecordingClient.connect(server.url, wrong) as client:
            with pytest.raises(AssertionError, match="requires authentication"):
                await client.subscribe("private-pier")
        with pytest.raises(ClosedError) as caught:
            await RecordingClient.connect(server.url, Credentials("x", "unknown", "x"))
        assert caught.value.code == 4001


def test_a_test_that_is_not_asynchronous() -> None:
    with serve() as server, server.blocking_client() as client:
        client.subscribe("harbor")
        asyncio.run(_publish(server))
        client.expect("tide", channel="harbor", data="1")


async def _publish(server: TestServer) -> None:
    async with server.api() as api:
        await api.publish("harbor", "tide", '"1"')


def test_stopping_tells_clients_and_frees_the_port() -> None:
    with serve() as server:
        client = server.blocking_client()
        connected = client.__enter__()
        url = server.url
        server.stop()
        assert connected.expect_close(4200) == "Server shutting down"
        client.__exit__(None, None, None)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/live", trust_env=False)
        server.stop()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("sockudo-test")]


async def test_configuration_has_the_form_of_the_file() -> None:
    app = {"id": "7", "key": "own-key", "secret": "own-secret", "enabled": True}
    config = {"activity_timeout": 7, "app_manager": {"array": {"apps": [app]}}}
    async with serve(config) as server, server.client() as client:
        assert server.app == Credentials("7", "own-key", "own-secret")
        assert client.socket.activity_timeout == 7
        assert server.environment == {
            "PUSHER_APP_ID": "7",
            "PUSHER_APP_KEY": "own-key",
            "PUSHER_APP_SECRET": "own-secret",
            "PUSHER_HOST": "127.0.0.1",
            "PUSHER_PORT": str(server.port),
            "PUSHER_SCHEME": "http",
        }


def test_a_wrong_configuration_is_refused_with_its_problems() -> None:
    with pytest.raises(ConfigError, match="activity_timeout"):
        serve({"activity_timeuot": 7}).start()


async def test_time_passes_when_the_test_says_so() -> None:
    clock = FakeClock()
    async with serve(clock=clock) as server, server.client(answer_pings=False) as client:
        server.advance(119)
        await client.assert_nothing(for_=0.05, event="pusher:ping")
        server.advance(2)
        await client.expect("pusher:ping")
        server.advance(31)
        assert await client.expect_close(4201) == "Pong reply not received in time"


async def test_the_api_client_is_on_the_servers_clock() -> None:
    clock = FakeClock()
    async with serve(clock=clock) as server:
        server.advance(3600)
        async with server.api() as api:
            assert await api.channels() == {}
        from sockudo.client.http import ApiClient

        async with ApiClient(server.url, server.app) as late:
            with pytest.raises(ApiError) as caught:
                await late.channels()
        assert caught.value.status == 401


def test_a_client_that_stays_does_not_stop_a_server_on_a_fake_clock() -> None:
    """The deadline of the stop is on the fake clock, which nobody moves any more."""
    with serve(clock=FakeClock()) as server:
        silent = socket.create_connection(("127.0.0.1", server.port))
        silent.sendall(
            f"GET /app/{server.app.key}?protocol=7 HTTP/1.1\r\nHost: localhost\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        assert b"101" in silent.recv(100)
    silent.close()


def test_the_collector_of_the_test_process_is_left_alone() -> None:
    before = gc.get_threshold()
    with serve():
        assert gc.get_threshold() == before
        assert gc.get_freeze_count() == 0


def test_what_cannot_be_done_is_said() -> None:
    with pytest.raises(ValueError, match="clock"):
        serve(process=True, clock=FakeClock())
    with pytest.raises(RuntimeError, match="does not run"):
        serve().advance(1)
    with serve() as server, pytest.raises(RuntimeError, match="FakeClock"):
        server.advance(1)


async def test_a_process_of_its_own() -> None:
    async with serve(process=True, start_timeout=PATIENCE) as server:
        async with server.client() as client, server.api() as api:
            await client.subscribe("harbor")
            await api.publish("harbor", "tide", "1")
            await client.expect("tide", data=1)
            with pytest.raises(RuntimeError, match="another process"):
                server.advance(1)
        assert "listening on" in server.log
        api = server.api()
    async with api:
        with pytest.raises(UnreachableError):
            await api.channels()


@pytest.mark.parametrize("process", [True, False])
def test_a_port_that_is_taken_is_reported(process: bool) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(Exception, match=str(port)) as caught:
            serve({"port": port}, process=process, start_timeout=PATIENCE).start()
    assert isinstance(caught.value, RuntimeError) or not process
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("sockudo-test")]
