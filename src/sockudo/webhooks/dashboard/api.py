"""``/dashboard/api/v1/webhooks``: endpoints, deliveries, replay and test events for programs."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.auth.signing import path_part
from sockudo.dashboard.bodies import read_json
from sockudo.dashboard.paging import Paging
from sockudo.dashboard.replies import json
from sockudo.webhooks.dashboard.desk import (
    WebhookArea,
    explained,
    find_endpoints,
    known_app_id,
    queue_of,
    replay_deliveries,
    send_test,
    why_closed,
)
from sockudo.webhooks.operations import NO_DELIVERIES, Replay, delivery_page, delivery_state

__all__ = ["TEST_EVENT", "api_routes", "deliveries_asked"]

TEST_EVENT = "channel_occupied"
"""The default event of an example."""

_WEBHOOKS = "/dashboard/api/v1/webhooks"


def api_routes(area: WebhookArea) -> list[Route]:
    """The endpoints of all apps; the deliveries of one, a single one, replay, and a test event."""

    async def endpoints(request: Request) -> Response:
        found = await find_endpoints(area, Paging.of(request), request.query_params.get("app_id") or None)
        more = {"ignored": found.ignored, "queue": await queue_of(area), "off": why_closed(area)}
        return json({**found.page.body(list(found.page.entries)), **more})

    async def deliveries(request: Request) -> Response:
        app_id = await known_app_id(area, path_part(request, "app_id"))
        return json(await deliveries_asked(area, app_id, request))

    async def one(request: Request) -> Response:
        app_id = await known_app_id(area, path_part(request, "app_id"))
        return json(await explained(area, app_id, path_part(request, "delivery_id")))

    async def again(request: Request) -> Response:
        app_id = await known_app_id(area, path_part(request, "app_id"))
        return json(await replay_deliveries(area, app_id, await read_json(request, Replay)))

    async def test(request: Request) -> Response:
        wanted = await read_json(request, dict[str, Any]) if await request.body() else {}
        event = wanted.get("event", TEST_EVENT)
        if not isinstance(event, str):
            raise errors.INVALID_INPUT("event must be the name of an event")
        app_id, endpoint = path_part(request, "app_id"), path_part(request, "endpoint")
        return json((await send_test(area, app_id, endpoint, event)).as_dict())

    of_app = f"{_WEBHOOKS}/{{app_id}}"
    return [
        Route(_WEBHOOKS, endpoints, methods=["GET"]),
        Route(f"{of_app}/deliveries", deliveries, methods=["GET"]),
        Route(f"{of_app}/deliveries/{{delivery_id}}", one, methods=["GET"]),
        Route(f"{of_app}/replay", again, methods=["POST"]),
        Route(f"{of_app}/endpoints/{{endpoint}}/test", test, methods=["POST"]),
    ]


async def deliveries_asked(area: WebhookArea, app_id: str, request: Request) -> dict[str, Any]:
    """The page of deliveries that a URL asks for. Raises as `sockudo.webhooks.operations.delivery_page` does."""
    query = request.query_params
    endpoint, state = query.get("endpoint") or None, delivery_state(query.get("state") or None)
    before, limit = _whole(query.get("before"), "before"), _whole(query.get("limit"), "limit")
    webhooks = area.webhooks.if_open
    if webhooks is None:
        return NO_DELIVERIES
    return await delivery_page(webhooks, app_id, endpoint=endpoint, state=state, before=before, limit=limit)


def _whole(text: str | None, name: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise errors.INVALID_INPUT(f"{name} must be a whole number of 0 or more")
    return int(text)
