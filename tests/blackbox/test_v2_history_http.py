"""Pages of a channel's durable past over HTTP, and what retention leaves of it
(spec: http-api § 11.1; history § 7.1)."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import pytest

from blackbox.api import Api
from blackbox.past import (
    FEW_APP,
    NAMED_APP,
    NOTHING,
    SMALL_APP,
    history_server,
    page,
    path_of,
    publish,
    serials,
)
from blackbox.timed import TimedServer
from support.raw import signed_target
from support.server import DEFAULT_APP, STREAMS, ServerProcess
from support.signing import Credentials
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


# ---- pages ----


def test_the_whole_answer(connect_v2: Connect, server: ServerProcess, api: Api, unique: str, backend: str) -> None:
    client = connect_v2()
    client.subscribe(unique)
    before_ms = int(time.time() * 1000)
    publish(server, unique, "1", '{"metres":2.4}', tags={"b": "2", "a": "1"}, extras={"headers": {"n": 1}})
    live = [client.event() for _ in range(2)]
    answer = api.get(path_of(unique), {"limit": "1"})
    assert answer.status == 200
    found = answer.json()
    order = ["items", "direction", "limit", "has_more", "next_cursor", "bounds", "continuity", "stream_state"]
    assert list(found) == order
    (item,) = found.pop("items")
    published_at_ms = item.pop("published_at_ms")
    assert before_ms - 1000 <= published_at_ms <= time.time() * 1000 + 1000
    assert item.pop("payload_size_bytes") > 0
    stream_id = live[1]["stream_id"]
    assert item == {
        "stream_id": stream_id,
        "serial": 2,
        "message_id": live[1]["message_id"],
        "event_name": "tide",
        "operation_kind": "append",
        "message": live[1],
    }
    assert isinstance(found.pop("next_cursor"), str)
    continuity = found["continuity"]
    assert continuity.pop("oldest_available_published_at_ms") <= published_at_ms
    assert continuity.pop("newest_available_published_at_ms") == published_at_ms
    assert continuity.pop("retained_bytes") > 0
    source = "in_memory" if backend == "memory" else "durable_store"
    assert found == {
        "direction": "newest_first",
        "limit": 1,
        "has_more": True,
        "bounds": {"start_serial": None, "end_serial": None, "start_time_ms": None, "end_time_ms": None},
        "continuity": {
            "stream_id": stream_id,
            "oldest_available_serial": 1,
            "newest_available_serial": 2,
            "retained_messages": 2,
            "complete": False,
            "truncated_by_retention": False,
        },
        "stream_state": {
            "stream_id": stream_id,
            "durable_state": "healthy",
            "recovery_allowed": True,
            "reset_required": False,
            "reason": None,
            "node_id": None,
            "last_transition_at_ms": None,
            "authoritative_source": source,
            "observed_source": source,
        },
    }


def test_a_channel_that_never_was(api: Api, unique: str) -> None:
    found = page(api, unique)
    assert (found["items"], found["has_more"], found["next_cursor"], found["limit"]) == ([], False, None, 20)
    continuity = found["continuity"]
    assert {name: continuity[name] for name in NOTHING} == NOTHING
    assert (continuity["retained_messages"], continuity["retained_bytes"]) == (0, 0)
    assert (continuity["complete"], continuity["truncated_by_retention"]) == (True, False)
    assert page(api, unique) == found


@pytest.mark.parametrize(
    ("params", "due"),
    [
        ({}, [6, 5, 4, 3, 2, 1]),
        ({"direction": "backwards"}, [6, 5, 4, 3, 2, 1]),
        ({"direction": "REVERSE"}, [6, 5, 4, 3, 2, 1]),
        ({"direction": "Oldest_First"}, [1, 2, 3, 4, 5, 6]),
        ({"direction": "forward"}, [1, 2, 3, 4, 5, 6]),
        ({"direction": "forwards", "limit": 2}, [1, 2]),
        ({"limit": 10**18}, [6, 5, 4, 3, 2, 1]),
        ({"start_serial": 2, "end_serial": 4}, [4, 3, 2]),
        ({"start_serial": 3, "end_serial": 3}, [3]),
        ({"start_serial": 7}, []),
        ({"end_serial": 0}, []),
        ({"start": 0, "end": 9_999_999_999_999}, [6, 5, 4, 3, 2, 1]),
        ({"start": 9_999_999_999_998, "start_time_ms": 0}, [6, 5, 4, 3, 2, 1]),
        ({"start": 9_999_999_999_999}, []),
        ({"end_time_ms": 5}, []),
        ({"unknown": 1}, [6, 5, 4, 3, 2, 1]),
        ({"until_attach": "true", "attach_serial": 2}, [2, 1]),
        ({"until_attach": "true", "attach_serial": 4, "end_serial": 3}, [3, 2, 1]),
        ({"until_attach": "false", "attach_serial": 2}, [6, 5, 4, 3, 2, 1]),
        ({"attach_serial": 2}, [6, 5, 4, 3, 2, 1]),
    ],
)
def test_what_can_be_asked_for(
    server: ServerProcess, api: Api, unique: str, params: dict[str, object], due: list[int]
) -> None:
    publish(server, unique, *range(6))
    assert serials(page(api, unique, **params)) == due


@pytest.mark.parametrize("direction", ["newest_first", "oldest_first"])
def test_page_after_page(server: ServerProcess, api: Api, unique: str, direction: str) -> None:
    publish(server, unique, *range(7))
    query: dict[str, object] = {"direction": direction, "start_serial": 2}
    found = page(api, unique, limit=3, **query)
    seen = serials(found)
    # What is published meanwhile comes after the end, or not at all.
    publish(server, unique, "late")
    for limit in itertools.cycle((1, 2)):
        if not found["has_more"]:
            break
        found = page(api, unique, limit=limit, cursor=found["next_cursor"], **query)
        seen += serials(found)
    assert seen == ([7, 6, 5, 4, 3, 2] if direction == "newest_first" else [2, 3, 4, 5, 6, 7, 8])
    assert found["next_cursor"] is None


def test_a_page_that_ends_with_the_stream_has_no_next(server: ServerProcess, api: Api, unique: str) -> None:
    publish(server, unique, *range(4))
    for params in ({"limit": 4}, {"limit": 2, "start_serial": 3}, {"limit": 2, "end_serial": 2}):
        found = page(api, unique, **params)
        assert (found["has_more"], found["next_cursor"]) == (False, None)


@pytest.mark.parametrize("kind", ["private-", "presence-", "cache-", "private-encrypted-", "#server-to-user-"])
def test_every_kind_of_channel(server: ServerProcess, api: Api, unique: str, kind: str) -> None:
    channel = f"{kind}{unique[-60:]}"
    publish(server, channel, 1)
    (item,) = page(api, channel)["items"]
    assert item["message"]["channel"] == channel


def test_head_has_no_body(server: ServerProcess, unique: str) -> None:
    publish(server, unique, 1)
    answer = Api(server).get(path_of(unique), method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.header("content-length") or 0) > 100


# ---- what retention leaves ----


@pytest.mark.parametrize("app", [FEW_APP, SMALL_APP], ids=lambda app: app.id)
def test_bounds_of_an_app(server: ServerProcess, unique: str, app: Credentials) -> None:
    api = Api(server, app=app)
    publish(server, unique, *("x" * 100,) * 12, app=app)
    found = page(api, unique)
    kept = serials(found)
    assert kept == list(range(12, 12 - len(kept), -1))
    assert len(kept) == 3 if app is FEW_APP else 1 < len(kept) < 12
    continuity = found["continuity"]
    assert (continuity["retained_messages"], continuity["oldest_available_serial"]) == (len(kept), kept[-1])
    assert continuity["retained_bytes"] == sum(item["payload_size_bytes"] for item in found["items"])
    assert app is FEW_APP or continuity["retained_bytes"] <= 1000
    assert (continuity["complete"], continuity["truncated_by_retention"]) == (False, True)
    above = page(api, unique, start_serial=kept[-1])["continuity"]
    assert (above["complete"], above["truncated_by_retention"]) == (True, False)
    below = page(api, unique, start_serial=kept[-1] - 1)["continuity"]
    assert (below["complete"], below["truncated_by_retention"]) == (False, True)
    early = page(api, unique, start_time_ms=1)["continuity"]
    assert early["truncated_by_retention"]


def test_a_namespace_has_bounds_of_its_own(server: ServerProcess) -> None:
    publish(server, "room:a", *range(4), app=NAMED_APP)
    publish(server, "hall", *range(4), app=NAMED_APP)
    api = Api(server, app=NAMED_APP)
    assert serials(page(api, "room:a")) == [4, 3]
    assert serials(page(api, "hall")) == [4, 3, 2, 1]


def test_bounds_of_time() -> None:
    """Times are the server's own, and a window moves with them."""
    history = {**STREAMS["history"], "retention_window_seconds": 60}
    with TimedServer({**STREAMS, "history": history}) as server:
        api = Api(server)
        times = []
        for number in range(4):
            times.append(int(server.clock.time() * 1000))
            server.publish("news", "tide", str(number))
            server.advance(20)

        def asked(**params: object) -> list[int]:
            target = signed_target(
                DEFAULT_APP,
                "GET",
                f"/apps/app-id/{path_of('news')}",
                params={name: str(value) for name, value in params.items()},
                timestamp=int(server.clock.time()),
            )
            return serials(api.ask("GET", target).json())

        assert asked() == [4, 3, 2, 1]
        assert asked(start_time_ms=times[1]) == [4, 3, 2]
        assert asked(start_time_ms=times[1] + 1) == [4, 3]
        assert asked(end=times[1]) == [2, 1]
        assert asked(start=times[1], end_time_ms=times[2], direction="forward") == [2, 3]
        server.publish("news", "tide", "5")
        assert asked() == [5, 4, 3, 2]
