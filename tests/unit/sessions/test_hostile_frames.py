"""Sessions that are told anything at all: an error frame for what is refused, never a failure, and nothing is kept.

`SOCKUDO_EXAMPLES` sets the number of messages for each protocol and format, `SOCKUDO_SEED` repeats a run.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random

import msgspec
import pytest
import structlog

from hostile.messages import deep_payloads, payload
from sockudo import errors
from sockudo.apps.resolve import Defaults
from sockudo.config import Settings
from sockudo.config.apps import Features
from sockudo.drivers import MemoryHistoryStore
from sockudo.errors import SockudoError
from sockudo.history import History
from sockudo.protocol.formats import V1_JSON, V2_JSON, V2_MSGPACK, V2_PROTOBUF, Format
from sockudo.protocol.frames import Frame
from sockudo.publishing.publisher import committed
from support.inside import Client, Node, live_app
from support.memory import Kept
from support.waiting import settle
from support.wire import JSON, MSGPACK, PROTOBUF, Wire

EXAMPLES = int(os.environ.get("SOCKUDO_EXAMPLES", "2000"))
SEED = int(os.environ.get("SOCKUDO_SEED", random.SystemRandom().randrange(2**32)))

PER_CONNECTION = 40
SHAPES = [(V1_JSON, JSON), (V2_JSON, JSON), (V2_MSGPACK, MSGPACK), (V2_PROTOBUF, PROTOBUF)]
FORMATS = pytest.mark.parametrize(("shape", "wire"), SHAPES, ids=lambda each: getattr(each, "label", ""))


def everything_on() -> Node:
    settings = Settings()
    for section in ("connection_recovery", "history", "tag_filtering", "presence_history"):
        on = msgspec.structs.replace(getattr(settings, section), enabled=True)
        settings = msgspec.structs.replace(settings, **{section: on})
    # Full long before the warm-up ends.
    few = msgspec.structs.replace(settings.history, max_messages_per_channel=20)
    settings = msgspec.structs.replace(settings, history=few)
    features = Features(enable_client_messages=True, enable_user_authentication=True, enable_watchlist_events=True)
    app = live_app(defaults=Defaults.from_settings(settings), features=features)
    return Node(app, settings=settings)


class Victim:
    """A node, its one connection after another, and what was refused so far."""

    def __init__(self, shape: Format) -> None:
        self.shape = shape
        self.node = everything_on()
        # Every refusal is said at debug.
        self.node.gateway.log = structlog.wrap_logger(
            structlog.PrintLogger(), wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR)
        )
        self.refused = 0

    async def connect(self) -> Client:
        client = self.node.connect(shape=self.shape)
        client.subscribe("presence-x", {"user_id": "ana"})
        client.send("pusher:subscribe", {"channel": "news"})
        await self.settle(client)
        return client

    async def settle(self, client: Client) -> None:
        self.node.settle()
        session = client.session
        while session.inbox is not None:  # noqa: ASYNC110 - nobody says when not
            await asyncio.sleep(0)
        await settle(10)
        self.node.settle()

    def errors(self) -> int:
        counted = self.node.state.traffic.errors
        assert counted[errors.INTERNAL_ERROR.slug] == 0
        return sum(counted.values())

    async def tell(self, client: Client, message: bytes) -> None:
        """One message. Whatever it is, the connection stays, and what cannot be read gets one error frame."""
        before, written = self.errors(), len(client.peer.log)
        client.send_raw(message)
        await self.settle(client)
        assert not client.session.ended
        try:
            self.shape.decode(message)
        except SockudoError:
            assert self.errors() == before + 1
            assert len(client.peer.log) > written
            self.refused += 1
        self.errors()

    async def publish(self, number: int) -> None:
        frame = Frame("quote", "news", f'{{"n":{number}}}', message_id=f"m{number}", tags={"k": "1"})
        now = self.node.clock.monotonic()
        pending = self.node.publisher.publish(self.node.app, self.node.state, frame, now)
        if pending is not None:
            await committed(pending)


@FORMATS
async def test_whatever_a_client_says_the_session_goes_on_and_forgets(shape: Format, wire: Wire) -> None:
    print(f"seed: SOCKUDO_SEED={SEED}")
    rng = random.Random(SEED)
    victim = Victim(shape)
    history = History(MemoryHistoryStore(), victim.node.clock)
    victim.node.components.history.put(history)
    await history.start()
    kept: Kept | None = None
    for number in range(EXAMPLES // 2 + EXAMPLES):
        if number == EXAMPLES // 2:
            kept = Kept()
        if number % PER_CONNECTION == 0:
            client = await victim.connect()
        await victim.tell(client, payload(wire, rng))
        victim.node.clock.advance(rng.random())
        if rng.random() < 0.1:
            await victim.publish(number)
            await victim.settle(client)
        if number % PER_CONNECTION == PER_CONNECTION - 1:
            client.session.leave(code=1000)
            await victim.settle(client)
    client.session.leave(code=1000)
    await victim.settle(client)
    assert victim.refused > EXAMPLES // 20
    assert not victim.node.state.connections
    assert not victim.node.state.occupied()
    del client
    assert kept is not None
    # Streams of channels that were heard of for the first time, members, windows of limits.
    kept.check(also=200_000)
    await history.close()


@FORMATS
async def test_nesting_without_end_costs_one_error_frame_each(shape: Format, wire: Wire) -> None:
    victim = Victim(shape)
    client = await victim.connect()
    payloads = deep_payloads(wire)
    for message in payloads:
        await victim.tell(client, message)
    assert victim.refused == len(payloads)
