"""What is made of the errors of each driver: which are tried again, and what the reason is called."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import psycopg
import pymysql
import pytest
from sqlalchemy.exc import DBAPIError

from contract.history import an_append, serials
from sockudo import errors
from sockudo.config.sections.streams import HistorySqlite
from sockudo.drivers.sql import sqlite_history
from sockudo.drivers.sql.history import SUBJECT
from sockudo.storage.engine import sqlite_engine
from sockudo.storage.failures import is_conflict, is_lost, refuse
from sockudo.storage.sqlite_files import make_private_file


def wrapped(driver: Exception, *, lost: bool = False) -> DBAPIError:
    """As it comes out of SQLAlchemy."""
    base = {"sqlite3": sqlite3.Error, "psycopg": psycopg.Error, "pymysql": pymysql.err.Error}
    kind = base[type(driver).__module__.partition(".")[0]]
    error = DBAPIError.instance("INSERT", {}, driver, kind, connection_invalidated=lost)
    assert isinstance(error, DBAPIError)
    return error


def reason(error: DBAPIError) -> str:
    with pytest.raises(errors.SockudoError) as refused:
        refuse(error, SUBJECT)
    assert refused.value.spec is errors.HISTORY_UNAVAILABLE
    assert refused.value.retry_after == 1
    start = "The history store does not answer: "
    assert refused.value.text.startswith(start)
    return refused.value.text.removeprefix(start)


def from_mysql(number: int, state: str | None = "HY000") -> pymysql.err.OperationalError:
    error = pymysql.err.OperationalError(number, "secret words")
    error.sqlstate = state  # type: ignore[attr-defined]  # some versions of the driver set it
    return error


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1021, "its disk is full"),
        (1114, "its disk is full"),
        (1040, "it has too many connections"),
        (1203, "it has too many connections"),
        (1045, "it does not accept the configured user or password"),
        (1049, "the configured database does not exist"),
        (1142, "it does not let the configured user do this"),
        (1205, "a statement took too long"),
        (1969, "a statement took too long"),
        (3024, "a statement took too long"),
        (1290, "it may only be read"),
        (1792, "it may only be read"),
        (1836, "it may only be read"),
        (2003, "it cannot be reached, or refuses the connection"),
        (0, "it cannot be reached, or refuses the connection"),
    ],
)
@pytest.mark.parametrize("state", ["HY000", None])
def test_mysql_is_told_by_its_number(number: int, expected: str, state: str | None) -> None:
    error = wrapped(from_mysql(number, state))
    assert reason(error) == expected
    assert not is_conflict(error)
    assert not is_lost(error)


@pytest.mark.parametrize("state", ["40001", "HY000", None])
def test_a_deadlock_of_mysql_is_a_conflict(state: str | None) -> None:
    assert is_conflict(wrapped(from_mysql(1213, state)))


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("53100", "its disk is full"),
        ("53300", "it has too many connections"),
        ("25006", "it may only be read"),
        ("55P03", "a statement took too long"),
        ("57014", "a statement took too long"),
        ("42501", "it does not let the configured user do this"),
        ("28P01", "it does not accept the configured user or password"),
        ("3D000", "the configured database does not exist"),
        ("XX000", "it failed"),
    ],
)
def test_postgres_is_told_by_its_sqlstate(state: str, expected: str) -> None:
    error = wrapped(psycopg.errors.lookup(state)("secret words"))
    assert reason(error) == expected
    assert not is_conflict(error)


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_deadlocks_and_serialization_failures_of_postgres_are_conflicts(state: str) -> None:
    assert is_conflict(wrapped(psycopg.errors.lookup(state)("secret words")))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ('database "chats" does not exist', "the configured database does not exist"),
        ('role "chat" does not exist', "it does not accept the configured user or password"),
        ('password authentication failed for user "chat"', "it does not accept the configured user or password"),
        ('too many connections for database "chats"', "it has too many connections"),
        ("sorry, too many clients already", "it has too many connections"),
        ("remaining connection slots are reserved for roles with …", "it has too many connections"),
        ('permission denied for database "chats"', "it does not let the configured user do this"),
        ("the database system is starting up", "it cannot be reached, or refuses the connection"),
    ],
)
def test_why_postgres_refuses_a_connection_is_told_by_its_words(words: str, expected: str) -> None:
    where = 'connection failed: connection to server at "127.0.0.1", port 5432 failed: FATAL:  '
    assert reason(wrapped(psycopg.OperationalError(where + words))) == expected


def test_a_postgres_that_is_not_there() -> None:
    error = wrapped(psycopg.OperationalError('connection to server at "database "', "failed"))
    assert reason(error) == "it cannot be reached, or refuses the connection"


@pytest.mark.parametrize("driver", [from_mysql(2013), psycopg.errors.AdminShutdown("x"), psycopg.OperationalError("x")])
def test_a_lost_connection_is_called_that_whatever_its_number(driver: Exception) -> None:
    error = wrapped(driver, lost=True)
    assert is_lost(error)
    assert reason(error) == "the connection was lost"


@pytest.mark.parametrize("driver", [psycopg.DataError("x"), pymysql.err.DataError(1406, "x"), sqlite3.DataError("x")])
def test_what_the_database_cannot_hold_is_the_publishers_fault(driver: Exception) -> None:
    with pytest.raises(errors.SockudoError) as refused:
        refuse(wrapped(driver), SUBJECT)
    assert refused.value.spec is errors.INVALID_INPUT


def test_the_words_of_the_driver_are_in_no_refusal() -> None:
    for driver in (from_mysql(1205), psycopg.errors.DiskFull("secret words"), sqlite3.OperationalError("secret words")):
        assert "secret" not in reason(wrapped(driver))


# ---- SQLite, which is there to be broken ----


def broken(path: Path, *statements: str) -> DBAPIError:
    """The error of the last of the statements."""
    engine = sqlite_engine(path, pool_size=1, timeout_ms=50, writing=True)
    try:
        with engine.connect() as connection:
            for statement in statements[:-1]:
                connection.exec_driver_sql(statement)
            with pytest.raises(DBAPIError) as caught:
                connection.exec_driver_sql(statements[-1])
            return caught.value
    finally:
        engine.dispose()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "some.sqlite3"
    make_private_file(path)
    return path


def test_a_full_disk(file: Path) -> None:
    fill = "INSERT INTO t VALUES (zeroblob(10000000))"
    error = broken(file, "CREATE TABLE t (a)", "PRAGMA max_page_count = 10", fill)
    assert reason(error) == "its disk is full"


def test_a_file_that_may_only_be_read(file: Path) -> None:
    assert reason(broken(file, "PRAGMA query_only = on", "CREATE TABLE t (a)")) == "its file or folder is read-only"


def test_a_file_that_somebody_else_holds(file: Path) -> None:
    other = sqlite3.connect(file, isolation_level=None)
    engine = sqlite_engine(file, pool_size=1, timeout_ms=50, writing=True)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("CREATE TABLE t (a)")
            connection.commit()
        other.execute("BEGIN IMMEDIATE")
        with engine.connect() as connection, pytest.raises(DBAPIError) as caught:
            connection.exec_driver_sql("INSERT INTO t VALUES (1)")
        assert reason(caught.value) == "it is locked by another process"
        assert not is_conflict(caught.value)
    finally:
        engine.dispose()
        other.close()


async def test_a_file_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "history.sqlite3").write_bytes(b"no database at all" * 1000)
    store = sqlite_history(tmp_path, HistorySqlite("x", 1000, "full"))
    with pytest.raises(errors.SockudoError) as caught:
        await store.start()
    assert caught.value.text == "The history store does not answer: its file is not an SQLite database"


async def test_a_file_that_is_not_there_any_more(tmp_path: Path) -> None:
    store = sqlite_history(tmp_path, HistorySqlite("x", 1000, "full"))
    await store.start()
    try:
        await store.commit([an_append("1")])
        for path in tmp_path.glob("history.sqlite3*"):
            path.rename(tmp_path / f"away-{path.name}")
        with pytest.raises(errors.SockudoError) as caught:
            await store.commit([an_append("2")])
        assert caught.value.text == "The history store does not answer: its file cannot be opened"
        for path in tmp_path.glob("away-*"):
            path.rename(tmp_path / path.name.removeprefix("away-"))
        await store.commit([an_append("3")])
        assert serials(await store.read("app", "room", limit=10)) == [2, 1]
    finally:
        await store.close()
