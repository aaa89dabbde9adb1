"""All routes of the dashboard behind its door, as one ASGI application for both listeners."""

from __future__ import annotations

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sockudo import errors
from sockudo.dashboard import (
    apps,
    assets,
    channels,
    connections,
    error_pages,
    inspector,
    login,
    operations,
    overview,
    push,
    webhooks,
    why,
)
from sockudo.dashboard.access import Gate
from sockudo.dashboard.board import Board
from sockudo.dashboard.replies import error_reply
from sockudo.errors import SockudoError
from sockudo.ids import unique_id

__all__ = ["AREAS", "dashboard_app", "dashboard_routes"]

_log = structlog.get_logger("sockudo.dashboard")

AREAS = (
    login,
    overview,
    operations,
    apps,
    channels,
    connections,
    inspector,
    why,
    error_pages,
    webhooks,
    push,
)
"""The modules with pages: each has ``routes(board)``."""


def dashboard_routes(board: Board) -> list[Route]:
    """Every route of the dashboard."""
    return [*assets.routes(), *(route for area in AREAS for route in area.routes(board))]


def dashboard_app(board: Board) -> ASGIApp:
    """Answers every path that begins with ``/dashboard``."""
    return Gate(board, _Pages(board, dashboard_routes(board)))


class _Pages:
    """The routes; whatever goes wrong inside is answered from the catalogue."""

    def __init__(self, board: Board, routes: list[Route]) -> None:
        self._board = board
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            route, allow = self._find(scope)
            if route is not None:
                await route.handle(scope, receive, watched)
                return
            error, headers = errors.NOT_FOUND(f"There is nothing at {scope['path'][:200]}"), {}
            if allow:
                text = f"{scope['method']} is not allowed here; use {' or '.join(allow)}"
                error, headers = errors.METHOD_NOT_ALLOWED(text), {"allow": ", ".join(allow)}
        except SockudoError as refusal:
            error, headers = refusal, {}
        except ClientDisconnect:
            return
        except Exception as problem:
            # The last door: the client gets an id and nothing else, the log gets everything.
            reference = unique_id()
            _log.exception("request failed", path=scope["path"], reference=reference)
            if started:
                # What was begun cannot be taken back: the connection is closed, so that it does not look complete.
                raise
            del problem
            error, headers = errors.INTERNAL_ERROR(f"Internal server error {reference}"), {}
        await error_reply(self._board, Request(scope, receive), error, headers)(scope, receive, send)

    def _find(self, scope: Scope) -> tuple[Route | None, list[str]]:
        """The route for this path and method, and which methods the path has at all."""
        allow: set[str] = set()
        for route in self._routes:
            match, child = route.matches(scope)
            if match is Match.NONE:
                continue
            if match is Match.FULL:
                scope.update(child)
                return route, []
            allow.update(route.methods or ())
        return None, sorted(allow)
