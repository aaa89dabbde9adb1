"""The state of a channel's stream, and what an operator does to it (spec: http-api § 11.2 and 11.3; history § 7.2)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from blackbox.api import Api
from blackbox.past import (
    NOTHING,
    history_server,
    page,
    publish,
    purge,
    reset,
    serials,
    state,
)
from support.server import ServerProcess
from support.websocket import Connect


@pytest.fixture(scope="module", params=["memory", "sqlite"])
def backend(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def server(backend: str) -> Iterator[ServerProcess]:
    with history_server(backend) as running:
        yield running


@pytest.fixture
def api(server: ServerProcess) -> Api:
    return Api(server)


# ---- the state of a stream ----


def test_the_state(server: ServerProcess, api: Api, unique: str) -> None:
    never = state(api, unique)
    assert never["retained"] == {
        "stream_id": never["stream_id"],
        "retained_messages": 0,
        "retained_bytes": 0,
        **NOTHING,
    }
    publish(server, unique, *range(3))
    found = state(api, unique)
    items = page(api, unique)["items"]
    assert list(found) == ["stream_id", "next_serial", "retained", "state"]
    assert found["next_serial"] == 4
    assert found["retained"] == {
        "stream_id": found["stream_id"],
        "retained_messages": 3,
        "retained_bytes": sum(item["payload_size_bytes"] for item in items),
        "oldest_available_serial": 1,
        "newest_available_serial": 3,
        "oldest_available_published_at_ms": items[-1]["published_at_ms"],
        "newest_available_published_at_ms": items[0]["published_at_ms"],
    }
    assert found["state"] == page(api, unique)["stream_state"]


# ---- reset ----


def test_a_reset(connect_v2: Connect, server: ServerProcess, api: Api, unique: str) -> None:
    client = connect_v2()
    client.subscribe(unique)
    publish(server, unique, *range(3))
    before = [client.event() for _ in range(3)]
    size = state(api, unique)["retained"]["retained_bytes"]
    answer = reset(api, unique, requested_by="ops@pier")
    assert answer.status == 200
    found = answer.json()
    new_stream = found["new_stream_id"]
    stream = found.pop("stream")
    assert found == {
        "ok": True,
        "operation": "reset",
        "channel": unique,
        "reason": "bad import",
        "requested_by": "ops@pier",
        "previous_stream_id": before[0]["stream_id"],
        "new_stream_id": new_stream,
        "purged_messages": 3,
        "purged_bytes": size,
    }
    assert new_stream != before[0]["stream_id"]
    assert (stream["stream_id"], stream["next_serial"], stream["retained"]["retained_messages"]) == (new_stream, 1, 0)
    assert stream["state"]["durable_state"] == "healthy"
    assert state(api, unique) == stream
    assert page(api, unique)["items"] == []
    publish(server, unique, "new")
    after = client.event()
    assert (after["stream_id"], after["serial"]) == (new_stream, 1)
    assert serials(page(api, unique)) == [1]


def test_a_reset_of_nothing(api: Api, unique: str) -> None:
    found = reset(api, unique).json()
    assert (found["ok"], found["requested_by"], found["purged_messages"], found["purged_bytes"]) == (True, None, 0, 0)
    assert found["stream"]["next_serial"] == 1


def test_publishes_around_a_reset_belong_to_one_stream_each(
    connect_v2: Connect, server: ServerProcess, api: Api, unique: str
) -> None:
    client = connect_v2()
    client.subscribe(unique)
    publisher = threading.Thread(target=lambda: publish(server, unique, *range(60)))
    publisher.start()
    for _ in range(5):
        assert reset(api, unique).status == 200
    publisher.join()
    streams: dict[str, list[int]] = {}
    for _ in range(60):
        found = client.event()
        streams.setdefault(found["stream_id"], []).append(found["serial"])
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in streams.values())
    kept = page(api, unique, direction="forward")["items"]
    assert {item["stream_id"] for item in kept} <= {list(streams)[-1]}


# ---- purge ----


def test_a_purge_of_all(connect_v2: Connect, server: ServerProcess, api: Api, unique: str) -> None:
    client = connect_v2()
    client.subscribe(unique)
    publish(server, unique, *range(3))
    size = state(api, unique)["retained"]["retained_bytes"]
    stream_id = client.event()["stream_id"]
    found = purge(api, unique, requested_by="ops@pier").json()
    stream = found.pop("stream")
    assert found == {
        "ok": True,
        "operation": "purge",
        "channel": unique,
        "reason": "bad import",
        "requested_by": "ops@pier",
        "mode": "all",
        "before_serial": None,
        "before_time_ms": None,
        "purged_messages": 3,
        "purged_bytes": size,
    }
    assert (stream["stream_id"], stream["next_serial"]) == (stream_id, 4)
    assert stream["retained"] == {"stream_id": stream_id, "retained_messages": 0, "retained_bytes": 0, **NOTHING}
    continuity = page(api, unique)["continuity"]
    assert (continuity["complete"], continuity["truncated_by_retention"]) == (False, True)
    publish(server, unique, "new")
    assert [client.event()["serial"] for _ in range(3)] == [2, 3, 4]
    assert serials(page(api, unique)) == [4]


@pytest.mark.parametrize(("before", "left"), [(0, [4, 3, 2, 1]), (1, [4, 3, 2, 1]), (3, [4, 3]), (5, []), (2**62, [])])
def test_a_purge_below_a_serial(server: ServerProcess, api: Api, unique: str, before: int, left: list[int]) -> None:
    publish(server, unique, *range(4))
    found = purge(api, unique, "before_serial", before_serial=before).json()
    assert (found["before_serial"], found["purged_messages"]) == (before, 4 - len(left))
    assert serials(page(api, unique)) == left
    assert found["stream"] == state(api, unique)
    assert purge(api, unique, "before_serial", before_serial=before).json()["purged_messages"] == 0


def test_a_purge_below_a_time(server: ServerProcess, api: Api, unique: str) -> None:
    publish(server, unique, 1)
    while int(time.time() * 1000) <= page(api, unique)["items"][0]["published_at_ms"]:
        pass
    publish(server, unique, 2)
    newest = page(api, unique)["items"][0]["published_at_ms"]
    answer = purge(api, unique, "before_time_ms", before_time_ms=newest)
    assert answer.status == 200, answer
    found = answer.json()
    assert (found["before_time_ms"], found["purged_messages"]) == (newest, 1)
    assert serials(page(api, unique)) == [2]
    assert purge(api, unique, "before_time_ms", before_time_ms=newest + 1).json()["purged_messages"] == 1
