"""Why something was refused, closed or not delivered: the last problems, grouped, with what probably led to them."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo.dashboard.asked import asked_app
from sockudo.dashboard.board import Board
from sockudo.dashboard.paging import Page, Paging
from sockudo.dashboard.problems import page_links, shown_group
from sockudo.dashboard.replies import json, page
from sockudo.inspector import Group
from sockudo.inspector.explained import PROBLEM_KINDS, explained, find_problems
from sockudo.inspector.lines import LABELS

__all__ = ["routes"]

_EXAMPLES: Final = 20


def routes(board: Board) -> list[Route]:
    """``/dashboard/why`` and its API."""

    def found(request: Request) -> Page[Group]:
        paging = Paging.of(request)
        app_id, kinds = asked_app(board, request), request.query_params.get("kinds")
        return paging.cut(find_problems(board.edge.gateway.inspector.problems, app_id, kinds, paging.q))

    async def why(request: Request) -> Response:
        groups = found(request)
        return page(
            board,
            request,
            "why/index.html",
            list=groups,
            groups=[shown_group(group) for group in groups.entries],
            kinds=[(kind, LABELS[kind]) for kind in PROBLEM_KINDS],
            apps=sorted(app.id for app in board.edge.apps.all()),
            app_id=request.query_params.get("app_id", ""),
            kind=request.query_params.get("kinds", ""),
            **page_links(),
        )

    async def problems(request: Request) -> Response:
        groups = found(request)
        return json(groups.body([explained(group, _EXAMPLES) for group in groups.entries]))

    return [Route("/dashboard/why", why), Route("/dashboard/api/v1/problems", problems)]
