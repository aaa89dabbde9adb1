"""A link that is made anew whenever it ends."""

from __future__ import annotations

import asyncio
import errno
from itertools import islice

import pytest

from sockudo import errors
from sockudo.drivers.carriers.links import KeptLink, pauses
from support.carriers import Heard
from support.virtual_time import in_virtual_time


class FakeLink:
    def __init__(self) -> None:
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.closed = False

    async def close(self) -> None:
        self.closed = True


class FakeBroker:
    """Makes links, and refuses while ``refusals`` are left."""

    def __init__(self) -> None:
        self.refusals = 0
        self.problem: Exception = errors.SERVICE_UNAVAILABLE("it is away")
        self.links: list[FakeLink] = []
        self.attempts: list[float] = []

    async def connect(self) -> FakeLink:
        self.attempts.append(asyncio.get_running_loop().time())
        if self.refusals:
            self.refusals -= 1
            raise self.problem
        self.links.append(FakeLink())
        return self.links[-1]


def test_pauses_begin_with_none_and_double_to_ten_seconds() -> None:
    found = list(islice(pauses(), 9))
    for seconds, expected in zip(found, [0, 0.5, 1, 2, 4, 8, 10, 10, 10], strict=True):
        assert expected * 0.75 <= seconds <= expected * 1.25


@in_virtual_time
async def test_what_cannot_be_opened_is_refused() -> None:
    broker, heard = FakeBroker(), Heard()
    broker.refusals = 1
    link = KeptLink("a broker", broker.connect)
    with pytest.raises(errors.SockudoError, match="it is away"):
        await link.open(heard)
    assert heard.links == []
    await link.close()


@in_virtual_time
async def test_a_lost_one_is_made_anew_for_as_long_as_it_takes() -> None:
    broker, heard = FakeBroker(), Heard()
    link = KeptLink("a broker", broker.connect)
    await link.open(heard)
    broker.refusals = 20
    broker.links[0].ended.set_result("it was cut")
    await heard.until(lambda heard: heard.links == ["up", "down", "up"], 1_000)
    assert len(broker.attempts) == 22
    # The first one at once.
    assert broker.attempts[1] == broker.attempts[0]
    assert [each.closed for each in broker.links] == [True, False]
    assert link.current is broker.links[1]
    await link.close()
    assert broker.links[1].closed
    assert link.current is None


@in_virtual_time
async def test_a_reconnection_can_be_asked_for() -> None:
    broker, heard = FakeBroker(), Heard()
    link = KeptLink("a broker", broker.connect)
    await link.open(heard)
    link.reconnect()
    link.reconnect()
    await heard.until(lambda heard: heard.links == ["up", "down", "up"])
    await link.close()


@in_virtual_time
async def test_where_there_are_no_descriptors_it_tries_again() -> None:
    broker, heard = FakeBroker(), Heard()
    link = KeptLink("a broker", broker.connect)
    await link.open(heard)
    broker.refusals = 2
    broker.problem = OSError(errno.EMFILE, "Too many open files")
    link.reconnect()
    await heard.until(lambda heard: heard.links == ["up", "down", "up"], 100)
    await link.close()


@in_virtual_time
async def test_closing_ends_the_attempts() -> None:
    broker, heard = FakeBroker(), Heard()
    link = KeptLink("a broker", broker.connect)
    await link.open(heard)
    broker.refusals = 1_000
    broker.links[0].ended.set_result("it was cut")
    await asyncio.sleep(60)
    await link.close()
    tried = len(broker.attempts)
    await asyncio.sleep(60)
    assert len(broker.attempts) == tried
    assert heard.links == ["up", "down"]
