"""Connections of every kind are freed when they end: collections are rare in this process, and what waits for one adds
up to the memory of thousands of clients.
"""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from hostile.attacks import ATTACKS
from sockudo.apps.resolve import Defaults
from sockudo.drivers import MemoryHistoryStore
from sockudo.history import History
from support.edge import EdgeNode, settings
from support.inside import credentials, live_app
from support.signing import Credentials

ROUNDS = 40


OF_A_CONNECTION = ("sockudo.edge", "sockudo.sessions", "uvicorn", "support.edge")
"""Where the classes of objects are from that belong to one connection."""


@contextmanager
def collected() -> Iterator[list[Any]]:
    """Everything that is unreachable at the end and was not freed."""
    gc.collect()
    # What is there already need not be looked through again.
    gc.freeze()
    gc.disable()
    garbage: list[Any] = []
    try:
        yield garbage
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        garbage.extend(gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.fixture
def everything_on(monkeypatch: pytest.MonkeyPatch) -> EdgeNode:
    on = {"enabled": True}
    chosen = settings(connection_recovery=on, history=on, tag_filtering=on)
    node = EdgeNode(live_app(defaults=Defaults.from_settings(chosen)), settings=chosen)
    monkeypatch.setattr("support.signing.time", node.clock)
    return node


async def turns(node: EdgeNode, count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
    node.settle()


async def carry_out(name: str, node: EdgeNode, rng: random.Random, app: Credentials) -> None:
    wire = node.wire()
    for piece in ATTACKS[name](rng, app):
        wire.feed(piece.replace(b"/app/app-key?", b"/app/key-app?"))
        await turns(node, rng.choice([0, 1, 10]))
    if not wire.transport.closed:
        wire.lose()
    else:
        wire.transport.get_protocol().connection_lost(None)
    # As the loop does it.
    wire.transport.protocol = None


@pytest.mark.parametrize("name", ATTACKS)
async def test_nothing_is_left_for_the_garbage_collector(name: str, everything_on: EdgeNode) -> None:
    node = everything_on
    history = History(MemoryHistoryStore(), node.clock)
    node.components.history.put(history)
    await history.start()
    rng, app = random.Random(name), credentials(node.app)
    for _ in range(ROUNDS // 4):
        await carry_out(name, node, rng, app)
    await turns(node, 30)
    with collected() as garbage:
        for _ in range(ROUNDS):
            await carry_out(name, node, rng, app)
        await turns(node, 30)
    assert [each for each in garbage if type(each).__module__.startswith(OF_A_CONNECTION)] == []
    await history.close()
