"""Bodies that arrive in pieces: the signature first, and one bound for all of them."""

from __future__ import annotations

import pytest

from sockudo.edge.unfinished import UNSIGNED_BYTES, UnfinishedBodies
from sockudo.errors import SockudoError
from support.edge import EdgeNode, request, settings
from support.inside import credentials
from support.signing import signed_query

PATH = "/apps/app/events"
LENGTH = {"Content-Type": "application/json", "Content-Length": "900000"}


def signed(node: EdgeNode, body: bytes = b"later", *, age: int = 0) -> str:
    now = int(node.clock.time()) - age
    return f"{PATH}?{signed_query(credentials(node.app), 'POST', PATH, body=body, timestamp=now)}"


def test_what_was_counted_can_be_used_again() -> None:
    bodies = UnfinishedBodies(100)
    bodies.grow(60)
    with pytest.raises(SockudoError, match=r"http_api\.unfinished_bodies_in_mb"):
        bodies.grow(41)
    assert bodies.held == 60
    bodies.shrink(60)
    bodies.grow(100)
    assert bodies.held == 100


async def test_a_small_piece_is_kept_until_the_rest_is_there(node: EdgeNode) -> None:
    wire = node.wire()
    wire.feed(request("POST", f"{PATH}?a=1", LENGTH), b"x" * UNSIGNED_BYTES)
    await wire.settle()
    assert not wire.transport.ended


@pytest.mark.parametrize("age", [0, 601])
async def test_a_wrong_query_is_refused_before_the_body_is_there(node: EdgeNode, age: int) -> None:
    wire = node.wire()
    target = signed(node, age=age).replace("events", "batch_events", 1) if not age else signed(node, age=age)
    wire.feed(request("POST", target, LENGTH), b"x" * (UNSIGNED_BYTES + 1))
    await wire.settle()
    assert wire.reply().status == 401
    assert wire.transport.ended
    assert node.edge.bodies.held == 0


async def test_a_right_query_is_waited_for_and_its_bytes_are_counted(node: EdgeNode) -> None:
    body = b'{"name":"e","channel":"news","data":"' + b"x" * 90_000 + b'"}'
    publish = node.publish(body)
    head = publish[: -len(body)]
    wire = node.wire()
    wire.feed(head, body[:40_000])
    assert node.edge.bodies.held == 40_000
    wire.feed(body[40_000:])
    await wire.settle()
    assert wire.reply().status == 200
    assert node.edge.bodies.held == 0


async def test_a_connection_that_is_lost_gives_its_bytes_back() -> None:
    node = EdgeNode(settings=settings(http_api={"unfinished_bodies_in_mb": 1}))
    wire = node.wire()
    wire.feed(request("POST", signed(node), LENGTH), b"x" * 800_000)
    other = node.wire()
    other.feed(request("POST", signed(node), LENGTH), b"x" * 800_000)
    await other.settle()
    assert other.reply().status == 503
    wire.lose()
    assert node.edge.bodies.held == 0
