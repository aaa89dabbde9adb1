"""The first page: how the server is doing."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo.dashboard.board import Board
from sockudo.dashboard.replies import page

__all__ = ["routes"]


def routes(board: Board) -> list[Route]:
    """``/dashboard``."""

    async def overview(request: Request) -> Response:
        return page(board, request, "overview/index.html")

    return [Route("/dashboard", overview)]
