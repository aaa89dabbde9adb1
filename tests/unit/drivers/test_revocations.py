"""Revocations in a file: made when needed, closed to others, and honest about what is wrong with it. What every store
promises is in the contract suite.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sockudo import errors
from sockudo.auth.ports import Kind, Revocation
from sockudo.drivers.revocations import RevocationFile
from sockudo.drivers.sql.revocations import sqlite_revocations
from sockudo.errors import SockudoError

NOW = 1_790_000_000.25
FILE_NAME = "revocations.sqlite3"


def revocation(kind: Kind = "jti", value: str = "t-1", *, app_id: str = "a", seconds: float = 600) -> Revocation:
    return Revocation(app_id, kind, value, NOW + seconds)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[RevocationFile]:
    store = RevocationFile(tmp_path / FILE_NAME)
    yield store
    await store.stop()


async def in_force(store: RevocationFile) -> list[Revocation]:
    _, found = await store.changes(None, NOW)
    return list(found)


async def unavailable(store: RevocationFile) -> str:
    """What every method says, which is the same."""
    texts = set()
    for call in (store.start(), store.changes(None, NOW), store.record([revocation()], NOW)):
        with pytest.raises(SockudoError) as caught:
            await call
        assert caught.value.spec is errors.SERVICE_UNAVAILABLE
        texts.add(caught.value.text)
    [text] = texts
    return text


async def test_a_new_folder_holds_nothing(tmp_path: Path) -> None:
    assert await in_force(RevocationFile(tmp_path / "new" / "data" / FILE_NAME)) == []
    assert not (tmp_path / "new").exists(), "looking makes no file"


async def test_many_at_once_lose_nothing(store: RevocationFile) -> None:
    kept = [revocation("jti", f"t-{number}") for number in range(40)]
    await asyncio.gather(*(store.record([one], NOW) for one in kept))
    assert set(await in_force(store)) == set(kept)


async def test_folder_and_file_are_for_their_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = RevocationFile(tmp_path / "new" / "data" / FILE_NAME)
        await store.record([revocation()], NOW)
    finally:
        os.umask(before)
    assert store.path == tmp_path / "new" / "data" / FILE_NAME
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in store.path.parent.iterdir()}
    assert modes == {f"{FILE_NAME}{end}": 0o600 for end in ("", "-wal", "-shm")}
    await store.stop()
    assert [path.name for path in store.path.parent.iterdir()] == [FILE_NAME]


async def test_a_path_with_characters_that_mean_something_in_an_address(tmp_path: Path) -> None:
    store = RevocationFile(tmp_path / "50%?mode=memory#ä b" / FILE_NAME)
    await store.record([revocation()], NOW)
    assert store.path.stat().st_size > 0


async def test_a_file_of_a_newer_version_is_left_alone(store: RevocationFile) -> None:
    await store.record([revocation()], NOW)
    await store.stop()
    with sqlite3.connect(store.path) as other:
        other.execute("INSERT INTO revocation_migrations VALUES (99)")
    assert "newer version of sockudo" in await unavailable(store)


async def test_a_file_that_is_no_database(store: RevocationFile) -> None:
    store.path.write_bytes(b"this is not a database, but it is long enough to look like one\n" * 50)
    assert await unavailable(store) == "The revocation store does not answer: its file is not an SQLite database"


async def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    assert await unavailable(RevocationFile(tmp_path / "data" / FILE_NAME)) == (
        "The revocation store's file cannot be used: file exists"
    )


async def test_a_file_that_another_process_keeps_locked(store: RevocationFile) -> None:
    await store.record([revocation()], NOW)
    impatient = sqlite_revocations(store.path, timeout_ms=50)
    await impatient.start()
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(SockudoError) as caught:
        await impatient.record([revocation("jti", "t-2")], NOW)
    assert caught.value.text == "The revocation store does not answer: it is locked by another process"
    assert await in_force(store) == [revocation()]
    other.execute("ROLLBACK")
    other.close()
    await impatient.record([revocation("jti", "t-2")], NOW)
    assert set(await in_force(store)) == {revocation(), revocation("jti", "t-2")}
    await impatient.stop()


async def test_a_file_that_was_removed_is_made_again(store: RevocationFile) -> None:
    await store.record([revocation()], NOW)
    for path in store.path.parent.iterdir():
        path.unlink()
    assert await in_force(store) == []
    await store.record([revocation("jti", "t-2")], NOW)
    assert await in_force(store) == [revocation("jti", "t-2")]
