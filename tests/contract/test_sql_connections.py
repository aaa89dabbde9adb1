"""What the connections of one process have in common."""

from __future__ import annotations

from contextlib import closing

import pymysql
import pytest

from sockudo.push.stores.schema import push_tables
from sockudo.storage.engine import mysql_engine, postgres_engine
from support.databases import DatabaseServer


def test_certificates_are_read_once_for_all_connections(
    mariadb: DatabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would take longer than all else of connecting; a connection is encrypted like the driver's own."""
    engines = [mysql_engine(mariadb.mysql, pool_size=2, timeout_ms=1000) for _ in range(2)]
    with engines[0].connect() as first:
        context = first.connection.dbapi_connection.ctx  # type: ignore[union-attr]  # the driver's
    monkeypatch.setattr("ssl.create_default_context", lambda **_: pytest.fail("certificates were read again"))
    for engine in engines:
        with engine.connect() as one, engine.connect() as another:
            assert one.connection.dbapi_connection.ctx is context  # type: ignore[union-attr]
            assert another.connection.dbapi_connection.ctx is context  # type: ignore[union-attr]
        engine.dispose()
    monkeypatch.undo()
    of = mariadb.mysql
    with closing(pymysql.connect(host=of.host, port=of.port, user=of.username, password=of.password)) as usual:
        assert usual.ctx is not context
        assert (usual.ctx.verify_mode, usual.ctx.options) == (context.verify_mode, context.options)


def test_tables_of_a_prefix_are_described_once() -> None:
    assert push_tables("once") is push_tables("once")
    assert push_tables("twice").devices.name == "twice_devices"


@pytest.mark.parametrize("by_index", [True, False])
def test_short_statements_use_an_index_from_the_first_minute_on(postgres: DatabaseServer, by_index: bool) -> None:
    engine = postgres_engine(postgres.postgres, pool_size=1, timeout_ms=1000, by_index=by_index)
    with engine.connect() as connection:
        settings = [connection.exec_driver_sql(f"SHOW {name}").scalar() for name in ("enable_seqscan", "jit")]
    engine.dispose()
    assert (settings == ["off", "off"]) is by_index
