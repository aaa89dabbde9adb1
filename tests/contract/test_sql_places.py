"""Tables of a database are one server's at a time, on PostgreSQL and on MariaDB."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
from msgspec import structs

from sockudo import errors
from sockudo.storage.joined_places import JoinedSqlPlace
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


_MADE: list[SqlPlace | JoinedSqlPlace] = []


def a_place(server: DatabaseServer, occupant: Occupant = HERE, *tables: str) -> SqlPlace:
    place = SqlPlace(server.database, tables or ("apps a", "push"), occupant, section="database.x")
    _MADE.append(place)
    return place


def a_node(server: DatabaseServer, node: str, *tables: str, at: Occupant = HERE) -> JoinedSqlPlace:
    occupant = replace(at, node=node, joined_by="redis at db-1")
    place = JoinedSqlPlace(server.database, tables or ("apps a", "push"), occupant, section="database.x")
    _MADE.append(place)
    return place


def nodes_of(held: Sequence[Held]) -> list[str]:
    assert all(one.who.endswith(", joined with others by redis at db-1") for one in held)
    return sorted(one.occupant.node for one in held if one.occupant is not None)


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


# ---- joined nodes ----


async def test_joined_nodes_share_tables_and_see_each_other(database: DatabaseServer) -> None:
    first, second, other = a_node(database, "n1"), a_node(database, "n2", "push"), a_node(database, "n3", "apps b")
    assert await first.claim() == []
    assert nodes_of(await second.claim()) == ["n1"]
    assert await other.claim() == [], "its tables are others"
    [held] = await first.claim()
    assert nodes_of([held]) == ["n2"]
    assert (held.certain, held.beats) == (True, 1)
    assert nodes_of(await second.others()) == ["n1"]
    assert {each.node for each in occupants_in(database.database)} == {"n1", "n2", "n3"}
    await second.release()
    assert await first.claim() == []


async def test_a_server_that_is_alone_and_joined_nodes_keep_each_other_out(database: DatabaseServer) -> None:
    alone, node = a_place(database), a_node(database, "n1", at=ELSEWHERE)
    assert await alone.claim() is None
    assert await node.others() == [Held(HERE, certain=True, beats=1)]
    assert await node.claim() == [Held(HERE, certain=True, beats=1)]
    assert await alone.claim() is None, "who has the place keeps it"
    await alone.release()
    assert await node.claim() == []
    held = await alone.claim()
    assert held is not None
    assert nodes_of([held]) == ["n1"]
    assert not held.certain
    assert await node.claim() == [], "what was refused has left nothing"
    await node.release()
    assert await alone.claim() is None


async def test_the_claim_of_a_node_that_died_ends_and_goes(database: DatabaseServer) -> None:
    silent, killed, living = (
        a_node(database, "n1", at=ELSEWHERE),
        a_node(database, "n2", at=replace(HERE, started="1")),
        a_node(database, "n3"),
    )
    for node in (silent, killed):
        await node.claim()
    assert nodes_of(await living.claim()) == ["n1"]
    database.execute(AGE.format(LEASE_SECONDS * 1000 + 1000))
    assert await living.claim() == []
    rows = database.execute("SELECT tables FROM sockudo_servers ORDER BY tables")
    assert [row[0] for row in rows] == ["apps a @n3", "push @n3"]


async def test_of_a_server_alone_and_nodes_that_start_together_both_do_not_run(database: DatabaseServer) -> None:
    for number in range(5):
        alone, node = a_place(database, ELSEWHERE), a_node(database, f"n{number}", at=ELSEWHERE)
        held, others = await asyncio.gather(alone.claim(), node.claim())
        assert held is not None or others
        await alone.release()
        await node.release()
