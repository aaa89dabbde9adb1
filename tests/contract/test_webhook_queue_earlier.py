"""What a version before has left in its webhook queue, by lane, is delivered by today's, channel by channel.

The files in `data/` were made by that version.
"""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sockudo.config import Settings
from sockudo.config.loader import load
from sockudo.errors import SockudoError
from sockudo.webhooks.queue import WebhookQueue
from sockudo.webhooks.records import Attempt, Counts, Outcome
from sockudo.webhooks.runtime import FILE_NAME, webhook_queue
from support.redis import PASSWORD, RedisProcess

NOW = 1_767_225_600_000
DATA = Path(__file__).parent / "data"
PREFIX = "planted"


def settings(driver: str, folder: Path, **environ: str) -> Settings:
    given = {"QUEUE_DRIVER": driver, "SOCKUDO_DATA_DIR": str(folder), **environ}
    return load(path=None, environ=given, cwd=Path("/nonexistent")).settings


def opened(driver: str, folder: Path, **environ: str) -> WebhookQueue:
    queue = webhook_queue(settings(driver, folder, **environ))
    assert queue is not None
    return queue


def in_redis(redis: RedisProcess, folder: Path, prefix: str) -> WebhookQueue:
    environ = {"DATABASE_REDIS_PORT": str(redis.port), "DATABASE_REDIS_PASSWORD": PASSWORD}
    return opened("redis", folder, QUEUE_REDIS_PREFIX=prefix, **environ)


def leave_file(folder: Path) -> None:
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        connection.executescript((DATA / "webhooks_by_lane.sql").read_text("utf-8"))


def leave_keys(redis: RedisProcess, prefix: str) -> None:
    with redis.client() as client:
        for name, kind, value in json.loads((DATA / "webhooks_by_lane.json").read_text("utf-8")):
            key = name.replace(PREFIX, prefix, 1)
            match kind:
                case "string":
                    client.set(key, value)
                case "hash":
                    client.hset(key, mapping=value)
                case "list":
                    client.rpush(key, *value)
                case "set":
                    client.sadd(key, *value)
                case "zset":
                    client.zadd(key, dict(value))


@pytest.fixture(params=["sqlite", "redis"])
def queue(request: pytest.FixtureRequest, tmp_path: Path, unique: str) -> WebhookQueue:
    """Today's, not started yet, where a version before has left its deliveries."""
    if request.param == "sqlite":
        leave_file(tmp_path)
        return opened("sqlite", tmp_path)
    redis: RedisProcess = request.getfixturevalue("redis")
    leave_keys(redis, unique)
    return in_redis(redis, tmp_path, unique)


def body(*events: tuple[str, str]) -> bytes:
    told = ",".join(f'{{"name":"{name}","channel":"{channel}"}}' for name, channel in events)
    return f'{{"time_ms":{NOW},"events":[{told}]}}'.encode()


async def delivered(queue: WebhookQueue) -> list[tuple[str, str, bytes]]:
    """Delivers everything, one after the other; id, channel and body of each."""
    done = []
    while claims := await queue.claim(NOW + 3_600_000, NOW + 3_660_000, 1):
        [claim] = claims
        done.append((claim.delivery.id, claim.delivery.channel, claim.delivery.body))
        assert await queue.settle([(claim, Outcome("delivered", None))], NOW + 3_600_000) == [True]
    return done


async def test_what_waits_is_delivered_in_the_order_of_each_channel(queue: WebhookQueue) -> None:
    await queue.start()
    found = await delivered(queue)
    await queue.close()
    assert sorted(found) == sorted(
        [
            ("again", "room-1", body(("channel_occupied", "room-1"))),
            ("both", "room-1", body(("channel_vacated", "room-1"), ("channel_occupied", "room-1"))),
            ("both-1", "room-2", body(("channel_occupied", "room-2"))),
            ("last", "room-2", body(("channel_vacated", "room-2"))),
            ("leased", "room-3", body(("channel_occupied", "room-3"))),
            ("foreign", "room-1", body(("channel_occupied", "room-1"))),
        ]
    )
    order = [name for name, *_ in found]
    assert order.index("again") < order.index("both")
    assert order.index("both-1") < order.index("last")


async def test_what_was_tried_and_what_became_of_it_is_still_known(queue: WebhookQueue) -> None:
    await queue.start()
    assert await queue.counts() == {
        ("app", "one"): Counts(waiting=5, delivered=1, dead=1),
        ("other", "two"): Counts(waiting=1),
    }
    sent, refused, again = [await queue.get("app", name) for name in ("sent", "refused", "again")]
    await queue.close()
    assert sent is not None
    assert refused is not None
    assert again is not None
    assert (sent[0].state, sent[0].settled_at_ms, sent[1]) == (
        "delivered",
        NOW + 50,
        [Attempt(1, NOW + 20, 12, 200, None, "ok")],
    )
    whole = body(("channel_occupied", "lobby"), ("channel_occupied", "news"))
    assert (refused[0].state, refused[0].reason, refused[0].body) == ("dead", "refused", whole)
    assert refused[1] == [Attempt(1, NOW + 30, 7, 404, None, "no such page")]
    assert (again[0].attempts, again[0].first_attempt_at_ms, again[0].due_at_ms) == (1, NOW + 40, NOW + 1040)
    assert again[0].trace == (("traceparent", "00-aa-bb-01"),)
    assert again[1] == [Attempt(1, NOW + 40, 9, 503, None, "")]


async def test_it_is_carried_over_once(queue: WebhookQueue) -> None:
    await queue.start()
    assert len(await delivered(queue)) == 6
    while await queue.trim(0, 0):
        pass
    await queue.close()
    await queue.start()
    assert await queue.counts() == {}
    await queue.close()


async def test_a_start_that_was_cut_off_half_way_is_gone_on_with(
    queue: WebhookQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part of it may have been done, and not been noted."""
    monkeypatch.setattr("sockudo.webhooks.queue._AT_ONCE", 2)
    kept: list[Any] = []
    drop = type(queue._earlier).drop  # type: ignore[union-attr]

    async def cut_off(self: Any, deliveries: Any) -> None:
        if not kept:
            kept.extend(deliveries)
            raise RuntimeError
        await drop(self, deliveries)

    monkeypatch.setattr(type(queue._earlier), "drop", cut_off)
    with pytest.raises(RuntimeError):
        await queue.start()
    await queue.start()
    assert len(await delivered(queue)) == 6
    await queue.close()


async def test_the_version_before_does_not_open_the_file_any_more(tmp_path: Path) -> None:
    leave_file(tmp_path)
    queue = opened("sqlite", tmp_path)
    await queue.start()
    await queue.close()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert not tables & {"deliveries", "lanes", "attempts"}
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)


async def test_nothing_is_left_of_it_in_redis(redis: RedisProcess, tmp_path: Path, unique: str) -> None:
    leave_keys(redis, unique)
    queue = in_redis(redis, tmp_path, unique)
    await queue.start()
    await queue.close()
    base = f"{unique}:v2:{{webhooks}}"
    assert {key for key in redis.keys(unique) if key.startswith(base)} == {
        f"{base}:format",
        f"{base}:sequence",
        f"{base}:settled-sequence",
    }


async def test_a_process_of_the_version_before_keeps_what_it_is_delivering(
    redis: RedisProcess, tmp_path: Path, unique: str
) -> None:
    leave_keys(redis, unique)
    leases = f"{unique}:v2:{{webhooks}}:leases"
    with redis.client() as client:
        client.zadd(leases, {'["app","one",2]': time.time() * 1000 + 60_000})
    queue = in_redis(redis, tmp_path, unique)
    await queue.start()
    assert sorted(name for name, *_ in await delivered(queue)) == ["again", "both", "both-1", "foreign", "last"]
    await queue.close()
    with redis.client() as client:
        client.zadd(leases, {'["app","one",2]': time.time() * 1000 - 1})
    await queue.start()
    assert [name for name, *_ in await delivered(queue)] == ["leased"]
    await queue.close()


async def test_keys_of_an_unknown_version_are_left_alone(redis: RedisProcess, tmp_path: Path, unique: str) -> None:
    with redis.client() as client:
        client.set(f"{unique}:v2:{{webhooks}}:format", 7)
    queue = in_redis(redis, tmp_path, unique)
    with pytest.raises(SockudoError, match="format is 7, this version knows 1"):
        await queue.start()
    with pytest.raises(SockudoError, match="not open"):
        await queue.next_due()
