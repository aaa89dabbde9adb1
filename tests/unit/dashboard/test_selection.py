"""Pages out of many things are complete, in order and without repeats, and the loop gets its turn in between."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from sockudo.dashboard.selection import Turns, select


async def pages(items: list[int], key: Any, per_page: int) -> list[int]:
    """All pages one after the other, until one is empty."""
    found: list[int] = []
    while True:
        selected = await select(items, key, len(found), per_page)
        if not selected.items:
            return found
        assert selected.total == sum(key(item) is not None for item in items)
        found += selected.items


@pytest.mark.parametrize("count", [0, 1, 2, 499, 500, 501, 1000, 2749])
@pytest.mark.parametrize("per_page", [1_000_000, 500, 37])
async def test_all_pages_together_are_everything_in_order(count: int, per_page: int) -> None:
    items = list(range(count))
    random.Random(count).shuffle(items)
    assert await pages(items, lambda item: (item,), per_page) == sorted(items)


@pytest.mark.parametrize("kept", [1, 2, 1499, 1500])
async def test_what_has_no_key_is_left_out(kept: int) -> None:
    items = list(range(1500))
    random.Random(kept).shuffle(items)
    assert await pages(items, lambda item: (-item,) if item < kept else None, 20) == list(reversed(range(kept)))


async def test_nothing_lies_beyond_the_end() -> None:
    for start in (10, 11, 1_000_000):
        assert await select(list(range(10)), lambda item: (item,), start, 5) == (10, [])


async def test_the_last_page_is_as_short_as_it_is() -> None:
    assert await select(list(range(1003)), lambda item: (item,), 1000, 50) == (1003, [1000, 1001, 1002])


async def test_each_item_is_asked_once() -> None:
    asked: list[int] = []

    def key(item: int) -> tuple[int]:
        asked.append(item)
        return (item % 7 * 10_000 + item,)

    await select(list(range(2000)), key, 900, 100)
    assert asked == list(range(2000))


async def test_items_are_never_compared() -> None:
    things = [object() for _ in range(600)]
    selected = await select(things, lambda thing: (id(thing),), 0, 3)
    assert selected.items == sorted(things, key=id)[:3]


async def test_others_get_the_loop_when_a_turn_is_over() -> None:
    now = 0.0
    turns = Turns(0.5, lambda: now)
    others: list[float] = []
    asyncio.get_running_loop().call_soon(lambda: others.append(now))
    await turns.next()
    assert not others
    now = 0.5
    await turns.next()
    assert others == [0.5]
    asyncio.get_running_loop().call_soon(lambda: others.append(now))
    now = 0.9
    await turns.next()
    assert len(others) == 1
    now = 1.0
    await turns.next()
    assert len(others) == 2
