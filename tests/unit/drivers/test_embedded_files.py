"""All files of a data folder are taken as they were at one moment, and put back whole or not at all."""

from __future__ import annotations

import re
import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest

import sockudo
from sockudo.drivers.embedded_files import EMBEDDED_FILES, BackupError, EmbeddedFile, back_up, put_back

NOW = 1_796_221_214.0
PREFIX = "sockudo_history"


def quiet(_file: EmbeddedFile, _done: int, _total: int) -> None:
    pass


def database(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for statement in statements:
            connection.execute(statement)


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a history of two streams, apps and a password."""
    folder = tmp_path / "data"
    folder.mkdir()
    database(
        folder / "history.sqlite3",
        f"CREATE TABLE {PREFIX}_streams (channel TEXT, stream_id TEXT)",
        "INSERT INTO sockudo_history_streams VALUES ('a', 'first'), ('b', 'second')",
    )
    database(folder / "apps.sqlite3", "CREATE TABLE applications (id TEXT)", "INSERT INTO applications VALUES ('shop')")
    (folder / "dashboard-password").write_text("hash")
    return folder


def test_the_list_names_every_file_of_every_store() -> None:
    source = Path(sockudo.__file__).parent
    named = re.compile(r'FILE_NAME: Final = "([^"]+)"|data_dir\) / "([^"]+)"')
    found = {name for path in source.rglob("*.py") for pair in named.findall(path.read_text()) for name in pair if name}
    assert found == {file.name for file in EMBEDDED_FILES} | {"server.lock"}


def test_what_is_taken_is_put_back(data: Path, tmp_path: Path) -> None:
    told: list[tuple[str, bool]] = []
    files = back_up(data, tmp_path / "copy", lambda file, done, total: told.append((file.name, done == total)))
    assert [file.name for file in files] == ["apps.sqlite3", "history.sqlite3", "dashboard-password"]
    assert {name for name, complete in told if complete} == {file.name for file in files}
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == sorted(file.name for file in files)
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "copy").iterdir()} == {0o600}

    database(data / "apps.sqlite3", "INSERT INTO applications VALUES ('later')")
    database(data / "webhooks.sqlite3", "CREATE TABLE later (x)")
    (data / "dashboard-password").write_text("another")
    replaced = put_back(tmp_path / "copy", data, PREFIX, NOW, quiet)
    assert replaced == data / "replaced-20261202T142014Z"
    assert rows(data / "apps.sqlite3", "SELECT id FROM applications") == [("shop",)]
    assert (data / "dashboard-password").read_text() == "hash"
    assert not (data / "webhooks.sqlite3").exists()
    assert rows(replaced / "apps.sqlite3", "SELECT id FROM applications") == [("shop",), ("later",)]
    assert (replaced / "webhooks.sqlite3").exists()


def test_streams_have_new_ids_after_a_restore(data: Path, tmp_path: Path) -> None:
    back_up(data, tmp_path / "copy", quiet)
    put_back(tmp_path / "copy", tmp_path / "new", PREFIX, NOW, quiet)
    query = f"SELECT channel, stream_id FROM {PREFIX}_streams ORDER BY channel"  # noqa: S608 - a constant
    restored = rows(tmp_path / "new" / "history.sqlite3", query)
    assert [channel for channel, _ in restored] == ["a", "b"]
    assert len({stream for _, stream in restored} - {"first", "second"}) == 2
    assert rows(data / "history.sqlite3", query) == [("a", "first"), ("b", "second")]


def test_a_file_that_is_written_to_all_the_time_is_copied_as_it_was_at_one_moment(data: Path, tmp_path: Path) -> None:
    path = data / "webhooks.sqlite3"
    database(path, "CREATE TABLE pairs (number INTEGER, filler BLOB)", "CREATE TABLE twins (number INTEGER)")
    with closing(sqlite3.connect(path)) as connection:
        connection.executemany("INSERT INTO pairs VALUES (?, randomblob(4000))", [(number,) for number in range(5000)])
        connection.executemany("INSERT INTO twins VALUES (?)", [(number,) for number in range(5000)])
        connection.commit()
    ended = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            number = 5000
            while not ended.is_set():
                connection.execute("INSERT INTO pairs VALUES (?, randomblob(4000))", (number,))
                connection.execute("INSERT INTO twins VALUES (?)", (number,))
                connection.commit()
                number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        back_up(data, tmp_path / "copy", quiet)
    finally:
        ended.set()
        writer.join()
    copied = rows(tmp_path / "copy" / "webhooks.sqlite3", "SELECT (SELECT count(*) FROM pairs), count(*) FROM twins")
    assert copied[0][0] == copied[0][1]
    assert rows(tmp_path / "copy" / "webhooks.sqlite3", "PRAGMA integrity_check") == [("ok",)]


def test_a_backup_that_cannot_be_used_changes_nothing(data: Path, tmp_path: Path) -> None:
    back_up(data, tmp_path / "copy", quiet)
    (tmp_path / "copy" / "apps.sqlite3").write_bytes(b"SQLite format 3\0" + b"x" * 9000)
    with pytest.raises(BackupError, match=r"apps\.sqlite3 cannot be used"):
        put_back(tmp_path / "copy", data, PREFIX, NOW, quiet)
    assert rows(data / "apps.sqlite3", "SELECT id FROM applications") == [("shop",)]
    assert not list(data.glob("replaced-*"))


def test_a_backup_that_ended_half_way_is_none(data: Path, tmp_path: Path) -> None:
    def fail(_file: EmbeddedFile, _done: int, _total: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        back_up(data, tmp_path / "copy", fail)
    assert not (tmp_path / "copy").exists()
    back_up(data, tmp_path / "copy", quiet)
    with pytest.raises(BackupError, match="exists already"):
        back_up(data, tmp_path / "copy", quiet)
    with pytest.raises(BackupError, match="nothing to back up"):
        back_up(tmp_path / "empty", tmp_path / "another", quiet)
    with pytest.raises(BackupError, match="no file of a backup"):
        put_back(tmp_path / "empty", data, PREFIX, NOW, quiet)
