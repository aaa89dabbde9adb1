"""Components have a state from the start, open once for all callers, and are tried again while they are needed."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from sockudo import errors
from sockudo.base.components import Component, Opener
from sockudo.errors import SockudoError
from support.waiting import until


class Store:
    """A service whose opening fails while ``problem`` is set, and waits for ``gate``."""

    def __init__(self) -> None:
        self.problem: str | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.opened = 0
        self.closed = 0
        self.part: Component[Store] = Component("store", self._open, Store._close, self._not_open)

    @staticmethod
    def _not_open() -> SockudoError:
        return errors.SERVICE_UNAVAILABLE("the store is not open yet", retry_after=1)

    async def _open(self) -> Store:
        await self.gate.wait()
        if self.problem is not None:
            raise errors.SERVICE_UNAVAILABLE(self.problem)
        self.opened += 1
        return self

    async def _close(self) -> None:
        self.closed += 1


async def test_it_goes_through_its_states() -> None:
    store = Store()
    states = [store.part.state]
    store.gate.clear()
    opening = asyncio.ensure_future(store.part.open())
    await asyncio.sleep(0)
    states.append(store.part.state)
    store.gate.set()
    assert await opening is store
    states.append(store.part.state)
    await store.part.close()
    states.append(store.part.state)
    assert states == ["closed", "opening", "open", "closed"]
    assert (store.opened, store.closed) == (1, 1)


async def test_while_it_is_not_open_its_own_error_is_raised() -> None:
    store = Store()
    assert not store.part.is_open
    assert store.part.if_open is None
    with pytest.raises(SockudoError, match="the store is not open yet") as caught:
        _ = store.part.service
    assert caught.value.retry_after == 1


async def test_all_callers_share_one_opening() -> None:
    store = Store()
    store.gate.clear()
    callers = [asyncio.ensure_future(store.part.open()) for _ in range(5)]
    await asyncio.sleep(0)
    store.gate.set()
    assert await asyncio.gather(*callers) == [store] * 5
    assert store.opened == 1


async def test_a_failed_opening_keeps_its_reason_until_the_next_one() -> None:
    store = Store()
    store.problem = "its disk is full"
    with pytest.raises(SockudoError):
        await store.part.open()
    assert store.part.state == "failed"
    assert store.part.problem is not None
    assert store.part.problem.text == "its disk is full"
    store.problem = None
    await store.part.open()
    assert (store.part.state, store.part.problem) == ("open", None)


async def test_what_is_needed_later_is_opened_when_the_change_is_announced() -> None:
    store, needed = Store(), False
    opener = Opener({store.part: lambda: needed}, SockudoError)
    await opener.start()
    await asyncio.sleep(0)
    needed = True
    await asyncio.sleep(0)
    assert store.opened == 0
    opener.changed()
    for _ in range(10):
        await asyncio.sleep(0)
    assert store.opened == 1
    await opener.close()
    assert store.part.is_open


async def test_a_needed_one_that_fails_ends_the_start_unless_it_is_optional() -> None:
    store = Store()
    store.problem = "out of reach"
    with pytest.raises(SockudoError, match="out of reach"):
        await Opener({store.part: lambda: True}, SockudoError).start()
    opener = Opener({store.part: lambda: True}, SockudoError, optional=(store.part,), pause=0)
    with capture_logs() as logs:
        await opener.start()
    assert [(line["event"], line["part"], line["reason"]) for line in logs] == [
        ("cannot be opened", "store", "out of reach")
    ]
    store.problem = None
    await until(lambda: store.part.is_open, pause=0)
    await opener.close()
