"""All routes of the dashboard behind its door, as one ASGI application for both listeners."""

from __future__ import annotations

from functools import partial

from starlette.routing import Route
from starlette.types import ASGIApp

from sockudo.dashboard import (
    apps,
    assets,
    error_pages,
    inspector,
    login,
    nodes,
    operations,
    overview,
    why,
)
from sockudo.dashboard.access import Gate
from sockudo.dashboard.board import Board
from sockudo.dashboard.channels import routes as channels
from sockudo.dashboard.connections import routes as connections
from sockudo.dashboard.replies import error_reply
from sockudo.dashboard.routing import Pages

__all__ = ["AREAS", "dashboard_app", "dashboard_routes"]

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
    nodes,
)
"""The modules with pages: each has ``routes(board)``, as have the areas of wings."""


def dashboard_routes(board: Board) -> list[Route]:
    """Every route of the dashboard."""
    of_core = [route for area in AREAS for route in area.routes(board)]
    return [*assets.routes(), *of_core, *(route for area in board.areas for route in area.routes(board))]


def dashboard_app(board: Board) -> ASGIApp:
    """Answers every path that begins with ``/dashboard``."""
    return Gate(board, Pages(dashboard_routes(board), partial(error_reply, board)))
