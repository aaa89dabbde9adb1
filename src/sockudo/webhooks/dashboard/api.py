"""``/dashboard/api/v1/webhooks``: endpoints, deliveries, replay and test events for programs; and, with
``/dashboard/api/v1/apps/{app_id}/webhooks``, the webhooks in an app's record (spec: platform § 8.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.apps.edits import version_of
from sockudo.apps.webhooks import shown_webhooks, with_webhook, without_webhook
from sockudo.auth.signing import path_part
from sockudo.config.apps import App
from sockudo.config.webhooks import unused_webhooks
from sockudo.dashboard.apps.api import checked, seen_version
from sockudo.dashboard.apps.desk import WHERE, administer, app_of
from sockudo.dashboard.asked import read_json
from sockudo.dashboard.board import Board
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

__all__ = ["TEST_EVENT", "api_routes", "app_api_routes", "deliveries_asked"]


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


# ---- the webhooks of one app ----


def app_api_routes(board: Board) -> list[Route]:
    """List, add, replace and remove them."""
    several = "/dashboard/api/v1/apps/{app_id}/webhooks"

    async def listing(request: Request) -> Response:
        app = app_of(board, path_part(request, "app_id")).record
        return json({"webhooks": shown_webhooks(app), "version": version_of(app)})

    async def adding(request: Request) -> Response:
        entry = await read_json(request, dict[str, Any])
        record = await _edited(board, request, lambda app: with_webhook(app, entry, WHERE))
        return json(_webhooks(record), 201)

    async def replacing(request: Request) -> Response:
        index, entry = _index(request), await read_json(request, dict[str, Any])
        record = await _edited(board, request, lambda app: with_webhook(app, entry, WHERE, index=index))
        return json(_webhooks(record))

    async def removing(request: Request) -> Response:
        index = _index(request)
        return json(_webhooks(await _edited(board, request, lambda app: without_webhook(app, index, WHERE))))

    return [
        Route(several, listing, methods=["GET"]),
        Route(several, checked(adding), methods=["POST"]),
        Route(f"{several}/{{index}}", checked(replacing), methods=["PUT"]),
        Route(f"{several}/{{index}}", checked(removing), methods=["DELETE"]),
    ]


async def _edited(board: Board, request: Request, edit: Callable[[App], App]) -> App:
    app_id, version = path_part(request, "app_id"), seen_version(request)
    return await administer(board, lambda admin: admin.edit(app_id, edit, version=version))


def _webhooks(app: App) -> dict[str, Any]:
    warnings = list(unused_webhooks(app.policy.webhooks))
    return {"webhooks": shown_webhooks(app), "version": version_of(app), "warnings": warnings}


def _index(request: Request) -> int:
    text = path_part(request, "index")
    if not (text.isascii() and text.isdecimal() and len(text) <= 6):
        raise errors.INVALID_INPUT("A webhook is named by its index, a whole number from 0")
    return int(text)
