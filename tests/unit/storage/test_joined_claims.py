"""A node starts beside those that it hears, and beside no other server; while it runs it says what changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf

import pytest
from structlog.testing import capture_logs

from sockudo import errors
from sockudo.config import Settings
from sockudo.config.sections.drivers import AppManager
from sockudo.storage.claims import BEAT_SECONDS
from sockudo.storage.joined_claims import JOIN_SECONDS, JoinedClaims, Peers, joined_places
from sockudo.storage.occupants import LEASE_SECONDS, Held, Occupant

ALONE = Occupant("h", 7, 0.0)
NODE = replace(ALONE, host="other", node="n1", joined_by="redis at db-1")


class Scripted:
    """A place; the test says who else has it, at each second."""

    name = "the database"

    def __init__(self, world: World, others: Callable[[float], Sequence[Held]]) -> None:
        self._world = world
        self._others = others
        self.claimed = 0
        self.released = 0
        self.silent = False

    async def claim(self) -> Sequence[Held]:
        self.claimed += 1
        return await self.others()

    async def others(self) -> Sequence[Held]:
        if self.silent:
            raise errors.SERVICE_UNAVAILABLE("It is away")
        return self._others(self._world.now)

    async def release(self) -> None:
        self.released += 1


class World:
    """Time that passes by sleeping, the live nodes, and what was said of being apart."""

    def __init__(
        self, others: Callable[[float], Sequence[Held]], *, shared: bool = False, me: Occupant | None = None
    ) -> None:
        self.now = 0.0
        self.live: dict[str, float] = {}
        self.well = True
        self.until = 10_000.0
        self.apart: list[str] = []
        self.place = Scripted(self, others)
        self.peers = Peers(lambda node: self.live.get(node, inf) <= self.now, lambda: self.well, 10.0, me)
        self.claims = JoinedClaims(
            [self.place], self.peers, self.apart.append, lambda: self.now, shared=shared, sleep=self._sleep
        )

    async def _sleep(self, seconds: float) -> None:
        if self.now + seconds > self.until:
            raise asyncio.CancelledError
        self.now += seconds

    async def refused(self) -> str:
        with pytest.raises(errors.SockudoError) as caught:
            await self.claims.start()
        assert caught.value.spec is errors.SERVICE_UNAVAILABLE
        return caught.value.text

    async def watch(self, seconds: float) -> None:
        self.until = self.now + seconds
        with pytest.raises(asyncio.CancelledError):
            await self.claims.watch()


def beating(occupant: Occupant, until: float = 10_000.0) -> Callable[[float], Sequence[Held]]:
    """A claim that is renewed every few seconds, until it is not."""

    def others(now: float) -> Sequence[Held]:
        return (
            [Held(occupant, certain=False, beats=int(min(now, until) / BEAT_SECONDS))]
            if (now <= until + LEASE_SECONDS)
            else []
        )

    return others


async def test_a_node_starts_beside_those_that_it_hears() -> None:
    world = World(beating(NODE))
    world.live["n1"] = 0.0
    await world.claims.start()
    assert (world.now, world.place.claimed) == (0.0, 1)


async def test_one_that_is_about_to_join_is_waited_for() -> None:
    world = World(lambda now: [Held(NODE, certain=True, beats=int(now))])
    world.live["n1"] = 4.0
    await world.claims.start()
    assert world.now == 4.0


async def test_one_that_lives_and_does_not_appear_ends_the_start_with_its_name() -> None:
    world = World(beating(NODE))
    text = await world.refused()
    assert text.startswith(
        "Same store, not joined: pid 7 on other, since 1970-01-01 00:00:00 UTC, joined with others by "
    )
    assert "redis at db-1 uses the database and is not joined with this server." in text
    assert "the same settings under adapter" in text
    assert "--shared-stores (instance.shared_stores = true)" in text
    assert world.now == JOIN_SECONDS


async def test_a_server_that_is_alone_ends_the_start_as_soon_as_it_is_seen_to_live() -> None:
    assert "pid 7 on h" in await World(lambda _: [Held(ALONE, certain=True)]).refused()
    world = World(beating(ALONE))
    await world.refused()
    assert world.now == BEAT_SECONDS


async def test_a_claim_that_nothing_renews_is_waited_for_until_it_ends() -> None:
    world = World(beating(NODE, until=0.0))
    await world.claims.start()
    assert world.now == LEASE_SECONDS + 1


async def test_a_server_that_is_alone_is_seen_before_a_store_is_opened() -> None:
    world = World(lambda _: [Held(ALONE, certain=True)])
    with pytest.raises(errors.SockudoError):
        await world.claims.check()
    assert world.place.claimed == 0
    for others in (beating(NODE), beating(ALONE)):
        await World(others).claims.check()
    world.place.silent = True
    await world.claims.check()


async def test_what_is_apart_on_purpose_is_a_warning() -> None:
    world = World(lambda now: [Held(ALONE, certain=True, beats=int(now))], shared=True)
    with capture_logs() as logs:
        await world.claims.check()
        await world.claims.start()
        await world.watch(60)
    assert [line["log_level"] for line in logs] == ["warning"]
    assert set(world.apart) == {""}


async def test_a_database_that_does_not_answer_is_no_reason_not_to_start() -> None:
    world = World(lambda _: [])
    world.place.silent = True
    with capture_logs() as logs:
        await world.claims.start()
        await world.watch(20)
    assert [line["reason"] for line in logs] == ["whether other servers use it is not known: It is away"]


async def test_a_stranger_that_renews_its_claim_for_a_timeout_makes_the_node_not_ready() -> None:
    world = World(lambda now: beating(NODE, until=100.0)(now) if now >= 20 else [])
    await world.watch(25)
    assert set(world.apart) == {""}
    await world.watch(30)
    assert world.apart[-1].startswith("the database: another server (pid 7 on other, ")
    await world.watch(80)
    assert world.apart[-1] == "", "its claim has ended"


def split(mine: str, theirs: str, *, me: str, joined_by: str = NODE.joined_by, at: float = 20.0) -> World:
    """What a node sees of a split at that moment: each letter is the id of a node, and all share one store."""

    def others(now: float) -> Sequence[Held]:
        here = [replace(NODE, node=node) for node in mine if node != me]
        there = [replace(NODE, node=node, joined_by=joined_by) for node in theirs]
        return [held for occupant in (*here, *there) for held in beating(occupant)(now)]

    world = World(others, me=replace(NODE, node=me))
    world.live = dict.fromkeys(mine, 0.0)
    is_alive = world.peers.is_alive
    world.claims._peers = world.peers._replace(
        is_alive=lambda node: is_alive(node) or (node in theirs and world.now < at)
    )
    return world


@pytest.mark.parametrize(
    ("mine", "theirs", "ready"),
    [
        ("abc", "de", True),
        ("de", "abc", False),
        ("ab", "cd", True),
        ("cd", "ab", False),
        ("b", "a", False),
        ("a", "b", True),
    ],
)
async def test_of_a_split_over_one_store_one_part_stays_ready(mine: str, theirs: str, ready: bool) -> None:
    for me in mine:
        world = split(mine, theirs, me=me)
        with capture_logs() as logs:
            await world.watch(120)
        assert (set(world.apart) == {""}) is ready
        told = {line["reason"] for line in logs}
        assert any(reason.endswith("are the larger part, and go on") for reason in told) is ready
        assert all(reason.startswith("another server (pid 7 on other, ") for reason in told)


async def test_a_server_of_another_broker_is_no_part_of_a_split() -> None:
    world = split("abc", "d", me="a", joined_by="redis at db-2")
    await world.watch(120)
    assert world.apart[-1] != ""


async def test_what_a_dead_node_leaves_behind_is_no_reason() -> None:
    world = World(beating(NODE, until=50.0))
    world.live["n1"] = 0.0
    await world.watch(50)
    del world.live["n1"]
    await world.watch(60)
    assert set(world.apart) == {""}


async def test_a_node_that_hears_nothing_lets_its_claims_end() -> None:
    world = World(lambda _: [])
    await world.watch(20)
    claimed = world.place.claimed
    world.well = False
    await world.watch(20)
    assert claimed == world.place.claimed == 4
    await world.claims.close()
    assert world.place.released == 1


def test_the_databases_in_use_are_places() -> None:
    settings = Settings(app_manager=AppManager(driver="pgsql"))
    [place] = joined_places(settings, NODE)
    assert place.name == "the database 'sockudo' at localhost:5432 (database.postgres: apps applications)"
    assert joined_places(Settings(), NODE) == []
