"""The HTTP client: what it sends, byte for byte, and what it makes of answers."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from sockudo.client.auth import Credentials
from sockudo.client.failures import ApiError, UnreachableError
from sockudo.client.http import ApiClient
from support.certificates import write_certificate
from support.receivers import Receiver

APP = Credentials("4471", "pier-key-20c1", "tide-secret-9f4e")
URL = "http://127.0.0.1:6001"


class Stopped:
    """A clock that stands still."""

    def monotonic(self) -> float:
        return 0.0

    def time(self) -> float:
        return 1_767_225_600.9


class Recorder:
    """Answers every request with the same reply and keeps the requests."""

    def __init__(self, status: int = 200, body: Any = None, headers: dict[str, str] | None = None) -> None:
        self.requests: list[httpx.Request] = []
        self._reply = status, body, headers

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        status, body, headers = self._reply
        content = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        return httpx.Response(status, content=content, headers=headers)

    @property
    def target(self) -> str:
        return self.requests[-1].url.raw_path.decode()

    @property
    def body(self) -> Any:
        return json.loads(self.requests[-1].content)


def _client(handler: Callable[[httpx.Request], httpx.Response]) -> ApiClient:
    return ApiClient(URL, APP, clock=Stopped(), transport=httpx.MockTransport(handler))


async def test_publish_is_the_published_example() -> None:
    recorder = Recorder(body={"ok": True})
    async with _client(recorder) as api:
        reply = await api.publish(
            ["harbor", "pier-2"], "tide-rise", {"metres": 2.4}, socket_id="311.902", info=["subscription_count"]
        )
    assert reply == {"ok": True}
    assert recorder.requests[0].method == "POST"
    assert recorder.requests[0].headers["content-type"] == "application/json"
    assert recorder.body == {
        "name": "tide-rise",
        "channels": ["harbor", "pier-2"],
        "data": '{"metres":2.4}',
        "socket_id": "311.902",
        "info": "subscription_count",
    }
    assert recorder.target.startswith("/apps/4471/events?")
    assert "auth_timestamp=1767225600&" in recorder.target


async def test_publish_leaves_out_what_was_not_given_and_sends_text_as_it_is() -> None:
    recorder = Recorder()
    async with _client(recorder) as api:
        await api.publish("harbor", "said", "plain – text")
        assert recorder.body == {"name": "said", "channels": ["harbor"], "data": "plain – text"}
        await api.publish("harbor", "happened")
        assert recorder.body == {"name": "happened", "channels": ["harbor"]}
        await api.publish("harbor", "once", idempotency_key="k1")
        assert recorder.body["idempotency_key"] == "k1"


async def test_batch() -> None:
    recorder = Recorder()
    async with _client(recorder) as api:
        await api.publish_batch([{"name": "a", "channel": "x", "data": [1]}, {"name": "b", "channel": "y"}])
        assert recorder.body == {"batch": [{"name": "a", "channel": "x", "data": "[1]"}, {"name": "b", "channel": "y"}]}
        assert "x-idempotency-key" not in recorder.requests[-1].headers
        await api.publish_batch([], idempotency_key="b-1")
        assert recorder.requests[-1].headers["x-idempotency-key"] == "b-1"


async def test_questions() -> None:
    recorder = Recorder(
        body={"channels": {"presence-a": {"user_count": 2}}, "users": [{"id": "crew-8"}], "occupied": True}
    )
    async with _client(recorder) as api:
        assert await api.channels(prefix="presence-", info=["user_count"]) == {"presence-a": {"user_count": 2}}
        assert recorder.target.startswith("/apps/4471/channels?filter_by_prefix=presence-&info=user_count&auth_key=")
        assert await api.users("presence-a:b") == ["crew-8"]
        assert recorder.target.startswith("/apps/4471/channels/presence-a%3Ab/users?auth_key=")
        assert (await api.channel("#server-to-user-1", info=["subscription_count", "cache"]))["occupied"] is True
        assert recorder.target.startswith("/apps/4471/channels/%23server-to-user-1?info=subscription_count%2Ccache&")
        assert {request.method for request in recorder.requests} == {"GET"}


async def test_users_are_closed_with_an_empty_object() -> None:
    recorder = Recorder(body={"ok": True})
    async with _client(recorder) as api:
        await api.terminate("crew/8")
        assert recorder.target.startswith("/apps/4471/users/crew%2F8/terminate_connections?")
        assert "body_md5=99914b932bd37a50b983c5e7c90ae93b" in recorder.target
        await api.force_reconnect("crew 8")
        assert recorder.target.startswith("/apps/4471/users/crew%208/force_reconnect?")


async def test_a_refusal_keeps_everything_of_the_envelope() -> None:
    body = {"error": "Slow down", "code": "rate_limited", "status": 429, "docs": "errors.md#rate_limited"}
    async with _client(Recorder(429, body, {"Retry-After": "7"})) as api:
        with pytest.raises(ApiError) as caught:
            await api.channels()
    error = caught.value
    assert (error.status, error.code, error.text, error.retry_after) == (429, "rate_limited", "Slow down", 7)
    assert error.docs == "errors.md#rate_limited"


@pytest.mark.parametrize(
    ("status", "body"),
    [(502, b"<html>Bad Gateway</html>"), (200, b"OK"), (200, b"[]"), (404, b""), (500, b'{"error":null}')],
)
async def test_an_answer_of_something_else_is_an_error_that_says_so(status: int, body: bytes) -> None:
    async with _client(Recorder(status, body)) as api:
        with pytest.raises(ApiError, match=f"status {status} is not one of a Sockudo server") as caught:
            await api.channels()
    assert caught.value.code == "unknown"


@pytest.mark.parametrize(
    ("raised", "reason"),
    [
        (httpx.ConnectError("Connection refused"), "Connection refused"),
        (httpx.ReadTimeout("slow"), "no answer in time"),
        (httpx.RemoteProtocolError(""), "RemoteProtocolError"),
    ],
)
async def test_network_failures_are_one_kind_of_error(raised: Exception, reason: str) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise raised

    async with _client(handler) as api:
        with pytest.raises(UnreachableError) as caught:
            await api.channels()
    assert (caught.value.url, caught.value.reason) == (URL, reason)


async def test_what_was_signed_is_what_goes_over_the_wire() -> None:
    """httpx may spell a URL anew; the signature covers the first spelling, so none of it may change."""
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        async with ApiClient(f"http://127.0.0.1:{port}", APP) as api:
            await api.request(
                "GET", "/channels/%23a%3Ab%2Cc%3D%40d", {"info": "a,b c+d&e=f/é~", "filter_by_prefix": "#*'"}
            )
    line = seen[0].split(b"\r\n")[0].decode()
    assert line.startswith(
        "GET /apps/4471/channels/%23a%3Ab%2Cc%3D%40d?info=a%2Cb%20c%2Bd%26e%3Df%2F%C3%A9~&filter_by_prefix=%23%2A%27&"
    )


# ---- what only V2 subscribers see, and what channels keep ----


async def test_what_a_message_of_v2_may_have() -> None:
    recorder = Recorder()
    async with _client(recorder) as api:
        await api.publish("harbor", "x", message_id="m-1", tags={"venue": "ldn"}, extras={"ephemeral": True})
        assert recorder.body == {
            "name": "x",
            "channels": ["harbor"],
            "message_id": "m-1",
            "tags": {"venue": "ldn"},
            "extras": {"ephemeral": True},
        }
        await api.publish("harbor", "x", tags={}, extras={})
        assert recorder.body == {"name": "x", "channels": ["harbor"]}


async def test_pages_of_what_a_channel_keeps() -> None:
    recorder = Recorder(body={"items": []})
    async with _client(recorder) as api:
        assert await api.history("chat:room-1") == {"items": []}
        assert recorder.target.startswith("/apps/4471/channels/chat%3Aroom-1/history?direction=newest_first&auth_key=")
        bounds = {"start_serial": 3, "end_time_ms": 1767225600123}
        await api.history("presence-a", presence=True, limit=5, oldest_first=True, cursor="eyJ2", bounds=bounds)
        assert recorder.target.startswith(
            "/apps/4471/channels/presence-a/presence/history?start_serial=3&end_time_ms=1767225600123"
            "&direction=oldest_first&limit=5&cursor=eyJ2&auth_key="
        )
        await api.history_state("harbor")
        assert recorder.target.startswith("/apps/4471/channels/harbor/history/state?")
        await api.history_state("presence-a", presence=True)
        assert recorder.target.startswith("/apps/4471/channels/presence-a/presence/history/state?")
        await api.presence_snapshot("presence-a", at_time_ms=5, at_serial=7)
        assert recorder.target.startswith(
            "/apps/4471/channels/presence-a/presence/history/snapshot?at_time_ms=5&at_serial=7&auth_key="
        )
        await api.presence_snapshot("presence-a")
        assert recorder.target.startswith("/apps/4471/channels/presence-a/presence/history/snapshot?auth_key=")
        assert {request.method for request in recorder.requests} == {"GET"}


async def test_a_message_and_its_versions_have_places_of_their_own() -> None:
    recorder = Recorder()
    place = "/apps/4471/channels/chat%3A1/messages/00%3Aa%3A01"
    async with _client(recorder) as api:
        await api.message("chat:1", "00:a:01")
        assert recorder.target.startswith(f"{place}?auth_key=")
        await api.message_versions("chat:1", "00:a:01", limit=5, cursor="v:1", oldest_first=True)
        assert recorder.target.startswith(f"{place}/versions?direction=oldest_first&limit=5&cursor=v%3A1&auth_key=")
        await api.message_versions("chat:1", "00:a:01")
        assert recorder.target.startswith(f"{place}/versions?direction=newest_first&auth_key=")
        assert {request.method for request in recorder.requests} == {"GET"}
        await api.change_message("chat:1", "00:a:01", "append", {"data": "!"})
        assert recorder.target.startswith(f"{place}/append?")
        assert recorder.body == {"data": "!"}


async def test_operations_name_channel_and_operation_again() -> None:
    recorder = Recorder()
    confirmed = {"confirm_channel": "harbor", "confirm_operation": "purge", "reason": "why"}
    async with _client(recorder) as api:
        await api.purge_history("harbor", reason="why")
        assert recorder.target.startswith("/apps/4471/channels/harbor/history/purge?")
        assert recorder.body == {**confirmed, "mode": "all"}
        await api.purge_history("harbor", reason="why", requested_by="ana", before_serial=0)
        assert recorder.body == {**confirmed, "requested_by": "ana", "mode": "before_serial", "before_serial": 0}
        await api.purge_history("harbor", reason="why", before_time_ms=0)
        assert recorder.body == {**confirmed, "mode": "before_time_ms", "before_time_ms": 0}
        await api.reset_history("harbor", reason="why")
        assert recorder.target.startswith("/apps/4471/channels/harbor/history/reset?")
        assert recorder.body == {**confirmed, "confirm_operation": "reset"}
        await api.reset_history("presence-a", reason="why", requested_by="ana", presence=True)
        assert recorder.target.startswith("/apps/4471/channels/presence-a/presence/history/reset?")
        assert recorder.body["requested_by"] == "ana"
        assert {request.method for request in recorder.requests} == {"POST"}


async def test_webhooks_are_asked_about_and_replayed() -> None:
    recorder = Recorder()
    async with _client(recorder) as api:
        await api.webhooks()
        assert recorder.target.startswith("/apps/4471/webhooks?auth_key=")
        await api.webhook_deliveries()
        assert recorder.target.startswith("/apps/4471/webhooks/deliveries?auth_key=")
        await api.webhook_deliveries(endpoint="5f0c", state="dead", before=0, limit=3)
        assert recorder.target.startswith(
            "/apps/4471/webhooks/deliveries?endpoint=5f0c&state=dead&before=0&limit=3&auth_key="
        )
        await api.webhook_delivery("d/1")
        assert recorder.target.startswith("/apps/4471/webhooks/deliveries/d%2F1?auth_key=")
        await api.replay_webhooks(ids=["d1"])
        assert recorder.target.startswith("/apps/4471/webhooks/replay?")
        assert recorder.body == {"ids": ["d1"]}
        await api.replay_webhooks(endpoint="5f0c")
        assert recorder.body == {"endpoint": "5f0c"}
        await api.replay_webhooks()
        assert recorder.body == {"all": True}
        assert [request.method for request in recorder.requests] == ["GET"] * 4 + ["POST"] * 3


@pytest.mark.parametrize("scheme", ["https", "HTTPS"])
async def test_a_certificate_that_nobody_vouches_for_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """What plain HTTP is spared is not spared where there is something to verify."""
    files = write_certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*files)
    async with Receiver(tls=tls) as server:
        async with ApiClient(f"{scheme}://localhost:{server.port}", APP) as api:
            with pytest.raises(UnreachableError, match="certificate is self-signed"):
                await api.channels()
        assert server.received == []
        monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
        async with ApiClient(f"{scheme}://localhost:{server.port}", APP) as api:
            with pytest.raises(ApiError):
                await api.channels()
        assert len(server.received) == 1
