"""Long lists, a page at a time."""

from __future__ import annotations

from itertools import count

import pytest
from starlette.requests import Request

from sockudo import errors
from sockudo.dashboard.paging import Paging
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
