"""Work of a session that takes time, when the session ends before it does."""

from __future__ import annotations

import asyncio
import inspect
from typing import cast

import pytest

from sockudo.protocol.shapes import V2_JSON
from sockudo.sessions.recoverable import Recoverable
from sockudo.sessions.session import Session
from support.inside import Node


async def test_work_is_closed_when_the_session_ends_before_its_first_step() -> None:
    """A coroutine that is dropped without having run is a warning in the log."""
    done = asyncio.Event()

    async def work() -> None:
        done.set()

    coroutine = work()
    recoverable = Recoverable(cast(Session, None))
    recoverable.start(coroutine)
    recoverable.stop()
    for _ in range(3):
        await asyncio.sleep(0)
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
    assert not done.is_set()
    assert not recoverable.busy


@pytest.mark.parametrize(("size", "kept"), [(20, 1000), (60_000, 17), (2_000_000, 1)])
async def test_what_waits_for_the_store_has_a_bound_in_messages_and_in_bytes(node: Node, size: int, kept: int) -> None:
    """A client that goes on sending while a store hangs: one was kept for up to a thousand of the largest messages."""
    client = node.connect(shape=V2_JSON)
    places = client.session.recoverable
    assert places is not None
    released = asyncio.Event()

    async def work() -> None:
        await released.wait()

    places.start(work())
    message = b'{"event":"x","data":"%b"}' % (b"y" * size)
    for _ in range(kept):
        client.send_raw(message)
        assert not client.session.ended
    client.send_raw(message)
    assert client.session.ended
    assert client.peer.closed == (4100, "Over capacity: too many messages wait for the history store")


async def test_messages_that_have_waited_make_room_for_others(node: Node) -> None:
    client = node.connect(shape=V2_JSON)
    places = client.session.recoverable
    assert places is not None
    for _ in range(3):
        released = asyncio.Event()

        async def work(released: asyncio.Event = released) -> None:
            await released.wait()

        places.start(work())
        for number in range(15):
            client.send("pusher:ping", "y" * 60_000 if number else None)
        released.set()
        for _turn in range(3):
            await asyncio.sleep(0)
        assert client.events() == ["sockudo:pong"] * 15
    assert not client.session.ended
