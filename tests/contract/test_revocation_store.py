"""What every `RevocationStore` promises, in a file and on the servers that keep apps."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from msgspec import structs

from contract.app_tables import app_settings, new_table
from sockudo import errors
from sockudo.auth.ports import Kind, Revocation, RevocationStore
from sockudo.config import Settings
from sockudo.config.schema import build
from sockudo.drivers.selection import REVOCATIONS_FILE_NAME, revocation_store
from sockudo.errors import SockudoError
from support.databases import DatabaseServer

NOW = 1_790_000_000.25
EARLIER = Path(__file__).parent / "data" / "revocations.sql"
"""A file of the version that kept them in a table of its own, as it was made and changed there."""

Open = Callable[[], RevocationStore]
"""A store on the same place every time, not started."""


def revocation(kind: Kind = "jti", value: str = "t-1", *, app_id: str = "a", seconds: float = 600) -> Revocation:
    return Revocation(app_id, kind, value, NOW + seconds)


CARRIED = {
    revocation(seconds=900),
    Revocation("a", "client_id", "ü\n'", 1790000600.373456),
    revocation(app_id="b", seconds=60),
}


@pytest.fixture(params=["file", "postgres", "mariadb"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    if request.param == "file":
        settings = build({"data_dir": str(tmp_path), "app_manager.driver": "sqlite"})
        return lambda: revocation_store(settings)
    server: DatabaseServer = request.getfixturevalue(request.param)
    for (table,) in server.execute("SELECT table_name FROM information_schema.tables"):
        if table in ("revocation_entries", "revocation_revision", "revocation_migrations"):
            server.execute(f"DROP TABLE {table}")
    settings = of_server(server, tmp_path)
    return lambda: revocation_store(settings)


def of_server(server: DatabaseServer, data_dir: Path) -> Settings:
    return structs.replace(app_settings(server, new_table()), data_dir=str(data_dir))


@pytest.fixture
async def store(opened: Open) -> AsyncIterator[RevocationStore]:
    async with started(opened) as store:
        yield store


@asynccontextmanager
async def started(make: Open) -> AsyncIterator[RevocationStore]:
    store = make()
    await store.start()
    try:
        yield store
    finally:
        await store.stop()


async def in_force(store: RevocationStore, now: float = NOW) -> list[Revocation]:
    _, found = await store.changes(None, now)
    return list(found)


async def test_a_new_store_is_empty(store: RevocationStore) -> None:
    assert await in_force(store) == []


async def test_what_was_kept_is_there_for_the_next_process(opened: Open, store: RevocationStore) -> None:
    kept = [revocation(), revocation("client_id", "ü\n'" + "x" * 2000), revocation(app_id="ä" * 300), revocation()]
    kept.append(Revocation("b", "jti", "t-1", NOW + 600.1234567))
    await store.record(kept, NOW)
    await store.stop()
    async with started(opened) as again:
        assert set(await in_force(again)) == set(kept)
        assert len(await in_force(again)) == 4


async def test_nothing_to_record_is_nothing(store: RevocationStore) -> None:
    await store.record([], NOW)
    assert await in_force(store) == []


async def test_names_that_differ_little_are_different(store: RevocationStore) -> None:
    kept = {revocation("jti", value, app_id=app) for value in ("t", "T", "t ", "ü", "u") for app in ("a", "A")}
    kept |= {revocation("client_id", "t")}
    await store.record(list(kept), NOW)
    assert set(await in_force(store)) == kept


async def test_those_that_have_ended_are_not_read(store: RevocationStore) -> None:
    await store.record([revocation(seconds=5), revocation("jti", "t-2", seconds=50)], NOW)
    assert await in_force(store, NOW + 5) == [revocation("jti", "t-2", seconds=50)]
    await store.record([revocation("jti", "t-3")], NOW + 5)
    # They are gone then, also for one whose clock is behind.
    assert {each.value for each in await in_force(store)} == {"t-2", "t-3"}


async def test_the_longer_one_counts(store: RevocationStore) -> None:
    for seconds in (600, 5, 700, 60):
        await store.record([revocation(seconds=seconds)], NOW)
    await store.record([revocation(seconds=8), revocation(seconds=800), revocation(seconds=80)], NOW)
    assert await in_force(store) == [revocation(seconds=800)]


async def test_all_or_none(store: RevocationStore) -> None:
    await store.record([revocation()], NOW)
    wrong = Revocation("a", "nonsense", "x", NOW + 9)  # type: ignore[arg-type]
    with pytest.raises(SockudoError) as caught:
        await store.record([revocation("jti", "t-2"), wrong], NOW)
    assert caught.value.spec is errors.SERVICE_UNAVAILABLE
    assert await in_force(store) == [revocation()]


async def test_a_thousand_at_once(store: RevocationStore) -> None:
    kept = [revocation("jti", f"t-{number}") for number in range(1100)]
    await store.record(kept[:700], NOW)
    await store.record(kept, NOW)
    assert sorted(each.value for each in await in_force(store)) == sorted(each.value for each in kept)


# ---- what another process records ----


async def test_the_revision_says_whether_there_is_news(opened: Open, store: RevocationStore) -> None:
    async with started(opened) as other:
        seen, found = await other.changes(None, NOW)
        assert (await other.changes(seen, NOW), found) == ((seen, ()), found)
        await store.record([revocation()], NOW)
        after, news = await other.changes(seen, NOW)
        assert after != seen
        assert list(news) == [revocation()]
        await store.record([revocation("jti", "t-2"), revocation("client_id", "u7")], NOW)
        last, news = await other.changes(after, NOW)
        assert set(news) == {revocation("jti", "t-2"), revocation("client_id", "u7")}
        await store.record([revocation(seconds=900)], NOW)
        _, news = await other.changes(last, NOW)
        assert list(news) == [revocation(seconds=900)]


async def test_a_revision_that_went_back_is_read_anew(store: RevocationStore) -> None:
    await store.record([revocation()], NOW)
    _, found = await store.changes(10_000, NOW)
    assert list(found) == [revocation()]


async def test_many_processes_at_once_lose_nothing(opened: Open) -> None:
    async with started(opened) as one, started(opened) as two, started(opened) as three:
        kept = [revocation("jti", f"t-{number}") for number in range(90)]
        seen: int | None = None
        heard: set[Revocation] = set()

        async def record(store: RevocationStore, some: list[Revocation]) -> None:
            for each in some:
                await store.record([each], NOW)

        async def listen() -> None:
            nonlocal seen
            while heard != set(kept):
                seen, news = await three.changes(seen, NOW)
                heard.update(news)
                await asyncio.sleep(0)

        async with asyncio.timeout(60):
            await asyncio.gather(record(one, kept[::3]), record(two, kept[1::3]), record(three, kept[2::3]), listen())


async def test_several_open_a_new_store_at_once(opened: Open) -> None:
    stores = [opened() for _ in range(3)]
    await asyncio.gather(*(store.start() for store in stores))
    await asyncio.gather(*(store.record([revocation("jti", f"{n}")], NOW) for n, store in enumerate(stores)))
    assert {each.value for each in await in_force(stores[0])} == {"0", "1", "2"}
    for store in stores:
        await store.stop()
        await store.stop()


# ---- what a version before has left ----


async def test_a_file_of_the_version_before_is_carried_over_once(opened: Open, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / REVOCATIONS_FILE_NAME)) as before:
        before.executescript(EARLIER.read_text(encoding="utf-8"))
    async with started(opened) as store:
        assert set(await in_force(store)) == CARRIED
        await store.record([revocation(seconds=1000)], NOW)
    async with started(opened) as again:
        assert set(await in_force(again)) == CARRIED - {revocation(seconds=900)} | {revocation(seconds=1000)}


async def test_a_file_goes_to_the_server_that_takes_its_place(
    tmp_path: Path, postgres: DatabaseServer, unique: str
) -> None:
    async with started(lambda: revocation_store(build({"data_dir": str(tmp_path)}))) as file:
        await file.record([revocation(value=unique)], NOW)
    settings = of_server(postgres, tmp_path)
    async with started(lambda: revocation_store(settings)) as store:
        assert revocation(value=unique) in await in_force(store)
    assert list(tmp_path.iterdir()) == []


# ---- servers that cannot be used ----


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
async def test_a_server_that_is_not_there(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    server: DatabaseServer = request.getfixturevalue(kind)
    away = DatabaseServer(structs.replace(server.database, port=1), server.pid)
    store = revocation_store(of_server(away, tmp_path))
    section = "database.postgres" if kind == "postgres" else "database.mysql"
    with pytest.raises(SockudoError) as caught:
        await store.start()
    assert caught.value.spec is errors.SERVICE_UNAVAILABLE
    assert caught.value.text.startswith("The revocation store at 127.0.0.1:1 does not answer: it cannot be reached")
    assert caught.value.text.endswith(f"may log in and that {section} says how to reach it.")
    await store.stop()


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
async def test_tables_of_a_newer_version_are_left_alone(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server: DatabaseServer = request.getfixturevalue(kind)
    settings = of_server(server, tmp_path)
    async with started(lambda: revocation_store(settings)):
        server.execute("INSERT INTO revocation_migrations VALUES (99)")
    try:
        with pytest.raises(SockudoError, match="were made by a newer version of sockudo"):
            await revocation_store(settings).start()
    finally:
        server.execute("DELETE FROM revocation_migrations WHERE number = 99")
