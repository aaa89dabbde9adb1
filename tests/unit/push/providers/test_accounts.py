"""Provider tokens: one call for all who ask, renewed in time, dropped once."""

from __future__ import annotations

import asyncio

import pytest

from sockudo.push.providers.accounts import RenewedToken, StaticToken, Token
from sockudo.testing import FakeClock


class Counter:
    """Hands out tokens by number; waits at ``gate`` where there is one."""

    def __init__(self, lasts: float = 3600.0) -> None:
        self.lasts = lasts
        self.asked = 0
        self.gate: asyncio.Event | None = None
        self.error: Exception | None = None

    async def __call__(self) -> Token:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return Token(f"token-{self.asked}", self.lasts)


async def test_one_call_for_all_who_ask() -> None:
    fetch, clock = Counter(), FakeClock()
    fetch.gate = asyncio.Event()
    source = RenewedToken(fetch, clock.monotonic)
    tasks = [asyncio.create_task(source.get()) for _ in range(10)]
    await asyncio.sleep(0)
    # Whoever gives up takes nothing from the others.
    tasks[0].cancel()
    fetch.gate.set()
    assert set(await asyncio.gather(*tasks[1:])) == {"token-1"}
    assert fetch.asked == 1


@pytest.mark.parametrize(("lasts", "used"), [(3600.0, 3300.0), (601.0, 301.0), (600.0, 300.0), (60.0, 30.0)])
async def test_renewed_before_it_ends(lasts: float, used: float) -> None:
    fetch, clock = Counter(lasts), FakeClock()
    source = RenewedToken(fetch, clock.monotonic)
    await source.get()
    clock.advance(used - 0.5)
    assert source.current() == "token-1"
    clock.advance(1)
    assert source.current() is None
    assert await source.get() == "token-2"


async def test_a_failure_reaches_all_and_is_forgotten() -> None:
    fetch, clock = Counter(), FakeClock()
    source = RenewedToken(fetch, clock.monotonic)
    fetch.error = ValueError("no")
    found = await asyncio.gather(*(source.get() for _ in range(3)), return_exceptions=True)
    assert [str(one) for one in found] == ["no"] * 3
    assert fetch.asked == 1
    fetch.error = None
    assert await source.get() == "token-2"


async def test_only_the_token_that_was_rejected_is_dropped() -> None:
    fetch, clock = Counter(), FakeClock()
    source = RenewedToken(fetch, clock.monotonic)
    old = await source.get()
    assert source.drop(old)
    new = await source.get()
    assert source.drop(old)
    assert source.current() == new
    assert fetch.asked == 2


async def test_after_a_second_rejection_there_is_a_pause() -> None:
    fetch, clock = Counter(), FakeClock()
    source = RenewedToken(fetch, clock.monotonic)
    await source.get()
    source.despair()
    assert not source.drop("token-1")
    assert source.current() == "token-1"
    clock.advance(31)
    assert source.drop("token-1")


async def test_closing_ends_what_is_under_way() -> None:
    fetch, clock = Counter(), FakeClock()
    fetch.gate = asyncio.Event()
    source = RenewedToken(fetch, clock.monotonic)
    task = asyncio.create_task(source.get())
    await asyncio.sleep(0)
    await source.close()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_static_token_stays() -> None:
    source = StaticToken("static")
    assert not source.drop("static")
    assert source.current() == await source.get() == "static"


def test_texts_hold_no_token() -> None:
    shown = repr([Token("secret", 1), StaticToken("secret"), RenewedToken(Counter(), FakeClock().monotonic)])
    assert "secret" not in shown
