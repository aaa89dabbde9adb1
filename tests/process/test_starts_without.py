"""Starts while what is configured cannot be reached: each ends with the setting that says where it is."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from sockudo.errors import SockudoError
from support.joined import FEATURES, pair_of

Json = dict[str, Any]

# Nobody listens on that port.
AWAY = {"host": "127.0.0.1", "port": 1}
DATABASES = {
    "postgres": AWAY,
    "mysql": AWAY,
    "redis": {**AWAY, "cluster": {"nodes": ["127.0.0.1:1"]}},
}
APP = {"id": "app", "key": "key", "secret": "secret", "enabled": True, "policy": {"features": FEATURES}}
ENDPOINT = {"url": "http://127.0.0.1:1/", "event_types": ["channel_occupied"]}
WITH_WEBHOOKS = {"array": {"apps": [{**APP, "policy": {"features": FEATURES, "webhooks": [ENDPOINT]}}]}}
SETTINGS: Json = {"history": {"enabled": False}, "database": DATABASES}

ONE = "database.redis, or {}.redis.url_override, says how to reach it"
CLUSTER = "that {} says how to reach it"
SQL = "See that the database at 127.0.0.1:1 runs, that user 'root' may log in and that database.{} says how"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param({"app_manager": {"driver": "postgres"}}, SQL.format("postgres"), id="apps-postgres"),
        pytest.param({"app_manager": {"driver": "mysql"}}, SQL.format("mysql"), id="apps-mysql"),
        pytest.param({"history": {"backend": "postgres"}}, SQL.format("postgres"), id="history-postgres"),
        pytest.param({"history": {"backend": "mysql"}}, SQL.format("mysql"), id="history-mysql"),
        pytest.param({"queue": {"driver": "postgres"}}, SQL.format("postgres"), id="queue-postgres"),
        pytest.param({"queue": {"driver": "mysql"}}, SQL.format("mysql"), id="queue-mysql"),
        pytest.param({"queue": {"driver": "redis"}}, ONE.format("queue"), id="queue-redis"),
        pytest.param(
            {"queue": {"driver": "redis-cluster"}}, CLUSTER.format("database.redis.cluster.nodes"), id="queue-cluster"
        ),
        pytest.param(
            {"queue": {"driver": "redis"}, "database": {"redis": {"sentinels": ["127.0.0.1:1"]}}},
            CLUSTER.format("database.redis.sentinels"),
            id="queue-sentinels",
        ),
        pytest.param({"cache": {"driver": "redis"}}, ONE.format("cache"), id="cache-redis"),
        pytest.param({"cache": {"driver": "postgres"}}, SQL.format("postgres"), id="cache-postgres"),
        pytest.param(
            {"rate_limiter": {"driver": "redis-cluster"}},
            CLUSTER.format("database.redis.cluster.nodes"),
            id="limits-cluster",
        ),
        pytest.param({"rate_limiter": {"driver": "postgres"}}, SQL.format("postgres"), id="limits-postgres"),
        pytest.param({"adapter": {"driver": "redis"}}, "database.redis", id="nodes-redis"),
        pytest.param({"adapter": {"driver": "redis-cluster"}}, "database.redis.cluster.nodes", id="nodes-cluster"),
        pytest.param({"adapter": {"driver": "postgres"}}, "database.postgres", id="nodes-postgres"),
        pytest.param(
            {"adapter": {"driver": "nats", "nats": {"servers": ["nats://127.0.0.1:1"]}}},
            "adapter.nats.servers",
            id="nodes-nats",
        ),
    ],
)
async def test_a_server_does_not_start_without_what_it_is_to_use(tmp_path: Path, changes: Json, says: str) -> None:
    began = time.monotonic()
    settings = {"app_manager": WITH_WEBHOOKS, **SETTINGS, **changes}
    if "driver" in settings["app_manager"]:
        settings["app_manager"] = {**settings["app_manager"], "array": {"apps": []}}
    if "backend" in settings["history"]:
        settings["history"] = {"enabled": True, **settings["history"]}
    with pytest.raises(SockudoError) as raised:
        async with pair_of(tmp_path, settings, shared=False, joined="configured", servers=1):
            pass
    assert says in raised.value.text
    assert time.monotonic() - began < 15
