"""Pages and API of the area Apps."""

from __future__ import annotations

from starlette.routing import Route

from sockudo.dashboard.apps.api import api_routes
from sockudo.dashboard.apps.pages import page_routes
from sockudo.dashboard.board import Board

__all__ = ["routes"]


def routes(board: Board) -> list[Route]:
    """``/dashboard/apps`` and ``/dashboard/api/v1/apps``."""
    return [*api_routes(board), *page_routes(board)]
