"""What is made of the errors of real servers; `test_failures` has those that cannot be provoked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pymysql
import pytest
from msgspec import structs
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from sockudo import errors
from sockudo.config.sections.databases import Postgres
from sockudo.drivers.sql.history import SUBJECT
from sockudo.storage.engine import mysql_engine, postgres_engine
from sockudo.storage.failures import is_conflict, is_lost, refuse
from support.databases import PASSWORD, DatabaseServer
from support.waiting import wait_until


@pytest.fixture(params=["postgres", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[DatabaseServer]:
    """With a table of two rows."""
    server: DatabaseServer = request.getfixturevalue(request.param)
    server.execute(
        "DROP TABLE IF EXISTS failing",
        "CREATE TABLE failing (number INTEGER PRIMARY KEY, text VARCHAR(9))",
        "INSERT INTO failing VALUES (1, ''), (2, '')",
    )
    yield server
    server.execute("DROP TABLE failing")


def engine_of(server: DatabaseServer, pool_size: int = 1, timeout_ms: int = 5000, **changes: str) -> Engine:
    database = structs.replace(server.database, **changes)
    if isinstance(database, Postgres):
        return postgres_engine(database, pool_size=pool_size, timeout_ms=timeout_ms)
    return mysql_engine(database, pool_size=pool_size, timeout_ms=timeout_ms)


@pytest.fixture
def connection(server: DatabaseServer) -> Iterator[Connection]:
    """With limits of a second."""
    engine = engine_of(server, timeout_ms=1000)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def failure(connection: Connection, statement: str) -> DBAPIError:
    with pytest.raises(DBAPIError) as caught:
        connection.exec_driver_sql(statement)
    return caught.value


def reason(error: DBAPIError) -> str:
    with pytest.raises(errors.SockudoError) as refused:
        refuse(error, SUBJECT)
    assert refused.value.spec is errors.HISTORY_UNAVAILABLE
    return refused.value.text.removeprefix("The history store does not answer: ")


def lock(connection: Connection, number: int) -> None:
    connection.exec_driver_sql(f"UPDATE failing SET text = 'x' WHERE number = {number}")  # noqa: S608


def test_of_two_that_wait_for_each_other_one_has_a_conflict(server: DatabaseServer) -> None:
    problems: list[DBAPIError] = []

    def cross(first: int, second: int) -> None:
        with engine.connect() as connection:
            lock(connection, first)
            both.wait(10)
            try:
                lock(connection, second)
            except DBAPIError as error:
                problems.append(error)

    engine = engine_of(server, 2)
    both = threading.Barrier(2)
    threads = [threading.Thread(target=cross, args=numbers) for numbers in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    engine.dispose()
    [problem] = problems
    assert is_conflict(problem)
    assert not is_lost(problem)


def test_a_row_that_somebody_holds_for_too_long(server: DatabaseServer, connection: Connection) -> None:
    with server.transaction() as other:
        other.execute("SELECT * FROM failing FOR UPDATE")
        error = failure(connection, "UPDATE failing SET text = 'y'")
    assert reason(error) == "a statement took too long"
    assert not is_conflict(error)
    assert not is_lost(error)


def test_a_connection_that_the_server_ended(server: DatabaseServer, connection: Connection) -> None:
    pid = "pg_backend_pid()" if isinstance(server.database, Postgres) else "connection_id()"
    number = connection.exec_driver_sql(f"SELECT {pid}").scalar_one()
    end = f"SELECT pg_terminate_backend({number})" if isinstance(server.database, Postgres) else f"KILL {number}"
    server.execute(end)
    error = failure(connection, "SELECT 1")
    assert is_lost(error)
    assert not is_conflict(error)
    assert reason(error) == "the connection was lost"


def test_a_database_that_may_only_be_read(server: DatabaseServer, connection: Connection) -> None:
    read_only = "SET SESSION CHARACTERISTICS AS" if isinstance(server.database, Postgres) else "SET SESSION"
    connection.exec_driver_sql(f"{read_only} TRANSACTION READ ONLY")
    connection.commit()
    error = failure(connection, "DELETE FROM failing")
    assert reason(error) == "it may only be read"
    assert not is_conflict(error)


def test_no_room_for_more_connections(server: DatabaseServer) -> None:
    if isinstance(server.database, Postgres):
        server.execute(f"CREATE ROLE crowd LOGIN CONNECTION LIMIT 2 PASSWORD '{PASSWORD}'")
        engine, undo = engine_of(server, 20, username="crowd"), "DROP ROLE crowd"
    else:
        [(limit,)] = server.execute("SELECT @@max_connections")
        server.execute("SET GLOBAL max_connections = 10")
        engine, undo = engine_of(server, 20), f"SET GLOBAL max_connections = {limit}"
    try:
        with ExitStack() as connections, pytest.raises(DBAPIError) as caught:
            all(connections.enter_context(engine.connect()) for _ in range(20))
        assert reason(caught.value) == "it has too many connections"
    finally:
        engine.dispose()
        wait_until(lambda: _can(server, undo), "the connections to be gone")


def _can(server: DatabaseServer, statement: str) -> bool:
    try:
        server.execute(statement)
    except (psycopg.Error, pymysql.Error):
        return False
    return True


def test_a_table_that_is_full(mariadb: DatabaseServer) -> None:
    engine = engine_of(mariadb)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("SET SESSION max_heap_table_size = 16384")
            connection.exec_driver_sql("CREATE TEMPORARY TABLE tiny (text CHAR(250)) ENGINE = MEMORY")
            error = failure(connection, "INSERT INTO tiny SELECT 'x' FROM seq_1_to_100000")
        assert reason(error) == "its disk is full"
    finally:
        engine.dispose()


def test_a_user_who_may_not_do_this(postgres: DatabaseServer) -> None:
    postgres.execute(f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'", "CREATE TABLE own (a INTEGER)")
    engine = engine_of(postgres, username="guest")
    try:
        with engine.connect() as connection:
            error = failure(connection, "INSERT INTO own VALUES (1)")
        assert reason(error) == "it does not let the configured user do this"
    finally:
        engine.dispose()
        postgres.execute("DROP TABLE own", "DROP ROLE guest")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"password": "wrong"}, "it does not accept the configured user or password"),
        ({"username": "nobody"}, "it does not accept the configured user or password"),
        ({"database": "nothing"}, "the configured database does not exist"),
    ],
)
def test_a_configuration_that_does_not_fit(server: DatabaseServer, changes: dict[str, str], expected: str) -> None:
    engine = engine_of(server, **changes)
    with pytest.raises(DBAPIError) as caught:
        engine.connect()
    assert reason(caught.value) == expected
    engine.dispose()
