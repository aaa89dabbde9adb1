"""Where records stand in their lists, and positions that are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo import errors
from sockudo.push.positions import PairPosition, pair_after, subscription_position, time_after, time_position
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
