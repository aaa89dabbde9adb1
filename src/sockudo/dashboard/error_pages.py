"""The error catalogue: searched by a code, a status or a word, and each entry with its last problems."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sockudo import errors
from sockudo.auth.signing import path_part
from sockudo.dashboard.board import Board
from sockudo.dashboard.paging import Page, Paging
from sockudo.dashboard.problems import shown_group
from sockudo.dashboard.replies import json, page
from sockudo.errors import CATALOGUE, ErrorSpec
from sockudo.errors.catalogue import as_sent, can_retry, nearest_names, plain_row, search_rows
from sockudo.inspector import Group
from sockudo.inspector.explained import explained
from sockudo.monitoring.problems import problems_of_all

__all__ = ["routes"]

_GROUPS: Final = 20
_EXAMPLES: Final = 20


def routes(board: Board) -> list[Route]:
    """``/dashboard/errors`` and ``/dashboard/errors/{slug}`` with their API."""

    def found(request: Request) -> Page[ErrorSpec]:
        paging = Paging.of(request)
        return paging.cut(search_rows(paging.q))

    async def groups_of(row: ErrorSpec) -> list[Group]:
        groups, _ = await problems_of_all(board.nodes)
        return [group for group in groups if group.error == row.slug][:_GROUPS]

    async def catalogue(request: Request) -> Response:
        rows = found(request)
        near = [] if rows.total else nearest_names(rows.paging.q)
        return page(
            board,
            request,
            "errors/index.html",
            list=rows,
            rows=[(row, as_sent(row)) for row in rows.entries],
            near=near,
        )

    async def one(request: Request) -> Response:
        row = _row(request)
        return page(
            board,
            request,
            "errors/one.html",
            row=row,
            forms=as_sent(row),
            retry=can_retry(row),
            groups=[shown_group(group) for group in await groups_of(row)],
        )

    async def catalogue_json(request: Request) -> Response:
        rows = found(request)
        return json(rows.body([plain_row(row) for row in rows.entries]))

    async def one_json(request: Request) -> Response:
        row = _row(request)
        return json({**plain_row(row), "problems": [explained(group, _EXAMPLES) for group in await groups_of(row)]})

    return [
        Route("/dashboard/errors", catalogue),
        Route("/dashboard/errors/{slug}", one),
        Route("/dashboard/api/v1/errors", catalogue_json),
        Route("/dashboard/api/v1/errors/{slug}", one_json),
    ]


def _row(request: Request) -> ErrorSpec:
    slug = path_part(request, "slug")
    row = CATALOGUE.get(slug)
    if row is None:
        near = nearest_names(slug)
        raise errors.NOT_FOUND(f"No error is called '{slug[:100]}'{f'; perhaps {near[0]}' if near else ''}")
    return row
