"""Routes for operators on the main listener: health, memory, counters (spec: http-api § 13; platform § 6.5)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.base.components import Component
from sockudo.edge.health import Apps, Health, HealthChecks
from sockudo.edge.refusals import note_scope
from sockudo.edge.replies import Refusal
from sockudo.edge.signed import path_part
from sockudo.history import History, PresenceHistory
from sockudo.hub.view import AppCounts, HubView
from sockudo.protocol.handshake import SUPPORTED_VERSION

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = ["host_memory", "node_stats", "operations_routes"]


_HISTORY_OFF = {
    "enabled": False,
    "backend": "disabled",
    "state_authority": "disabled",
    "degraded_channels": 0,
    "reset_required_channels": 0,
    "queue_depth": 0,
}


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
        return _json(node_stats(edge.apps, view, history, presence_history))

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
        Route("/app/{key}", websocket, methods=["GET"]),
    ]


def _up(found: Health) -> Response:
    return Response(found.text, found.status, headers={"X-Health-Check": found.word}, media_type="text/plain")


def _require_usage(edge: Edge) -> None:
    if not edge.settings.http_api.usage_enabled:
        raise errors.NOT_FOUND("Usage is switched off (http_api.usage_enabled)")


def host_memory() -> dict[str, float]:
    """The host's memory in bytes, from ``/proc/meminfo``."""
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    total, free = (int(lines[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    used = total - free
    return {"free": free, "used": used, "total": total, "percent": round(100 * used / total, 2)}


def node_stats(
    apps: Apps, view: HubView, history: Component[History], presence_history: Component[PresenceHistory]
) -> dict[str, object]:
    """The reply of ``/stats``: this node's memory, histories and counts, in all and by app."""
    counted = [{"app_id": app.id, **_counts(view.counts(app.id))} for app in apps.all()]
    totals: dict[str, object] = {"apps": len(counted)}
    for name in ("connections", "authenticated_connections", "users", "connections_with_meta"):
        totals[name] = sum(int(app[name]) for app in counted)  # type: ignore[call-overload]  # these four are counts
    occupancy: dict[str, int] = {}
    for app in counted:
        for name, count in app["occupancy"].items():  # type: ignore[attr-defined]  # a dict of counts
            occupancy[name] = occupancy.get(name, 0) + count
    totals["occupancy"] = occupancy
    return {
        "memory": host_memory(),
        "history": history.service.runtime_status() if history.is_open else _HISTORY_OFF,
        "presence_history": presence_history.service.runtime_status() if presence_history.is_open else _HISTORY_OFF,
        "totals": totals,
        "apps": counted,
    }


def _counts(counts: AppCounts) -> dict[str, object]:
    return {
        "connections": counts.connections,
        "authenticated_connections": counts.signed_in,
        "users": counts.users,
        "connections_with_meta": 0,
        "occupancy": {
            "channels": counts.channels,
            "subscriptions": counts.subscriptions,
            "presence_channels": counts.presence_channels,
            "presence_subscriptions": counts.presence_subscriptions,
            "presence_members": counts.presence_members,
        },
    }


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
