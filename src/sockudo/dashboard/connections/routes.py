"""Pages and API of the area Connections."""

from __future__ import annotations

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.auth.signing import path_part
from sockudo.dashboard.asked import asked_app, choice, read_form
from sockudo.dashboard.board import Board
from sockudo.dashboard.connections.detail import end_connection, find_connection
from sockudo.dashboard.connections.listing import BY, SORTS, ConnectionQuery, ConnectionRow, find_connections
from sockudo.dashboard.paging import Page, Paging
from sockudo.dashboard.replies import json, page, redirect, wants_part
from sockudo.errors import SockudoError

__all__ = ["routes"]


_log = structlog.get_logger("sockudo.dashboard")


def routes(board: Board) -> list[Route]:
    """``/dashboard/connections`` and ``/dashboard/api/v1/connections``."""

    async def index(request: Request) -> Response:
        query, found = await _found(board, request)
        return page(
            board,
            request,
            "connections/index.html",
            block="results",
            query=query,
            found=found,
            apps=[app.id for app in board.apps.all()],
            nodes=[("", "All nodes"), *((name, name) for name in dict.fromkeys(board.nodes.names()))],
            chosen=request.query_params.get("node", ""),
        )

    async def show(request: Request) -> Response:
        return await _detail(board, request, path_part(request, "socket_id"))

    async def close(request: Request) -> Response:
        form = await read_form(request)
        socket_id = path_part(request, "socket_id")
        await _end(board, socket_id, form.get("app_id") or None)
        return redirect(request, "/dashboard/connections", f"Connection {socket_id} was closed")

    path = "/dashboard/connections"
    return [
        Route(path, index, methods=["GET"]),
        Route(f"{path}/{{socket_id}}", show, methods=["GET"]),
        Route(f"{path}/{{socket_id}}/close", close, methods=["POST"]),
        *_api(board),
    ]


def _api(board: Board) -> list[Route]:
    async def listed(request: Request) -> Response:
        _, found = await _found(board, request)
        return json(found.body(list(found.entries)))

    async def about(request: Request) -> Response:
        socket_id, app_id = path_part(request, "socket_id"), asked_app(board, request)
        view, page = await find_connection(board.nodes, socket_id, app_id, Paging.of(request))
        return json({"connection": view, "subscriptions": page.body(list(page.entries))})

    async def close(request: Request) -> Response:
        await _end(board, path_part(request, "socket_id"), asked_app(board, request))
        return json({"ok": True})

    path = "/dashboard/api/v1/connections"
    return [
        Route(path, listed, methods=["GET"]),
        Route(f"{path}/{{socket_id}}", about, methods=["GET"]),
        Route(f"{path}/{{socket_id}}", close, methods=["DELETE"]),
        Route(f"{path}/{{socket_id}}/close", close, methods=["POST"]),
    ]


async def _found(board: Board, request: Request) -> tuple[ConnectionQuery, Page[ConnectionRow]]:
    paging = Paging.of(request)
    query = ConnectionQuery(
        asked_app(board, request), paging.q, choice(request, "by", BY), choice(request, "sort", SORTS)
    )
    return query, await find_connections(board.nodes, query, paging, request.query_params.get("node") or None)


async def _detail(board: Board, request: Request, socket_id: str) -> Response:
    app_id = asked_app(board, request)
    try:
        view, found = await find_connection(board.nodes, socket_id, app_id, Paging.of(request))
    except SockudoError as error:
        if error.spec is not errors.NOT_FOUND:
            raise
        # For a part of a page that asks again and again: here is the end of it, which this status means to htmx.
        status = 286 if wants_part(request) else 404
        return page(
            board,
            request,
            "connections/gone.html",
            block="live",
            status=status,
            app_id=app_id,
            socket_id=socket_id,
        )
    return page(
        board,
        request,
        "connections/connection.html",
        block="live",
        about=view,
        found=found,
    )


async def _end(board: Board, socket_id: str, app_id: str | None) -> None:
    ended = await end_connection(board.nodes, socket_id, app_id)
    _log.info("connection closed by an operator", app_id=ended.app_id, socket_id=socket_id, node=ended.node)
