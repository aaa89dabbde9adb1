"""Where records stand in their lists, and positions that are none."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo import errors
from sockudo.errors import SockudoError
from sockudo.push.paging import (
    PairPosition,
    as_page,
    page_request,
    pair_after,
    subscription_position,
    time_after,
    time_position,
)
from support.push_stores import a_subscription


def test_a_subscription_has_a_position_in_each_list() -> None:
    subscription = a_subscription("news", "phone")
    assert subscription_position(subscription, channel="news") == "phone"
    assert subscription_position(subscription, device_id="phone") == "news"
    assert subscription_position(subscription) == "news:phone\0news"


def test_subscriptions_with_one_text_have_two_positions() -> None:
    one, two = a_subscription("a", "b:c"), a_subscription("a:b", "c")
    assert subscription_position(one) != subscription_position(two)
    assert pair_after(subscription_position(two)) == PairPosition("a:b:c", "a:b")
    assert pair_after("a:b:c") == PairPosition("a:b:c", "")
    assert pair_after("") == PairPosition("", "")


@given(st.integers(0, 2**63 - 1), st.text())
def test_a_time_position_is_read_as_it_was_written(at_ms: int, name: str) -> None:
    assert time_after(time_position(at_ms, name)) == (at_ms, name)


@given(st.tuples(st.integers(0, 2**63), st.text()), st.tuples(st.integers(0, 2**63), st.text()))
def test_texts_are_in_the_order_of_time_and_id(one: tuple[int, str], two: tuple[int, str]) -> None:
    assert (time_position(*one) < time_position(*two)) is (one < two)


def test_a_time_that_no_database_has_room_for() -> None:
    assert time_after("9" * 20 + ":x").at_ms == 2**63 - 1


@pytest.mark.parametrize(
    "text", ["", "x", "1:a", "0" * 20, "0" * 19 + "x:a", "0" * 20 + ";a", "-" + "0" * 19 + ":a", "²" * 20 + ":a"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(errors.SockudoError) as caught:
        time_after(text)
    assert caught.value.spec is errors.INVALID_INPUT


def refusal(limit: str | None = None, cursor: str | None = None, app: str = "app", kind: str = "devices") -> str:
    with pytest.raises(SockudoError) as caught:
        page_request(app, kind, limit, cursor)
    assert caught.value.spec in (errors.PUSH_LIMIT, errors.PUSH_CURSOR)
    assert (caught.value.spec.status, caught.value.spec.code) == (400, "invalid_input")
    return caught.value.text


def cursor_of(position: str, app: str = "app", kind: str = "devices") -> str:
    page = as_page(page_request(app, kind, "1", None), [position, "more"], str, str, 5)
    assert page.next_cursor is not None
    return page.next_cursor


def test_a_hundred_rows_unless_another_number_is_asked_for() -> None:
    assert page_request("app", "devices", None, None).limit == 100
    assert page_request("app", "devices", "1", None).ask == 2
    assert page_request("app", "devices", "1000", None).limit == 1000


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", "", "1.0", " 5", "٣", "9" * 30])
def test_other_limits_are_refused(limit: str) -> None:
    assert refusal(limit) == "limit must be between 1 and 1000"


def test_a_cursor_is_what_the_specification_says() -> None:
    cursor = cursor_of("tablet-7")
    assert "=" not in cursor
    assert json.loads(urlsafe_b64decode(cursor + "==")) == {
        "appId": "app", "kind": "devices", "position": "tablet-7", "issuedAtMs": 5,
    }  # fmt: skip
    assert page_request("app", "devices", None, cursor).after == "tablet-7"
    padded = cursor + "=" * (-len(cursor) % 4)
    assert page_request("app", "devices", None, padded).after == "tablet-7"


def test_cursors_of_others_are_refused() -> None:
    assert refusal(cursor=cursor_of("a", app="other")) == "cursor belongs to another app"
    assert refusal(cursor=cursor_of("a", kind="templates")) == "cursor belongs to another list"


@pytest.mark.parametrize(
    "cursor",
    [
        "!!",
        "",
        "a",
        "AAAA",
        "é",
        urlsafe_b64encode(b'{"appId":"app"}').decode(),
        urlsafe_b64encode(b'{"appId":"app","kind":"devices","position":5,"issuedAtMs":1}').decode(),
        urlsafe_b64encode(b'{"appId":"app","kind":"devices","position":"\xff","issuedAtMs":1}').decode(),
        urlsafe_b64encode(b"[]").decode(),
        "A" * 100_000,
        cursor_of("abc")[:-3],
    ],
)
def test_what_is_no_cursor(cursor: str) -> None:
    assert refusal(cursor=cursor) == "cursor decode failed"


def test_a_cursor_has_2048_bytes_at_most() -> None:
    frame = len(json.dumps({"appId": "app", "kind": "devices", "position": "", "issuedAtMs": 5}, separators=(",", ":")))
    longest = "p" * (2048 - frame)
    assert page_request("app", "devices", None, cursor_of(longest)).after == longest
    assert refusal(cursor=cursor_of(f"{longest}p")) == "cursor exceeds 2048 bytes"


@given(st.text(max_size=255), st.text("abc-_", min_size=1))
def test_every_position_comes_back(position: str, app: str) -> None:
    assert page_request(app, "k", None, cursor_of(position, app, "k")).after == position


@given(st.binary(max_size=80))
def test_nothing_else_than_a_refusal(junk: bytes) -> None:
    with pytest.raises(SockudoError):
        page_request("app", "k", None, urlsafe_b64encode(junk).decode())


@given(st.sets(st.text("ab:-1\0", min_size=1, max_size=6), max_size=12), st.integers(1, 5))
def test_a_walk_has_every_row_once_and_in_order(rows: set[str], limit: int) -> None:
    found: list[str] = []
    cursor = None
    for _ in range(len(rows) + 1):
        request = page_request("app", "k", str(limit), cursor)
        read = sorted(row for row in rows if row > request.after)[: request.ask]
        page = as_page(request, read, str, str, 1)
        found += page.items
        assert page.has_more is (page.next_cursor is not None)
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == sorted(rows)
