"""The steps of a file: taken once, in order, all or none."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

from sockudo import errors
from sockudo.storage.engine import sqlite_engine
from sockudo.storage.failures import Subject
from sockudo.storage.migrations import TYPES, migrate, migrate_file

SUBJECT = Subject(errors.SERVICE_UNAVAILABLE, "test", "the thing", "its file", "this")
STEPS = (("CREATE TABLE things (name TEXT)", "INSERT INTO things VALUES ('first')"), ("CREATE TABLE more (x)",))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "things.sqlite3"
    path.touch()
    return path


@pytest.fixture
def engine(path: Path) -> Iterator[Engine]:
    engine = sqlite_engine(path, pool_size=1, timeout_ms=10, writing=True)
    yield engine
    engine.dispose()


def found(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def test_a_new_file_gets_every_step(engine: Engine, path: Path) -> None:
    migrate_file(engine, STEPS, SUBJECT)
    assert found(path, "PRAGMA user_version") == [(2,)]
    assert found(path, "SELECT name FROM things") == [("first",)]


def test_only_missing_steps_are_taken(engine: Engine, path: Path) -> None:
    migrate_file(engine, STEPS[:1], SUBJECT)
    migrate_file(engine, STEPS, SUBJECT)
    assert found(path, "SELECT count(*) FROM things") == [(1,)]
    assert found(path, "SELECT count(*) FROM more") == [(0,)]


def test_a_complete_file_is_read_while_another_process_writes(engine: Engine, path: Path) -> None:
    migrate_file(engine, STEPS, SUBJECT)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        migrate_file(engine, STEPS, SUBJECT)
        with pytest.raises(OperationalError, match="locked"):
            migrate_file(engine, (*STEPS, ("CREATE TABLE third (x)",)), SUBJECT)


def test_a_step_that_fails_undoes_all_of_them(engine: Engine, path: Path) -> None:
    with pytest.raises(OperationalError):
        migrate_file(engine, (*STEPS, ("this is not SQL",)), SUBJECT)
    assert found(path, "PRAGMA user_version") == [(0,)]
    assert found(path, "SELECT name FROM sqlite_schema") == []


def test_a_newer_file_is_refused(engine: Engine, path: Path) -> None:
    migrate_file(engine, STEPS, SUBJECT)
    with pytest.raises(errors.SockudoError, match=r"^The thing was written by a newer version of sockudo"):
        migrate_file(engine, STEPS[:1], SUBJECT)


def test_the_database_is_asked_for_its_tables_once_however_many_there_are(engine: Engine) -> None:
    """By a question for each name, the first opening of a store of forty tables took 5 ms."""
    asked: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: asked.append(arguments[2]))
    steps = [[f"CREATE TABLE {{t{number}}} (x BIGINT)" for number in range(40)]]
    migrate(engine, "mine", steps, TYPES["sqlite"], 1000, SUBJECT)
    assert len([statement for statement in asked if "CREATE" not in statement]) < 12


@pytest.mark.parametrize("emptied", [False, True], ids=["of another program", "without their number"])
def test_tables_of_unknown_origin_are_refused_by_name(engine: Engine, path: Path, emptied: bool) -> None:
    if emptied:
        migrate(engine, "mine", [["CREATE TABLE {things} (x BIGINT)"]], TYPES["sqlite"], 1000, SUBJECT)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM mine_migrations" if emptied else "CREATE TABLE mine_things (x)")
        connection.commit()
    with pytest.raises(errors.SockudoError, match="able 'mine_things'"):
        migrate(engine, "mine", [["CREATE TABLE {things} (x BIGINT)"]], TYPES["sqlite"], 1000, SUBJECT)
