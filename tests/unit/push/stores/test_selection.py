"""Which store ``push.storage_driver`` asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from sockudo.config import Settings
from sockudo.config.sections.push import Push
from sockudo.push.stores.selection import push_exists, push_store
from sockudo.push.stores.sql import FILE_NAME, MemoryPushStore, SqlPushStore


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
