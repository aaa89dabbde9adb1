"""One address in place of a driver and where it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sockudo.config import ConfigError, Loaded
from sockudo.config.schema import value_at

Load = Callable[..., Loaded]

ENV = "ADAPTER_URL"


@pytest.mark.parametrize(
    ("url", "means"),
    [
        (
            "rediss://me:p%40ss@redis.internal:6380/2",
            {
                "adapter.driver": "redis",
                "adapter.redis.redis_pub_options.url": "rediss://me:p%40ss@redis.internal:6380/2",
                "adapter.redis.redis_sub_options.url": "rediss://me:p%40ss@redis.internal:6380/2",
            },
        ),
        (
            "tls://me:p%40ss@nats.internal",
            {
                "adapter.driver": "nats",
                "adapter.nats.servers": ("tls://nats.internal:4222",),
                "adapter.nats.username": "me",
                "adapter.nats.password": "p@ss",
            },
        ),
        ("nats://[::1]:7", {"adapter.nats.servers": ("nats://[::1]:7",), "adapter.nats.username": None}),
        (
            "postgresql://me:p%2Fss@db.internal:5433/chat",
            {
                "adapter.driver": "postgres",
                "database.postgres.host": "db.internal",
                "database.postgres.port": 5433,
                "database.postgres.username": "me",
                "database.postgres.password": "p/ss",
                "database.postgres.database": "chat",
            },
        ),
        ("postgres://db.internal", {"database.postgres.host": "db.internal", "database.postgres.database": "sockudo"}),
    ],
)
def test_an_address_stands_for_the_driver_and_where_it_is(url: str, means: dict[str, Any], loaded: Load) -> None:
    got = loaded(env={ENV: url})
    assert {path: value_at(got.settings, path) for path in means} == means
    assert got.origins["adapter.driver"] == ENV


@pytest.mark.parametrize(
    "url",
    [
        "redis.internal:6379",
        "kafka://bus.internal",
        "redis://",
        "redis://redis.internal:0",
        "redis://redis.internal/sessions",
        "nats://bus.internal/subject",
        "postgres://db.internal/a/b",
        "postgres://db.internal/a?sslmode=require",
        "nats://[::1",
    ],
)
def test_what_is_no_such_address_is_refused_without_being_quoted(url: str, loaded: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(env={ENV: url})
    [problem] = caught.value.problems
    assert problem.startswith(f"environment: {ENV} ")
    assert url not in problem or url == "redis://"


@pytest.mark.parametrize(
    ("url", "also", "names"),
    [
        ("redis://a", {"ADAPTER_DRIVER": "nats"}, "adapter.driver = 'nats' and adapter.url, which is of redis,"),
        ("nats://a", {"NATS_SERVERS": "nats://b"}, "NATS_SERVERS: adapter.nats.servers and adapter.url"),
        ("postgres://a", {"DATABASE_POSTGRES_HOST": "b"}, "database.postgres.host and adapter.url"),
    ],
)
def test_what_says_the_same_twice_is_refused(url: str, also: dict[str, str], names: str, loaded: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(env={ENV: url, **also})
    [problem] = caught.value.problems
    assert names in problem


def test_what_goes_together_is_taken(loaded: Load) -> None:
    env = {ENV: "redis://a", "ADAPTER_DRIVER": "redis", "REDIS_URL": "redis://of.another.program"}
    settings = loaded(env=env).settings
    assert settings.adapter.redis.redis_pub_options.url == "redis://a"
    login = {"DATABASE_POSTGRES_USERNAME": "me", "DATABASE_POSTGRES_PASSWORD": "secret"}
    postgres = loaded(env={ENV: "postgres://db.internal", **login}).settings.database.postgres
    assert (postgres.host, postgres.username, postgres.password) == ("db.internal", "me", "secret")


def test_the_address_is_not_shown(loaded: Load) -> None:
    settings = loaded(env={ENV: "redis://me:hush@a"}).settings
    assert "hush" not in repr(settings)


def test_apps_of_one_node_alone_are_warned_of(loaded: Load) -> None:
    def told(env: dict[str, str], **options: Any) -> bool:
        return any("app_manager.driver" in text for text in loaded(env=env, **options).warnings)

    assert told({ENV: "redis://a"})
    assert not told({ENV: "redis://a"}, dev=True)
    assert not told({ENV: "redis://a", "APP_MANAGER_DRIVER": "postgres"})
    assert not told({})
