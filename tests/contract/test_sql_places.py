"""Tables of a database are one server's at a time, on PostgreSQL and on MariaDB."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from msgspec import structs

from sockudo import errors
from sockudo.storage.occupants import LEASE_SECONDS, Held, Occupant
from sockudo.storage.places import TABLE, SqlPlace, occupants_in
from support.databases import DatabaseServer

HERE = Occupant.current(1.0)
AGE = "UPDATE sockudo_servers SET renewed_ms = renewed_ms - {}"
ELSEWHERE = Occupant("elsewhere", 1, 2.0, "another boot", "5")


@pytest.fixture(params=["postgres", "mariadb"])
async def database(request: pytest.FixtureRequest) -> AsyncIterator[DatabaseServer]:
    server: DatabaseServer = request.getfixturevalue(request.param)
    server.execute(f"DROP TABLE IF EXISTS {TABLE}")
    yield server
    while _MADE:
        await _MADE.pop().release()
    server.execute(f"DROP TABLE IF EXISTS {TABLE}")


_MADE: list[SqlPlace] = []


def a_place(server: DatabaseServer, occupant: Occupant = HERE, *tables: str) -> SqlPlace:
    place = SqlPlace(server.database, tables or ("apps a", "push"), occupant, section="database.x")
    _MADE.append(place)
    return place


async def test_tables_are_one_servers_at_a_time(database: DatabaseServer) -> None:
    first, second = a_place(database), a_place(database, ELSEWHERE)
    assert list(occupants_in(database.database)) == []
    assert await first.claim() is None
    assert await first.claim() is None
    assert await second.claim() == Held(HERE, certain=True, beats=2)
    assert list(occupants_in(database.database)) == [HERE]
    await first.release()
    assert await second.claim() is None
    assert await first.claim() == Held(ELSEWHERE, certain=False, beats=1)
    await second.release()
    assert list(occupants_in(database.database)) == []


async def test_other_tables_of_the_database_are_free(database: DatabaseServer) -> None:
    first, second, third = (a_place(database, HERE, *names) for names in (("a",), ("b",), ("a", "b", "c")))
    assert await first.claim() is None
    assert await second.claim() is None
    assert await third.claim() is not None
    await first.release()
    assert await third.claim() is not None, "all or none"
    await second.release()
    assert await third.claim() is None
    await third.release()


async def test_a_server_that_was_killed_here_is_replaced_at_once(database: DatabaseServer) -> None:
    killed = a_place(database, replace(HERE, started="1"))
    assert await killed.claim() is None
    again = a_place(database)
    assert await again.claim() is None
    assert await killed.claim() == Held(HERE, certain=True, beats=2)


async def test_a_claim_that_is_not_renewed_ends(database: DatabaseServer) -> None:
    silent, next_one = a_place(database, ELSEWHERE), a_place(database)
    assert await silent.claim() is None
    database.execute(AGE.format(LEASE_SECONDS * 1000 - 5000))
    assert await next_one.claim() == Held(ELSEWHERE, certain=False, beats=1)
    database.execute(AGE.format(6000))
    assert await next_one.claim() is None


async def test_of_servers_that_start_together_one_gets_the_place(database: DatabaseServer) -> None:
    several = [a_place(database, replace(ELSEWHERE, pid=number)) for number in range(6)]
    answers = await asyncio.gather(*(place.claim() for place in several))
    assert answers.count(None) == 1


async def test_a_database_that_lets_nobody_in_is_said(database: DatabaseServer) -> None:
    wrong = structs.replace(database.database, password="wrong", username="nobody-of-this-name")
    place = SqlPlace(wrong, ["push"], HERE, section="database.x")
    with pytest.raises(errors.SockudoError) as caught:
        await place.claim()
    assert "does not accept the configured user or password" in caught.value.text
    await place.release()
