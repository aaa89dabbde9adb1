"""The reactions of stock clients to close codes (spec: websocket § 9)."""

from __future__ import annotations

import pytest

from sockudo.client.reconnect import Reconnect


@pytest.mark.parametrize("code", [4000, 4001, 4009, 4099, 4300, 4301, 4999])
def test_codes_that_mean_stay_away(code: int) -> None:
    assert Reconnect().delay(code, established=True) is None


@pytest.mark.parametrize("code", [4200, 4201, 4299])
def test_codes_that_mean_at_once(code: int) -> None:
    assert Reconnect().delay(code, established=True) == 0.0


@pytest.mark.parametrize("code", [None, 1000, 1001, 1002, 1006, 1009, 4100, 4199])
def test_everything_else_means_later(code: int | None) -> None:
    assert Reconnect().delay(code, established=True) == 1.0


def test_waits_grow_to_a_limit_and_begin_anew() -> None:
    reconnect = Reconnect()
    assert [reconnect.delay(4100, established=True) for _ in range(6)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    reconnect.established()
    assert reconnect.delay(None, established=False) == 1.0


def test_at_once_is_not_believed_from_a_server_that_accepts_nobody() -> None:
    reconnect = Reconnect()
    assert [reconnect.delay(4200, established=False) for _ in range(3)] == [1.0, 2.0, 4.0]
