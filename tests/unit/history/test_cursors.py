"""A cursor is good for the request it was made by, and for no other (spec: history § 7.1 and 10.2)."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo import errors
from sockudo.base.stream_records import Bounds
from sockudo.errors import SockudoError
from sockudo.history.cursors import decode_cursor, encode_cursor
from sockudo.history.query import HistoryQuery

KEY = ("app", "news")
QUERY = HistoryQuery(bounds=Bounds(start_serial=2, end_time_ms=9))
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def made(**changes: Any) -> str:
    """A cursor whose content was tampered with."""
    text = encode_cursor(KEY, QUERY, "s-1", 7)
    content = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))) | changes
    return packed(json.dumps({name: value for name, value in content.items() if value != "gone"}).encode())


def packed(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def refusal(text: str, key: tuple[str, str] = KEY, query: HistoryQuery = QUERY) -> str:
    with pytest.raises(SockudoError) as refused:
        decode_cursor(key, query, text)
    assert refused.value.spec is errors.HISTORY_QUERY
    return refused.value.text


def test_a_cursor_says_where_its_page_ended() -> None:
    cursor = decode_cursor(KEY, QUERY, encode_cursor(KEY, QUERY, "s-1", 7))
    assert (cursor.stream_id, cursor.serial) == ("s-1", 7)


def test_a_cursor_is_url_safe_without_padding() -> None:
    text = encode_cursor(("app", "ÿ?>"), QUERY, "s-1", 7)
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_the_limit_of_a_request_may_change() -> None:
    assert decode_cursor(KEY, QUERY._replace(limit=50), encode_cursor(KEY, QUERY, "s-1", 7)).serial == 7


@pytest.mark.parametrize(
    ("key", "query", "text"),
    [
        (("other", "news"), QUERY, "History cursor app does not match the request"),
        (("app", "other"), QUERY, "History cursor channel does not match the request"),
        (KEY, QUERY._replace(direction="oldest_first"), "History cursor direction does not match the request"),
        (KEY, QUERY._replace(bounds=Bounds()), "History cursor bounds do not match the request"),
        (KEY, QUERY._replace(bounds=Bounds(2, 8, None, 9)), "History cursor bounds do not match the request"),
    ],
)
def test_a_cursor_of_another_request_is_refused(key: tuple[str, str], query: HistoryQuery, text: str) -> None:
    assert refusal(encode_cursor(KEY, QUERY, "s-1", 7), key, query) == text


def test_a_cursor_of_another_version_is_refused_by_its_number() -> None:
    assert refusal(made(version=2)) == "Unsupported history cursor version: 2"
    assert refusal(packed(b'{"version":2,"anything":"else"}')) == "Unsupported history cursor version: 2"


def test_a_cursor_over_16_kib_is_refused_unread() -> None:
    assert refusal("A" * (16 * 1024 + 1)) == "History cursor exceeds 16 KiB"
    assert refusal("A" * 16 * 1024) != "History cursor exceeds 16 KiB"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "!!",
        "é",
        "A",
        "AAAA",
        encode_cursor(KEY, QUERY, "s-1", 7)[:-5],
        packed(b"[]"),
        packed(b"{}"),
        packed(b'"text"'),
        packed(b"[" * 5000),
        made(serial="7"),
        made(serial=None),
        made(stream_id=5),
        made(bounds=None),
        made(bounds={}),
        made(channel="gone"),
    ],
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    assert refusal(text).startswith(("Invalid history cursor: ", "Unsupported history cursor version: null"))


@given(st.text(max_size=200))
def test_no_text_gives_anything_but_a_refusal(text: str) -> None:
    refusal(text)


@given(st.binary(max_size=200))
def test_no_content_gives_anything_but_a_refusal(content: bytes) -> None:
    refusal(packed(content))


@given(
    st.text(min_size=1),
    st.text(min_size=1),
    st.integers(0, 2**63 - 1),
    st.tuples(*[st.none() | st.integers(0, 99)] * 4),
)
def test_every_cursor_is_read_back(app_id: str, channel: str, serial: int, bounds: Any) -> None:
    """Whatever is in the names."""
    if any("\ud800" <= letter <= "\udfff" for letter in app_id + channel):
        return
    query = HistoryQuery(bounds=Bounds(*bounds))
    cursor = decode_cursor((app_id, channel), query, encode_cursor((app_id, channel), query, "s", serial))
    assert cursor.serial == serial
