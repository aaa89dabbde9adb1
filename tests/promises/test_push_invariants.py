"""The promises of spec: push § 13.1, watched from outside while providers answer in every way: 1, 2, 3 and 5.

4 is in test_push_times, 6 and 7 in test_push_secrets, 5 with crashes in test_push_crashes.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

from sockudo.testing import ProviderAnswer
from support.push_ground import OVER, Ground, PushServer, ground, kill, seeded, tokens

ATTEMPTS = 3
COUNT = 48
OK = ProviderAnswer()
DOWN = ProviderAnswer(503)
DEAD = ProviderAnswer(404, body=b'{"error":{"details":[{"errorCode":"UNREGISTERED"}]}}')
ANSWERS: Sequence[tuple[ProviderAnswer, ...]] = (
    (OK,),
    (DEAD,),
    (ProviderAnswer(401),),
    (ProviderAnswer(413),),
    (ProviderAnswer(429, {"retry-after": "1"}), OK),
    (DOWN,),
    (DOWN, DOWN, OK),
    (ProviderAnswer(broken="cut"), OK),
)
"""What devices are answered, the last one for good; each eighth device the same."""

ORDER = ("queued", "planning", "throttled", "dispatching")
SUMMARIES = ("succeeded", "partiallySucceeded", "expired", "dead_lettered", "failed")


def summary(counters: dict[str, int]) -> str:
    """What the outcomes come to when all of them are there (spec: push § 6)."""
    if not (counters["failed"] or counters["expired"] or counters["deadLettered"]):
        return "succeeded"
    if counters["succeeded"]:
        return "partiallySucceeded"
    if counters["expired"]:
        return "expired"
    return "dead_lettered" if counters["deadLettered"] else "failed"


def settled(counters: dict[str, int]) -> int:
    return sum(counters[name] for name in ("succeeded", "failed", "expired", "deadLettered"))


def watched(server: PushServer, names: Sequence[str]) -> dict[str, list[Any]]:
    """Every status that was seen of each publish, until all are over and a second longer."""
    seen: dict[str, list[Any]] = {name: [] for name in names}
    until, gives_up = float("inf"), time.monotonic() + 60
    while time.monotonic() < until:
        assert time.monotonic() < gives_up, {name: each[-1]["state"] for name, each in seen.items()}
        for name in names:
            seen[name].append(server.done("GET", f"/publish/{name}/status"))
        if until == float("inf") and all(each[-1]["state"] in OVER for each in seen.values()):
            until = time.monotonic() + 1.0
        # Far less than anything takes; a server that is asked all the time does little else.
        time.sleep(0.02)
    return seen


def check_course(name: str, seen: Sequence[Any]) -> None:
    """Invariants 2 and 3 of one publish."""
    for before, after in pairwise(seen):
        first, second = before["state"], after["state"]
        if first in OVER:
            assert second == first or (first in SUMMARIES and second in SUMMARIES), (name, first, second)
        elif second not in OVER:
            assert ORDER.index(first) <= ORDER.index(second), (name, first, second)
        for counter in ("dispatched", "succeeded", "failed", "expired", "deadLettered", "retryScheduled"):
            assert before["counters"][counter] <= after["counters"][counter], (name, counter)
    for status in seen:
        state, counters = status["state"], status["counters"]
        if state in ("queued", "planning", "cancelled") or not counters["planned"]:
            continue
        assert settled(counters) <= counters["planned"], (name, status)
        if settled(counters) == counters["planned"]:
            assert state == summary(counters), (name, status)
        else:
            assert state == "dispatching", (name, status)


def sends(place: Ground) -> Counter[tuple[str, str]]:
    """How often each publish, which is called as its title, was sent to each token."""
    found: Counter[tuple[str, str]] = Counter()
    for request in place.requests:
        title = json.loads(request.body)["message"]["notification"]["title"]
        found[title, request.token] += 1
    return found


STATUSES = "SELECT publish_id FROM push_publish_status"
LOG = "SELECT publish_id FROM push_publish_log"
KEYS = "SELECT publish_id FROM push_idempotency"


def kept(folder: Path, statement: str) -> Counter[str]:
    """How many rows of each publish the store has, read from its file."""
    with closing(sqlite3.connect(folder / "push.sqlite3", timeout=20)) as connection:
        return Counter(publish_id for (publish_id,) in connection.execute(statement))


def test_states_counters_and_sends_whatever_providers_answer(tmp_path: Path) -> None:
    retry = {"initial_backoff_ms": 50, "max_backoff_ms": 200, "max_attempts": ATTEMPTS}
    options = {"retry": retry, "circuit_breaker": {"failure_threshold": 100_000, "cooldown_secs": 1}}
    names = [f"mix-{number}" for number in range(5)]
    with ground(tmp_path, delay=0.01) as place:
        seeded(tmp_path, tokens(COUNT), channel="news")
        for number, recipient in enumerate(tokens(COUNT)):
            place.script(recipient.token, *ANSWERS[number % len(ANSWERS)], forever=True)
        with place.server(**options) as server:
            with ThreadPoolExecutor(8) as threads:
                # Each comes three times at once: one of them is the publish.
                list(threads.map(lambda name: server.publish(name, title=name), names * 3))
            now = int(time.time() * 1000)
            server.publish("mix-expires", title="mix-expires", expiresAtMs=now + 600)
            server.publish("mix-later", title="mix-later", notBeforeMs=now + 600_000)
            server.publish("mix-nobody", {"type": "channel", "channel": "empty"}, title="mix-nobody")
            server.done("DELETE", "/scheduled/mix-later")
            every = [*names, "mix-expires", "mix-later", "mix-nobody"]
            seen = watched(server, every)
        for name in every:
            check_course(name, seen[name])
        ends = {name: each[-1] for name, each in seen.items()}
        assert {ends[name]["state"] for name in names} == {"partiallySucceeded"}
        assert [ends[f"mix-{end}"]["state"] for end in ("later", "nobody")] == ["cancelled", "failed"]
        assert ends["mix-expires"]["counters"]["expired"] > 0
        # Of each kind of device something came, so that no counter was at rest.
        total: Counter[str] = Counter()
        for status in ends.values():
            total.update(status["counters"])
        assert min(total[name] for name in ("succeeded", "failed", "expired", "deadLettered", "retryAttempted")) > 0
        # Invariant 5, and nobody who is counted as reached got it more than once.
        found = sends(place)
        assert max(found.values()) == ATTEMPTS
        well = [recipient.token for number, recipient in enumerate(tokens(COUNT)) if ANSWERS[number % 8] == (OK,)]
        assert {found[name, token] for name in names for token in well} == {1}
        assert all(title not in ("mix-later", "mix-nobody") for title, _ in found)
        # Invariant 1: one event in the log for each, however often it came.
        assert kept(tmp_path, LOG) == Counter(every)
        assert kept(tmp_path, STATUSES) == Counter(every)


def test_what_was_accepted_is_on_disk_when_it_is_answered(tmp_path: Path) -> None:
    """Invariant 1: status, keys and log, read after a kill right behind the answer; and the keys hold afterwards."""
    with ground(tmp_path) as place:
        seeded(tmp_path, tokens(3), channel="news")
        names = [f"kept-{number}" for number in range(5)]
        for name in names:
            server = place.start()
            server.publish(name, title=name)
            kill(server.server)
            assert kept(tmp_path, STATUSES)[name] == 1
            assert kept(tmp_path, LOG)[name] == 1
            assert kept(tmp_path, KEYS)[name] >= 2
        with place.server() as again:
            for name in names:
                assert again.publish(name, title="another text")["publishId"] == name
                assert again.ended(name)["counters"]["succeeded"] == 3
            assert kept(tmp_path, LOG) == Counter(names)
            found = sends(place)
        assert {title for title, _ in found} == set(names)
        # Once, and once more at most for each process that was killed meanwhile.
        assert max(found.values()) <= 1 + len(names)
