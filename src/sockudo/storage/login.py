"""Whether a database server lets the configured user in and write, and whether nodes read what it keeps for them."""

from __future__ import annotations

from sqlalchemy import Connection, delete, false, inspect, table
from sqlalchemy.exc import DBAPIError

from sockudo.config.sections.databases import SqlDatabase
from sockudo.storage.engine import postgres_engine, server_engine
from sockudo.storage.failures import reason_of

__all__ = ["notifications_unread", "try_login"]


def try_login(server: SqlDatabase, timeout_ms: int) -> str | None:
    """Logs in, asks for one row and tries a write; says why that fails, without the password, None when it does not.

    The write deletes no row of a table of ours, where there is one, and is rolled back.

    Waits, so it belongs in a thread; it ends after a few times ``timeout_ms`` at the latest. Raises ConfigError when
    the driver is not installed.
    """
    engine = server_engine(server, pool_size=1, timeout_ms=timeout_ms)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")
            _try_write(connection, server.table_name)
            connection.rollback()
    except DBAPIError as error:
        return reason_of(error)
    finally:
        engine.dispose()
    return None


def notifications_unread(server: SqlDatabase, timeout_ms: int) -> float | None:
    """The part of PostgreSQL's queue of notifications that is full; None where it does not answer.

    Waits and raises as `try_login` does.
    """
    engine = postgres_engine(server, pool_size=1, timeout_ms=timeout_ms)
    try:
        with engine.connect() as connection:
            used: float = connection.exec_driver_sql("SELECT pg_notification_queue_usage()").scalar_one()
            return used
    except DBAPIError:
        return None
    finally:
        engine.dispose()


def _try_write(connection: Connection, apps: str) -> None:
    """A server that may only be read refuses the statement for any rows."""
    names = inspect(connection).get_table_names()
    ours = next((name for name in sorted(names) if name == apps or name.startswith("sockudo_")), None)
    if ours is not None:
        connection.execute(delete(table(ours)).where(false()))
