"""The routes by which operators look at webhooks and replay them: what comes back, what is refused, what is hidden."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from sockudo.apps.live import LiveApp
from sockudo.config.apps import Limits
from sockudo.config.webhooks import shown_url
from sockudo.webhooks.batches import BatchOptions
from sockudo.webhooks.deliverer import DeliveryOptions
from sockudo.webhooks.events import channel_event
from sockudo.webhooks.records import Answer, Target
from sockudo.webhooks.service import WebhookOptions, Webhooks
from support.edge import EdgeNode, Response, request, settings
from support.inside import credentials, live_app
from support.signing import signed_query
from support.waiting import until
from unit.webhooks.parts import memory_queue

SECRET_URL = "https://ana:hunter2@hooks.test:8443/in?token=s3cret&v=1#frag"
FIRST = {
    "url": SECRET_URL,
    "event_types": ["channel_vacated", "channel_occupied"],
    "filter": {"channel_prefix": "room-"},
    "headers": {"X-Api-Key": "k3y"},
    "retry": {"max_attempts": 3},
}
SECOND = {"url": "https://other.test/in", "event_types": ["channel_occupied"], "request_timeout_ms": 1500}
SHOP = live_app("shop", webhooks=(FIRST, SECOND, {"lambda_function": "f", "event_types": ["cache_miss"]}))
OTHER = live_app("other", webhooks=(SECOND,))
PLAIN = live_app("plain")


class Endpoints:
    """Answers by host: 200, unless a test puts something else there."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.sent: list[tuple[Target, bytes]] = []

    async def send(self, target: Target, body: bytes) -> Answer:
        self.sent.append((target, body))
        host = "hooks.test" if "hooks.test" in target.url else "other.test"
        return self.answers.get(host, Answer(200, took_ms=12, snippet="ok"))

    async def close(self) -> None:
        """Nothing was opened."""


class Site(EdgeNode):
    """A node with webhooks whose queue is in memory and whose endpoints are by hand."""

    def __init__(self) -> None:
        super().__init__(SHOP, OTHER, PLAIN)
        self.endpoints = Endpoints()
        self.webhooks = Webhooks(
            memory_queue(),
            self.endpoints,
            self.apps.by_id,
            self.clock,
            WebhookOptions(batches=BatchOptions(enabled=False), delivery=DeliveryOptions(size=1)),
        )
        self.components.webhooks.put(self.webhooks)
        self.first, self.second = self.webhooks.endpoints("shop").by_id  # type: ignore[union-attr]

    async def happen(self, *channels: str, app: LiveApp = SHOP) -> None:
        """Occupies the channels, and waits until every endpoint has been called as far as it can be now."""
        for channel in channels:
            self.webhooks.say(app.id, channel_event("channel_occupied", channel, int(self.clock.time() * 1000)))
        await until(lambda: not self.webhooks.batches.depth, pause=0)
        async with asyncio.timeout(10):
            await self.webhooks.deliverer.idle()

    async def ask(
        self,
        what: str = "",
        *,
        method: str = "GET",
        app: LiveApp = SHOP,
        body: Any = None,
        headers: dict[str, str] | None = None,
        **params: str,
    ) -> Response:
        path = f"/apps/{app.id}/webhooks{what}"
        return await self.signed(method, path, body, app=app, headers=headers, **params)

    async def deliveries(self, **params: str) -> list[dict[str, Any]]:
        return list((await self.ask("/deliveries", **params)).json()["deliveries"])

    async def replay(self, body: Any, **options: Any) -> Response:
        return await self.ask("/replay", method="POST", body=body, **options)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    node = Site()
    await node.webhooks.start()
    yield node
    await node.webhooks.close(0)


EVERY = [("GET", "", None), ("GET", "/deliveries", None), ("GET", "/deliveries/x", None), ("POST", "/replay", {})]


# ---- the endpoints ----


async def test_endpoints_are_shown_with_what_became_of_their_deliveries(site: Site) -> None:
    site.endpoints.answers["other.test"] = Answer(404, took_ms=30, snippet="no such page")
    await site.happen("room-1", "hall")
    reply = await site.ask()
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    first, second = reply.json()["endpoints"]
    now_ms = int(site.clock.time() * 1000)
    assert first == {
        "id": site.first,
        "url": "https://hooks.test:8443/in?token=…&v=…",
        "events": ["channel_occupied", "channel_vacated"],
        "filter": {"channel_prefix": "room-"},
        "headers": ["X-Api-Key"],
        "retry": {
            "enabled": True,
            "max_attempts": 3,
            "max_elapsed_time_ms": 300_000,
            "initial_backoff_ms": 1000,
            "max_backoff_ms": 60_000,
        },
        "timeout_ms": 10_000,
        "counts": {"waiting": 0, "in_flight": 0, "delivered": 1, "dead": 0},
        "state": "ok",
        "attempt_count": 1,
        "failed_count": 0,
        "average_ms": 12,
        "last_answer": {
            "at_ms": now_ms,
            "status": 200,
            "problem": None,
            "took_ms": 12,
            "snippet": "ok",
            "advice": None,
        },
    }
    assert (second["id"], second["timeout_ms"]) == (site.second, 1500)
    assert (second["counts"]["delivered"], second["counts"]["dead"]) == (0, 2)
    assert (second["state"], second["failed_count"]) == ("failing", 2)
    assert second["last_answer"]["advice"] == "Nothing is at this path: correct the webhook's url."
    assert reply.json()["ignored"] == [
        "policy.webhooks[2] is a Lambda function, which this version cannot call",
    ]
    assert reply.json()["queue"] == {"healthy": True, "events_not_queued": 0, "events_lost": 0}


async def test_nothing_secret_is_shown(site: Site) -> None:
    await site.happen("room-1")
    [delivery] = await site.deliveries(endpoint=site.first)
    texts = [await site.ask(), await site.ask("/deliveries"), await site.ask(f"/deliveries/{delivery['id']}")]
    for reply in texts:
        for secret in (b"hunter2", b"s3cret", b"k3y", b"ana:", b"frag", b"secret-shop"):
            assert secret not in reply.body


async def test_an_endpoint_that_nothing_was_sent_to(site: Site) -> None:
    first, _ = (await site.ask()).json()["endpoints"]
    assert (first["state"], first["last_answer"], first["average_ms"]) == ("untried", None, None)


async def test_an_endpoint_that_is_left_alone(site: Site) -> None:
    site.endpoints.answers["other.test"] = Answer(None, "connection_refused")
    for _ in range(5):
        await site.happen("hall")
        site.clock.advance(600)
        await site.happen()
    second = (await site.ask()).json()["endpoints"][1]
    assert second["state"] == "held_back"
    assert second["last_answer"]["problem"] == "connection_refused"
    assert second["last_answer"]["advice"] == "Start the endpoint, or correct the port."


async def test_an_endpoint_that_was_removed_is_shown_as_long_as_its_deliveries_are_kept(site: Site) -> None:
    await site.happen("hall")
    site.apps.put(live_app("shop", webhooks=(FIRST,)))
    endpoints = (await site.ask()).json()["endpoints"]
    assert endpoints[1:] == [
        {"id": site.second, "url": None, "counts": {"waiting": 0, "in_flight": 0, "delivered": 1, "dead": 0}},
    ]
    assert [each["url"] for each in await site.deliveries(endpoint=site.second, state="delivered")] == [None]
    assert await site.deliveries(endpoint=site.second, state="dead") == []


async def test_a_queue_that_does_not_work_is_told(site: Site) -> None:
    site.webhooks.deliverer.problem = "it is away"
    assert (await site.ask()).json()["queue"]["healthy"] is False


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.test", "https://a.test"),
        ("http://u@a.test:80/x;y?", "http://a.test:80/x;y"),
        ("http://u:p@[::1]:8080/?a", "http://[::1]:8080/?a=…"),
        ("https://a.test/?a=1&a=2&b%20c=%26", "https://a.test/?a=…&a=…&b%20c=…"),
        ("http://[::1", "…"),
    ],
)
def test_shown_addresses(url: str, shown: str) -> None:
    assert shown_url(url) == shown


# ---- deliveries ----


async def test_the_newest_deliveries_come_first_and_pages_follow_each_other(site: Site) -> None:
    await site.happen(*[f"hall-{number}" for number in range(7)])
    found: list[int] = []
    params: dict[str, str] = {"limit": "3"}
    while True:
        page = (await site.ask("/deliveries", **params)).json()
        assert page["limit"] == 3
        found += [each["sequence"] for each in page["deliveries"]]
        if page["next_before"] is None:
            break
        params["before"] = str(page["next_before"])
    assert found == [7, 6, 5, 4, 3, 2, 1]


async def test_a_page_says_all_but_the_body(site: Site) -> None:
    site.endpoints.answers["other.test"] = Answer(500)
    await site.happen("hall")
    now_ms = int(site.clock.time() * 1000)
    [delivery] = await site.deliveries()
    assert delivery.pop("id")
    assert delivery.pop("lane") == 0
    assert delivery == {
        "endpoint": site.second,
        "url": "https://other.test/in",
        "state": "waiting",
        "reason": None,
        "events": 1,
        "bytes": len(site.endpoints.sent[0][1]),
        "sequence": 1,
        "attempt_count": 1,
        "created_at_ms": now_ms,
        "due_at_ms": now_ms + 1000,
        "first_attempt_at_ms": now_ms,
        "settled_at_ms": None,
    }


async def test_deliveries_by_endpoint_and_state(site: Site) -> None:
    site.endpoints.answers["hooks.test"] = Answer(410)
    await site.happen("room-1")
    [dead] = await site.deliveries(state="dead")
    assert (dead["endpoint"], dead["reason"], dead["due_at_ms"]) == (site.first, "refused", None)
    assert [each["state"] for each in await site.deliveries(endpoint=site.second)] == ["delivered"]
    assert await site.deliveries(endpoint=site.second, state="dead") == []
    assert await site.deliveries(state="waiting") == []


async def test_a_limit_is_cut_to_the_largest_page(site: Site) -> None:
    assert (await site.ask("/deliveries", limit="9999")).json()["limit"] == 100
    assert (await site.ask("/deliveries")).json()["limit"] == 50


async def test_a_delivery_has_its_body_as_it_was_sent_and_its_attempts(site: Site) -> None:
    site.endpoints.answers["other.test"] = Answer(503, took_ms=4, snippet="busy")
    await site.happen("hall")
    began_ms = int(site.clock.time() * 1000)
    site.endpoints.answers["other.test"] = Answer(204, took_ms=2)
    site.clock.advance(2)
    await site.happen()
    [delivery] = await site.deliveries()
    reply = await site.ask(f"/deliveries/{delivery['id']}")
    whole = reply.json()
    assert whole["body"].encode() == site.endpoints.sent[0][1]
    assert json.loads(whole["body"])["events"] == [{"name": "channel_occupied", "channel": "hall"}]
    first, second = whole["attempts"]
    assert first == {
        "number": 1,
        "at_ms": began_ms,
        "took_ms": 4,
        "status": 503,
        "problem": None,
        "snippet": "busy",
        "advice": "The endpoint, or a proxy in its place, reports that it is unavailable: is it running?",
    }
    assert (second["number"], second["status"], second["advice"]) == (2, 204, None)
    assert (whole["state"], whole["attempt_count"], whole["settled_at_ms"]) == ("delivered", 2, began_ms + 2000)
    del whole["body"], whole["attempts"]
    assert whole == (await site.deliveries())[0]


async def test_no_app_sees_deliveries_of_another(site: Site) -> None:
    await site.happen("hall", app=OTHER)
    assert await site.deliveries() == []
    [delivery] = (await site.ask("/deliveries", app=OTHER)).json()["deliveries"]
    reply = await site.ask(f"/deliveries/{delivery['id']}")
    assert (reply.status, reply.json()["code"]) == (404, "delivery_not_found")
    assert (await site.replay({"ids": [delivery["id"]]})).status == 404
    assert (await site.replay({"all": True})).json()["replayed"] == 0
    assert len(site.endpoints.sent) == 1


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"limit": "0"}, "limit must be greater than 0"),
        ({"limit": "-1"}, "limit must be a whole number of 0 or more"),
        ({"limit": "many"}, "limit must be a whole number of 0 or more"),
        ({"before": "1.5"}, "before must be a whole number of 0 or more"),
        ({"before": "9" * 30}, "before must be a whole number of 0 or more"),
        ({"state": "Dead"}, "state must be one of waiting, delivered, dead, got 'Dead'"),
    ],
)
async def test_parameters_that_cannot_be_meant(site: Site, params: dict[str, str], text: str) -> None:
    reply = await site.ask("/deliveries", **params)
    assert (reply.status, reply.json()["code"], reply.error) == (400, "invalid_input", text)


async def test_what_is_not_there(site: Site) -> None:
    reply = await site.ask("/deliveries/" + quote("no/such id", safe=""))
    assert (reply.status, reply.error) == (404, "No webhook delivery of the app has the id 'no/such id'")
    reply = await site.ask("/deliveries", endpoint="nope")
    assert (reply.status, reply.json()["code"]) == (404, "endpoint_not_found")
    assert reply.json()["docs"] == "errors.md#endpoint_not_found"


# ---- replay ----


async def dead_letters(site: Site) -> list[str]:
    """Three of the second endpoint, the oldest first; it answers again afterwards."""
    site.endpoints.answers["other.test"] = Answer(404)
    await site.happen("a", "b", "c")
    site.endpoints.answers.clear()
    site.endpoints.sent.clear()
    return [each["id"] for each in reversed(await site.deliveries(state="dead"))]


async def test_one_is_replayed_with_its_id_and_body(site: Site) -> None:
    first, *_ = await dead_letters(site)
    body = (await site.ask(f"/deliveries/{first}")).json()["body"]
    reply = await site.replay({"ids": [first]})
    assert (reply.status, reply.json()) == (200, {"replayed": 1, "unknown": [], "waiting": []})
    await site.happen()
    [(target, sent)] = site.endpoints.sent
    assert sent.decode() == body
    headers = dict(target.headers)
    assert (headers["X-Sockudo-Delivery"], headers["X-Sockudo-Attempt"]) == (first, "1")
    assert (await site.ask(f"/deliveries/{first}")).json()["state"] == "delivered"
    assert len(await site.deliveries(state="dead")) == 2


async def test_delivered_ones_can_be_replayed_too(site: Site) -> None:
    await site.happen("hall")
    [delivery] = await site.deliveries()
    assert (await site.replay({"ids": [delivery["id"]]})).json()["replayed"] == 1
    await site.happen()
    assert len(site.endpoints.sent) == 2


async def test_all_of_an_endpoint_or_of_the_app(site: Site) -> None:
    await dead_letters(site)
    assert (await site.replay({"endpoint": site.first})).json()["replayed"] == 0
    assert (await site.replay({"endpoint": site.second})).json()["replayed"] == 3
    await site.happen()
    assert (await site.replay({"all": True})).json()["replayed"] == 0
    await dead_letters(site)
    assert (await site.replay({"all": True})).json()["replayed"] == 3


async def test_ids_that_cannot_be_replayed_are_named(site: Site) -> None:
    first, *_ = await dead_letters(site)
    site.endpoints.answers["other.test"] = Answer(500)
    await site.happen("d")
    [waiting] = await site.deliveries(state="waiting")
    reply = (await site.replay({"ids": [first, "gone", waiting["id"], first]})).json()
    assert reply == {"replayed": 1, "unknown": ["gone"], "waiting": [waiting["id"]]}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "invalid_input"),
        ({"all": False}, 400, "invalid_input"),
        ({"all": True, "ids": ["x"]}, 400, "invalid_input"),
        ({"ids": ["x"], "endpoint": "y"}, 400, "invalid_input"),
        ({"ids": []}, 400, "invalid_input"),
        ({"ids": ["x"] * 101}, 400, "invalid_input"),
        ({"ids": "x"}, 422, "invalid_input"),
        ({"all": 1}, 422, "invalid_input"),
        ({"ids": ["gone", "too"]}, 404, "delivery_not_found"),
        ({"endpoint": "gone"}, 404, "endpoint_not_found"),
        (b"{", 400, "invalid_input"),
    ],
)
async def test_replays_that_cannot_be_meant_change_nothing(site: Site, body: Any, status: int, code: str) -> None:
    await dead_letters(site)
    reply = await site.replay(body)
    assert (reply.status, reply.json()["code"]) == (status, code), reply.error
    assert len(await site.deliveries(state="dead")) == 3


async def test_a_body_needs_its_content_type(site: Site) -> None:
    assert (await site.replay({"all": True}, headers={"Content-Type": "text/plain"})).status == 415


# ---- for every route ----


@pytest.mark.parametrize(("method", "what", "body"), EVERY)
async def test_every_route_is_signed(site: Site, method: str, what: str, body: Any) -> None:
    path = f"/apps/shop/webhooks{what}"
    text = b"" if body is None else json.dumps(body).encode()
    head = {"Content-Length": str(len(text)), "Content-Type": "application/json"}
    assert (await site.wire().ask(request(method, path, head) + text)).status == 400
    query = signed_query(credentials(OTHER), method, path, body=text, timestamp=int(site.clock.time()))
    assert (await site.wire().ask(request(method, f"{path}?{query}", head) + text)).status == 401


@pytest.mark.parametrize(("method", "what", "body"), EVERY)
async def test_every_route_counts_as_a_read(site: Site, method: str, what: str, body: Any) -> None:
    site.apps.put(live_app("shop", webhooks=(FIRST,), limits=Limits(max_read_requests_per_second=1)))
    replies = [(await site.ask(what, method=method, body=body)).status for _ in range(3)]
    assert replies[-1] == 429


@pytest.mark.parametrize(("method", "what", "body"), EVERY)
async def test_a_server_without_a_queue_says_how_to_get_one(method: str, what: str, body: Any) -> None:
    site = Site()
    site.components.webhooks.put(None)
    site.edge.settings = settings(queue={"driver": "none"})
    reply = await site.ask(what, method=method, body=body)
    assert (reply.status, reply.json()["code"]) == (503, "webhooks_off")
    assert reply.error == 'This server has no webhooks: queue.driver is "none"'


@pytest.mark.parametrize(("method", "what", "body"), EVERY)
async def test_a_queue_that_is_not_open_yet(method: str, what: str, body: Any) -> None:
    site = Site()
    site.components.webhooks.put(None)
    reply = await site.ask(what, method=method, body=body)
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")


async def test_a_server_whose_apps_have_no_webhooks() -> None:
    site = Site()
    site.components.webhooks.put(None)
    assert (await site.ask(app=PLAIN)).json()["endpoints"] == []
    assert (await site.ask("/deliveries", app=PLAIN)).json()["deliveries"] == []
    assert (await site.ask("/deliveries/x", app=PLAIN)).json()["code"] == "delivery_not_found"
    assert (await site.replay({"all": True}, app=PLAIN)).json()["code"] == "endpoint_not_found"


async def test_an_app_without_webhooks_beside_one_with_some(site: Site) -> None:
    assert (await site.ask(app=PLAIN)).json()["endpoints"] == []
    assert (await site.ask("/deliveries", app=PLAIN)).json()["deliveries"] == []
    assert (await site.replay({"all": True}, app=PLAIN)).json()["replayed"] == 0
