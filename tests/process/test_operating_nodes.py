"""What operators see of servers that are joined, and do with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from support.joined import Pair, pair_of

_FAST = {"adapter": {"cluster_health": {"heartbeat_interval_ms": 100, "node_timeout_ms": 500}}}


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with pair_of(tmp_path, _FAST, shared=False, joined="carrier") as pair:
        yield pair


async def until_up(pair: Pair, server: int, condition: Callable[[httpx.Response], bool]) -> httpx.Response:
    """Asks ``/up`` until the condition holds."""
    for _ in range(100):
        answer = await pair.get(server, "/up")
        if condition(answer):
            return answer
        await asyncio.sleep(0.05)
    raise TimeoutError(answer.text)


async def test_a_node_that_is_cut_off_is_not_ready_and_serves_its_own_clients(pair: Pair) -> None:
    client = await pair.client(0)
    await client.subscribe("news")
    assert (await pair.get(0, "/up")).text == "OK"
    pair.carriers[0].mute = True
    answer = await until_up(pair, 0, lambda answer: answer.status_code == 503)
    assert answer.headers["x-health-check"] == "ERROR"
    word, reason = answer.text.splitlines()
    assert word == "ERROR"
    assert reason.startswith("this node has not heard itself through a broker inside the process for ")
    await pair.backends[0].publish("news", "tide", {"height": 3})
    await client.expect("tide", channel="news", data={"height": 3})
    assert (await pair.get(1, "/up")).text == "OK"
    pair.carriers[0].mute = False
    await until_up(pair, 0, lambda answer: answer.text == "OK")


async def test_a_node_stays_ready_for_its_grace(tmp_path: Path) -> None:
    settings = _FAST | {"cluster": {"up_grace": 60}}
    async with pair_of(tmp_path, settings, shared=False, joined="carrier") as pair:
        pair.carriers[0].mute = True
        for _ in range(20):
            assert (await pair.get(0, "/up")).text == "OK"
            await asyncio.sleep(0.05)
