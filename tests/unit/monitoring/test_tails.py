"""Streams of entries: what they cost, what cuts them off and what does not."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from sockudo import errors
from sockudo.edge.listeners import serve_app
from sockudo.errors import SockudoError
from sockudo.inspector import Entry, Selection
from sockudo.monitoring.event_stream import EventStream, event_text
from sockudo.monitoring.tails import AT_MOST, AT_MOST_OF_APP
from support.edge import EdgeNode, Wire, request
from support.inside import live_app
from support.virtual_time import in_virtual_time
from support.waiting import until


class Following(Wire):
    """A connection on which a stream of the app is asked for."""

    async def begin(self, **selection: str) -> None:
        path = f"/apps/{self.node.app.id}/inspector/stream"
        self.feed(request("GET", self.node.target("GET", path, **selection)))
        await asyncio.sleep(0.1)

    def events(self) -> list[tuple[str, Any]]:
        """Events since the last look."""
        text = bytes(self.transport.sent)
        self.transport.sent.clear()
        body = text.partition(b"\r\n\r\n")[2] if text.startswith(b"HTTP/") else text
        found = []
        for line in body.split(b"\n"):
            if line.startswith(b"event: "):
                name = line.removeprefix(b"event: ").decode()
            elif line.startswith(b"data: "):
                found.append((name, json.loads(line.removeprefix(b"data: "))))
        return found


async def following(node: EdgeNode, **selection: str) -> Following:
    one = Following(node)
    await one.begin(**selection)
    return one


async def idle(node: EdgeNode) -> None:
    """Until no request is under way."""
    await until(lambda: not node.edge.state.tasks, pause=0.05)


def note(node: EdgeNode, count: int, kind: str = "subscribed") -> None:
    for at in range(count):
        node.gateway.inspector.note(Entry(at, kind, node.app.id, "harbor"))  # type: ignore[arg-type]


@in_virtual_time
async def test_pieces_are_bounded_and_come_a_few_times_a_second() -> None:
    node = EdgeNode()
    one = await following(node)
    assert one.events() == [("hello", {"watching": {"app_id": node.app.id}})]
    note(node, 5000)
    sizes, skipped = [], 0
    for _ in range(20):
        await asyncio.sleep(0.25)
        for event, data in one.events():
            assert event == "entries"
            sizes.append(len(data["entries"]))
            skipped += data["skipped"]
    assert (sizes, skipped) == ([200] * 5, 4000)
    one.lose()
    await idle(node)
    assert not node.gateway.inspector.watching


@in_virtual_time
async def test_the_sweep_for_idle_connections_leaves_it_alone() -> None:
    node = EdgeNode()
    one = await following(node)
    for _ in range(60):
        node.clock.advance(10)
        node.edge.sweep(node.clock.monotonic())
        await asyncio.sleep(10)
    assert not one.transport.ended
    assert one.transport.sent.count(b": still here\n\n") == pytest.approx(60, abs=2)
    one.transport.sent.clear()
    note(node, 1)
    await asyncio.sleep(0.5)
    assert [event for event, _ in one.events()] == ["entries"]
    one.lose()
    await idle(node)


@in_virtual_time
async def test_the_stream_of_an_app_names_no_other_one() -> None:
    shop, blog = live_app("shop"), live_app("blog")
    node = EdgeNode(shop, blog)
    one = await following(node)
    one.events()
    client = node.connect()
    signed = blog.signer.hexdigest(f"{client.socket_id}:private-x".encode())
    client.send("pusher:subscribe", {"channel": "private-x", "auth": f"{shop.key}:{signed}"})
    await asyncio.sleep(0.5)
    [(_, data)] = one.events()
    [refused] = [entry for entry in data["entries"] if entry["kind"] == "subscribe_refused"]
    assert "blog" not in str(refused)
    assert refused["cause"].startswith("none of the usual mistakes explains the signature")
    one.lose()
    await idle(node)


@in_virtual_time
async def test_a_reader_that_takes_nothing_is_cut_off() -> None:
    node = EdgeNode()
    one = await following(node)
    note(node, 500)
    await asyncio.sleep(0.25)
    one.http.pause_writing()
    written = len(one.transport.sent)
    note(node, 500)
    await asyncio.sleep(15)
    assert len(one.transport.sent) == written
    assert not one.transport.ended
    await asyncio.sleep(10)
    assert one.transport.aborted
    one.lose()
    await idle(node)
    assert not node.gateway.inspector.watching
    assert len(node.tails) == 0


@in_virtual_time
async def test_it_ends_when_the_server_stops() -> None:
    node = EdgeNode()
    one = await following(node)
    one.events()
    node.gateway.draining = True
    await asyncio.sleep(0.3)
    assert [(event, data["error"]) for event, data in one.events()] == [("end", "draining")]
    await idle(node)
    assert not node.gateway.inspector.watching
    with pytest.raises(SockudoError) as refused:
        node.tails.follow(Selection())
    assert refused.value.spec is errors.DRAINING


@in_virtual_time
async def test_stopping_waits_for_those_who_read_and_cuts_those_who_do_not() -> None:
    node = EdgeNode()
    reading, stuck = await following(node), await following(node)
    stuck.http.pause_writing()
    note(node, 10)
    await asyncio.sleep(0.5)
    stopping = asyncio.ensure_future(node.tails.close())
    await asyncio.sleep(0.5)
    assert reading.events()[-1][0] == "end"
    await asyncio.sleep(1)
    assert stuck.transport.aborted
    stuck.lose()
    await stopping
    assert len(node.tails) == 0
    await idle(node)


@in_virtual_time
async def test_places_are_counted_and_some_are_the_operators() -> None:
    node = EdgeNode()
    tails = node.tails
    for place in range(AT_MOST_OF_APP):
        tails.follow(Selection(f"app-{place % 3}"), of_app=True)
    for _ in range(AT_MOST - AT_MOST_OF_APP - 8):
        tails.follow(Selection())
    with pytest.raises(SockudoError) as refused:
        tails.follow(Selection("another"), of_app=True)
    assert (refused.value.spec, refused.value.retry_after) == (errors.WATCHERS_FULL, 5)
    for _ in range(8):
        tails.follow(Selection())
    with pytest.raises(SockudoError) as refused:
        tails.follow(Selection())
    assert refused.value.spec is errors.WATCHERS_FULL


async def test_the_listener_for_operators_cuts_off_who_reads_nothing() -> None:
    """With real sockets: closing would wait for ever for what nobody takes."""
    ended = asyncio.Event()

    async def stream(_: Request) -> Response:
        return EventStream(lambda: (event_text("x", b"y" * 100_000), False), ended.set, tick=0.01, unread=0.3)

    listener = await serve_app("127.0.0.1", 0, Router([Route("/", stream)]))
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", listener.port, limit=1024)
        writer.write(request("GET", "/"))
        async with asyncio.timeout(10):
            await ended.wait()
        await until(lambda: not listener._state.connections)
        writer.transport.abort()
    finally:
        listener.close()
