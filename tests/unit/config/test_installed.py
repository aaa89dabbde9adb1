"""Drivers of extras that the configuration asks for."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from sockudo.config.installed import driver_missing, missing_drivers
from sockudo.config.schema import build


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without any extra."""
    real = importlib.util.find_spec

    def find(name: str, package: str | None = None) -> Any:
        return None if name in ("psycopg", "pymysql", "redis") else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find)


@pytest.mark.parametrize(
    ("values", "extras"),
    [
        ({}, []),
        ({"app_manager.driver": "pgsql"}, ["postgres"]),
        ({"history.enabled": True, "history.backend": "postgres"}, ["postgres"]),
        ({"history.enabled": False, "history.backend": "postgres"}, []),
        ({"app_manager.driver": "mysql", "queue.driver": "redis"}, ["mysql", "redis"]),
        ({"push.queue_driver": "redis", "queue.driver": "redis"}, ["redis"]),
        ({"push.storage_driver": "postgres"}, ["postgres"]),
    ],
)
@pytest.mark.usefixtures("bare")
def test_each_driver_that_is_missing_is_a_problem(values: dict[str, Any], extras: list[str]) -> None:
    assert missing_drivers(build(values)) == [driver_missing(extra).problems[0] for extra in extras]


def test_what_is_installed_is_none() -> None:
    assert missing_drivers(build({"app_manager.driver": "pgsql", "queue.driver": "redis"})) == []
