from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from sockudo.testing import ANYTHING, TestServer, assert_not_published, assert_published, serve


@pytest.fixture(scope="module")
def server() -> Iterator[TestServer]:
    with serve() as server:
        yield server


async def _publish(server: TestServer, channel: str, event: str, data: Any) -> None:
    async with server.api() as api:
        await api.publish(channel, event, data)


@pytest.mark.parametrize("channel", ["harbor", "private-pier", "presence-crew"])
async def test_a_block_that_publishes(server: TestServer, channel: str) -> None:
    async with assert_published(server, channel, "tide", {"metres": 2, "at": ANYTHING}):
        await _publish(server, channel, "tide", {"metres": 2, "at": "noon"})


def test_a_block_that_publishes_without_asyncio(server: TestServer) -> None:
    with assert_published(server, "harbor", "tide", [1]):
        asyncio.run(_publish(server, "harbor", "tide", [1]))
    with assert_not_published(server, "harbor", for_=0.05):
        asyncio.run(_publish(server, "pier", "tide", [1]))


@pytest.mark.parametrize(("event", "data"), [("ebb", {"metres": 2}), ("tide", {"metres": 3})])
async def test_a_block_that_publishes_something_else(server: TestServer, event: str, data: Any) -> None:
    with pytest.raises(AssertionError, match="'tide' on harbor"):
        async with assert_published(server, "harbor", "tide", {"metres": 2}, timeout=0.05):
            await _publish(server, "harbor", event, data)


def test_a_silent_block_without_asyncio(server: TestServer) -> None:
    with pytest.raises(AssertionError, match="'tide' on harbor"), assert_published(server, "harbor", "tide", timeout=0.05):  # fmt: skip  # noqa: E501
        pass


async def test_a_block_that_must_not_publish(server: TestServer) -> None:
    async with assert_not_published(server, "harbor", "tide", for_=0.05):
        await _publish(server, "harbor", "ebb", 1)
    with pytest.raises(AssertionError, match="unexpected"):
        async with assert_not_published(server, "harbor", for_=1):
            await _publish(server, "harbor", "ebb", 1)


async def test_a_block_that_fails_fails_with_its_own_error(server: TestServer) -> None:
    with pytest.raises(LookupError):
        async with assert_published(server, "harbor", "tide"):
            raise LookupError
    with pytest.raises(LookupError), assert_published(server, "harbor", "tide"):
        raise LookupError
