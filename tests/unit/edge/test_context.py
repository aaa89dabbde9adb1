"""What all connections share: the headers of every reply, the reply that is kept ready, the round once a second."""

from __future__ import annotations

import pytest

from sockudo.config.sections.limits import ApiRateLimit
from sockudo.edge.cors import Cors
from support.edge import EdgeNode, request, settings

EVENT = {"name": "e", "channel": "news"}


async def test_the_time_of_day_is_told_on_both_ways(node: EdgeNode) -> None:
    wire = node.wire()
    dates = []
    for _ in range(2):
        fast, slow = await wire.ask(node.publish(EVENT)), await wire.ask(request("GET", "/live"))
        dates += [fast.headers["date"], slow.headers["date"]]
        node.clock.advance(1)
        node.edge.tell_time()
    assert dates == ["Thu, 01 Jan 2026 00:16:40 GMT"] * 2 + ["Thu, 01 Jan 2026 00:16:41 GMT"] * 2


@pytest.mark.parametrize(
    ("changes", "ready"),
    [
        ({}, True),
        ({"cors": {"origin": ()}}, True),
        ({"cors": {"origin": ("https://a.test",)}}, False),
        ({"rate_limiter": {"enabled": True, "driver": "memory"}}, True),
        ({"rate_limiter": {"enabled": True, "api_rate_limit": ApiRateLimit(max_requests=100)}}, False),
    ],
)
async def test_the_plain_reply_is_ready_where_it_is_the_same_for_all(changes: dict[str, object], ready: bool) -> None:
    node = EdgeNode(settings=settings(**changes))
    assert (node.edge.plain_ok is not None) is ready
    wire = node.wire()
    wire.feed(node.publish(EVENT))
    node.settle()
    assert (wire.transport.writes == [node.edge.plain_ok]) is ready
    assert wire.reply().body == b'{"ok":true}'


async def test_a_new_policy_takes_the_place_of_the_ready_reply(node: EdgeNode) -> None:
    before = node.edge.plain_ok
    node.edge.cors = Cors(settings(cors={"origin": ()}))
    node.edge.tell_time()
    assert before is not None
    assert node.edge.plain_ok is not None
    assert b"access-control-allow-origin" in before
    assert b"access-control-allow-origin" not in node.edge.plain_ok


async def test_the_round_looks_after_both_kinds_of_connections(node: EdgeNode) -> None:
    http, socket = node.wire(), node.socket()
    socket.greet()
    socket.websocket.close(4000, "over")
    node.edge.sweep(node.clock.monotonic() + 14)
    assert not http.transport.closed
    assert not socket.transport.closed
    node.edge.sweep(node.clock.monotonic() + 91)
    assert http.transport.closed
    assert not http.transport.aborted
    assert socket.transport.aborted
