"""Connections, channels and problems of servers that are joined, as the dashboard of one of them shows them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sockudo.dashboard import everywhere
from support.joined import Pair, pair_of
from support.waiting import until

_PASSWORD = "correct horse battery"


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    """Two servers with dashboards, ``node-a`` and ``node-b``; one that does not answer is not held dead meanwhile."""
    operators = {
        "metrics": {"enabled": True, "port": 0},
        "dashboard": {"enabled": True, "password": _PASSWORD},
        "adapter": {"cluster_health": {"heartbeat_interval_ms": 100, "node_timeout_ms": 8000}},
    }
    async with pair_of(tmp_path, operators, shared=False, joined="carrier") as pair:
        yield pair


@pytest.fixture
async def http(pair: Pair) -> AsyncIterator[httpx.AsyncClient]:
    """An operator at the first server."""
    headers = {"authorization": f"Bearer {_PASSWORD}"}
    url = f"http://127.0.0.1:{pair.servers[0].metrics_port}/dashboard"
    async with httpx.AsyncClient(headers=headers, base_url=url) as http:
        yield http


async def asked(http: httpx.AsyncClient, path: str, **parameters: Any) -> dict[str, Any]:
    answer = await http.get(f"/api/v1/{path}", params=parameters)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_connections_of_all_nodes_are_one_list(pair: Pair, http: httpx.AsyncClient) -> None:
    sockets = []
    for number in range(9):
        client = await pair.client(number % 2)
        for channel in range(number):
            await client.subscribe(f"news-{channel}")
        sockets.append((client.socket_id, ("node-a", "node-b")[number % 2]))
    for sort, expected in (("newest", sockets[::-1]), ("oldest", sockets), ("subscriptions", sockets[::-1])):
        listed = []
        for page in (1, 2, 3):
            body = await asked(http, "connections", sort=sort, page=page, per_page=4)
            assert (body["total"], body["pages"], body["complete"]) == (9, 3, True)
            listed += [(row["socket_id"], row["node"]) for row in body["items"]]
        assert listed == expected
    body = await asked(http, "connections", by="channel", q="news-5")
    assert {row["socket_id"] for row in body["items"]} == {socket_id for socket_id, _ in sockets[6:]}
    body = await asked(http, "connections", node="node-b", sort="oldest", per_page=2, page=2)
    of_b = [socket_id for socket_id, node in sockets if node == "node-b"]
    assert [row["socket_id"] for row in body["items"]] == of_b[2:]
    page = (await http.get("/connections")).text
    assert all(socket_id in page for socket_id, _ in sockets)
    assert "<td>node-b</td>" in page


async def test_a_connection_of_another_node_is_shown_and_closed(pair: Pair, http: httpx.AsyncClient) -> None:
    here, client = await pair.client(0), await pair.client(1)
    await client.subscribe("news")
    body = await asked(http, f"connections/{client.socket_id}")
    assert (body["connection"]["node"], body["connection"]["subscription_count"]) == ("node-b", 1)
    assert [one["channel"] for one in body["subscriptions"]["items"]] == ["news"]
    assert "<dd>node-b</dd>" in (await http.get(f"/connections/{client.socket_id}")).text
    answer = await http.delete(f"/api/v1/connections/{client.socket_id}")
    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    await until(lambda: client.closed is not None, "the end of the connection")
    assert client.closed is not None
    assert client.closed.code == 4009
    assert here.closed is None
    assert (await http.get(f"/api/v1/connections/{client.socket_id}")).status_code == 404


async def test_a_channel_is_that_of_all_nodes(pair: Pair, http: httpx.AsyncClient) -> None:
    for server, user in ((0, "ana"), (1, "ben"), (1, "cleo"), (1, "ana")):
        client = await pair.client(server)
        await client.subscribe("presence-room", user_id=user, user_info={"name": user})
        await client.subscribe("cache-news")
    await pair.backends[1].publish("cache-news", "tide", {"height": 3})
    place = "channels/app/presence-room"
    for _ in range(1000):
        about = await asked(http, place)
        if about["user_count"] == 3:
            break
        await asyncio.sleep(0.02)
    assert (about["subscription_count"], about["user_count"], about["complete"]) == (4, 3, True)
    assert about["nodes"] == {"node-a": 1, "node-b": 3}
    members = await asked(http, f"{place}/members")
    assert [(row["node"], row["user_id"]) for row in members["items"]] == [
        ("node-a", "ana"),
        ("node-b", "ben"),
        ("node-b", "cleo"),
        ("node-b", "ana"),
    ]
    assert members["items"][1]["user_info"] == {"name": "ben"}
    subscribers = [await asked(http, f"{place}/subscribers", page=page, per_page=3) for page in (1, 2)]
    assert [row["node"] for page in subscribers for row in page["items"]] == ["node-a", *["node-b"] * 3]
    assert (await asked(http, "channels/app/cache-news"))["cache"]["event"] == "tide"
    listed = await asked(http, "channels", sort="subscriptions")
    assert [(row["channel"], row["subscription_count"]) for row in listed["items"]] == [
        ("cache-news", 4),
        ("presence-room", 4),
    ]
    assert (listed["total"], listed["complete"]) == (2, True)
    for view in ("", "/subscribers", "/members"):
        assert "node-b" in (await http.get(f"/channels/app/presence-room{view}")).text
    assert (await http.post("/api/v1/channels/app/presence-room/events", json={"name": "x", "data": "{}"})).json() == {
        "ok": True,
        "subscription_count": 4,
    }


async def test_problems_of_all_nodes_are_one_list(pair: Pair, http: httpx.AsyncClient) -> None:
    for server in (0, 1, 1):
        client = await pair.client(server)
        await client.send_event("client-wave", "news", {})
        await client.expect_error(4301)
    for _ in range(1000):
        [group] = (await asked(http, "problems", kinds="frame_refused"))["items"]
        if group["count"] == 3:
            break
        await asyncio.sleep(0.02)
    assert (group["error"], group["count"]) == ("client_event_channel", 3)
    assert sorted(entry["node"] for entry in group["last"]) == ["node-a", "node-b", "node-b"]
    # A holder of the app's secret sees the same at each of them.
    for backend in pair.backends:
        told = await backend.problems(kinds="frame_refused", text="client_event_channel")
        [group] = told["groups"]
        assert (group["error"], group["count"], told["total"]) == ("client_event_channel", 3, 1)
        assert sorted(entry["node"] for entry in group["last"]) == ["node-a", "node-b", "node-b"]
        assert "complete" not in told
        assert (await backend.problems(text="somewhere else"))["total"] == 0
    page = (await http.get("/why")).text
    assert "3 times" in page
    assert '<span class="mono">node-b</span>' in page
    [group] = (await asked(http, "errors/client_event_channel"))["problems"]
    assert group["count"] == 3
    pair.carriers[1].mute = True
    told = await pair.backends[0].problems()
    assert (told["groups"][0]["count"], told["complete"]) == (1, False)


async def test_what_does_not_answer_is_missing_and_said_to_be(pair: Pair, http: httpx.AsyncClient) -> None:
    client = await pair.client(0)
    there = await pair.client(1)
    pair.carriers[1].mute = True
    body = await asked(http, "connections")
    assert (body["complete"], [row["socket_id"] for row in body["items"]]) == (False, [client.socket_id])
    assert "Not every node has sent all that it has in time" in (await http.get("/connections")).text
    assert (await asked(http, "problems"))["complete"] is False
    answer = await http.get(f"/api/v1/connections/{there.socket_id}")
    assert answer.status_code == 503
    assert "did not answer" in answer.text


async def test_a_page_too_far_behind_asks_for_less(
    pair: Pair, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(everywhere, "FARTHEST", 10)
    for _ in range(4):
        await pair.client(1)
    answer = await http.get("/api/v1/connections", params={"page": 4, "per_page": 3})
    assert answer.status_code == 400
    assert "ends at its entry 10" in answer.text
    body = await asked(http, "connections", page=2, per_page=3, node="node-b")
    assert (body["total"], len(body["items"])) == (4, 1)
    assert (await http.get("/api/v1/connections", params={"node": "node-x"})).status_code == 404
