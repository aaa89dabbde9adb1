"""The declarations are complete, consistent and nowhere double."""

from __future__ import annotations

import collections

import pytest

from sockudo.config import Settings
from sockudo.config.schema import build, declared, sections, value_at, variables
from sockudo.config.values import read_value

SETTINGS = list(declared().values())


def test_every_default_is_a_value_of_its_own_key() -> None:
    settings = Settings()
    for setting in SETTINGS:
        assert value_at(settings, setting.path) == setting.default, setting.path
        if setting.kind not in ("apps", "rules"):
            assert read_value(setting, setting.default) == setting.default, setting.path


def test_every_key_is_described() -> None:
    for setting in SETTINGS:
        key = setting.key
        assert key.meaning, setting.path
        assert not key.meaning.endswith("."), setting.path
        assert key.low <= key.high, setting.path
        assert not set(key.choices) & set(key.elsewhere), setting.path
        stand_for = {word for _, word in key.aliases}
        if setting.kind == "int":
            assert all(key.low <= int(word) <= key.high for word in stand_for), setting.path
        else:
            assert stand_for <= {*key.choices, *key.elsewhere}, setting.path


def test_a_variable_sets_one_key_but_for_those_of_several_servers() -> None:
    names = collections.Counter(name for setting in SETTINGS for name in setting.key.names)
    assert [name for name, count in names.items() if count > 1] == [
        "REDIS_URL",
        "DATABASE_REDIS_CLUSTER_NODES",
        "REDIS_CLUSTER_NODES",
        "DATABASE_CONNECTION_POOL_SIZE",
    ]
    assert set(names) == set(variables())


def test_sections_are_described() -> None:
    assert all(sections().values())
    assert "rate_limiter.api_rate_limit" in sections()


def test_a_tree_is_built_from_paths() -> None:
    settings = build({"port": 7, "rate_limiter.api_rate_limit.max_requests": 8}, dev=True)
    assert (settings.port, settings.rate_limiter.api_rate_limit.max_requests, settings.dev) == (7, 8, True)
    assert settings.rate_limiter.websocket_rate_limit == Settings().rate_limiter.websocket_rate_limit
    assert build({}) == Settings()


@pytest.mark.parametrize(
    ("values", "limit"),
    [
        ({}, 65_536),
        ({"websocket_max_payload_kb": 1}, 1024),
        ({"websocket.max_bytes": 5_000}, 5_000),
        ({"websocket.max_bytes": 5_000, "websocket.max_message_size": 100}, 100),
        ({"websocket.max_message_size": 100}, 100),
    ],
)
def test_the_largest_message_of_a_client(values: dict[str, int], limit: int) -> None:
    assert build(values).inbound_limit == limit


@pytest.mark.parametrize(
    ("values", "limit"),
    [
        ({}, 1000),
        ({"websocket.max_messages": None}, 1000),
        ({"websocket.max_messages": None, "websocket.max_bytes": 1}, 10_000),
        ({"websocket.max_messages": 5, "websocket.max_bytes": 1}, 5),
    ],
)
def test_messages_that_may_wait(values: dict[str, int | None], limit: int) -> None:
    assert build(values).outbound_messages == limit


@pytest.mark.parametrize(
    ("values", "bounds"),
    [
        ({}, (2, 10)),
        ({"database_pooling.min": 0, "database_pooling.max": 4}, (0, 4)),
        ({"database.postgres.pool_min": 3, "database.postgres.pool_max": 5}, (3, 5)),
        ({"database_pooling.enabled": False, "database.postgres.pool_min": 3}, (0, 10)),
        ({"database_pooling.enabled": False, "database.postgres.connection_pool_size": 7}, (0, 7)),
    ],
)
def test_the_bounds_of_a_pool(values: dict[str, int], bounds: tuple[int, int]) -> None:
    settings = build(values)
    assert settings.database_pooling.bounds(settings.database.postgres) == bounds


@pytest.mark.parametrize("server", ["postgres", "mysql"])
def test_a_password_stays_out_of_the_representation(server: str) -> None:
    settings = build({f"database.{server}.password": "very-hidden"})
    assert getattr(settings.database, server).password == "very-hidden"
    assert "hidden" not in repr(settings)
