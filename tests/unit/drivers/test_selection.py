"""Which store keeps the apps, by the configuration."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sockudo import errors
from sockudo.config import ConfigError, Settings
from sockudo.config.apps import App
from sockudo.config.sections.databases import Database, Mysql, Postgres
from sockudo.config.sections.drivers import AppManager, InlineApps
from sockudo.drivers.memory_apps import MemoryAppStore
from sockudo.drivers.selection import app_place, app_store
from sockudo.drivers.sql.apps import SqlAppStore
from sockudo.drivers.stand_in import StandInAppStore

# Nobody listens on that port.
DATABASE = Database(
    postgres=Postgres("127.0.0.1", 1, "ann", "p@ssw0rd", "chat", "tenants"),
    mysql=Mysql("127.0.0.1", 1, "ann", "p@ssw0rd", "chat", "tenants"),
)
SHOP = App("shop", "k", "s", True)
DRIVERS = {"pgsql": ("postgres", "PostgreSQL", "psycopg"), "mysql": ("mysql", "MySQL", "pymysql")}


def settings(driver: str, *apps: App, database: Database = DATABASE, data_dir: str = "data") -> Settings:
    return Settings(app_manager=AppManager(driver, InlineApps(apps)), database=database, data_dir=data_dir)


@pytest.mark.parametrize(
    ("driver", "kind", "serving"),
    [
        ("memory", MemoryAppStore, MemoryAppStore),
        ("sqlite", SqlAppStore, SqlAppStore),
        ("pgsql", SqlAppStore, StandInAppStore),
        ("mysql", SqlAppStore, StandInAppStore),
    ],
)
def test_the_driver_decides(driver: str, kind: type, serving: type) -> None:
    """Only a server with apps of its own starts without its database; the command line never works on memory."""
    assert type(app_store(settings(driver))) is kind
    assert type(app_store(settings(driver, SHOP))) is kind
    assert type(app_store(settings(driver), serving=True)) is kind
    assert type(app_store(settings(driver, SHOP), serving=True)) is serving


def test_places(tmp_path: Path) -> None:
    assert app_place(settings("memory")) == "memory"
    assert app_place(settings("sqlite", data_dir=str(tmp_path))) == str(tmp_path / "apps.sqlite3")
    assert app_place(settings("pgsql")) == "table 'tenants' of database 'chat' at 127.0.0.1:1"
    local = Database(mysql=Mysql("/run/mysqld/mysqld.sock"), postgres=Postgres("::1"))
    assert app_place(settings("mysql", database=local)).endswith("at /run/mysqld/mysqld.sock")
    assert app_place(settings("pgsql", database=local)).endswith("at [::1]:5432")


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_database_that_is_down_is_named_without_its_password(driver: str) -> None:
    store = app_store(settings(driver))
    with pytest.raises(errors.SockudoError) as caught:
        await store.start()
    assert caught.value.spec is errors.SERVICE_UNAVAILABLE
    text = caught.value.text
    assert text.startswith("The app store at 127.0.0.1:1 does not answer: ")
    assert "refuses the connection" in text
    assert text.endswith(f"that user 'ann' may log in and that database.{DRIVERS[driver][0]} says how to reach it.")
    assert "p@ssw0rd" not in f"{text} {caught.value.__cause__!r} {store!r}"


@pytest.fixture(params=DRIVERS)
def without_package(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    driver: str = request.param
    monkeypatch.setitem(sys.modules, DRIVERS[driver][2], None)
    return driver


def test_a_driver_that_is_not_installed_is_one_sentence(without_package: str) -> None:
    extra, name, _ = DRIVERS[without_package]
    with pytest.raises(ConfigError) as caught:
        app_store(settings(without_package))
    assert str(caught.value) == f"{name} needs a driver that is not installed: pip install '.[{extra}]' in a checkout"


async def test_the_memory_of_workers_is_one_file_of_theirs(tmp_path: Path) -> None:
    settings = Settings(app_manager=AppManager(driver="memory"), data_dir=str(tmp_path / "data"))
    stores = [app_store(settings, serving=True, run_dir=tmp_path) for _ in range(2)]
    for store in stores:
        await store.start()
    await stores[0].save(App("shop", "key", "secret", True))
    assert [app.id for app in await stores[1].all()] == ["shop"]
    for store in stores:
        await store.stop()
    assert not (tmp_path / "data").exists()
