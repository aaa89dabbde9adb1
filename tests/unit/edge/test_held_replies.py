"""Replies of the express lane are written at the end of the turn, and nothing on a connection overtakes them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sockudo.edge.held_replies import HeldReplies
from support.edge import EdgeNode, RecordingTransport, Socket, handshake, request

EVENT = {"name": "e", "channel": "news", "data": "d"}


class Turn:
    """Functions that the end of a turn runs, and what was written in which order."""

    def __init__(self) -> None:
        self.due: list[Callable[[], object]] = []
        self.said: list[str] = []

    def end(self) -> None:
        due, self.due[:] = list(self.due), []
        for function in due:
            function()

    def transport(self, name: str) -> RecordingTransport:
        return Noted(name, self.said)


class Noted(RecordingTransport):
    """Notes in ``said`` what is written to it."""

    def __init__(self, name: str, said: list[str]) -> None:
        super().__init__()
        self._name = name
        self._said = said

    def write(self, data: bytes) -> None:
        self._said.append(f"{self._name} {data.decode()}")


def test_they_wait_for_the_end_of_the_turn() -> None:
    turn = Turn()
    replies = HeldReplies(turn.due.append)
    one, other = turn.transport("one"), turn.transport("other")
    replies.put(one, b"1")
    replies.put(other, b"2")
    replies.put(one, b"3")
    assert turn.said == []
    turn.end()
    assert turn.said == ["one 1", "other 2", "one 3"]
    assert turn.due == []
    replies.put(one, b"4")
    turn.end()
    assert turn.said[3:] == ["one 4"]


def test_what_is_expected_leaves_before_what_is_scheduled_later() -> None:
    turn = Turn()
    replies = HeldReplies(turn.due.append)
    replies.expect()
    turn.due.append(lambda: turn.said.append("delivered"))
    replies.put(turn.transport("backend"), b"ok")
    turn.end()
    assert turn.said == ["backend ok", "delivered"]


def test_a_connection_that_is_lost_takes_no_reply_from_others() -> None:
    turn = Turn()
    replies = HeldReplies(turn.due.append)
    lost, there = turn.transport("lost"), turn.transport("there")
    replies.put(lost, b"1")
    replies.put(there, b"2")
    lost.abort()
    turn.end()
    assert turn.said == ["there 2"]


async def test_backends_are_answered_together_and_before_subscribers(
    node: EdgeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    client = node.connect()
    node.hub.subscribe(client.session, "news")
    node.settle()
    monkeypatch.setattr(client.session, "write", lambda _: order.append("delivery"))
    wires = [node.wire() for _ in range(3)]
    for number, wire in enumerate(wires):
        monkeypatch.setattr(wire.transport, "write", lambda _, number=number: order.append(f"reply {number}"))
        wire.feed(node.publish(EVENT))
    assert order == []
    node.settle()
    assert order == ["reply 0", "reply 1", "reply 2", "delivery"]


@pytest.mark.parametrize("size", [1, 3])
async def test_a_refusal_behind_them_comes_after_them(node: EdgeNode, size: int) -> None:
    wire = node.wire()
    wire.feed(node.publish(EVENT) * size + b"garbage\r\n\r\n")
    assert [reply.status for reply in wire.replies()] == [200] * size + [400]
    assert wire.transport.ended


async def test_a_request_that_takes_the_other_way_is_answered_after_them(node: EdgeNode) -> None:
    wire = node.wire()
    wire.feed(node.publish(EVENT) + request("GET", "/nowhere"))
    node.settle()
    await wire.settle()
    assert [reply.status for reply in wire.replies()] == [200, 404]


async def test_a_connection_that_ends_with_its_reply_gets_it(node: EdgeNode) -> None:
    wire = node.wire()
    wire.feed(node.publish(EVENT, headers={"Connection": "close"}))
    assert (wire.reply().status, wire.transport.closed) == (200, True)


async def test_an_upgrade_behind_them_comes_after_them(node: EdgeNode) -> None:
    socket: Socket = node.socket()
    socket.feed(node.publish(EVENT) + handshake("/app/key-app?protocol=7"))
    assert [reply.status for reply in socket.replies()] == [200, 101]


async def test_a_stop_in_the_same_turn_does_not_lose_them(node: EdgeNode) -> None:
    wire = node.wire()
    wire.feed(node.publish(EVENT))
    wire.http.shutdown()
    assert wire.transport.closed
    assert wire.reply().status == 200
