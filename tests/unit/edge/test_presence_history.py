"""The routes of a channel's presence history: who may ask, what is checked, what comes back (spec: http-api § 12)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from sockudo.apps.live import LiveApp
from sockudo.config.apps import History as HistoryOverride
from sockudo.config.apps import Limits
from sockudo.config.apps import PresenceHistory as PresenceOverride
from sockudo.history import History, HistoryOptions, PresenceHistory, PresenceHistoryOptions
from sockudo.hub.edges import Edges, MemberReported
from support.durable import UnrulyStore, refuse
from support.edge import EdgeNode, Response, request
from support.inside import HandComponent, live_app, no_history

ON = PresenceOverride(enabled=True)
KEPT = live_app("kept", history=HistoryOverride(enabled=True), presence_history=ON)
FLEETING = live_app("fleeting", presence_history=ON)
PLAIN = live_app("plain", history=HistoryOverride(enabled=True))
ROOM = "presence-room"


class Site(EdgeNode):
    """A node with three apps: one with a durable presence history, one with one in memory, one without."""

    def __init__(self, *apps: LiveApp) -> None:
        super().__init__(*(apps or (KEPT, FLEETING, PLAIN)))
        self.store = UnrulyStore()
        self.history = self._history(self.store, "sqlite")
        self.durable = HandComponent("history", no_history, self.history)
        self.presence = PresenceHistory(
            self._history(UnrulyStore(), "memory"),
            lambda app_id: app.streams if (app := self.apps.by_id(app_id)) is not None else None,
            self.clock,
            PresenceHistoryOptions(max_page_size=3),
            durable=self.durable,
            node_id="n1",
            is_alive=lambda _: True,
        )
        Edges(self.hub.observers).add(MemberReported, self.presence.note)
        self.components.presence_history.put(self.presence)

    def _history(self, store: UnrulyStore, backend: str) -> History:
        return History(
            store,  # type: ignore[arg-type]  # every method is there, by name
            self.clock,
            HistoryOptions(backend=backend),
        )

    async def __aenter__(self) -> Site:
        await self.history.start()
        await self.presence.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.presence.close()
        await self.history.close()

    def come(self, *user_ids: str, app: LiveApp | None = None) -> None:
        for user_id in user_ids:
            client = self.connect(app or self.app)
            client.subscribe(ROOM, {"user_id": user_id})

    async def ask(
        self,
        what: str = "",
        *,
        method: str = "GET",
        channel: str = ROOM,
        app: LiveApp | None = None,
        body: Any = None,
        headers: dict[str, str] | None = None,
        **params: str,
    ) -> Response:
        path = f"/apps/{(app or self.app).id}/channels/{quote(channel, safe='')}/presence/history{what}"
        return await self.signed(method, path, body, app=app, headers=headers, **params)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with Site() as node:
        yield node


def reset(**changes: Any) -> dict[str, Any]:
    return {"confirm_channel": ROOM, "confirm_operation": "reset", "reason": "bad import"} | changes


EVERY = [("GET", "", None), ("GET", "/state", None), ("GET", "/snapshot", None), ("POST", "/reset", reset())]


# ---- what comes back ----


@pytest.mark.parametrize("app", [KEPT, FLEETING], ids=["durable", "memory"])
async def test_a_page_is_json_with_the_events_in_it(site: Site, app: LiveApp) -> None:
    client = site.connect(app)
    client.subscribe(ROOM, {"user_id": "crew-8", "user_info": {"rank": "mate"}})
    reply = await site.ask(app=app)
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    page = reply.json()
    [item] = page["items"]
    stream_id, at_ms = item["stream_id"], int(site.clock.time() * 1000)
    event = {
        "stream_id": stream_id,
        "serial": 1,
        "published_at_ms": at_ms,
        "event": "member_added",
        "cause": "join",
        "user_id": "crew-8",
        "connection_id": client.socket_id,
        "user_info": {"rank": "mate"},
        "dead_node_id": None,
    }
    assert item.pop("presence_event") == event
    assert item.pop("payload_size_bytes") == page["continuity"]["retained_bytes"] > 0
    del event["user_info"]
    assert item == event
    assert page.keys() == {
        *("items", "direction", "limit", "has_more", "next_cursor", "bounds", "continuity", "stream_state")
    }
    assert page["stream_state"]["authoritative_source"] == ("durable_store" if app is KEPT else "in_memory")


async def test_pages_follow_each_other_by_their_cursors(site: Site) -> None:
    site.come(*[f"user-{number}" for number in range(7)])
    found: list[int] = []
    params: dict[str, str] = {}
    while True:
        page = (await site.ask(direction="forwards", **params)).json()
        found += [item["serial"] for item in page["items"]]
        if not page["has_more"]:
            break
        params = {"cursor": page["next_cursor"]}
    assert found == list(range(1, 8))


async def test_every_parameter_is_understood_and_long_names_win(site: Site) -> None:
    site.come("ana", "ben", "cid", "dan")

    async def serials(**params: str) -> list[int]:
        return [item["serial"] for item in (await site.ask(**params)).json()["items"]]

    assert await serials(limit="1") == [4]
    assert await serials(limit="99") == [4, 3, 2]
    assert await serials(start_serial="2", end_serial="3") == [3, 2]
    assert await serials(end="1") == []
    assert await serials(start="1", start_time_ms="9999999999999") == []
    assert await serials(direction="OLDEST_FIRST", end_time_ms="9999999999999") == [1, 2, 3]
    assert await serials(until_attach="zzz") == [4, 3, 2]


async def test_state(site: Site) -> None:
    site.come("ana")
    reply = (await site.ask("/state")).json()
    assert reply["channel"] == ROOM
    stream = reply["stream"]
    assert stream.keys() == {"stream_id", "next_serial", "retained", "state"}
    assert (stream["next_serial"], stream["retained"]["retained_events"]) == (2, 1)
    assert stream["state"]["continuity_proven"] is True


async def test_a_channel_that_nobody_ever_came_to(site: Site) -> None:
    assert (await site.ask()).json()["items"] == []
    assert (await site.ask("/state")).json()["stream"]["stream_id"] is None
    snapshot = (await site.ask("/snapshot")).json()
    assert (snapshot["members"], snapshot["snapshot_serial"], snapshot["snapshot_time_ms"]) == ([], None, None)


async def test_snapshots_at_a_serial_or_a_time(site: Site) -> None:
    site.come("ben")
    first = int(site.clock.time() * 1000)
    site.clock.advance(5)
    site.come("ana")

    async def members(**params: str) -> list[str]:
        return [member["user_id"] for member in (await site.ask("/snapshot", **params)).json()["members"]]

    assert await members() == ["ana", "ben"]
    assert await members(at_serial="1") == ["ben"]
    assert await members(at_time_ms=str(first)) == ["ben"]
    assert await members(at=str(first + 5000)) == ["ana", "ben"]
    assert await members(at=str(first + 5000), at_time_ms=str(first - 1)) == []
    assert await members(at=str(first + 5000), at_serial="1") == ["ben"]


async def test_a_reset_answers_what_it_did(site: Site) -> None:
    site.come("ana", "ben")
    reply = (await site.ask("/reset", method="POST", body=reset(requested_by="ops"))).json()
    assert (reply["ok"], reply["operation"], reply["channel"], reply["requested_by"]) == (True, "reset", ROOM, "ops")
    assert reply["purged_events"] == 2
    assert reply["new_stream_id"] == reply["stream"]["stream_id"] != reply["previous_stream_id"]
    assert (await site.ask()).json()["items"] == []


async def test_the_messages_of_the_channel_are_another_history(site: Site) -> None:
    site.come("ana")
    site.components.history.put(site.history)
    path = f"/apps/kept/channels/{ROOM}/history"
    reply = await site.signed("GET", path, app=KEPT)
    assert reply.json()["items"] == []


# ---- what is refused ----


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"limit": "0"}, "Presence history limit must be greater than 0"),
        ({"limit": "-1"}, "limit must be a whole number of 0 or more"),
        ({"limit": "many"}, "limit must be a whole number of 0 or more"),
        ({"direction": "up"}, "Invalid direction 'up'"),
        ({"start_serial": "2", "end_serial": "1"}, "start_serial must be less than or equal to end_serial"),
        ({"start": "2", "end": "1"}, "start_time_ms must be less than or equal to end_time_ms"),
        ({"start_time_ms": "x"}, "start_time_ms must be a whole number"),
        ({"cursor": "###"}, "Invalid presence history cursor: it is not base64url"),
        ({"cursor": "e30"}, "Unsupported presence history cursor version: null"),
    ],
)
async def test_parameters_of_a_page_that_cannot_be_meant(site: Site, params: dict[str, str], text: str) -> None:
    reply = await site.ask(**params)
    assert (reply.status, reply.json()["code"]) == (400, "invalid_input")
    assert text in reply.error


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"at_serial": "-1"}, "at_serial must be a whole number of 0 or more"),
        ({"at_serial": "1.5"}, "at_serial must be a whole number of 0 or more"),
        ({"at_serial": str(1 << 63)}, "at_serial must be a whole number of 0 or more"),
        ({"at_time_ms": "now"}, "at_time_ms must be a whole number"),
        ({"at": ""}, "at must be a whole number"),
    ],
)
async def test_moments_that_cannot_be_meant(site: Site, params: dict[str, str], text: str) -> None:
    reply = await site.ask("/snapshot", **params)
    assert (reply.status, reply.json()["code"]) == (400, "invalid_input")
    assert text in reply.error


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (reset(confirm_channel="room"), 400, "confirm_channel must exactly match the channel path"),
        (
            reset(confirm_channel=f"[presence-history]{ROOM}"),
            400,
            "confirm_channel must exactly match the channel path",
        ),
        (reset(confirm_operation="purge"), 400, "confirm_operation must be 'reset'"),
        (reset(reason=" "), 400, "reason must not be empty"),
        ({"confirm_channel": ROOM}, 422, "the required field 'confirm_operation' is missing"),
        (reset(requested_by=5), 422, "field 'requested_by': expected string or null, got integer"),
        (b"{", 400, "The body is not valid JSON"),
    ],
)
async def test_bodies_that_do_not_confirm_are_refused_and_nothing_is_deleted(
    site: Site, body: Any, status: int, text: str
) -> None:
    site.come("ana")
    reply = await site.ask("/reset", method="POST", body=body)
    assert reply.status == status
    assert text in reply.error
    assert len((await site.ask()).json()["items"]) == 1


async def test_a_body_needs_its_content_type(site: Site) -> None:
    reply = await site.ask("/reset", method="POST", body=reset(), headers={"Content-Type": "text/plain"})
    assert (reply.status, reply.json()["code"]) == (415, "invalid_input")


async def test_there_is_no_purge(site: Site) -> None:
    assert (await site.ask("/purge", method="POST", body={})).status == 404


# ---- for every route ----


@pytest.mark.parametrize(("method", "what", "body"), EVERY)
async def test_an_app_without_a_presence_history_is_told_so(site: Site, method: str, what: str, body: Any) -> None:
    reply = await site.ask(what, method=method, body=body, app=PLAIN)
    assert (reply.status, reply.json()["code"]) == (403, "feature_disabled")
    assert reply.error == f"Presence history is disabled by policy for channel '{ROOM}'"


@pytest.mark.parametrize(("method", "what", "body"), EVERY)
async def test_only_presence_channels_have_one_whatever_the_policy(
    site: Site, method: str, what: str, body: Any
) -> None:
    for channel in ("news", "private-presence-x", "cache-presence", "[presence-history]presence-room"):
        for app in (KEPT, PLAIN):
            reply = await site.ask(what, method=method, body=body, app=app, channel=channel)
            assert (reply.status, reply.json()["code"]) == (400, "invalid_input")
            assert reply.error == "Only presence channels support this endpoint" or channel.startswith("[")


@pytest.mark.parametrize(("method", "what", "body"), EVERY)
async def test_names_of_channels_are_checked_first(site: Site, method: str, what: str, body: Any) -> None:
    reply = await site.ask(what, method=method, body=body, app=PLAIN, channel="bad name")
    assert (reply.status, reply.json()["code"]) == (400, "invalid_input")
    assert "invalid characters" in reply.error


@pytest.mark.parametrize(("method", "what", "body"), EVERY)
async def test_every_route_is_signed(site: Site, method: str, what: str, body: Any) -> None:
    text = b"" if body is None else json.dumps(body).encode()
    fields = {"Content-Type": "application/json", "Content-Length": str(len(text))}
    path = f"/apps/kept/channels/{ROOM}/presence/history{what}"
    target = f"{path}?auth_key=key-kept&auth_timestamp=1&auth_signature=x"
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
    async with Site(live_app("kept", presence_history=ON, limits=Limits(max_read_requests_per_second=1))) as site:
        assert (await site.ask(what, method=method, body=body)).status == 200
        reply = await site.ask(what, method=method, body=body)
        assert (reply.status, reply.headers["retry-after"]) == (429, "1")


@pytest.mark.parametrize(
    ("method", "what", "body", "call"),
    [(*route, call) for route, call in zip(EVERY, ("read", "info", "read", "reset"), strict=True)],
)
async def test_a_store_that_is_down_is_not_the_callers_fault(
    site: Site, method: str, what: str, body: Any, call: str
) -> None:
    assert (await site.ask()).status == 200
    site.store.plan(call, refuse())
    reply = await site.ask(what, method=method, body=body)
    assert (reply.status, reply.json()["code"]) == (503, "service_unavailable")
    assert (await site.ask(what, method=method, body=body)).status == 200


async def test_a_stream_that_lost_something_answers_503_and_may_be_reset(site: Site) -> None:
    site.come("ana")
    assert (await site.ask()).status == 200
    await site.store.inner.mark("kept", f"[presence-history]{ROOM}", "reset_required", None, None, 0)
    for what in ("", "/snapshot"):
        reply = await site.ask(what)
        assert (reply.status, reply.json()["code"], reply.headers["retry-after"]) == (503, "service_unavailable", "1")
    assert (await site.ask("/state")).json()["stream"]["state"]["durable_state"] == "reset_required"
    assert (await site.ask("/reset", method="POST", body=reset())).status == 200
    assert (await site.ask()).status == 200


async def test_before_the_store_is_open_the_routes_ask_for_patience(site: Site) -> None:
    site.durable.put(None)
    assert (await site.ask(app=FLEETING)).status == 200
    reply = await site.ask()
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    site.components.presence_history.put(None)
    reply = await site.ask(app=FLEETING)
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")


# ---- /stats ----


async def test_stats_tell_how_the_histories_are(site: Site) -> None:
    off = {
        "enabled": False,
        "backend": "disabled",
        "state_authority": "disabled",
        "degraded_channels": 0,
        "reset_required_channels": 0,
        "queue_depth": 0,
    }

    async def blocks() -> tuple[Any, Any]:
        stats = (await site.wire().ask(request("GET", "/stats"))).json()
        return stats["history"], stats["presence_history"]

    on = off | {"enabled": True, "backend": "sqlite", "state_authority": "durable_store"}
    assert await blocks() == (off, on)
    site.components.history.put(site.history)
    site.components.presence_history.put(None)
    assert await blocks() == (on, off)
    site.components.presence_history.put(site.presence)
    site.durable.put(None)
    assert await blocks() == (on, off | {"enabled": True, "backend": "memory", "state_authority": "in_memory"})
