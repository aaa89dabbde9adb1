"""Whether a database server lets the configured user in."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError

from sockudo.config.sections import Postgres, SqlDatabase
from sockudo.stores.sql.engine import mysql_engine, postgres_engine
from sockudo.stores.sql.failures import reason_of

__all__ = ["try_login"]


def try_login(server: SqlDatabase, timeout_ms: int) -> str | None:
    """Logs in and asks for one row; says why that fails, with nothing of the password in it, None when it does not.

    Waits, so it belongs in a thread; it ends after a few times ``timeout_ms`` at the latest. Raises ConfigError when
    the driver is not installed.
    """
    make = postgres_engine if isinstance(server, Postgres) else mysql_engine
    engine = make(server, pool_size=1, timeout_ms=timeout_ms)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")
    except DBAPIError as error:
        return reason_of(error)
    finally:
        engine.dispose()
    return None
