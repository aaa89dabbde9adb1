"""Which push queue the configuration asks for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sockudo.config import Settings
from sockudo.config.loader import load
from sockudo.config.problems import ConfigError
from sockudo.config.sections.push import Push
from sockudo.jobs.memory import MemoryJobQueue
from sockudo.jobs.redis import RedisJobQueue
from sockudo.jobs.sql import SqlJobQueue
from sockudo.push.drivers import push_exists, push_queue, push_store
from sockudo.push.stores.sql import FILE_NAME, MemoryPushStore, SqlPushStore


def settings(driver: str | None, **environ: str) -> Settings:
    chosen = {} if driver is None else {"PUSH_QUEUE_DRIVER": driver}
    return load(path=None, environ={**chosen, **environ}, cwd=Path("/nonexistent")).settings


def test_each_driver_has_its_queue() -> None:
    assert isinstance(push_queue(settings("memory")), MemoryJobQueue)
    assert isinstance(push_queue(settings("redis")), RedisJobQueue)
    for driver in ("sqlite", "postgres", "mysql", "mariadb", None):
        assert isinstance(push_queue(settings(driver)), SqlJobQueue)


async def test_the_file_is_in_the_data_directory(tmp_path: Path) -> None:
    queue = push_queue(settings(None, SOCKUDO_DATA_DIR=str(tmp_path / "data")))
    assert not (tmp_path / "data").exists()
    await queue.start()
    await queue.close()
    assert (tmp_path / "data" / "push-queue.sqlite3").exists()


@pytest.mark.parametrize(
    ("driver", "module", "text"),
    [
        (
            "redis",
            "redis.asyncio",
            "Redis needs a driver that is not installed: pip install '.[redis]' in a checkout",
        ),
        (
            "postgres",
            "psycopg",
            "PostgreSQL needs a driver that is not installed: pip install '.[postgres]' in a checkout",
        ),
        (
            "mysql",
            "pymysql",
            "MySQL needs a driver that is not installed: pip install '.[mysql]' in a checkout",
        ),
    ],
)
def test_a_driver_that_is_not_installed_is_one_sentence(
    driver: str, module: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("jobs.redis", "storage.redis_scripts"):
        monkeypatch.delitem(sys.modules, f"sockudo.{name}")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError) as caught:
        push_queue(settings(driver))
    assert str(caught.value) == text


# ---- the drivers of a server ----


def test_memory_is_for_those_that_ask_for_it() -> None:
    assert isinstance(push_store(Settings(push=Push(storage_driver="memory"))), MemoryPushStore)


@pytest.mark.parametrize("driver", ["sqlite", "postgres", "mysql"])
def test_databases(driver: str, tmp_path: Path) -> None:
    store = push_store(Settings(data_dir=str(tmp_path / "data"), push=Push(storage_driver=driver)))
    assert isinstance(store, SqlPushStore)
    assert not (tmp_path / "data").exists()


async def test_a_file_in_the_data_directory_is_the_default(tmp_path: Path) -> None:
    store = push_store(Settings(data_dir=str(tmp_path)))
    await store.start()
    assert await store.check()
    await store.close()
    assert (tmp_path / FILE_NAME).exists()


def test_there_is_a_store_where_something_may_be_in_it(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path))
    assert not push_exists(settings)
    (tmp_path / FILE_NAME).touch()
    assert push_exists(settings)
    assert not push_exists(Settings(data_dir=str(tmp_path), push=Push(storage_driver="memory")))
    assert push_exists(Settings(data_dir=str(tmp_path), push=Push(storage_driver="postgres")))
