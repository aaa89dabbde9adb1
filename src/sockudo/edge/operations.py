"""Routes for operators on the main listener: health, memory, counters (contract 20 § 13, 70 § 6.5)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.edge.paths import path_part
from sockudo.edge.refusals import note_scope
from sockudo.edge.replies import Refusal
from sockudo.hub import AppState
from sockudo.protocol.handshake import SUPPORTED_VERSION

if TYPE_CHECKING:
    from sockudo.edge.context import Edge, HealthCheck

__all__ = ["Checked", "Health", "health", "host_memory", "node_stats", "operations_routes"]

_log = structlog.get_logger("sockudo.health")


class Checked(msgspec.Struct):
    """How one check went. ``degrading``: its failure leaves the server in service, but not whole."""

    name: str
    passed: bool
    degrading: bool
    took_ms: float
    reason: str | None = None


class Health(msgspec.Struct):
    """The word of ``/up`` with its HTTP status, and why: ``reason`` where it is no check's, else the ``checks``."""

    word: str
    status: int
    reason: str | None = None
    checks: list[Checked] = []


_NO_APPS = "no apps configured"
_HISTORY_OFF = {
    "enabled": False,
    "backend": "disabled",
    "state_authority": "disabled",
    "degraded_channels": 0,
    "reset_required_channels": 0,
    "queue_depth": 0,
}


def operations_routes(edge: Edge) -> list[Route]:
    """``/live``, ``/up``, ``/usage``, ``/stats`` and the answer to a plain GET of a WebSocket URL."""

    async def live(_: Request) -> Response:
        return Response(b"")

    async def up(request: Request) -> Response:
        app_id = path_part(request, "app_id") if request.path_params else None
        return _one_word(await health(edge, app_id))

    async def usage(_: Request) -> Response:
        _require_usage(edge)
        return _json({"memory": host_memory()})

    async def stats(_: Request) -> Response:
        _require_usage(edge)
        return _json(node_stats(edge))

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


async def health(edge: Edge, app_id: str | None = None) -> Health:
    """Whether the server, or one app on it, is in service; all checks run at once, each for a limited time."""
    if edge.gateway.draining:
        return Health("DRAINING", 503, "the server is shutting down")
    if app_id is not None:
        app = edge.apps.by_id(app_id)
        if app is None:
            return Health("NOT_FOUND", 404, "no app has this id")
        if not app.enabled:
            return Health("ERROR", 503, "the app is disabled")
    else:
        some = bool(edge.apps.all())
        found = Checked("configured apps", some, degrading=False, took_ms=0, reason=None if some else _NO_APPS)
        _note(edge.failing, found)
        if not some:
            return Health("ERROR", 503, _NO_APPS)
    timeout = edge.settings.health_check_timeout_ms / 1000
    checks = {**edge.checks, **edge.degrading}
    done = await asyncio.gather(
        *(_check(name, check, timeout, name in edge.degrading) for name, check in checks.items())
    )
    for each in done:
        _note(edge.failing, each)
    if any(not check.passed and not check.degrading for check in done):
        return Health("ERROR", 503, checks=done)
    return Health("OK" if all(check.passed for check in done) else "DEGRADED", 200, checks=done)


async def _check(name: str, check: HealthCheck, seconds: float, degrading: bool) -> Checked:
    began = perf_counter()
    reason = None
    try:
        async with asyncio.timeout(seconds):
            passed = await check()
    except TimeoutError:
        passed, reason = False, f"no answer within {seconds:g} s"
    except errors.SockudoError as problem:
        passed, reason = False, problem.text
    except OSError as problem:
        passed, reason = False, type(problem).__name__
    return Checked(name, passed, degrading, round((perf_counter() - began) * 1000, 2), reason)


def _note(failing: dict[str, str | None], done: Checked) -> None:
    """A line for each change, however often it is asked."""
    if done.passed:
        if failing.pop(done.name, "never") != "never":
            _log.info("health check passes again", check=done.name)
    elif failing.get(done.name, "never") != done.reason:
        failing[done.name] = done.reason
        _log.warning("health check failed", check=done.name, reason=done.reason)


def _one_word(found: Health) -> Response:
    return Response(found.word, found.status, headers={"X-Health-Check": found.word}, media_type="text/plain")


def _require_usage(edge: Edge) -> None:
    if not edge.settings.http_api.usage_enabled:
        raise errors.NOT_FOUND("Usage is switched off (http_api.usage_enabled)")


def host_memory() -> dict[str, float]:
    """The host's memory in bytes, from ``/proc/meminfo``."""
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    total, free = (int(lines[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    used = total - free
    return {"free": free, "used": used, "total": total, "percent": round(100 * used / total, 2)}


def node_stats(edge: Edge) -> dict[str, object]:
    """The reply of ``/stats``: this node's memory, histories and counts, in all and by app."""
    apps = [
        {"app_id": app.id, **_counts(state)}
        for app in edge.apps.all()
        if (state := edge.gateway.state(app)) is not None
    ]
    totals: dict[str, object] = {"apps": len(apps)}
    for name in ("connections", "authenticated_connections", "users", "connections_with_meta"):
        totals[name] = sum(int(app[name]) for app in apps)  # type: ignore[call-overload]  # these four are counts
    occupancy: dict[str, int] = {}
    for app in apps:
        for name, count in app["occupancy"].items():  # type: ignore[attr-defined]  # a dict of counts
            occupancy[name] = occupancy.get(name, 0) + count
    totals["occupancy"] = occupancy
    return {
        "memory": host_memory(),
        "history": _HISTORY_OFF if edge.history is None else edge.history.runtime_status(),
        "presence_history": _HISTORY_OFF if edge.presence_history is None else edge.presence_history.runtime_status(),
        "totals": totals,
        "apps": apps,
    }


def _counts(state: AppState) -> dict[str, object]:
    channels = state.occupied().values()
    presence = [channel for channel in channels if channel.presence is not None]
    signed_in = sum(connection.user is not None for connection in state.connections.values())
    return {
        "connections": len(state.connections),
        "authenticated_connections": signed_in,
        "users": len(state.users),
        "connections_with_meta": 0,
        "occupancy": {
            "channels": len(channels),
            "subscriptions": sum(channel.subscription_count for channel in channels),
            "presence_channels": len(presence),
            "presence_subscriptions": sum(channel.subscription_count for channel in presence),
            "presence_members": sum(len(channel.presence or ()) for channel in presence),
        },
    }


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
