"""The routes of a channel's durable history: who may ask, what is checked first, what comes back
(spec: http-api § 11)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from sockudo.apps.live import LiveApp
from sockudo.base.stream_records import Append
from sockudo.config.apps import History as HistoryOverride
from sockudo.config.apps import Limits
from sockudo.history import History, HistoryOptions
from support.durable import UnrulyStore, refuse
from support.edge import EdgeNode, Response, request
from support.inside import credentials, live_app
from support.signing import signed_query

STORED = live_app("kept", history=HistoryOverride(enabled=True))
PLAIN = live_app("plain")


class Site(EdgeNode):
    """A node with two apps, of which one has a history."""

    def __init__(self, *apps: LiveApp) -> None:
        super().__init__(*(apps or (STORED, PLAIN)))
        self.store = UnrulyStore()
        self.history = History(
            self.store,  # type: ignore[arg-type]  # every method is there, by name
            self.clock,
            HistoryOptions(max_page_size=3),
        )
        self.components.history.put(self.history)

    async def say(self, count: int, channel: str = "news") -> None:
        appends = [
            Append(
                self.app.id,
                channel,
                json.dumps(
                    {"event": "said", "channel": channel, "data": str(number), "message_id": f"m{number}"}
                ).encode(),
                f"m{number}",
                "said",
                1000 + number,
            )
            for number in range(1, count + 1)
        ]
        await asyncio.gather(*[self.history.submit(append, lambda _: None) for append in appends])

    async def ask(
        self,
        what: str = "history",
        *,
        method: str = "GET",
        channel: str = "news",
        app: LiveApp | None = None,
        body: Any = None,
        headers: dict[str, str] | None = None,
        **params: str,
    ) -> Response:
        path = f"/apps/{(app or self.app).id}/channels/{quote(channel, safe='')}/{what}"
        return await self.signed(method, path, body, app=app, headers=headers, **params)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    node = Site()
    await node.history.start()
    yield node
    await node.history.close()


def reset(**changes: Any) -> dict[str, Any]:
    return {"confirm_channel": "news", "confirm_operation": "reset", "reason": "bad import"} | changes


def purge(**changes: Any) -> dict[str, Any]:
    return {"confirm_channel": "news", "confirm_operation": "purge", "reason": "retention", "mode": "all"} | changes


EVERY = [("GET", "history", None), ("GET", "history/state", None)]
EVERY += [("POST", "history/reset", reset()), ("POST", "history/purge", purge())]


# ---- pages ----


async def test_a_page_is_json_with_the_messages_in_it(site: Site) -> None:
    await site.say(2)
    reply = await site.ask()
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    page = reply.json()
    assert [item["message"]["data"] for item in page["items"]] == ["2", "1"]
    assert page["items"][0]["message"]["serial"] == 2
    assert page["items"][0]["message"]["stream_id"] == page["continuity"]["stream_id"]


async def test_pages_follow_each_other_by_their_cursors(site: Site) -> None:
    await site.say(7)
    found: list[int] = []
    params: dict[str, str] = {}
    while True:
        page = (await site.ask(direction="oldest_first", **params)).json()
        found += [item["serial"] for item in page["items"]]
        if not page["has_more"]:
            break
        params = {"cursor": page["next_cursor"]}
    assert found == [1, 2, 3, 4, 5, 6, 7]


async def test_parameters_reach_the_page(site: Site) -> None:
    await site.say(5)
    page = (await site.ask(limit="1", start_serial="2", end_serial="4", start="0", end="9999")).json()
    assert [item["serial"] for item in page["items"]] == [4]
    assert page["bounds"] == {"start_serial": 2, "end_serial": 4, "start_time_ms": 0, "end_time_ms": 9999}
    assert (await site.ask(unknown="x")).status == 200


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"limit": "0"}, "History limit must be greater than 0"),
        ({"limit": "abc"}, "limit must be a whole number of 0 or more"),
        ({"limit": ""}, "limit must be a whole number of 0 or more"),
        ({"direction": "x"}, "Invalid direction 'x'. Accepted values: newest_first, oldest_first, backwards, forwards"),
        ({"cursor": ""}, "Invalid history cursor: it is not one of this server's"),
        ({"cursor": "A" * 17_000}, "History cursor exceeds 16 KiB"),
        ({"start_serial": "5", "end_serial": "3"}, "start_serial must be less than or equal to end_serial"),
    ],
)
async def test_what_cannot_be_meant_is_refused_with_what_is_wrong(
    site: Site, params: dict[str, str], text: str
) -> None:
    reply = await site.ask(**params)
    assert (reply.status, reply.json()["code"], reply.error) == (400, "invalid_input", text)


async def test_a_parameter_given_twice_is_refused(site: Site) -> None:
    path = "/apps/kept/channels/news/history"
    query = signed_query(credentials(STORED), "GET", path, params={"limit": "2"}, timestamp=int(site.clock.time()))
    reply = await site.wire().ask(request("GET", f"{path}?limit=1&{query}"))
    assert reply.status == 400
    assert "'limit' is given more than once" in reply.error


async def test_the_head_of_a_page_can_be_asked_for(site: Site) -> None:
    reply = await site.ask(method="HEAD")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")


# ---- state, reset and purge ----


async def test_the_state_of_a_stream(site: Site) -> None:
    await site.say(3)
    state = (await site.ask("history/state")).json()
    assert (state["channel"], state["stream"]["next_serial"]) == ("news", 4)
    assert state["stream"]["state"]["durable_state"] == "healthy"


async def test_a_reset_starts_a_new_stream(site: Site) -> None:
    await site.say(3)
    reply = (await site.ask("history/reset", method="POST", body=reset(requested_by="ops"))).json()
    assert (reply["ok"], reply["operation"], reply["channel"], reply["requested_by"]) == (True, "reset", "news", "ops")
    assert reply["purged_messages"] == 3
    assert reply["new_stream_id"] == reply["stream"]["stream_id"] != reply["previous_stream_id"]
    assert (await site.ask()).json()["items"] == []


async def test_a_purge_drops_a_prefix(site: Site) -> None:
    await site.say(3)
    body = purge(mode="before_serial", before_serial=3)
    reply = (await site.ask("history/purge", method="POST", body=body)).json()
    assert (reply["purged_messages"], reply["before_serial"], reply["stream"]["next_serial"]) == (2, 3, 4)
    assert [item["serial"] for item in (await site.ask()).json()["items"]] == [3]


@pytest.mark.parametrize(
    ("what", "body", "status", "text"),
    [
        ("history/reset", reset(confirm_channel="x"), 400, "confirm_channel must exactly match the channel path"),
        ("history/reset", reset(reason=" "), 400, "reason must not be empty"),
        ("history/purge", purge(before_serial=1), 400, "Purge mode 'all' does not accept bounds"),
        ("history/reset", {"confirm_channel": "news"}, 422, "the required field 'confirm_operation' is missing"),
        ("history/purge", purge(mode="zzz"), 422, "field 'mode': the value is none that is allowed"),
        ("history/purge", purge(requested_by=5), 422, "field 'requested_by': expected string or null, got integer"),
        ("history/reset", b"{", 400, "The body is not valid JSON"),
        ("history/reset", b"", 400, "The body is not valid JSON"),
        ("history/reset", b'{"reason":"\xff"}', 400, "not UTF-8 at byte 11"),
        ("history/reset", b"[" * 5000, 400, "nested more than"),
        (
            "history/reset",
            b'{"reason":"a","reason":"b"' + json.dumps(reset())[1:].encode().join([b",", b""]),
            422,
            "reason",
        ),
    ],
)
async def test_bodies_that_do_not_confirm_are_refused_and_nothing_is_deleted(
    site: Site, what: str, body: Any, status: int, text: str
) -> None:
    await site.say(2)
    reply = await site.ask(what, method="POST", body=body)
    assert reply.status == status
    assert text in reply.error
    assert len((await site.ask()).json()["items"]) == 2


async def test_a_body_needs_its_content_type(site: Site) -> None:
    reply = await site.ask("history/reset", method="POST", body=reset(), headers={"Content-Type": "text/plain"})
    assert (reply.status, reply.json()["code"]) == (415, "invalid_input")


# ---- for every route ----


@pytest.mark.parametrize(("method", "what", "body"), EVERY)
async def test_an_app_without_history_is_told_so(site: Site, method: str, what: str, body: Any) -> None:
    reply = await site.ask(what, method=method, body=body, app=PLAIN)
    assert (reply.status, reply.json()["code"]) == (403, "feature_disabled")
    assert reply.error == "Durable history is disabled by policy for channel 'news'"


@pytest.mark.parametrize(("method", "what", "body"), EVERY)
async def test_names_of_channels_are_checked_first(site: Site, method: str, what: str, body: Any) -> None:
    reply = await site.ask(what, method=method, body=body, app=PLAIN, channel="bad name")
    assert (reply.status, reply.json()["code"]) == (400, "invalid_input")
    assert "invalid characters" in reply.error


@pytest.mark.parametrize(("method", "what", "body"), EVERY)
async def test_every_route_is_signed(site: Site, method: str, what: str, body: Any) -> None:
    text = b"" if body is None else json.dumps(body).encode()
    fields = {"Content-Type": "application/json", "Content-Length": str(len(text))}
    target = f"/apps/kept/channels/news/{what}?auth_key=key-kept&auth_timestamp=1&auth_signature=x"
    reply = await site.wire().ask(request(method, target, fields) + text)
    assert (reply.status, reply.json()["code"]) == (401, "auth_failed")


@pytest.mark.parametrize(
    ("method", "what", "allow"), [(m, w, "GET,HEAD" if m == "GET" else "POST") for m, w, _ in EVERY]
)
async def test_other_methods_are_not_allowed(site: Site, method: str, what: str, allow: str) -> None:
    wrong = "POST" if method == "GET" else "GET"
    reply = await site.ask(what, method=wrong, body={} if wrong == "POST" else None)
    assert (reply.status, reply.headers["allow"]) == (405, allow)


@pytest.mark.parametrize(("method", "what", "body"), EVERY)
async def test_queries_are_limited_per_app(method: str, what: str, body: Any) -> None:
    site = Site(live_app("kept", history=HistoryOverride(enabled=True), limits=Limits(max_read_requests_per_second=1)))
    await site.history.start()
    assert (await site.ask(what, method=method, body=body)).status == 200
    reply = await site.ask(what, method=method, body=body)
    assert (reply.status, reply.headers["retry-after"]) == (429, "1")
    await site.history.close()


@pytest.mark.parametrize(
    ("method", "what", "body", "call"),
    [(*route, call) for route, call in zip(EVERY, ("read", "info", "reset", "purge"), strict=True)],
)
async def test_a_store_that_is_down_is_not_the_callers_fault(
    site: Site, method: str, what: str, body: Any, call: str
) -> None:
    site.store.plan(call, refuse())
    reply = await site.ask(what, method=method, body=body)
    assert (reply.status, reply.json()["code"]) == (503, "service_unavailable")
    assert (await site.ask(what, method=method, body=body)).status == 200


async def test_a_degraded_stream_answers_503_and_may_be_reset(site: Site) -> None:
    await site.say(1)
    await site.store.inner.mark("kept", "news", "degraded", None, None, 0)
    reply = await site.ask()
    assert (reply.status, reply.json()["code"], reply.headers["retry-after"]) == (503, "service_unavailable", "1")
    assert (await site.ask("history/state")).json()["stream"]["state"]["durable_state"] == "degraded"
    assert (await site.ask("history/reset", method="POST", body=reset())).status == 200
    assert (await site.ask()).status == 200


async def test_before_the_store_is_open_the_routes_ask_for_patience() -> None:
    site = Site()
    site.components.history.put(None)
    reply = await site.ask()
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
