"""Which queue the configuration asks for, and the Redis server that it leads to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from sockudo.config import Settings
from sockudo.config.loader import load
from sockudo.config.problems import ConfigError
from sockudo.config.sections.redis import Redis, RedisServer, RedisTls
from sockudo.webhooks.queue import WebhookQueue
from sockudo.webhooks.runtime import webhook_queue

SECRET = "s3cret"


def settings(driver: str, **environ: str) -> Settings:
    return load(path=None, environ={"QUEUE_DRIVER": driver, **environ}, cwd=Path("/nonexistent")).settings


def problem(**environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        settings("redis", **environ)
    return str(caught.value)


@pytest.mark.parametrize("driver", ["memory", "sqlite", "postgres", "mysql", "redis"])
def test_each_driver_has_its_queue(driver: str, tmp_path: Path) -> None:
    assert isinstance(webhook_queue(settings(driver, SOCKUDO_DATA_DIR=str(tmp_path))), WebhookQueue)
    assert webhook_queue(settings("none")) is None


async def test_the_file_is_in_the_data_directory(tmp_path: Path) -> None:
    queue = webhook_queue(settings("sqlite", SOCKUDO_DATA_DIR=str(tmp_path)))
    assert queue is not None
    await queue.start()
    await queue.close()
    assert (tmp_path / "webhooks.sqlite3").is_file()


def test_a_driver_that_is_not_installed_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("jobs.redis", "storage.redis_scripts", "webhooks.earlier_redis"):
        monkeypatch.delitem(sys.modules, f"sockudo.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(ConfigError) as caught:
        webhook_queue(settings("redis"))
    assert str(caught.value) == "Redis needs a driver that is not installed: pip install '.[redis]' in a checkout"


@pytest.mark.parametrize(
    ("keys", "url", "server"),
    [
        ({}, None, ("127.0.0.1", 6379, 0, "", "", False)),
        ({"host": "::1", "port": 7, "db": 2, "username": "u", "password": "p"}, None, ("::1", 7, 2, "u", "p", False)),
        ({"master_tls": RedisTls(enabled=True)}, None, ("127.0.0.1", 6379, 0, "", "", True)),
        ({"host": "redis://cache:7000/4", "port": 1, "password": "p"}, None, ("cache", 7000, 4, "", "p", False)),
        ({"host": "rediss://cache", "port": 1, "db": 3}, None, ("cache", 1, 3, "", "", True)),
        (
            {"host": "other", "port": 1, "db": 2, "username": "u", "password": "p"},
            "redis://[::1]",
            ("::1", 6379, 0, "", "", False),
        ),
        ({}, "rediss://me:p%40ss%2F@cache:1/5?x=y", ("cache", 1, 5, "me", "p@ss/", True)),
    ],
)
def test_keys_and_addresses_lead_to_a_server(keys: dict[str, Any], url: str | None, server: tuple[Any, ...]) -> None:
    assert Redis(**keys).server(url) == RedisServer(*server)


def test_variables_lead_to_a_server() -> None:
    given = settings(
        "redis", DATABASE_REDIS_HOST="h", DATABASE_REDIS_PASSWORD=SECRET, DATABASE_REDIS_MASTER_TLS_ENABLED="true"
    )
    assert given.database.redis.server(given.queue.redis.url_override) == RedisServer("h", 6379, 0, "", SECRET, True)
    other = settings("redis", DATABASE_REDIS_HOST="h", REDIS_URL=f"redis://:{SECRET}@x/1", QUEUE_REDIS_PREFIX="mine")
    assert other.database.redis.server(other.queue.redis.url_override) == RedisServer("x", 6379, 1, "", SECRET, False)
    assert other.queue.redis.prefix == "mine"
    assert SECRET not in repr((given, other, given.database.redis.server(), webhook_queue(given)))


@pytest.mark.parametrize(
    "url", [f"http://:{SECRET}@h", f"redis://:{SECRET}@h:99999", f"redis://:{SECRET}@h/x", "redis://", "h:6379"]
)
def test_a_useless_address_is_told_without_being_shown(url: str) -> None:
    told = problem(REDIS_URL=url)
    assert told == (
        "REDIS_URL: queue.redis.url_override is not the address of a Redis server: redis://user:password@host:6379/0, "
        "or rediss:// for TLS"
    )
    # Other software has the variable too.
    assert settings("sqlite", REDIS_URL=url).queue.driver == "sqlite"


def test_a_host_with_a_password_is_refused_without_being_shown() -> None:
    told = problem(DATABASE_REDIS_HOST=f"redis://:{SECRET}@h")
    assert told.startswith("DATABASE_REDIS_HOST: database.redis.host has a user or a password in it")
    assert SECRET not in told


def test_files_of_tls_are_there_and_in_pairs(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("x")
    told = problem(
        DATABASE_REDIS_MASTER_TLS_CLIENT_CERT_PATH=str(tmp_path / "cert.pem"),
        DATABASE_REDIS_MASTER_TLS_CA_PATH=str(tmp_path / "ca.pem"),
    )
    assert "client_cert_path and database.redis.master_tls.client_key_path go together" in told
    assert f"database.redis.master_tls.ca_path = '{tmp_path / 'ca.pem'}' is no file that this user can read" in told
