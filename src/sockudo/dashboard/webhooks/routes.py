"""Pages and API of the area Webhooks."""

from __future__ import annotations

from starlette.routing import Route

from sockudo.dashboard.board import Board
from sockudo.dashboard.webhooks.api import api_routes
from sockudo.dashboard.webhooks.pages import page_routes

__all__ = ["routes"]


def routes(board: Board) -> list[Route]:
    """``/dashboard/webhooks`` and ``/dashboard/api/v1/webhooks``."""
    return [*page_routes(board), *api_routes(board)]
