"""Long lists, a page at a time."""

from __future__ import annotations

import asyncio
import random
from itertools import count
from typing import Any

import pytest
from starlette.requests import Request

from sockudo import errors
from sockudo.dashboard.paging import Paging, Turns, select
from sockudo.errors import SockudoError


def paging(query: str = "") -> Paging:
    scope = {"type": "http", "path": "/dashboard/things", "query_string": query.encode(), "headers": []}
    return Paging.of(Request(scope))


def test_defaults() -> None:
    asked = paging()
    assert (asked.q, asked.page, asked.per_page, asked.start) == ("", 1, 50, 0)


def test_the_last_page_may_be_short() -> None:
    page = paging("page=3&per_page=40").cut(range(95))
    assert (list(page.entries), page.total, page.pages) == (list(range(80, 95)), 95, 3)
    assert (page.first, page.last) == (81, 95)
    assert page.next_url is None
    assert page.previous_url == "/dashboard/things?page=2&per_page=40"


def test_nothing_at_all() -> None:
    page = paging().cut([])
    assert (page.pages, page.first, page.last, page.previous_url, page.next_url) == (1, 0, 0, None, None)


def test_past_the_end_one_comes_back_to_the_last_page() -> None:
    page = paging("page=900").cut(range(60))
    assert (len(page.entries), page.first) == (0, 0)
    assert page.next_url is None
    assert page.previous_url == "/dashboard/things?page=2"


def test_links_keep_what_was_asked() -> None:
    page = paging("app=a%26b&q=x+%3Cy%3E&per_page=10&app=c").cut(range(30))
    assert page.next_url == "/dashboard/things?app=a%26b&app=c&q=x+%3Cy%3E&page=2&per_page=10"


def test_what_is_walked_through_is_walked_no_further_than_the_page() -> None:
    walked = count()
    page = paging("page=2&per_page=10").cut_iterable(walked, 1000)
    assert list(page.entries) == list(range(10, 20))
    assert next(walked) == 20


def test_as_the_api_gives_it() -> None:
    page = paging("page=2&per_page=2").cut("abcde")
    assert page.body(list(page.entries)) == {"items": ["c", "d"], "total": 5, "page": 2, "per_page": 2, "pages": 3}


@pytest.mark.parametrize("query", ["page=0", "page=-1", "page=x", "page=1.5", "per_page=201", "page=²", "page=1e3"])
def test_numbers_that_are_none(query: str) -> None:
    with pytest.raises(SockudoError) as caught:
        paging(query)
    assert caught.value.spec is errors.INVALID_INPUT


def test_a_search_is_trimmed_and_cut() -> None:
    assert paging("q=%20%20abc%20").q == "abc"
    assert len(paging("q=" + "x" * 5000).q) == 200


# ---- what is in no order yet ----


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
