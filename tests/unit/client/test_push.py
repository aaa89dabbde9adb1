"""Calls of the push routes as they go over the wire, and what comes back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec
import pytest

from sockudo.client.auth import Credentials
from sockudo.client.failures import ApiError
from sockudo.client.http import ApiClient
from sockudo.client.push import PushApi

CALLS: list[tuple[Callable[[PushApi], Awaitable[Any]], str, str, dict[str, str], Any]] = [
    (lambda p: p.publish({"a": 1}), "POST", "publish", {}, {"a": 1}),
    (lambda p: p.status("a/b"), "GET", "publish/a%2Fb/status", {}, None),
    (
        lambda p: p.deliveries("x", cursor="c", limit=5),
        "GET",
        "publish/x/deliveries",
        {"cursor": "c", "limit": "5"},
        None,
    ),
    (lambda p: p.publishes(state="failed"), "GET", "publishes", {"state": "failed"}, None),
    (
        lambda p: p.why("u-91", publish_id="ship"),
        "GET",
        "why",
        {"who": "u-91", "publishId": "ship", "thorough": "true"},
        None,
    ),
    (lambda p: p.cancel("x"), "DELETE", "scheduled/x", {}, None),
    (lambda p: p.test({"provider": "fcm"}), "POST", "test", {}, {"provider": "fcm"}),
    (lambda p: p.devices(client_id="u 1"), "GET", "deviceRegistrations", {"clientId": "u 1"}, None),
    (lambda p: p.device("d"), "GET", "deviceRegistrations/d", {}, None),
    (lambda p: p.remove_device("d"), "DELETE", "deviceRegistrations/d", {}, None),
    (lambda p: p.remove_devices_of("u"), "DELETE", "deviceRegistrations", {"clientId": "u"}, None),
    (lambda p: p.subscriptions(device_id="d"), "GET", "channelSubscriptions", {"deviceId": "d"}, None),
    (
        lambda p: p.dead_letters(provider="fcm", since_ms=1, until_ms=2),
        "GET",
        "deadLetters",
        {"provider": "fcm", "sinceMs": "1", "untilMs": "2"},
        None,
    ),
    (lambda p: p.replay("l"), "POST", "deadLetters/l/replay", {}, {}),
]


class Wire:
    """Answers each request the same and keeps it."""

    def __init__(self, response: httpx.Response) -> None:
        self.requests: list[httpx.Request] = []
        self.response = response

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self.response


def opened(wire: Wire) -> ApiClient:
    transport = httpx.MockTransport(wire)
    return ApiClient("http://x.test", Credentials("7", "key", "secret"), transport=transport)


@pytest.mark.parametrize(("call", "method", "path", "parameters", "body"), CALLS, ids=[case[2] for case in CALLS])
async def test_what_is_asked(
    call: Callable[[PushApi], Awaitable[Any]], method: str, path: str, parameters: dict[str, str], body: Any
) -> None:
    wire = Wire(httpx.Response(200, json={"items": []}))
    async with opened(wire) as api:
        await call(PushApi(api))
    [request] = wire.requests
    target = urlsplit(str(request.url))
    assert (request.method, target.path) == (method, f"/apps/7/push/{path}")
    query = {name: values[0] for name, values in parse_qs(target.query).items()}
    assert {name: value for name, value in query.items() if not name.startswith(("auth_", "body_"))} == parameters
    # A hash of a body that is not there would be refused.
    assert ("body_md5" in query) == (method == "POST")
    assert (msgspec.json.decode(request.content) if request.content else None) == body


async def test_a_quota_is_skipped_by_a_header() -> None:
    wire = Wire(httpx.Response(202, json={}))
    async with opened(wire) as api:
        await PushApi(api).publish({}, ignore_quota=True)
        await PushApi(api).publish({})
    assert [request.headers.get("x-sockudo-push-quota-override") for request in wire.requests] == ["1", None]


async def test_an_answer_without_a_body_is_one() -> None:
    async with opened(Wire(httpx.Response(204))) as api:
        await PushApi(api).cancel("x")


async def test_a_refusal_is_raised() -> None:
    error = {"error": "publish status not found", "code": "publish_not_found", "status": 404}
    async with opened(Wire(httpx.Response(404, json=error))) as api:
        with pytest.raises(ApiError) as refused:
            await PushApi(api).status("x")
    assert (refused.value.status, refused.value.code) == (404, "publish_not_found")
