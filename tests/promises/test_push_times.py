"""Nothing is sent too early, too late, after it was cancelled, nor to who has left (spec: push § 13.1)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sockudo.testing import ProviderAnswer
from support.push_ground import Ground, PushServer, ground, kill, seeded, tokens
from support.waiting import wait_until

GONE = ProviderAnswer(503)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground(tmp_path_factory.mktemp("push")) as made:
        yield made


@pytest.fixture(scope="module")
def server(place: Ground) -> Iterator[PushServer]:
    # Whoever gives up does so because it has expired.
    with place.server(retry={"initial_backoff_ms": 50, "max_backoff_ms": 50, "max_attempts": 100}) as running:
        yield running


def ms() -> int:
    return int(time.time() * 1000)


def to(device: str) -> dict[str, str]:
    return {"type": "device", "deviceId": device}


def test_not_before_its_time(place: Ground, server: PushServer) -> None:
    token = server.register("early", "later")
    due = ms() + 1500
    server.publish("early-1", to("early"), notBeforeMs=due)
    server.publish("early-2", {"type": "channel", "channel": "later"}, notBeforeMs=due)
    listed = server.done("GET", "/scheduled")["items"]
    assert {item["publishId"] for item in listed} >= {"early-1", "early-2"}
    for name in ("early-1", "early-2"):
        assert server.ended(name)["counters"]["succeeded"] == 1
    assert len(place.sent_at(token)) == 2
    # The clocks are read one after the other.
    assert min(place.sent_at(token)) >= due / 1000 - 0.005


def test_not_after_a_cancel_was_answered(place: Ground, server: PushServer) -> None:
    token = server.register("cancelled")
    due, answered = {}, {}
    for number in range(20):
        # Some are cancelled when they are on their way already: a cancel that comes too late changes nothing.
        due[number] = ms() + 50 + 300 * number
        server.publish(f"cancel-{number}", to("cancelled"), notBeforeMs=due[number])
    for number in range(20):
        server.done("DELETE", f"/scheduled/cancel-{number}")
        answered[number] = ms()
    states = [server.ended(f"cancel-{number}")["state"] for number in range(20)]
    in_time = [number for number in range(20) if answered[number] < due[number]]
    assert in_time
    assert {states[number] for number in in_time} == {"cancelled"}
    wait_until(lambda: ms() > due[19] + 300, "the time of the last one")
    assert len(place.sent_at(token)) == states.count("succeeded") == 20 - states.count("cancelled")


def test_not_after_it_has_expired(place: Ground, server: PushServer) -> None:
    token = server.register("late")
    place.script(token, GONE, forever=True)
    expires = ms() + 1500
    server.publish("late-1", to("late"), expiresAtMs=expires)
    status = server.ended("late-1")
    assert status["state"] == "expired"
    assert (status["counters"]["planned"], status["counters"]["expired"]) == (1, 1)
    assert place.sent_at(token)
    # One may have been on its way to the provider.
    assert sum(at > expires / 1000 + 0.04 for at in place.sent_at(token)) <= 1


def test_what_expires_while_the_server_is_down_is_not_sent(tmp_path: Path) -> None:
    with ground(tmp_path) as place:
        seeded(tmp_path, tokens(30), channel="news")
        server = place.start()
        # Longer than a busy machine takes until the process is gone.
        server.publish("waits", notBeforeMs=ms() + 2000, expiresAtMs=ms() + 2500)
        expires = time.time() + 2.5
        server.publish("waits-longer", notBeforeMs=ms() + 2000, expiresAtMs=ms() + 60_000)
        kill(server.server)
        wait_until(lambda: time.time() > expires, "its expiry")
        with place.server() as again:
            late, fresh = again.ended("waits"), again.ended("waits-longer")
        assert (late["state"], late["counters"]["expired"]) == ("expired", 30)
        assert (fresh["state"], fresh["counters"]["succeeded"]) == ("succeeded", 30)
        assert set(place.sends.values()) == {1}


@pytest.mark.parametrize("fast_threshold", [10_000, 1], ids=["at once", "in steps"])
def test_not_to_a_device_that_was_deleted_before_planning(tmp_path: Path, fast_threshold: int) -> None:
    """Whoever left after so many publishes gets no more than these, though all of them are on their way."""
    with ground(tmp_path, delay=0.05) as place:
        seeded(tmp_path, tokens(20), channel="news")
        with place.server(fanout_fast_threshold=fast_threshold, fanout_shard_size=5) as server:
            for number in range(20):
                server.publish(f"all-{number}")
                server.done("DELETE", f"/deviceRegistrations/device-{number:05}")
            server.publish("nobody")
            statuses = [server.ended(f"all-{number}") for number in range(20)]
            assert server.ended("nobody")["errorReason"] == "no_recipients"
        sends = place.sends
        assert all(sends[f"token-{number:05}"] <= number + 1 for number in range(20))
        assert sum(each["counters"]["succeeded"] for each in statuses) == sends.total()
        for number, status in enumerate(statuses):
            assert status["counters"]["planned"] <= 20 - number
