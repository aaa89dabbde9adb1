"""The steps of the schema: taken once, in order, all or none."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from sockudo import errors
from sockudo.stores import sqlite_schema
from sockudo.stores.sqlite_schema import STEPS, migrate


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()


def version(connection: sqlite3.Connection) -> int:
    number: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return number


def test_a_new_file_gets_every_step(connection: sqlite3.Connection) -> None:
    migrate(connection)
    assert version(connection) == len(STEPS)
    assert connection.execute("SELECT count(*) FROM applications").fetchone() == (0,)
    assert not connection.in_transaction


def test_a_current_file_is_left_alone(connection: sqlite3.Connection) -> None:
    migrate(connection)
    changes = connection.total_changes
    migrate(connection)
    assert connection.total_changes == changes


def test_only_missing_steps_are_taken(connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate(connection)
    connection.execute("INSERT INTO applications (id, \"key\", secret) VALUES ('a', 'k', 's')")
    step = ("ALTER TABLE applications ADD COLUMN colour TEXT", "UPDATE applications SET colour = 'blue'")
    monkeypatch.setattr(sqlite_schema, "STEPS", (*STEPS, step))
    migrate(connection)
    assert version(connection) == len(STEPS) + 1
    assert connection.execute("SELECT id, colour FROM applications").fetchall() == [("a", "blue")]


def test_a_step_that_fails_undoes_all_of_them(connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_schema, "STEPS", (*STEPS, ("CREATE TABLE more (x)", "this is not SQL")))
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection)
    assert version(connection) == 0
    assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == []
    assert not connection.in_transaction


def test_a_newer_file_is_refused(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
    with pytest.raises(errors.SockudoError, match="newer version of sockudo") as caught:
        migrate(connection)
    assert caught.value.spec is errors.SERVICE_UNAVAILABLE
    assert not connection.in_transaction


@pytest.mark.parametrize(
    "values",
    [
        ("", "k", "s", 1, "{}"),
        ("a", "", "s", 1, "{}"),
        ("a", "k", "", 1, "{}"),
        ("a", "k", None, 1, "{}"),
        ("a", "k", "s", 2, "{}"),
        ("a", "k", "s", 1, "{"),
        ("b", "taken", "s", 1, "{}"),
    ],
)
def test_the_table_refuses_what_no_app_can_be(connection: sqlite3.Connection, values: tuple[object, ...]) -> None:
    migrate(connection)
    insert = 'INSERT INTO applications (id, "key", secret, enabled, policy) VALUES (?, ?, ?, ?, ?)'
    connection.execute(insert, ("x", "taken", "s", 1, "{}"))
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(insert, values)


def test_a_file_made_anew_does_not_repeat_revisions(connection: sqlite3.Connection) -> None:
    migrate(connection)
    (first,) = connection.execute("SELECT number FROM revision").fetchone()
    assert first > 1_700_000_000_000
