"""The table of apps in PostgreSQL and MariaDB: shared with others, and honest about what is wrong with it."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from msgspec import structs
from sqlalchemy.exc import ProgrammingError

from contract.app_tables import app_settings, new_table
from sockudo import errors
from sockudo.apps.ports import Origin
from sockudo.config.apps import App, Channels, Features, Limits, Policy
from sockudo.config.sections.databases import Postgres
from sockudo.drivers.selection import app_store
from sockudo.drivers.sql.apps import RAREST_SECONDS, SqlAppStore
from sockudo.drivers.sql.apps_schema import READ, prepare
from sockudo.storage.engine import mysql_engine, postgres_engine
from support.databases import DatabaseServer

FAST_MS = 500
SECRET = "s3cr3t-value"


def an_app(app_id: str = "shop", **fields: object) -> App:
    values: dict[str, object] = {"id": app_id, "key": f"k-{app_id}", "secret": f"s-{app_id}", "enabled": True, **fields}
    return App(**values)  # type: ignore[arg-type]


class Time:
    """A clock that goes on by ``step`` seconds whenever somebody looks at it."""

    now = 0.0
    step = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture(params=["postgres", "mariadb"])
def database(request: pytest.FixtureRequest) -> DatabaseServer:
    server: DatabaseServer = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def table() -> str:
    return new_table()


@pytest.fixture
async def store(database: DatabaseServer, table: str) -> AsyncIterator[SqlAppStore]:
    store = a_store(database, table)
    await store.start()
    yield store
    await store.stop()


def a_store(server: DatabaseServer, table: str, *, time: Time | None = None, timeout_ms: int = 5000) -> SqlAppStore:
    """A store on a clock that stands still, so that it looks for changes whenever it is asked."""
    database = server.database
    make = postgres_engine if isinstance(database, Postgres) else mysql_engine
    engine = make(database, pool_size=1, timeout_ms=timeout_ms)
    return SqlAppStore(engine, table, server=Postgres(host="db", port=1), clock=time or Time())


def sql(server: DatabaseServer, table: str, *statements: str) -> Sequence[Any]:
    """What somebody else does, a dashboard for example; the rows of the last statement."""
    named = (statement.replace("{table}", table) for statement in statements)
    if not isinstance(server.database, Postgres):
        named = (statement.replace('"key"', "`key`") for statement in named)
    return server.execute(*named)


async def refusal(store: SqlAppStore) -> errors.SockudoError:
    with pytest.raises(errors.SockudoError) as caught:
        await store.start()
    assert caught.value.spec is errors.SERVICE_UNAVAILABLE
    return caught.value


def everything_said(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + f"{error.__cause__!r}"


# ---- the table ----

OLDER_POSTGRES = """
CREATE TABLE {table} (
  id VARCHAR(255) PRIMARY KEY,
  "key" VARCHAR(255) UNIQUE NOT NULL,
  secret VARCHAR(255) NOT NULL,
  max_connections INTEGER NOT NULL,
  enable_client_messages BOOLEAN NOT NULL DEFAULT FALSE,
  enabled BOOLEAN NOT NULL DEFAULT TRUE,
  max_backend_events_per_second INTEGER,
  max_client_events_per_second INTEGER NOT NULL,
  max_read_requests_per_second INTEGER,
  max_presence_members_per_channel INTEGER,
  max_presence_member_size_in_kb INTEGER,
  max_channel_name_length INTEGER,
  max_event_channels_at_once INTEGER,
  max_event_name_length INTEGER,
  max_event_payload_in_kb INTEGER,
  max_event_batch_size INTEGER,
  enable_user_authentication BOOLEAN,
  enable_watchlist_events BOOLEAN,
  webhooks JSONB,
  created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
)
"""
# Booleans that are numbers, and documents in a column of text.
OLDER_MYSQL = """
CREATE TABLE {table} (
  id VARCHAR(255) PRIMARY KEY,
  `key` VARCHAR(255) CHARACTER SET ascii COLLATE ascii_general_ci UNIQUE NOT NULL,
  secret VARCHAR(255) NOT NULL,
  max_connections INT UNSIGNED NOT NULL,
  enable_client_messages INT NOT NULL DEFAULT 0,
  enabled INT NOT NULL DEFAULT 1,
  max_backend_events_per_second INT UNSIGNED NULL,
  max_client_events_per_second INT UNSIGNED NOT NULL,
  max_read_requests_per_second INT UNSIGNED NULL,
  max_presence_members_per_channel INT UNSIGNED NULL,
  max_presence_member_size_in_kb INT UNSIGNED NULL,
  max_channel_name_length INT UNSIGNED NULL,
  max_event_channels_at_once INT UNSIGNED NULL,
  max_event_name_length INT UNSIGNED NULL,
  max_event_payload_in_kb INT UNSIGNED NULL,
  max_event_batch_size INT UNSIGNED NULL,
  enable_user_authentication INT NULL,
  enable_watchlist_events INT NULL,
  webhooks TEXT NULL,
  created_at TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP
) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci
"""
OLDER_ROW = """
INSERT INTO {table} (id, "key", secret, max_connections, max_client_events_per_second, enable_client_messages, enabled,
  max_event_payload_in_kb, enable_user_authentication, enable_watchlist_events, webhooks)
VALUES ('shop', 'k-shop', 's-shop', 250, 10, {yes}, {no}, 3, {no}, {yes},
  '[{"url": "https://hooks.shop.test/in", "event_types": ["channel_occupied"]}]')
"""
OLDER_APP = an_app(
    enabled=False,
    policy=Policy(
        limits=Limits(max_connections=250, max_client_events_per_second=10, max_event_payload_in_kb=3),
        features=Features(enable_client_messages=True, enable_user_authentication=False, enable_watchlist_events=True),
        webhooks=({"url": "https://hooks.shop.test/in", "event_types": ["channel_occupied"]},),
    ),
)


def make_older(server: DatabaseServer, table: str) -> None:
    if isinstance(server.database, Postgres):
        sql(server, table, OLDER_POSTGRES, OLDER_ROW.replace("{yes}", "TRUE").replace("{no}", "FALSE"))
    else:
        sql(server, table, OLDER_MYSQL, OLDER_ROW.replace("{yes}", "1").replace("{no}", "0"))


async def test_a_table_of_an_older_version_is_used(database: DatabaseServer, table: str) -> None:
    make_older(database, table)
    store = a_store(database, table)
    await store.start()
    assert list(await store.all()) == [OLDER_APP]
    assert sql(database, table, "SELECT policy, allowed_origins, idempotency FROM {table}") == [(None, None, None)]

    revision = await store.revision()
    await store.save(OLDER_APP)
    assert await store.revision() == revision

    policy = structs.replace(OLDER_APP.policy, channels=Channels(allowed_origins=("https://shop.test",)))
    changed = structs.replace(OLDER_APP, enabled=True, policy=policy)
    await store.change("shop", lambda _: changed)
    assert list(await store.all()) == [changed]
    assert await store.revision() > revision
    flat = "SELECT enabled, enable_client_messages, max_connections, max_event_payload_in_kb FROM {table}"
    assert sql(database, table, flat) == [(True, True, 250, 3)]
    await store.save(an_app("b"))
    assert await store.remove("shop") is True
    await store.stop()


async def test_what_is_written_is_read_by_older_versions_too(
    store: SqlAppStore, database: DatabaseServer, table: str
) -> None:
    await store.save(an_app(policy=OLDER_APP.policy))
    sql(database, table, "UPDATE {table} SET policy = NULL")
    assert list(await store.all()) == [an_app(policy=OLDER_APP.policy)]


async def test_a_row_with_nothing_but_credentials(store: SqlAppStore, database: DatabaseServer, table: str) -> None:
    sql(database, table, """INSERT INTO {table} (id, "key", secret) VALUES ('shop', 'k-shop', 's-shop')""")
    assert list(await store.all()) == [an_app(enabled=True)]


async def test_times_are_kept(store: SqlAppStore, database: DatabaseServer, table: str) -> None:
    await store.save(an_app())
    sql(database, table, "UPDATE {table} SET created_at = '2020-01-01 00:00:00', updated_at = '2020-01-01 00:00:00'")
    await store.save(an_app(secret="new"))
    ((created, updated),) = sql(database, table, "SELECT created_at, updated_at FROM {table}")
    assert created.year == 2020
    assert updated.year > 2020


def test_a_complete_table_needs_no_right_to_make_one(postgres: DatabaseServer, table: str) -> None:
    writer = structs.replace(postgres.postgres, username=f"{table}_writer", password="x")
    owner, engine = (postgres_engine(who, pool_size=1, timeout_ms=5000) for who in (postgres.postgres, writer))
    prepare(owner, table)
    sql(
        postgres,
        table,
        "CREATE ROLE {table}_writer LOGIN PASSWORD 'x'",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {table}_writer",
    )
    prepare(engine, table)
    sql(postgres, table, "ALTER TABLE {table} DROP COLUMN policy")
    with pytest.raises(ProgrammingError, match="must be owner"):
        prepare(engine, table)
    prepare(owner, table)
    assert set(READ) <= set(columns_of(postgres, table))
    engine.dispose()
    owner.dispose()


def columns_of(server: DatabaseServer, table: str) -> list[str]:
    found = sql(server, table, "SELECT column_name FROM information_schema.columns WHERE table_name = '{table}'")
    return [row[0] for row in found]


async def test_nodes_may_start_at_once(database: DatabaseServer, table: str) -> None:
    for _ in range(2):
        stores = [a_store(database, table) for _ in range(6)]
        await asyncio.gather(*(store.start() for store in stores))
        await asyncio.gather(*(store.stop() for store in stores))
        sql(database, table, "ALTER TABLE {table} DROP COLUMN policy, DROP COLUMN updated_at")


async def test_a_table_of_somebody_else_is_left_alone(database: DatabaseServer, table: str) -> None:
    sql(database, table, "CREATE TABLE {table} (id INTEGER, name VARCHAR(10))")
    error = await refusal(a_store(database, table))
    assert error.text.startswith(
        f"The table '{table}' is no table of apps: it has no column key, secret. Choose another table_name."
    )
    assert columns_of(database, table) == ["id", "name"]


# ---- the server ----


async def test_a_stopped_store_starts_again(store: SqlAppStore) -> None:
    await store.start()
    await store.save(an_app())
    revision = await store.revision()
    await store.stop()
    with pytest.raises(errors.SockudoError, match="not open"):
        await store.all()
    await store.start()
    assert list(await store.all()) == [an_app()]
    assert await store.revision() == revision


async def test_a_wrong_password_is_not_told(database: DatabaseServer, table: str) -> None:
    settings = app_settings(database, table)
    wrong = structs.replace(database.database, table_name=table, password="n0t-this-one")
    name = "postgres" if isinstance(wrong, Postgres) else "mysql"
    settings = structs.replace(settings, database=structs.replace(settings.database, **{name: wrong}))
    store = app_store(settings)
    assert isinstance(store, SqlAppStore)
    error = await refusal(store)
    assert error.text.startswith(f"The app store at 127.0.0.1:{database.database.port} does not answer: ")
    assert error.text.endswith(f"database.{name} says how to reach it.")
    assert "sockudo" in error.text
    assert "n0t-this-one" not in everything_said(error)


async def test_connections_that_the_database_ended_are_made_again(
    store: SqlAppStore, database: DatabaseServer, table: str
) -> None:
    await store.save(an_app())
    if isinstance(database.database, Postgres):
        sql(
            database,
            table,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sockudo'",
        )
    else:
        for number, command in sql(database, table, "SELECT id, command FROM information_schema.processlist"):
            if command == "Sleep":
                sql(database, table, f"KILL {number}")
    assert list(await store.all()) == [an_app()]


async def test_a_database_that_hangs_does_not_hang_the_store(database: DatabaseServer, table: str) -> None:
    store = a_store(database, table, timeout_ms=FAST_MS)
    await store.start()
    await store.save(an_app())
    with database.frozen():
        for work in (store.revision(), store.all()):
            with pytest.raises(errors.SockudoError) as caught:
                await asyncio.wait_for(work, 15)
            assert caught.value.spec is errors.SERVICE_UNAVAILABLE
            assert caught.value.text.startswith("The app store at db:1 does not answer: ")
    assert list(await store.all()) == [an_app()]
    await store.stop()


async def test_a_row_that_is_locked_is_waited_for_and_not_for_ever(database: DatabaseServer, table: str) -> None:
    store, other = (a_store(database, table, timeout_ms=ms) for ms in (1000, 5000))
    await store.start()
    await other.start()
    await store.save(an_app())
    loop = asyncio.get_running_loop()
    held, enough = asyncio.Event(), asyncio.Event()

    def hold(app: App | None) -> App:
        loop.call_soon_threadsafe(held.set)
        asyncio.run_coroutine_threadsafe(enough.wait(), loop).result(10)
        return an_app(secret="of-the-other")

    holding = asyncio.create_task(other.change("shop", hold))
    await held.wait()
    with pytest.raises(errors.SockudoError) as caught:
        await store.save(an_app(secret="mine"))
    assert caught.value.spec is errors.SERVICE_UNAVAILABLE
    enough.set()
    await holding
    await store.save(an_app(secret="mine"))
    assert [app.secret for app in await other.all()] == ["mine"]
    await store.stop()
    await other.stop()


# ---- others ----

CHANGES = (
    "UPDATE {table} SET secret = 'other'",
    "UPDATE {table} SET enabled = FALSE",
    """UPDATE {table} SET "key" = 'other'""",
    "UPDATE {table} SET max_event_batch_size = 3",
    "UPDATE {table} SET max_event_name_length = 3",
    "UPDATE {table} SET max_event_name_length = NULL, max_channel_name_length = 3",
    "UPDATE {table} SET enable_watchlist_events = TRUE",
    """UPDATE {table} SET policy = '{"limits": {"max_connections": 1}}'""",
    """UPDATE {table} SET policy = '{"limits": {"max_connections": 2}}'""",
    "UPDATE {table} SET policy = NULL",
    """UPDATE {table} SET webhooks = '[]'""",
    """UPDATE {table} SET id = 'renamed'""",
    """INSERT INTO {table} (id, "key", secret) VALUES ('b', 'k-b', 's-b')""",
    "DELETE FROM {table} WHERE id = 'renamed'",
    "DELETE FROM {table}",
)


async def test_whatever_somebody_else_changes_is_noticed(
    store: SqlAppStore, database: DatabaseServer, table: str
) -> None:
    """Within one second, and also by those that leave ``updated_at`` alone."""
    await store.save(an_app())
    seen = [await store.revision()]
    for change in CHANGES:
        sql(database, table, change)
        seen.append(await store.revision())
        assert await store.revision() == seen[-1]
    assert seen == list(range(seen[0], seen[0] + len(CHANGES) + 1))


async def test_looking_takes_a_small_part_of_the_time(database: DatabaseServer, table: str) -> None:
    time = Time()
    store = a_store(database, table, time=time)
    await store.start()
    first = await store.revision()

    time.step = 1 / 16
    await store.revision()
    time.step = 0
    sql(database, table, """INSERT INTO {table} (id, "key", secret) VALUES ('b', 'k-b', 's-b')""")
    time.now += 18 / 16
    assert await store.revision() == first
    time.now += 1 / 16
    assert await store.revision() == first + 1
    await store.stop()


async def test_a_look_is_never_put_off_for_long(database: DatabaseServer, table: str) -> None:
    time = Time()
    store = a_store(database, table, time=time)
    await store.start()
    time.step = 10
    first = await store.revision()
    time.step = 0
    sql(database, table, """INSERT INTO {table} (id, "key", secret) VALUES ('b', 'k-b', 's-b')""")
    assert await store.revision() == first
    time.now += RAREST_SECONDS
    assert await store.revision() == first + 1
    await store.stop()


async def test_a_change_of_our_own_is_seen_at_once(database: DatabaseServer, table: str) -> None:
    time = Time()
    store = a_store(database, table, time=time)
    await store.start()
    time.step = 10
    first = await store.revision()
    await store.save(an_app())
    assert await store.revision() == first + 1
    assert await store.remove("shop") is True
    assert await store.revision() == first + 2
    await store.stop()


async def test_nodes_see_each_other(store: SqlAppStore, database: DatabaseServer, table: str) -> None:
    other = a_store(database, table)
    await other.start()
    before = await other.revision()
    await store.save(an_app())
    assert await other.revision() > before
    assert list(await other.all()) == [an_app()]
    assert await other.remove("shop") is True
    assert list(await store.all()) == []
    await other.stop()


async def test_no_change_is_lost_when_nodes_change_one_app_at_once(
    store: SqlAppStore, database: DatabaseServer, table: str
) -> None:
    nodes = [store, *(a_store(database, table) for _ in range(3))]
    for node in nodes[1:]:
        await node.start()

    def count(app: App | None) -> App:
        return an_app(secret=str(int(app.secret) + 1 if app is not None else 1))

    await asyncio.gather(*(node.change("shop", count) for node in nodes * 5))
    assert [app.secret for app in await store.all()] == ["20"]
    for node in nodes[1:]:
        await node.stop()


async def test_an_app_that_somebody_adds_meanwhile_is_asked_about_again(
    store: SqlAppStore, database: DatabaseServer, table: str
) -> None:
    seen: list[App | None] = []

    def edit(app: App | None) -> App:
        if not seen:
            sql(database, table, """INSERT INTO {table} (id, "key", secret) VALUES ('shop', 'k-shop', 'theirs')""")
        seen.append(app)
        return an_app(secret="mine")

    assert await store.change("shop", edit) == an_app(secret="mine")
    assert seen == [None, an_app(secret="theirs")]
    assert list(await store.all()) == [an_app(secret="mine")]


async def test_a_key_that_somebody_takes_meanwhile_is_taken(
    store: SqlAppStore, database: DatabaseServer, table: str
) -> None:
    taken = iter(["""INSERT INTO {table} (id, "key", secret) VALUES ('b', 'k-shop', 's-b')"""])

    def edit(app: App | None) -> App:
        for statement in taken:
            sql(database, table, statement)
        return an_app()

    with pytest.raises(errors.SockudoError) as caught:
        await store.change("shop", edit)
    assert caught.value.spec is errors.APP_KEY_TAKEN
    assert caught.value.text == "App 'shop' cannot have key 'k-shop': another app has it"


async def test_apps_that_swap_keys_do_not_wait_for_each_other_for_ever(
    store: SqlAppStore, database: DatabaseServer, table: str
) -> None:
    other = a_store(database, table)
    await other.start()
    await store.save(an_app("a", key="1"))
    await store.save(an_app("b", key="2"))
    results = await asyncio.gather(
        store.save(an_app("a", key="2")), other.save(an_app("b", key="1")), return_exceptions=True
    )
    for result in results:
        assert isinstance(result, errors.SockudoError)
        assert result.spec is errors.APP_KEY_TAKEN
    await other.stop()


# ---- what cannot be kept ----


async def test_ids_that_a_table_takes_for_one(mariadb: DatabaseServer, table: str) -> None:
    """An older table compares ids without regard to case: one app is never given for another."""
    make_older(mariadb, table)
    store = a_store(mariadb, table)
    await store.start()
    seen: list[App | None] = []

    def edit(app: App | None) -> App:
        seen.append(app)
        return an_app("SHOP")

    with pytest.raises(errors.SockudoError) as caught:
        await store.change("SHOP", edit)
    assert caught.value.spec is errors.INVALID_INPUT
    assert caught.value.text == "App 'SHOP' and app 'shop' have the same id to the database"
    assert seen == [None]
    assert await store.remove("SHOP") is False
    with pytest.raises(errors.SockudoError, match="another app has it"):
        await store.save(an_app("b", key="K-SHOP"))
    assert list(await store.all()) == [OLDER_APP]
    await store.stop()


async def test_what_the_table_has_no_room_for(store: SqlAppStore) -> None:
    with pytest.raises(errors.SockudoError) as caught:
        await store.save(an_app(secret="x" * 256))
    assert caught.value.spec is errors.INVALID_INPUT
    assert "its secret has more than 255 characters" in caught.value.text


async def test_what_a_narrower_table_has_no_room_for(store: SqlAppStore, database: DatabaseServer, table: str) -> None:
    change = (
        "ALTER COLUMN secret TYPE VARCHAR(5)" if isinstance(database.database, Postgres) else "MODIFY secret VARCHAR(5)"
    )
    sql(database, table, f"ALTER TABLE {{table}} {change}")
    with pytest.raises(errors.SockudoError) as caught:
        await store.save(an_app(secret=SECRET))
    assert caught.value.spec is errors.INVALID_INPUT
    assert caught.value.text == "App 'shop' has a value that the database cannot hold"
    assert SECRET not in everything_said(caught.value)


async def test_a_text_that_jsonb_does_not_know(postgres: DatabaseServer, table: str) -> None:
    store = a_store(postgres, table)
    await store.start()
    webhook = {"url": "https://hooks.test", "event_types": ["a\0b"]}
    with pytest.raises(errors.SockudoError) as caught:
        await store.save(an_app(policy=Policy(webhooks=(webhook,))))
    assert caught.value.spec is errors.INVALID_INPUT
    await store.stop()


async def test_a_refusal_of_the_database_does_not_quote_the_row(
    store: SqlAppStore, database: DatabaseServer, table: str
) -> None:
    """PostgreSQL tells the whole row that a constraint refused, secret included."""
    sql(database, table, "ALTER TABLE {table} ADD COLUMN plan INTEGER NOT NULL, ADD CHECK (max_connections < 7)")
    policy = Policy(limits=Limits(max_connections=8))
    with pytest.raises(errors.SockudoError) as caught:
        await store.save(an_app(secret=SECRET, policy=policy))
    assert caught.value.spec is errors.SERVICE_UNAVAILABLE
    assert caught.value.text.startswith("The app store at db:1 ")
    assert SECRET not in everything_said(caught.value)


async def test_a_record_that_cannot_be_read_is_named(store: SqlAppStore, database: DatabaseServer, table: str) -> None:
    await store.save(an_app("fine"))
    await store.save(an_app("odd", secret=SECRET))
    sql(database, table, """UPDATE {table} SET policy = '{"tomorrow": true}' WHERE id = 'odd'""")
    with pytest.raises(errors.SockudoError) as caught:
        await store.all()
    assert caught.value.spec is errors.SERVICE_UNAVAILABLE
    assert caught.value.text.startswith("The record of app 'odd' cannot be read: ")
    assert "tomorrow" in caught.value.text
    assert SECRET not in everything_said(caught.value)
    assert await store.remove("odd") is True
    assert list(await store.all()) == [an_app("fine")]


async def test_a_table_that_is_gone(store: SqlAppStore, database: DatabaseServer, table: str) -> None:
    """It is no store without apps: the server would close every connection of every app."""
    sql(database, table, "DROP TABLE {table}")
    for work in (store.revision(), store.all()):
        with pytest.raises(errors.SockudoError) as caught:
            await work
        assert caught.value.spec is errors.SERVICE_UNAVAILABLE
        assert caught.value.text.startswith("The app store at db:1 cannot be used: ")


async def test_a_row_made_elsewhere_does_not_say_where_it_came_from(
    store: SqlAppStore, database: DatabaseServer, table: str
) -> None:
    sql(database, table, "INSERT INTO {table} (id, \"key\", secret) VALUES ('by-hand', 'k', 's')")
    await store.save(an_app("ours"))
    assert await store.origins() == {"by-hand": None, "ours": Origin.OPERATOR}
    sql(database, table, "ALTER TABLE {table} DROP COLUMN origin")
    before = a_store(database, table)
    await before.start()
    assert await before.origins() == {"by-hand": None, "ours": None}
    await before.stop()
