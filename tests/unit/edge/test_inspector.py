"""What an app's own credentials open: recent problems, without the names of the server's other apps."""

from __future__ import annotations

from typing import Any

import pytest

from support.edge import EdgeNode
from support.inside import Client, live_app

SHOP, BLOG = live_app("shop"), live_app("blog")


@pytest.fixture
async def node() -> EdgeNode:
    return EdgeNode(SHOP, BLOG)


def refuse_one(node: EdgeNode) -> None:
    """A client of the shop has a signature that is made with the blog's secret."""
    client: Client = node.connect()
    signed = BLOG.signer.hexdigest(f"{client.socket_id}:private-x".encode())
    client.send("pusher:subscribe", {"channel": "private-x", "auth": f"{SHOP.key}:{signed}"})


async def problems(node: EdgeNode, **params: str) -> Any:
    reply = await node.signed("GET", "/apps/shop/problems", app=SHOP, **params)
    assert reply.status == 200
    assert b"blog" not in reply.body
    return reply.json()


async def test_problems_name_no_other_app_and_cannot_be_searched_for_one(node: EdgeNode) -> None:
    refuse_one(node)
    [group] = (await problems(node))["groups"]
    assert group["error"] == "channel_auth_invalid"
    assert group["cause"].startswith("none of the usual mistakes explains the signature")
    assert (await problems(node, q="blog"))["total"] == 0
    [whole] = node.gateway.inspector.problems.groups()
    assert whole.cause == "signed with the secret of the app blog"
