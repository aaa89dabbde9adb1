"""Routes for operators on the main listener: health, memory, counters (spec: http-api § 13; platform § 6.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.auth.signing import path_part
from sockudo.base.components import Component
from sockudo.edge.refusals import note_scope
from sockudo.edge.replies import Refusal
from sockudo.history import History, PresenceHistory
from sockudo.hub.view import HubView
from sockudo.monitoring import Health, HealthChecks, host_memory, node_stats
from sockudo.protocol.handshake import SUPPORTED_VERSION

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = ["operations_routes"]


def operations_routes(
    edge: Edge,
    health: HealthChecks,
    view: HubView,
    history: Component[History],
    presence_history: Component[PresenceHistory],
) -> list[Route]:
    """``/live``, ``/up``, ``/usage``, ``/stats`` and the answer to a plain GET of a WebSocket URL."""

    async def live(_: Request) -> Response:
        return Response(b"")

    async def up(request: Request) -> Response:
        app_id = path_part(request, "app_id") if request.path_params else None
        return _up(await health.run(app_id))

    async def usage(_: Request) -> Response:
        _require_usage(edge)
        return _json({"memory": host_memory()})

    async def stats(_: Request) -> Response:
        _require_usage(edge)
        role = {"server_role": "api"} if edge.settings.server_role == "api" else {}
        return _json(node_stats(edge.apps, view, history, presence_history) | role)

    async def websocket(request: Request) -> Response:
        error = errors.UPGRADE_INVALID(
            "This is a WebSocket endpoint: the request lacks 'Upgrade: websocket' or 'Connection: Upgrade'"
        )
        note_scope(edge, Refusal.of(error), request.scope)
        response = Response(msgspec.json.encode(error.body()), 400, media_type="application/json")
        response.headers["sec-websocket-version"] = SUPPORTED_VERSION.decode()
        return response

    return [
        Route("/live", live),
        Route("/up", up),
        Route("/up/{app_id}", up),
        Route("/usage", usage),
        Route("/stats", stats),
        Route("/operator/stats", stats),
        *(() if edge.settings.server_role == "api" else (Route("/app/{key}", websocket, methods=["GET"]),)),
    ]


def _up(found: Health) -> Response:
    return Response(found.text, found.status, headers={"X-Health-Check": found.word}, media_type="text/plain")


def _require_usage(edge: Edge) -> None:
    if not edge.settings.http_api.usage_enabled:
        raise errors.NOT_FOUND("Usage is switched off (http_api.usage_enabled)")


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
