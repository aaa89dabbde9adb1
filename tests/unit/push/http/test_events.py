"""Events of the HTTP API that are notifications, too: by a rule, or by their ``extras.push`` (spec: push § 9)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sockudo import errors
from sockudo.config.apps import Limits
from sockudo.config.push_rules import PushRule
from sockudo.config.sections.push import PushBackpressure, PushQuotas
from sockudo.edge.replies import PLAIN_OK
from support.inside import Client, live_app
from unit.push.nodes import PublishNode

RULE = PushRule(channel_pattern="parcel-*", event_filter=("shipped",), rate_limit_per_second=2)
DATA = {"title": "Shipped", "body": "Your parcel"}
HI = {"extras": {"push": {"title": "Hi"}}}

# With a header that the express lane does not know the request takes the way of the web framework.
LANES = pytest.mark.parametrize(
    "headers", [{}, {"Upgrade": "h2c", "Connection": "Upgrade"}], ids=["express", "framework"]
)


@pytest.fixture
def node() -> PublishNode:
    return PublishNode(rules=(RULE,))


def listening(node: PublishNode, *channels: str) -> Client:
    client = node.connect()
    for channel in channels:
        node.hub.subscribe(client.session, channel)
    return client


@LANES
async def test_an_event_that_says_so_is_pushed_before_it_is_said(node: PublishNode, headers: dict[str, str]) -> None:
    client = listening(node, "news", "more")
    body = {"name": "tide", "data": "2.4", "channels": ["news", "more"], **HI}
    reply = await node.event(body, headers=headers)
    assert (reply.status, reply.body) == (200, PLAIN_OK.body)
    assert sorted(await node.published()) == [(["more"], "Hi"), (["news"], "Hi")]
    frames = client.frames()
    assert [(frame["event"], frame["channel"], frame["data"]) for frame in frames] == [
        ("tide", "news", "2.4"),
        ("tide", "more", "2.4"),
    ]
    # What is meant for push goes to nobody else.
    assert "push" not in json.dumps(frames)


@LANES
async def test_what_cannot_be_pushed_is_not_said(node: PublishNode, headers: dict[str, str]) -> None:
    """Scenario 27: providers off is 503, and so on."""
    client = listening(node, "news")
    event = {"name": "tide", "data": "2.4", "channel": "news"}
    node.push.options = PublishNode(providers=frozenset()).push.options
    reply = await node.event({**event, **HI}, headers=headers)
    assert (reply.status, reply.json()["code"]) == (503, "service_unavailable")
    assert reply.error == "push admission unavailable: push providers are disabled"
    node.components.push = None
    reply = await node.event({**event, **HI}, headers=headers)
    assert reply.error == "push admission unavailable: push providers are disabled"
    node.components.push = node.push
    node.push.options = PublishNode(backpressure=PushBackpressure(always=True)).push.options
    reply = await node.event({**event, **HI}, headers=headers)
    assert (reply.status, reply.headers["retry-after"]) == (429, "5")
    node.push.options = PublishNode().push.options
    for push, status in ((["x"], 422), ({"title": "t" * 257}, 400), ({"templateData": {"x": "y" * 4200}}, 413)):
        assert (await node.event({**event, "extras": {"push": push}}, headers=headers)).status == status
    assert client.frames() == []
    assert await node.published() == []
    # Refusals are counted like any other.
    assert node.gateway.refused_requests["push_disabled"] == 2


async def test_an_event_that_must_not_be_said_is_not_pushed(node: PublishNode) -> None:
    for event, spec in (
        ({"name": "tide", "data": "x", "channel": "a b", **HI}, errors.CHANNEL_NAME),
        ({"name": "n" * 300, "data": "x", "channel": "news", **HI}, errors.LIMIT_EXCEEDED),
        ({"data": "x", "channel": "news", **HI}, errors.INVALID_INPUT),
        ({"name": "tide", "data": "x", **HI}, errors.MISSING_CHANNEL),
        ({"name": "ai-input", "data": "x", "channel": "news", **HI}, errors.AI_EVENT_NOT_PERMITTED),
    ):
        reply = await node.event(event)
        assert (reply.status, reply.json()["code"]) == (spec.status, spec.code)
    assert await node.published() == []


async def test_a_quota_does_not_fail_the_event(node: PublishNode) -> None:
    await node.register("tab-1")
    await node.subscribe("news", "tab-1")
    node.push.options = PublishNode(quotas=PushQuotas(fanout_max=0)).push.options
    client = listening(node, "news")
    assert (await node.event({"name": "tide", "data": "x", "channel": "news", **HI})).status == 200
    assert len(client.frames()) == 1


@LANES
async def test_a_rule_pushes_after_the_event_was_said(node: PublishNode, headers: dict[str, str]) -> None:
    client = listening(node, "parcel-1", "news")
    reply = await node.event({"name": "shipped", "data": DATA, "channels": ["parcel-1", "news"]}, headers=headers)
    assert (reply.status, reply.body) == (200, PLAIN_OK.body)
    assert await node.published() == [(["parcel-1"], "Shipped")]
    assert [frame["channel"] for frame in client.frames()] == ["parcel-1", "news"]


@LANES
async def test_data_that_a_rule_cannot_use_fails_the_event(node: PublishNode, headers: dict[str, str]) -> None:
    """Scenario 27, whether push is on or not."""
    client = listening(node, "parcel-1")
    for _ in range(2):
        reply = await node.event({"name": "shipped", "data": {"title": "x"}, "channel": "parcel-1"}, headers=headers)
        assert (reply.status, reply.json()["code"]) == (400, "invalid_input")
        assert reply.error == "push rule for 'parcel-*': the event's data must have a string 'body'"
        node.components.push = None
    assert client.frames() == []
    # On a channel that no rule means it is an event like any other.
    assert (await node.event({"name": "shipped", "data": "plain", "channel": "news"}, headers=headers)).status == 200


async def test_a_rule_that_is_over_its_rate_fails_the_event(node: PublishNode) -> None:
    event = {"name": "shipped", "data": DATA, "channel": "parcel-1"}
    for status in (200, 200, 429):
        reply = await node.event(event)
        assert reply.status == status
    assert reply.headers["retry-after"] == "1"
    node.clock.advance(1)
    assert (await node.event(event)).status == 200
    assert len(await node.published()) == 3


async def test_what_the_reply_tells_stays_the_same(node: PublishNode) -> None:
    listening(node, "parcel-1")
    body = {"name": "shipped", "data": DATA, "channel": "parcel-1", "info": "subscription_count", **HI}
    [entry] = (await node.event(body)).json()["channels"].values()
    assert entry["subscription_count"] == 1
    assert sorted(title or "" for _, title in await node.published()) == ["Hi", "Shipped"]


async def test_a_repeated_event_is_pushed_once(node: PublishNode) -> None:
    client = listening(node, "parcel-1")
    body = {"name": "shipped", "data": DATA, "channel": "parcel-1", "idempotency_key": "k", **HI}
    for _ in range(2):
        assert (await node.event(body)).status == 200
    assert len(client.frames()) == 1
    assert len(await node.published()) == 2
    # What was refused may be tried again under its key.
    node.components.push = None
    failed = {**body, "idempotency_key": "other"}
    assert (await node.event(failed)).status == 503
    node.components.push = node.push
    node.clock.advance(1)
    assert (await node.event(failed)).status == 200
    assert len(client.frames()) == 1


# ---- batches ----


@LANES
async def test_items_of_a_batch_are_pushed_in_their_order(node: PublishNode, headers: dict[str, str]) -> None:
    client = listening(node, "news", "parcel-1")
    items: list[dict[str, Any]] = [
        {"name": "first", "data": "1", "channel": "news"},
        {"name": "second", "data": "2", "channel": "news", **HI},
        {"name": "shipped", "data": DATA, "channel": "parcel-1"},
        {"name": "fourth", "data": "4", "channel": "news", "info": "subscription_count"},
    ]
    reply = await node.event({"batch": items}, "batch_events", headers=headers)
    assert reply.status == 200
    assert [entry.get("subscription_count") for entry in reply.json()["batch"]] == [None, None, None, 1]
    frames = client.frames()
    assert [frame["event"] for frame in frames if frame["channel"] == "news"] == ["first", "second", "fourth"]
    assert [frame["event"] for frame in frames if frame["channel"] == "parcel-1"] == ["shipped"]
    assert sorted(await node.published()) == [(["news"], "Hi"), (["parcel-1"], "Shipped")]


async def test_the_first_item_that_cannot_be_pushed_ends_the_batch(node: PublishNode) -> None:
    client = listening(node, "news", "parcel-1")
    items = [
        {"name": "shipped", "data": DATA, "channel": "parcel-1"},
        {"name": "second", "data": "2", "channel": "news", "extras": {"push": {"title": "t" * 257}}},
        {"name": "third", "data": "3", "channel": "news"},
    ]
    reply = await node.event({"batch": items}, "batch_events")
    assert reply.status == 400
    assert reply.error == "title exceeds 256 bytes (item 1 of the batch)"
    assert [frame["event"] for frame in client.frames()] == ["shipped"]
    # What was said before goes on.
    assert await node.published() == [(["parcel-1"], "Shipped")]


async def test_an_item_that_is_repeated_is_pushed_once(node: PublishNode) -> None:
    client = listening(node, "news")
    item = {"name": "tide", "data": "1", "channel": "news", "idempotency_key": "k", **HI}
    for _ in range(2):
        assert (await node.event({"batch": [item, item]}, "batch_events")).status == 200
    assert len(client.frames()) == 1
    assert len(await node.published()) == 1


async def test_a_batch_counts_against_the_rate_of_the_app_as_ever() -> None:
    node = PublishNode(live_app("app", limits=Limits(max_backend_events_per_second=1)))
    item = {"name": "tide", "data": "1", "channel": "news", **HI}
    assert (await node.event({"batch": [item, item]}, "batch_events")).status == 429
    assert await node.published() == []


async def test_events_without_push_do_not_wait_for_anybody(node: PublishNode) -> None:
    """They are said and answered in one go, as before."""
    wire = node.wire()
    for body in ({"name": "tide", "data": "1", "channel": "news"}, {"name": "tide", "channel": "news", "extras": {}}):
        wire.feed(node.publish(body))
        assert wire.reply().status == 200
    wire.feed(node.publish({"name": "tide", "channel": "news", "extras": {"push": None}}))
    assert wire.reply().status == 200
