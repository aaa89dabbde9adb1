"""The table of apps in a file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from sockudo.drivers.sql.apps_file import STEPS


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for step in STEPS:
        for statement in step:
            connection.execute(statement)
    yield connection
    connection.close()


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
    insert = 'INSERT INTO applications (id, "key", secret, enabled, policy) VALUES (?, ?, ?, ?, ?)'
    connection.execute(insert, ("x", "taken", "s", 1, "{}"))
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(insert, values)


def test_a_file_made_anew_does_not_repeat_revisions(connection: sqlite3.Connection) -> None:
    (first,) = connection.execute("SELECT number FROM revision").fetchone()
    assert first > 1_700_000_000_000
