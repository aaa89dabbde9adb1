"""The page and the API of nodes, on a server that is alone."""

from __future__ import annotations

import json

import pytest

from support.desk import PASSWORD, Desk

BEARER = {"authorization": f"Bearer {PASSWORD}"}


async def test_programs_get_every_node_and_drain_one() -> None:
    desk = Desk()
    answer = await desk.ask("GET", "/dashboard/api/v1/nodes", BEARER)
    told = json.loads(answer.body)
    assert told["complete"]
    [node] = told["nodes"]
    assert (node["name"], node["me"], node["beat_age"]) == ("lone", True, 0.0)
    assert (node["report"]["connections"], node["report"]["uses"]) == (7, {"apps": "sqlite"})
    for body, seconds in ((b"", 30.0), (b'{"seconds": 5}', 5.0)):
        answer = await desk.ask("POST", "/dashboard/api/v1/nodes/lone/drain", BEARER, body)
        assert (answer.status, json.loads(answer.body)) == (200, {"ok": True, "node": "lone"})
        assert desk.lone.drained.pop() == seconds


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/dashboard/api/v1/nodes/other/drain", b"", 404),
        ("/dashboard/api/v1/nodes/lone/drain", b'{"seconds": -1}', 422),
        ("/dashboard/api/v1/nodes/lone/drain", b'{"minutes": 1}', 422),
    ],
)
async def test_what_cannot_be_drained_is_refused(path: str, body: bytes, status: int) -> None:
    desk = Desk()
    assert (await desk.ask("POST", path, BEARER, body)).status == status
    assert desk.lone.drained == []


async def test_the_page_shows_nodes_and_drains_with_a_button() -> None:
    desk = Desk()
    visitor = await desk.visitor()
    page = (await visitor.get("/dashboard/nodes")).text
    assert "lone" in page
    assert "this one" in page
    assert "1 min 0 s" in page
    assert ">Nodes</a>" not in page, "the menu of a server that is alone goes without"
    reply = await visitor.post("/dashboard/nodes/lone/drain", csrf_token=visitor.csrf, seconds="12")
    assert (reply.status, reply.headers["location"]) == (303, "/dashboard/nodes")
    assert desk.lone.drained == [12.0]
    assert (await visitor.post("/dashboard/nodes/lone/drain", csrf_token=visitor.csrf, seconds="soon")).status == 400
