"""What was answered 202 is not lost, whatever becomes of the process, and is counted once (spec: push § 7.8).

``SOCKUDO_KILLS`` is how often a process is killed while it delivers: 200 of them kill it among 10,000 deliveries.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from support.push_ground import Ground, PushServer, ground, kill, seeded, tokens
from support.waiting import wait_until

KILLS = int(os.environ.get("SOCKUDO_KILLS", "10"))
DELIVERIES = 1000 if KILLS <= 10 else 50 * KILLS


def test_what_was_accepted_survives_kill_9_right_after_the_answer(tmp_path: Path) -> None:
    with ground(tmp_path) as place:
        seeded(tmp_path, tokens(20), channel="news")
        names = []
        for number in range(5):
            server = place.start()
            try:
                for each in range(4):
                    names.append(f"parcel-{number}-{each}")
                    server.publish(names[-1])
            finally:
                kill(server.server)
        with place.server() as server:
            counters = [server.ended(name, 40)["counters"] for name in names]
        assert [found["succeeded"] for found in counters] == [20] * 20
        assert [found["planned"] for found in counters] == [20] * 20
        sends = place.sends
    assert set(sends) == {each.token for each in tokens(20)}
    # Each at least once for every publish, and once more at most for every kill.
    assert min(sends.values()) >= 20
    assert max(sends.values()) <= 20 + 5 * 4


@pytest.mark.timeout(120 if KILLS <= 10 else 3600)
def test_every_device_gets_it_however_often_the_process_is_killed(tmp_path: Path) -> None:
    dice = random.Random(KILLS)
    with ground(tmp_path, delay=0.08) as place:
        seeded(tmp_path, tokens(DELIVERIES), channel="news")
        done = kills = among = 0
        server = place.start(fanout_fast_threshold=500)
        try:
            server.publish("all")
            while kills < KILLS:
                # So many more are sent before the next kill, which is then due at any moment.
                done = _wait_for_some(place, server, done, DELIVERIES // (2 * KILLS))
                time.sleep(dice.random() * 0.05)
                kill(server.server)
                kills += 1
                among += len(place.sends) < DELIVERIES
                server = place.start(fanout_fast_threshold=500)
            status = server.ended("all", 60 + DELIVERIES / 50)
            letters = server.done("GET", "/deadLetters")["items"]
        finally:
            kill(server.server)
        sends = place.sends
    counters = status["counters"]
    assert among >= KILLS * 0.5, f"only {among} kills were among deliveries"
    assert status["state"] == "succeeded"
    assert (counters["planned"], counters["succeeded"], counters["dispatched"]) == (DELIVERIES,) * 3
    assert letters == []
    assert set(sends) == {each.token for each in tokens(DELIVERIES)}
    assert max(sends.values()) <= 1 + kills


def test_planning_that_is_lost_with_the_queue_is_done_again(tmp_path: Path) -> None:
    """What the queue had of a large publish is gone, with all batches that were not sent yet."""
    count = 6000
    settings = {
        "fanout_fast_threshold": 300,
        "fanout_shard_size": 1000,
        "repair_interval_secs": 1,
        "repair_min_age_secs": 2,
    }
    with ground(tmp_path) as place:
        seeded(tmp_path, tokens(count), channel="news")
        server = place.start(**settings)
        try:
            server.publish("all")
            wait_until(lambda: place.sends, "the first deliveries")
            kill(server.server)
            for file in tmp_path.glob("push-queue.sqlite3*"):
                file.unlink()
            server = place.start(**settings)
            assert server.done("GET", "/publish/all/status")["state"] == "planning"
            status = server.ended("all", 60)
        finally:
            kill(server.server)
        sends = place.sends
    counters = status["counters"]
    assert (counters["planned"], counters["succeeded"], counters["dispatched"]) == (count,) * 3
    assert set(sends) == {each.token for each in tokens(count)}
    assert max(sends.values()) <= 2


def _wait_for_some(place: Ground, server: PushServer, done: int, more: int) -> int:
    """How many devices have got it once so many more have, or all of them."""

    def reached() -> int:
        count = len(place.sends)
        return count if count >= min(done + more, DELIVERIES) else 0

    return wait_until(reached, f"{more} more deliveries after {done}", timeout=40)
