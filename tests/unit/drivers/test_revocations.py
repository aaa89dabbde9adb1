"""Revocations in a file: there after a restart, closed to others, and honest about what is wrong with it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from sockudo import errors
from sockudo.auth.ports import Kind, Revocation
from sockudo.drivers import revocations
from sockudo.drivers.revocations import FILE_NAME, RevocationFile
from sockudo.errors import SockudoError

NOW = 1_790_000_000.25


def revocation(kind: Kind = "jti", value: str = "t-1", *, app_id: str = "a", seconds: float = 600) -> Revocation:
    return Revocation(app_id, kind, value, NOW + seconds)


@pytest.fixture
def store(tmp_path: Path) -> RevocationFile:
    return RevocationFile(tmp_path)


async def unavailable(store: RevocationFile) -> str:
    """What both methods say, which is the same."""
    texts = set()
    for call in (store.in_force(NOW), store.record([revocation()], NOW)):
        with pytest.raises(SockudoError) as caught:
            await call
        assert caught.value.spec is errors.SERVICE_UNAVAILABLE
        texts.add(caught.value.text)
    [text] = texts
    return text


async def test_what_was_kept_is_there_for_the_next_process(store: RevocationFile) -> None:
    kept = [revocation(), revocation("client_id", "ü\n'"), revocation(app_id="b")]
    await store.record(kept, NOW)
    again = RevocationFile(str(store.path.parent))
    assert set(await again.in_force(NOW)) == set(kept)


async def test_a_file_of_the_version_before_is_carried_over(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as before, before:
        before.execute(
            "CREATE TABLE revocations (app_id TEXT NOT NULL, kind TEXT NOT NULL CHECK (kind IN ('jti', 'client_id')), "
            "value TEXT NOT NULL CHECK (value <> ''), until REAL NOT NULL, PRIMARY KEY (app_id, kind, value)) "
            "WITHOUT ROWID"
        )
        before.execute("CREATE INDEX revocations_until ON revocations (until)")
        before.execute("INSERT INTO revocations VALUES ('a', 'jti', 't-1', ?)", (NOW + 600,))
        before.execute("PRAGMA user_version = 1")
    store = RevocationFile(tmp_path)
    assert await store.in_force(NOW) == [revocation()]
    await store.record([revocation(seconds=900)], NOW)
    assert await store.in_force(NOW) == [revocation(seconds=900)]


async def test_a_new_folder_holds_nothing(tmp_path: Path) -> None:
    assert await RevocationFile(tmp_path / "new" / "data").in_force(NOW) == []
    assert not (tmp_path / "new").exists(), "looking makes no file"


async def test_those_that_have_ended_are_not_read_and_go_with_the_next_write(store: RevocationFile) -> None:
    await store.record([revocation(seconds=5), revocation("jti", "t-2", seconds=50)], NOW)
    assert await store.in_force(NOW + 5) == [revocation("jti", "t-2", seconds=50)]
    await store.record([revocation("jti", "t-3")], NOW + 5)
    with sqlite3.connect(store.path) as other:
        assert sorted(other.execute("SELECT value FROM revocations")) == [("t-2",), ("t-3",)]


async def test_the_longer_one_counts(store: RevocationFile) -> None:
    for seconds in (600, 5, 700, 60):
        await store.record([revocation(seconds=seconds)], NOW)
    assert await store.in_force(NOW) == [revocation(seconds=700)]


async def test_all_or_none(store: RevocationFile) -> None:
    await store.record([revocation()], NOW)
    wrong = Revocation("a", "nonsense", "x", NOW + 9)  # type: ignore[arg-type]
    with pytest.raises(SockudoError) as caught:
        await store.record([revocation("jti", "t-2"), wrong], NOW)
    assert caught.value.text == "The revocation store does not answer: it failed"
    assert await store.in_force(NOW) == [revocation()]


async def test_many_at_once_lose_nothing(store: RevocationFile) -> None:
    kept = [revocation("jti", f"t-{number}") for number in range(40)]
    await asyncio.gather(*(store.record([one], NOW) for one in kept))
    assert set(await store.in_force(NOW)) == set(kept)


async def test_folder_and_file_are_for_their_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = RevocationFile(tmp_path / "new" / "data")
        await store.record([revocation()], NOW)
    finally:
        os.umask(before)
    assert store.path == tmp_path / "new" / "data" / FILE_NAME
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in store.path.parent.iterdir()}
    assert modes == {FILE_NAME: 0o600}


async def test_a_path_with_characters_that_mean_something_in_an_address(tmp_path: Path) -> None:
    store = RevocationFile(tmp_path / "50%?mode=memory#ä b")
    await store.record([revocation()], NOW)
    assert store.path.stat().st_size > 0


async def test_a_file_of_a_newer_version_is_left_alone(store: RevocationFile) -> None:
    await store.record([revocation()], NOW)
    with sqlite3.connect(store.path) as other:
        other.execute("PRAGMA user_version = 2")
    assert "newer version of sockudo" in await unavailable(store)


async def test_a_file_that_is_no_database(store: RevocationFile) -> None:
    store.path.write_bytes(b"this is not a database, but it is long enough to look like one\n" * 50)
    assert await unavailable(store) == "The revocation store does not answer: its file is not an SQLite database"


async def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    assert await unavailable(RevocationFile(tmp_path / "data")) == (
        "The revocation store's file cannot be used: file exists"
    )


async def test_a_file_that_another_process_keeps_locked(store: RevocationFile, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.record([revocation()], NOW)
    monkeypatch.setattr(revocations, "_TIMEOUT_MS", 50)
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert await unavailable(store) == "The revocation store does not answer: it is locked by another process"
    other.execute("ROLLBACK")
    other.close()
    assert await store.in_force(NOW) == [revocation()]
