"""The situations of spec: push § 13.2 that need something to go wrong between two steps, against running servers.

A lock on a file of the server, taken from here, holds everybody up who wants to write to it, so that a process is ended
between just these two steps.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sockudo.jobs.sql_schema import key_hash
from sockudo.push.stores.sql import sqlite_push
from sockudo.testing import ProviderAnswer
from support.push_ground import PushServer, ground, kill
from support.push_stores import a_device, a_subscription
from support.server import DEFAULT_APP
from support.waiting import wait_until

QUEUE, STORE = "push-queue.sqlite3", "push.sqlite3"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else can write to the file meanwhile; reading goes on."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=20)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


def rows(path: Path, statement: str, *parameters: Any) -> list[Any]:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=20)) as connection:
        return connection.execute(statement, parameters).fetchall()


# Two servers on one store, on purpose.
SHARED = {"instance": {"shared_stores": True}}
STEP_BY_STEP = {"fanout_fast_threshold": 1, "fanout_shard_size": 1}
"""Each target is planned by itself, and is a batch."""


def towns(folder: Path, count: int) -> tuple[list[dict[str, str]], set[str]]:
    """So many channels with two devices each, put into the store of a server that does not run: as the targets of a
    publish, and the tokens."""

    async def put() -> None:
        store = sqlite_push(folder)
        await store.start()
        try:
            devices = [
                a_device(f"device-{number}", f"token-{number}", app_id=DEFAULT_APP.id) for number in range(2 * count)
            ]
            await asyncio.gather(*(store.put_device(each) for each in devices))
            places = [(f"town-{number // 2}", each.id) for number, each in enumerate(devices)]
            rows = [a_subscription(channel, device_id, DEFAULT_APP.id) for channel, device_id in places]
            await asyncio.gather(*(store.put_subscription(each) for each in rows))
        finally:
            await store.close()

    asyncio.run(put())
    targets = [{"type": "channel", "channel": f"town-{number}"} for number in range(count)]
    return targets, {f"token-{number}" for number in range(2 * count)}


def status_of(server: PushServer, publish_id: str) -> Any:
    return server.done("GET", f"/publish/{publish_id}/status")


def counters(status: Any) -> dict[str, int]:
    return {name: count for name, count in status["counters"].items() if count}


def metric(server: PushServer, name: str) -> float:
    """The sum over all labels."""
    lines = [each for each in server.server.metrics().splitlines() if each.startswith(f"sockudo_push_{name}")]
    return sum(float(each.rpartition(" ")[2]) for each in lines)


def test_2_killed_between_the_providers_answer_and_its_note(tmp_path: Path) -> None:
    with ground(tmp_path) as place:
        server = place.start()
        token = server.register("s2")
        place.script(token, ProviderAnswer(delay=2.0))
        server.publish("s2", {"type": "device", "deviceId": "s2"})
        [sent_at] = wait_until(lambda: place.sent_at(token), "the send")
        try:
            with locked(tmp_path / QUEUE):
                wait_until(lambda: time.time() > sent_at + 2.3, "the provider's answer")
                assert counters(status_of(server, "s2")) == {"planned": 1}
                kill(server.server)
        finally:
            server.server.close()
        with place.server() as again:
            assert counters(again.ended("s2")) == {"planned": 1, "dispatched": 1, "succeeded": 1}
        assert len(place.sent_at(token)) == 2


def test_3_what_providers_said_twice_and_at_once(tmp_path: Path) -> None:
    with ground(tmp_path) as place, place.server() as server:
        server.register("s3-phone", "s3")
        server.register("s3-apple", "s3", recipient={"transportType": "apns", "deviceToken": "planted-apple"})
        for token in ("planted-token-s3-phone", "planted-apple"):
            place.script(token, ProviderAnswer(delay=2.0))
        server.publish("s3", {"type": "channel", "channel": "s3"}, notBeforeMs=int(time.time() * 1000) + 1500)
        wait_until(lambda: status_of(server, "s3")["state"] == "dispatching", "the plan")
        wait_until(lambda: len(place.requests) == 2, "both sends")
        with locked(tmp_path / STORE):
            # Each provider's batch has an answer of its own; both wait for the store at the same time.
            noted = "SELECT message_key FROM push_queue_messages WHERE stage = 'delivery_results'"
            wait_until(lambda: len(rows(tmp_path / QUEUE, noted)) == 2, "what both providers said")
            for (key,) in rows(tmp_path / QUEUE, noted):
                rows(
                    tmp_path / QUEUE,
                    "INSERT INTO push_queue_messages (key_hash, stage, app_hash, message_id, enqueued_at_ms, due_at_ms,"
                    " ready_at_ms, attempt, app_id, message_key, body)"
                    " SELECT ?, stage, app_hash, message_id || '-again', enqueued_at_ms, due_at_ms, due_at_ms, 0,"
                    " app_id, ?, body FROM push_queue_messages WHERE message_key = ?",
                    key_hash("delivery_results", f"{key}-again"),
                    f"{key}-again",
                    key,
                )
        counted = {"planned": 2, "dispatched": 2, "succeeded": 2}
        assert counters(server.ended("s3")) == counted
        wait_until(lambda: not rows(tmp_path / QUEUE, noted), "the repetitions to be taken")
        assert metric(server, "duplicate_suppressed_total") == 2
        assert counters(status_of(server, "s3")) == counted
        assert len(server.done("GET", "/publish/s3/deliveries")["items"]) == 2
        assert len(place.requests) == 2


def test_19_a_publish_whose_message_is_lost(tmp_path: Path) -> None:
    with ground(tmp_path) as place, place.server(repair_interval_secs=1, repair_min_age_secs=1) as server:
        token = server.register("s19")
        with locked(tmp_path / QUEUE):
            # Accepted, and in the log: that nobody is told to plan it is no matter for the caller.
            assert server.publish("s19", {"type": "device", "deviceId": "s19"})["status"] == "accepted"
            assert status_of(server, "s19")["state"] == "queued"
        assert counters(server.ended("s19")) == {"planned": 1, "dispatched": 1, "succeeded": 1}
        assert len(place.sent_at(token)) == 1
        assert metric(server, "repair_requeued_total") >= 1
        assert "a publish waits for repair" in server.server.log


def test_20_killed_while_planning(tmp_path: Path) -> None:
    with ground(tmp_path) as place:
        targets, everybody = towns(tmp_path, 120)
        count = len(everybody)
        server = place.start(**STEP_BY_STEP)
        try:
            server.publish("s20", *targets)
            wait_until(lambda: place.sends, "the first batches")
            with locked(tmp_path / QUEUE):
                assert status_of(server, "s20")["state"] == "planning"
                kill(server.server)
        finally:
            server.server.close()
        assert 0 < len(place.sends) < count
        with place.server(**STEP_BY_STEP) as again:
            status = again.ended("s20")
        assert counters(status) == {"planned": count, "dispatched": count, "succeeded": count}
        assert set(place.sends) == everybody
        assert max(place.sends.values()) <= 2


def test_28_of_those_who_change_a_status_at_once_one_does(tmp_path: Path) -> None:
    """Two processes on one store: each of these publishes is cancelled eight times at once."""
    names = [f"s28-{number}" for number in range(20)]
    with ground(tmp_path) as place, place.server(SHARED) as first, place.server(SHARED) as second:
        first.register("s28")
        later = int(time.time() * 1000) + 600_000
        for name in names:
            first.publish(name, {"type": "device", "deviceId": "s28"}, notBeforeMs=later)

        def planned() -> bool:
            return all(status_of(second, name)["state"] == "dispatching" for name in names)

        wait_until(planned, "the plans")
        before = revisions(tmp_path)
        with ThreadPoolExecutor(16) as threads:
            for name in names:
                cancels = [
                    threads.submit(server.ask, "DELETE", f"/scheduled/{name}")
                    for server in (first, second)
                    for _ in range(4)
                ]
                assert {each.result().status for each in cancels} == {204}
        assert {status_of(server, name)["state"] for server in (first, second) for name in names} == {"cancelled"}
        assert revisions(tmp_path) == {name: revision + 1 for name, revision in before.items()}
        assert set(before) == set(names)
        assert place.requests == []


def test_28_nothing_is_lost_where_two_processes_count_at_once(tmp_path: Path) -> None:
    """Whoever changes a status that another one has just changed has to try again: the sum shows it."""
    with ground(tmp_path, delay=0.5) as place:
        targets, everybody = towns(tmp_path, 80)
        count = len(everybody)
        with place.server(SHARED, **STEP_BY_STEP) as first, place.server(SHARED, **STEP_BY_STEP) as second:
            # All of it is due at one moment, at which both are there.
            first.publish("s28", *targets, notBeforeMs=int(time.time() * 1000) + 3000)
            status = second.ended("s28")
            both = [metric(server, "dispatched_total") for server in (first, second)]
        assert counters(status) == {"planned": count, "dispatched": count, "succeeded": count}
        assert place.sends == Counter(everybody)
        assert min(both) > 0
        assert sum(both) == count


def revisions(folder: Path) -> dict[str, int]:
    return dict(rows(folder / STORE, "SELECT publish_id, revision FROM push_publish_status"))
