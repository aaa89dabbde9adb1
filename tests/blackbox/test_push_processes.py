"""Push in several processes on one database: each does its share, and that of one that died (spec: push § 13)."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from sockudo.push.stores.sql import server_push
from support.databases import DatabaseServer
from support.push_ground import ground, numbers, registered, tokens
from support.redis import PASSWORD, RedisProcess
from support.waiting import wait_until

_COUNT = 20
_FEW = 4
_PUBLISHES = 45
"""More than the 32 of an app that one process sends at a time."""


def _shared(queue: str, postgres: DatabaseServer, redis: RedisProcess, unique: str) -> dict[str, Any]:
    database = postgres.postgres
    return {
        "push": {
            "storage_driver": "postgres",
            "queue_driver": queue,
            "dispatch_worker_count": 1,
            "dispatch_max_outbound_requests": 4,
        },
        "instance": {"shared_stores": True},
        "queue": {"redis": {"prefix": unique}},
        "database": {
            "redis": {"port": redis.port, "password": PASSWORD},
            "postgres": {
                "host": database.host,
                "port": database.port,
                "username": database.username,
                "password": database.password,
                "database": database.database,
            },
        },
    }


def _register(postgres: DatabaseServer, unique: str, count: int) -> None:
    """Devices on a channel, in the store that the processes have in common."""
    registered(server_push(postgres.postgres), tokens(count, unique), channel=unique, name=unique)


@pytest.mark.parametrize("queue", ["postgres", "redis"])
def test_processes_share_the_work(
    queue: str, postgres: DatabaseServer, redis: RedisProcess, unique: str, tmp_path: Path
) -> None:
    config = _shared(queue, postgres, redis, unique)
    with (
        ground(tmp_path, delay=1.5) as place,
        place.fcm_server(config, folder=tmp_path / "a") as first,
        place.fcm_server(config, folder=tmp_path / "b") as second,
    ):
        _register(postgres, unique, _FEW)
        for number in range(_PUBLISHES):
            first.publish(f"{unique}-{number}", {"type": "channel", "channel": unique})
        ends = [second.ended(f"{unique}-{number}") for number in range(_PUBLISHES)]
        assert {end["state"] for end in ends} == {"succeeded"}
        assert place.sends == {each.token: _PUBLISHES for each in tokens(_FEW, unique)}
        for each in (first, second):
            assert 'dispatched_total{app="app-id"' in each.server.metrics()


def test_what_a_process_that_dies_was_sending_another_one_sends(
    postgres: DatabaseServer, redis: RedisProcess, unique: str, tmp_path: Path
) -> None:
    config = _shared("redis", postgres, redis, unique)
    with (
        ground(tmp_path, delay=0.5) as place,
        place.fcm_server(config, folder=tmp_path / "a") as first,
    ):
        _register(postgres, unique, _COUNT)
        first.publish(unique, {"type": "channel", "channel": unique})
        wait_until(lambda: place.sends.total() > 5, "sends")
        with place.fcm_server(config, folder=tmp_path / "b") as second:
            first.server.send_signal(signal.SIGKILL)
            assert first.server.wait() == -signal.SIGKILL
            assert place.sends.total() < _COUNT
            status = second.ended(unique, timeout=60)
        assert status["counters"] == numbers(_COUNT, dispatched=_COUNT, succeeded=_COUNT)
        assert max(place.sends.values()) <= 2
