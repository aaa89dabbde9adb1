"""The routes under ``/apps``: publish, ask, end a user's connections (spec: http-api § 5 to 8)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.apps.live import LiveApp
from sockudo.auth.signing import path_part, query_param
from sockudo.cluster.directory import Directory
from sockudo.cluster.ports import Bus
from sockudo.edge.publishing import finished_reply, publish_reply
from sockudo.edge.refusals import after_failure, note_scope, scope_address
from sockudo.edge.signed import authenticated, json_reply, query_string
from sockudo.errors import ErrorSpec
from sockudo.publishing import channel_state, channel_users, list_channels
from sockudo.sessions.orders import end_user

if TYPE_CHECKING:
    from sockudo.edge.context import Edge

__all__ = ["api_routes"]

Endpoint = Callable[[Request], Awaitable[Response]]
Answer = Callable[["Edge", Directory, LiveApp, Request], Awaitable[object]]


def api_routes(edge: Edge, bus: Bus, directory: Directory) -> list[Route]:
    """Every route of the signed HTTP API; of a node that takes publishes alone, those of publishing."""
    terminate = _user_endpoint(edge, bus, errors.TERMINATED)
    reconnect = _user_endpoint(edge, bus, errors.FORCE_RECONNECT)
    app = "/apps/{app_id}"
    publishing = [
        Route(f"{app}/events", _publish(edge, batch=False), methods=["POST"]),
        Route(f"{app}/batch_events", _publish(edge, batch=True), methods=["POST"]),
    ]
    if edge.settings.server_role == "api":
        return publishing
    return [
        *publishing,
        Route(f"{app}/channels", _query(edge, directory, _channels), methods=["GET"]),
        Route(f"{app}/channels/{{channel}}", _query(edge, directory, _channel), methods=["GET"]),
        Route(f"{app}/channels/{{channel}}/users", _query(edge, directory, _users), methods=["GET"]),
        Route(f"{app}/users/{{user_id}}/terminate_connections", terminate, methods=["POST"]),
        Route(f"{app}/users/{{user_id}}/force_reconnect", reconnect, methods=["POST"]),
        # Where the stock Python SDK posts to: it leaves the app out of the path (spec: http-api § 8.1).
        Route("/users/{user_id}/terminate_connections", terminate, methods=["POST"]),
    ]


def _publish(edge: Edge, *, batch: bool) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        body = await request.body()
        reply = publish_reply(
            edge,
            batch,
            request.path_params["app_id"],
            request.scope["raw_path"],
            query_string(request),
            dict(request.scope["headers"]),
            body,
        )
        if isinstance(reply, asyncio.Future):
            await asyncio.wait((reply,))
            reply = finished_reply(reply)
        if reply.refusal is not None:
            reply = after_failure(edge, reply, scope_address(edge, request.scope))
        if reply.refusal is not None:
            note_scope(edge, reply.refusal, request.scope)
        response = Response(reply.body, reply.status, media_type="application/json")
        response.raw_headers.extend(reply.headers)
        return response

    return endpoint


def _query(edge: Edge, directory: Directory, answer: Answer) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        app = await authenticated(edge, request)
        edge.rates.check_read(app, edge.clock.monotonic())
        return json_reply(await answer(edge, directory, app, request))

    return endpoint


def _user_endpoint(edge: Edge, bus: Bus, spec: ErrorSpec) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        app = await authenticated(edge, request)
        await end_user(bus, app.id, path_part(request, "user_id"), spec)
        return json_reply({"ok": True})

    return endpoint


async def _channels(edge: Edge, directory: Directory, app: LiveApp, request: Request) -> object:
    prefix = _parameter(request, "filter_by_prefix") or ""
    return await list_channels(directory, app, prefix, _parameter(request, "info"))


async def _channel(edge: Edge, directory: Directory, app: LiveApp, request: Request) -> object:
    info = _parameter(request, "info")
    now = edge.clock.monotonic()
    state, name = edge.gateway.state(app), path_part(request, "channel")
    return await channel_state(directory, app, state, name, info, now, edge.events.refresh_cache)


async def _users(_: Edge, directory: Directory, app: LiveApp, request: Request) -> object:
    return await channel_users(directory, app, path_part(request, "channel"))


def _parameter(request: Request, name: str) -> str | None:
    return query_param(request.scope["query_string"], name)
