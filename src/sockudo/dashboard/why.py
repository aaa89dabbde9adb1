"""Why something was refused, closed or not delivered: the last problems, grouped, with what probably led to them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo.dashboard.board import Board
from sockudo.dashboard.paging import Page, Paging
from sockudo.dashboard.problems import shown_group
from sockudo.dashboard.replies import json, page
from sockudo.inspector import Group
from sockudo.inspector.explained import PROBLEM_KINDS, explained
from sockudo.inspector.lines import LABELS
from sockudo.monitoring.problems import problems_of_all

__all__ = ["routes"]

_EXAMPLES: Final = 20


def routes(board: Board) -> list[Route]:
    """``/dashboard/why`` and its API."""

    async def found(request: Request) -> Page[Group]:
        paging, app_id = Paging.of(request), request.query_params.get("app_id")
        groups, complete = await problems_of_all(board.nodes, request.query_params.get("kinds"), paging.q)
        known = app_id is not None and board.apps.by_id(app_id) is not None
        page = paging.cut([group for group in groups if not app_id or _is_about(group, app_id, known=known)])
        return replace(page, complete=complete)

    async def why(request: Request) -> Response:
        groups, app_id = await found(request), request.query_params.get("app_id", "")
        apps = {app.id for app in board.apps.all()}
        return page(
            board,
            request,
            "why/index.html",
            list=groups,
            groups=[shown_group(group) for group in groups.entries],
            kinds=[(kind, LABELS[kind]) for kind in PROBLEM_KINDS],
            apps=sorted({*apps, app_id} - {""}),
            app_id=app_id,
            unknown=app_id not in apps if app_id else False,
            kind=request.query_params.get("kinds", ""),
        )

    async def problems(request: Request) -> Response:
        groups = await found(request)
        return json(groups.body([explained(group, _EXAMPLES) for group in groups.entries]))

    return [Route("/dashboard/why", why), Route("/dashboard/api/v1/problems", problems)]


def _is_about(group: Group, app_id: str, *, known: bool) -> bool:
    """What is refused to an app that is ``known`` is its own; to another one, what names it and belongs to no app."""
    if group.app_id is not None or known:
        return group.app_id == app_id
    name = re.compile(rf"(?<![\w-]){re.escape(app_id)}(?![\w-])")
    return any(name.search(text) for entry in group.last for text in (entry.request, entry.text, entry.cause) if text)
