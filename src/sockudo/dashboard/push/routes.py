"""Pages and API of the area Push."""

from __future__ import annotations

from starlette.routing import Route

from sockudo.dashboard.board import Board
from sockudo.dashboard.push.acting import acting_routes
from sockudo.dashboard.push.api import api_routes
from sockudo.dashboard.push.pages import page_routes

__all__ = ["routes"]


def routes(board: Board) -> list[Route]:
    """``/dashboard/push`` and ``/dashboard/api/v1/push``."""
    return [*page_routes(board), *acting_routes(board), *api_routes(board)]
