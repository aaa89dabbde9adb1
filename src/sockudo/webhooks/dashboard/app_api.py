"""``/dashboard/api/v1/apps/{app_id}/webhooks``: the webhooks in an app's record for programs (spec: platform § 8.1)."""

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
from sockudo.dashboard.apps.desk import administer, app_of
from sockudo.dashboard.apps.problems import WHERE
from sockudo.dashboard.board import Board
from sockudo.dashboard.bodies import read_json
from sockudo.dashboard.replies import json

__all__ = ["app_api_routes"]


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
