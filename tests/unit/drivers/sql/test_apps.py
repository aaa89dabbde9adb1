"""The SQLite file: shared by processes, closed to others, and honest about what is wrong with it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from sockudo import errors
from sockudo.config.apps import App
from sockudo.drivers.selection import FILE_NAME
from sockudo.drivers.sql.apps import SqlAppStore, sqlite_apps
from sockudo.drivers.sql.apps_file import STEPS
from support.forked import ForkedProcess

NOBODY = 65534


def an_app(app_id: str = "shop", **fields: object) -> App:
    values: dict[str, object] = {"id": app_id, "key": f"k-{app_id}", "secret": f"s-{app_id}", "enabled": True, **fields}
    return App(**values)  # type: ignore[arg-type]


def path_of(store: SqlAppStore) -> Path:
    assert store.file is not None
    return store.file


async def refusal(store: SqlAppStore) -> errors.SockudoError:
    with pytest.raises(errors.SockudoError) as caught:
        await store.start()
    assert caught.value.spec is errors.SERVICE_UNAVAILABLE
    return caught.value


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlAppStore]:
    store = sqlite_apps(tmp_path / FILE_NAME)
    await store.start()
    yield store
    await store.stop()


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder that the test may read and not write, whoever runs it."""
    folder = Path(tempfile.mkdtemp(prefix="sockudo-"))
    folder.chmod(0o555)
    owner = os.geteuid()
    if owner == 0:
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        os.seteuid(owner)
        folder.chmod(0o755)
        shutil.rmtree(folder)


# ---- the file ----


async def test_a_file_of_the_version_before_is_carried_over(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE_NAME) as before:
        for statement in STEPS[0]:
            before.execute(statement)
        before.execute("INSERT INTO applications (id, \"key\", secret) VALUES ('shop', 'k-shop', 's-shop')")
        before.execute("PRAGMA user_version = 1")
    before.close()
    store = sqlite_apps(tmp_path / FILE_NAME)
    await store.start()
    assert list(await store.all()) == [an_app()]
    assert await store.origins() == {"shop": None}
    await store.change("shop", lambda _: an_app(secret="rotated"))
    assert await store.origins() == {"shop": None}
    await store.stop()


async def test_folder_and_file_are_for_their_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = sqlite_apps(tmp_path / "new" / "data" / FILE_NAME)
        await store.start()
        await store.save(an_app())
    finally:
        os.umask(before)
    assert path_of(store) == tmp_path / "new" / "data" / FILE_NAME
    assert stat.S_IMODE(path_of(store).parent.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in path_of(store).parent.iterdir()}
    assert modes.keys() == {FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm"}
    assert set(modes.values()) == {0o600}
    await store.stop()
    assert [path.name for path in path_of(store).parent.iterdir()] == [FILE_NAME]


async def test_a_path_with_characters_that_mean_something_in_an_address(tmp_path: Path) -> None:
    store = sqlite_apps(tmp_path / "50%?mode=memory#ä b" / FILE_NAME)
    await store.start()
    await store.save(an_app())
    await store.stop()
    assert path_of(store).stat().st_size > 0


async def test_apps_outlast_the_store(tmp_path: Path) -> None:
    first = sqlite_apps(tmp_path / FILE_NAME)
    await first.start()
    await first.save(an_app())
    revision = await first.revision()
    await first.stop()
    second = sqlite_apps(tmp_path / FILE_NAME)
    await second.start()
    assert list(await second.all()) == [an_app()]
    assert await second.revision() == revision
    await second.stop()


async def test_a_stopped_store_starts_again(store: SqlAppStore) -> None:
    await store.save(an_app())
    await store.stop()
    with pytest.raises(errors.SockudoError, match="not open"):
        await store.all()
    await store.start()
    assert list(await store.all()) == [an_app()]


async def test_starting_twice_does_no_harm(store: SqlAppStore) -> None:
    await store.start()
    assert list(await store.all()) == []


async def test_times_are_kept(store: SqlAppStore) -> None:
    await store.save(an_app())
    with sqlite3.connect(path_of(store)) as other:
        other.execute("UPDATE applications SET created_at = '2020-01-01', updated_at = '2020-01-01'")
    other.close()
    await store.save(an_app(enabled=False))
    with sqlite3.connect(path_of(store)) as other:
        query = "SELECT created_at, updated_at > '2020-01-02' FROM applications WHERE id = 'shop'"
        row = other.execute(query).fetchone()
    other.close()
    assert row == ("2020-01-01", 1)


# ---- several writers ----


async def test_two_stores_see_each_other(store: SqlAppStore, tmp_path: Path) -> None:
    other = sqlite_apps(tmp_path / FILE_NAME)
    await other.start()
    try:
        before = await store.revision()
        await other.save(an_app())
        assert await store.revision() > before
        assert list(await store.all()) == [an_app()]
        await store.remove("shop")
        assert list(await other.all()) == []
    finally:
        await other.stop()


WRITER = """
import asyncio, sys
from pathlib import Path
from sockudo.config.apps import App
from sockudo.drivers.sql.apps import sqlite_apps

async def main() -> None:
    store = sqlite_apps(Path(sys.argv[1]) / "apps.sqlite3")
    await store.start()
    await store.save(App(sys.argv[2], "k-" + sys.argv[2], "s", True))
    def count(app: App | None) -> App:
        return App("count", "k-count", str(int(app.secret) + 1) if app else "1", True)
    for _ in range(25):
        await store.change("count", count)
    await store.stop()

asyncio.run(main())
"""


async def test_processes_that_start_and_write_at_once_lose_nothing(tmp_path: Path) -> None:
    """Four processes make the file together and each add an app and count to 25: four apps, and a hundred."""
    program, folder = tmp_path / "writer.py", tmp_path / "data"
    program.write_text(WRITER)
    with ExitStack() as stack:
        writers = [
            stack.enter_context(ForkedProcess([str(folder), name], program=program, stderr=subprocess.PIPE))
            for name in "abcd"
        ]
        for writer in writers:
            assert writer.stderr is not None
            problems = writer.stderr.read()
            assert (writer.wait(60), problems) == (0, "")
    store = sqlite_apps(folder / FILE_NAME)
    await store.start()
    apps = {app.id: app for app in await store.all()}
    await store.stop()
    assert set(apps) == {"a", "b", "c", "d", "count"}
    assert apps["count"].secret == "100"


async def test_a_change_with_the_sqlite_shell_counts(store: SqlAppStore) -> None:
    before = await store.revision()
    with sqlite3.connect(path_of(store)) as shell:
        shell.execute("INSERT INTO applications (id, \"key\", secret) VALUES ('x', 'k-x', 's-x')")
    shell.close()
    assert await store.revision() > before
    assert list(await store.all()) == [App("x", "k-x", "s-x", enabled=True)]


async def test_a_reader_is_not_held_up_by_a_writer_and_a_second_writer_says_why(
    store: SqlAppStore, tmp_path: Path
) -> None:
    await store.save(an_app())
    blocker = sqlite3.connect(path_of(store), isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    impatient = sqlite_apps(tmp_path / FILE_NAME, timeout_ms=10)
    await impatient.start()
    try:
        assert list(await impatient.all()) == [an_app()]
        with pytest.raises(errors.SockudoError, match="it is locked by another process") as caught:
            await impatient.save(an_app("b"))
        assert caught.value.spec is errors.SERVICE_UNAVAILABLE
        blocker.execute("ROLLBACK")
        await impatient.save(an_app("b"))
    finally:
        blocker.close()
        await impatient.stop()


# ---- what may be wrong with it ----


@pytest.mark.parametrize("content", [b"no database, whatever its name says\n" * 100, b"SQLite format 3\0" * 300])
async def test_a_file_that_is_no_database(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    error = await refusal(sqlite_apps(tmp_path / FILE_NAME))
    assert error.text == "The app store does not answer: its file is not an SQLite database"
    assert isinstance(error.__cause__, DBAPIError)
    assert (tmp_path / FILE_NAME).read_bytes() == content


async def test_a_damaged_file(tmp_path: Path) -> None:
    store = sqlite_apps(tmp_path / FILE_NAME)
    await store.start()
    for number in range(50):
        await store.save(an_app(str(number)))
    await store.stop()
    content = bytearray(path_of(store).read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path_of(store).write_bytes(content)
    await store.start()
    with pytest.raises(errors.SockudoError) as caught:
        await store.all()
    await store.stop()
    assert caught.value.spec is errors.SERVICE_UNAVAILABLE
    assert caught.value.text == "The app store does not answer: its file is damaged"


async def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE_NAME) as newer:
        newer.execute("CREATE TABLE tomorrow (x)")
        newer.execute(f"PRAGMA user_version = {len(STEPS) + 3}")
    newer.close()
    error = await refusal(sqlite_apps(tmp_path / FILE_NAME))
    assert f"its schema is {len(STEPS) + 3}, this version knows {len(STEPS)}" in error.text
    with sqlite3.connect(tmp_path / FILE_NAME) as newer:
        assert newer.execute("SELECT name FROM sqlite_schema").fetchall() == [("tomorrow",)]
    newer.close()


async def test_a_folder_that_may_not_be_written(unprivileged: Path) -> None:
    error = await refusal(sqlite_apps(unprivileged / FILE_NAME))
    assert error.text == "The app store's file cannot be used: permission denied"
    error = await refusal(sqlite_apps(unprivileged / "below" / FILE_NAME))
    assert error.text == "The app store's file cannot be used: permission denied"


async def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    error = await refusal(sqlite_apps(tmp_path / "data" / FILE_NAME))
    assert error.text.startswith("The app store's file cannot be used: ")
    assert str(tmp_path) not in error.text


async def test_a_file_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    assert (
        await refusal(sqlite_apps(tmp_path / FILE_NAME))
    ).text == "The app store's file cannot be used: is a directory"


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("[]", "policy is not an object"),
        ('{"limits": {"max_connections": -1}}', "policy.limits.max_connections"),
        ('{"tomorrow": true}', "tomorrow"),
    ],
)
async def test_a_record_that_cannot_be_read_is_named(store: SqlAppStore, policy: str, words: str) -> None:
    await store.save(an_app("fine"))
    await store.save(an_app("odd", secret="s3cr3t-value"))
    with sqlite3.connect(path_of(store)) as shell:
        shell.execute("UPDATE applications SET policy = ? WHERE id = 'odd'", (policy,))
    shell.close()
    with pytest.raises(errors.SockudoError) as caught:
        await store.all()
    assert caught.value.spec is errors.SERVICE_UNAVAILABLE
    assert caught.value.text.startswith("The record of app 'odd' cannot be read: ")
    assert words in caught.value.text
    assert "s3cr3t-value" not in caught.value.text
    assert await store.remove("odd") is True
    assert list(await store.all()) == [an_app("fine")]


async def test_a_file_that_is_gone_is_no_empty_store(store: SqlAppStore, tmp_path: Path) -> None:
    """`rm apps.sqlite3` under a running server, then a backup in its place.

    Taken for a store without apps, the first would close every connection; and SQLite would play the log of the old
    file into the backup, had anything been left in it.
    """
    await store.save(an_app())
    backup = tmp_path / "backup"
    with sqlite3.connect(path_of(store)) as source, sqlite3.connect(backup) as target:
        source.backup(target)
    source.close()
    target.close()
    before = await store.revision()
    await store.save(an_app("later"))

    path_of(store).unlink()
    with pytest.raises(errors.SockudoError) as caught:
        await store.revision()
    assert caught.value.spec is errors.SERVICE_UNAVAILABLE
    assert caught.value.text == "The app store does not answer: its file cannot be opened"
    assert not path_of(store).exists()

    backup.rename(path_of(store))
    assert list(await store.all()) == [an_app()]
    assert await store.revision() == before


async def test_a_copy_of_the_main_file_alone_is_complete(store: SqlAppStore, tmp_path: Path) -> None:
    await store.save(an_app())
    (tmp_path / "copy").mkdir()
    shutil.copy(path_of(store), tmp_path / "copy")
    copy = sqlite_apps(tmp_path / "copy" / FILE_NAME)
    await copy.start()
    assert list(await copy.all()) == [an_app()]
    await copy.stop()


async def test_secrets_are_not_in_texts(store: SqlAppStore) -> None:
    await store.save(an_app("a", key="same"))
    with pytest.raises(errors.SockudoError) as caught:
        await store.save(an_app("b", key="same", secret="s3cr3t-value"))
    assert "s3cr3t-value" not in f"{caught.value.text}{caught.value.__cause__!r}"
