"""A signed publish from its parts: content types, keys from headers, and which object a plain reply is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sockudo import errors
from sockudo.edge.publishing import check_json, publish_reply
from sockudo.edge.replies import PLAIN_OK, Reply
from sockudo.errors import SockudoError
from support.edge import EdgeNode
from support.inside import credentials, live_app
from support.signing import signed_query

EVENT = {"name": "e", "channel": "news"}


@pytest.mark.parametrize(
    "kind",
    [
        b"application/json",
        b"application/json; charset=utf-8",
        b"APPLICATION/JSON;charset=latin-1",
        b" application/json ",
        b"application/json;",
        b"application/vnd.api+json",
        b"application/problem+json; a=b",
    ],
)
def test_content_types_that_are_json(kind: bytes) -> None:
    check_json(kind)


@pytest.mark.parametrize(
    "kind",
    [None, b"", b"text/json", b"text/plain", b"application/x-www-form-urlencoded", b"application/jsonp", b"x/y+json"],
)
def test_content_types_that_are_not(kind: bytes | None) -> None:
    with pytest.raises(SockudoError) as caught:
        check_json(kind)
    assert caught.value.spec is errors.UNSUPPORTED_MEDIA_TYPE


def publish(
    node: EdgeNode, body: Any, headers: dict[bytes, bytes] | None = None, *, batch: bool = False, signed: bool = True
) -> Reply:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    path = "/apps/app/batch_events" if batch else "/apps/app/events"
    query = signed_query(credentials(node.app), "POST", path, body=text, timestamp=int(node.clock.time()))
    found = {b"content-type": b"application/json", **(headers or {})}
    raw = query.encode() if signed else query.encode()[:-1]
    return publish_reply(node.edge, batch, "app", path.encode(), raw, found, text)


async def test_a_plain_reply_is_always_the_same_object(node: EdgeNode) -> None:
    assert publish(node, EVENT) is PLAIN_OK
    assert publish(node, EVENT, {b"x-idempotency-key": b"k"}) is PLAIN_OK
    assert publish(node, EVENT, {b"x-idempotency-key": b"k"}) is PLAIN_OK
    assert publish(node, EVENT | {"info": ""}) is not PLAIN_OK
    assert publish(node, {"batch": []}, batch=True).body == b"{}"


async def test_the_order_of_refusals(node: EdgeNode) -> None:
    """Signature, content type, syntax, shape, key (spec: http-api § 5.2)."""
    wrong = {b"content-type": b"text/plain", b"x-idempotency-key": b""}
    assert publish(node, b"{", wrong, signed=False).status == 401
    assert publish(node, b"{", wrong).status == 415
    assert publish(node, b"{", {b"x-idempotency-key": b""}).status == 400
    assert publish(node, b'{"name":1}', {b"x-idempotency-key": b""}).status == 422
    reply = publish(node, EVENT, {b"x-idempotency-key": b""})
    assert json.loads(reply.body)["error"] == "Idempotency key must not be empty"


async def test_a_key_of_any_bytes(node: EdgeNode) -> None:
    for key in (b"\xff\xfe", "é".encode(), b"a b"):
        assert publish(node, EVENT, {b"x-idempotency-key": key}) is PLAIN_OK


async def test_refused_calls_count_once_the_app_is_known(node: EdgeNode) -> None:
    publish(node, EVENT, signed=False)
    assert node.state.traffic.http_calls == 0
    publish(node, b"{")
    traffic = node.state.traffic
    assert (traffic.http_calls, traffic.http_bytes_received, traffic.http_bytes_sent) == (1, 1, 0)


async def test_a_disabled_app(node: EdgeNode) -> None:
    node.apps.put(live_app(enabled=False))
    reply = publish(node, EVENT)
    assert (reply.status, json.loads(reply.body)["code"]) == (403, "app_disabled")
